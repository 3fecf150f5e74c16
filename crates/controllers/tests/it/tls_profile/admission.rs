//! Who may write what the operator hands over, by the admission policy that is installed with it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use paddock_apiserver::{Server, User};
use paddock_controllers::tls_profile::{DECISION, controller_rules, writers};
use paddock_trials::World;
use serde_json::{Value, json};

use super::{Cluster, FOLLOW, HOME, decider, deliverer};

const OPERATOR: &str = "paddock-operator";
const HANDED: &str = "w-tls-profile";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// A cluster with the policy, where Modern was decided on and handed to the Deployment `w` by the operator's own account.
async fn guarded() -> Cluster {
    let cluster = Cluster(Server::builder().in_memory().start().await.unwrap());
    cluster.create("v1", "Namespace", "namespaces", None, json!({"metadata": {"name": HOME}})).await;
    cluster.create("v1", "Namespace", "namespaces", None, json!({"metadata": {"name": "apps"}})).await;
    let [policy, binding] = writers(HOME, OPERATOR);
    for (kind, plural, object) in [
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", policy),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", binding),
    ] {
        cluster.create("admissionregistration.k8s.io/v1", kind, plural, None, object).await;
    }
    let role = json!({"metadata": {"name": OPERATOR}, "rules": controller_rules()});
    cluster.create(RBAC, "ClusterRole", "clusterroles", None, role).await;
    let account = json!({"kind": "ServiceAccount", "name": OPERATOR, "namespace": HOME});
    bind(&cluster, "ClusterRoleBinding", None, OPERATOR, account).await;
    let person = json!({"kind": "User", "name": "tenant", "apiGroup": "rbac.authorization.k8s.io"});
    bind(&cluster, "RoleBinding", Some("apps"), "admin", person.clone()).await;
    bind(&cluster, "RoleBinding", Some(HOME), "admin", person).await;
    cluster.openshift().await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Modern"}})).await;
    cluster.deployment("w", json!({}), json!({}), json!({"replicas": 0})).await;
    operator(&cluster).await;
    cluster
}

async fn bind(cluster: &Cluster, kind: &str, namespace: Option<&str>, role: &str, subject: Value) {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
    let object = json!({"metadata": {"name": "b"}, "roleRef": role, "subjects": [subject]});
    cluster.create(RBAC, kind, &format!("{}s", kind.to_lowercase()), namespace, object).await;
}

/// Both controllers with the rights, and under the name, of the operator.
async fn operator(cluster: &Cluster) {
    let client: Client = cluster.0.client_as(User::service_account(HOME, OPERATOR));
    decider().start(&client).settle().await;
    deliverer().start(&client).settle().await;
}

fn maps(client: Client, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(client, namespace)
}

fn refused<T>(answer: Result<T, kube::Error>) -> (u16, String) {
    match answer {
        Err(kube::Error::Api(status)) => (status.code, status.message),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was allowed"),
    }
}

fn denied(name: &str) -> (u16, String) {
    let message = format!(
        "configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'paddock-tls-profile-writers' with binding \
         'paddock-tls-profile-writers' denied request: this ConfigMap holds a TLS profile that the Paddock operator hands over: who needs \
         another one asks whoever may change the ServingPolicy cluster"
    );
    (403, message)
}

#[tokio::test]
async fn tls_f12_whoever_may_write_config_maps_may_not_write_what_was_handed_over() {
    let cluster = guarded().await;
    let before = cluster.files(HANDED).await;
    assert!(before.is_some(), "the operator is not held up");
    let tenant = cluster.0.client_as(User::new("tenant", ["system:authenticated"]));
    let apps = maps(tenant.clone(), "apps");
    let params = PatchParams::default();
    let weaker = json!({"data": {"profile.json": "{}"}});
    assert_eq!(refused(apps.patch(HANDED, &params, &Patch::Merge(&weaker)).await), denied(HANDED));
    let unmarked = json!({"metadata": {"labels": {FOLLOW: null}}});
    assert_eq!(refused(apps.patch(HANDED, &params, &Patch::Merge(&unmarked)).await), denied(HANDED));
    assert_eq!(refused(apps.delete(HANDED, &DeleteParams::default()).await), denied(HANDED));
    let home = maps(tenant, HOME);
    assert_eq!(refused(home.patch(DECISION, &params, &Patch::Merge(&weaker)).await), denied(DECISION));
    let marked = json!({"metadata": {"name": "mine", "labels": {FOLLOW: "files"}}});
    let marked: ConfigMap = serde_json::from_value(marked).unwrap();
    assert_eq!(refused(apps.create(&PostParams::default(), &marked).await), denied("mine"));
    assert_eq!(cluster.files(HANDED).await, before);

    // Everything else is theirs.
    let own: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "mine"}, "data": {"a": "b"}})).unwrap();
    apps.create(&PostParams::default(), &own).await.unwrap();
    apps.patch("mine", &params, &Patch::Merge(json!({"data": {"a": "c"}}))).await.unwrap();
    apps.delete("mine", &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn tls_f12_the_operator_and_who_may_change_the_policy_may_write() {
    let cluster = guarded().await;
    let before = cluster.files(HANDED).await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Intermediate"}})).await;
    operator(&cluster).await;
    assert_ne!(cluster.files(HANDED).await, before, "the operator");
    maps(cluster.client(), "apps").delete(HANDED, &DeleteParams::default()).await.expect("a cluster's administrator");
    operator(&cluster).await;
    assert!(cluster.files(HANDED).await.is_some());
}

#[tokio::test]
async fn what_was_handed_over_goes_with_its_workload_and_with_its_namespace() {
    let cluster = guarded().await;
    let in_time = Duration::from_secs(30);
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "apps");
    deployments.delete("w", &DeleteParams::default()).await.unwrap();
    let gone = await_condition(maps(cluster.client(), "apps"), HANDED, |map: Option<&ConfigMap>| map.is_none());
    tokio::time::timeout(in_time, gone).await.expect("the garbage collector deletes it").unwrap();

    cluster.deployment("w", json!({}), json!({}), json!({"replicas": 0})).await;
    operator(&cluster).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    namespaces.delete("apps", &DeleteParams::default()).await.unwrap();
    let gone = await_condition(namespaces, "apps", |namespace: Option<&Namespace>| namespace.is_none());
    tokio::time::timeout(in_time, gone).await.expect("the namespace is deleted with what it held").unwrap();
}
