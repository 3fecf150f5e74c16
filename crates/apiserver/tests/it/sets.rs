//! Workload controllers end to end, with a scripted node: every pod is bound to it and ready at once.

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, wait, watcher};
use paddock_apiserver::Server;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A server with a node that runs every pod, as long as it lives.
struct World {
    server: Server,
    node: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.node.abort();
    }
}

impl World {
    async fn new() -> Self {
        let server = Server::builder().in_memory().start().await.expect("the server starts");
        let nodes: Api<Node> = Api::all(server.client());
        make::<Node>(&nodes, json!({"metadata": {"name": "n1"}})).await;
        // A node is made with the taint that it is not ready.
        let ready = Patch::Merge(json!({"spec": {"taints": null}}));
        nodes.patch("n1", &PatchParams::default(), &ready).await.expect("a node that is ready");
        let node = tokio::spawn(run_pods(server.client()));
        Self { server, node }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.server.client(), "default")
    }
}

async fn run_pods(client: kube::Client) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let mut seen = Box::pin(watcher(pods.clone(), watcher::Config::default()).default_backoff().applied_objects());
    while let Ok(Some(pod)) = seen.try_next().await {
        let name = pod.metadata.name.unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() || pod.status.and_then(|s| s.phase).as_deref() != Some("Pending") {
            continue;
        }
        if pod.spec.and_then(|spec| spec.node_name).is_none() {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"kind": "Node", "name": "n1"}});
            let how = PostParams::default();
            let bound = pods.create_subresource::<_, Value>("binding", &name, &how, &binding);
            bound.await.expect("it is bound");
        }
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}], "conditions": [ready]}});
        // It may be gone by now.
        drop(pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await);
    }
}

async fn make<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("it can be made");
}

/// Waits until an object is as wanted.
async fn until<K>(api: Api<K>, name: &str, wanted: impl Fn(&K) -> bool)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let waited = wait::await_condition(api, name, move |object: Option<&K>| object.is_some_and(&wanted));
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it happens in time").expect("a watch");
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn statefulset() -> Value {
    json!({"metadata": {"name": "s"}, "spec": {"replicas": 3, "serviceName": "web", "selector": {"matchLabels": {"app": "x"}},
        "template": template()}})
}

fn is_ready(set: &StatefulSet) -> bool {
    set.status.as_ref().is_some_and(|status| status.ready_replicas == Some(3))
}

#[tokio::test]
async fn a_statefulset_comes_up_pod_by_pod() {
    let world = World::new().await;
    make::<StatefulSet>(&world.api(), statefulset()).await;
    until::<StatefulSet>(world.api(), "s", is_ready).await;
    let mut pods = world.api::<Pod>().list(&ListParams::default()).await.expect("pods").items;
    pods.sort_by_key(|pod| pod.metadata.resource_version.clone().and_then(|v| v.parse::<u64>().ok()));
    let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["s-0", "s-1", "s-2"]);
}

#[tokio::test]
async fn a_daemonset_runs_on_every_node() {
    let world = World::new().await;
    let spec = json!({"selector": {"matchLabels": {"app": "x"}}, "template": template()});
    make::<DaemonSet>(&world.api(), json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let up =
        |set: &DaemonSet| set.status.as_ref().is_some_and(|s| (s.desired_number_scheduled, s.number_ready) == (1, 1));
    until::<DaemonSet>(world.api(), "d", up).await;
}

#[tokio::test]
async fn a_service_has_slices_of_its_pods() {
    let world = World::new().await;
    let spec = json!({"selector": {"app": "x"}, "ports": [{"port": 80}]});
    make::<Service>(&world.api(), json!({"metadata": {"name": "web"}, "spec": spec})).await;
    make::<StatefulSet>(&world.api(), statefulset()).await;
    until::<StatefulSet>(world.api(), "s", is_ready).await;
    let slices: Api<EndpointSlice> = world.api();
    let config = watcher::Config::default().labels("kubernetes.io/service-name=web");
    let mut seen = Box::pin(watcher(slices, config).default_backoff().applied_objects());
    let all = async {
        while let Ok(Some(slice)) = seen.try_next().await {
            if slice.endpoints.map_or(0, |endpoints| endpoints.len()) == 3 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("all are listed in time");
}

#[tokio::test]
async fn a_budget_counts_its_pods() {
    let world = World::new().await;
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "x"}}});
    make::<PodDisruptionBudget>(&world.api(), json!({"metadata": {"name": "b"}, "spec": spec})).await;
    make::<StatefulSet>(&world.api(), statefulset()).await;
    let counted = |budget: &PodDisruptionBudget| {
        let status = budget.status.as_ref();
        status.is_some_and(|s| (s.expected_pods, s.disruptions_allowed) == (Some(3), Some(1)))
    };
    until::<PodDisruptionBudget>(world.api(), "b", counted).await;
}

