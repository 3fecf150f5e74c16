//! Removal: in which order, what keeps it from happening, what must not go along.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::DeleteParams;
use paddock_api::{DataPolicy, DeletionPolicy};
use paddock_controllers::gateways::{Gateways, Policies};
use paddock_reconcile::Kind;
use paddock_trials::tap::Failure;
use paddock_trials::{Process, Subject, World as _};
use serde_json::{Value, json};

use crate::gateways::{Cluster, HOME, TWO};
use crate::life::{ANCHOR, GATEWAY, NEW, READER, annotate, deleting, options, policies, settled, subject, with};

#[tokio::test]
async fn gw_l11_removed_tenant_leaves_nothing_behind() {
    let (cluster, mut process) = settled(NEW, &deleting()).await;
    assert!(cluster.remains().await.len() > 15);
    cluster.config("[]").await;
    process.settle().await;
    assert_eq!(cluster.remains().await, [""; 0]);
}

#[tokio::test]
async fn gw_w04_removal_is_found_by_a_process_that_never_knew_the_tenant() {
    let (cluster, _) = settled(NEW, &deleting()).await;
    cluster.config("- name: tenant-b\n").await;
    deleting().start(&cluster).settle().await;
    assert!(cluster.remains().await.iter().all(|left| !left.contains("tenant-a")));
    cluster.workload("tenant-b").await;
}

#[tokio::test]
async fn gw_l01_removed_tenant_loses_its_rights_and_the_other_keeps_its() {
    let (cluster, mut process) = settled(TWO, &subject()).await;
    cluster.config("- name: tenant-b\n").await;
    process.settle().await;
    assert!(cluster.find::<ClusterRoleBinding>("", READER).await.is_none());
    let other = cluster.find::<ClusterRoleBinding>("", "openshell-gateway-node-reader-tenant-b").await.unwrap();
    assert_eq!(other["subjects"][0]["namespace"], "tenant-b");
}

#[tokio::test]
async fn gw_w04_teardown_goes_in_order() {
    let (cluster, mut process) = settled(NEW, &deleting()).await;
    cluster.config("[]").await;
    process.tap.clear();
    process.settle().await;
    let mut order: Vec<String> = Vec::new();
    for write in process.tap.writes().iter().filter(|write| write.method == "DELETE") {
        if order.last() != Some(&write.resource) {
            order.push(write.resource.clone());
        }
    }
    let place = |resource: &str| order.iter().position(|one| one == resource).unwrap();
    assert_eq!(order[..2], ["services", "statefulsets"]);
    assert!(place("clusterrolebindings") < place("secrets") && place("secrets") < place("networkpolicies"));
    assert_eq!(order[order.len() - 3..], ["persistentvolumeclaims", "secrets", "configmaps"]);
}

/// It begins, what is gone is no longer on record, and what stays is named.
#[tokio::test]
async fn gw_w04_teardown_writes_its_anchor_three_times() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    cluster.config("[]").await;
    process.tap.clear();
    process.settle().await;
    let writes = process.tap.writes();
    let anchor = writes.iter().filter(|write| write.method == "PATCH" && write.name == ANCHOR);
    assert_eq!((anchor.count(), cluster.summary().await.1), (3, "Removed".to_owned()), "{writes:#?}");
}

#[tokio::test]
async fn gw_w04_crash_after_any_write_of_a_teardown_converges() {
    let fresh = async || {
        let (cluster, _) = settled(NEW, &deleting()).await;
        cluster.config("[]").await;
        cluster
    };
    paddock_trials::crash_after_every_write_converges(fresh, &deleting()).await;
}

#[tokio::test]
async fn gw_w04_finished_teardown_with_retained_data_is_silent() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    cluster.config("[]").await;
    process.settle().await;
    let mut restarted = subject().start(&cluster);
    restarted.round().await.unwrap();
    assert_eq!(restarted.tap.writes(), []);
}

const THREE: &str = "- name: tenant-a\n- name: tenant-b\n- name: tenant-c\n";

/// Three gateways, of which one may go at once.
async fn three() -> (Cluster, Process<Gateways>) {
    let subject = with(options(|options| {
        options.rules.max_removals = 1;
        options.rules.policies.data = DataPolicy::Delete;
    }));
    let cluster = Cluster::with(THREE).await;
    cluster.namespace("tenant-c").await;
    let mut process = subject.start(&cluster);
    process.settle().await;
    (cluster, process)
}

