//! Rolls of a real Deployment: the server's own loops make its pods, an emulated kubelet mounts what the operator wrote and runs a listener
//! of ours in each, and a client connects to whatever is ready, as kube-proxy would send it, without a pause.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use paddock_apiserver::Server;
use paddock_controllers::tls_profile::{Controllers, Decider, Deliverer, controllers};
use paddock_pki::{CertificateAuthority, Leaf};
use paddock_reconcile::Clock;
use paddock_serve::StartupOptions;
use paddock_tls_profile::{Generation, Named, files};
use paddock_trials::certificate::{issued, trusting};
use paddock_trials::component::Running;
use paddock_trials::{Process, Subject, World};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::version::TLS12;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::RwLock;

use super::{Cluster, HASH, options};

/// How many steps of its kubelet a pod takes from its start to readiness.
const STEPS_TO_READY: usize = 5;
/// Rounds of everything that are certainly enough.
const ROUNDS: usize = 2000;
const REPLICAS: usize = 2;

/// Where ready pods listen. Whoever connects holds it for reading: an orderly pod, taken out of it, ends what runs and then stops.
type Endpoints = Arc<RwLock<Vec<SocketAddr>>>;

/// A pod that runs.
struct Started {
    listener: Running,
    steps: usize,
}

/// The kubelet of the one node.
struct Kubelet {
    home: tempfile::TempDir,
    authority: CertificateAuthority,
    leaf: Leaf,
    started: BTreeMap<String, Started>,
    addresses: u8,
    endpoints: Endpoints,
    /// It cannot mount anything for new pods, as while the API server is away.
    mounts_nothing: bool,
}

impl Kubelet {
    fn new() -> Self {
        let (authority, leaf) = issued().unwrap();
        let home = tempfile::tempdir().unwrap();
        let (started, endpoints) = (BTreeMap::new(), Endpoints::default());
        Self { home, authority, leaf, started, addresses: 0, endpoints, mounts_nothing: false }
    }

    async fn step(&mut self, cluster: &Cluster) {
        let pods: Api<Pod> = Api::namespaced(cluster.client(), "apps");
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let (name, uid) = (pod.metadata.name.unwrap(), pod.metadata.uid.unwrap());
            if pod.metadata.deletion_timestamp.is_some() {
                if let Some(started) = self.started.remove(&uid) {
                    // From here on nobody is sent to it, and nobody is on the way.
                    self.endpoints.write().await.retain(|address| *address != started.listener.address);
                }
                pods.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
                continue;
            }
            if !self.started.contains_key(&uid) {
                let Some(listener) = self.start(cluster, &uid).await else { continue };
                self.started.insert(uid.clone(), Started { listener, steps: 0 });
            }
            let started = self.started.get_mut(&uid).unwrap();
            started.steps += 1;
            if started.steps > STEPS_TO_READY + 1 {
                continue;
            }
            let (address, ready) = (started.listener.address, started.steps > STEPS_TO_READY);
            let ip = address.ip().to_string();
            let condition = json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
            let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]});
            let patch = Patch::Merge(json!({ "status": status }));
            pods.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
            if ready {
                self.endpoints.write().await.push(address);
            }
        }
    }

    /// Mounts the ConfigMap as it is now, and the certificate; `None` as long as there is nothing to mount.
    async fn start(&mut self, cluster: &Cluster, uid: &str) -> Option<Running> {
        let mut mounted = cluster.files("w-tls-profile").await.filter(|_| !self.mounts_nothing)?;
        mounted.insert(files::CERTIFICATE.to_owned(), self.leaf.certificate_pem.clone());
        mounted.insert(files::KEY.to_owned(), self.leaf.key_pem.expose().to_owned());
        let dir: PathBuf = self.home.path().join(uid);
        std::fs::create_dir(&dir).unwrap();
        paddock_serve::place(&dir, &mounted).unwrap();
        self.addresses += 1;
        let address = SocketAddr::from(([127, 66, 0, self.addresses], 0));
        Some(Running::start(StartupOptions::new(dir), address).await.unwrap())
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
        trusting(&self.authority, versions).unwrap()
    }
}

/// One handshake.
async fn shake(client: &Arc<ClientConfig>, address: SocketAddr) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::clone(client)).connect(name, stream).await.map(drop)
}

