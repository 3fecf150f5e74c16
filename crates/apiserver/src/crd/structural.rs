//! What a custom resource's schema may look like: OpenAPI v3, and structural (every field has a type, logic only constrains).
//! Pure; works on the definition as written.

use serde_json::{Map, Value};

use crate::field::{FieldError, Kind};
use crate::schema::{Schema, body::MAX_DEPTH, prune, validate};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// Errors of a version's `openAPIV3Schema` at `path`.
pub(super) fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    openapi(schema, path, 0, &mut errors);
    structural(schema, path, Level::Root, 0, &mut errors);
    if errors.is_empty() {
        defaults(schema, path, 0, &mut errors);
    }
    errors
}

fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node[key].as_str().unwrap_or_default()
}

fn fields<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    node[key].as_object().into_iter().flatten()
}

fn items<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    node[key].as_array().into_iter().flatten().enumerate()
}

/// Rules of any schema in a definition.
fn openapi(node: &Value, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_DEPTH {
        errors.push(FieldError::internal(path, "nested too deeply"));
        return;
    }
    let at = |name: &str| format!("{path}.{name}");
    let type_ = text(node, "type");
    if type_ == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(at("type"), why));
    } else if !type_.is_empty() && !TYPES.contains(&type_) {
        errors.push(FieldError::not_supported(at("type"), &node["type"], TYPES));
    }
    if node["uniqueItems"] == true {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(at("uniqueItems"), why));
    }
    let others = &node["additionalProperties"];
    if (others.is_object() || *others == false) && fields(node, "properties").next().is_some() {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(at("additionalProperties"), why));
    } else if *others == false {
        errors.push(FieldError::forbidden(at("additionalProperties"), "additionalProperties cannot be set to false"));
    }
    for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if !node[key].is_null() {
            errors.push(FieldError::forbidden(at(key), &format!("{key} is not supported")));
        }
    }
    if node["items"].is_array() {
        errors.push(FieldError::forbidden(at("items"), "items must be a schema object and not an array"));
    }
    if let Some(Err(error)) = node["pattern"].as_str().map(validate::pattern_of) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(at("pattern"), &node["pattern"], &why));
    }
    if type_ == "array" && !node["items"].is_object() {
        errors.push(FieldError::required(at("items"), "must be specified"));
    }
    extensions(node, path, errors);
    let mut below = |child: &Value, path: String| openapi(child, &path, depth + 1, errors);
    for (name, child) in fields(node, "properties") {
        below(child, format!("{path}.properties[{name}]"));
    }
    for key in ["items", "additionalProperties", "not"] {
        if node[key].is_object() {
            below(&node[key], format!("{path}.{key}"));
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, child) in items(node, key) {
            // Constraints have no types of their own, so the rules that need one do not hold for them.
            if child["items"].is_object() || child["type"].is_null() {
                below(child, format!("{path}.{key}[{i}]"));
            }
        }
    }
}

/// List and map types.
fn extensions(node: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
    const LIST: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    const MAP: &str = "x-kubernetes-map-type";
    let at = |name: &str| format!("{path}.{name}");
    let type_ = text(node, "type");
    if node[PRESERVE] == false {
        errors.push(FieldError::invalid(at(PRESERVE), &node[PRESERVE], "must be true or undefined"));
    }
    if node[MAP].is_string() {
        if type_ != "object" {
            errors.push(FieldError::invalid(
                at("type"),
                &type_.into(),
                "must be object if x-kubernetes-map-type is specified",
            ));
        }
        if !matches!(text(node, MAP), "atomic" | "granular") {
            errors.push(FieldError::not_supported(at(MAP), &node[MAP], &["atomic", "granular"]));
        }
    }
    let list = text(node, LIST);
    if !list.is_empty() {
        if type_ != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            errors.push(FieldError::invalid(at("type"), &type_.into(), why));
        }
        if !matches!(list, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(at(LIST), &node[LIST], &["atomic", "map", "set"]));
        }
    }
    let keys: Vec<&str> = items(node, KEYS).filter_map(|(_, k)| k.as_str()).collect();
    if !keys.is_empty() && list != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list {
            "" => FieldError::required(at(LIST), why),
            _ => FieldError::invalid(at(LIST), &node[LIST], why),
        });
    }
    match list {
        "map" => map_list(node, path, &keys, errors),
        "set" => set_list(&node["items"], &at("items"), errors),
        _ => {}
    }
}

