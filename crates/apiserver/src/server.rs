//! The server with its sockets: build it, start it, ask it for a client, stop it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kube::Client;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::api::{Api, Inner};
use crate::audit::Audit;
use crate::authn::{LastModes, Tokens};
use crate::authz::Authorizer;
use crate::clock::Clock;
use crate::documents::Documents;
use crate::fault::Faults;
use crate::incoming::Room;
use crate::log::Log;
use crate::loops::Loop;
use crate::node::{Node, Nodes};
use crate::registry::Registry;
use crate::store::Store;
use crate::user::User;
use crate::{bootstrap, http, identity, kinds};

/// Sessions (exec, attach, port-forward) that may be open at once; the next one gets a 429.
const SESSIONS: usize = 256;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] crate::store::OpenError),
    /// The CA or a key cannot be read, made or written.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The directory for volumes has no absolute path.
    #[error("cannot use the directory for volumes: {0}")]
    Volumes(std::io::Error),
    /// The audit log cannot be opened.
    #[error("cannot open the audit log {file}: {source}", file = file.display())]
    AuditLog {
        /// The file asked for.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The first objects (namespaces, the `kubernetes` Service) could not be written.
    #[error("cannot write the first objects: {0}")]
    Bootstrap(crate::status::Status),
}

/// What a server is to be. See [`Server::builder`].
pub struct Builder {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    pki_dir: Option<PathBuf>,
    volumes_dir: Option<PathBuf>,
    loops: Vec<Loop>,
    log: bool,
    audit_log: Option<PathBuf>,
    clock: Clock,
    startup: Option<paddock_serve::Startup>,
}

impl Builder {
    /// Listens on this address (HTTPS). Port 0 takes a free one. Without it the server has no socket: only
    /// [`Server::client`] reaches it. Names of the certificate: `localhost`, `kubernetes.default.svc`, loopback and this address.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Keeps everything in `dir`, durably: a write that was answered survives a crash. Keys lie in `dir/pki`.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Keeps everything in memory (the default).
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.data_dir = None;
        self
    }

    /// Where CA and keys are kept, when not in the data directory. Without either they live in memory.
    #[must_use]
    pub fn pki_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.pki_dir = Some(dir.into());
        self
    }

    /// Where claims of a StorageClass with the provisioner `paddock.dev/directory` get their directories. Default: `volumes` in the
    /// data directory; without either such claims wait.
    #[must_use]
    pub fn volumes_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.volumes_dir = Some(dir.into());
        self
    }

    /// Whether the server's own loops run. Default true; [`Builder::without`] switches a single one off.
    #[must_use]
    pub fn loops(mut self, on: bool) -> Self {
        self.loops = if on { Loop::all() } else { Vec::new() };
        self
    }

    /// Runs exactly these loops.
    #[must_use]
    pub fn only(mut self, loops: &[Loop]) -> Self {
        self.loops = loops.to_vec();
        self
    }

    /// Leaves one loop out.
    #[must_use]
    pub fn without(mut self, which: Loop) -> Self {
        self.loops.retain(|other| *other != which);
        self
    }

    /// Serves by the TLS profile of these start-up data, which must be loaded, and follows it; the certificate stays the server's
    /// own. Default: the built-in profile.
    #[must_use]
    pub fn tls_profile(mut self, startup: paddock_serve::Startup) -> Self {
        self.startup = Some(startup);
        self
    }

    /// Remembers requests for [`Server::log`]. Default false.
    #[must_use]
    pub fn request_log(mut self, on: bool) -> Self {
        self.log = on;
        self
    }

    /// Appends a line to this file for each request: an `audit.k8s.io/v1` Event of level `Metadata`. At 100 MiB it is renamed to
    /// `FILE.1`; ten such files are kept. Default: nothing is recorded.
    #[must_use]
    pub fn audit_log(mut self, file: impl Into<PathBuf>) -> Self {
        self.audit_log = Some(file.into());
        self
    }

    /// The clock that time stamps come from. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the server: opens the store, makes or reads the keys, writes the first objects, listens.
    pub async fn start(self) -> Result<Server, StartError> {
        let store = match &self.data_dir {
            Some(dir) => Store::open(dir, self.clock.clone())?,
            None => Store::in_memory(self.clock.clone()),
        };
        let pki_dir = self.pki_dir.or_else(|| self.data_dir.as_ref().map(|d| d.join("pki")));
        let volumes = self.volumes_dir.or_else(|| self.data_dir.as_ref().map(|dir| dir.join("volumes")));
        let volumes = volumes.map(std::path::absolute).transpose().map_err(StartError::Volumes)?;
        let identity = Arc::new(identity::Identity::load(pki_dir.as_deref(), self.listen, self.clock.now())?);
        let audit = match self.audit_log {
            Some(file) => Audit::to(&file).map_err(|source| StartError::AuditLog { file, source })?,
            None => Audit::default(),
        };
        let closing = CancellationToken::new();
        let api = Api::new(Inner {
            store,
            registry: Registry::new(kinds::resources()),
            admission: Admission::default(),
            documents: Documents::default(),
            authorizer: Authorizer::default(),
            clock: self.clock,
            faults: Faults::default(),
            log: if self.log { Log::on() } else { Log::default() },
            audit,
            tokens: Tokens::new(identity::TokenKey::load(pki_dir.as_deref())?),
            unchanged: crate::handlers::Unchanged::default(),
            views: crate::handlers::Views::default(),
            metrics: crate::metrics::Metrics::default(),
            traffic: paddock_serve::Traffic::default(),
            bodies: Room::default(),
            startup: self.startup.clone(),
            tls: self.startup.as_ref().map(|startup| startup.metrics().clone()).unwrap_or_default(),
            bookings: Arc::default(),
            last_modes: LastModes::default(),
            nodes: Nodes::default(),
            sessions: Arc::new(Semaphore::new(SESSIONS)),
            address: OnceLock::new(),
            closing: closing.clone(),
        });
        let new = api.store.revision() == 1;
        bootstrap::first_objects(&api, &self.loops, identity.ca_pem()).await.map_err(StartError::Bootstrap)?;
        let settled_at = new.then(|| api.store.revision());
        let mut tasks = tokio::task::JoinSet::new();
        let address = match self.listen {
            None => None,
            Some(address) => {
                let bound = http::bind(&api, &identity, address, self.startup.as_ref(), closing.clone(), &mut tasks)
                    .await
                    .map_err(|source| StartError::Listen { address, source })?;
                let _ = api.address.set(bound);
                Some(bound)
            }
        };
        let surroundings = crate::loops::Surroundings { root_ca: identity.ca_pem().to_owned(), volumes, settled_at };
        crate::loops::spawn(&self.loops, &api, surroundings, &closing, &mut tasks);
        Ok(Server { api, identity, address, closing, tasks })
    }
}

