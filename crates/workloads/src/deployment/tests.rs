//! The rules of Deployments, plan by plan.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use paddock_reconcile::{Controller as _, Error, Plan};
use serde_json::{Value, json};

use super::{Deployments, Snapshot};
use crate::Name;
use crate::fixtures::{at, created, deleted, merge, status, told, updated};

fn deployment(more: &Value) -> Deployment {
    let mut deployment = json!({
        "metadata": {
            "name": "d", "namespace": "n", "uid": "dep", "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": "2", "note": "yes"},
        },
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "x"}}, "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": template("img:2"),
        },
        "status": {"conditions": [progressing("NewReplicaSetCreated", "True")]},
    });
    merge(&mut deployment, more);
    serde_json::from_value(deployment).expect("a deployment")
}

fn progressing(reason: &str, is: &str) -> Value {
    let time = "2026-01-01T00:59:00Z";
    json!({
        "type": "Progressing", "status": is, "reason": reason, "message": "m",
        "lastUpdateTime": time, "lastTransitionTime": time,
    })
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

/// A ReplicaSet of an image with its size, its available pods and its revision.
fn set(name: &str, image: &str, size: i32, available: i32, revision: i32) -> ReplicaSet {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = name.into();
    let set = json!({
        "metadata": {
            "name": format!("d-{name}"), "namespace": "n", "uid": name, "generation": 1,
            "labels": {"app": "x", "pod-template-hash": name},
            "creationTimestamp": format!("2026-01-01T00:0{revision}:00Z"),
            "annotations": {
                "deployment.kubernetes.io/revision": revision.to_string(), "note": "yes",
                "deployment.kubernetes.io/desired-replicas": "4", "deployment.kubernetes.io/max-replicas": "5",
            },
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "dep", "controller": true}],
        },
        "spec": {"replicas": size, "selector": {"matchLabels": {"app": "x"}}, "template": template},
        "status": {
            "replicas": size, "readyReplicas": available, "availableReplicas": available, "observedGeneration": 1,
            "terminatingReplicas": 0,
        },
    });
    serde_json::from_value(set).expect("a set")
}

fn plan_at(deployment: Deployment, sets: Vec<ReplicaSet>, time: &str) -> Plan {
    let snapshot = Some(Snapshot { deployment, sets, running: vec![] });
    Deployments::default().plan(&Name::new("n", "d"), &snapshot, at(time)).expect("a plan")
}

fn planned(deployment: Deployment, sets: Vec<ReplicaSet>) -> Plan {
    plan_at(deployment, sets, "01:00:00")
}

