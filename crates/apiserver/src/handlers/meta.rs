//! Metadata that the server owns: what a body may not set and what an update may not change.
//! The rules are those of `k8s.io/apiserver/pkg/registry/rest` (`BeforeCreate`, `BeforeUpdate`).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Call;
use crate::clock::rfc3339_seconds;
use crate::status::Status;

/// `metadata` as a map; made if it is not there.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.get("metadata").is_some_and(Value::is_object) {
        if !object.is_object() {
            *object = Value::Object(Map::new());
        }
        object["metadata"] = Value::Object(Map::new());
    }
    match object.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => unreachable!("it was just made"),
    }
}

/// A text in `metadata`, empty when absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the object waits for its finalizers.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    let list = object.get("metadata").and_then(|m| m.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Sets or, when empty, removes `metadata.finalizers`.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let metadata = metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Five characters of the name generator's alphabet (no vowels, no look-alikes: `k8s.io/apimachinery/pkg/util/rand`).
fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())])).collect()
}

/// The longest generated name is 63 characters, so that it fits a label: the base is cut.
fn generated(base: &str) -> String {
    let cut = base.char_indices().map(|(i, _)| i).take_while(|i| *i <= 58).last().unwrap_or(0);
    let base = if base.len() > 58 { &base[..cut] } else { base };
    format!("{base}{}", suffix())
}

impl Call<'_> {
    /// The namespace of the body must be the path's, or absent; a cluster-scoped object has none.
    pub(crate) fn settle_namespace(&self, object: &mut Value) -> Result<(), Status> {
        if !self.resource.namespaced {
            metadata(object).remove("namespace");
            return Ok(());
        }
        match text(object, "namespace") {
            "" => {
                metadata(object).insert("namespace".to_owned(), self.path.namespace.as_str().into());
                Ok(())
            }
            given if *given == self.path.namespace => Ok(()),
            _ => Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            )),
        }
    }

    /// Takes out what only the server may set on a new object: admission sees it without.
    pub(crate) fn wipe_new(&self, object: &mut Value) {
        let metadata = metadata(object);
        for field in
            ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]
        {
            metadata.remove(field);
        }
    }

    /// Fills in what the server gives to a new object.
    pub(crate) fn fill_new(&self, object: &mut Value) {
        self.wipe_new(object);
        let now = rfc3339_seconds(self.now);
        let has_generation = self.resource.strategy.has_generation();
        let metadata = metadata(object);
        metadata.insert("uid".to_owned(), crate::identity::new_uuid().into());
        metadata.insert("creationTimestamp".to_owned(), now.into());
        if has_generation {
            metadata.insert("generation".to_owned(), 1.into());
        }
        let named = metadata.get("name").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
        let base = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
        if !named && !base.is_empty() {
            let name = generated(base);
            metadata.insert("name".to_owned(), name.into());
        }
    }

    /// Carries over what an update cannot change.
    pub(crate) fn keep_identity(&self, new: &mut Value, old: &Value) {
        let metadata = metadata(new);
        metadata.remove("selfLink");
        let kept = |field: &str| old.get("metadata").and_then(|metadata| metadata.get(field)).cloned();
        for field in ["creationTimestamp", "generation"] {
            match kept(field) {
                Some(value) => metadata.insert(field.to_owned(), value),
                None => metadata.remove(field),
            };
        }
        // Another uid, and a deletion that no DELETE began, are errors that validation tells.
        let sent_uid = metadata.get("uid").and_then(Value::as_str).is_some_and(|uid| !uid.is_empty());
        let sent_grace = metadata.contains_key("deletionGracePeriodSeconds");
        for (field, sent) in
            [("uid", sent_uid), ("deletionTimestamp", false), ("deletionGracePeriodSeconds", sent_grace)]
        {
            if let Some(value) = kept(field).filter(|_| !sent) {
                metadata.insert(field.to_owned(), value);
            }
        }
    }

    /// Drops equal owner references, with a warning: clients once relied on it.
    pub(crate) fn dedup_owners(&mut self, object: &mut Value) {
        let Some(Value::Array(owners)) = metadata(object).get_mut("ownerReferences") else { return };
        let mut seen: HashMap<String, Vec<Value>> = HashMap::new();
        let mut repeated = Vec::new();
        owners.retain(|owner| {
            let uid = owner["uid"].as_str().unwrap_or_default().to_owned();
            let same = seen.entry(uid.clone()).or_default();
            let fresh = !same.contains(owner);
            if fresh {
                same.push(owner.clone());
            } else {
                repeated.push(uid);
            }
            fresh
        });
        if !repeated.is_empty() {
            self.warnings.push(format!(
                ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and \
                 may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
                repeated.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_never_exceed_63_bytes() {
        assert_eq!(generated(&"x".repeat(200)).len(), 63);
    }

    #[test]
    fn generated_names_cut_between_characters() {
        assert!(generated(&"é".repeat(60)).len() <= 63);
    }
}