impl Cluster {
    async fn said(&self, tenant: &str) -> (String, String) {
        let summary: Value = serde_json::from_str(&self.anchor(tenant).await["summary"]).unwrap();
        let text = |name: &str| summary[name].as_str().unwrap().to_owned();
        (text("reason"), text("message"))
    }

    async fn runs(&self, tenant: &str) -> bool {
        self.find::<StatefulSet>(tenant, GATEWAY).await.is_some()
    }
}

#[tokio::test]
async fn gw_w04_word_that_many_removals_are_meant_is_heard_at_once() {
    let (cluster, mut process) = three().await;
    cluster.config("- name: tenant-a\n").await;
    process.settle().await;
    let (reason, message) = cluster.said("tenant-b").await;
    assert_eq!(reason, "TooManyRemovals");
    annotate(&cluster, &message).await;
    process.settle().await;
    assert_eq!(
        [cluster.runs("tenant-a").await, cluster.runs("tenant-b").await, cluster.runs("tenant-c").await],
        [true, false, false]
    );
}

#[tokio::test]
async fn gw_w04_command_that_lifts_the_breaker_is_always_about_the_document_as_it_is() {
    let (cluster, mut process) = three().await;
    for document in ["- name: tenant-a\n", "- name: tenant-a\n  gateway: {serverDnsNames: [a.example]}\n"] {
        cluster.config(document).await;
        process.settle().await;
    }
    annotate(&cluster, &cluster.said("tenant-b").await.1).await;
    process.settle().await;
    assert!(!cluster.runs("tenant-b").await && !cluster.runs("tenant-c").await);
}

#[tokio::test]
async fn gw_w04_gateway_that_is_not_one_of_too_many_any_more_goes() {
    let (cluster, mut process) = three().await;
    cluster.config("- name: tenant-a\n").await;
    process.settle().await;
    assert!(cluster.runs("tenant-c").await);
    cluster.delete::<ConfigMap>("tenant-b", ANCHOR).await;
    process.settle().await;
    assert!(!cluster.runs("tenant-c").await);
}

#[tokio::test]
async fn gw_d17_who_was_kept_for_a_neighbours_mistake_goes_when_that_is_mended() {
    let (cluster, mut process) = settled(TWO, &deleting()).await;
    cluster.config("- name: tenant-a\n- name: 'B!'\n").await;
    process.settle().await;
    assert!(cluster.runs("tenant-b").await, "B! may have been meant to be it");
    cluster.config("- name: tenant-a\n").await;
    process.settle().await;
    assert!(!cluster.runs("tenant-b").await);
}

#[tokio::test]
async fn gw_d17_missing_document_removes_nothing() {
    let (cluster, mut process) = settled(TWO, &subject()).await;
    let before = cluster.remains().await;
    cluster.delete::<ConfigMap>(HOME, "platform-config").await;
    process.settle().await;
    subject().start(&cluster).settle().await;
    assert_eq!(cluster.remains().await, before);
}

#[tokio::test]
async fn gw_d17_document_that_cannot_be_read_is_told_on_each_anchor_and_changes_nothing_else() {
    let subject = with(options(|options| options.probe = false));
    let (cluster, mut process) = settled(TWO, &subject).await;
    let told = async |cluster: &Cluster| {
        let anchor = cluster.anchor("tenant-a").await;
        let conditions: Vec<Value> = serde_json::from_str(&anchor["conditions"]).unwrap();
        let of = |kind: &str| conditions.iter().find(|one| one["type"] == kind).unwrap()["reason"].clone();
        (of("ConfigValid"), anchor["summary"].clone(), anchor["inventory"].clone())
    };
    let before = told(&cluster).await;
    assert_eq!(before.0, "Valid");
    for restarts in [false, true] {
        cluster.config("- name: [").await;
        let mut process =
            if restarts { subject.start(&cluster) } else { std::mem::replace(&mut process, subject.start(&cluster)) };
        process.tap.clear();
        process.settle().await;
        let now = told(&cluster).await;
        assert_eq!((&now.0, &now.1, &now.2), (&json!("InvalidDocument"), &before.1, &before.2));
        let others = process.tap.writes().into_iter().filter(|write| !write.name.ends_with("-anchor"));
        assert_eq!(others.filter(|write| write.resource != "events").collect::<Vec<_>>(), []);
        process.tap.clear();
        process.round().await.unwrap();
        assert_eq!(process.tap.writes(), []);
        cluster.config(TWO).await;
        process.settle().await;
        assert_eq!(told(&cluster).await.0, "Valid");
    }
}

