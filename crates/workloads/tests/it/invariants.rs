//! A settled world is silent, and a process that dies after any write leaves nothing that the next one does not mend.
//!
//! Where events tell of each write, two worlds are never the same: there only silence is tried.

use paddock_reconcile::{Controller, Identity};
use paddock_trials::{Subject, crash_after_every_write_converges, second_pass_writes_nothing};
use paddock_workloads::{
    accounts, aggregation, daemonset, deployment, disruption, endpoints, job, replicaset, statefulset, volumes,
};
use serde_json::{Value, json};

use crate::stand::{Stand, subject};

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}})
}

async fn with_replicaset() -> Stand {
    let world = Stand::new().await;
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template()});
    world.make("apps/v1", "ReplicaSet", "replicasets", json!({"metadata": {"name": "r"}, "spec": spec})).await;
    world
}

async fn with_deployment() -> Stand {
    let world = Stand::new().await;
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template()});
    world.make("apps/v1", "Deployment", "deployments", json!({"metadata": {"name": "d"}, "spec": spec})).await;
    world
}

async fn with_job() -> Stand {
    let world = Stand::new().await;
    let mut template = template();
    template["spec"]["restartPolicy"] = "Never".into();
    let spec = json!({"completions": 3, "parallelism": 2, "template": template});
    world.make("batch/v1", "Job", "jobs", json!({"metadata": {"name": "j"}, "spec": spec})).await;
    world
}

/// Leaves out what two runs of the same world have for themselves.
fn comparable<C: Controller + Default>() -> Subject<C> {
    subject::<C>().normalise(|object| {
        // A Job's uid is in its labels and its selector.
        for place in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(place).and_then(Value::as_object_mut) {
                labels.retain(|name, _| !name.ends_with("controller-uid"));
            }
        }
        // Which generation of its object a status has seen.
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            status.remove("observedGeneration");
        }
        // Whether a Deployment made its ReplicaSet or found it: a process that starts again cannot know.
        let conditions = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter(|condition| condition["type"] == "Progressing") {
            (condition["reason"], condition["message"]) = (json!(null), json!(null));
        }
    })
}

#[tokio::test]
async fn settled_replicaset_is_silent() {
    second_pass_writes_nothing(&with_replicaset().await, &subject::<replicaset::ReplicaSets>()).await;
}

#[tokio::test]
async fn replicaset_survives_a_crash_after_any_write() {
    crash_after_every_write_converges(with_replicaset, &comparable::<replicaset::ReplicaSets>()).await;
}

#[tokio::test]
async fn settled_deployment_is_silent() {
    second_pass_writes_nothing(&with_deployment().await, &subject::<deployment::Deployments>()).await;
}

#[tokio::test]
async fn deployment_survives_a_crash_after_any_write() {
    crash_after_every_write_converges(with_deployment, &comparable::<deployment::Deployments>()).await;
}

#[tokio::test]
async fn settled_job_is_silent() {
    second_pass_writes_nothing(&with_job().await, &subject::<job::Jobs>()).await;
}

#[tokio::test]
async fn job_survives_a_crash_after_any_write() {
    crash_after_every_write_converges(with_job, &comparable::<job::Jobs>()).await;
}

async fn with_statefulset() -> Stand {
    let world = Stand::new().await;
    let spec = json!({"replicas": 2, "serviceName": "s", "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "x"}}, "template": template(),
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]});
    world.make("apps/v1", "StatefulSet", "statefulsets", json!({"metadata": {"name": "s"}, "spec": spec})).await;
    world
}

async fn with_service() -> Stand {
    let world = Stand::new().await;
    world.node().await;
    world.pod("p").await;
    let spec = json!({"selector": {"app": "x"}, "ports": [{"port": 80}]});
    world.make("v1", "Service", "services", json!({"metadata": {"name": "web"}, "spec": spec})).await;
    world
}

async fn with_budget() -> Stand {
    let world = Stand::new().await;
    world.pod("p").await;
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}});
    world
        .make(
            "policy/v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            json!({"metadata": {"name": "b"}, "spec": spec}),
        )
        .await;
    world
}