/// Connects to one ready pod after the other for ever. Counts.
#[derive(Clone, Default)]
struct Client {
    served: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Client {
    async fn run(self, config: Arc<ClientConfig>, endpoints: Endpoints) {
        let mut pace = tokio::time::interval(Duration::from_millis(3));
        for turn in 0_usize.. {
            pace.tick().await;
            let ready = endpoints.read().await;
            // Nobody is ready: kube-proxy refuses.
            let served = match ready.get(turn % ready.len().max(1)) {
                Some(address) => shake(&config, *address).await.is_ok(),
                None => false,
            };
            if served { &self.served } else { &self.refused }.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted(&self) -> (usize, usize) {
        (self.served.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

struct Trial {
    cluster: Cluster,
    kubelet: Kubelet,
    clock: Clock,
    decider: Process<Decider>,
    deliverer: Process<Deliverer>,
}

impl Trial {
    /// Two pods that run and serve Intermediate, of a Deployment that would take all of them at once.
    async fn ready() -> Self {
        let cluster = Cluster(Server::builder().in_memory().start().await.unwrap());
        for name in [super::HOME, "apps"] {
            cluster.create("v1", "Namespace", "namespaces", None, json!({"metadata": {"name": name}})).await;
        }
        cluster.create("v1", "Node", "nodes", None, json!({"metadata": {"name": "node"}})).await;
        cluster.policy(json!({"source": "Inline", "profile": {"type": "Intermediate"}})).await;
        let template = json!({
            "metadata": {"labels": {"app": "w"}},
            "spec": {"nodeName": "node", "containers": [{"name": "c", "image": "example.com/c:1"}]},
        });
        let spec = json!({"replicas": REPLICAS, "strategy": {"type": "Recreate"}, "template": template});
        cluster.deployment("w", json!({}), json!({}), spec).await;
        let Controllers { decider, deliverer, .. } = controllers(options());
        let mut decider = Subject::woken_by_others(move || decider.clone());
        let mut deliverer = Subject::woken_by_others(move || deliverer.clone());
        let clock = Clock::manual(jiff::Timestamp::from_second(1_800_000_000).unwrap());
        (decider.clock, deliverer.clock) = (clock.clone(), clock.clone());
        let (decider, deliverer) = (decider.start(&cluster), deliverer.start(&cluster));
        let mut trial = Self { cluster, kubelet: Kubelet::new(), clock, decider, deliverer };
        trial.until("all pods serve Intermediate", async |trial| trial.is_rolled_out(Named::Intermediate).await).await;
        trial
    }

    async fn until(&mut self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..ROUNDS {
            if holds(self).await {
                return;
            }
            self.round().await;
        }
        panic!("never: {what}; {:#}", self.component().await);
    }

    async fn round(&mut self) {
        self.decider.round().await.unwrap();
        self.deliverer.round().await.unwrap();
        self.kubelet.step(&self.cluster).await;
    }

    async fn asks(&self, named: &str) {
        let patch = Patch::Merge(json!({"spec": {"profile": {"type": named}}}));
        self.cluster.policies().patch("cluster", &PatchParams::default(), &patch).await.unwrap();
    }

    /// What the policy's status says of the workload.
    async fn component(&self) -> Value {
        self.cluster.policies().get("cluster").await.unwrap().data["status"]["components"][0].clone()
    }

    async fn is_rolled_out(&self, named: Named) -> bool {
        let hash = named.profile(Generation::C).hash();
        let component = self.component().await;
        self.cluster.template_annotation("w", HASH).await == Some(hash.clone())
            && component["desiredHash"] == hash
            && component["rolledOut"] == true
            && component["pods"]["old"] == 0
            && self.kubelet.started.len() == REPLICAS
            && self.kubelet.endpoints.read().await.len() == REPLICAS
    }

    /// A client that never rests, and where it stands.
    fn connects(&self) -> (Client, tokio::task::AbortHandle) {
        let client = Client::default();
        let running =
            client.clone().run(self.kubelet.client(rustls::ALL_VERSIONS), Arc::clone(&self.kubelet.endpoints));
        (client, tokio::spawn(running).abort_handle())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_f17_tls_d08_no_handshake_is_refused_while_two_replicas_roll_to_another_profile() {
    let mut trial = Trial::ready().await;
    let old_clients = trial.kubelet.client(&[&TLS12]);
    let (client, running) = trial.connects();
    for (named, speaks_tls12) in [("Modern", false), ("Intermediate", true)] {
        let before = client.counted().0;
        trial.asks(named).await;
        let wanted = if speaks_tls12 { Named::Intermediate } else { Named::Modern };
        trial.until("all pods serve it", async |trial| trial.is_rolled_out(wanted).await).await;
        for address in trial.kubelet.endpoints.read().await.iter() {
            assert_eq!(shake(&old_clients, *address).await.is_ok(), speaks_tls12, "{named}");
        }
        trial.until("the client went on", async |_| client.counted().0 > before + 20).await;
    }
    running.abort();
    assert_eq!(client.counted().1, 0, "refused, beside {} that were served", client.counted().0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_f03_tls_f17_old_pods_serve_on_while_a_new_one_cannot_start_and_the_roll_is_told_to_be_stuck() {
    let mut trial = Trial::ready().await;
    trial.kubelet.mounts_nothing = true;
    let (client, running) = trial.connects();
    trial.asks("Modern").await;
    trial
        .until("one pod is waiting for its mount", async |trial| {
            trial.component().await["pods"] == json!({"current": 0, "old": REPLICAS, "unknown": 1})
        })
        .await;
    let before = client.counted().0;
    trial.until("the client went on", async |_| client.counted().0 > before + 100).await;
    assert_eq!(trial.kubelet.endpoints.read().await.len(), REPLICAS, "as many as before answer");
    assert_eq!(trial.cluster.condition("RolledOut").await, Some(("False".to_owned(), "Rolling".to_owned())));
    assert_eq!(trial.cluster.condition("Stalled").await, Some(("False".to_owned(), "Moving".to_owned())));

    trial.clock.advance(Duration::from_mins(11));
    trial.until("it is told", async |trial| trial.component().await["reason"] == "Stalled").await;
    trial.round().await;
    assert_eq!(trial.cluster.condition("Stalled").await, Some(("True".to_owned(), "Stalled".to_owned())));
    let honored = trial.cluster.condition("ProfileHonored").await;
    assert_eq!(honored, Some(("True".to_owned(), "Exact".to_owned())), "what runs is as available as before");

    trial.kubelet.mounts_nothing = false;
    trial.until("all pods serve Modern", async |trial| trial.is_rolled_out(Named::Modern).await).await;
    running.abort();
    assert_eq!(client.counted().1, 0, "refused, beside {} that were served", client.counted().0);
}
