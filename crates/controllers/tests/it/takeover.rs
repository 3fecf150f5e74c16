//! What cannot change in place, and what an earlier provisioner left.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use paddock_controllers::gateways::{Database, Gateways};
use paddock_reconcile::Kind;
use paddock_trials::{Process, Subject, World as _};
use serde_json::{Value, json};

use crate::gateways::{Cluster, TWO};
use crate::life::{GATEWAY, options, settled, subject, with};

const ONE: &str = "- name: tenant-a\n";
const CLAIM: &str = "openshell-data-openshell-gateway-0";

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}

/// Puts the object in the place of itself with a change that it could not have got where it was, as somebody could who may
/// delete and create.
async fn swap<K>(cluster: &Cluster, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) -> Value
where
    K: k8s_openapi::Resource,
    K::Scope: 'static,
{
    let mut object = cluster.find::<K>(namespace, name).await.unwrap();
    cluster.delete::<K>(namespace, name).await;
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object.as_object_mut().unwrap().remove("status");
    change(&mut object);
    cluster.add::<K>(namespace, object).await
}

/// Rounds with the help of what the garbage collector would do: a set that lost its dependents may go.
async fn settle(cluster: &Cluster, process: &mut Process<Gateways>) {
    for _ in 0..3 {
        process.settle().await;
        if let Some(set) = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await
            && set["metadata"]["deletionTimestamp"].is_string()
        {
            let free = json!({"metadata": {"finalizers": null}});
            cluster.edit::<StatefulSet>("tenant-a", GATEWAY, "garbage-collector", &free).await;
        }
    }
}

#[tokio::test]
async fn gw_d16_statefulset_is_made_anew_and_its_pods_and_volume_stay() {
    let changes: [(&str, Value); 4] = [
        ("serviceName", json!("other")),
        ("podManagementPolicy", json!("Parallel")),
        ("selector", json!({"matchLabels": {"app.kubernetes.io/name": "openshell"}})),
        (
            "volumeClaimTemplates",
            json!([{
                "metadata": {"name": "openshell-data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "512Mi"}}},
            }]),
        ),
    ];
    for (field, value) in changes {
        let (cluster, mut process) = settled(ONE, &subject()).await;
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        cluster.add::<ServiceAccount>("tenant-a", json!({"metadata": {"name": "default"}})).await;
        let pod = json!({"metadata": {"name": "openshell-gateway-0"}, "spec": spec});
        cluster.add::<Pod>("tenant-a", pod).await;
        let set = swap::<StatefulSet>(&cluster, "tenant-a", GATEWAY, |set| set["spec"][field] = value).await;
        settle(&cluster, &mut process).await;
        let now = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap();
        if field == "podManagementPolicy" {
            // It is not among the fields that we own, so it is left as it is.
            assert_eq!(uid(&now), uid(&set));
        } else {
            assert_ne!(uid(&now), uid(&set), "{field}");
        }
        assert!(cluster.find::<Pod>("tenant-a", "openshell-gateway-0").await.is_some(), "{field}");
        assert!(cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.is_some(), "{field}");
    }
}

#[tokio::test]
async fn gw_d16_bindings_are_made_anew_for_another_role() {
    let (cluster, mut process) = settled(ONE, &subject()).await;
    let other = |binding: &mut Value| binding["roleRef"]["name"] = "other".into();
    swap::<RoleBinding>(&cluster, "tenant-a", "openshell-gateway-sandbox", other).await;
    let reader = "openshell-gateway-node-reader-tenant-a";
    swap::<ClusterRoleBinding>(&cluster, "", reader, other).await;
    process.settle().await;
    let binding = cluster.find::<RoleBinding>("tenant-a", "openshell-gateway-sandbox").await.unwrap();
    assert_eq!(binding["roleRef"]["name"], "openshell-gateway-sandbox");
    let binding = cluster.find::<ClusterRoleBinding>("", reader).await.unwrap();
    assert_eq!(binding["roleRef"]["name"], "openshell-gateway-node-reader");
}

#[tokio::test]
async fn gw_d16_address_of_the_service_is_never_touched() {
    let (cluster, mut process) = settled(ONE, &subject()).await;
    let made = swap::<Service>(&cluster, "tenant-a", GATEWAY, |service| {
        service["spec"]["clusterIP"] = "10.96.7.7".into();
        service["spec"]["clusterIPs"] = json!(["10.96.7.7"]);
        service["spec"]["ports"] = json!([{"port": 1}]);
    })
    .await;
    process.settle().await;
    let now = cluster.find::<Service>("tenant-a", GATEWAY).await.unwrap();
    assert_eq!((uid(&now), &now["spec"]["clusterIP"]), (uid(&made), &json!("10.96.7.7")));
    assert!(now["spec"]["ports"].as_array().unwrap().iter().any(|port| port["port"] == 8080));
}

/// Ports of a Service need names when there are several: what is wanted cannot stand beside this one.
#[tokio::test]
async fn gw_d12_edit_that_cannot_stand_beside_what_is_wanted_is_undone_too() {
    let (cluster, mut process) = settled(ONE, &subject()).await;
    let before = cluster.find::<Service>("tenant-a", GATEWAY).await.unwrap()["spec"].clone();
    for again in [false, true] {
        let edit = json!({"spec": {"ports": [{"port": 1}]}});
        cluster.edit::<Service>("tenant-a", GATEWAY, "kubectl-patch", &edit).await;
        if again {
            process = subject().start(&cluster);
        }
        process.settle().await;
        assert_eq!(cluster.find::<Service>("tenant-a", GATEWAY).await.unwrap()["spec"], before);
    }
}

#[tokio::test]
async fn gw_d16_type_of_a_secret_is_reported() {
    let (cluster, mut process) = settled(ONE, &subject()).await;
    swap::<Secret>(&cluster, "tenant-a", "openshell-server-tls", |secret| secret["type"] = "Opaque".into()).await;
    process.settle().await;
    let (_, reason, message) = cluster.summary().await;
    assert_eq!(reason, "ApplyFailed");
    assert!(message.contains("Secret tenant-a/openshell-server-tls: /type cannot change"), "{message}");
}

async fn small_claim(cluster: &Cluster, expandable: bool) {
    let class = json!({"metadata": {"name": "c"}, "provisioner": "x", "allowVolumeExpansion": expandable});
    cluster.add::<StorageClass>("", class).await;
    let labels = json!({"app.kubernetes.io/name": "openshell", "app.kubernetes.io/instance": GATEWAY});
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "512Mi"}}, "storageClassName": "c",
        "volumeName": "v",
    });
    let claim = json!({"metadata": {"name": CLAIM, "labels": labels}, "spec": spec});
    let made = cluster.add::<PersistentVolumeClaim>("tenant-a", claim).await;
    let api = Kind::of::<PersistentVolumeClaim>().api(cluster.client(), Some("tenant-a"));
    let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "512Mi"}}});
    let params = kube::api::PatchParams::default();
    let name = made["metadata"]["name"].as_str().unwrap();
    api.patch_status(name, &params, &kube::api::Patch::Merge(&bound)).await.unwrap();
}

