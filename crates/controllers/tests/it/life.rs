//! The life of gateways: removal, what keeps it from happening, what stays, drift, adoption, namespaces that come and go.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use paddock_api::{DataPolicy, DeletionPolicy, DriftPolicy};
use paddock_controllers::gateways::{GatewayMetrics, Gateways, Options, Policies, controllers};
use paddock_reconcile::Kind;
use paddock_trials::tap::Failure;
use paddock_trials::{Process, Subject, World};
use serde_json::{Value, json};

use crate::gateways::{Cluster, HOME, TWO, without_keys};

pub(crate) const GATEWAY: &str = "openshell-gateway";
const CLAIM: &str = "openshell-data-openshell-gateway-0";
const KEK: &str = "openshell-gateway-credential-storage-key-encryption-key";
const TOKENS: &str = "openshell-gateway-jwt-keys";
const ANCHOR: &str = "openshell-gateway-anchor";
const READER: &str = "openshell-gateway-node-reader-tenant-a";
const CA: &str = "openshell-ca-tenant-a";
/// A gateway that encrypts stored credentials.
const NEW: &str = "- name: tenant-a\n  gateway: {image: 'ghcr.io/nvidia/openshell/gateway:0.0.100'}\n";

pub(crate) fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::new(HOME, None).unwrap();
    change(&mut options);
    options
}

pub(crate) fn with(options: Options) -> Subject<Gateways> {
    Subject::new(move || controllers(options.clone(), GatewayMetrics::default()).0).normalise(without_keys)
}

pub(crate) fn subject() -> Subject<Gateways> {
    with(options(|_| {}))
}

fn policies(policies: Policies) -> Subject<Gateways> {
    with(options(|options| options.rules.policies = policies))
}

fn deleting() -> Subject<Gateways> {
    policies(Policies { data: DataPolicy::Delete, ..Policies::default() })
}

impl Cluster {
    pub(crate) async fn find<K>(&self, namespace: &str, name: &str) -> Option<Value>
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        let found = Kind::of::<K>().api(self.client(), Some(namespace)).get_opt(name).await.unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    pub(crate) async fn add<K>(&self, namespace: &str, mut body: Value) -> Value
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        self.add_kind(&Kind::of::<K>(), namespace, &mut body).await
    }

    async fn add_kind(&self, kind: &Kind, namespace: &str, body: &mut Value) -> Value {
        body["apiVersion"] = kind.api_version().into();
        body["kind"] = kind.kind.as_ref().into();
        let object: DynamicObject = serde_json::from_value(body.clone()).unwrap();
        let made = kind.api(self.client(), Some(namespace)).create(&PostParams::default(), &object).await.unwrap();
        serde_json::to_value(made).unwrap()
    }

    pub(crate) async fn edit<K>(&self, namespace: &str, name: &str, manager: &str, patch: &Value)
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let api = Kind::of::<K>().api(self.client(), Some(namespace));
        api.patch(name, &params, &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        let params = DeleteParams::default().grace_period(0);
        Kind::of::<K>().api(self.client(), Some(namespace)).delete(name, &params).await.unwrap();
    }

    /// What the StatefulSet's controller makes for the gateway.
    pub(crate) async fn claim(&self) {
        let labels = json!({"app.kubernetes.io/name": "openshell", "app.kubernetes.io/instance": GATEWAY});
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let metadata = json!({"name": CLAIM, "namespace": "tenant-a", "labels": labels});
        self.add::<PersistentVolumeClaim>("tenant-a", json!({"metadata": metadata, "spec": spec})).await;
        // Nobody uses it, and who would say so does not run.
        let free = json!({"metadata": {"finalizers": null}});
        self.edit::<PersistentVolumeClaim>("tenant-a", CLAIM, "pvc-protection", &free).await;
    }

    /// Everything that is called like a gateway or belongs to a tenant, `kind namespace/name` each.
    pub(crate) async fn remains(&self) -> Vec<String> {
        let kinds = [
            Kind::of::<ConfigMap>(),
            Kind::of::<Secret>(),
            Kind::of::<Service>(),
            Kind::of::<ServiceAccount>(),
            Kind::of::<StatefulSet>(),
            Kind::of::<Role>(),
            Kind::of::<RoleBinding>(),
            Kind::of::<ClusterRoleBinding>(),
            Kind::of::<k8s_openapi::api::networking::v1::NetworkPolicy>(),
            Kind::of::<PersistentVolumeClaim>(),
        ];
        let mut found = Vec::new();
        for kind in kinds {
            for object in kind.api(self.client(), None).list(&ListParams::default()).await.unwrap() {
                let name = object.metadata.name.unwrap_or_default();
                if name.starts_with("openshell") {
                    found.push(format!("{} {}/{name}", kind.kind, object.metadata.namespace.unwrap_or_default()));
                }
            }
        }
        found
    }

    pub(crate) async fn summary(&self) -> (String, String, String) {
        let anchor = self.anchor("tenant-a").await;
        let summary: Value = serde_json::from_str(&anchor["summary"]).unwrap();
        let text = |name: &str| summary[name].as_str().unwrap().to_owned();
        (text("phase"), text("reason"), text("message"))
    }

    pub(crate) async fn notes(&self, namespace: &str, reason: &str) -> Vec<String> {
        let kind = Kind::of::<k8s_openapi::api::events::v1::Event>();
        let events = kind.api(self.client(), Some(namespace)).list(&ListParams::default()).await.unwrap();
        let of = events.items.into_iter().filter(|event| event.data["reason"] == reason);
        of.map(|event| event.data["note"].as_str().unwrap().to_owned()).collect()
    }
}

