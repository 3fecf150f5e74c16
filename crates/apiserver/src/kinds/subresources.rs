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
    /// It has not begun, or it ended, or is on its way out: budgets are not asked.
    Unguarded {
        /// It may become ready yet: delete it only as it was read, and look again when it is not.
        may_recover: bool,
    },
    /// No budget counts it.
    Uncounted,
    /// It is not ready, and this budget lets such a one go: delete it only as it was read.
    Unhealthy {
        /// The budget's name.
        budget: String,
    },
    /// Write this budget, which has one disruption less, then delete the pod.
    Spend(Box<Value>),
}

/// Evictions that a budget may have under way.
const DISRUPTED_PODS: usize = 2000;

/// Whether a pod may be evicted, given all budgets of its namespace.
///
/// # Errors
/// 429 when its budget allows no disruption now; 403 when its status makes no sense; 500 when several budgets count it.
pub(crate) fn evict(pod: &Value, budgets: &[Value], now: Timestamp) -> Result<Eviction, Status> {
    let ending = pod.has("/metadata/deletionTimestamp");
    match pod.str_at("/status/phase") {
        "Succeeded" | "Failed" => return Ok(Eviction::Unguarded { may_recover: false }),
        _ if ending => return Ok(Eviction::Unguarded { may_recover: false }),
        "Pending" => return Ok(Eviction::Unguarded { may_recover: true }),
        _ => {}
    }
    let labels = pod.at("/metadata/labels");
    let counting: Vec<&Value> = budgets.iter().filter(|b| selects(b.at("/spec/selector"), labels)).collect();
    let budget = match counting[..] {
        [] => return Ok(Eviction::Uncounted),
        [one] => one,
        _ => {
            let text =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(500, "InternalError", text));
        }
    };
    let status = |field: &str| budget.int_at(&format!("/status/{field}")).unwrap_or(0);
    let is_ready = |c: &Value| (c.str_at("/type"), c.str_at("/status")) == ("Ready", "True");
    if !pod.list_at("/status/conditions").iter().any(is_ready) {
        let (wanted, healthy) = (status("desiredHealthy"), status("currentHealthy"));
        if budget.str_at("/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow" || (healthy >= wanted && wanted > 0) {
            return Ok(Eviction::Unhealthy { budget: budget.str_at("/metadata/name").to_owned() });
        }
    }
    spend(pod, budget, now).map(|budget| Eviction::Spend(Box::new(budget)))
}

/// The budget after one more disruption.
fn spend(pod: &Value, budget: &Value, now: Timestamp) -> Result<Value, Status> {
    let name = budget.str_at("/metadata/name");
    let status = |field: &str| budget.int_at(&format!("/status/{field}")).unwrap_or(0);
    if status("observedGeneration") < budget.int_at("/metadata/generation").unwrap_or(0) {
        return Err(not_settled(name));
    }
    let left = status("disruptionsAllowed");
    let forbidden = |why: &str| Err(Status::forbidden("policy", "poddisruptionbudget", name, why));
    if left < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if budget.map_at("/status/disruptedPods").is_some_and(|pods| pods.len() > DISRUPTED_PODS) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if left == 0 {
        let condition = budget.list_at("/status/conditions").iter().find(|c| c.str_at("/type") == ALLOWED);
        let failed = condition.filter(|c| (c.str_at("/status"), c.str_at("/reason")) == ("False", "SyncFailed"));
        let cause = match failed {
            Some(condition) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
                condition.str_at("/message")
            ),
            None => {
                let (wanted, healthy) = (status("desiredHealthy"), status("currentHealthy"));
                format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently")
            }
        };
        return Err(exhausted(cause, None));
    }
    let mut budget = budget.clone();
    budget.set_at("/status/disruptionsAllowed", left - 1);
    if left == 1 {
        let generation = budget.at("/status/observedGeneration").clone();
        let condition = json!({"type": ALLOWED, "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": generation});
        set_condition(&mut budget, condition, now);
    }
    let key = format!("/status/disruptedPods/{}", pod.str_at("/metadata/name").replace('/', "~1"));
    budget.set_at(&key, timestamp(now));
    Ok(budget)
}

/// The condition of budgets.
const ALLOWED: &str = "DisruptionAllowed";

/// 429: the budget's status is behind, or the pod is no longer what it was.
pub(crate) fn not_settled(budget: &str) -> Status {
    exhausted(format!("The disruption budget {budget} is still being processed by the server."), Some(10))
}

fn exhausted(cause: String, retry_after: Option<u32>) -> Status {
    let details = crate::status::Details {
        causes: vec![("DisruptionBudget".to_owned(), cause, String::new())],
        retry_after,
        ..Default::default()
    };
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    Status::new(429, "TooManyRequests", text).with(details)
}

