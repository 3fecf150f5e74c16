//! Defaults of a schema fit it. Pure.
//!
//! `ValidateDefaults` of `apiextensions-apiserver/pkg/apiserver/schema/defaulting`: values of maps have none, so those are
//! not looked into.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::structural::fields;
use crate::field::FieldError;
use crate::kinds::meta;
use crate::resource::NameRule;
use crate::schema::body::MAX_DEPTH;
use crate::schema::report::{Path, Report};
use crate::schema::sharing::Sharing;
use crate::schema::{Schema, prune, validate};

/// Errors in the defaults of a schema.
pub(super) fn check(schema: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut walk = Walk { report: Report::default(), nodes: Sharing::default() };
    walk.node(schema, path, None, true, 0);
    walk.report.into_list()
}

/// A place inside of an object's own metadata: the fields from the object down.
#[derive(Clone, Copy)]
struct Inside<'a> {
    parent: Option<&'a Self>,
    name: &'a str,
}

impl Inside<'_> {
    /// An object that holds `value` at this place.
    fn object(&self, value: Value) -> Value {
        let value = json!({self.name: value});
        match self.parent {
            Some(parent) => parent.object(value),
            None => value,
        }
    }
}

struct Walk {
    report: Report,
    nodes: Sharing,
}

impl Walk {
    fn node(&mut self, node: &Value, path: &Path<'_>, inside: Option<Inside<'_>>, root: bool, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        let object = root || node["x-kubernetes-embedded-resource"] == true;
        let inside = if object { None } else { inside };
        if !node["default"].is_null() {
            let errors = self.default(node, &path.field("default"), inside, object);
            self.report.extend(errors);
        }
        if node["items"].is_object() {
            // No place in metadata is reached through a list of defaults.
            self.node(&node["items"], &path.field("items"), inside, false, depth + 1);
        }
        let properties = path.field("properties");
        for (name, child) in fields(node, "properties") {
            let of_meta = object && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
            let below = Inside { parent: inside.as_ref(), name };
            let inside = (of_meta || inside.is_some()).then_some(below);
            self.node(child, &properties.key(name), inside, false, depth + 1);
        }
    }

    fn default(&mut self, node: &Value, path: &Path<'_>, inside: Option<Inside<'_>>, object: bool) -> Vec<FieldError> {
        let default = &node["default"];
        let mut bare = node.as_object().cloned().unwrap_or_default();
        bare.remove("default");
        let Some(schema) = self.read(bare) else { return Vec::new() };
        let mut errors = Vec::new();
        if let Some(inside) = inside {
            let wrong = metadata(&inside.object(default.clone()));
            if !wrong.is_empty() {
                let why = format!("must result in valid metadata: {}", aggregate(&wrong));
                return vec![FieldError::invalid(path.to_string(), default, &why)];
            }
        } else {
            let mut pruned = default.clone();
            prune::prune(&mut pruned, &schema, object);
            if pruned != *default {
                errors.push(FieldError::invalid(path.to_string(), default, "must not have unknown fields"));
            }
            let embedded = validate::embedded(default, &schema, path);
            if !embedded.is_empty() {
                errors.extend(embedded);
                return errors;
            }
        }
        errors.extend(validate::value(default, &schema, path));
        errors
    }

    fn read(&mut self, node: Map<String, Value>) -> Option<Arc<Schema>> {
        self.nodes.read(&Value::Object(node)).ok()
    }
}

/// Errors in the metadata of an object that has some.
fn metadata(object: &Value) -> Vec<FieldError> {
    let mut object = object.clone();
    if object["metadata"].is_null() {
        return Vec::new();
    }
    if !object["metadata"]["name"].is_string() {
        object["metadata"]["name"] = "fakename".into();
    }
    let namespaced = object["metadata"]["namespace"].as_str().is_some_and(|namespace| !namespace.is_empty());
    meta::validate(&object, NameRule::PathSegment, namespaced)
}

/// Several errors as one text.
fn aggregate(errors: &[FieldError]) -> String {
    let all: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    if let [only] = all.as_slice() { only.clone() } else { format!("[{}]", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(spec: Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        check(&schema, &Path::root("s")).iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn a_default_fits_its_schema() {
        assert_eq!(
            errors(json!({"type": "string", "default": 1})),
            [r#"s.properties[spec].default: Invalid value: "integer":  in body must be of type string: "integer""#]
        );
        assert_eq!(
            errors(json!({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"a": 1}})),
            [r#"s.properties[spec].default.a: Invalid value: "integer": a in body must be of type string: "integer""#]
        );
        assert_eq!(errors(json!({"type": "string", "default": "x"})), [""; 0]);
    }

    #[test]
    fn a_default_has_no_unknown_fields() {
        assert_eq!(
            errors(json!({"type": "object", "default": {"u": 1}})),
            [r#"s.properties[spec].default: Invalid value: {"u":1}: must not have unknown fields"#]
        );
    }

    #[test]
    fn a_default_inside_of_metadata_makes_it_valid() {
        let embedded = |default: &str| {
            errors(json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"metadata":
                {"type": "object", "properties": {"namespace": {"type": "string", "default": default}}}}}))
        };
        assert_eq!(embedded("fine"), [""; 0]);
        assert_eq!(embedded("Not Fine").len(), 1);
    }
}
