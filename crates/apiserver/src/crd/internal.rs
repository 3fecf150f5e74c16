//! Definitions as errors print them: kube-apiserver shows its internal Go types, all fields in their order, by their Go
//! names. Pure.

use serde_json::{Value, json};

use crate::schema::body::MAX_DEPTH;

/// How a field's value is written.
#[derive(Clone, Copy)]
enum As {
    /// A string, empty when absent.
    Text,
    /// A boolean, false when absent.
    Flag,
    /// A list or map of plain values, or a pointer: `null` when absent.
    Plain,
    /// Schemas: a list, a map, one.
    Schemas,
    SchemaMap,
    Schema,
    /// `items`: one schema or a list.
    SchemaOrList,
    /// `additionalProperties`: a schema or a boolean.
    SchemaOrFlag,
    Rules,
    Dependencies,
}

/// The fields of `JSONSchemaProps`.
const SCHEMA: &[(&str, &str, As)] = &[
    ("ID", "id", As::Text),
    ("Schema", "$schema", As::Text),
    ("Ref", "$ref", As::Plain),
    ("Description", "description", As::Text),
    ("Type", "type", As::Text),
    ("Nullable", "nullable", As::Flag),
    ("Format", "format", As::Text),
    ("Title", "title", As::Text),
    ("Default", "default", As::Plain),
    ("Maximum", "maximum", As::Plain),
    ("ExclusiveMaximum", "exclusiveMaximum", As::Flag),
    ("Minimum", "minimum", As::Plain),
    ("ExclusiveMinimum", "exclusiveMinimum", As::Flag),
    ("MaxLength", "maxLength", As::Plain),
    ("MinLength", "minLength", As::Plain),
    ("Pattern", "pattern", As::Text),
    ("MaxItems", "maxItems", As::Plain),
    ("MinItems", "minItems", As::Plain),
    ("UniqueItems", "uniqueItems", As::Flag),
    ("MultipleOf", "multipleOf", As::Plain),
    ("Enum", "enum", As::Plain),
    ("MaxProperties", "maxProperties", As::Plain),
    ("MinProperties", "minProperties", As::Plain),
    ("Required", "required", As::Plain),
    ("Items", "items", As::SchemaOrList),
    ("AllOf", "allOf", As::Schemas),
    ("OneOf", "oneOf", As::Schemas),
    ("AnyOf", "anyOf", As::Schemas),
    ("Not", "not", As::Schema),
    ("Properties", "properties", As::SchemaMap),
    ("AdditionalProperties", "additionalProperties", As::SchemaOrFlag),
    ("PatternProperties", "patternProperties", As::SchemaMap),
    ("Dependencies", "dependencies", As::Dependencies),
    ("AdditionalItems", "additionalItems", As::SchemaOrFlag),
    ("Definitions", "definitions", As::SchemaMap),
    ("ExternalDocs", "externalDocs", As::Plain),
    ("Example", "example", As::Plain),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", As::Plain),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", As::Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", As::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", As::Plain),
    ("XListType", "x-kubernetes-list-type", As::Plain),
    ("XMapType", "x-kubernetes-map-type", As::Plain),
    ("XValidations", "x-kubernetes-validations", As::Rules),
];

/// The fields of a schema that may be set at the root of a kind with a status subresource, by their Go names.
const AT_ROOT_WITH_STATUS: &[&str] = &[
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// The names of those fields as messages list them.
pub(super) fn allowed_at_root() -> String {
    format!("[{}]", AT_ROOT_WITH_STATUS.join(" "))
}

/// The first field, in the order of Go's type, that a schema may not have at the root of a kind with a status subresource:
/// its Go name, which is `Type` when it is no object.
pub(super) fn forbidden_at_root(schema: &Value) -> Option<&'static str> {
    let set = |value: &Value, form: As| match form {
        As::Text => !value.as_str().unwrap_or_default().is_empty(),
        As::Flag => *value == true,
        _ => !value.is_null(),
    };
    let wrong = |name: &str, value: &Value| !AT_ROOT_WITH_STATUS.contains(&name) || name == "Type" && value != "object";
    let mut fields = SCHEMA.iter().filter(|(name, key, form)| set(&schema[*key], *form) && wrong(name, &schema[*key]));
    fields.next().map(|(name, ..)| *name)
}

/// A schema.
pub(super) fn schema(node: &Value) -> String {
    let mut out = String::new();
    write_schema(node, 0, &mut out);
    out
}

/// One of `x-kubernetes-validations`.
pub(super) fn rule(node: &Value) -> String {
    let mut out = String::new();
    write_rule(node, &mut out);
    out
}