#[tokio::test]
async fn gw_d16_claim_grows_when_its_class_allows_it_and_else_is_reported() {
    for (expandable, size, notes) in [(true, "1Gi", 0), (false, "512Mi", 1)] {
        let cluster = Cluster::with(ONE).await;
        small_claim(&cluster, expandable).await;
        subject().start(&cluster).settle().await;
        let claim = cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.unwrap();
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], size);
        assert_eq!(cluster.notes("tenant-a", "VolumeCannotGrow").await.len(), notes);
    }
}

#[tokio::test]
async fn gw_l08_database_switched_both_ways_leaves_one_workload_and_the_volume() {
    let postgres = || with(options(|options| options.rules.database = Database::postgres("database").unwrap()));
    let (cluster, _) = settled(ONE, &subject()).await;
    let secret = json!({"metadata": {"name": "database"}, "data": {"uri": "eA=="}});
    cluster.add::<Secret>("tenant-a", secret).await;
    for (subject, volumes) in [(postgres(), 0), (subject(), 1)] {
        let mut process = subject.start(&cluster);
        settle(&cluster, &mut process).await;
        let set = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap();
        assert_eq!(set["spec"]["volumeClaimTemplates"].as_array().map_or(0, Vec::len), volumes);
        let workloads = cluster.remains().await.into_iter().filter(|one| one.starts_with("StatefulSet")).count();
        assert_eq!(workloads, 1);
        assert!(cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.is_some());
        process.tap.clear();
        process.round().await.unwrap();
        assert_eq!(process.tap.writes(), []);
    }
}

