//! Validation of custom resources by their OpenAPI schema, worded as kube-apiserver words it. Pure. CEL rules are not
//! evaluated here: [`Schema::validations`] holds them for whoever does.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

use super::body::MAX_DEPTH;
use super::formats;
use super::{AdditionalProperties, Schema};
use crate::field::{FieldError, Kind, go_value};

/// Errors of `value` against `schema`, which describes a whole object: `apiVersion`, `kind` and `metadata` at its root are
/// everybody's and not looked at.
pub fn object(value: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(value, schema, "", true, 0, &mut errors);
    keyed_lists(value, schema, "", 0, &mut errors);
    embedded(value, schema, "", 0, &mut errors);
    errors
}

/// Errors of any `value` at `path`: a default, a part of an object.
pub fn value(value: &Value, schema: &Schema, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(value, schema, path, false, 0, &mut errors);
    errors
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn invalid(path: &str, value: &Value, why: &str) -> FieldError {
    FieldError::invalid(path, value, &format!("{path} in body {why}"))
}

/// An error that go-openapi attaches to no field.
fn nowhere(why: &str) -> FieldError {
    FieldError::with(Kind::Invalid, "<nil>", Some("\"\"".to_owned()), why)
}

fn check(value: &Value, schema: &Schema, path: &str, root: bool, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_DEPTH {
        errors.push(FieldError::internal(path, "nested too deeply"));
        return;
    }
    if value.is_null() && schema.nullable {
        return;
    }
    type_of(value, schema, path, errors);
    logic(value, schema, path, depth, errors);
    match value {
        Value::String(text) => string(value, text, schema, path, errors),
        Value::Number(_) => number(value, schema, path, errors),
        Value::Array(list) => array(list, value, schema, path, depth, errors),
        _ => {}
    }
    if !schema.enum_.is_empty() && !schema.enum_.iter().any(|allowed| same(allowed, value)) {
        let supported: Vec<String> =
            schema.enum_.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, value, &supported));
    }
    if let Value::Object(map) = value {
        let count = map.len();
        if schema.min_properties.is_some_and(|min| (count as u64) < min) {
            let min = schema.min_properties.unwrap_or_default();
            errors.push(invalid(path, &count.into(), &format!("should have at least {min} properties")));
        }
        if let Some(max) = schema.max_properties.and_then(|max| usize::try_from(max).ok()).filter(|&max| count > max) {
            errors.push(FieldError::too_many(path, count, max));
        }
        for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
            errors.push(FieldError::required(join(path, name), ""));
        }
        for (name, field) in map {
            if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            if let Some(node) = child(schema, name) {
                check(field, node, &join(path, name), false, depth + 1, errors);
            }
        }
    }
}

fn child<'a>(schema: &'a Schema, name: &str) -> Option<&'a Schema> {
    match (schema.properties.get(name), &schema.additional_properties) {
        (Some(node), _) | (None, Some(AdditionalProperties::Schema(node))) => Some(node),
        _ => None,
    }
}

/// Equal as JSON Schema compares: numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => x == y,
        _ => a == b,
    }
}

fn type_of(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = if schema.int_or_string {
        "integer,string"
    } else if let Some(type_) = &schema.type_ {
        type_
    } else {
        return;
    };
    let whole = || value.as_f64().is_some_and(|f| f.fract() == 0.0);
    let fits = wanted.split(',').any(|wanted| match wanted {
        "integer" => found == "integer" || found == "number" && whole(),
        "number" => matches!(found, "integer" | "number"),
        other => other == found,
    });
    if !fits {
        let why = format!("{path} in body must be of type {wanted}: {found:?}");
        errors.push(FieldError::with(Kind::TypeInvalid, path, Some(format!("{found:?}")), &why));
    }
}

