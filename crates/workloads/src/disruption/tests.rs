//! Rules of budgets, one by one.

use jiff::Timestamp;
use paddock_reconcile::Plan;
use serde_json::{Value, json};

use super::{Scale, Snapshot, plan};
use crate::fixtures::{self, at};

fn now() -> Timestamp {
    at("01:00:00")
}

/// A budget over pods of a ReplicaSet that wants `replicas`; `states` are their readiness.
fn snapshot(spec: &Value, status: &Value, states: &[bool], replicas: i32) -> Snapshot {
    let pod = |(at, ready): (usize, &bool)| {
        let ready = if *ready { "True" } else { "False" };
        serde_json::from_value(json!({"metadata": {"name": format!("p{at}"), "namespace": "n", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}))
        .expect("a pod")
    };
    let mut budget = json!({"metadata": {"name": "b", "namespace": "n", "generation": 1}, "spec": spec});
    if !status.is_null() {
        budget["status"] = status.clone();
    }
    let scale = Scale { uid: "r".into(), replicas };
    Snapshot {
        budget: serde_json::from_value(budget).expect("a budget"),
        pods: states.iter().enumerate().map(pod).collect(),
        scales: [("r".to_owned(), Ok(Some(scale)))].into(),
    }
}

fn pass(snapshot: &Snapshot) -> Plan {
    plan::plan(snapshot, now()).expect("a plan")
}

fn status(snapshot: &Snapshot) -> Value {
    fixtures::status(&pass(snapshot)).expect("a status").clone()
}

/// Healthy now, healthy wanted, expected, allowed.
fn numbers(spec: &Value, states: &[bool], replicas: i32) -> [Value; 4] {
    let status = status(&snapshot(spec, &Value::Null, states, replicas));
    ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"].map(|field| status[field].clone())
}

#[test]
fn min_available_counts_the_pods_that_are_there() {
    assert_eq!(numbers(&json!({"minAvailable": 1}), &[true, true, false], 9), [json!(2), json!(1), json!(3), json!(1)]);
}

#[test]
fn percentages_are_of_what_controllers_want_and_rounded_up() {
    assert_eq!(
        numbers(&json!({"minAvailable": "50%"}), &[true, true, true], 5),
        [json!(3), json!(3), json!(5), json!(0)]
    );
}

#[test]
fn max_unavailable_leaves_the_rest_healthy() {
    assert_eq!(numbers(&json!({"maxUnavailable": 1}), &[true, true], 2), [json!(2), json!(1), json!(2), json!(1)]);
}

#[test]
fn no_pods_allow_nothing_and_are_told() {
    let empty = snapshot(&json!({"minAvailable": 0}), &Value::Null, &[], 0);
    assert_eq!(status(&empty)["disruptionsAllowed"], 0);
    assert_eq!(pass(&empty).events[0].note, "No matching pods found");
}

#[test]
fn condition_says_whether_something_may_be_evicted() {
    let condition = |states: &[bool]| {
        status(&snapshot(&json!({"minAvailable": 1}), &Value::Null, states, 2))["conditions"][0].clone()
    };
    let of = |status: &str, reason: &str| {
        json!({"type": "DisruptionAllowed", "status": status, "reason": reason, "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T01:00:00Z"})
    };
    assert_eq!(condition(&[true, true]), of("True", "SufficientPods"));
    assert_eq!(condition(&[true, false]), of("False", "InsufficientPods"));
}

#[test]
fn settled_budget_is_not_written() {
    let spec = json!({"minAvailable": 1});
    let first = status(&snapshot(&spec, &Value::Null, &[true, true], 2));
    assert!(pass(&snapshot(&spec, &first, &[true, true], 2)).acts.is_empty());
}

#[test]
fn pod_whose_eviction_is_under_way_is_not_healthy() {
    let noted = json!({"disruptedPods": {"p0": "2026-01-01T00:59:00Z", "gone": "2026-01-01T00:59:00Z"}});
    let snapshot = snapshot(&json!({"minAvailable": 1}), &noted, &[true, true], 2);
    let status = status(&snapshot);
    assert_eq!(
        (&status["currentHealthy"], &status["disruptedPods"]),
        (&json!(1), &json!({"p0": "2026-01-01T00:59:00Z"}))
    );
    assert_eq!(pass(&snapshot).look_again, "2026-01-01T01:01:00Z".parse().ok());
}

#[test]
fn eviction_that_came_to_nothing_is_forgotten_and_told() {
    let noted = json!({"disruptedPods": {"p0": "2026-01-01T00:57:59Z"}});
    let snapshot = snapshot(&json!({"minAvailable": 1}), &noted, &[true, true], 2);
    assert_eq!(status(&snapshot)["currentHealthy"], 2);
    assert_eq!(pass(&snapshot).events[0].note, "Pod was expected by PDB n/b to be deleted but it wasn't");
}

#[test]
fn unknown_scale_allows_nothing() {
    let mut snapshot = snapshot(&json!({"maxUnavailable": 1}), &Value::Null, &[true, true], 2);
    snapshot.scales =
        [("r".to_owned(), Err("batch/v1, Resource=jobs does not implement the scale subresource".into()))].into();
    let status = status(&snapshot);
    assert_eq!((&status["disruptionsAllowed"], &status["conditions"][0]["reason"]), (&json!(0), &json!("SyncFailed")));
}

#[test]
fn pods_without_a_controller_are_told() {
    let mut snapshot =
        snapshot(&json!({"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}), &Value::Null, &[true], 1);
    snapshot.pods[0].metadata.owner_references = None;
    let told = "(selector: &LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},})";
    assert!(pass(&snapshot).events[0].note.contains(told));
}
