//! The status of a CustomResourceDefinition: which names it got, and whether it is served. kube-apiserver's controllers settle
//! this after the write; here it is part of the write. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::definition::{self, Approval};
use crate::clock::rfc3339_seconds;

/// Whether a condition is `True`.
pub(super) fn is(crd: &Value, type_: &str) -> bool {
    let conditions = crd["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|c| c["type"] == type_ && c["status"] == "True")
}

/// Sets a condition; its transition time moves when its status changes.
pub(super) fn set(crd: &mut Value, type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) {
    let mut condition = json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": rfc3339_seconds(now),
    });
    let Some(all) = crd["status"].as_object_mut() else { return };
    let all = all.entry("conditions").or_insert_with(|| json!([]));
    let Some(all) = all.as_array_mut() else { return };
    match all.iter_mut().find(|c| c["type"] == type_) {
        Some(old) => {
            if old["status"] == status && old["lastTransitionTime"].is_string() {
                condition["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = condition;
        }
        None => all.push(condition),
    }
}

/// The names that a definition has got: what others of its group must know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Name of the definition.
    definition: String,
    /// API group.
    pub(crate) group: String,
    /// Plural, singular and short names.
    resources: Vec<String>,
    /// Kind and kind of a list.
    kinds: Vec<String>,
}

impl Names {
    /// The accepted names of a stored definition.
    pub(crate) fn of(crd: &Value) -> Self {
        let names = &crd["status"]["acceptedNames"];
        let text = |key: &str| names[key].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let short = names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Self {
            definition: crd["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            group: crd["spec"]["group"].as_str().unwrap_or_default().to_owned(),
            resources: ["plural", "singular"].into_iter().filter_map(text).chain(short).collect(),
            kinds: ["kind", "listKind"].into_iter().filter_map(text).collect(),
        }
    }
}

/// Settles names and conditions of a new or changed definition. `others`: the definitions of its group.
pub(super) fn settle(crd: &mut Value, others: &[Arc<Names>], now: Timestamp) {
    if !crd["status"].is_object() {
        crd["status"] = json!({});
    }
    let (accepted, conflict) = accept(crd, others);
    crd["status"]["acceptedNames"] = accepted;
    match conflict {
        None => {
            set(crd, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now);
            set(crd, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now);
        }
        Some((reason, message)) => {
            set(crd, "NamesAccepted", "False", reason, &message, now);
            // What is served stays served: renaming into a conflict takes nothing away.
            if !is(crd, "Established") {
                set(crd, "Established", "False", "NotAccepted", "not all names are accepted", now);
            }
        }
    }
    if definition::is_protected(crd["spec"]["group"].as_str().unwrap_or_default()) {
        let (status, reason) = match definition::approval_of(crd) {
            Approval::Approved => ("True", "ApprovedAnnotation"),
            Approval::Bypassed => ("False", "UnapprovedAnnotation"),
            Approval::Invalid => ("False", "InvalidAnnotation"),
            Approval::Missing => ("False", "MissingAnnotation"),
        };
        let message = definition::approval_text(crd);
        set(crd, "KubernetesAPIApprovalPolicyConformant", status, reason, &message, now);
    }
}

/// Remembers each storage version that objects were ever written in.
pub(super) fn store_versions(crd: &mut Value) {
    let versions = crd["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let name = versions.iter().find(|version| version["storage"] == true).map(|version| version["name"].clone());
    let mut stored = crd["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    if let Some(name) = name.filter(|name| !stored.contains(name)) {
        stored.push(name);
    }
    if !stored.is_empty() {
        if !crd["status"].is_object() {
            crd["status"] = json!({});
        }
        crd["status"]["storedVersions"] = stored.into();
    }
}

/// The names that no other definition of the group has, and what is wrong with the rest.
fn accept(crd: &Value, others: &[Arc<Names>]) -> (Value, Option<(&'static str, String)>) {
    let wanted = &crd["spec"]["names"];
    let own = crd["metadata"]["name"].as_str().unwrap_or_default();
    let others = || others.iter().filter(|other| other.definition != own);
    let resource = |name: &Value| others().any(|other| other.resources.iter().any(|taken| *name == *taken.as_str()));
    let kind = |name: &Value| others().any(|other| other.kinds.iter().any(|taken| *name == *taken.as_str()));
    let mut accepted = crd["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({"plural": "", "kind": ""});
    }
    let mut conflict = None;
    let in_use = |name: &Value| format!("{name} is already in use");
    for (key, taken, reason) in [
        ("plural", resource(&wanted["plural"]), "PluralConflict"),
        ("singular", resource(&wanted["singular"]), "SingularConflict"),
    ] {
        copy(&mut accepted, wanted, key, taken, || conflict = Some((reason, in_use(&wanted[key]))));
    }
    let taken: Vec<String> =
        wanted["shortNames"].as_array().into_iter().flatten().filter(|n| resource(n)).map(in_use).collect();
    copy(&mut accepted, wanted, "shortNames", !taken.is_empty(), || {
        conflict = Some(("ShortNamesConflict", taken.join(", ")));
    });
    for (key, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        copy(&mut accepted, wanted, key, kind(&wanted[key]), || conflict = Some((reason, in_use(&wanted[key]))));
    }
    copy(&mut accepted, wanted, "categories", false, || {});
    (accepted, conflict)
}

fn copy(accepted: &mut Value, wanted: &Value, key: &str, taken: bool, refuse: impl FnOnce()) {
    if taken {
        refuse();
        return;
    }
    let Some(accepted) = accepted.as_object_mut() else { return };
    match wanted.get(key) {
        Some(value) => accepted.insert(key.to_owned(), value.clone()),
        None => accepted.remove(key),
    };
}