fn map_list(node: &Value, path: &str, keys: &[&str], errors: &mut Vec<FieldError>) {
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let at = |name: &str| format!("{path}.{name}");
    if keys.is_empty() {
        errors.push(FieldError::required(at(KEYS), "must not be empty if x-kubernetes-list-type is map"));
    }
    let item = &node["items"];
    if !item.is_object() {
        errors.push(FieldError::required(at("items"), "must have a schema if x-kubernetes-list-type is map"));
        return;
    }
    if text(item, "type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at("items.type"), &text(item, "type").into(), why));
    }
    for (i, &key) in keys.iter().enumerate() {
        if keys[..i].contains(&key) {
            errors.push(FieldError::invalid(
                format!("{path}.{KEYS}[{i}]"),
                &key.into(),
                "must not contain duplicate entries",
            ));
            continue;
        }
        let Some(property) = item["properties"].get(key) else {
            errors.push(FieldError::invalid(at(KEYS), &node[KEYS], "entries must all be names of item properties"));
            continue;
        };
        let below = |name: &str| format!("{path}.items.properties[{key}].{name}");
        if matches!(text(property, "type"), "array" | "object") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(below("type"), &property["type"], why));
        }
        let required = items(item, "required").any(|(_, name)| name == key);
        if !required && property["default"].is_null() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(below("default"), why));
        }
        if property["nullable"] == true {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(below("nullable"), why));
        }
    }
}

fn set_list(item: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if item["nullable"] == true {
        let why = "cannot be nullable when x-kubernetes-list-type is set";
        errors.push(FieldError::forbidden(format!("{path}.nullable"), why));
    }
    let (key, what) = match text(item, "type") {
        "object" => ("x-kubernetes-map-type", "granular"),
        "array" => ("x-kubernetes-list-type", ""),
        _ => return,
    };
    let kind = text(item, key);
    let wrong = if what.is_empty() { !matches!(kind, "" | "atomic") } else { kind != "atomic" };
    if wrong {
        let shown = item.get(key).map_or_else(|| "null".to_owned(), Value::to_string);
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.push(FieldError::with(Kind::Invalid, format!("{path}.{key}"), Some(shown), why));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Every node says what it is.
fn structural(node: &Value, path: &str, level: Level, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_DEPTH {
        return;
    }
    let at = |name: &str| format!("{path}.{name}");
    if node["items"].is_object() {
        structural(&node["items"], &at("items"), Level::Item, depth + 1, errors);
    }
    for (name, child) in fields(node, "properties") {
        structural(child, &format!("{path}.properties[{name}]"), Level::Field, depth + 1, errors);
    }
    if node["additionalProperties"].is_object() {
        structural(&node["additionalProperties"], &at("additionalProperties"), Level::Field, depth + 1, errors);
    }
    let (any, first_all) = int_or_string_pattern(node);
    logic(node, node, path, any, first_all, depth, errors);
    let type_ = text(node, "type");
    let embedded = node["x-kubernetes-embedded-resource"] == true;
    let loose = node["x-kubernetes-int-or-string"] == true || node["x-kubernetes-preserve-unknown-fields"] == true;
    if embedded && type_ != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match type_ {
            "" => FieldError::required(at("type"), why),
            _ => FieldError::invalid(at("type"), &node["type"], why),
        });
    } else if type_.is_empty() && !loose {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(at("type"), why));
    }
    if level == Level::Root && !type_.is_empty() && type_ != "object" {
        errors.push(FieldError::invalid(at("type"), &node["type"], "must be object at the root"));
    }
    if node["x-kubernetes-int-or-string"] == true && !type_.is_empty() {
        let why = "must be empty if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(at("type"), &node["type"], why));
    }
    if embedded && !node["additionalProperties"].is_null() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(at("additionalProperties"), why));
    }
    if embedded && !loose && fields(node, "properties").next().is_none() {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(at("properties"), why));
    }
    if level == Level::Root || embedded {
        metadata(node, path, errors);
    }
}

