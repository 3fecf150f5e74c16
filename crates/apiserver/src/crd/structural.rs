//! Whether a schema is structural: every field says what it is, and logic only constrains what is described outside of it.
//! Pure; works on the definition as written.
//!
//! The rules are those of `apiextensions-apiserver/pkg/apiserver/schema` (`ValidateStructural`), whose errors come sorted.

use std::collections::HashMap;

use paddock_cel::go_regex;
use serde_json::Value;

use crate::field::FieldError;
use crate::schema::body::MAX_DEPTH;
use crate::schema::report::{Path, Report};

/// Most different patterns of one schema: compiling them is the dearest thing in a definition.
const MAX_PATTERNS: usize = 5000;

pub(super) fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node[key].as_str().unwrap_or_default()
}

pub(super) fn fields<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    node[key].as_object().into_iter().flatten()
}

pub(super) fn elements<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    node[key].as_array().into_iter().flatten().enumerate()
}

/// The first thing in a schema that a structural one has no place for, with the text of the refusal.
pub(super) fn unsupported(node: &Value) -> Option<String> {
    find_unsupported(node, 0)
}

fn find_unsupported(node: &Value, depth: usize) -> Option<String> {
    if depth >= MAX_DEPTH {
        return Some("OpenAPIV3Schema is nested too deeply".to_owned());
    }
    let set = |key: &str| match &node[key] {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    for (key, name) in [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("definitions", "definitions"),
    ] {
        if set(key) {
            return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
        }
    }
    if !node["additionalItems"].is_null() {
        return Some("OpenAPIV3Schema 'additionalItems' is not supported".to_owned());
    }
    if node["x-kubernetes-preserve-unknown-fields"] == false {
        return Some("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned());
    }
    if node["items"].as_array().is_some_and(|list| !list.is_empty()) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    let single =
        ["not", "additionalProperties", "items"].into_iter().map(|key| &node[key]).filter(|node| node.is_object());
    let listed = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|key| elements(node, key)).map(|(_, node)| node);
    let named = fields(node, "properties").map(|(_, node)| node);
    single.chain(listed).chain(named).find_map(|node| find_unsupported(node, depth + 1))
}

/// What makes a schema not structural.
pub(super) fn check(schema: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut walk = Walk { report: Report::default(), patterns: HashMap::new() };
    walk.node(schema, path, Level::Root, 0);
    walk.complete(schema, Some(schema), path, path, 0);
    let mut errors = walk.report.into_list();
    errors.sort_by_cached_key(|error| format!("{}: {}", error.field, error.message));
    errors
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

struct Walk<'a> {
    report: Report,
    /// Why each pattern is none, if it is none.
    patterns: HashMap<&'a str, Option<String>>,
}

impl<'a> Walk<'a> {
    fn required(&mut self, path: Path<'_>, why: &str) {
        self.report.add(|| FieldError::required(path.to_string(), why));
    }
    fn forbidden(&mut self, path: Path<'_>, why: &str) {
        self.report.add(|| FieldError::forbidden(path.to_string(), why));
    }
    fn invalid(&mut self, path: Path<'_>, value: &Value, why: &str) {
        self.report.add(|| FieldError::invalid(path.to_string(), value, why));
    }

    /// A node outside of logic.
    fn node(&mut self, node: &'a Value, path: &Path<'_>, level: Level, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        let type_ = text(node, "type");
        if node["items"].is_object() {
            self.node(&node["items"], &path.field("items"), Level::Item, depth + 1);
        } else if type_ == "array" {
            self.required(path.field("items"), "must be specified");
        }
        let properties = path.field("properties");
        for (name, child) in fields(node, "properties") {
            self.node(child, &properties.key(name), Level::Field, depth + 1);
        }
        let others = &node["additionalProperties"];
        if !others.is_null() {
            if level == Level::Root {
                self.forbidden(path.field("additionalProperties"), "must not be used at the root");
            }
            if others.is_object() {
                self.node(others, &path.field("additionalProperties"), Level::Field, depth + 1);
            }
        }
        let is = |key: &str| node[key] == true;
        let embedded = is("x-kubernetes-embedded-resource");
        let (either, preserve) = (is("x-kubernetes-int-or-string"), is("x-kubernetes-preserve-unknown-fields"));
        for (set, key) in
            [(preserve, "x-kubernetes-preserve-unknown-fields"), (embedded, "x-kubernetes-embedded-resource")]
        {
            if either && set {
                let why = "must be false if x-kubernetes-int-or-string is true";
                self.invalid(path.field(key), &true.into(), why);
            }
        }
        self.logic(node, path, is_int_or_string(node), is_int_or_string(&node["allOf"][0]), depth);
        if embedded && type_ != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            match type_ {
                "" => self.required(path.field("type"), why),
                _ => self.invalid(path.field("type"), &node["type"], why),
            }
        } else if type_.is_empty() && !either && !preserve {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.required(path.field("type"), why);
        }
        if embedded && !others.is_null() {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            self.forbidden(path.field("additionalProperties"), why);
        }
        if level == Level::Root && !type_.is_empty() && type_ != "object" {
            self.invalid(path.field("type"), &node["type"], "must be object at the root");
        }
        if level == Level::Root || embedded {
            for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
                if let Some(child) = node["properties"].get(name).filter(|child| text(child, "type") != wanted) {
                    let (found, why) = (text(child, "type").into(), format!("must be {wanted}"));
                    self.invalid(properties.key(name).field("type"), &found, &why);
                }
            }
        }
        if level == Level::Root
            && let Some(metadata) = node["properties"].get("metadata")
            && !names_only(metadata)
        {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.forbidden(properties.key("metadata"), why);
        }
        if embedded && !preserve && fields(node, "properties").next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.required(properties, why);
        }
    }

    /// The logic of a node, and its pattern. `int_or_string`: its `anyOf`, or that of its first `allOf`, may name types.
    fn logic(&mut self, node: &'a Value, path: &Path<'_>, int_or_string: bool, of_first_all: bool, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        for key in ["anyOf", "allOf", "oneOf"] {
            if key == "anyOf" && int_or_string {
                continue;
            }
            for (i, child) in elements(node, key) {
                let skip = key == "allOf" && i == 0 && of_first_all;
                self.nested(child, &path.field(key).index(i), skip, depth + 1);
            }
        }
        if node["not"].is_object() {
            self.nested(&node["not"], &path.field("not"), false, depth + 1);
        }
        let text = text(node, "pattern");
        if text.is_empty() {
            return;
        }
        if !self.patterns.contains_key(text) {
            if self.patterns.len() >= MAX_PATTERNS {
                return self.forbidden(path.field("pattern"), "too many different patterns in one schema");
            }
            self.patterns.insert(text, go_regex::compile(text).err().map(|error| error.to_string()));
        }
        if let Some(Some(error)) = self.patterns.get(text) {
            let why = format!("must be a valid regular expression, but isn't: {error}");
            self.invalid(path.field("pattern"), &node["pattern"], &why);
        }
    }

    /// A node of logic: it describes nothing.
    fn nested(&mut self, node: &'a Value, path: &Path<'_>, int_or_string: bool, depth: usize) {
        self.logic(node, path, int_or_string, false, depth);
        if depth >= MAX_DEPTH {
            return;
        }
        if node["items"].is_object() {
            self.nested(&node["items"], &path.field("items"), false, depth + 1);
        }
        let properties = path.field("properties");
        for (name, child) in fields(node, "properties") {
            self.nested(child, &properties.key(name), false, depth + 1);
        }
        for key in ["type", "title", "description"] {
            if !text(node, key).is_empty() {
                self.forbidden(path.field(key), "must be empty to be structural");
            }
        }
        for key in
            ["additionalProperties", "default", "externalDocs", "x-kubernetes-list-type", "x-kubernetes-map-type"]
        {
            if !node[key].is_null() {
                self.forbidden(path.field(key), "must be undefined to be structural");
            }
        }
        for key in [
            "nullable",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
        ] {
            if node[key] == true {
                self.forbidden(path.field(key), "must be false to be structural");
            }
        }
        for key in ["x-kubernetes-list-map-keys", "x-kubernetes-validations"] {
            if elements(node, key).next().is_some() {
                self.forbidden(path.field(key), "must be empty to be structural");
            }
        }
        if node["properties"].get("metadata").is_some() {
            self.forbidden(properties.key("metadata"), "must not be specified in a nested context");
        }
    }

    /// What logic names is described outside of it: `described` is that, at `at`; `node` is the logic, at `path`.
    fn complete(&mut self, node: &Value, described: Option<&Value>, at: &Path<'_>, path: &Path<'_>, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        let Some(described) = described else {
            return self
                .report
                .add(|| FieldError::required(at.to_string(), &format!("because it is defined in {path}")));
        };
        if node["not"].is_object() {
            self.complete_nested(&node["not"], described, at, &path.field("not"), depth + 1);
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for (i, child) in elements(node, key) {
                self.complete_nested(child, described, at, &path.field(key).index(i), depth + 1);
            }
        }
    }

    fn complete_nested(&mut self, node: &Value, described: &Value, at: &Path<'_>, path: &Path<'_>, depth: usize) {
        self.complete(node, Some(described), at, path, depth);
        if depth >= MAX_DEPTH {
            return;
        }
        let mut below = |node: &Value, described: Option<&Value>, at: Path<'_>, path: Path<'_>| match described {
            Some(described) => self.complete_nested(node, described, &at, &path, depth + 1),
            None => {
                let why = || format!("because it is defined in {path}");
                self.report.add(|| FieldError::required(at.to_string(), &why()));
            }
        };
        if node["items"].is_object() {
            let items = described.get("items").filter(|items| items.is_object());
            below(&node["items"], items, at.field("items"), path.field("items"));
        }
        let (at, path) = (at.field("properties"), path.field("properties"));
        for (name, child) in fields(node, "properties") {
            below(child, described["properties"].get(name.as_str()), at.key(name), path.key(name));
        }
    }
}

