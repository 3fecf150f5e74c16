//! The pure parts of subresources: Scale, Binding, Eviction, TokenRequest. The handlers read, call these, and write.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::at::At;
use super::checks::{selector_text, selects};
use super::timestamp;
use crate::field::FieldError;
use crate::status::Status;

/// The `autoscaling/v1` Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController.
pub fn scale(obj: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if obj.has(&format!("/metadata/{field}")) {
            metadata.set_at(&format!("/{field}"), obj.at(&format!("/metadata/{field}")).clone());
        }
    }
    let selector = obj.at("/spec/selector");
    let typed = selector.map_at("/matchLabels").is_some() || !selector.list_at("/matchExpressions").is_empty();
    let text = if typed { selector_text(selector) } else { selector_text(&json!({ "matchLabels": selector })) };
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {},
        "status": {"replicas": obj.int_at("/status/replicas").unwrap_or(0)},
    });
    // Zero is left out of the wish, not of the state.
    if let Some(replicas) = obj.int_at("/spec/replicas").filter(|n| *n != 0) {
        scale.set_at("/spec/replicas", replicas);
    }
    if text != "<none>" {
        scale.set_at("/status/selector", text);
    }
    scale
}

/// Errors of a Scale that was sent.
pub fn validate_scale(scale: &Value) -> Vec<FieldError> {
    super::meta::non_negative("spec.replicas", scale.at("/spec/replicas")).into_iter().collect()
}

/// Writes the wish of a Scale into the object it scales.
pub fn apply_scale(obj: &mut Value, scale: &Value) {
    obj.set_at("/spec/replicas", scale.int_at("/spec/replicas").unwrap_or(0));
}

/// Binds a pod to a node (`POST pods/NAME/binding`): the pod as it is to be stored.
///
/// # Errors
/// 500 for a target that names no node; 409 when the pod is bound, gated or on its way out.
pub fn bind(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, Status> {
    let node = binding.str_at("/target/name");
    if let kind @ ("Pod" | "Service") = binding.str_at("/target/kind") {
        let text = format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"");
        return Err(Status::new(500, "", text));
    }
    if node.is_empty() {
        return Err(Status::new(500, "", "target.name: Required value"));
    }
    let name = pod.str_at("/metadata/name");
    let conflict = |why: &str| Err(Status::conflict("", "pods/binding", name, why));
    if pod.has("/metadata/deletionTimestamp") {
        return conflict(&format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let bound = pod.str_at("/spec/nodeName");
    if !bound.is_empty() {
        return conflict(&format!("pod {name} is already assigned to node {bound:?}"));
    }
    if !pod.list_at("/spec/schedulingGates").is_empty() {
        return conflict(&format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = pod.clone();
    pod.set_at("/spec/nodeName", node);
    for (key, value) in binding.map_at("/metadata/annotations").into_iter().flatten() {
        pod.set_at(&format!("/metadata/annotations/{}", key.replace('/', "~1")), value.clone());
    }
    let mut conditions = pod.list_at("/status/conditions").to_vec();
    conditions.retain(|c| c.str_at("/type") != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": timestamp(now),
    }));
    pod.set_at("/status/conditions", conditions);
    Ok(pod)
}

/// What an eviction of a pod comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Eviction {
    /// Delete the pod; no budget counts it.
    Delete,
    /// Write this budget, which has one disruption less, then delete the pod.
    Spend(Box<Value>),
}

/// Whether a pod may be evicted, given all budgets of its namespace.
///
/// # Errors
/// 429 when its budget allows no disruption now; 500 when several budgets count it.
pub fn evict(pod: &Value, budgets: &[Value], now: Timestamp) -> Result<Eviction, Status> {
    let over = matches!(pod.str_at("/status/phase"), "Succeeded" | "Failed" | "Pending");
    if over || pod.has("/metadata/deletionTimestamp") {
        return Ok(Eviction::Delete);
    }
    let labels = pod.at("/metadata/labels");
    let counting: Vec<&Value> = budgets.iter().filter(|b| selects(b.at("/spec/selector"), labels)).collect();
    let budget = match counting[..] {
        [] => return Ok(Eviction::Delete),
        [one] => one,
        _ => {
            let text =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(500, "InternalError", text));
        }
    };
    let left = budget.int_at("/status/disruptionsAllowed").unwrap_or(0);
    let seen = budget.int_at("/status/observedGeneration").unwrap_or(0);
    if left <= 0 || seen < budget.int_at("/metadata/generation").unwrap_or(0) {
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        let name = budget.str_at("/metadata/name");
        let [wanted, healthy] =
            ["desiredHealthy", "currentHealthy"].map(|f| budget.int_at(&format!("/status/{f}")).unwrap_or(0));
        let cause = format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently");
        let details = crate::status::Details {
            causes: vec![("DisruptionBudget".to_owned(), cause, String::new())],
            ..Default::default()
        };
        return Err(Status::new(429, "TooManyRequests", text).with(details));
    }
    let mut budget = budget.clone();
    budget.set_at("/status/disruptionsAllowed", left - 1);
    let key = format!("/status/disruptedPods/{}", pod.str_at("/metadata/name").replace('/', "~1"));
    budget.set_at(&key, timestamp(now));
    Ok(Eviction::Spend(Box::new(budget)))
}

/// Errors of a TokenRequest.
pub fn validate_token_request(request: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.expirationSeconds";
    let Some(seconds) = request.int_at("/spec/expirationSeconds") else { return Vec::new() };
    let value = json!(seconds);
    if seconds < 600 {
        vec![FieldError::invalid(FIELD, &value, "may not specify a duration less than 10 minutes")]
    } else if seconds > 1 << 32 {
        vec![FieldError::invalid(FIELD, &value, "may not specify a duration larger than 2^32 seconds")]
    } else {
        Vec::new()
    }
}

/// Defaults of a TokenRequest: an hour.
pub fn default_token_request(request: &mut Value) {
    request.default_at("/spec", json!({}));
    request.default_at("/spec/expirationSeconds", 3600);
    request.default_at("/spec/boundObjectRef", Value::Null);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn a_scale_leaves_out_a_wish_for_none() {
        let object =
            json!({"metadata": {"name": "d"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}}});
        let scale = scale(&object);
        assert_eq!((scale.at("/spec"), scale.at("/status")), (&json!({}), &json!({"replicas": 0, "selector": "a=b"})));
    }

    #[test]
    fn a_pod_is_bound_once() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {}});
        let to = |node: &str| json!({"target": {"name": node}});
        let bound = bind(&pod, &to("n1"), now()).unwrap();
        assert_eq!(bind(&bound, &to("n2"), now()).map_err(|s| s.code), Err(409));
    }

    #[test]
    fn an_empty_budget_refuses_an_eviction() {
        let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "status": {"phase": "Running"}});
        let budget = |left: i64| {
            json!({"metadata": {"generation": 1}, "spec": {"selector": {}},
                "status": {"disruptionsAllowed": left, "observedGeneration": 1}})
        };
        assert_eq!(evict(&pod, &[budget(0)], now()).map_err(|s| s.code), Err(429));
        assert!(
            matches!(evict(&pod, &[budget(1)], now()), Ok(Eviction::Spend(b)) if b.at("/status/disruptionsAllowed") == 0)
        );
    }

    #[test]
    fn a_short_lived_token_is_refused() {
        assert_eq!(validate_token_request(&json!({"spec": {"expirationSeconds": 599}})).len(), 1);
    }
}
