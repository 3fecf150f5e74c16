//! Changes of the platform, told with a scripted kubelet: waves, failure, the way back.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use paddock_controllers::gateways::{
    GatewayFleet, GatewayMetrics, Gateways, Options, PLATFORM_CONFIG, ROLLOUT, RolloutPolicy, Share, controllers,
};
use paddock_reconcile::Clock;
use paddock_trials::kubelet::Kubelet;
use paddock_trials::{Process, Subject, World as _};
use serde_json::json;

use crate::gateways::{Cluster, HOME};

const OLD: &str = "ghcr.io/nvidia/openshell/gateway:0.0.71";
const NEW: &str = "ghcr.io/nvidia/openshell/gateway:0.0.72";
const TENANTS: [&str; 3] = ["tenant-a", "tenant-b", "tenant-c"];
const DOCUMENT: &str = "- name: tenant-a\n- name: tenant-b\n- name: tenant-c\n";

/// An operator with its kubelet. One round: everybody has one pass, then every pod takes one step.
struct Trial {
    cluster: Cluster,
    kubelet: Kubelet,
    clock: Clock,
    gateways: Process<Gateways>,
    fleet: Process<GatewayFleet>,
}

fn options(image: &str) -> Options {
    let rollout = RolloutPolicy {
        max_unavailable: Share::Count(1),
        soak: jiff::SignedDuration::from_secs(30),
        ..RolloutPolicy::default()
    };
    // Nothing listens where these gateways are said to run.
    Options { rollout, probe: false, ..Options::new(HOME, Some(image)).unwrap() }
}

/// The controllers of gateways and of their waves, by one clock.
pub(crate) fn operator(
    cluster: &Cluster,
    clock: &Clock,
    options: impl Fn() -> Options + Clone + Send + Sync + 'static,
) -> (Process<Gateways>, Process<GatewayFleet>) {
    let same = options.clone();
    let mut gateways = Subject::new(move || controllers(options(), GatewayMetrics::default()).0);
    let mut fleet = Subject::new(move || controllers(same(), GatewayMetrics::default()).2);
    (gateways.clock, fleet.clock) = (clock.clone(), clock.clone());
    (gateways.start(cluster), fleet.start(cluster))
}

impl Trial {
    /// All tenants run the old image and proved themselves.
    async fn settled() -> Self {
        let cluster = Cluster::with(DOCUMENT).await;
        cluster.namespace("tenant-c").await;
        cluster.node().await;
        cluster.sandbox_kind("v1alpha1").await;
        let clock = Clock::manual(jiff::Timestamp::from_second(1_800_000_000).unwrap());
        let (gateways, fleet) = operator(&cluster, &clock, || options(OLD));
        let mut trial = Self { cluster, kubelet: Kubelet::new(), clock, gateways, fleet };
        trial.rounds(6).await;
        trial.clock.advance(Duration::from_secs(60));
        trial.rounds(3).await;
        trial
    }

    /// The same platform, another operator.
    fn upgrade(&mut self, image: &'static str) {
        (self.gateways, self.fleet) = operator(&self.cluster, &self.clock, move || options(image));
    }

    async fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.gateways.round().await.unwrap();
            self.fleet.round().await.unwrap();
            self.kubelet.step(&self.cluster).await.unwrap();
        }
    }

    /// Who has that image in its template.
    async fn with(&self, image: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        for tenant in TENANTS {
            let spec = self.cluster.workload(tenant).await.spec.unwrap().template.spec.unwrap();
            if spec.containers[0].image.as_deref() == Some(image) {
                found.push(tenant);
            }
        }
        found
    }

    async fn rollout(&self) -> BTreeMap<String, String> {
        let api: Api<ConfigMap> = Api::namespaced(self.cluster.client(), HOME);
        api.get(ROLLOUT).await.unwrap().data.unwrap()
    }

    async fn conditions(&self, tenant: &str) -> String {
        self.cluster.anchor(tenant).await["conditions"].clone()
    }
}

#[tokio::test]
async fn gw_w08_new_default_image_reaches_one_gateway_after_the_other() {
    let mut trial = Trial::settled().await;
    trial.upgrade(NEW);
    for reached in 1..=3 {
        trial.rounds(5).await;
        assert_eq!(trial.with(NEW).await, TENANTS[..reached]);
        trial.clock.advance(Duration::from_secs(31));
    }
    trial.rounds(3).await;
    assert_eq!(trial.rollout().await["phase"], "Settled");
}

