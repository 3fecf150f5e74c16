//! A namespace in which the control plane may not write is told exactly, and holds nobody else up.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::{PolicyRule, RoleBinding, RoleRef, Subject};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use paddock_apiserver::Server;
use paddock_controllers::gateways::{
    GatewayMetrics, NAMESPACES_KEY, Options, PLATFORM_CONFIG, STATUS, controllers, rbac,
};
use paddock_reconcile::{Context, Identity, Runtime};
use paddock_trials::account_with;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const HOME: &str = "paddock-system";

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Everybody may look everywhere; what is written below namespaces needs a binding there.
fn looking() -> Vec<PolicyRule> {
    let looks = |verb: &String| matches!(verb.as_str(), "get" | "list" | "watch");
    let within = |rule: &PolicyRule| {
        let resources = rule.resources.clone().unwrap_or_default();
        !resources.iter().any(|resource| resource.starts_with("cluster"))
    };
    let mut rules = rbac::controller_rules();
    for rule in rules.iter_mut().filter(|rule| within(rule)) {
        rule.verbs.retain(looks);
    }
    rules.retain(|rule| !rule.verbs.is_empty());
    rules
}

#[tokio::test]
async fn gw_w10_a_forbidden_namespace_is_told_exactly_and_holds_nobody_up() {
    let server = Server::builder().in_memory().only(&[]).start().await.unwrap();
    for name in [HOME, "tenant-a", "tenant-b"] {
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        Api::all(server.client()).create(&PostParams::default(), &namespace).await.unwrap();
    }
    Api::all(server.client()).create(&PostParams::default(), &rbac::node_reader()).await.unwrap();
    let account = account_with(&server, looking()).await;
    let role = k8s_openapi::api::rbac::v1::ClusterRole {
        metadata: named("writer"),
        rules: Some(rbac::controller_rules()),
        ..Default::default()
    };
    Api::all(server.client()).create(&PostParams::default(), &role).await.unwrap();
    for namespace in [HOME, "tenant-b"] {
        let binding = RoleBinding {
            metadata: named("writer"),
            role_ref: RoleRef { kind: "ClusterRole".into(), name: "writer".into(), ..RoleRef::default() },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".into(),
                name: "trial".into(),
                namespace: Some("kube-system".into()),
                ..Subject::default()
            }]),
        };
        Api::namespaced(server.client(), namespace).create(&PostParams::default(), &binding).await.unwrap();
    }
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": PLATFORM_CONFIG },
        "data": { NAMESPACES_KEY: "- name: tenant-a\n- name: tenant-b\n" },
    });
    let home: Api<ConfigMap> = Api::namespaced(server.client(), HOME);
    home.patch(PLATFORM_CONFIG, &PatchParams::apply("user"), &Patch::Apply(&body)).await.unwrap();
    let cx = Context::new(server.client_as(account), Identity::new("paddock", "paddock.dev", "trial"));
    let (gateways, status, fleet) = controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default());
    let cancel = CancellationToken::new();
    let running = tokio::spawn(
        Runtime::new(cx).with_controller(gateways).with_controller(status).with_controller(fleet).run(cancel.clone()),
    );
    let reported = await_condition(home, STATUS, |config: Option<&ConfigMap>| {
        let row = |tenant: &str| -> Option<Value> { serde_json::from_str(config?.data.as_ref()?.get(tenant)?).ok() };
        let (Some(a), Some(b)) = (row("tenant-a"), row("tenant-b")) else { return false };
        a["reason"] == "PermissionsMissing"
            && a["message"].as_str().is_some_and(|text| text.contains("create, patch, delete configmaps"))
            && b["reason"] == "NoNode"
    });
    tokio::time::timeout(Duration::from_secs(30), reported).await.expect("both are reported").unwrap();
    cancel.cancel();
    running.await.unwrap().unwrap();
}