fn string(value: &Value, text: &str, schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    if let Some(max) = schema.max_length.filter(|&max| length > max) {
        errors.push(FieldError::too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
    }
    if let Some(min) = schema.min_length.filter(|&min| length < min) {
        errors.push(invalid(path, value, &format!("should be at least {min} chars long")));
    }
    if let Some(pattern) = &schema.pattern {
        // A definition whose pattern does not compile is not accepted.
        if compiled(pattern).is_ok_and(|regex| !regex.is_match(text)) {
            errors.push(invalid(path, value, &format!("should match '{pattern}'")));
        }
    }
    if let Some(format) = schema.format.as_deref().filter(|format| !formats::matches(format, text)) {
        let why = format!("{path} in body must be of type {format}: {text:?}");
        errors.push(FieldError::with(Kind::TypeInvalid, path, Some(go_value(value)), &why));
    }
}

/// A pattern from the cache: compiling costs far more than matching.
fn compiled(pattern: &str) -> Result<regex::Regex, regex::Error> {
    const MOST: usize = 512;
    static KNOWN: LazyLock<Mutex<HashMap<String, regex::Regex>>> = LazyLock::new(Mutex::default);
    let known = |lock: &Mutex<HashMap<_, _>>| lock.lock().unwrap_or_else(PoisonError::into_inner).get(pattern).cloned();
    if let Some(regex) = known(&KNOWN) {
        return Ok(regex);
    }
    let regex = pattern_of(pattern)?;
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MOST {
        all.clear();
    }
    all.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

/// A pattern, compiled. Linear time, bounded size.
pub(crate) fn pattern_of(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build()
}

fn number(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    let Some(number) = value.as_f64() else { return };
    if schema.type_.as_deref() == Some("integer") {
        let fits = match schema.format.as_deref() {
            Some("int32") => number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number),
            _ => number.fract() == 0.0,
        };
        if !fits {
            let format = match schema.format.as_deref() {
                Some(format) if !format.is_empty() => format!("with format {format}"),
                _ => "(default format)".to_owned(),
            };
            errors.push(nowhere(&format!("Checked value must be of type integer {format} in {path}")));
        }
    }
    if let Some(divisor) = schema.multiple_of.filter(|&d| d != 0.0 && (number / d).fract() != 0.0) {
        errors.push(invalid(path, value, &format!("should be a multiple of {divisor}")));
    }
    if let Some(max) = schema.maximum.filter(|&m| number > m || schema.exclusive_maximum && number == m) {
        let than = if schema.exclusive_maximum { "less than" } else { "less than or equal to" };
        errors.push(invalid(path, value, &format!("should be {than} {max}")));
    }
    if let Some(min) = schema.minimum.filter(|&m| number < m || schema.exclusive_minimum && number == m) {
        let than = if schema.exclusive_minimum { "greater than" } else { "greater than or equal to" };
        errors.push(invalid(path, value, &format!("should be {than} {min}")));
    }
}

fn array(list: &[Value], value: &Value, schema: &Schema, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if let Some(items) = &schema.items {
        for (i, item) in list.iter().enumerate() {
            check(item, items, &format!("{path}[{i}]"), false, depth + 1, errors);
        }
    }
    if let Some(min) = schema.min_items.filter(|&min| (list.len() as u64) < min) {
        errors.push(invalid(path, &list.len().into(), &format!("should have at least {min} items")));
    }
    if let Some(max) = schema.max_items.and_then(|max| usize::try_from(max).ok()).filter(|&max| list.len() > max) {
        errors.push(FieldError::too_many(path, list.len(), max));
    }
    if schema.unique_items && list.iter().enumerate().any(|(i, a)| list[..i].contains(a)) {
        errors.push(invalid(path, value, "shouldn't contain duplicates"));
    }
}

/// `anyOf`, `oneOf`, `allOf` and `not`.
fn logic(value: &Value, schema: &Schema, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    let tried = |alternatives: &[std::sync::Arc<Schema>]| -> Vec<Vec<FieldError>> {
        let attempt = |node: &std::sync::Arc<Schema>| {
            let mut found = Vec::new();
            check(value, node, path, false, depth + 1, &mut found);
            found
        };
        alternatives.iter().map(attempt).collect()
    };
    if !schema.any_of.is_empty() {
        let mut results = tried(&schema.any_of);
        if results.iter().all(|found| !found.is_empty()) {
            errors.push(nowhere(&format!("{path:?} must validate at least one schema (anyOf)")));
            errors.append(&mut results[0]);
        }
    }
    if !schema.one_of.is_empty() {
        let mut results = tried(&schema.one_of);
        match results.iter().filter(|found| found.is_empty()).count() {
            1 => {}
            0 => {
                let why = format!("{path:?} must validate one and only one schema (oneOf). Found none valid");
                errors.push(nowhere(&why));
                errors.append(&mut results[0]);
            }
            n => {
                let why =
                    format!("{path:?} must validate one and only one schema (oneOf). Found {n} valid alternatives");
                errors.push(nowhere(&why));
            }
        }
    }
    if !schema.all_of.is_empty() {
        let results = tried(&schema.all_of);
        let valid = results.iter().filter(|found| found.is_empty()).count();
        if valid < results.len() {
            errors.extend(results.into_iter().flatten());
            let none = if valid == 0 { ". None validated" } else { "" };
            errors.push(nowhere(&format!("{path:?} must validate all the schemas (allOf){none}")));
        }
    }
    if let Some(not) = &schema.not {
        let mut found = Vec::new();
        check(value, not, path, false, depth + 1, &mut found);
        if found.is_empty() {
            errors.push(nowhere(&format!("{path:?} must not validate the schema (not)")));
        }
    }
}

/// Elements of sets and maps occur once.
fn keyed_lists(value: &Value, schema: &Schema, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, field) in map {
                if let Some(node) = child(schema, name) {
                    keyed_lists(field, node, &join(path, name), depth + 1, errors);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            let key = |item: &Value| -> Value {
                if schema.list_type.as_deref() == Some("set") {
                    return item.clone();
                }
                let keys = schema.list_map_keys.iter().filter_map(|k| Some((k.clone(), item.get(k)?.clone())));
                Value::Object(keys.collect())
            };
            if matches!(schema.list_type.as_deref(), Some("set" | "map")) {
                let mut seen = std::collections::HashSet::new();
                for (i, item) in list.iter().enumerate() {
                    let key = key(item);
                    if !seen.insert(key.to_string()) {
                        errors.push(FieldError::duplicate(format!("{path}[{i}]"), &key));
                    }
                }
            }
            for (i, item) in list.iter().enumerate() {
                keyed_lists(item, items, &format!("{path}[{i}]"), depth + 1, errors);
            }
        }
        _ => {}
    }
}