/// A settled gateway of `document` with its volume's claim, and the process that made it.
pub(crate) async fn settled(document: &str, subject: &Subject<Gateways>) -> (Cluster, Process<Gateways>) {
    let cluster = Cluster::with(document).await;
    let mut process = subject.start(&cluster);
    process.settle().await;
    cluster.claim().await;
    process.settle().await;
    (cluster, process)
}

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

/// Follows the command in a message: `kubectl annotate --overwrite …`.
async fn annotate(cluster: &Cluster, message: &str) {
    let command = message.split("kubectl annotate --overwrite ").nth(1).unwrap().split([';', '\n']).next().unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let (key, value) = words.last().unwrap().split_once('=').unwrap();
    let patch = json!({"metadata": {"annotations": {key: value}}});
    match words[..] {
        ["--namespace", namespace, "configmap", name, _] => {
            cluster.edit::<ConfigMap>(namespace, name, "user", &patch).await;
        }
        ["namespace", name, _] => cluster.edit::<Namespace>("", name, "user", &patch).await,
        _ => panic!("no command: {message}"),
    }
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
async fn gw_w12_retained_data_is_an_orphan_and_is_found_again() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    let uid = async |name: &str| match name {
        KEK => cluster.find::<Secret>("tenant-a", KEK).await.unwrap()["metadata"]["uid"].clone(),
        _ => cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.unwrap()["metadata"]["uid"].clone(),
    };
    let (key, before) = (cluster.secret("tenant-a", KEK).await, (uid(KEK).await, uid(CLAIM).await));
    cluster.config("[]").await;
    process.settle().await;
    let anchor = cluster.anchor("tenant-a").await;
    let mut orphans: Vec<&str> = anchor["orphans"].lines().collect();
    orphans.sort_unstable();
    assert_eq!(orphans, [format!("PersistentVolumeClaim tenant-a/{CLAIM}"), format!("Secret tenant-a/{KEK}")]);
    assert_eq!(cluster.remains().await.len(), 3, "{:?}", cluster.remains().await);
    cluster.config(NEW).await;
    subject().start(&cluster).settle().await;
    assert_eq!((uid(KEK).await, uid(CLAIM).await), before);
    assert_eq!(cluster.secret("tenant-a", KEK).await, key);
    assert!(!cluster.anchor("tenant-a").await.contains_key("orphans"));
    assert!(cluster.notes("tenant-a", "DriftReverted").await.is_empty(), "its return is nobody's drift");
}

