//! The objects that every cluster has from its first moment: namespaces and what controllers would put into them, the
//! `kubernetes` Service, priority classes, the APIServices of the built-in groups, roles and bindings. Written once; what exists is
//! left alone, but roles and bindings get back what they miss.

mod rbac;

use futures::future::try_join_all;
use paddock_workloads::{Workload, accounts};
use serde_json::{Value, json};

use crate::api::Api;
use crate::clock::rfc3339_seconds;
use crate::loops::Loop;
use crate::status::Status;
use crate::store::{Expect, Key, Write};

/// The namespaces of a new cluster.
pub(crate) const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// The address of the `kubernetes` Service: the first of the service range 10.96.0.0/16.
const KUBERNETES_SERVICE_IP: &str = "10.96.0.1";

/// What controllers, of those that run, would make in a new namespace: done here, so that they need not run before they have work.
fn belongings(namespace: &str, loops: &[Loop], root_ca: &str) -> Vec<(&'static str, Value)> {
    let runs = |workload| loops.contains(&Loop::Workload(workload));
    let mut objects = Vec::new();
    if runs(Workload::ServiceAccounts) {
        objects.push(("/serviceaccounts", json!(accounts::account(namespace))));
    }
    if runs(Workload::RootCa) {
        objects.push(("/configmaps", json!(accounts::authorities(namespace, root_ca))));
    }
    objects
}

/// Writes what is missing, in one group commit.
pub(crate) async fn first_objects(api: &Api, loops: &[Loop], root_ca: &str) -> Result<(), Status> {
    let mut objects: Vec<(&str, Value)> = Vec::new();
    for name in NAMESPACES {
        if api.store.get("/namespaces", "", name).is_none() {
            objects.extend(belongings(name, loops, root_ca));
        }
        objects.push((
            "/namespaces",
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            }),
        ));
    }
    objects.push((
        "/services",
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "type": "ClusterIP", "clusterIP": KUBERNETES_SERVICE_IP, "clusterIPs": [KUBERNETES_SERVICE_IP],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}], "sessionAffinity": "None",
            },
            "status": {"loadBalancer": {}},
        }),
    ));
    for (name, value, about) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        objects.push((
            "scheduling.k8s.io/priorityclasses",
            json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name, "generation": 1},
                "value": value, "description": about, "preemptionPolicy": "PreemptLowerPriority",
            }),
        ));
    }
    for (group, version) in api.registry.served().versions() {
        objects.push(("apiregistration.k8s.io/apiservices", api_service(&group, &version, api)));
    }
    let now = rfc3339_seconds(api.clock.now());
    let mut writes = Vec::new();
    for (storage, object) in objects {
        let key = key(storage, &object);
        if api.store.get(storage, &key.namespace, &key.name).is_none() {
            writes.push((key, Expect::Absent, created(object, &now)));
        }
    }
    for (storage, wanted) in rbac::objects() {
        let key = key(storage, &wanted);
        let Some(live) = api.store.get(storage, &key.namespace, &key.name) else {
            writes.push((key, Expect::Absent, created(wanted, &now)));
            continue;
        };
        let decoded = live.decode().map_err(|e| Status::internal(e.to_string()))?;
        match rbac::reconcile(&decoded, &wanted) {
            rbac::Reconciled::Right => {}
            rbac::Reconciled::Changed(object) => writes.push((key, Expect::Revision(live.revision()), object)),
            rbac::Reconciled::Replaced => {
                let gone = Write { key: key.clone(), expect: Expect::Revision(live.revision()), value: None };
                // Nobody else writes yet.
                let _ = api.write(gone).await?;
                writes.push((key, Expect::Absent, created(wanted, &now)));
            }
        }
    }
    let writes = writes.into_iter().map(|(key, expect, object)| async move {
        let value = crate::store::Encoded::new(&object).map_err(|e| Status::internal(e.to_string()))?;
        api.write(Write { key, expect, value: Some(value) }).await
    });
    try_join_all(writes).await.map(|_| ())
}

fn key(storage: &str, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    Key::new(storage, text("namespace"), text("name"))
}

/// With what the server gives to a new object.
fn created(mut object: Value, now: &str) -> Value {
    object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
    object["metadata"]["creationTimestamp"] = now.into();
    object
}

/// The APIService of a group that this server itself serves.
fn api_service(group: &str, version: &str, api: &Api) -> Value {
    let mut spec = json!({
        "version": version,
        "groupPriorityMinimum": if group.is_empty() { 18000 } else { 17000 },
        "versionPriority": 15,
    });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
        "spec": spec,
        "status": {"conditions": [{
            "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
            "lastTransitionTime": rfc3339_seconds(api.clock.now()),
        }]},
    })
}
