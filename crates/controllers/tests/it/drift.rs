//! What others change or delete of a gateway's objects.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use paddock_api::DriftPolicy;
use paddock_controllers::gateways::Policies;
use serde_json::json;

use crate::life::{GATEWAY, KEK, NEW, READER, policies, settled, subject};

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
async fn gw_w02_label_that_is_added_to_a_selector_is_taken_out_and_told() {
    let (cluster, mut process) = settled("- name: tenant-a\n", &subject()).await;
    let before = cluster.find::<Service>("tenant-a", GATEWAY).await.unwrap()["spec"]["selector"].clone();
    let added = json!({"spec": {"selector": {"theirs": "1"}}});
    cluster.edit::<Service>("tenant-a", GATEWAY, "kubectl-patch", &added).await;
    process.settle().await;
    assert_eq!(cluster.find::<Service>("tenant-a", GATEWAY).await.unwrap()["spec"]["selector"], before);
    let notes = cluster.notes("tenant-a", "DriftReverted").await;
    assert!(notes.len() == 1 && notes[0].contains("changed spec.selector"), "{notes:?}");
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