/// A running server. Dropping it stops it at once; [`Server::shutdown`] lets requests end first.
pub struct Server {
    api: Api,
    identity: Arc<identity::Identity>,
    address: Option<SocketAddr>,
    closing: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl Server {
    /// A server that keeps everything in memory, runs its loops and has no socket, until told otherwise.
    pub fn builder() -> Builder {
        Builder {
            listen: None,
            data_dir: None,
            pki_dir: None,
            volumes_dir: None,
            loops: Loop::all(),
            log: false,
            audit_log: None,
            clock: Clock::system(),
            startup: None,
        }
    }

    /// The address that it listens on; `None` without a socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A client in this process, as the administrator: no socket and no TLS, but the same handler chain, request log and faults.
    pub fn client(&self) -> Client {
        self.client_as(User::admin())
    }

    /// A client in this process as someone else.
    pub fn client_as(&self, user: User) -> Client {
        http::in_process(&self.api, user)
    }

    /// A kubeconfig (YAML) with a client certificate of the administrator. Needs a socket.
    pub fn kubeconfig(&self) -> Option<String> {
        self.address.map(|address| self.identity.kubeconfig(address))
    }

    /// Writes [`Server::kubeconfig`] to a file that only its owner can read.
    pub fn write_kubeconfig(&self, path: &Path) -> std::io::Result<()> {
        let text = self.kubeconfig().ok_or_else(|| std::io::Error::other("the server has no socket"))?;
        identity::write_private(path, text.as_bytes())
    }

    /// Connects the node whose Node object has this name: from now on logs, exec, attach and port-forward of its pods go to
    /// `node`. A second node of the name takes the first one's place; sessions that are open stay with the first.
    pub fn connect_node(&self, name: impl Into<String>, node: Arc<dyn Node>) {
        self.api.nodes.plug_in(name.into(), node);
    }

    /// Forgets a node: its pods answer 503 until it is connected again.
    pub fn disconnect_node(&self, name: &str) {
        self.api.nodes.unplug(name);
    }

    /// What goes wrong on order.
    pub fn faults(&self) -> &Faults {
        &self.api.faults
    }

    /// What was asked so far; empty unless the builder switched it on.
    pub fn log(&self) -> &Log {
        &self.api.log
    }

    /// The server without its sockets.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// The server's clock.
    pub fn clock(&self) -> &Clock {
        &self.api.clock
    }

    /// Forgets the history: watches and pages from before now get a 410.
    pub fn compact(&self) {
        self.api.store.compact();
    }

    /// Resolves when the store can write no more (a failed fsync): the process should end.
    pub async fn failed(&self) -> Arc<str> {
        self.api.store.failed().await
    }

    /// Stops: watches end, running requests get a moment, the store is closed.
    pub async fn shutdown(mut self) {
        self.closing.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.api.store.close().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_can_be_left_out() {
        let builder = Server::builder().without(Loop::GarbageCollection);
        assert!(!builder.loops.contains(&Loop::GarbageCollection));
    }

    #[test]
    fn switching_the_loops_off_leaves_none() {
        assert_eq!(Server::builder().loops(false).loops, []);
    }
}
