//! The rules of ReplicaSets, plan by plan.

use std::collections::BTreeMap;

use paddock_reconcile::{Controller as _, Error, Plan};
use serde_json::{Value, json};

use super::{ReplicaSets, Snapshot};
use crate::Name;
use crate::fixtures::{at, created, deleted, merge, patched, pod, ready, status, told};

const OWNER: (&str, &str, &str) = ("ReplicaSet", "r", "set");

fn set(more: &Value) -> Value {
    let mut set = json!({
        "metadata": {"name": "r", "namespace": "n", "uid": "set", "generation": 1},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c"}]}},
        },
    });
    merge(&mut set, more);
    set
}

fn planned(set: Value, pods: Vec<k8s_openapi::api::core::v1::Pod>) -> Plan {
    let set = serde_json::from_value(set).expect("a set");
    let snapshot = Some(Snapshot { set, pods, per_node: BTreeMap::new() });
    ReplicaSets::default().plan(&Name::new("n", "r"), &snapshot, at("01:00:00")).expect("a plan")
}

#[test]
fn missing_pods_are_made_under_the_sets_name_and_owner() {
    let plan = planned(set(&json!({})), vec![]);
    let made = created(&plan);
    assert_eq!(made.len(), 2);
    assert_eq!(made[0]["metadata"]["generateName"], "r-");
    assert_eq!(made[0]["metadata"]["ownerReferences"][0]["uid"], "set");
    assert_eq!(told(&plan), ["Created pod: made", "Created pod: made"]);
}

#[test]
fn status_counts_what_was_there_before_the_pass() {
    let plan = planned(set(&json!({})), vec![pod("a", OWNER, &ready("00:00:00"))]);
    let expected = json!({
        "replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1, "terminatingReplicas": 0,
        "observedGeneration": 1,
    });
    assert_eq!(status(&plan), Some(&expected));
}

#[test]
fn status_that_says_so_already_is_not_written() {
    let counts = json!({
        "replicas": 2, "fullyLabeledReplicas": 2, "terminatingReplicas": 0, "observedGeneration": 1,
    });
    let pods = vec![pod("a", OWNER, &json!({})), pod("b", OWNER, &json!({}))];
    assert!(planned(set(&json!({"status": counts})), pods).acts.is_empty());
}

#[test]
fn of_too_many_pods_those_not_ready_go() {
    let pods =
        vec![pod("a", OWNER, &ready("00:00:00")), pod("b", OWNER, &json!({})), pod("c", OWNER, &ready("00:00:00"))];
    assert_eq!(deleted(&planned(set(&json!({})), pods)), ["b"]);
}

#[test]
fn ended_and_ending_pods_are_replaced() {
    let pods = vec![
        pod("a", OWNER, &json!({"status": {"phase": "Failed"}})),
        pod("b", OWNER, &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
    ];
    let plan = planned(set(&json!({})), pods);
    assert_eq!(created(&plan).len(), 2);
    assert_eq!(status(&plan).map(|s| s["terminatingReplicas"].clone()), Some(json!(1)));
}

#[test]
fn orphan_that_is_chosen_is_adopted_before_anything_is_made() {
    let mut orphan = pod("a", OWNER, &json!({}));
    orphan.metadata.owner_references = None;
    let plan = planned(set(&json!({})), vec![orphan]);
    let patches = patched(&plan);
    assert_eq!(patches[0].0, "a");
    assert_eq!(patches[0].1["metadata"]["ownerReferences"][0]["controller"], true);
    assert!(created(&plan).is_empty());
}

#[test]
fn pod_that_is_no_longer_chosen_is_let_go() {
    let plan = planned(set(&json!({})), vec![pod("a", OWNER, &json!({"metadata": {"labels": {"app": "y"}}}))]);
    let expected = json!({"metadata": {"uid": "uid-a", "ownerReferences": [{"$patch": "delete", "uid": "set"}]}});
    assert_eq!(patched(&plan), [("a", &expected)]);
}

#[test]
fn set_that_is_going_makes_and_takes_nothing() {
    let going = set(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let mut orphan = pod("a", OWNER, &json!({}));
    orphan.metadata.owner_references = None;
    let plan = planned(going, vec![orphan]);
    assert!(created(&plan).is_empty() && patched(&plan).is_empty());
}

#[test]
fn pod_that_cannot_be_made_is_a_condition() {
    let plan = planned(set(&json!({})), vec![]);
    let report = plan.reported(&Error::transient("exceeded quota")).expect("a report");
    let condition = &status(&report).expect("a status")["conditions"][0];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("ReplicaFailure"), &json!("FailedCreate")));
    assert_eq!(condition["message"], "exceeded quota");
}

#[test]
fn availability_is_looked_at_when_it_is_due() {
    let plan = planned(set(&json!({"spec": {"minReadySeconds": 60}})), vec![pod("a", OWNER, &ready("00:59:30"))]);
    assert_eq!(plan.look_again, Some(at("01:00:30")));
}