#[tokio::test]
async fn a_claim_is_bound_to_a_volume_that_fits() {
    let world = World::new().await;
    let spec = json!({"storageClassName": "k", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    make::<PersistentVolumeClaim>(&world.api(), json!({"metadata": {"name": "c"}, "spec": spec})).await;
    let spec = json!({"storageClassName": "k", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"},
        "hostPath": {"path": "/x"}});
    let volumes: Api<PersistentVolume> = Api::all(world.server.client());
    make::<PersistentVolume>(&volumes, json!({"metadata": {"name": "v"}, "spec": spec})).await;
    let bound = |phase: Option<&String>| phase.is_some_and(|phase| phase == "Bound");
    until::<PersistentVolumeClaim>(world.api(), "c", move |c| bound(c.status.as_ref().and_then(|s| s.phase.as_ref())))
        .await;
    until::<PersistentVolume>(volumes, "v", move |v| bound(v.status.as_ref().and_then(|s| s.phase.as_ref()))).await;
}

#[tokio::test]
async fn a_claim_gets_a_directory_that_goes_with_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::builder().in_memory().volumes_dir(dir.path()).start().await.expect("the server starts");
    let classes: Api<StorageClass> = Api::all(server.client());
    let class = json!({"metadata": {"name": "k"}, "provisioner": "paddock.dev/directory"});
    make::<StorageClass>(&classes, class).await;
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(server.client());
    let spec = json!({"storageClassName": "k", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    make::<PersistentVolumeClaim>(&claims, json!({"metadata": {"name": "c"}, "spec": spec})).await;
    let bound = |c: &PersistentVolumeClaim| c.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    until::<PersistentVolumeClaim>(claims.clone(), "c", bound).await;
    let claim = claims.get("c").await.expect("the claim");
    let volume = claim.spec.and_then(|spec| spec.volume_name).expect("a volume");
    let directory = dir.path().join(&volume);
    let there = async {
        while !directory.is_dir() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), there).await.expect("the directory is made in time");
    std::fs::write(directory.join("file"), "data").expect("pods can write");
    claims.delete("c", &DeleteParams::default()).await.expect("the claim goes");
    let volumes: Api<PersistentVolume> = Api::all(server.client());
    let gone = wait::await_condition(volumes, &volume, |volume: Option<&PersistentVolume>| volume.is_none());
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the volume goes in time").expect("a watch");
    assert!(!directory.exists(), "the directory is gone before its volume");
}

#[tokio::test]
async fn a_daemonset_counts_the_changes_of_its_template() {
    let server = Server::builder().in_memory().loops(false).start().await.expect("the server starts");
    let sets: Api<DaemonSet> = Api::namespaced(server.client(), "default");
    let spec = json!({"selector": {"matchLabels": {"app": "x"}}, "template": template()});
    make::<DaemonSet>(&sets, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    let patched = sets.patch("d", &PatchParams::default(), &Patch::Strategic(image)).await.expect("a patch");
    let counted = patched.metadata.annotations.unwrap_or_default();
    assert_eq!(counted.get("deprecated.daemonset.template.generation").map(String::as_str), Some("2"));
}
