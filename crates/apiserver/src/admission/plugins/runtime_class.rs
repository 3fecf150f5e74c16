//! RuntimeClass: what the class of a pod costs on top, and where its pods can run.

use serde_json::Value;

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::status::Status;

pub(super) fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    if a.operation != Operation::Create || !a.is("", "pods") {
        return Ok(());
    }
    let Some(class) = class(a)? else { return Ok(()) };
    apply(&mut a.object, &class).map_err(|why| a.forbidden(&why))
}

/// Whoever changed the pod meanwhile left its overhead alone.
pub(super) fn validate(a: &Attributes<'_>) -> Result<(), Status> {
    if a.operation != Operation::Create || !a.is("", "pods") {
        return Ok(());
    }
    let class = class(a)?.unwrap_or_default();
    overhead(&a.object, &class).map_err(|why| a.forbidden(why))
}

fn class(a: &Attributes<'_>) -> Result<Option<Value>, Status> {
    let name = a.object.str_at("/spec/runtimeClassName");
    if name.is_empty() {
        return Ok(None);
    }
    match a.api.lookup("node.k8s.io/runtimeclasses", "", name) {
        None => Err(a.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found"))),
        found => Ok(found),
    }
}

const OTHER_OVERHEAD: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn overhead(pod: &Value, class: &Value) -> Result<(), &'static str> {
    match (class.has("/overhead"), pod.has("/spec/overhead")) {
        (true, _) if class.at("/overhead/podFixed") != pod.at("/spec/overhead") => Err(OTHER_OVERHEAD),
        (false, true) => Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        _ => Ok(()),
    }
}

fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    let fixed = class.at("/overhead/podFixed");
    if !fixed.is_null() {
        if pod.has("/spec/overhead") && pod.at("/spec/overhead") != fixed {
            return Err(OTHER_OVERHEAD.to_owned());
        }
        pod.set_at("/spec/overhead", fixed.clone());
    }
    for (key, value) in class.map_at("/scheduling/nodeSelector").into_iter().flatten() {
        let (pointer, wanted) = (
            format!("/spec/nodeSelector/{}", key.replace('~', "~0").replace('/', "~1")),
            value.as_str().unwrap_or_default(),
        );
        if pod.has(&pointer) && pod.at(&pointer) != value {
            let given = pod.str_at(&pointer);
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {given}"
            ));
        }
        pod.set_at(&pointer, value.clone());
    }
    if class.has("/scheduling") {
        let merged = merge(pod.list_at("/spec/tolerations"), class.list_at("/scheduling/tolerations"));
        if !merged.is_empty() {
            pod.set_at("/spec/tolerations", merged);
        }
    }
    Ok(())
}

/// More tolerations than this are not compared with each other: that takes the square of their number.
const MOST_COMPARED: usize = 256;

/// All tolerations but those that another one covers.
fn merge(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = first.iter().chain(second).collect();
    if all.len() > MOST_COMPARED {
        return all.into_iter().cloned().collect();
    }
    let mut merged: Vec<Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let later = all.iter().skip(index + 1);
        let covered = merged.iter().any(|other| covers(other, toleration))
            || later.into_iter().any(|other| other != toleration && covers(other, toleration));
        if !covered {
            merged.push((*toleration).clone());
        }
    }
    merged
}

/// Whether `a` tolerates all that `b` tolerates.
fn covers(a: &Value, b: &Value) -> bool {
    let text = |value: &Value, field: &str| value.str_at(field).to_owned();
    if a == b {
        return true;
    }
    let any_key = text(a, "/key").is_empty() && text(a, "/operator") == "Exists";
    if text(a, "/key") != text(b, "/key") && !any_key {
        return false;
    }
    if !text(a, "/effect").is_empty() && text(a, "/effect") != text(b, "/effect") {
        return false;
    }
    if text(a, "/effect") == "NoExecute"
        && let Some(seconds) = a.int_at("/tolerationSeconds")
        && b.int_at("/tolerationSeconds").is_none_or(|other| other > seconds)
    {
        return false;
    }
    match a.str_at("/operator") {
        "" | "Equal" => b.str_at("/operator") == "Equal" && a.str_at("/value") == b.str_at("/value"),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_adds_its_overhead_and_its_nodes() {
        let mut pod =
            json!({"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}]}});
        let class = json!({"overhead": {"podFixed": {"cpu": "1"}}, "scheduling": {"nodeSelector": {"x/y": "z"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}, {"key": "l", "operator": "Exists"}]}});
        assert_eq!(apply(&mut pod, &class), Ok(()));
        let expected = json!({"overhead": {"cpu": "1"}, "nodeSelector": {"a": "b", "x/y": "z"},
            "tolerations": [{"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}]});
        assert_eq!(pod.at("/spec"), &expected);
    }

    #[test]
    fn a_pod_that_wants_other_nodes_than_its_class_is_refused() {
        let mut pod = json!({"spec": {"nodeSelector": {"a": "b"}}});
        let class = json!({"scheduling": {"nodeSelector": {"a": "c"}}});
        let why = "conflict: runtimeClass.scheduling.nodeSelector[a] = c; pod.spec.nodeSelector[a] = b";
        assert_eq!(apply(&mut pod, &class), Err(why.to_owned()));
    }

    #[test]
    fn overhead_is_the_classs_to_set() {
        let pod = json!({"spec": {"overhead": {"cpu": "1"}}});
        let alone = overhead(&pod, &Value::Null);
        assert_eq!(alone, Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"));
        assert_eq!(overhead(&pod, &json!({"overhead": {"podFixed": {"cpu": "2"}}})), Err(OTHER_OVERHEAD));
        assert_eq!(overhead(&pod, &json!({"overhead": {"podFixed": {"cpu": "1"}}})), Ok(()));
    }
}