/// The pod, saying that it is being evicted; `None` when it says so already.
pub(crate) fn disrupted(pod: &Value, now: Timestamp) -> Option<Value> {
    let mut new = pod.clone();
    let mut condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null});
    if let Some(generation) = pod.int_at("/metadata/generation").filter(|g| *g != 0) {
        condition["observedGeneration"] = generation.into();
    }
    set_condition(&mut new, condition, now);
    (new != *pod).then_some(new)
}

/// Puts a condition in place of the one of its type. The time of its transition stays while its status does.
fn set_condition(object: &mut Value, mut condition: Value, now: Timestamp) {
    let mut conditions = object.list_at("/status/conditions").to_vec();
    let old = conditions.iter_mut().find(|c| c.str_at("/type") == condition.str_at("/type"));
    let since = old.as_ref().filter(|old| old.str_at("/status") == condition.str_at("/status"));
    condition["lastTransitionTime"] =
        since.map_or_else(|| timestamp(now).into(), |old| old.at("/lastTransitionTime").clone());
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
    object.set_at("/status/conditions", conditions);
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

    /// A pod that runs, and a budget with this many disruptions left.
    fn running(ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({"metadata": {"name": "p", "labels": {"a": "b"}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn budget(left: i64, healthy: i64) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "spec": {"selector": {}},
            "status": {"disruptionsAllowed": left, "observedGeneration": 1, "desiredHealthy": 2, "currentHealthy": healthy}})
    }

    #[test]
    fn an_empty_budget_refuses_an_eviction() {
        let refused = evict(&running(true), &[budget(0, 2)], now()).unwrap_err();
        let cause = &refused.details.as_ref().unwrap().causes[0].1;
        assert_eq!((refused.code, &**cause), (429, "The disruption budget b needs 2 healthy pods and has 2 currently"));
    }

    #[test]
    fn the_last_disruption_is_spent_and_said() {
        let Ok(Eviction::Spend(spent)) = evict(&running(true), &[budget(1, 3)], now()) else { panic!("not spent") };
        assert_eq!(spent.at("/status/disruptionsAllowed"), 0);
        let condition = json!({"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:00Z"});
        assert_eq!(spent.at("/status/conditions"), &json!([condition]));
    }

    #[test]
    fn an_unready_pod_goes_while_its_budget_is_healthy() {
        let unhealthy = Eviction::Unhealthy { budget: "b".into() };
        assert_eq!(evict(&running(false), &[budget(0, 2)], now()), Ok(unhealthy));
        assert_eq!(evict(&running(false), &[budget(0, 1)], now()).map_err(|s| s.code), Err(429), "it is not healthy");
        let mut nothing_wanted = budget(0, 0);
        nothing_wanted.set_at("/status/desiredHealthy", 0);
        assert_eq!(evict(&running(false), &[nothing_wanted], now()).map_err(|s| s.code), Err(429), "nothing is wanted");
    }

    #[test]
    fn always_allow_lets_unready_pods_go_and_no_others() {
        let mut always = budget(0, 1);
        always.set_at("/spec/unhealthyPodEvictionPolicy", "AlwaysAllow");
        assert!(matches!(evict(&running(false), &[always.clone()], now()), Ok(Eviction::Unhealthy { .. })));
        assert_eq!(evict(&running(true), &[always], now()).map_err(|s| s.code), Err(429));
    }

    #[test]
    fn a_budget_whose_status_is_behind_is_waited_for() {
        let mut behind = budget(1, 3);
        behind.set_at("/metadata/generation", 2);
        let refused = evict(&running(true), &[behind], now()).unwrap_err();
        assert_eq!((refused.code, refused.details.unwrap().retry_after), (429, Some(10)));
    }

    #[test]
    fn only_a_pod_that_may_become_ready_is_deleted_as_it_was_read() {
        let of = |phase: &str, ending: bool| {
            let mut pod = running(false);
            pod.set_at("/status/phase", phase);
            if ending {
                pod.set_at("/metadata/deletionTimestamp", "1970-01-01T00:00:00Z");
            }
            evict(&pod, &[budget(0, 0)], now())
        };
        let unguarded = |may_recover| Ok(Eviction::Unguarded { may_recover });
        assert_eq!(of("Pending", false), unguarded(true));
        assert_eq!([of("Failed", false), of("Pending", true), of("Running", true)], [false; 3].map(unguarded));
    }

    #[test]
    fn an_evicted_pod_says_so_once() {
        let said = disrupted(&running(true), now()).unwrap();
        assert_eq!(said.list_at("/status/conditions")[1].str_at("/reason"), "EvictionByEvictionAPI");
        assert_eq!(disrupted(&said, Timestamp::MAX), None);
    }
}
