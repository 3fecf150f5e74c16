//! PodSecurity: the Pod Security Standards that the labels of a namespace ask for. Pods that miss the enforced standard are
//! refused; pods and workloads that miss the warned one are let through with a warning. (`audit` is read and checked, and
//! changes nothing: this server keeps no audit log.)
//!
//! `level` reads labels, `checks` chooses and words, `baseline` and `restricted` hold the checks; all pure. Here is what
//! happens when. Nobody is exempt.

mod baseline;
mod checks;
mod level;
mod restricted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::resource::Lookup;
use crate::status::Status;
use checks::{Pod, details, findings, reasons};
use level::{Level, Policy, Standard};

/// How many pods of a namespace are looked at when its enforced standard changes.
const MOST_PODS: usize = 3000;
/// Subresources of pods that carry no pod, or none whose spec changes.
const IGNORED: &[&str] = &["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// Workloads, and where they keep what they make pods of.
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("", "replicationcontrollers", "/spec/template"),
    ("", "podtemplates", "/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];

/// Judges a namespace, a pod or a workload as it is to be stored.
pub(super) fn validate(a: &Attributes<'_>) -> Result<(), Status> {
    if !matches!(a.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    if a.is("", "namespaces") {
        return namespace(a);
    }
    if a.is_part("", "pods", a.subresource) && !IGNORED.contains(&a.subresource) {
        if a.operation == Operation::Update && !is_significant(&a.object, a.old) {
            return Ok(());
        }
        let pod = Pod { metadata: a.object.at("/metadata"), spec: a.object.at("/spec") };
        return judge(a, pod, true);
    }
    let Some((.., template)) = TEMPLATES.iter().find(|(group, plural, _)| a.is(group, plural)) else { return Ok(()) };
    let template = a.object.at(template);
    if template.is_null() {
        return Ok(());
    }
    judge(a, Pod { metadata: template.at("/metadata"), spec: template.at("/spec") }, false)
}

fn judge(a: &Attributes<'_>, pod: Pod<'_>, enforce: bool) -> Result<(), Status> {
    let Some(namespace) = a.api.lookup("/namespaces", "", a.namespace) else {
        return Err(Status::internal(format!("failed to lookup namespace {}", a.namespace)));
    };
    let (policy, _) = Policy::of(namespace.at("/metadata/labels"));
    let warning = verdict(policy, pod, enforce).map_err(|why| a.forbidden(&why))?;
    if let Some(warning) = warning {
        a.warn(warning);
    }
    Ok(())
}

/// The warning for a pod, or why it is refused.
fn verdict(policy: Policy, pod: Pod<'_>, enforce: bool) -> Result<Option<String>, String> {
    if enforce {
        let wrong = findings(policy.enforce, pod);
        if !wrong.is_empty() {
            return Err(format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&wrong)));
        }
    }
    let wrong = findings(policy.warn, pod);
    let text = || format!("would violate PodSecurity \"{}\": {}", policy.warn, details(&wrong));
    Ok((!wrong.is_empty()).then(text))
}

/// Whether an update of a pod changes anything that a check looks at and that may change at all: images, and the seccomp
/// profiles that were annotations once.
fn is_significant(new: &Value, old: &Value) -> bool {
    let annotation = |pod: &Value, key: &str| {
        pod.at("/metadata/annotations").get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let differs = |key: &str| annotation(new, key) != annotation(old, key);
    let changed = |now: &Value, before: &Value| {
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", now.str_at("/name"));
        now.str_at("/image") != before.str_at("/image") || differs(&key)
    };
    let in_place = ["/spec/containers", "/spec/initContainers"].into_iter().any(|list| {
        let (now, before) = (new.list_at(list), old.list_at(list));
        now.len() != before.len() || now.iter().zip(before).any(|(now, before)| changed(now, before))
    });
    let list = "/spec/ephemeralContainers";
    let before: BTreeMap<&str, &Value> = old.list_at(list).iter().map(|c| (c.str_at("/name"), c)).collect();
    let added =
        new.list_at(list).iter().any(|now| before.get(now.str_at("/name")).is_none_or(|before| changed(now, before)));
    differs("seccomp.security.alpha.kubernetes.io/pod") || in_place || added
}

/// Labels must be right when they are new; pods that are there and miss a stricter standard are warned of.
fn namespace(a: &Attributes<'_>) -> Result<(), Status> {
    let name = a.object.str_at("/metadata/name");
    let (new, errors) = Policy::of(a.object.at("/metadata/labels"));
    let (old, old_errors) = Policy::of(a.old.at("/metadata/labels"));
    if !errors.is_empty() && (a.operation == Operation::Create || errors != old_errors) {
        return Err(Status::invalid("", "Namespace", name, &errors));
    }
    if a.operation == Operation::Update && is_stricter(new.enforce, old.enforce) {
        for warning in of_existing(name, new.enforce, Lookup::list(a.api, "/pods", name)) {
            a.warn(warning);
        }
    }
    Ok(())
}

/// Whether pods that met the old standard may miss the new one.
fn is_stricter(new: Standard, old: Standard) -> bool {
    new != old && new.level != Level::Privileged && !(new.version == old.version && new.level <= old.level)
}

/// What is said of the pods of a namespace that miss its new standard: one line for all that miss the same checks.
fn of_existing(namespace: &str, standard: Standard, pods: Vec<Value>) -> Vec<String> {
    let total = pods.len();
    // One pod of each controller speaks for the others when there are too many.
    let mut seen = BTreeSet::new();
    let (mut first, others): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(|pod| {
        let owner = pod.list_at("/metadata/ownerReferences").iter().find(|owner| owner.true_at("/controller"));
        owner.is_none_or(|owner| seen.insert(owner.str_at("/uid").to_owned()))
    });
    first.extend(others);
    first.truncate(MOST_PODS);
    let mut groups: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in &first {
        let wrong = findings(standard, Pod { metadata: pod.at("/metadata"), spec: pod.at("/spec") });
        if wrong.is_empty() {
            continue;
        }
        let name = pod.str_at("/metadata/name");
        let group = groups.entry(reasons(&wrong)).or_insert_with(|| (name.to_owned(), 0));
        if name < group.0.as_str() {
            name.clone_into(&mut group.0);
        }
        group.1 += 1;
    }
    let mut warnings = Vec::new();
    if first.len() < total {
        let checked = first.len();
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
        ));
    }
    if !groups.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            _ => format!("{name} (and {} other pods): {reasons}", count - 1),
        })
        .collect();
    lines.sort();
    warnings.extend(lines);
    warnings
}
