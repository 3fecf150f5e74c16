//! The loops: what happens to namespaces, dependents and definitions without anyone asking.

use futures::TryStreamExt;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use paddock_apiserver::Server;
use serde_json::json;

use crate::objects::{map, maps};

async fn living() -> Server {
    Server::builder().in_memory().start().await.expect("the server starts")
}

/// Waits until an object is there, or gone.
async fn until<K>(api: Api<K>, name: &str, there: bool)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let wait = async {
        let mut seen = Box::pin(watcher::watch_object(api, name).default_backoff());
        while let Ok(Some(state)) = seen.try_next().await {
            if state.is_some() == there {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("it happens in time");
}

#[tokio::test]
async fn a_namespace_gets_its_default_service_account() {
    let server = living().await;
    until(Api::<ServiceAccount>::namespaced(server.client(), "default"), "default", true).await;
}

#[tokio::test]
async fn a_namespace_gets_the_root_certificate() {
    let server = living().await;
    until(maps(&server), "kube-root-ca.crt", true).await;
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_content_along() {
    let server = living().await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "short"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let inside: Api<ConfigMap> = Api::namespaced(server.client(), "short");
    inside.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    namespaces.delete("short", &DeleteParams::default()).await.unwrap();
    until(namespaces, "short", false).await;
    assert!(inside.get_opt("a").await.unwrap().is_none());
}

async fn owned(server: &Server, namespace: &str, name: &str, owner: &ConfigMap) -> Api<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(server.client(), namespace);
    let mut child = map(name, "1");
    child.metadata.owner_references = Some(vec![
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid,
        }))
        .expect("an owner"),
    ]);
    api.create(&PostParams::default(), &child).await.expect("created");
    api
}

#[tokio::test]
async fn a_dependent_goes_with_its_owner() {
    let server = living().await;
    let owner = maps(&server).create(&PostParams::default(), &map("owner", "1")).await.unwrap();
    let children = owned(&server, "default", "child", &owner).await;
    maps(&server).delete("owner", &DeleteParams::default()).await.unwrap();
    until(children, "child", false).await;
}

#[tokio::test]
async fn an_owner_in_another_namespace_counts_as_gone() {
    let server = living().await;
    let owner = maps(&server).create(&PostParams::default(), &map("owner", "1")).await.unwrap();
    let children = owned(&server, "kube-system", "child", &owner).await;
    until(children, "child", false).await;
}

#[tokio::test]
async fn orphaned_dependents_stay_without_their_reference() {
    let server = living().await;
    let owner = maps(&server).create(&PostParams::default(), &map("owner", "1")).await.unwrap();
    let children = owned(&server, "default", "child", &owner).await;
    let orphan =
        DeleteParams { propagation_policy: Some(kube::api::PropagationPolicy::Orphan), ..DeleteParams::default() };
    maps(&server).delete("owner", &orphan).await.unwrap();
    until(maps(&server), "owner", false).await;
    assert_eq!(children.get("child").await.unwrap().metadata.owner_references, None);
}

#[tokio::test]
async fn a_namespace_whose_webhook_hangs_does_not_keep_others_waiting() {
    let server = living().await;
    // Connections are accepted by the kernel and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let configuration = serde_json::from_value(json!({
        "metadata": {"name": "silent"},
        "webhooks": [{
            "name": "silent.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 30,
            "clientConfig": {"url": format!("https://{}/", silent.local_addr().unwrap())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "slow"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["serviceaccounts", "configmaps"]}],
        }],
    }))
    .unwrap();
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(server.client());
    webhooks.create(&PostParams::default(), &configuration).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(server.client());
    for name in ["slow", "quick"] {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }
    until::<ServiceAccount>(Api::namespaced(server.client(), "quick"), "default", true).await;
    assert!(Api::<ServiceAccount>::namespaced(server.client(), "slow").get_opt("default").await.unwrap().is_none());
}

#[tokio::test]
async fn a_namespace_says_what_keeps_it() {
    let server = living().await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "held"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let inside: Api<ConfigMap> = Api::namespaced(server.client(), "held");
    let mut holds = map("a", "1");
    holds.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    inside.create(&PostParams::default(), &holds).await.unwrap();
    namespaces.delete("held", &DeleteParams::default()).await.unwrap();
    let says = |namespace: Option<&Namespace>| {
        let conditions = namespace.and_then(|n| n.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|c| {
            c.message.as_deref()
                == Some(
                    "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
                )
        })
    };
    let waited = kube::runtime::wait::await_condition(namespaces, "held", says);
    tokio::time::timeout(std::time::Duration::from_secs(20), waited).await.expect("in time").unwrap();
}