/// What everybody has may be constrained by name only.
fn metadata(node: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        if let Some(child) = node["properties"].get(name).filter(|child| text(child, "type") != wanted) {
            let (field, why) = (format!("{path}.properties[{name}].type"), format!("must be {wanted}"));
            errors.push(FieldError::invalid(field, &text(child, "type").into(), &why));
        }
    }
    let unsupported = fields(&node["properties"]["metadata"], "properties")
        .filter(|(name, _)| !matches!(name.as_str(), "name" | "generateName"))
        .count();
    if unsupported > 0 {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(format!("{path}.properties[metadata]"), why));
    }
}

/// Whether `anyOf` (or that of the first `allOf`) is the pattern that goes with `x-kubernetes-int-or-string`.
fn int_or_string_pattern(node: &Value) -> (bool, bool) {
    if node["x-kubernetes-int-or-string"] != true {
        return (false, false);
    }
    let pattern = serde_json::json!([{"type": "integer"}, {"type": "string"}]);
    (node["anyOf"] == pattern, node["allOf"][0]["anyOf"] == pattern)
}

/// Logic constrains and does not describe; what it names is described outside.
fn logic(
    node: &Value,
    outer: &Value,
    path: &str,
    skip_any: bool,
    skip_first_all: bool,
    depth: usize,
    errors: &mut Vec<FieldError>,
) {
    if depth >= MAX_DEPTH {
        return;
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (i, child) in items(node, key) {
            if key == "anyOf" && skip_any {
                continue;
            }
            let skip = key == "allOf" && i == 0 && skip_first_all;
            nested(child, outer, &format!("{path}.{key}[{i}]"), skip, depth + 1, errors);
        }
    }
    if node["not"].is_object() {
        nested(&node["not"], outer, &format!("{path}.not"), false, depth + 1, errors);
    }
}

fn nested(node: &Value, outer: &Value, path: &str, skip_any: bool, depth: usize, errors: &mut Vec<FieldError>) {
    let at = |name: &str| format!("{path}.{name}");
    logic(node, outer, path, skip_any, false, depth, errors);
    if depth >= MAX_DEPTH {
        return;
    }
    if node["items"].is_object() {
        nested(&node["items"], &outer["items"], &at("items"), false, depth + 1, errors);
    }
    for (name, child) in fields(node, "properties") {
        let path = format!("{path}.properties[{name}]");
        nested(child, &outer["properties"][name.as_str()], &path, false, depth + 1, errors);
    }
    for key in ["type", "title", "description"] {
        if !text(node, key).is_empty() {
            errors.push(FieldError::forbidden(at(key), "must be empty to be structural"));
        }
    }
    for key in ["default", "additionalProperties"] {
        if !node[key].is_null() {
            errors.push(FieldError::forbidden(at(key), "must be undefined to be structural"));
        }
    }
    for key in [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        if node[key] == true {
            errors.push(FieldError::forbidden(at(key), "must be false to be structural"));
        }
    }
    for key in ["x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-list-map-keys"] {
        if !node[key].is_null() {
            errors.push(FieldError::forbidden(at(key), "must be undefined to be structural"));
        }
    }
}

/// Defaults fit their own schema.
fn defaults(node: &Value, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_DEPTH {
        return;
    }
    let default = &node["default"];
    if !default.is_null() {
        let field = format!("{path}.default");
        if let Ok(schema) = serde_json::from_value::<Schema>(Value::Object(without_default(node))) {
            let mut pruned = default.clone();
            prune::prune(&mut pruned, &schema, false);
            if pruned == *default {
                errors.extend(validate::value(default, &schema, &field));
            } else {
                errors.push(FieldError::invalid(field, default, "must not have unknown fields"));
            }
        }
    }
    for (name, child) in fields(node, "properties") {
        defaults(child, &format!("{path}.properties[{name}]"), depth + 1, errors);
    }
    for key in ["items", "additionalProperties"] {
        if node[key].is_object() {
            defaults(&node[key], &format!("{path}.{key}"), depth + 1, errors);
        }
    }
}

fn without_default(node: &Value) -> Map<String, Value> {
    let mut map = node.as_object().cloned().unwrap_or_default();
    map.remove("default");
    map
}