/// A namespace as the earlier provisioner left it: its names, its labels, whole objects written at once.
async fn earlier(cluster: &Cluster) {
    let labels = json!({
        "app.kubernetes.io/name": "openshell", "app.kubernetes.io/component": "gateway",
        "app.kubernetes.io/managed-by": "agent-control-plane",
    });
    let metadata = |name: &str| json!({"name": name, "labels": labels});
    for name in [GATEWAY, "openshell-gateway-sandbox", "openshell-gateway-certgen"] {
        cluster.add::<ServiceAccount>("tenant-a", json!({"metadata": metadata(name)})).await;
    }
    let data = json!({"gateway.toml": "[openshell]\nversion = 1\n"});
    cluster.add::<ConfigMap>("tenant-a", json!({"metadata": metadata("openshell-gateway-config"), "data": data})).await;
    let selector = json!({"app.kubernetes.io/name": "openshell", "app.kubernetes.io/instance": GATEWAY});
    let ports = json!([{"name": "grpc", "port": 8080, "appProtocol": "grpc"}, {"name": "metrics", "port": 9090}]);
    let service = json!({"metadata": metadata(GATEWAY), "spec": {"selector": selector, "ports": ports}});
    cluster.add::<Service>("tenant-a", service).await;
    let reference =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "openshell-gateway-sandbox"});
    let binding = json!({"metadata": metadata("openshell-gateway-sandbox"), "roleRef": reference});
    cluster.add::<RoleBinding>("tenant-a", binding).await;
    let mut pod_labels = labels.clone();
    pod_labels["app.kubernetes.io/instance"] = GATEWAY.into();
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-07-01T00:00:00Z"});
    let container = json!({
        "name": "gateway", "image": "ghcr.io/nvidia/openshell/gateway:0.0.71",
        "env": [{"name": "OPENSHELL_DISABLE_TLS", "value": "true"}],
    });
    let claims = json!([{
        "metadata": {"name": "openshell-data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }]);
    let spec = json!({
        "replicas": 1, "serviceName": GATEWAY, "selector": {"matchLabels": selector}, "volumeClaimTemplates": claims,
        "template": {"metadata": {"labels": pod_labels, "annotations": annotations}, "spec": {"containers": [container]}},
    });
    cluster.add::<StatefulSet>("tenant-a", json!({"metadata": metadata(GATEWAY), "spec": spec})).await;
    cluster.claim().await;
}

fn adopting() -> Subject<Gateways> {
    with(options(|options| options.adopt = true))
}

#[tokio::test]
async fn gw_w16_objects_of_the_earlier_provisioner_are_named_and_left_alone() {
    let cluster = Cluster::with(ONE).await;
    earlier(&cluster).await;
    let before = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap();
    subject().start(&cluster).settle().await;
    assert_eq!(cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap(), before);
    let (_, reason, message) = cluster.summary().await;
    assert_eq!(reason, "ApplyFailed");
    assert!(message.contains("ServiceAccount tenant-a/openshell-gateway exists"), "{message}");
    assert!(message.contains("agent-control-plane"), "{message}");
}

#[tokio::test]
async fn gw_w16_adopted_in_place_with_one_new_template() {
    let cluster = Cluster::with(ONE).await;
    earlier(&cluster).await;
    let before = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap();
    let claim = cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.unwrap();
    let mut process = adopting().start(&cluster);
    process.settle().await;
    let after = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap();
    assert_eq!(uid(&after), uid(&before));
    assert_eq!(after["metadata"]["generation"], 2, "one change of the template");
    let template = &after["spec"]["template"];
    assert_eq!(template["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(template["spec"]["containers"][0]["name"], GATEWAY);
    assert!(!template.to_string().contains("OPENSHELL_DISABLE_TLS"));
    assert!(!template.to_string().contains("restartedAt"));
    let kept = cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.unwrap();
    assert_eq!(uid(&kept), uid(&claim));
    assert!(cluster.find::<ServiceAccount>("tenant-a", "openshell-gateway-certgen").await.is_some());
}

#[tokio::test]
async fn gw_d01_an_adopted_gateway_is_changed_once_and_then_never() {
    let cluster = Cluster::with(ONE).await;
    earlier(&cluster).await;
    adopting().start(&cluster).settle().await;
    let before = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap()["metadata"]["generation"].clone();
    for subject in [adopting(), subject()] {
        let mut process = subject.start(&cluster);
        process.round().await.unwrap();
        assert_eq!(process.tap.writes(), []);
    }
    cluster.config("- name: tenant-a\n  gateway: {serverDnsNames: [a.example]}\n").await;
    let mut process = subject().start(&cluster);
    process.settle().await;
    process.settle().await;
    let after = cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.unwrap()["metadata"]["generation"].clone();
    assert_eq!(after.as_i64(), before.as_i64().map(|before| before + 1));
}

#[tokio::test]
async fn gw_w16_crash_after_any_write_of_an_adoption_converges() {
    let fresh = async || {
        let cluster = Cluster::with(ONE).await;
        earlier(&cluster).await;
        cluster
    };
    paddock_trials::crash_after_every_write_converges(fresh, &adopting()).await;
}

/// What a watch tells may be anything: no source may stumble over it.
#[tokio::test]
async fn gw_f29_strange_objects_are_skipped() {
    use paddock_reconcile::{Change, Controller as _};

    let (_, process) = settled(TWO, &subject()).await;
    let strange = [
        json!(null),
        json!(7),
        json!([]),
        json!({"metadata": 1}),
        json!({"metadata": {"labels": {"paddock.dev/tenant": 3}}}),
    ];
    for source in process.controller.sources() {
        for object in &strange {
            source.keys_of(&Change { before: None, after: Some(object) });
            source.keys_of(&Change { before: Some(object), after: None });
        }
    }
}