async fn with_claim() -> Stand {
    let world = Stand::new().await;
    let spec = json!({"storageClassName": "k", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}});
    world.make("v1", "PersistentVolume", "persistentvolumes", json!({"metadata": {"name": "v"}, "spec": spec})).await;
    let spec = json!({"storageClassName": "k", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    world
        .make("v1", "PersistentVolumeClaim", "persistentvolumeclaims", json!({"metadata": {"name": "c"}, "spec": spec}))
        .await;
    world
}

#[tokio::test]
async fn settled_statefulset_is_silent() {
    second_pass_writes_nothing(&with_statefulset().await, &subject::<statefulset::StatefulSets>()).await;
}

#[tokio::test]
async fn settled_daemonset_is_silent() {
    let world = Stand::new().await;
    world.node().await;
    let spec = json!({"selector": {"matchLabels": {"app": "x"}}, "template": template()});
    world.make("apps/v1", "DaemonSet", "daemonsets", json!({"metadata": {"name": "d"}, "spec": spec})).await;
    second_pass_writes_nothing(&world, &subject::<daemonset::DaemonSets>()).await;
}

#[tokio::test]
async fn settled_slices_are_silent() {
    second_pass_writes_nothing(&with_service().await, &subject::<endpoints::EndpointSlices>()).await;
}

#[tokio::test]
async fn settled_endpoints_are_silent() {
    second_pass_writes_nothing(&with_service().await, &subject::<endpoints::LegacyEndpoints>()).await;
}

#[tokio::test]
async fn endpoints_converge_after_any_crash() {
    crash_after_every_write_converges(
        with_service,
        &subject::<endpoints::LegacyEndpoints>().normalise(|object| {
            // The time of the Service that was made for this run.
            object["metadata"]["annotations"] = json!(null);
            if let Some(of) = object.pointer_mut("/subsets/0/addresses/0/targetRef/uid") {
                *of = json!(null);
            }
        }),
    )
    .await;
}

#[tokio::test]
async fn settled_budget_is_silent() {
    second_pass_writes_nothing(&with_budget().await, &subject::<disruption::Disruptions>()).await;
}

#[tokio::test]
async fn budget_converges_after_any_crash() {
    crash_after_every_write_converges(with_budget, &subject::<disruption::Disruptions>()).await;
}

#[tokio::test]
async fn bound_claim_is_silent() {
    second_pass_writes_nothing(&with_claim().await, &subject::<volumes::Binder>()).await;
}

#[tokio::test]
async fn binding_converges_after_any_crash() {
    crash_after_every_write_converges(
        with_claim,
        &subject::<volumes::Binder>().normalise(|object| {
            if let Some(of) = object.pointer_mut("/spec/claimRef") {
                (of["uid"], of["resourceVersion"]) = (json!(null), json!(null));
            }
            if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
                status.remove("lastPhaseTransitionTime");
            }
        }),
    )
    .await;
}

/// A role that collects, and one to be collected.
async fn with_roles() -> Stand {
    let world = Stand::new().await;
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let part = json!({"metadata": {"name": "part", "labels": {"in": "all"}}, "rules": rules});
    let all = json!({"metadata": {"name": "all"}, "rules": null,
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"in": "all"}}]}});
    for role in [part, all] {
        world.make("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", role).await;
    }
    world
}

/// The CA's publisher, as kube-controller-manager runs it.
fn root_ca() -> Subject<accounts::RootCa> {
    let mut subject = Subject::new(|| accounts::RootCa::new("PEM"));
    subject.identity = Identity::controller_manager("trial");
    subject
}

#[tokio::test]
async fn namespaces_with_accounts_are_silent() {
    second_pass_writes_nothing(&Stand::new().await, &subject::<accounts::DefaultAccounts>()).await;
}

#[tokio::test]
async fn accounts_come_after_any_crash() {
    crash_after_every_write_converges(Stand::new, &subject::<accounts::DefaultAccounts>()).await;
}

#[tokio::test]
async fn published_authorities_are_silent() {
    second_pass_writes_nothing(&Stand::new().await, &root_ca()).await;
}

#[tokio::test]
async fn authorities_are_published_after_any_crash() {
    crash_after_every_write_converges(Stand::new, &root_ca()).await;
}

#[tokio::test]
async fn aggregated_roles_are_silent() {
    second_pass_writes_nothing(&with_roles().await, &subject::<aggregation::Aggregation>()).await;
}

#[tokio::test]
async fn roles_are_aggregated_after_any_crash() {
    crash_after_every_write_converges(with_roles, &subject::<aggregation::Aggregation>()).await;
}
