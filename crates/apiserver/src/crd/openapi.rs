//! The rules of a definition's OpenAPI schema, structural or not, in the order of kube-apiserver's
//! `ValidateCustomResourceDefinitionOpenAPISchema`; CEL rules are checked where everything below them is right. Pure; works
//! on the definition as written.

use serde_json::Value;

use super::rules::Costs;
use super::structural::{elements, fields, text};
use super::{fieldpath, internal, rules};
use crate::field::{FieldError, Kind};
use crate::schema::body::MAX_DEPTH;
use crate::schema::report::{Path, Report};
use crate::schema::{AdditionalProperties, Schema};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const MAP_KEYS: &str = "x-kubernetes-list-map-keys";
const RULES: &str = "x-kubernetes-validations";

/// Errors of a schema. `parsed` is the same schema when it is structural: CEL rules are checked with its types.
pub(super) fn check(schema: &Value, parsed: Option<&Schema>, path: &Path<'_>) -> Vec<FieldError> {
    let mut walk = Walk { schema: Report::default(), cel: Report::default(), costs: Costs::default() };
    let place = Place { parsed, cardinality: Some(1), ..Place::default() };
    walk.node(schema, path, Place { root: true, ..place }, 0);
    let mut errors = walk.schema.into_list();
    errors.extend(walk.cel.into_list());
    if parsed.is_some() {
        errors.extend(walk.costs.total(path));
    }
    errors
}

/// What the nodes above say about a node.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    /// The node with its types; nothing inside of logic.
    parsed: Option<&'a Schema>,
    root: bool,
    /// Why there can be no default here.
    no_default: Option<&'a str>,
    /// Inside of an object's own `apiVersion`, `kind` or `metadata`.
    in_meta: bool,
    /// The first node above whose values before and after an update cannot be told apart: it lies there.
    uncorrelatable: Option<&'a Path<'a>>,
    /// How many values of the node one object can have; nothing: no bound is declared.
    cardinality: Option<u64>,
}

struct Walk {
    schema: Report,
    cel: Report,
    costs: Costs,
}

impl Walk {
    fn forbidden(&mut self, path: Path<'_>, why: &str) {
        self.schema.add(|| FieldError::forbidden(path.to_string(), why));
    }
    fn required(&mut self, path: Path<'_>, why: &str) {
        self.schema.add(|| FieldError::required(path.to_string(), why));
    }
    fn invalid(&mut self, path: Path<'_>, value: &Value, why: &str) {
        self.schema.add(|| FieldError::invalid(path.to_string(), value, why));
    }

    fn node(&mut self, node: &Value, path: &Path<'_>, place: Place<'_>, depth: usize) {
        if depth >= MAX_DEPTH {
            return self.schema.add(|| FieldError::internal(path.to_string(), "nested too deeply"));
        }
        let before = self.schema.len();
        self.keywords(node, path, place);
        self.below(node, path, place, depth);
        self.extensions(node, path);
        self.set_and_map(node, path);
        for (i, rule) in elements(node, RULES) {
            self.rule(node, rule, &path.field(RULES).index(i));
        }
        // Types of a wrong schema make errors of rules that nobody can act on.
        if let Some(parsed) = place.parsed.filter(|parsed| !parsed.validations.is_empty())
            && self.schema.len() == before
        {
            let at = rules::At {
                root: place.root,
                path: path.field(RULES),
                uncorrelatable: place.uncorrelatable,
                cardinality: place.cardinality,
            };
            rules::check(parsed, &at, &mut self.costs, &mut self.cel);
        }
    }