#[tokio::test]
async fn gw_d17_nameless_entry_removes_nobody() {
    let (cluster, _) = settled("- name: tenant-a\n- name: tenant-b\n", &subject()).await;
    cluster.config("- nam: tenant-a\n- name: tenant-b\n").await;
    subject().start(&cluster).settle().await;
    cluster.workload("tenant-a").await;
}

#[tokio::test]
async fn protected_object_survives_its_gateway_and_is_reported() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &deleting()).await;
    let protect = json!({"metadata": {"annotations": {"paddock.dev/protect": "true"}}});
    cluster.edit::<Service>("tenant-a", GATEWAY, "user", &protect).await;
    cluster.config("[]").await;
    process.settle().await;
    assert!(cluster.find::<Service>("tenant-a", GATEWAY).await.is_some());
    assert_eq!(cluster.anchor("tenant-a").await["orphans"], format!("Service tenant-a/{GATEWAY}"));
    let free = json!({"metadata": {"annotations": {"paddock.dev/protect": null}}});
    cluster.edit::<Service>("tenant-a", GATEWAY, "user", &free).await;
    process.settle().await;
    assert_eq!(cluster.remains().await, [""; 0]);
}

#[tokio::test]
async fn gw_l24_anchor_that_names_strangers_deletes_nothing_of_theirs() {
    let (cluster, _) = settled(TWO, &subject()).await;
    let stranger = cluster.find::<ClusterRoleBinding>("", "openshell-gateway-node-reader-tenant-b").await.unwrap();
    let ca = cluster.find::<Secret>(HOME, "openshell-ca-tenant-b").await.unwrap();
    let account = cluster.find::<ServiceAccount>("tenant-b", GATEWAY).await.unwrap();
    let item = |api: &str, plural: &str, object: &Value| {
        json!({
            "apiVersion": api, "kind": object["kind"], "plural": plural, "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"], "uid": object["metadata"]["uid"],
        })
    };
    let mut binding = item("rbac.authorization.k8s.io/v1", "clusterrolebindings", &stranger);
    binding.as_object_mut().unwrap().remove("namespace");
    let forged = json!([binding, item("v1", "secrets", &ca), item("v1", "serviceaccounts", &account)]).to_string();
    cluster.edit::<ConfigMap>("tenant-a", ANCHOR, "tenant", &json!({"data": {"inventory": forged}})).await;
    subject().start(&cluster).settle().await;
    cluster.config("- name: tenant-b\n").await;
    subject().start(&cluster).settle().await;
    let again = cluster.find::<ClusterRoleBinding>("", "openshell-gateway-node-reader-tenant-b").await.unwrap();
    assert_eq!(again["metadata"]["uid"], stranger["metadata"]["uid"]);
    let again = cluster.find::<Secret>(HOME, "openshell-ca-tenant-b").await.unwrap();
    assert_eq!(again["metadata"]["uid"], ca["metadata"]["uid"]);
}

#[tokio::test]
async fn gw_w04_more_removals_than_allowed_delete_nothing_until_acknowledged() {
    let few = with(options(|options| options.rules.max_removals = 1));
    let (cluster, mut process) = settled(TWO, &few).await;
    let before = cluster.remains().await;
    cluster.config("[]").await;
    process.settle().await;
    assert_eq!(cluster.remains().await, before);
    let (phase, reason, message) = cluster.summary().await;
    assert_eq!((phase.as_str(), reason.as_str()), ("Deleting", "TooManyRemovals"));
    assert_eq!(cluster.notes(HOME, "TooManyRemovals").await.len(), 2);
    let word = message.rsplit_once("acknowledge-removals=").unwrap().1;
    let word = json!({"metadata": {"annotations": {"paddock.dev/acknowledge-removals": word}}});
    cluster.edit::<ConfigMap>(HOME, "platform-config", "admin", &word).await;
    process.settle().await;
    assert_eq!(cluster.remains().await.iter().filter(|left| left.starts_with("StatefulSet")).count(), 0);
}

