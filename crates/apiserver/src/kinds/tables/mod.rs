//! Columns and cells of Tables, as kube-apiserver's printers give them (`pkg/printers/internalversion/printers.go`).

pub(crate) mod ages;
pub(super) mod cluster;
pub(super) mod config;
pub(super) mod networking;
pub(super) mod policy;
pub(super) mod rbac;
pub(super) mod storage;
pub(super) mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::at::At;
use crate::resource::Column;
use ages::age;

/// Columns from their short form: names separated by `|`, `:TYPE` after a name that is no string, `+` after one that only
/// `-o wide` shows.
pub(super) fn columns(short: &str) -> Vec<Column> {
    let column = |(index, part): (usize, &str)| {
        let (part, priority) = part.strip_suffix('+').map_or((part, 0), |rest| (rest, 1));
        let (name, type_) = part.split_once(':').unwrap_or((part, "string"));
        let format = if index == 0 { "name" } else { "" };
        Column {
            name: name.to_owned(),
            type_: type_.to_owned(),
            format: format.to_owned(),
            description: describe(name),
            priority,
        }
    };
    short.split('|').enumerate().map(column).collect()
}

fn describe(name: &str) -> String {
    match name {
        "Name" => {
            "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a \
             client to request the generation of an appropriate name automatically. Name is primarily intended for creation \
             idempotence and configuration definition. Cannot be updated. More info: \
             https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
        }
        "Age" => {
            "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed \
             to be set in happens-before order across separate operations. Clients may not set this value. It is represented \
             in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
             https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
        }
        other => other,
    }
    .to_owned()
}

/// Name and age: the columns of kinds that show nothing else.
pub(super) const NAME_AGE: &str = "Name|Age";

/// The cells of [`NAME_AGE`].
pub(super) fn name_age(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), created(obj, now)]
}

/// The object's name.
fn name(obj: &Value) -> Value {
    json!(obj.str_at("/metadata/name"))
}

/// Time since the object was created.
fn created(obj: &Value, now: Timestamp) -> Value {
    json!(age(obj.str_at("/metadata/creationTimestamp"), now))
}

/// `<none>` for an empty text.
fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// The texts of a list, joined by commas.
fn joined<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    items.into_iter().collect::<Vec<_>>().join(",")
}

/// A number, 0 when absent.
fn count(obj: &Value, pointer: &str) -> Value {
    json!(obj.int_at(pointer).unwrap_or(0))
}

/// How many entries a map has.
fn entries(obj: &Value, pointer: &str) -> usize {
    obj.map_at(pointer).map_or(0, serde_json::Map::len)
}

/// `key=value,…` of a map of labels, `<none>` when empty.
fn labels_text(labels: &Value) -> String {
    super::checks::selector_text(&json!({ "matchLabels": labels }))
}