/// The workload's controller says that the newest template runs.
async fn comes_up(cluster: &Cluster) {
    let live = cluster.workload("tenant-a").await;
    let status = json!({"status": {
        "observedGeneration": live.metadata.generation, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1,
    }});
    let api = Kind::of::<StatefulSet>().api(cluster.client(), Some("tenant-a"));
    api.patch_status(GATEWAY, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test]
async fn gw_w08_retained_data_is_not_given_to_an_older_gateway() {
    let subject = with(options(|options| options.probe = false));
    let (cluster, mut process) = settled(NEW, &subject).await;
    comes_up(&cluster).await;
    process.settle().await;
    cluster.config("[]").await;
    process.settle().await;
    cluster.config(&NEW.replace("0.0.100", "0.0.99")).await;
    let mut restarted = subject.start(&cluster);
    restarted.settle().await;
    let (_, reason, message) = cluster.summary().await;
    assert_eq!(reason, "DowngradeRefused", "{message}");
    assert!(cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.is_none());
    cluster.config(NEW).await;
    restarted.settle().await;
    cluster.workload("tenant-a").await;
}

#[tokio::test]
async fn gw_w08_word_that_a_downgrade_is_meant_is_heard_at_once_where_either_is_annotated() {
    for told in [None, Some("--namespace paddock-system configmap platform-config paddock.dev/allow-downgrade=0.0.99")]
    {
        let subject = with(options(|options| options.probe = false));
        let (cluster, mut process) = settled(NEW, &subject).await;
        comes_up(&cluster).await;
        process.settle().await;
        cluster.config(&NEW.replace("0.0.100", "0.0.99")).await;
        process.settle().await;
        let (_, reason, message) = cluster.summary().await;
        assert_eq!(reason, "DowngradeRefused", "{message}");
        let command = told.map_or(message, |told| format!("kubectl annotate --overwrite {told}"));
        annotate(&cluster, &command).await;
        process.settle().await;
        // Another image takes its turn, for which nobody is here.
        assert_ne!(cluster.summary().await.1, "DowngradeRefused", "after {command}");
    }
}

#[tokio::test]
async fn gw_d13_replicas_are_left_and_what_they_mean_for_the_state_is_told() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    for (replicas, said) in [(3, "StateNotShared"), (0, "ScaledToZero")] {
        cluster.edit::<StatefulSet>("tenant-a", GATEWAY, "hpa", &json!({"spec": {"replicas": replicas}})).await;
        process.settle().await;
        assert_eq!(cluster.workload("tenant-a").await.spec.unwrap().replicas, Some(replicas));
        let (_, reason, message) = cluster.summary().await;
        assert_eq!(reason, said, "{message}");
        assert!(message.contains("kubectl scale statefulset openshell-gateway --namespace tenant-a"), "{message}");
    }
}

#[tokio::test]
async fn gw_w12_lost_key_of_retained_data_is_not_replaced() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    cluster.config("[]").await;
    process.settle().await;
    cluster.delete::<Secret>("tenant-a", KEK).await;
    cluster.config(NEW).await;
    subject().start(&cluster).settle().await;
    assert!(cluster.find::<Secret>("tenant-a", KEK).await.is_none());
    assert_eq!(cluster.summary().await.1, "EncryptionKeyMissing");
}

