//! The pure parts of subresources: scale, binding, eviction, log options. The handlers read, call these, and write.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::at::At;
use super::checks::{selector_text, selects};
use super::timestamp;
use crate::field::FieldError;
use crate::patch::managed;
use crate::resource::{Resource, ScalePaths};
use crate::status::Status;

/// The paths of a scalable resource, or 404.
fn paths(resource: &Resource) -> Result<ScalePaths, Status> {
    resource.strategy.scale_paths().ok_or_else(Status::no_such_resource)
}

/// The `autoscaling/v1` Scale of an object. `at` tells where each version keeps its replicas.
pub(crate) fn scale(resource: &Resource, object: &Value, at: managed::ReplicasPath<'_>) -> Result<Value, Status> {
    let paths = paths(resource)?;
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let fields = managed::scale_from_parent(object.pointer("/metadata/managedFields"), at);
    if !fields.is_empty() {
        metadata["managedFields"] = fields.into();
    }
    let mut out = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {},
        "status": {"replicas": object.int_at(&paths.status).unwrap_or(0)},
    });
    if resource.custom && object.int_at(&paths.spec).is_none() {
        let path = paths.spec.replace('/', ".");
        return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    // Go leaves a zero out of the spec, not out of the status.
    if let Some(replicas) = object.int_at(&paths.spec).filter(|r| *r != 0) {
        out["spec"]["replicas"] = replicas.into();
    }
    let selector = match paths.selector.as_deref().map(|p| object.at(p)) {
        Some(Value::String(text)) => text.clone(),
        // A ReplicationController's selector is a plain map of labels.
        Some(Value::Object(labels)) if labels.values().all(Value::is_string) => {
            labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
        }
        // Custom resources keep a selector as text, or have none.
        Some(selector) if !resource.custom => selector_text(selector),
        _ => String::new(),
    };
    if !selector.is_empty() {
        out["status"]["selector"] = selector.into();
    }
    Ok(out)
}

/// The object with the replicas, managed fields and resourceVersion of a written Scale.
pub(crate) fn with_scale(
    resource: &Resource,
    object: &Value,
    scale: &Value,
    at: managed::ReplicasPath<'_>,
) -> Result<Value, Status> {
    let paths = paths(resource)?;
    let name = object.str_at("/metadata/name");
    if scale.str_at("/metadata/name") != name && scale.has("/metadata/name") {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            scale.str_at("/metadata/name")
        )));
    }
    let replicas = scale.int_at("/spec/replicas").unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", name, &[error]));
    }
    let (uid, known) = (scale.str_at("/metadata/uid"), object.str_at("/metadata/uid"));
    if !uid.is_empty() && uid != known {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {known}");
        return Err(Status::conflict(&resource.group, &format!("{}/scale", resource.plural), name, &why));
    }
    let mut out = object.clone();
    out.set_at(&paths.spec, replicas);
    let parent = object.pointer("/metadata/managedFields");
    let fields =
        managed::scale_to_parent(parent, scale.pointer("/metadata/managedFields"), at, &resource.api_version());
    out.set_at("/metadata/managedFields", Value::from(fields));
    match scale.str_at("/metadata/resourceVersion") {
        "" => {
            out.remove_at("/metadata/resourceVersion");
        }
        version => out.set_at("/metadata/resourceVersion", version),
    }
    Ok(out)
}

/// Binds a pod to a node (`POST pods/NAME/binding`): the pod as it is to be stored.
///
/// # Errors
/// 500 for a target that names no node; 409 when the pod is bound, gated or on its way out.
pub(crate) fn bind(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, Status> {
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
pub(crate) enum Eviction {
    /// Delete the pod; no budget counts it.
    Delete,
    /// Write this budget, which has one disruption less, then delete the pod.
    Spend(Box<Value>),
}

/// Whether a pod may be evicted, given all budgets of its namespace.
///
/// # Errors
/// 429 when its budget allows no disruption now; 500 when several budgets count it.
pub(crate) fn evict(pod: &Value, budgets: &[Value], now: Timestamp) -> Result<Eviction, Status> {
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

/// The container that is meant: the named one, or the only one.
///
/// # Errors
/// 400 when it must be named or does not exist, as kube-apiserver words it.
pub(crate) fn container<'a>(pod: &'a Value, named: &str) -> Result<&'a str, Status> {
    let pod_name = pod.str_at("/metadata/name");
    let lists = ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"];
    let names: Vec<&str> = lists.iter().flat_map(|list| pod.list_at(list)).map(|c| c.str_at("/name")).collect();
    match (named, pod.list_at("/spec/containers")) {
        ("", [only]) => Ok(only.str_at("/name")),
        ("", _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            names.join(" ")
        ))),
        _ => names
            .into_iter()
            .find(|name| *name == named)
            .ok_or_else(|| Status::bad_request(format!("container {named} is not valid for pod {pod_name}"))),
    }
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
        let resource = crate::kinds::resources().into_iter().find(|r| *r.plural == *"deployments").unwrap();
        let scale = scale(&resource, &object, &|_| None).unwrap();
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
}