#[tokio::test]
async fn gw_w08_image_that_is_edited_for_all_goes_from_one_to_the_next_and_pauses_when_it_fails() {
    let mut trial = Trial::settled().await;
    let edited = |image: &str| DOCUMENT.replace('\n', &format!("\n  gateway: {{image: \"{image}\"}}\n"));
    trial.cluster.config(&edited(NEW)).await;
    trial.rounds(4).await;
    assert_eq!(trial.with(NEW).await, ["tenant-a"]);
    let bad = "ghcr.io/nvidia/openshell/gateway:0.0.74";
    trial.kubelet.lose_image(bad);
    trial.cluster.config(&edited(bad)).await;
    trial.clock.advance(Duration::from_secs(31));
    trial.rounds(9).await;
    assert_eq!((trial.with(bad).await, trial.with(NEW).await), (vec![], vec!["tenant-a"]));
    let rollout = trial.rollout().await;
    assert_eq!((&*rollout["phase"], &*rollout["failed"]), ("Paused", "tenant-a/openshell-gateway"));
    assert!(rollout["message"].contains(&format!("resume-rollout={bad}/1")), "{rollout:?}");
}

#[tokio::test]
async fn gw_w22_who_waits_is_silent_and_runs_on() {
    let mut trial = Trial::settled().await;
    trial.upgrade(NEW);
    trial.rounds(5).await;
    assert!(trial.conditions("tenant-c").await.contains("WaitingForWave"));
    trial.gateways.tap.clear();
    trial.fleet.tap.clear();
    trial.rounds(2).await;
    assert_eq!((trial.gateways.tap.writes(), trial.fleet.tap.writes()), (vec![], vec![]));
}

#[tokio::test]
async fn gw_w22_own_edit_is_applied_while_others_wait() {
    let mut trial = Trial::settled().await;
    trial.upgrade(NEW);
    trial.rounds(5).await;
    let edited = DOCUMENT.replace("- name: tenant-c", "- name: tenant-c\n  gateway: {serverDnsNames: [c.example]}");
    trial.cluster.config(&edited).await;
    let generation = trial.cluster.workload("tenant-c").await.metadata.generation;
    trial.rounds(1).await;
    assert_eq!(trial.cluster.workload("tenant-c").await.metadata.generation, generation.map(|before| before + 1));
}

#[tokio::test]
async fn gw_w22_drift_is_reversed_while_it_waits() {
    let mut trial = Trial::settled().await;
    trial.upgrade(NEW);
    trial.rounds(5).await;
    let sets: Api<StatefulSet> = Api::namespaced(trial.cluster.client(), "tenant-c");
    let drift = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "openshell-gateway", "image": "drift:1" }] } } } });
    sets.patch("openshell-gateway", &PatchParams::default(), &Patch::Strategic(&drift)).await.unwrap();
    trial.rounds(1).await;
    assert!(trial.with(OLD).await.contains(&"tenant-c"));
}

#[tokio::test]
async fn gw_d31_bad_image_is_rolled_back_with_its_stuck_pod_and_pauses_the_wave() {
    let mut trial = Trial::settled().await;
    trial.kubelet.lose_image(NEW);
    trial.upgrade(NEW);
    trial.rounds(8).await;
    assert_eq!(trial.with(OLD).await, TENANTS);
    let pods: Api<Pod> = Api::namespaced(trial.cluster.client(), "tenant-a");
    let pod = pods.get("openshell-gateway-0").await.unwrap();
    assert_eq!(pod.spec.unwrap().containers[0].image.as_deref(), Some(OLD), "the stuck pod is gone");
    let set = trial.cluster.workload("tenant-a").await.status.unwrap();
    assert_eq!(set.ready_replicas, Some(1));
    let conditions = trial.conditions("tenant-a").await;
    assert!(conditions.contains("RolledBack") && conditions.contains("ImagePullBackOff"), "{conditions}");
    let rollout = trial.rollout().await;
    assert_eq!((&*rollout["phase"], &*rollout["failed"]), ("Paused", "tenant-a/openshell-gateway"));
}

