//! The status of a CustomResourceDefinition: which names it got, and whether it is served. kube-apiserver's controllers settle
//! this after the write; here it is part of the write. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

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

/// Settles names and conditions of a new or changed definition.
pub(super) fn settle(crd: &mut Value, others: &[Value], now: Timestamp) {
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
}

/// Remembers each storage version that objects were ever written in.
pub(super) fn store_versions(crd: &mut Value) {
    let versions = crd["spec"]["versions"].as_array().cloned().unwrap_or_default();
    let names = versions.iter().filter(|v| v["storage"] == true).map(|v| v["name"].clone());
    let mut stored = crd["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    for name in names {
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    if !stored.is_empty() {
        if !crd["status"].is_object() {
            crd["status"] = json!({});
        }
        crd["status"]["storedVersions"] = stored.into();
    }
}

/// The names that no other definition of the group has, and what is wrong with the rest.
fn accept(crd: &Value, others: &[Value]) -> (Value, Option<(&'static str, String)>) {
    let group = &crd["spec"]["group"];
    let wanted = &crd["spec"]["names"];
    let others: Vec<&Value> = others
        .iter()
        .filter(|o| o["spec"]["group"] == *group && o["metadata"]["name"] != crd["metadata"]["name"])
        .map(|o| &o["status"]["acceptedNames"])
        .collect();
    let short = |names: &Value, name: &Value| names["shortNames"].as_array().is_some_and(|all| all.contains(name));
    let resource = |name: &Value| {
        !name.is_null() && others.iter().any(|o| o["plural"] == *name || o["singular"] == *name || short(o, name))
    };
    let kind = |name: &Value| !name.is_null() && others.iter().any(|o| o["kind"] == *name || o["listKind"] == *name);
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
