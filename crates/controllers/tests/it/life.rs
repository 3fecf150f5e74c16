//! The life of gateways: their anchor, namespaces that come and go, faults; and what tests of a life share.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use paddock_api::DataPolicy;
use paddock_controllers::gateways::{GatewayMetrics, Gateways, Options, Policies, controllers};
use paddock_reconcile::Kind;
use paddock_trials::{Process, Subject, World as _};
use serde_json::{Value, json};

use crate::gateways::{Cluster, HOME, without_keys};

pub(crate) const GATEWAY: &str = "openshell-gateway";
pub(crate) const CLAIM: &str = "openshell-data-openshell-gateway-0";
pub(crate) const KEK: &str = "openshell-gateway-credential-storage-key-encryption-key";
pub(crate) const SERVER: &str = "openshell-server-tls";
pub(crate) const CLIENT: &str = "openshell-client-tls";
pub(crate) const TOKENS: &str = "openshell-gateway-jwt-keys";
pub(crate) const ANCHOR: &str = "openshell-gateway-anchor";
pub(crate) const READER: &str = "openshell-gateway-node-reader-tenant-a";
pub(crate) const CA: &str = "openshell-ca-tenant-a";
/// A gateway that encrypts stored credentials.
pub(crate) const NEW: &str = "- name: tenant-a\n  gateway: {image: 'ghcr.io/nvidia/openshell/gateway:0.0.100'}\n";

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

pub(crate) fn policies(policies: Policies) -> Subject<Gateways> {
    with(options(|options| options.rules.policies = policies))
}

pub(crate) fn deleting() -> Subject<Gateways> {
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

    pub(crate) async fn add_kind(&self, kind: &Kind, namespace: &str, body: &mut Value) -> Value {
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

    /// What Events of this reason say, as often as they were told: one that repeats is one object.
    pub(crate) async fn notes(&self, namespace: &str, reason: &str) -> Vec<String> {
        let kind = Kind::of::<k8s_openapi::api::events::v1::Event>();
        let events = kind.api(self.client(), Some(namespace)).list(&ListParams::default()).await.unwrap();
        let of = events.items.into_iter().filter(|event| event.data["reason"] == reason);
        let told = |event: DynamicObject| {
            let times = event.data["series"]["count"].as_u64().unwrap_or(1);
            (0..times).map(move |_| event.data["note"].as_str().unwrap().to_owned())
        };
        of.flat_map(told).collect()
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

/// Follows the command in a message: `kubectl annotate --overwrite …`.
pub(crate) async fn annotate(cluster: &Cluster, message: &str) {
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
async fn gw_w04_anchor_that_somebody_deletes_restarts_the_gateway_once_and_takes_no_key_along() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    let keys = async || {
        let kept = [cluster.secret("tenant-a", TOKENS).await, cluster.secret("tenant-a", KEK).await];
        (kept, cluster.secret(HOME, CA).await, cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await)
    };
    let (before, workload) = (keys().await, cluster.workload("tenant-a").await);
    let leaves = [cluster.secret("tenant-a", SERVER).await, cluster.secret("tenant-a", CLIENT).await];
    loses_its_anchor(&cluster).await;
    process.settle().await;
    assert_eq!(keys().await, before);
    let again = cluster.workload("tenant-a").await;
    assert_eq!(again.spec.unwrap().template, workload.spec.unwrap().template, "the same gateway");
    assert_ne!(again.metadata.uid, workload.metadata.uid);
    // Whoever believed the old leaves believes the new ones.
    for (name, leaf) in [SERVER, CLIENT].into_iter().zip(leaves) {
        let made = cluster.secret("tenant-a", name).await;
        assert!(made["ca.crt"] == leaf["ca.crt"] && made["tls.crt"] != leaf["tls.crt"], "{name}");
    }
    process.tap.clear();
    process.round().await.unwrap();
    assert_eq!(process.tap.writes(), vec![]);
}

#[tokio::test]
async fn gw_l11_removed_tenant_whose_anchor_is_gone_leaves_no_token_keys() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &deleting()).await;
    loses_its_anchor(&cluster).await;
    cluster.config("[]").await;
    process.settle().await;
    assert!(cluster.find::<Secret>("tenant-a", TOKENS).await.is_none());
}
