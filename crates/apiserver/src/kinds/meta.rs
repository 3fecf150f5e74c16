//! Validation of `ObjectMeta`, shared by built-in kinds and custom resources, worded as
//! `k8s.io/apimachinery/pkg/api/validation` words it.

use rand::Rng;
use serde_json::{Value, json};

use super::at::At;
use super::names;
use crate::field::{FieldError, Kind, go_value};
use crate::patch::managed;
use crate::resource::NameRule;

/// Most bytes of all annotations together.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Longest prefix that a generated name keeps.
const GENERATED_BASE_MAX: usize = 58;

/// A name made of a prefix and five random characters that spell no words.
pub(crate) fn generated_name(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut end = prefix.len().min(GENERATED_BASE_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut rng = rand::rng();
    let suffix = (0..5).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    prefix[..end].chars().chain(suffix).collect()
}

/// `ValidateObjectMeta`: `obj` has its name already if it was to be generated.
pub(crate) fn validate(obj: &Value, rule: NameRule, namespaced: bool) -> Vec<FieldError> {
    let meta = obj.at("/metadata");
    let mut errors = Vec::new();
    for (field, prefix) in [("generateName", true), ("name", false)] {
        let value = meta.at(&format!("/{field}"));
        match value.as_str().unwrap_or_default() {
            "" if prefix => {}
            "" => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
            name => errors.extend(
                names::object_name(rule, name, prefix)
                    .into_iter()
                    .map(|text| FieldError::invalid(format!("metadata.{field}"), value, &text)),
            ),
        }
    }
    match (namespaced, meta.str_at("/namespace")) {
        (true, "") => errors.push(FieldError::required("metadata.namespace", "")),
        (true, namespace) => errors.extend(invalid("metadata.namespace", namespace, names::dns_label(namespace))),
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
    }
    errors.extend(non_negative("metadata.generation", meta.at("/generation")));
    errors.extend(shared(meta));
    errors
}

/// Labels, annotations, owner references, finalizers and managed fields.
fn shared(meta: &Value) -> Vec<FieldError> {
    let mut errors = labels("metadata.labels", meta.at("/labels"));
    errors.extend(annotations("metadata.annotations", meta.at("/annotations")));
    errors.extend(owner_references(meta.list_at("/ownerReferences")));
    errors.extend(finalizers(meta.list_at("/finalizers")));
    errors.extend(managers(meta.list_at("/managedFields")));
    errors
}

/// Finalizers without a domain are those that Kubernetes itself knows.
pub(crate) fn standard_finalizers(obj: &Value) -> Vec<FieldError> {
    let named = obj.list_at("/metadata/finalizers").iter().enumerate();
    let odd = named.filter(|(_, finalizer)| {
        let name = finalizer.as_str().unwrap_or_default();
        !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion")
    });
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    odd.map(|(at, finalizer)| FieldError::invalid(format!("metadata.finalizers[{at}]"), finalizer, detail)).collect()
}

/// `ValidateManagedFields` of what the bookkeeping takes as it is.
fn managers(entries: &[Value]) -> Vec<FieldError> {
    let named = entries.iter().enumerate().flat_map(|(at, entry)| {
        let errors = managed::manager_errors(entry.str_at("/manager"));
        errors
            .into_iter()
            .map(move |error| FieldError { field: format!("metadata.managedFields[{at}].manager"), ..error })
    });
    named.collect()
}

/// One `Invalid` per text, all about the same string.
pub(super) fn invalid(field: &str, value: &str, wrong: Vec<String>) -> Vec<FieldError> {
    let value = json!(value);
    wrong.into_iter().map(|text| FieldError::invalid(field, &value, &text)).collect()
}

/// The value must be at least zero, if it is a number at all.
pub(super) fn non_negative(field: &str, value: &Value) -> Option<FieldError> {
    value.as_i64().filter(|n| *n < 0).map(|_| FieldError::invalid(field, value, "must be greater than or equal to 0"))
}

/// `ValidateLabels`.
pub(super) fn labels(field: &str, labels: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.extend(invalid(field, key, names::qualified_name(key)));
        let value = value.as_str().unwrap_or_default();
        errors.extend(invalid(field, value, names::label_value(value)));
    }
    errors
}

