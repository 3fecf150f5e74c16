//! What would be done for one gateway, for people to read: objects as they are and would be, without what is secret or only
//! reports, and what becomes of the pod. Pure.

use std::collections::BTreeSet;

use paddock_reconcile::{Error, Foreseen, Rehearsed, Verdict};
use serde::Serialize;
use serde_json::{Value, json};

use super::forecast::{Forecast, forecast};
use super::key::GatewayKey;
use super::{names, removal};

/// What would be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It does not exist.
    Create,
    /// It differs.
    Change,
    /// It is no longer wanted.
    Delete,
}

impl Action {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }
}

/// One object that would be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// What with it.
    pub action: Action,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// As it is; null when it does not exist. Without what the server keeps for itself, and secrets as digests.
    pub before: Value,
    /// As it would be; null when it would be deleted.
    pub after: Value,
}

/// What would be done for one gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Foretold {
    /// Objects in the order of the first write.
    pub changes: Vec<ObjectChange>,
    /// What becomes of its pod.
    pub forecast: Forecast,
    /// The notes of the events that would be written.
    pub notes: Vec<String>,
    /// What it would wait for then; not filled while it waits for nothing.
    pub waits: Option<String>,
    /// What keeps it from being done.
    pub error: Option<Error>,
    /// Whether a person has to say first that it is meant.
    pub refused: bool,
}

impl Foretold {
    /// Reads it from a rehearsal.
    pub fn of(rehearsed: &Rehearsed) -> Self {
        let changes: Vec<_> = rehearsed.objects.iter().filter_map(change).collect();
        let (waits, error) = match &rehearsed.result {
            Ok(Verdict::Waiting { message, .. }) => (Some(message.clone()), None),
            Err(Error::Waiting { message, .. }) => (Some(message.clone()), None),
            // What is wrong with entries and objects is told beside the plan.
            Ok(Verdict::Invalid { reason, message }) if *reason == removal::TOO_MANY => (Some(message.clone()), None),
            Ok(_) => (None, None),
            Err(error) => (None, Some(error.clone())),
        };
        let refused = matches!(&rehearsed.result, Ok(Verdict::Invalid { reason, .. }) if *reason == removal::TOO_MANY);
        // Its passes may say a thing more than once, and it happens once.
        let mut said = BTreeSet::new();
        let notes = rehearsed.notes.iter().filter(|note| !changes.is_empty() && said.insert(note.as_str()));
        let notes = notes.cloned().collect();
        Self { changes, forecast: forecast(&rehearsed.objects), notes, waits, error, refused }
    }
}

fn change(object: &Foreseen) -> Option<ObjectChange> {
    let (before, after) = (object.before.as_ref().map(shown), object.after.as_ref().map(shown));
    let (before, after) = redacted(before, after);
    let action = match (&before, &after) {
        (None, None) => return None,
        (None, Some(_)) => Action::Create,
        (Some(_), None) => Action::Delete,
        (Some(before), Some(after)) if before == after => return None,
        (Some(_), Some(_)) => Action::Change,
    };
    let either = after.as_ref().or(before.as_ref()).unwrap_or(&Value::Null);
    let text = |pointer: &str| either.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    let (before, after) = (before.unwrap_or(Value::Null), after.unwrap_or(Value::Null));
    Some(ObjectChange { action, kind, namespace, name, before, after })
}

/// Without what the server keeps for itself, and without what only reports.
fn shown(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
            metadata.remove(field);
        }
        for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
            owner.as_object_mut().map(|owner| owner.remove("uid"));
        }
    }
    let notes = |key: GatewayKey| [names::ANCHOR, names::REVISIONS].map(|name| key.name_of(name));
    let ours = GatewayKey::of_object(&object).map(notes);
    if ours.is_some_and(|ours| ours.iter().any(|name| object["metadata"]["name"] == name.as_str()))
        && let Some(data) = object.get_mut("data").and_then(Value::as_object_mut)
    {
        data.retain(|key, _| !matches!(key.as_str(), "conditions" | "summary" | "rollout" | "revisions"));
    }
    object
}

/// Secrets' data as digests. What would be made anew is made when it is applied: nobody knows it yet.
fn redacted(mut before: Option<Value>, mut after: Option<Value>) -> (Option<Value>, Option<Value>) {
    let is_secret = |object: &Option<Value>| object.as_ref().is_some_and(|object| object["kind"] == "Secret");
    if !is_secret(&before) && !is_secret(&after) {
        return (before, after);
    }
    let old = before.as_ref().map(|object| object["data"].clone()).unwrap_or_default();
    for object in [&mut before, &mut after].into_iter().flatten() {
        for field in ["data", "stringData"] {
            for (key, value) in object.get_mut(field).and_then(Value::as_object_mut).into_iter().flatten() {
                *value = match value.as_str() {
                    Some(text) if old.get(key).and_then(Value::as_str) == Some(text) => {
                        json!(format!("(secret, sha256 {:.8}…)", paddock_pki::sha256_hex(text.as_bytes())))
                    }
                    _ => json!("(secret, made when it is applied)"),
                };
            }
        }
        // kubectl keeps a copy of what it applied.
        if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: Option<Value>, after: Option<Value>) -> Vec<ObjectChange> {
        let objects = vec![Foreseen { before, after }];
        Foretold::of(&Rehearsed { objects, notes: Vec::new(), result: Ok(Verdict::Settled) }).changes
    }

    fn secret(value: &str) -> Value {
        json!({ "kind": "Secret", "metadata": { "name": "s", "namespace": "n" }, "data": { "kept": "a2VwdA==", "tls.key": value } })
    }

    #[test]
    fn gw_w21_secrets_are_digests_and_never_printed() {
        let changes = told(Some(secret("b2xk")), Some(secret("bmV3")));
        let text = format!("{} {}", changes[0].before, changes[0].after);
        assert!(!text.contains("b2xk") && !text.contains("bmV3") && !text.contains("a2VwdA"), "{text}");
        assert_eq!(changes[0].before["data"]["kept"], changes[0].after["data"]["kept"]);
        assert_eq!(changes[0].after["data"]["tls.key"], "(secret, made when it is applied)");
    }

    #[test]
    fn gw_w21_an_unchanged_object_is_no_change() {
        let mut other = secret("b2xk");
        other["metadata"]["resourceVersion"] = "9".into();
        other["metadata"]["managedFields"] = json!([{}]);
        assert_eq!(told(Some(secret("b2xk")), Some(other)), []);
    }

    #[test]
    fn gw_w21_reports_on_the_anchor_are_no_change() {
        let anchor = |conditions: &str, inventory: &str| {
            json!({
                "kind": "ConfigMap", "metadata": { "name": names::ANCHOR, "labels": { "paddock.dev/tenant": "n" } },
                "data": { "conditions": conditions, "summary": conditions, "inventory": inventory },
            })
        };
        assert_eq!(told(Some(anchor("a", "x")), Some(anchor("b", "x"))), []);
        assert_eq!(told(Some(anchor("a", "x")), Some(anchor("a", "x\ny"))).len(), 1);
    }

    #[test]
    fn gw_w21_waiting_is_told_and_is_no_error() {
        let on = paddock_reconcile::Dependency::Named("x".into());
        let result = Ok(Verdict::Waiting { on, message: "namespace n does not exist".into() });
        let told = Foretold::of(&Rehearsed { objects: Vec::new(), notes: Vec::new(), result });
        assert_eq!((told.waits.as_deref(), told.error), (Some("namespace n does not exist"), None));
    }
}