/// The versions of a definition. `held` says which of a version's fields it holds itself: what all share lies elsewhere.
pub(super) fn versions(all: &[Value], held: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    write_list(all, &mut out, |version, out| {
        let of = |key: &str| if held(key) { &version[key] } else { &Value::Null };
        out.push_str(&format!(
            r#"{{"Name":{},"Served":{},"Storage":{},"Deprecated":{},"DeprecationWarning":{}"#,
            json!(version["name"].as_str().unwrap_or_default()),
            version["served"] == true,
            version["storage"] == true,
            version["deprecated"] == true,
            version["deprecationWarning"],
        ));
        out.push_str(",\"Schema\":");
        match &of("schema")["openAPIV3Schema"] {
            Value::Null => out.push_str("null"),
            schema => {
                out.push_str("{\"OpenAPIV3Schema\":");
                write_schema(schema, 0, out);
                out.push('}');
            }
        }
        out.push_str(",\"Subresources\":");
        match of("subresources") {
            Value::Null => out.push_str("null"),
            subresources => {
                let status = if subresources["status"].is_object() { "{}" } else { "null" };
                let scale = &subresources["scale"];
                let text = |key: &str| json!(scale[key].as_str().unwrap_or_default());
                let scale = if scale.is_object() {
                    format!(
                        r#"{{"SpecReplicasPath":{},"StatusReplicasPath":{},"LabelSelectorPath":{}}}"#,
                        text("specReplicasPath"),
                        text("statusReplicasPath"),
                        scale["labelSelectorPath"]
                    )
                } else {
                    "null".to_owned()
                };
                out.push_str(&format!(r#"{{"Status":{status},"Scale":{scale}}}"#));
            }
        }
        out.push_str(",\"AdditionalPrinterColumns\":");
        match of("additionalPrinterColumns").as_array() {
            None => out.push_str("null"),
            Some(columns) => write_list(columns, out, |column, out| {
                let text = |key: &str| json!(column[key].as_str().unwrap_or_default());
                out.push_str(&format!(
                    r#"{{"Name":{},"Type":{},"Format":{},"Description":{},"Priority":{},"JSONPath":{}}}"#,
                    text("name"),
                    text("type"),
                    text("format"),
                    text("description"),
                    column["priority"].as_i64().unwrap_or_default(),
                    text("jsonPath"),
                ));
            }),
        }
        out.push_str(",\"SelectableFields\":");
        match of("selectableFields").as_array() {
            None => out.push_str("null"),
            Some(fields) => write_list(fields, out, |field, out| {
                out.push_str(&format!(r#"{{"JSONPath":{}}}"#, json!(field["jsonPath"].as_str().unwrap_or_default())));
            }),
        }
        out.push('}');
    });
    out
}

fn write_list(list: &[Value], out: &mut String, mut item: impl FnMut(&Value, &mut String)) {
    out.push('[');
    for (i, value) in list.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        item(value, out);
    }
    out.push(']');
}

fn write_map(map: &Value, out: &mut String, mut item: impl FnMut(&Value, &mut String)) {
    let Some(map) = map.as_object() else { return out.push_str("null") };
    out.push('{');
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&json!(key).to_string());
        out.push(':');
        item(value, out);
    }
    out.push('}');
}

fn write_rule(node: &Value, out: &mut String) {
    let text = |key: &str| json!(node[key].as_str().unwrap_or_default());
    out.push_str(&format!(
        r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
        text("rule"),
        text("message"),
        text("messageExpression"),
        node["reason"],
        text("fieldPath"),
        node["optionalOldSelf"],
    ));
}

fn write_schema(node: &Value, depth: usize, out: &mut String) {
    if depth > MAX_DEPTH || !node.is_object() {
        return out.push_str("null");
    }
    let below = |node: &Value, out: &mut String| write_schema(node, depth + 1, out);
    out.push('{');
    for (i, (name, key, form)) in SCHEMA.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&format!("{name:?}:"));
        let value = &node[*key];
        match form {
            As::Text => out.push_str(&json!(value.as_str().unwrap_or_default()).to_string()),
            As::Flag => out.push_str(if *value == true { "true" } else { "false" }),
            As::Plain => out.push_str(&value.to_string()),
            As::Schema => below(value, out),
            As::SchemaMap => write_map(value, out, below),
            As::Schemas => match value.as_array() {
                Some(list) => write_list(list, out, below),
                None => out.push_str("null"),
            },
            As::SchemaOrList => match value {
                Value::Null => out.push_str("null"),
                Value::Array(list) => {
                    out.push_str("{\"Schema\":null,\"JSONSchemas\":");
                    write_list(list, out, below);
                    out.push('}');
                }
                one => {
                    out.push_str("{\"Schema\":");
                    below(one, out);
                    out.push_str(",\"JSONSchemas\":null}");
                }
            },
            As::SchemaOrFlag => match value {
                Value::Null => out.push_str("null"),
                value => {
                    out.push_str(if *value == false { "{\"Allows\":false" } else { "{\"Allows\":true" });
                    out.push_str(",\"Schema\":");
                    below(value, out);
                    out.push('}');
                }
            },
            As::Rules => match value.as_array() {
                Some(list) => write_list(list, out, write_rule),
                None => out.push_str("null"),
            },
            As::Dependencies => write_map(value, out, |value, out| match value {
                Value::Array(_) => out.push_str(&format!("{{\"Schema\":null,\"Property\":{value}}}")),
                value => {
                    out.push_str("{\"Schema\":");
                    write_schema(value, depth + 1, out);
                    out.push_str(",\"Property\":null}");
                }
            }),
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_versions_share_is_not_shown_in_them() {
        let versions = versions(&[json!({"name": "v1", "served": true, "schema": {"openAPIV3Schema": {}}})], |_| false);
        assert_eq!(
            versions,
            r#"[{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]"#
        );
    }

    #[test]
    fn a_schema_shows_all_fields_of_its_go_type() {
        let text = schema(&json!({"type": "object", "properties": {"a": {"items": {"type": "string"}}}}));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["Properties"]["a"]["Items"]["Schema"]["Type"], "string");
        assert_eq!(value.as_object().unwrap().len(), SCHEMA.len());
        assert!(
            text.starts_with(r#"{"ID":"","Schema":"","Ref":null,"Description":"","Type":"object","Nullable":false"#)
        );
    }

    #[test]
    fn rules_are_shown_by_their_go_fields() {
        assert_eq!(
            rule(&json!({"rule": "true", "reason": "FieldValueInvalid"})),
            r#"{"Rule":"true","Message":"","MessageExpression":"","Reason":"FieldValueInvalid","FieldPath":"","OptionalOldSelf":null}"#
        );
    }
}
