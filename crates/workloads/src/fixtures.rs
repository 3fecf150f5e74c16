//! What tests of plans are made from. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Act, Outcome, Plan, Verb};
use serde_json::{Value, json};

/// A time of day on 2026-01-01.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2026-01-01T{time}Z").parse().expect("a time")
}

/// A pod of the controller `(kind, name, uid)`; `more` is merged into its parts.
pub(crate) fn pod(name: &str, owner: (&str, &str, &str), more: &Value) -> Pod {
    let group = if owner.0 == "Job" { "batch/v1" } else { "apps/v1" };
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "n", "uid": format!("uid-{name}"), "labels": {"app": "x"},
            "ownerReferences": [{
                "apiVersion": group, "kind": owner.0, "name": owner.1, "uid": owner.2, "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Pending"},
    });
    merge(&mut pod, more);
    serde_json::from_value(pod).expect("a pod")
}

/// A status of a pod that is ready since then.
pub(crate) fn ready(since: &str) -> Value {
    let since = format!("2026-01-01T{since}Z");
    json!({"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
    }})
}

/// Objects are merged, everything else is replaced.
pub(crate) fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// All acts of a plan.
pub(crate) fn acts(plan: &Plan) -> impl Iterator<Item = &Act> {
    plan.acts.iter().flatten()
}

/// What a plan creates.
pub(crate) fn created(plan: &Plan) -> Vec<&Value> {
    acts(plan)
        .filter_map(|act| match act.verb() {
            Verb::Create(body) => Some(body),
            _ => None,
        })
        .collect()
}

/// The names of what a plan deletes.
pub(crate) fn deleted(plan: &Plan) -> Vec<&str> {
    acts(plan).filter(|act| matches!(act.verb(), Verb::Delete { .. })).map(|act| act.target().name.as_str()).collect()
}

/// The status that a plan writes.
pub(crate) fn status(plan: &Plan) -> Option<&Value> {
    acts(plan).find_map(|act| match act.verb() {
        Verb::Update { body, subresource: Some("status") } => Some(&body["status"]),
        _ => None,
    })
}

/// The objects that a plan updates.
pub(crate) fn updated(plan: &Plan) -> Vec<&Value> {
    acts(plan)
        .filter_map(|act| match act.verb() {
            Verb::Update { body, subresource: None } => Some(body),
            _ => None,
        })
        .collect()
}

/// The patches of a plan, with the names of what they change.
pub(crate) fn patched(plan: &Plan) -> Vec<(&str, &Value)> {
    acts(plan)
        .filter_map(|act| match act.verb() {
            Verb::Patch { body, .. } => Some((act.target().name.as_str(), body)),
            _ => None,
        })
        .collect()
}

/// The notes of the events when every act succeeds, `made` being the name of what the server names.
pub(crate) fn told(plan: &Plan) -> Vec<String> {
    let made = json!({"metadata": {"name": "made"}});
    acts(plan).filter_map(|act| act.report(Outcome::Done(&made))).map(|event| event.note).collect()
}