#[tokio::test]
async fn gw_w12_another_key_than_that_of_the_data_is_reported() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    cluster.edit::<Secret>("tenant-a", KEK, "restore", &json!({"data": {"key-encryption-key": "b3RoZXI="}})).await;
    process.settle().await;
    assert_eq!(cluster.summary().await.1, "EncryptionKeyMismatch");
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
    let version = json!({
        "name": "v1beta1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    });
    let names = json!({"kind": "Sandbox", "listKind": "SandboxList", "plural": "sandboxes", "singular": "sandbox"});
    let spec = json!({"group": "agents.x-k8s.io", "scope": "Namespaced", "names": names, "versions": [version]});
    cluster
        .add::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>(
            "",
            json!({"metadata": {"name": "sandboxes.agents.x-k8s.io"}, "spec": spec}),
        )
        .await;
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

#[tokio::test]
async fn gw_w24_live_sandboxes_block_the_removal_until_they_are_gone() {
    let cluster = Cluster::with("- name: tenant-a\n").await;
    sandbox(&cluster).await;
    let mut process = subject().start(&cluster);
    process.settle().await;
    cluster.config("[]").await;
    process.settle().await;
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
    let cluster = Cluster::with("- name: tenant-a\n").await;
    sandbox(&cluster).await;
    let mut process = subject.start(&cluster);
    process.settle().await;
    cluster.config("[]").await;
    process.settle().await;
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
    let cluster = Cluster::with("- name: tenant-a\n").await;
    sandbox(&cluster).await;
    let mut process = subject.start(&cluster);
    process.settle().await;
    cluster.config("[]").await;
    process.settle().await;
    assert_eq!(cluster.remains().await, [""; 0]);
    assert!(has_sandbox(&cluster).await, "sandboxes are not ours");
}

#[tokio::test]
async fn gw_w02_edit_of_a_child_is_reverted_and_its_author_named() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    let name = "openshell-gateway-config";
    let before = cluster.find::<ConfigMap>("tenant-a", name).await.unwrap()["data"].clone();
    cluster.edit::<ConfigMap>("tenant-a", name, "kubectl-edit", &json!({"data": {"gateway.toml": "x"}})).await;
    process.settle().await;
    assert_eq!(cluster.find::<ConfigMap>("tenant-a", name).await.unwrap()["data"], before);
    let notes = cluster.notes("tenant-a", "DriftReverted").await;
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("kubectl-edit (Update, ") && notes[0].contains(r#"changed data["gateway.toml"]"#));
    assert!(cluster.anchor("tenant-a").await["drift"].contains("kubectl-edit"));
    process.tap.clear();
    process.round().await.unwrap();
    assert_eq!(process.tap.writes(), [], "told once");
}

#[tokio::test]
async fn gw_d16_what_others_made_unchangeable_is_made_anew_when_it_has_to_change() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    let uid = async |name: &str| cluster.find::<Secret>("tenant-a", name).await.unwrap()["metadata"]["uid"].clone();
    let kept = ["openshell-gateway-jwt-keys", KEK, "openshell-client-tls"];
    let mut before = Vec::new();
    for name in kept.into_iter().chain(["openshell-server-tls"]) {
        cluster.edit::<Secret>("tenant-a", name, "kubectl-edit", &json!({"immutable": true})).await;
        before.push((uid(name).await, cluster.secret("tenant-a", name).await));
    }
    let file = "openshell-gateway-config";
    cluster.edit::<ConfigMap>("tenant-a", file, "kubectl-edit", &json!({"immutable": true})).await;
    cluster.config(&NEW.replace("{", "{serverDnsNames: [a.example], ")).await;
    process.settle().await;
    let config = cluster.find::<ConfigMap>("tenant-a", file).await.unwrap();
    assert!(config["data"]["gateway.toml"].as_str().unwrap().contains("a.example") && config["immutable"].is_null());
    for (name, (uid_before, keys)) in kept.into_iter().zip(&before) {
        assert_eq!((&uid(name).await, &cluster.secret("tenant-a", name).await), (uid_before, keys), "{name}");
    }
    assert_ne!(&uid("openshell-server-tls").await, &before[3].0);
    let notes = cluster.notes("tenant-a", "DriftReverted").await;
    assert!(notes.iter().any(|note| note.contains("kubectl-edit") && note.contains("changed immutable")), "{notes:?}");
    process.tap.clear();
    process.round().await.unwrap();
    assert_eq!(process.tap.writes(), []);
}

#[tokio::test]
async fn gw_w02_report_policy_leaves_the_edit_and_says_so() {
    let subject = policies(Policies { drift: DriftPolicy::Report, ..Policies::default() });
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject).await;
    let name = "openshell-gateway-config";
    cluster.edit::<ConfigMap>("tenant-a", name, "kubectl-edit", &json!({"data": {"gateway.toml": "x"}})).await;
    process.settle().await;
    assert_eq!(cluster.find::<ConfigMap>("tenant-a", name).await.unwrap()["data"]["gateway.toml"], "x");
    assert_eq!(cluster.notes("tenant-a", "DriftReported").await.len(), 1);
}

#[tokio::test]
async fn gw_l24_event_about_an_object_of_the_cluster_is_written_where_it_may_be() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    cluster.edit::<ClusterRoleBinding>("", READER, "kubectl-edit", &json!({"subjects": []})).await;
    process.settle().await;
    assert_eq!(cluster.notes("default", "DriftReverted").await.len(), 1);
}