fn sizes(plan: &Plan) -> Vec<(String, i64)> {
    let of = |o: &&Value| {
        let name = o["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (name, o["spec"]["replicas"].as_i64().unwrap_or(-1))
    };
    updated(plan).iter().map(of).collect()
}

fn size(name: &str, size: i64) -> (String, i64) {
    (name.to_owned(), size)
}

#[test]
fn template_without_a_set_gets_one_with_hash_owner_and_history() {
    let plan = planned(deployment(&json!({"status": {"conditions": []}})), vec![set("old", "img:1", 4, 4, 2)]);
    let made = created(&plan)[0];
    let hash = made["metadata"]["labels"]["pod-template-hash"].as_str().expect("a hash");
    assert_eq!(made["metadata"]["name"], format!("d-{hash}"));
    assert_eq!(made["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    assert_eq!(
        made["metadata"]["annotations"],
        json!({
            "deployment.kubernetes.io/revision": "3", "deployment.kubernetes.io/desired-replicas": "4",
            "deployment.kubernetes.io/max-replicas": "5", "note": "yes",
        })
    );
    assert_eq!(made["spec"]["replicas"], 1, "the surge");
    assert_eq!(told(&plan), [format!("Scaled up replica set d-{hash} from 0 to 1")]);
    let condition = &status(&plan).expect("a status")["conditions"][0];
    assert_eq!(condition["reason"], "NewReplicaSetCreated");
    assert_eq!(condition["message"], format!("Created new replica set \"d-{hash}\""));
}

#[test]
fn name_that_is_taken_counts_as_a_collision() {
    let plan = planned(deployment(&json!({})), vec![]);
    let taken = Error::transient("replicasets.apps \"d-x\" already exists");
    let report = plan.reported(&taken).expect("a report");
    assert_eq!(status(&report).map(|s| s["collisionCount"].clone()), Some(json!(1)));
}

#[test]
fn set_that_cannot_be_made_stops_the_progress() {
    let plan = planned(deployment(&json!({})), vec![]);
    let report = plan.reported(&Error::transient("no")).expect("a report");
    let condition = &status(&report).expect("a status")["conditions"][0];
    assert_eq!((&condition["reason"], &condition["status"]), (&json!("ReplicaSetCreateError"), &json!("False")));
}

#[test]
fn old_sets_shrink_by_what_may_be_unavailable() {
    let sets = vec![set("old", "img:1", 4, 4, 1), set("new", "img:2", 1, 0, 2)];
    let plan = planned(deployment(&json!({})), sets);
    assert_eq!(sizes(&plan), [size("d-old", 3)]);
    assert_eq!(told(&plan), ["Scaled down replica set d-old from 4 to 3"]);
}

#[test]
fn newest_set_grows_into_the_surge() {
    let sets = vec![set("old", "img:1", 3, 3, 1), set("new", "img:2", 1, 1, 2)];
    assert_eq!(sizes(&planned(deployment(&json!({})), sets)), [size("d-new", 2)]);
}

#[test]
fn pods_that_are_not_available_go_first() {
    let sets = vec![set("older", "img:0", 2, 2, 0), set("old", "img:1", 2, 0, 1), set("new", "img:2", 1, 1, 2)];
    assert_eq!(sizes(&planned(deployment(&json!({})), sets)), [size("d-old", 0)]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let sets = vec![set("old", "img:1", 3, 3, 1), set("new", "img:2", 2, 2, 2)];
    let plan = planned(deployment(&json!({"spec": {"replicas": 8}})), sets);
    assert_eq!(sizes(&plan), [size("d-old", 6), size("d-new", 4)]);
}

#[test]
fn paused_deployment_scales_and_does_not_roll() {
    let paused = json!({"spec": {"paused": true, "replicas": 6}, "status": {"conditions": [progressing("DeploymentPaused", "Unknown")]}});
    let plan = planned(deployment(&paused), vec![set("old", "img:1", 4, 4, 1)]);
    assert!(created(&plan).is_empty());
    assert_eq!(sizes(&plan), [size("d-old", 6)]);
}

#[test]
fn pausing_is_told_first() {
    let plan = planned(deployment(&json!({"spec": {"paused": true}})), vec![]);
    let condition = &status(&plan).expect("a status")["conditions"][0];
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("DeploymentPaused"), &json!("Deployment is paused"))
    );
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let recreate = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
    let plan = planned(deployment(&recreate), vec![set("old", "img:1", 4, 4, 1)]);
    assert_eq!(sizes(&plan), [size("d-old", 0)]);
    let mut shrunk = set("old", "img:1", 0, 0, 1);
    let plan = planned(deployment(&recreate), vec![shrunk.clone()]);
    assert_eq!(created(&plan)[0]["spec"]["replicas"], 4);
    shrunk.status.as_mut().expect("a status").replicas = 1;
    assert!(created(&planned(deployment(&recreate), vec![shrunk])).is_empty());
}

#[test]
fn going_back_takes_the_old_set_with_a_new_revision() {
    let back = deployment(&json!({"spec": {"template": template("img:1")}}));
    let plan = planned(back, vec![set("old", "img:1", 0, 0, 1), set("new", "img:2", 4, 4, 2)]);
    let annotations = &updated(&plan)[0]["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn finished_rollout_says_so_and_cuts_the_history() {
    let done = json!({
        "spec": {"revisionHistoryLimit": 1},
        "status": {"replicas": 4, "updatedReplicas": 4, "availableReplicas": 4, "readyReplicas": 4, "observedGeneration": 1},
    });
    let sets = vec![set("older", "img:0", 0, 0, 0), set("old", "img:1", 0, 0, 1), set("new", "img:2", 4, 4, 2)];
    let plan = planned(deployment(&done), sets);
    assert_eq!(deleted(&plan), ["d-older"]);
    let conditions = &status(&plan).expect("a status")["conditions"];
    let progress = conditions.as_array().into_iter().flatten().find(|c| c["type"] == "Progressing").expect("progress");
    assert_eq!(progress["reason"], "NewReplicaSetAvailable");
    assert_eq!(progress["message"], "ReplicaSet \"d-new\" has successfully progressed.");
}

#[test]
fn rollout_that_stands_still_runs_out_of_time() {
    let stuck =
        json!({"status": {"replicas": 4, "updatedReplicas": 4, "unavailableReplicas": 4, "observedGeneration": 1}});
    let sets = || vec![set("new", "img:2", 4, 0, 2)];
    let plan = plan_at(deployment(&stuck), sets(), "01:00:00");
    assert_eq!(plan.look_again, Some(at("01:09:01")));
    let plan = plan_at(deployment(&stuck), sets(), "01:09:01");
    let conditions = &status(&plan).expect("a status")["conditions"];
    let progress = conditions.as_array().into_iter().flatten().find(|c| c["type"] == "Progressing").expect("progress");
    assert_eq!((&progress["reason"], &progress["status"]), (&json!("ProgressDeadlineExceeded"), &json!("False")));
}
