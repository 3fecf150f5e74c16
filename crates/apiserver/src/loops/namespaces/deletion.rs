//! The end of a namespace: its pods go first, then everything else; the status says what is left and why; when nothing is, the
//! finalizer is taken off. Touches what is in that namespace, and its status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Caller, path};
use crate::clock::rfc3339_seconds;
use crate::handlers::{finalizers, is_terminating};
use crate::kinds::at::At;
use crate::resource::{Lookup, Resource};
use crate::status::Status;

/// What a deletion of everything left, and why.
#[derive(Debug, Default)]
struct Remains {
    /// Objects left, by `plural.group`.
    resources: BTreeMap<String, usize>,
    /// Objects left that a finalizer holds, by finalizer.
    finalizers: BTreeMap<String, usize>,
    /// What kept objects from being deleted.
    errors: BTreeSet<String>,
}

/// Deletes everything in a terminating namespace; when nothing is left, takes the finalizer off. `false`: look again soon.
pub(super) async fn empty(caller: &Caller, name: &str, namespace: Value) -> Result<bool, Status> {
    let has_ours = namespace["spec"]["finalizers"].as_array().is_some_and(|f| f.iter().any(|f| f == "kubernetes"));
    if !has_ours {
        return Ok(true);
    }
    let resources: Vec<Arc<Resource>> = {
        let served = caller.api.registry.served();
        let deletable = |r: &&Arc<Resource>| r.namespaced && r.verbs.contains(&"delete") && r.verbs.contains(&"list");
        let mut seen = BTreeSet::new();
        served.resources.iter().filter(deletable).filter(|r| seen.insert(r.storage.clone())).cloned().collect()
    };
    let now = caller.api.clock.now();
    let age = namespace.str_at("/metadata/deletionTimestamp").parse().map_or(0, |at| now.duration_since(at).as_secs());
    let mut remains = Remains::default();
    // What runs goes before what it needs, such as its policies and Secrets.
    let (pods, others): (Vec<_>, Vec<_>) =
        resources.into_iter().partition(|r| r.group.is_empty() && *r.plural == *"pods");
    for resource in &pods {
        clear(caller, resource, name, age, &mut remains).await;
    }
    if remains.resources.is_empty() {
        for resource in &others {
            clear(caller, resource, name, age, &mut remains).await;
        }
    }
    let namespace = report(caller, name, namespace, &remains, now).await?;
    if !remains.resources.is_empty() || !remains.errors.is_empty() {
        return Ok(false);
    }
    let mut done = namespace;
    if let Some(all) = done["spec"]["finalizers"].as_array_mut() {
        all.retain(|f| *f != "kubernetes");
    }
    match caller.call(Method::PUT, &format!("/api/v1/namespaces/{name}/finalize"), "", Some(&done)).await {
        Err(status) if status.code != 404 => Ok(false),
        _ => Ok(true),
    }
}

/// Deletes the objects of one resource and counts what is left of them. `age`: seconds since the namespace's deletion.
async fn clear(caller: &Caller, resource: &Resource, namespace: &str, age: i64, remains: &mut Remains) {
    let objects = Lookup::list(&caller.api, &resource.storage, namespace);
    let grace = objects.iter().map(grace_of).max().unwrap_or(0);
    let mut failed = false;
    for object in &objects {
        if is_terminating(object) {
            continue;
        }
        let options = json!({"propagationPolicy": "Background", "preconditions": {"uid": object["metadata"]["uid"]}});
        let path = path(resource, namespace, object.str_at("/metadata/name"));
        if let Err(status) = caller.call(Method::DELETE, &path, "", Some(&options)).await
            && status.code != 404
            && status.code != 409
        {
            // One that is refused says enough; the others of the resource are tried anyway.
            if !failed {
                remains.errors.insert(status.message.clone());
            }
            failed = true;
        }
    }
    if objects.is_empty() {
        return;
    }
    let left = Lookup::list(&caller.api, &resource.storage, namespace);
    if left.is_empty() {
        return;
    }
    remains.resources.insert(format!("{}.{}", resource.plural, resource.group), left.len());
    for finalizer in left.iter().flat_map(|object| finalizers(object)) {
        *remains.finalizers.entry(finalizer.to_owned()).or_default() += 1;
    }
    // Grace that has not run out and finalizers explain what is left.
    if !failed && grace <= age && left.iter().all(|object| finalizers(object).is_empty()) {
        remains.errors.insert(format!(
            "unexpected items still remain in namespace: {namespace} for gvr: {}/{}, Resource={}",
            resource.group, resource.version, resource.plural
        ));
    }
}

/// Seconds that a pod may take to end; others end at once.
fn grace_of(object: &Value) -> i64 {
    match object.str_at("/status/phase") {
        "Succeeded" | "Failed" => 0,
        _ => object.int_at("/spec/terminationGracePeriodSeconds").unwrap_or(0),
    }
}

