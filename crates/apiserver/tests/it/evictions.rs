//! Evictions: which pods budgets let go, what an evicted pod says of itself, and what a Job makes of that.

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use paddock_apiserver::Server;
use serde_json::{Value, json};

/// A server without loops, with a pod that runs and a budget that allows no disruption.
async fn guarded(ready: bool, healthy: i32, policy: Option<&str>) -> Server {
    let server = Server::builder().in_memory().loops(false).start().await.expect("the server starts");
    let accounts: Api<ServiceAccount> = Api::default_namespaced(server.client());
    let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let pod = json!({"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pods(&server).create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    runs(&server, "p", ready).await;
    let budgets = budgets(&server);
    let mut spec = json!({"minAvailable": 2, "selector": {"matchLabels": {"app": "x"}}});
    if let Some(policy) = policy {
        spec["unhealthyPodEvictionPolicy"] = policy.into();
    }
    let budget = json!({"metadata": {"name": "b"}, "spec": spec});
    budgets.create(&PostParams::default(), &serde_json::from_value(budget).unwrap()).await.unwrap();
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 2,
        "currentHealthy": healthy, "expectedPods": 3}});
    budgets.patch_status("b", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    server
}

fn pods(server: &Server) -> Api<Pod> {
    Api::default_namespaced(server.client())
}

fn budgets(server: &Server) -> Api<PodDisruptionBudget> {
    Api::default_namespaced(server.client())
}

/// Puts a pod on a node, where it runs.
async fn runs(server: &Server, name: &str, ready: bool) {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    pods(server).create_subresource::<_, Value>("binding", name, &PostParams::default(), &binding).await.unwrap();
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
    pods(server).patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// 0 for a pod that goes, else the code of the refusal.
async fn evicted(server: &Server, name: &str) -> u16 {
    match pods(server).evict(name, &EvictParams::default()).await {
        Ok(_) => 0,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn an_unready_pod_is_evicted_from_a_healthy_budget_which_stays_as_it_is() {
    let server = guarded(false, 2, None).await;
    let before = budgets(&server).get("b").await.unwrap();
    assert_eq!(evicted(&server, "p").await, 0);
    assert_eq!(budgets(&server).get("b").await.unwrap(), before);
}

#[tokio::test]
async fn a_budget_that_is_not_healthy_keeps_unready_pods_unless_it_always_allows() {
    assert_eq!(evicted(&guarded(false, 1, None).await, "p").await, 429);
    assert_eq!(evicted(&guarded(false, 1, Some("IfHealthyBudget")).await, "p").await, 429);
    assert_eq!(evicted(&guarded(false, 1, Some("AlwaysAllow")).await, "p").await, 0);
    assert_eq!(evicted(&guarded(true, 1, Some("AlwaysAllow")).await, "p").await, 429, "a ready pod is guarded");
}

#[tokio::test]
async fn an_evicted_pod_says_so_and_gets_its_grace() {
    let server = guarded(false, 2, None).await;
    evicted(&server, "p").await;
    let pod = pods(&server).get("p").await.unwrap();
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(30));
    let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
    let told = conditions.into_iter().find(|c| c.type_ == "DisruptionTarget").expect("it says so");
    let expected = ("True", Some("EvictionByEvictionAPI"), Some("Eviction API: evicting"));
    assert_eq!((told.status.as_str(), told.reason.as_deref(), told.message.as_deref()), expected);
}

#[tokio::test]
async fn an_eviction_of_another_version_or_as_a_trial_leaves_the_pod_as_it_is() {
    let server = guarded(true, 2, None).await;
    budgets(&server).delete("b", &DeleteParams::default()).await.unwrap();
    let before = pods(&server).get("p").await.unwrap();
    let stale = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
        "deleteOptions": {"preconditions": {"resourceVersion": "1"}}});
    let refused = pods(&server).create_subresource::<_, Value>("eviction", "p", &PostParams::default(), &stale).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409));
    let post_options = PostParams { dry_run: true, ..PostParams::default() };
    pods(&server).evict("p", &EvictParams { post_options, ..EvictParams::default() }).await.unwrap();
    assert_eq!(pods(&server).get("p").await.unwrap(), before);
}

/// The first pod that is as wanted.
async fn pod(server: &Server, wanted: impl Fn(&Pod) -> bool) -> Pod {
    let seen = watcher(pods(server), watcher::Config::default()).default_backoff().applied_objects();
    let mut seen = Box::pin(seen.try_filter(|pod| std::future::ready(wanted(pod))));
    let found = tokio::time::timeout(Duration::from_secs(20), seen.try_next()).await.expect("in time");
    found.unwrap().expect("a pod")
}

#[tokio::test]
async fn a_job_that_ignores_disruptions_makes_an_evicted_pod_anew_and_counts_no_failure() {
    let server = Server::builder().in_memory().start().await.expect("the server starts");
    let jobs: Api<Job> = Api::default_namespaced(server.client());
    let rules = json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]);
    let job = json!({"metadata": {"name": "j"}, "spec": {"backoffLimit": 0, "podFailurePolicy": {"rules": rules},
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
    let first = pod(&server, |_| true).await;
    let name = first.metadata.name.clone().unwrap_or_default();
    runs(&server, &name, true).await;
    assert_eq!(evicted(&server, &name).await, 0);
    // What a kubelet makes of that.
    let failed = json!({"status": {"phase": "Failed"}});
    pods(&server).patch_status(&name, &PatchParams::default(), &Patch::Merge(failed)).await.unwrap();
    pods(&server).delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    pod(&server, |pod| pod.metadata.uid != first.metadata.uid).await;
    let status = jobs.get("j").await.unwrap().status.unwrap_or_default();
    assert_eq!((status.failed.unwrap_or(0), status.conditions.unwrap_or_default().len()), (0, 0));
}
