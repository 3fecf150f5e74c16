//! The controllers as the embedded server runs them, with a scripted pod runner: whatever is pending becomes ready, or ends.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use paddock_apiserver::Server;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn server() -> Server {
    Server::builder().in_memory().start().await.expect("the server starts")
}

/// Gives every pod that is pending this status, until dropped.
async fn run_pods(client: Client, status: Value) {
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut changes = pods.watch(&WatchParams::default(), "0").await.expect("a watch").boxed();
    while let Some(Ok(change)) = changes.next().await {
        if let WatchEvent::Added(pod) = change {
            let name = pod.metadata.name.unwrap_or_default();
            // It may be gone by now.
            let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await;
        }
    }
}

/// Follows one object until it is as wanted.
async fn follow<K>(client: Client, name: &str, wanted: impl Fn(&K) -> bool) -> K
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client, "default");
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut changes = api.watch(&params, "0").await.expect("a watch").boxed();
    let found = async {
        loop {
            match changes.next().await {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) if wanted(&object) => return object,
                Some(_) => {}
                None => panic!("the watch of {name} ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{name} does not become as wanted"))
}

async fn create<K>(client: Client, object: Value)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).expect("an object");
    Api::namespaced(client, "default").create(&PostParams::default(), &object).await.expect("it is made");
}

#[tokio::test]
async fn deployment_rolls_out_and_over() {
    let server = server().await;
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let runner = tokio::spawn(run_pods(server.client(), ready));
    let labels = json!({"app": "x"});
    let spec = json!({
        "replicas": 3, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "img:1"}]}},
    });
    create::<Deployment>(server.client(), json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let done = |generation: i64| {
        move |d: &Deployment| {
            let status = d.status.clone().unwrap_or_default();
            let reason = |c: &k8s_openapi::api::apps::v1::DeploymentCondition| {
                c.reason.as_deref() == Some("NewReplicaSetAvailable")
            };
            status.observed_generation == Some(generation)
                && status.updated_replicas == Some(3)
                && status.replicas == Some(3)
                && status.available_replicas == Some(3)
                && status.conditions.iter().flatten().any(reason)
        }
    };
    follow(server.client(), "d", done(1)).await;
    let deployments: Api<Deployment> = Api::namespaced(server.client(), "default");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}});
    deployments.patch("d", &PatchParams::default(), &Patch::Strategic(image)).await.expect("a new image");
    let rolled = follow(server.client(), "d", done(2)).await;
    assert_eq!(rolled.metadata.annotations.unwrap_or_default()["deployment.kubernetes.io/revision"], "2");
    runner.abort();
}

#[tokio::test]
async fn job_counts_each_pod_once_and_tells_of_it() {
    let server = server().await;
    let runner = tokio::spawn(run_pods(server.client(), json!({"phase": "Succeeded"})));
    let spec = json!({
        "completions": 20, "parallelism": 7, "completionMode": "Indexed",
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "img:1"}]}},
    });
    create::<Job>(server.client(), json!({"metadata": {"name": "j"}, "spec": spec})).await;
    let complete = |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    let job = follow(server.client(), "j", complete).await;
    let status = job.status.unwrap_or_default();
    assert_eq!((status.succeeded, status.failed, status.completed_indexes.as_deref()), (Some(20), None, Some("0-19")));
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let pods = pods.list(&ListParams::default()).await.expect("pods").items;
    assert_eq!(pods.len(), 20, "no pod too many");
    assert!(pods.iter().all(|pod| pod.metadata.finalizers.is_none()));
    let events: Api<Event> = Api::namespaced(server.client(), "default");
    let completed = async {
        let mut changes = events.watch(&WatchParams::default(), "0").await.expect("a watch").boxed();
        while let Some(Ok(change)) = changes.next().await {
            if let WatchEvent::Added(event) = change
                && event.reason.as_deref() == Some("Completed")
            {
                return event;
            }
        }
        panic!("the watch of events ended")
    };
    let event = tokio::time::timeout(PATIENCE, completed).await.expect("an event");
    assert_eq!(event.source.and_then(|source| source.component).as_deref(), Some("job-controller"));
    runner.abort();
}