#[tokio::test]
async fn gw_d13_what_others_own_stays_and_is_no_drift() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    let pull = json!({"imagePullSecrets": [{"name": "theirs"}], "metadata": {"annotations": {"theirs": "1"}}});
    cluster.edit::<ServiceAccount>("tenant-a", GATEWAY, "openshift", &pull).await;
    let scaled = json!({"metadata": {"finalizers": ["theirs.example/x"]}, "spec": {"replicas": 0}});
    cluster.edit::<StatefulSet>("tenant-a", GATEWAY, "kubectl-scale", &scaled).await;
    process.tap.clear();
    process.settle().await;
    cluster.config("- name: tenant-a\n  gateway: {serverDnsNames: [a.example]}\n").await;
    process.settle().await;
    let account = cluster.find::<ServiceAccount>("tenant-a", GATEWAY).await.unwrap();
    assert_eq!(account["imagePullSecrets"][0]["name"], "theirs");
    assert_eq!(account["metadata"]["annotations"]["theirs"], "1");
    let set = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["finalizers"][0]), (&json!(0), &json!("theirs.example/x")));
    assert!(cluster.notes("tenant-a", "DriftReverted").await.is_empty());
}

#[tokio::test]
async fn gw_d25_lost_secret_is_made_anew() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    cluster.delete::<Secret>("tenant-a", "openshell-client-tls").await;
    process.settle().await;
    assert!(cluster.find::<Secret>("tenant-a", "openshell-client-tls").await.is_some());
}

#[tokio::test]
async fn gw_d14_conflict_is_tried_again() {
    use paddock_apiserver::fault::{Action, Rule};
    use paddock_apiserver::request::Verb;

    let cluster = Cluster::with("- name: tenant-a\n").await;
    cluster.0.faults().add(Rule::new(Action::Status(409)).verb(Verb::Patch).resource("services").times(2));
    let mut process = subject().start(&cluster);
    for _ in 0..6 {
        process.round().await.unwrap();
    }
    cluster.workload("tenant-a").await;
}

#[tokio::test]
async fn gw_d11_namespace_that_cannot_be_read_is_not_taken_for_missing() {
    use paddock_apiserver::fault::{Action, Rule};
    use paddock_apiserver::request::Verb;

    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    let key = process.settle().await.into_keys().next().unwrap();
    for status in [403, 500] {
        cluster.0.faults().add(Rule::new(Action::Status(status)).verb(Verb::Get).resource("namespaces").times(1));
        assert_eq!(process.pass(&key).await.outcome(), "transient", "{status}");
    }
}

#[tokio::test]
async fn gw_l04_failed_write_is_not_ready() {
    use paddock_apiserver::fault::{Action, Rule};
    use paddock_apiserver::request::Verb;

    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    cluster.0.faults().add(Rule::new(Action::Status(500)).verb(Verb::Patch).resource("statefulsets").always());
    cluster.config("- name: tenant-a\n  gateway: {serverDnsNames: [a.example]}\n").await;
    for _ in 0..3 {
        process.round().await.unwrap();
    }
    let anchor = cluster.anchor("tenant-a").await;
    let summary: Value = serde_json::from_str(&anchor["summary"]).unwrap();
    assert_eq!((&summary["ready"], &summary["reason"]), (&json!(false), &json!("ApplyFailed")));
}

#[tokio::test]
async fn terminating_namespace_is_left_alone_without_an_error() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    let held = json!({"metadata": {"finalizers": ["theirs.example/x"]}});
    cluster.edit::<Namespace>("", "tenant-a", "user", &held).await;
    cluster.delete::<Namespace>("", "tenant-a").await;
    cluster.delete::<Service>("tenant-a", GATEWAY).await;
    process.tap.clear();
    let passed = process.settle().await;
    assert!(passed.values().all(|passed| passed.outcome() == "waiting"), "{passed:?}");
    assert_eq!(process.tap.writes(), []);
}

