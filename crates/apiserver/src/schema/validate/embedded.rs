//! `x-kubernetes-embedded-resource`: objects inside of objects name their type and have valid metadata. Pure.

use serde_json::{Map, Value, json};

use super::each_below;
use crate::field::FieldError;
use crate::kinds::{meta, names};
use crate::resource::NameRule;
use crate::schema::Schema;
use crate::schema::body::MAX_DEPTH;
use crate::schema::report::{Path, Report};

/// Errors in the objects embedded in `value`, which lies at `path`.
pub(crate) fn embedded(value: &Value, schema: &Schema, path: &Path<'_>) -> Vec<FieldError> {
    let mut report = Report::default();
    walk(value, schema, path, 0, &mut report);
    report.into_list()
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, depth: usize, report: &mut Report) {
    if depth >= MAX_DEPTH {
        return;
    }
    if let Value::Object(map) = value
        && schema.embedded_resource
    {
        resource(map, path, report);
    }
    each_below(value, schema, path, |value, schema, path| walk(value, schema, path, depth + 1, report));
}

fn resource(map: &Map<String, Value>, path: &Path<'_>, report: &mut Report) {
    for name in ["apiVersion", "kind"] {
        let at = path.field(name);
        match map.get(name) {
            None => report.add(|| FieldError::required(at.to_string(), "")),
            Some(Value::String(text)) if text.is_empty() => report.add(|| FieldError::required(at.to_string(), "")),
            Some(value @ Value::String(text)) if name == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let why = format!("unexpected GroupVersion string: {text}");
                    report.add(|| FieldError::invalid(at.to_string(), value, &why));
                }
            }
            Some(value @ Value::String(text)) => {
                let wrong = names::dns_1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    report.add(|| FieldError::invalid(at.to_string(), value, &why));
                }
            }
            Some(value) => report.add(|| FieldError::invalid(at.to_string(), value, "must be a string")),
        }
    }
    let Some(metadata) = map.get("metadata") else { return };
    if !metadata.is_object() && !metadata.is_null() {
        return report.add(|| FieldError::invalid(path.field("metadata").to_string(), metadata, "must be an object"));
    }
    let mut object = json!({"metadata": metadata});
    let text = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    if text(&object, "name").is_empty() {
        // An embedded object needs no name.
        object["metadata"]["name"] = "fakename".into();
    }
    let namespaced = !text(&object, "namespace").is_empty();
    for mut error in meta::validate(&object, NameRule::PathSegment, namespaced) {
        report.add(|| {
            error.field = path.field(&error.field).to_string();
            error
        });
    }
}