const SANDBOX: Kind = Kind::custom("agents.x-k8s.io", "v1beta1", "Sandbox", "sandboxes", true);

/// The kind of sandboxes, and one sandbox with its pod.
async fn sandbox(cluster: &Cluster) {
    cluster.sandbox_kind("v1beta1").await;
    cluster.add::<ServiceAccount>("tenant-a", json!({"metadata": {"name": "default"}})).await;
    let made = cluster.add_kind(&SANDBOX, "tenant-a", &mut json!({"metadata": {"name": "work"}})).await;
    let owner = json!([{
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": "work", "uid": made["metadata"]["uid"],
    }]);
    let metadata = json!({
        "name": "work", "ownerReferences": owner, "labels": {"agents.x-k8s.io/sandbox-name-hash": "1"},
    });
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    cluster.add::<Pod>("tenant-a", json!({"metadata": metadata, "spec": spec})).await;
}

/// Sandboxes are nobody's news: they are counted again after a while.
fn counts_again(process: &Process<Gateways>) {
    process.cx.clock().advance(Duration::from_secs(5));
}

async fn has_sandbox(cluster: &Cluster) -> bool {
    SANDBOX.api(cluster.client(), Some("tenant-a")).get_opt("work").await.unwrap().is_some()
}

/// A tenant that was provisioned, with a live sandbox in it, and that nobody wants any more.
async fn unwanted_with_a_sandbox(subject: &Subject<Gateways>) -> (Cluster, Process<Gateways>) {
    let cluster = Cluster::with("- name: tenant-a\n").await;
    sandbox(&cluster).await;
    let mut process = subject.start(&cluster);
    process.settle().await;
    cluster.config("[]").await;
    process.settle().await;
    (cluster, process)
}

#[tokio::test]
async fn gw_w24_live_sandboxes_block_the_removal_until_they_are_gone() {
    let (cluster, mut process) = unwanted_with_a_sandbox(&subject()).await;
    cluster.workload("tenant-a").await;
    let said = cluster.summary().await;
    assert_eq!(said, ("Deleting".to_owned(), "SandboxesLive".to_owned(), "1 sandbox lives in it: work".to_owned()));
    SANDBOX.api(cluster.client(), Some("tenant-a")).delete("work", &DeleteParams::default()).await.unwrap();
    cluster.delete::<Pod>("tenant-a", "work").await;
    counts_again(&process);
    process.settle().await;
    assert_eq!(cluster.remains().await, [""; 0]);
}

#[tokio::test]
async fn gw_w24_drain_deletes_the_sandboxes_first_and_waits_for_their_pods() {
    let subject = policies(Policies { deletion: DeletionPolicy::Drain, ..Policies::default() });
    let (cluster, mut process) = unwanted_with_a_sandbox(&subject).await;
    assert!(!has_sandbox(&cluster).await);
    assert_eq!(cluster.summary().await.1, "Draining");
    cluster.workload("tenant-a").await;
    cluster.delete::<Pod>("tenant-a", "work").await;
    counts_again(&process);
    process.settle().await;
    assert_eq!(cluster.remains().await, [""; 0]);
}

#[tokio::test]
async fn gw_w24_force_asks_nobody() {
    let subject = policies(Policies { deletion: DeletionPolicy::Force, ..Policies::default() });
    let (cluster, _) = unwanted_with_a_sandbox(&subject).await;
    assert_eq!(cluster.remains().await, [""; 0]);
    assert!(has_sandbox(&cluster).await, "sandboxes are not ours");
}

#[tokio::test]
async fn gw_w04_crash_while_provisioning_and_removal_after_it_leave_nothing() {
    for nth in [2, 5, 9] {
        let cluster = Cluster::with("- name: tenant-a\n").await;
        let mut dying = deleting().start(&cluster);
        dying.tap.fail(Failure::CrashAfter(nth));
        dying.settle().await;
        cluster.config("[]").await;
        deleting().start(&cluster).settle().await;
        assert_eq!(cluster.remains().await, [""; 0], "after write {nth}");
    }
}
