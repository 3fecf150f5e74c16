//! Gateways beside the loops of a real API server: the StatefulSets' controller and the garbage collector make, keep and delete
//! what a cluster's would. The kubelet is scripted and time is the test's; what the loops do is waited for.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams};
use paddock_apiserver::Server;
use paddock_controllers::gateways::{GatewayFleet, Gateways, Options};
use paddock_reconcile::Clock;
use paddock_trials::kubelet::Kubelet;
use paddock_trials::{Process, World as _};
use serde_json::{Value, json};

use crate::gateways::{Cluster, HOME};
use crate::life::GATEWAY;
use crate::waves::operator;

const TENANT: &str = "tenant-a";
const POD: &str = "openshell-gateway-0";
const CLAIM: &str = "openshell-data-openshell-gateway-0";
const OLD: &str = "ghcr.io/nvidia/openshell/gateway:0.0.71";
const NEW: &str = "ghcr.io/nvidia/openshell/gateway:0.0.72";
/// The loops need a few of them for what they do.
const ROUNDS: usize = 200;

struct Trial {
    cluster: Cluster,
    kubelet: Kubelet,
    clock: Clock,
    gateways: Process<Gateways>,
    fleet: Process<GatewayFleet>,
}

fn document(image: &str) -> String {
    format!("- name: {TENANT}\n  gateway: {{image: '{image}'}}\n")
}

impl Trial {
    /// A gateway that runs.
    async fn ready() -> Self {
        let cluster = Cluster(Server::builder().in_memory().start().await.unwrap());
        for name in [HOME, TENANT] {
            cluster.namespace(name).await;
        }
        cluster.node().await;
        cluster.config(&document(OLD)).await;
        let clock = Clock::manual(jiff::Timestamp::from_second(1_800_000_000).unwrap());
        // Nothing listens where this gateway is said to run.
        let options = || Options { probe: false, ..Options::new(HOME, None).unwrap() };
        let (gateways, fleet) = operator(&cluster, &clock, options);
        let kubelet = Kubelet::new().beside_controllers();
        let mut trial = Self { cluster, kubelet, clock, gateways, fleet };
        trial.until("the gateway is ready", async |cluster| ready(cluster).await == Some(OLD.to_owned())).await;
        trial
    }

    /// A gateway that runs and proved itself.
    async fn settled() -> Self {
        let mut trial = Self::ready().await;
        // It proves itself from the pass on that sees it ready.
        trial.until("its proof begins", async |cluster| record(cluster).await["readySince"].is_string()).await;
        trial.clock.advance(Duration::from_secs(60));
        trial.until("it is a good one", async |cluster| record(cluster).await["good"].is_string()).await;
        trial
    }

    async fn round(&mut self) {
        self.gateways.round().await.unwrap();
        self.fleet.round().await.unwrap();
        self.kubelet.step(&self.cluster).await.unwrap();
    }

    async fn until(&mut self, what: &str, holds: impl AsyncFn(&Cluster) -> bool) {
        for _ in 0..ROUNDS {
            if holds(&self.cluster).await {
                return;
            }
            self.round().await;
        }
        panic!("never: {what}");
    }
}

/// The image of the gateway's pod, while that is ready and the set's controller knows it.
async fn ready(cluster: &Cluster) -> Option<String> {
    let set = cluster.find::<StatefulSet>(TENANT, GATEWAY).await?;
    let pod = cluster.find::<Pod>(TENANT, POD).await?;
    let is_ready = set["status"]["readyReplicas"] == 1
        && set["status"]["updatedReplicas"] == 1
        && set["status"]["observedGeneration"] == set["metadata"]["generation"]
        && owner(&pod) == uid(&set);
    is_ready.then(|| image(&pod))
}

/// What is remembered of the gateway's rollout.
async fn record(cluster: &Cluster) -> Value {
    let memory = cluster.find::<ConfigMap>(TENANT, "openshell-gateway-revisions").await.unwrap_or_default();
    serde_json::from_str(memory["data"]["rollout"].as_str().unwrap_or("null")).unwrap()
}

fn image(pod: &Value) -> String {
    pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn owner(object: &Value) -> String {
    object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn gw_d16_set_that_is_made_anew_takes_over_its_pod_and_its_volume() {
    let mut trial = Trial::settled().await;
    let pod = uid(&trial.cluster.find::<Pod>(TENANT, POD).await.unwrap());
    let claim = uid(&trial.cluster.find::<PersistentVolumeClaim>(TENANT, CLAIM).await.unwrap());
    let mut set = trial.cluster.find::<StatefulSet>(TENANT, GATEWAY).await.unwrap();
    let first = uid(&set);
    let sets: Api<StatefulSet> = Api::namespaced(trial.cluster.client(), TENANT);
    // Somebody puts another set in its place, which cannot become the wanted one.
    let orphan = DeleteParams { propagation_policy: Some(kube::api::PropagationPolicy::Orphan), ..Default::default() };
    sets.delete(GATEWAY, &orphan).await.unwrap();
    let gone = kube::runtime::conditions::is_deleted(&first);
    kube::runtime::wait::await_condition(sets.clone(), GATEWAY, gone).await.unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        set["metadata"].as_object_mut().unwrap().remove(field);
    }
    set.as_object_mut().unwrap().remove("status");
    set["spec"]["serviceName"] = json!("other");
    let second = uid(&trial.cluster.add::<StatefulSet>(TENANT, set).await);
    trial
        .until("the set is made anew and runs", async |cluster| {
            let set = cluster.find::<StatefulSet>(TENANT, GATEWAY).await;
            let anew = set.is_some_and(|set| uid(&set) != second && set["spec"]["serviceName"] == GATEWAY);
            anew && ready(cluster).await.is_some()
        })
        .await;
    assert_eq!(uid(&trial.cluster.find::<Pod>(TENANT, POD).await.unwrap()), pod, "the pod ran on");
    let now = trial.cluster.find::<PersistentVolumeClaim>(TENANT, CLAIM).await.unwrap();
    assert_eq!(uid(&now), claim, "the volume stayed");
}

/// A set whose pod never gets ready waits for it for ever, also when its template is the good one again.
async fn goes_back(mut trial: Trial) {
    trial.kubelet.lose_image(NEW);
    trial.cluster.config(&document(NEW)).await;
    trial
        .until("its pod is stuck", async |cluster| {
            let pod = cluster.find::<Pod>(TENANT, POD).await.unwrap_or_default();
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
        })
        .await;
    let stuck = uid(&trial.cluster.find::<Pod>(TENANT, POD).await.unwrap());
    trial.until("the last good image runs again", async |cluster| ready(cluster).await == Some(OLD.to_owned())).await;
    assert_ne!(uid(&trial.cluster.find::<Pod>(TENANT, POD).await.unwrap()), stuck);
    let conditions = trial.cluster.anchor(TENANT).await["conditions"].clone();
    assert!(conditions.contains("RolledBack") && conditions.contains("ImagePullBackOff"), "{conditions}");
}

#[tokio::test]
async fn gw_d31_last_good_image_runs_again_when_the_next_one_cannot_be_pulled() {
    goes_back(Trial::settled().await).await;
}

#[tokio::test]
async fn gw_d31_image_that_was_ready_runs_again_before_it_has_proved_itself() {
    goes_back(Trial::ready().await).await;
}