/// `ValidateAnnotations`: keys in any case, all bytes together limited.
pub(super) fn annotations(field: &str, annotations: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        errors.extend(invalid(field, key, names::qualified_name(&key.to_ascii_lowercase())));
    }
    if bytes > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(field, ANNOTATIONS_MAX));
    }
    errors
}

fn owner_references(references: &[Value]) -> Vec<FieldError> {
    const FIELD: &str = "metadata.ownerReferences";
    let mut errors = Vec::new();
    let mut controller: Option<&Value> = None;
    for reference in references {
        let api_version = reference.str_at("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() {
            errors.push(FieldError::invalid(
                format!("{FIELD}.apiVersion"),
                reference.at("/apiVersion"),
                "version must not be empty",
            ));
        }
        for key in ["kind", "name", "uid"] {
            if reference.str_at(&format!("/{key}")).is_empty() {
                errors.push(FieldError::invalid(format!("{FIELD}.{key}"), &json!(""), "must not be empty"));
            }
        }
        let kind = reference.str_at("/kind");
        if kind == "Event" && matches!(api_version, "v1" | "events.k8s.io/v1" | "events.k8s.io/v1beta1") {
            let detail = format!("{group}/{version}, Kind={kind} is disallowed from being an owner");
            errors.push(FieldError::with(Kind::Invalid, FIELD, Some(go_owner(reference)), &detail));
        }
        if reference.true_at("/controller") {
            if let Some(first) = controller {
                let all: Vec<_> = references.iter().map(go_owner).collect();
                let name = |r: &Value| format!("{}/{}", r.str_at("/kind"), r.str_at("/name"));
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    name(first),
                    name(reference)
                );
                errors.push(FieldError::with(Kind::Invalid, FIELD, Some(format!("[{}]", all.join(","))), &detail));
            } else {
                controller = Some(reference);
            }
        }
    }
    errors
}

/// An owner reference in the field order of Go's struct.
fn go_owner(reference: &Value) -> String {
    ordered(reference, &["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"])
}

/// A JSON object with its keys in a given order, absent ones left out, as Go prints a struct with `omitempty`.
pub(super) fn ordered(object: &Value, keys: &[&str]) -> String {
    let fields = keys.iter().filter_map(|key| object.get(*key).map(|value| format!("{key:?}:{}", go_value(value))));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn finalizers(finalizers: &[Value]) -> Vec<FieldError> {
    const FIELD: &str = "metadata.finalizers";
    let mut errors = Vec::new();
    for finalizer in finalizers {
        let name = finalizer.as_str().unwrap_or_default();
        errors.extend(invalid(FIELD, name, names::qualified_name(name)));
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(FIELD, &Value::Array(finalizers.to_vec()), detail));
    }
    errors
}

/// What of the metadata is wrong in a change. The handlers have restored uid and creation time already where clients may
/// leave them out.
///
/// kube-apiserver looks twice, once for all kinds and once for the kind, and tells every cause each time; its message names
/// each error once.
pub(crate) fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let change = validate_change(new, old);
    let mut errors = shared(new.at("/metadata"));
    errors.extend(change.iter().cloned());
    errors.extend(change);
    errors
}

