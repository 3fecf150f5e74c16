//! What single workloads are told otherwise than everybody.

use paddock_controllers::tls_profile::{Controllers, controllers};
use paddock_tls_profile::{Contract, Generation, Named, Profile};
use paddock_trials::{Process, Subject};
use serde_json::{Value, json};

use super::{Cluster, HASH, hash, modern, options};

/// One process of decider and deliverer, and a cluster of two workloads where everybody is told Modern.
async fn two(policy: Value) -> (Cluster, impl AsyncFnMut()) {
    let cluster = modern().await;
    cluster.policy(policy).await;
    for name in ["web", "other"] {
        cluster.deployment(name, json!({}), json!({}), json!({})).await;
    }
    let Controllers { decider, deliverer, .. } = controllers(options());
    let mut deciding: Process<_> = Subject::woken_by_others(move || decider.clone()).start(&cluster);
    let mut delivering: Process<_> = Subject::woken_by_others(move || deliverer.clone()).start(&cluster);
    let settle = async move || {
        deciding.settle().await;
        delivering.settle().await;
        deciding.settle().await;
    };
    (cluster, settle)
}

fn web(entry: Value) -> Value {
    let mut one = json!({"ref": {"kind": "Deployment", "namespace": "apps", "name": "web"}});
    for (name, value) in entry.as_object().into_iter().flatten() {
        one[name] = value.clone();
    }
    json!({ "components": [one] })
}

impl Cluster {
    async fn told(&self, name: &str) -> (Contract, Profile) {
        let files = self.files(&format!("{name}-tls-profile")).await.unwrap();
        let contract = Contract::parse(files["contract.json"].as_bytes()).unwrap().contract;
        (contract, Profile::parse(files["profile.json"].as_bytes()).unwrap().profile)
    }

    async fn edits_policy(&self, spec: Value) {
        use kube::api::{Patch, PatchParams};
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.policies().patch("cluster", &PatchParams::default(), &patch).await.unwrap();
    }
}

#[tokio::test]
async fn a_component_is_handed_its_own_profile_and_the_status_says_what_it_replaces() {
    let (cluster, mut settle) = two(web(json!({"profile": {"type": "Intermediate"}, "reload": "Hot"}))).await;
    settle().await;
    let (contract, profile) = cluster.told("web").await;
    assert_eq!(profile, Named::Intermediate.profile(Generation::C));
    assert_eq!((contract.source.kind.as_str(), contract.profile_hash), ("Component", Some(profile.hash())));
    assert_eq!(cluster.told("other").await.1, Named::Modern.profile(Generation::C));
    assert_eq!(cluster.template_annotation("web", HASH).await, None, "it reloads by itself, as its entry says");
    assert_eq!(cluster.template_annotation("other", HASH).await, Some(hash()));
    let status = cluster.policies().get("cluster").await.unwrap().data["status"].clone();
    let of = |name: &str| {
        let components = status["components"].as_array().unwrap();
        let one = components.iter().find(|one| one["workload"] == format!("apps/deployments/{name}")).unwrap();
        (one["profile"].clone(), one["replaces"].clone())
    };
    assert_eq!(of("web"), ("Intermediate".into(), "Modern of OpenShiftAPIServer".into()));
    assert_eq!(of("other"), ("Modern".into(), Value::Null));
    assert_eq!(cluster.condition("ComponentsHonored").await, Some(("True".to_owned(), "Honored".to_owned())));
}

#[tokio::test]
async fn tls_f09_an_entry_that_cannot_be_served_changes_nothing_and_is_told() {
    let (cluster, mut settle) = two(web(json!({"profile": {"type": "Intermediate"}}))).await;
    settle().await;
    let before = cluster.told("web").await;
    cluster.edits_policy(web(json!({"profile": {"type": "Custom", "custom": {"groups": ["secp521r1"]}}}))).await;
    settle().await;
    assert_eq!(cluster.told("web").await, before);
    assert_eq!(cluster.condition("ComponentsHonored").await, Some(("False".to_owned(), "Unservable".to_owned())));
}

#[tokio::test]
async fn an_entry_that_is_taken_out_gives_its_component_what_everybody_has() {
    let (cluster, mut settle) = two(web(json!({"profile": {"type": "Intermediate"}}))).await;
    settle().await;
    cluster.edits_policy(json!({"components": null})).await;
    settle().await;
    assert_eq!(cluster.told("web").await.1, Named::Modern.profile(Generation::C));
    assert_eq!(cluster.template_annotation("web", HASH).await, Some(hash()));
}

#[tokio::test]
async fn components_second_pass_writes_nothing() {
    let cluster = undecided().await;
    paddock_trials::second_pass_writes_nothing(&cluster, &super::decider()).await;
    paddock_trials::second_pass_writes_nothing(&cluster, &super::deliverer()).await;
}

/// A policy whose entry was not decided on yet.
async fn undecided() -> Cluster {
    two(web(json!({"profile": {"type": "Intermediate"}}))).await.0
}

#[tokio::test]
async fn tls_f15_a_crash_after_every_write_of_decision_or_delivery_converges() {
    paddock_trials::crash_after_every_write_converges(undecided, &super::decider()).await;
    let decided = async || {
        let cluster = undecided().await;
        super::decider().start(&cluster).settle().await;
        cluster
    };
    paddock_trials::crash_after_every_write_converges(decided, &super::deliverer()).await;
}