/// Embedded objects name their type.
fn embedded(value: &Value, schema: &Schema, path: &str, depth: usize, errors: &mut Vec<FieldError>) {
    if depth >= MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            if schema.embedded_resource {
                for name in ["apiVersion", "kind"] {
                    if map.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                        errors.push(FieldError::required(join(path, name), ""));
                    }
                }
            }
            for (name, field) in map {
                if let Some(node) = child(schema, name) {
                    embedded(field, node, &join(path, name), depth + 1, errors);
                }
            }
        }
        Value::Array(list) => {
            for (i, item) in list.iter().enumerate() {
                if let Some(items) = &schema.items {
                    embedded(item, items, &format!("{path}[{i}]"), depth + 1, errors);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: Value, value: Value) -> Vec<String> {
        let schema: Schema = serde_json::from_value(json!({"type": "object", "properties": {"spec": schema}})).unwrap();
        object(&json!({"spec": value}), &schema).iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn a_wrong_type_names_the_type_found() {
        assert_eq!(
            errors(json!({"type": "string"}), json!(1)),
            [r#"spec: Invalid value: "integer": spec in body must be of type string: "integer""#]
        );
    }

    #[test]
    fn numbers_have_bounds_and_divisors() {
        let schema =
            json!({"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 10, "multipleOf": 0.5});
        assert_eq!(errors(schema.clone(), json!(0)), ["spec: Invalid value: 0: spec in body should be greater than 0"]);
        assert_eq!(
            errors(schema.clone(), json!(10.5)),
            ["spec: Invalid value: 10.5: spec in body should be less than or equal to 10"]
        );
        assert_eq!(errors(schema, json!(1.5)), [""; 0]);
    }

    #[test]
    fn alternatives_report_the_first_ones_errors() {
        assert_eq!(
            errors(json!({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 2}]}), json!(5)),
            [
                r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
                "spec: Invalid value: 5: spec in body should be greater than or equal to 10"
            ]
        );
    }

    #[test]
    fn elements_of_sets_and_maps_occur_once() {
        let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
        assert_eq!(errors(set, json!(["a", "a"])), [r#"spec[1]: Duplicate value: "a""#]);
        let map = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                         "items": {"type": "object"}});
        assert_eq!(
            errors(map, json!([{"k": 1}, {"k": 2}, {"k": 1, "v": 0}])),
            [r#"spec[2]: Duplicate value: {"k":1}"#]
        );
    }

    #[test]
    fn null_is_a_value_only_where_allowed() {
        assert_eq!(errors(json!({"type": "string", "nullable": true}), json!(null)), [""; 0]);
        assert_eq!(errors(json!({"type": "string"}), json!(null)).len(), 1);
    }
}