/// `ValidateObjectMetaUpdate`.
fn validate_change(new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (new.at("/metadata"), old.at("/metadata"));
    let mut errors = Vec::new();
    if new.has("/deletionTimestamp") || old.has("/deletionTimestamp") {
        let before: Vec<&Value> = old.list_at("/finalizers").iter().collect();
        let added: Vec<&str> =
            new.list_at("/finalizers").iter().filter(|f| !before.contains(f)).filter_map(Value::as_str).collect();
        if old.has("/deletionTimestamp") && !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", &detail));
        }
    }
    if new.str_at("/resourceVersion").is_empty() {
        errors.push(FieldError::invalid("metadata.resourceVersion", &json!(""), "must be specified for an update"));
    }
    if let (Some(now), Some(before)) = (new.int_at("/generation"), old.int_at("/generation"))
        && now < before
    {
        errors.push(FieldError::invalid("metadata.generation", new.at("/generation"), "must not be decremented"));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let pointer = format!("/{field}");
        let (now, before) = (new.at(&pointer), old.at(&pointer));
        if now != before {
            let shown = if now.is_null() && !field.starts_with("deletion") { &json!("") } else { now };
            errors.push(FieldError::invalid(format!("metadata.{field}"), shown, "field is immutable"));
        }
    }
    errors.extend(shared(new));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    fn of(metadata: &Value) -> Vec<String> {
        texts(&validate(&json!({ "metadata": metadata }), NameRule::Subdomain, true))
    }

    #[test]
    fn a_name_is_required() {
        assert_eq!(of(&json!({"namespace": "n"})), ["metadata.name: Required value: name or generateName is required"]);
    }

    #[test]
    fn a_cluster_scoped_object_has_no_namespace() {
        let object = json!({"metadata": {"name": "a", "namespace": "n"}});
        assert_eq!(
            texts(&validate(&object, NameRule::Subdomain, false)),
            ["metadata.namespace: Forbidden: not allowed on this type"]
        );
    }

    #[test]
    fn only_one_owner_controls() {
        let owner =
            |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": true});
        let metadata = json!({"name": "a", "namespace": "n", "ownerReferences": [owner("x"), owner("y")]});
        assert!(of(&metadata)[0].ends_with("Found \"true\" in references for Pod/x and Pod/y"));
    }

    #[test]
    fn owners_are_printed_in_the_order_of_their_go_fields() {
        let owner = json!({"apiVersion": "v1", "kind": "Event", "name": "x", "uid": "u", "controller": false});
        assert_eq!(go_owner(&owner), r#"{"apiVersion":"v1","kind":"Event","name":"x","uid":"u","controller":false}"#);
    }

    #[test]
    fn a_deleted_object_gets_no_new_finalizer() {
        let meta = |finalizers: Value| {
            json!({"metadata": {"name": "a", "resourceVersion": "1", "finalizers": finalizers,
                "deletionTimestamp": "2026-01-01T00:00:00Z"}})
        };
        assert_eq!(
            texts(&validate_change(&meta(json!(["a.b/c", "d.e/f"])), &meta(json!(["a.b/c"])))),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
              finalizers []string{\"d.e/f\"}"
            ]
        );
    }

    #[test]
    fn only_a_delete_begins_a_deletion() {
        let new = json!({"metadata": {"resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(
            texts(&validate_change(&new, &json!({"metadata": {}}))),
            ["metadata.deletionTimestamp: Invalid value: \"2026-01-01T00:00:00Z\": field is immutable"]
        );
    }

    #[test]
    fn a_finalizer_has_a_domain_or_is_a_standard_one() {
        let object = json!({"metadata": {"finalizers": ["kubernetes", "a.b/c", "mine"]}});
        assert_eq!(
            texts(&standard_finalizers(&object)),
            [
                "metadata.finalizers[2]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully \
              qualified"
            ]
        );
    }

    #[test]
    fn a_name_is_immutable() {
        let named = |name: &str| json!({"metadata": {"name": name, "resourceVersion": "1"}});
        assert_eq!(
            texts(&validate_change(&named("b"), &named("a"))),
            ["metadata.name: Invalid value: \"b\": field is immutable"]
        );
    }

    #[test]
    fn generated_names_keep_their_prefix_and_fit_a_label() {
        let name = generated_name(&"p".repeat(100));
        assert_eq!((name.len(), name.starts_with("pppp")), (63, true));
    }

    #[test]
    fn a_change_of_metadata_is_looked_at_twice() {
        let object = |uid: &str| json!({"metadata": {"name": "a", "uid": uid, "resourceVersion": "1"}});
        assert_eq!(validate_update(&object("u"), &object("v")).len(), 2);
    }
}