/// Writes the conditions that changed. The namespace as it is then.
async fn report(
    caller: &Caller,
    name: &str,
    namespace: Value,
    remains: &Remains,
    now: Timestamp,
) -> Result<Value, Status> {
    let mut new = namespace.clone();
    for condition in conditions(remains) {
        set(&mut new, condition, now);
    }
    if new["status"] == namespace["status"] {
        return Ok(namespace);
    }
    caller.call(Method::PUT, &format!("/api/v1/namespaces/{name}/status"), "", Some(&new)).await
}

/// A condition without its time: type, status, reason, message.
type Condition = (&'static str, bool, &'static str, String);

/// What kube-controller-manager says of a namespace's deletion, in its order and words.
fn conditions(remains: &Remains) -> [Condition; 5] {
    let either = |type_, failed: bool, reasons: [&'static str; 2], bad: String, good: &str| {
        (type_, failed, if failed { reasons[0] } else { reasons[1] }, if failed { bad } else { good.to_owned() })
    };
    // Sorted as texts: that is kube's order, too.
    let listed = |counts: &BTreeMap<String, usize>, has: &str| {
        let mut texts: Vec<String> =
            counts.iter().map(|(name, n)| format!("{name} {has} {n} resource instances")).collect();
        texts.sort();
        texts.join(", ")
    };
    let errors: Vec<&str> = remains.errors.iter().map(String::as_str).collect();
    let content = format!("Failed to delete all resource types, {} remaining: {}", errors.len(), errors.join(", "));
    let left = format!("Some resources are remaining: {}", listed(&remains.resources, "has"));
    let held = format!("Some content in the namespace has finalizers remaining: {}", listed(&remains.finalizers, "in"));
    [
        // What is served is known here without asking around.
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        either(
            "NamespaceDeletionContentFailure",
            !remains.errors.is_empty(),
            ["ContentDeletionFailed", "ContentDeleted"],
            content,
            "All content successfully deleted, may be waiting on finalization",
        ),
        either(
            "NamespaceContentRemaining",
            !remains.resources.is_empty(),
            ["SomeResourcesRemain", "ContentRemoved"],
            left,
            "All content successfully removed",
        ),
        either(
            "NamespaceFinalizersRemaining",
            !remains.finalizers.is_empty(),
            ["SomeFinalizersRemain", "ContentHasNoFinalizers"],
            held,
            "All content-preserving finalizers finished",
        ),
    ]
}

/// Sets a condition; its transition time moves with its status.
fn set(namespace: &mut Value, (type_, status, reason, message): Condition, now: Timestamp) {
    let status = if status { "True" } else { "False" };
    let Some(fields) = namespace["status"].as_object_mut() else { return };
    let Some(all) = fields.entry("conditions").or_insert_with(|| json!([])).as_array_mut() else { return };
    let old = all.iter().position(|c| c["type"] == type_);
    let kept = old.filter(|at| all[*at]["status"] == status).map(|at| all[at]["lastTransitionTime"].clone());
    let condition = json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": kept.unwrap_or_else(|| rfc3339_seconds(now).into()),
    });
    match old {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(remains: &Remains, type_: &str) -> (bool, &'static str, String) {
        let found = conditions(remains).into_iter().find(|c| c.0 == type_).expect("a condition of that type");
        (found.1, found.2, found.3)
    }

    #[test]
    fn what_is_left_is_counted_by_resource() {
        let mut remains = Remains::default();
        remains.resources.insert("configmaps.".into(), 1);
        remains.resources.insert("deployments.apps".into(), 12);
        let message = "Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 12 resource instances";
        assert_eq!(told(&remains, "NamespaceContentRemaining"), (true, "SomeResourcesRemain", message.into()));
    }

    #[test]
    fn what_holds_is_counted_by_finalizer() {
        let remains = Remains { finalizers: [("x.y/z".into(), 2)].into(), ..Remains::default() };
        let message = "Some content in the namespace has finalizers remaining: x.y/z in 2 resource instances";
        assert_eq!(told(&remains, "NamespaceFinalizersRemaining"), (true, "SomeFinalizersRemain", message.into()));
    }

    #[test]
    fn refusals_are_told_in_order() {
        let remains = Remains { errors: ["b".into(), "a".into()].into(), ..Remains::default() };
        let message = "Failed to delete all resource types, 2 remaining: a, b";
        assert_eq!(told(&remains, "NamespaceDeletionContentFailure"), (true, "ContentDeletionFailed", message.into()));
    }

    #[test]
    fn an_unchanged_status_keeps_its_transition_time() {
        let mut namespace = json!({"status": {"conditions": [
            {"type": "T", "status": "True", "reason": "R", "message": "old", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        set(&mut namespace, ("T", true, "R", "new".into()), Timestamp::UNIX_EPOCH);
        let condition = &namespace["status"]["conditions"][0];
        assert_eq!(
            (condition.str_at("/message"), condition.str_at("/lastTransitionTime")),
            ("new", "2026-01-01T00:00:00Z")
        );
    }

    #[test]
    fn a_pod_that_ended_takes_no_time() {
        let pod = |phase: &str| json!({"status": {"phase": phase}, "spec": {"terminationGracePeriodSeconds": 30}});
        assert_eq!((grace_of(&pod("Running")), grace_of(&pod("Failed"))), (30, 0));
    }
}