/// `anyOf` is the pattern that goes with `x-kubernetes-int-or-string`.
fn is_int_or_string(node: &Value) -> bool {
    node["anyOf"].as_array().is_some_and(|any| {
        let only =
            |node: &Value, type_: &str| node.as_object().is_some_and(|map| map.len() == 1) && node["type"] == type_;
        matches!(any.as_slice(), [a, b] if only(a, "integer") && only(b, "string"))
    })
}

/// The schema of `metadata` says nothing but what names may be.
fn names_only(metadata: &Value) -> bool {
    let zero = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    metadata.as_object().into_iter().flatten().all(|(key, value)| match key.as_str() {
        "type" | "default" | "example" => true,
        "properties" => {
            value.as_object().is_some_and(|map| map.keys().all(|name| name == "name" || name == "generateName"))
        }
        _ => zero(value),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: Value) -> Vec<String> {
        check(&schema, &Path::root("s")).iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn every_node_says_what_it_is() {
        assert_eq!(errors(json!({})), ["s.type: Required value: must not be empty at the root"]);
        assert_eq!(
            errors(json!({"type": "object", "properties": {"a": {}, "l": {"type": "array", "items": {}}}})),
            [
                "s.properties[a].type: Required value: must not be empty for specified object fields",
                "s.properties[l].items.type: Required value: must not be empty for specified array items",
            ]
        );
    }

    #[test]
    fn the_root_is_an_object_of_named_fields() {
        assert_eq!(
            errors(json!({"type": "array", "items": {"type": "string"}})),
            [r#"s.type: Invalid value: "array": must be object at the root"#]
        );
        assert_eq!(
            errors(json!({"type": "object", "additionalProperties": {"type": "string"}})),
            ["s.additionalProperties: Forbidden: must not be used at the root"]
        );
    }

    #[test]
    fn logic_describes_nothing() {
        let nested = json!({"description": "d", "nullable": true, "default": 1, "x-kubernetes-list-map-keys": ["k"],
                            "x-kubernetes-validations": [{"rule": "true"}]});
        assert_eq!(
            errors(json!({"type": "object", "properties": {"a": {"type": "string", "oneOf": [nested]}}})),
            [
                "s.properties[a].oneOf[0].default: Forbidden: must be undefined to be structural",
                "s.properties[a].oneOf[0].description: Forbidden: must be empty to be structural",
                "s.properties[a].oneOf[0].nullable: Forbidden: must be false to be structural",
                "s.properties[a].oneOf[0].x-kubernetes-list-map-keys: Forbidden: must be empty to be structural",
                "s.properties[a].oneOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural",
            ]
        );
    }

    #[test]
    fn what_logic_names_is_described_outside() {
        assert_eq!(
            errors(json!({"type": "object", "properties": {"a": {"type": "object"}},
                          "not": {"properties": {"a": {"properties": {"b": {"minimum": 1}}}, "c": {"maximum": 2}}}})),
            [
                "s.properties[a].properties[b]: Required value: because it is defined in s.not.properties[a].properties[b]",
                "s.properties[c]: Required value: because it is defined in s.not.properties[c]",
            ]
        );
    }

    #[test]
    fn integers_or_strings_may_be_written_out() {
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        for node in [
            json!({"x-kubernetes-int-or-string": true, "anyOf": either}),
            json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": either}, {"pattern": "x"}]}),
        ] {
            assert_eq!(errors(json!({"type": "object", "properties": {"a": node}})), [""; 0]);
        }
        assert_eq!(
            errors(json!({"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": true,
                          "allOf": [{"pattern": "x"}, {"anyOf": either}]}}}))
            .len(),
            2
        );
    }

    #[test]
    fn metadata_may_be_constrained_by_name_only() {
        let with = |metadata: Value| errors(json!({"type": "object", "properties": {"metadata": metadata}})).len();
        assert_eq!(with(json!({"type": "object"})), 0);
        assert_eq!(with(json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}})), 0);
        assert_eq!(with(json!({"type": "object", "properties": {"labels": {"type": "object"}}})), 1);
        assert_eq!(with(json!({"type": "object", "required": ["name"]})), 1);
        assert_eq!(with(json!({"type": "string"})), 1);
    }

    #[test]
    fn an_embedded_object_is_an_object_with_fields() {
        let with = |node: Value| errors(json!({"type": "object", "properties": {"a": node}}));
        assert_eq!(
            with(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
            [
                "s.properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without \
              x-kubernetes-preserve-unknown-fields"
            ]
        );
        assert_eq!(
            with(json!({"x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true})),
            ["s.properties[a].type: Required value: must be object if x-kubernetes-embedded-resource is true"]
        );
    }

    #[test]
    fn what_a_structural_schema_has_no_place_for_is_found_anywhere() {
        assert_eq!(
            unsupported(&json!({"properties": {"a": {"items": {"$ref": "x"}}}})).as_deref(),
            Some("OpenAPIV3Schema '$ref' is not supported")
        );
        assert_eq!(unsupported(&json!({"type": "object", "properties": {"id": {"type": "string"}}})), None);
    }
}
