//! The embedded API server as the settings describe it: where it keeps things, and the kubeconfig that it hands out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use paddock_apiserver::{Loop, Server};
use paddock_serve::Startup;

use crate::exit::{Failure, Outcome, chain};
use crate::output;

/// Where an embedded API server keeps its objects and its keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Directory(PathBuf),
    Memory { pki: Option<PathBuf> },
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) listen: SocketAddr,
    pub(crate) place: Place,
    pub(crate) kubeconfig: PathBuf,
    /// Where requests are recorded.
    pub(crate) audit_log: Option<PathBuf>,
    /// Which of the server's own loops run.
    pub(crate) loops: Vec<Loop>,
    /// The TLS profile that the listener follows; the built-in one where there is none.
    pub(crate) tls: Option<Startup>,
}

impl Embedded {
    /// Starts the server and writes the kubeconfig. Everything that can go wrong here is local.
    pub(crate) async fn start(&self) -> Result<Server, Failure> {
        let mut builder = Server::builder().listen(self.listen).only(&self.loops);
        if let Some(startup) = &self.tls {
            builder = builder.tls_profile(startup.clone());
        }
        if let Some(file) = &self.audit_log {
            builder = builder.audit_log(file);
        }
        let builder = match &self.place {
            Place::Directory(dir) => builder.data_dir(dir),
            Place::Memory { pki: None } => builder.in_memory(),
            Place::Memory { pki: Some(dir) } => builder.in_memory().pki_dir(dir),
        };
        let server = builder.start().await.map_err(|error| Failure::usage(chain(&error)))?;
        if let Err(error) = self.hand_out(&server) {
            server.shutdown().await;
            return Err(error);
        }
        Ok(server)
    }

    fn hand_out(&self, server: &Server) -> Outcome {
        let file = self.kubeconfig.display();
        if let Some(parent) = self.kubeconfig.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)
                .map_err(|error| Failure::usage(format!("{}: {error}", parent.display())))?;
        }
        server.write_kubeconfig(&self.kubeconfig).map_err(|error| Failure::usage(format!("{file}: {error}")))
    }

    /// Tells where the server is and how to talk to it.
    pub(crate) fn announce(&self, server: &Server) -> Outcome {
        let Some(address) = server.local_addr() else { return Ok(()) };
        let file = absolute(&self.kubeconfig);
        tracing::info!(%address, kubeconfig = %file.display(), "the Kubernetes API is served");
        output::data(&format!(
            "Kubernetes API: https://{address}\nKubeconfig:     {file}\nTry:            kubectl --kubeconfig {file} get namespaces\n",
            file = file.display()
        ))
    }
}

pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