    /// What a node itself may say.
    fn keywords(&mut self, node: &Value, path: &Path<'_>, place: Place<'_>) {
        let type_ = text(node, "type");
        if !type_.is_empty() && !TYPES.contains(&type_) {
            self.schema.add(|| FieldError::not_supported(path.field("type").to_string(), &node["type"], TYPES));
        }
        if let Some(reason) = place.no_default.filter(|_| !node["default"].is_null()) {
            self.forbidden(path.field("default"), &format!("must not be set {reason}"));
        }
        let set = |key: &str| match &node[key] {
            Value::Null => false,
            Value::String(text) => !text.is_empty() || key == "$ref",
            Value::Object(map) => !map.is_empty() || matches!(key, "additionalItems" | "dependencies"),
            _ => true,
        };
        for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            if set(key) {
                self.forbidden(path.field(key), &format!("{key} is not supported"));
            }
        }
        if type_ == "null" {
            let why = "type cannot be set to null, use nullable as an alternative";
            self.forbidden(path.field("type"), why);
        }
        if node["items"].as_array().is_some_and(|list| !list.is_empty()) {
            self.forbidden(path.field("items"), "items must be a schema object and not an array");
        }
        if place.in_meta && node["x-kubernetes-embedded-resource"] == true {
            self.forbidden(path.field("x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
        }
        if node["uniqueItems"] == true {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbidden(path.field("uniqueItems"), why);
        }
        let others = &node["additionalProperties"];
        if (others.is_object() || *others == false) && fields(node, "properties").next().is_some() {
            let why = "additionalProperties and properties are mutual exclusive";
            self.forbidden(path.field("additionalProperties"), why);
        }
    }

    /// The nodes below, each in its place.
    fn below(&mut self, node: &Value, path: &Path<'_>, place: Place<'_>, depth: usize) {
        let cardinality = place.cardinality.zip(rules::multiplicity(node)).map(|(a, b)| a.saturating_mul(b));
        let place = Place { cardinality, ..place };
        let inside = Place { root: false, ..place };
        if node["additionalProperties"].is_object() {
            let no_default = match place.in_meta {
                true => Some("inside additionalProperties applying to object metadata"),
                false => place.no_default,
            };
            let parsed = match place.parsed.and_then(|parsed| parsed.additional_properties.as_ref()) {
                Some(AdditionalProperties::Schema(parsed)) => Some(&**parsed),
                _ => None,
            };
            let at = path.field("additionalProperties");
            self.node(&node["additionalProperties"], &at, Place { parsed, no_default, ..inside }, depth + 1);
        }
        let properties = path.field("properties");
        let object = place.root || node["x-kubernetes-embedded-resource"] == true;
        for (name, child) in fields(node, "properties") {
            let of_meta = object && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
            let reason = format!("in top-level {name}");
            let place = Place {
                parsed: place.parsed.and_then(|parsed| parsed.properties.get(name)).map(|parsed| &**parsed),
                in_meta: place.in_meta || of_meta,
                no_default: if place.root && of_meta { Some(&reason) } else { place.no_default },
                ..inside
            };
            self.node(child, &properties.key(name), place, depth + 1);
        }
        let logic = Place { parsed: None, ..inside };
        if node["not"].is_object() {
            self.node(&node["not"], &path.field("not"), logic, depth + 1);
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            for (i, child) in elements(node, key) {
                self.node(child, &path.field(key).index(i), logic, depth + 1);
            }
        }
        for (name, child) in fields(node, "definitions") {
            self.node(child, &path.field("definitions").key(name), logic, depth + 1);
        }
        let correlated = text(node, LIST_TYPE) == "map";
        let items = Place {
            parsed: place.parsed.and_then(|parsed| parsed.items.as_deref()),
            uncorrelatable: place.uncorrelatable.or((!correlated).then_some(path)),
            ..inside
        };
        if node["items"].is_object() {
            self.node(&node["items"], &path.field("items"), items, depth + 1);
        }
        for (i, child) in elements(node, "items") {
            self.node(child, &path.field("items").index(i), Place { parsed: None, ..items }, depth + 1);
        }
        for (name, child) in fields(node, "dependencies").filter(|(_, child)| child.is_object()) {
            self.node(child, &path.field("dependencies").key(name), logic, depth + 1);
        }
    }

    /// Kubernetes' own keywords, alone and together.
    fn extensions(&mut self, node: &Value, path: &Path<'_>) {
        const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
        if node[PRESERVE] == false {
            self.invalid(path.field(PRESERVE), &node[PRESERVE], "must be true or undefined");
        }
        let type_ = text(node, "type");
        for (key, wanted) in [(MAP_TYPE, "object"), (LIST_TYPE, "array")] {
            if node[key].is_string() && type_ != wanted {
                let why = format!("must be {wanted} if {key} is specified");
                match type_ {
                    "" => self.required(path.field("type"), &why),
                    _ => self.invalid(path.field("type"), &node["type"], &why),
                }
            } else if key == LIST_TYPE && text(node, key) == "set" {
                self.atomic_items(&node["items"], &path.field("items"));
            }
            let known: &[&str] = if key == MAP_TYPE { &["atomic", "granular"] } else { &["atomic", "set", "map"] };
            if node[key].is_string() && !known.contains(&text(node, key)) {
                self.schema.add(|| FieldError::not_supported(path.field(key).to_string(), &node[key], known));
            }
        }
        if elements(node, MAP_KEYS).next().is_some() && text(node, LIST_TYPE) != "map" {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            match node[LIST_TYPE].is_string() {
                false => self.required(path.field(LIST_TYPE), why),
                true => self.invalid(path.field(LIST_TYPE), &node[LIST_TYPE], why),
            }
        }
        if text(node, LIST_TYPE) == "map" {
            self.map_keys(node, path);
        }
    }

    /// Elements of a set are compared as a whole.
    fn atomic_items(&mut self, items: &Value, path: &Path<'_>) {
        let (key, wrong) = match text(items, "type") {
            "array" => (LIST_TYPE, items[LIST_TYPE].is_string() && text(items, LIST_TYPE) != "atomic"),
            "object" => (MAP_TYPE, text(items, MAP_TYPE) != "atomic"),
            _ => return,
        };
        if wrong {
            // Whatever the type, what is shown is the list type.
            let shown = match &items[LIST_TYPE] {
                Value::Null => "null".to_owned(),
                value => value.to_string(),
            };
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            self.schema.add(|| FieldError::with(Kind::Invalid, path.field(key).to_string(), Some(shown), why));
        }
    }

    fn map_keys(&mut self, node: &Value, path: &Path<'_>) {
        let keys: Vec<&str> = elements(node, MAP_KEYS).filter_map(|(_, key)| key.as_str()).collect();
        if keys.is_empty() {
            self.required(path.field(MAP_KEYS), "must not be empty if x-kubernetes-list-type is map");
        }
        let (items, items_at) = (&node["items"], path.field("items"));
        match items {
            Value::Object(_) => {}
            Value::Null => return self.required(items_at, "must have a schema if x-kubernetes-list-type is map"),
            _ => {
                let why = "must only have a single schema if x-kubernetes-list-type is map";
                return self.invalid(items_at, items, why);
            }
        }
        if text(items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            return self.invalid(items_at.field("type"), &text(items, "type").into(), why);
        }
        let mut seen = std::collections::BTreeSet::new();
        for key in keys {
            match items["properties"].get(key) {
                Some(property) if matches!(text(property, "type"), "array" | "object") => {
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    // As kube-apiserver does: the type shown is that of the items.
                    self.invalid(items_at.field("properties").key(key).field("type"), &items["type"], why);
                }
                Some(_) => {}
                None => {
                    let why = "entries must all be names of item properties";
                    self.invalid(path.field(MAP_KEYS), &node[MAP_KEYS], why);
                }
            }
            if !seen.insert(key) {
                self.invalid(path.field(MAP_KEYS), &node[MAP_KEYS], "must not contain duplicate entries");
            }
        }
    }

    /// Elements of sets and maps are there, and have all their keys.
    fn set_and_map(&mut self, node: &Value, path: &Path<'_>) {
        let (kind, items, at) = (text(node, LIST_TYPE), &node["items"], path.field("items"));
        if !items.is_object() || !matches!(kind, "set" | "map") {
            return;
        }
        if items["nullable"] == true {
            self.forbidden(at.field("nullable"), &format!("cannot be nullable when x-kubernetes-list-type is {kind}"));
        }
        if kind == "set" {
            return;
        }
        for (_, key) in elements(node, MAP_KEYS) {
            let name = key.as_str().unwrap_or_default();
            let Some(property) = items["properties"].get(name) else { continue };
            let at = at.field("properties");
            if property["default"].is_null() && !elements(items, "required").any(|(_, required)| required == key) {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                           property";
                self.required(at.key(name).field("default"), why);
            }
            if property["nullable"] == true {
                let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                self.forbidden(at.key(name).field("nullable"), why);
            }
        }
    }

    /// One CEL rule, but for its expressions.
    fn rule(&mut self, node: &Value, rule: &Value, path: &Path<'_>) {
        let newline = |text: &str| text.contains(['\n', '\r']);
        let (source, message) = (text(rule, "rule").trim(), text(rule, "message"));
        if source.is_empty() {
            self.required(path.field("rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            self.invalid(path.field("message"), &rule["message"], "must be non-empty if specified");
        } else if newline(message.trim()) {
            self.invalid(path.field("message"), &rule["message"], "must not contain line breaks");
        } else if newline(source) && message.trim().is_empty() {
            self.required(path.field("message"), "message must be specified if rule contains line breaks");
        }
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            self.required(path.field("messageExpression"), "messageExpression must be non-empty if specified");
        }
        const REASONS: &[&str] =
            &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
        if !rule["reason"].is_null() && !REASONS.contains(&text(rule, "reason")) {
            self.schema.add(|| FieldError::not_supported(path.field("reason").to_string(), &rule["reason"], REASONS));
        }
        let field = text(rule, "fieldPath");
        let at = path.field("fieldPath");
        if !field.is_empty() && field.trim().is_empty() {
            self.invalid(at, &rule["fieldPath"], "must be non-empty if specified");
        }
        if newline(field) {
            self.invalid(at, &rule["fieldPath"], "must not contain line breaks");
        }
        // What is no structural schema is not looked into.
        let structural = || super::structural::unsupported(node).is_none();
        if !field.is_empty() && fieldpath::follow(field, node, true).is_err() && structural() {
            self.invalid(at, &rule["fieldPath"], "must be a valid path");
        }
    }
}

/// Errors at the root of a kind whose status is a subresource.
pub(super) fn root_with_status(schema: &Value, path: &Path<'_>, report: &mut Report) {
    match internal::forbidden_at_root(schema) {
        None => {}
        Some("Type") => {
            let why =
                "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            report.add(|| FieldError::invalid(path.field("type").to_string(), &schema["type"], why));
        }
        Some(_) => {
            let why = format!(
                "only {} fields are allowed at the root of the schema if the status subresource is enabled",
                internal::allowed_at_root()
            );
            report.add(|| FieldError::with(Kind::Invalid, path.to_string(), Some(internal::schema(schema)), &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: Value) -> Vec<String> {
        check(&schema, None, &Path::root("s")).iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    fn of(spec: Value) -> Vec<String> {
        let errors = errors(json!({"type": "object", "properties": {"spec": spec}}));
        errors.iter().map(|e| e.replace("s.properties[spec]", "spec")).collect()
    }

    #[test]
    fn keywords_of_other_schemas_are_refused() {
        assert_eq!(
            of(json!({"id": "x", "additionalItems": true, "patternProperties": {"a": {}}, "definitions": {"a": {}},
                      "dependencies": {}, "$ref": "x", "items": [{}], "uniqueItems": true, "type": "null"})),
            [
                r#"spec.type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", "object", "string""#,
                "spec.id: Forbidden: id is not supported",
                "spec.additionalItems: Forbidden: additionalItems is not supported",
                "spec.patternProperties: Forbidden: patternProperties is not supported",
                "spec.definitions: Forbidden: definitions is not supported",
                "spec.dependencies: Forbidden: dependencies is not supported",
                "spec.$ref: Forbidden: $ref is not supported",
                "spec.type: Forbidden: type cannot be set to null, use nullable as an alternative",
                "spec.items: Forbidden: items must be a schema object and not an array",
                "spec.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ]
        );
    }

    #[test]
    fn fields_and_others_exclude_each_other() {
        let why = "spec.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive";
        assert_eq!(of(json!({"properties": {"a": {}}, "additionalProperties": {}})), [why]);
        assert_eq!(of(json!({"properties": {"a": {}}, "additionalProperties": false})), [why]);
        assert_eq!(of(json!({"properties": {"a": {}}, "additionalProperties": true})), [""; 0]);
    }

    #[test]
    fn there_are_no_defaults_of_what_every_object_has() {
        assert_eq!(
            errors(json!({"properties": {"kind": {"default": "x"}, "spec": {"default": "x"}}})),
            ["s.properties[kind].default: Forbidden: must not be set in top-level kind"]
        );
        assert_eq!(
            of(json!({"x-kubernetes-embedded-resource": true, "properties": {"metadata": {"properties": {"labels":
                {"additionalProperties": {"default": "x"}}}}}})),
            [
                "spec.properties[metadata].properties[labels].additionalProperties.default: Forbidden: must not be set inside \
              additionalProperties applying to object metadata"
            ]
        );
    }

    #[test]
    fn list_and_map_types_go_with_their_type() {
        assert_eq!(
            of(json!({"type": "string", "x-kubernetes-list-type": "set"})),
            [r#"spec.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified"#]
        );
        assert_eq!(
            of(json!({"x-kubernetes-map-type": "x"})),
            [
                "spec.type: Required value: must be object if x-kubernetes-map-type is specified",
                r#"spec.x-kubernetes-map-type: Unsupported value: "x": supported values: "atomic", "granular""#,
            ]
        );
        assert_eq!(
            of(json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"})),
            ["spec.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with \
              x-kubernetes-list-type=set"]
        );
        assert_eq!(
            of(json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["a"]})),
            ["spec.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"]
        );
    }

    #[test]
    fn keys_of_map_lists_are_scalars_that_every_element_has() {
        let list = |keys: Value, items: Value| {
            of(
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items}),
            )
        };
        let items = |key: Value| json!({"type": "object", "properties": {"k": key}});
        assert_eq!(
            list(json!(["k"]), items(json!({"type": "string"}))),
            [
                "spec.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must \
              have a default or be a required property"
            ]
        );
        assert_eq!(
            list(json!(["k", "k"]), items(json!({"type": "string", "default": "x"}))),
            [r#"spec.x-kubernetes-list-map-keys: Invalid value: ["k","k"]: must not contain duplicate entries"#]
        );
        assert_eq!(
            list(json!(["x"]), items(json!({"type": "string"}))),
            [r#"spec.x-kubernetes-list-map-keys: Invalid value: ["x"]: entries must all be names of item properties"#]
        );
        assert_eq!(
            list(json!(["k"]), items(json!({"type": "array", "items": {}, "default": []}))),
            [
                r#"spec.items.properties[k].type: Invalid value: "object": must be a scalar type if parent array's x-kubernetes-list-type is map"#
            ]
        );
        assert_eq!(
            list(json!([]), json!({"type": "string"})),
            [
                "spec.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
                r#"spec.items.type: Invalid value: "string": must be object if parent array's x-kubernetes-list-type is map"#,
            ]
        );
    }

    #[test]
    fn a_rule_says_what_it_must_and_nothing_twice() {
        let rule =
            |rule: Value| of(json!({"type": "object", "properties": {"a": {}}, "x-kubernetes-validations": [rule]}));
        let at = "spec.x-kubernetes-validations[0]";
        assert_eq!(rule(json!({"rule": " "})), [format!("{at}.rule: Required value: rule is not specified")]);
        assert_eq!(
            rule(json!({"rule": "true", "message": " "})),
            [format!("{at}.message: Invalid value: \" \": must be non-empty if specified")]
        );
        assert_eq!(
            rule(json!({"rule": "true", "message": "a\nb"})),
            [format!("{at}.message: Invalid value: \"a\\nb\": must not contain line breaks")]
        );
        assert_eq!(
            rule(json!({"rule": "true\n&& true"})),
            [format!("{at}.message: Required value: message must be specified if rule contains line breaks")]
        );
        assert_eq!(
            rule(json!({"rule": "true", "messageExpression": " "})),
            [format!("{at}.messageExpression: Required value: messageExpression must be non-empty if specified")]
        );
        assert_eq!(
            rule(json!({"rule": "true", "reason": "x"})),
            [format!(
                "{at}.reason: Unsupported value: \"x\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \
                 \"FieldValueInvalid\", \"FieldValueRequired\""
            )]
        );
        assert_eq!(
            rule(json!({"rule": "true", "fieldPath": ".b"})),
            [format!("{at}.fieldPath: Invalid value: \".b\": must be a valid path")]
        );
        assert_eq!(rule(json!({"rule": "true", "fieldPath": ".a"})), [""; 0]);
    }
}