/// The namespace and everything in it is gone, without a controller that saw it; then it is there again.
async fn recreate(cluster: &Cluster) {
    for kind in [Kind::of::<ConfigMap>(), Kind::of::<Secret>(), Kind::of::<StatefulSet>(), Kind::of::<Service>()] {
        let api = kind.api(cluster.client(), Some("tenant-a"));
        for object in api.list(&ListParams::default()).await.unwrap() {
            api.delete(&object.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
        }
    }
    cluster.delete::<Namespace>("", "tenant-a").await;
    if cluster.find::<Namespace>("", "tenant-a").await.is_some() {
        // The namespace's own loop is off.
        let mut namespace = cluster.find::<Namespace>("", "tenant-a").await.unwrap();
        namespace["spec"]["finalizers"] = json!([]);
        let api: kube::Api<Namespace> = kube::Api::all(cluster.client());
        api.replace_subresource("finalize", "tenant-a", &PostParams::default(), &namespace).await.unwrap();
    }
    cluster.namespace("tenant-a").await;
}

#[tokio::test]
async fn namespace_made_anew_while_nobody_looked_gets_another_authority() {
    let (cluster, _) = settled("- name: tenant-a\n", &subject()).await;
    let before = cluster.secret(HOME, CA).await;
    recreate(&cluster).await;
    subject().start(&cluster).settle().await;
    cluster.workload("tenant-a").await;
    let after = cluster.secret(HOME, CA).await;
    assert_ne!(before["tls.crt"], after["tls.crt"]);
    assert_eq!(cluster.secret("tenant-a", "openshell-server-tls").await["ca.crt"], after["tls.crt"]);
}

#[tokio::test]
async fn namespace_and_entry_gone_leave_nothing_outside() {
    let (cluster, _) = settled("- name: tenant-a\n", &subject()).await;
    recreate(&cluster).await;
    cluster.config("[]").await;
    subject().start(&cluster).settle().await;
    assert!(cluster.find::<ClusterRoleBinding>("", READER).await.is_none());
    assert!(cluster.find::<Secret>(HOME, CA).await.is_none());
}

#[tokio::test]
async fn gw_f11_everything_in_the_namespace_has_the_anchor_as_controller_but_the_data_and_keys() {
    let (cluster, _) = settled(NEW, &subject()).await;
    let anchor = cluster.find::<ConfigMap>("tenant-a", ANCHOR).await.unwrap();
    for (kind, name) in [(Kind::of::<Secret>(), "openshell-server-tls"), (Kind::of::<Service>(), GATEWAY)] {
        let object = kind.api(cluster.client(), Some("tenant-a")).get(name).await.unwrap();
        let owners = object.metadata.owner_references.unwrap();
        assert_eq!((owners.len(), owners[0].controller), (1, Some(true)), "{name}");
        assert_eq!(owners[0].uid, anchor["metadata"]["uid"].as_str().unwrap(), "{name}");
    }
    let key = cluster.find::<Secret>("tenant-a", KEK).await.unwrap();
    let claim = cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.unwrap();
    let tokens = cluster.find::<Secret>("tenant-a", TOKENS).await.unwrap();
    assert!([key, claim, tokens].iter().all(|object| object["metadata"].get("ownerReferences").is_none()));
}

/// Deletes the anchor and, as the garbage collector does then, what it owns.
async fn loses_its_anchor(cluster: &Cluster) {
    let uid = cluster.find::<ConfigMap>("tenant-a", ANCHOR).await.unwrap()["metadata"]["uid"].clone();
    cluster.delete::<ConfigMap>("tenant-a", ANCHOR).await;
    for kind in [Kind::of::<ConfigMap>(), Kind::of::<Secret>(), Kind::of::<StatefulSet>(), Kind::of::<Service>()] {
        let api = kind.api(cluster.client(), Some("tenant-a"));
        for object in api.list(&ListParams::default()).await.unwrap() {
            let owners = object.metadata.owner_references.unwrap_or_default();
            if owners.iter().any(|owner| uid == owner.uid.as_str()) {
                api.delete(&object.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn gw_l07_anchor_that_somebody_deletes_takes_no_key_along() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    let before = [cluster.secret("tenant-a", TOKENS).await, cluster.secret("tenant-a", KEK).await];
    let authority = cluster.secret(HOME, CA).await;
    loses_its_anchor(&cluster).await;
    process.settle().await;
    assert_eq!([cluster.secret("tenant-a", TOKENS).await, cluster.secret("tenant-a", KEK).await], before);
    assert_eq!(cluster.secret(HOME, CA).await, authority);
    cluster.workload("tenant-a").await;
}

#[tokio::test]
async fn gw_l11_removed_tenant_whose_anchor_is_gone_leaves_no_token_keys() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &deleting()).await;
    loses_its_anchor(&cluster).await;
    cluster.config("[]").await;
    process.settle().await;
    assert!(cluster.find::<Secret>("tenant-a", TOKENS).await.is_none());
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