#[tokio::test]
async fn gw_w08_failure_is_told_in_one_event_and_never_tried_again() {
    let mut trial = Trial::settled().await;
    trial.kubelet.lose_image(NEW);
    trial.upgrade(NEW);
    for _ in 0..4 {
        trial.rounds(3).await;
        trial.clock.advance(Duration::from_secs(3600));
    }
    let events: Api<Event> = Api::all(trial.cluster.client());
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let told = |reason: &str| -> i32 {
        events.iter().filter(|event| event.reason.as_deref() == Some(reason)).map(times).sum()
    };
    assert_eq!((told("RolledBack"), told("RolloutPaused")), (1, 1));
}

#[tokio::test]
async fn gw_d20_status_tells_the_digest_of_what_really_runs() {
    let mut trial = Trial::settled().await;
    let summary = async |trial: &Trial| -> serde_json::Value {
        serde_json::from_str(&trial.cluster.anchor("tenant-a").await["summary"]).unwrap()
    };
    let digest = |image: &str| format!("sha256:{}", paddock_pki::sha256_hex(image.as_bytes()));
    assert_eq!(summary(&trial).await["imageID"], digest(OLD));
    trial.upgrade(NEW);
    trial.rounds(5).await;
    let now = summary(&trial).await;
    assert_eq!((&now["imageID"], &now["image"]), (&json!(digest(NEW)), &json!(NEW)));
    assert!(now.to_string().len() <= 600, "{now}");
}

/// How often an Event was told: one that repeats is one object, with a series or a count.
fn times(event: &Event) -> i32 {
    event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1)
}

/// How often each Event about a gateway was told, whatever it stands in.
async fn told(trial: &Trial) -> BTreeMap<String, i32> {
    let events: Api<Event> = Api::all(trial.cluster.client());
    let mut told = BTreeMap::new();
    for event in events.list(&ListParams::default()).await.unwrap() {
        let times = times(&event);
        let about = event.involved_object;
        let place = [about.namespace, about.kind, event.reason].map(Option::unwrap_or_default).join(" ");
        *told.entry(place).or_default() += times;
    }
    told
}

#[tokio::test]
async fn gw_w01_every_transition_of_a_rollout_is_told_in_exactly_one_event() {
    let mut trial = Trial::settled().await;
    let before = told(&trial).await;
    trial.upgrade(NEW);
    for _ in 0..4 {
        trial.rounds(5).await;
        trial.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(trial.with(NEW).await, TENANTS);
    let mut now = told(&trial).await;
    now.retain(|place, count| {
        *count -= before.get(place).copied().unwrap_or_default();
        *count != 0
    });
    // Each restarts; whoever was seen not to be ready is told to be it again.
    assert!(now.values().all(|times| *times == 1), "{now:?}");
    for tenant in TENANTS {
        let mut is_told = |reason: &str| now.remove(&format!("{tenant} ConfigMap {reason}")).is_some();
        assert!(is_told("Restarting") && is_told("Progressing") == is_told("Ready"), "{tenant}");
    }
    assert_eq!(now, BTreeMap::new());
}

#[tokio::test]
async fn gw_w08_paused_wave_goes_on_when_it_is_acknowledged() {
    let mut trial = Trial::settled().await;
    trial.kubelet.lose_image(NEW);
    trial.upgrade(NEW);
    trial.rounds(8).await;
    let revision = trial.rollout().await["revision"].clone();
    let resume = json!({ "metadata": { "annotations": { "paddock.dev/resume-rollout": format!("{revision}/1") } } });
    let configs: Api<ConfigMap> = Api::namespaced(trial.cluster.client(), HOME);
    configs.patch(PLATFORM_CONFIG, &PatchParams::default(), &Patch::Merge(&resume)).await.unwrap();
    trial.rounds(8).await;
    assert!(trial.conditions("tenant-b").await.contains("RolledBack"));
    assert!(trial.conditions("tenant-c").await.contains("WaitingForWave"), "the second failure pauses again");
}

#[tokio::test]
async fn gw_w08_paused_wave_ends_with_the_next_revision() {
    let mut trial = Trial::settled().await;
    trial.kubelet.lose_image(NEW);
    trial.upgrade(NEW);
    trial.rounds(8).await;
    let next = "ghcr.io/nvidia/openshell/gateway:0.0.73";
    trial.upgrade(next);
    for _ in 0..4 {
        trial.rounds(5).await;
        trial.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(trial.with(next).await, TENANTS);
}
