//! What Go's typed round trip does to an object: empty optional fields vanish, quantities take their canonical form.

use serde_json::Value;

use super::go_types;
use crate::schema::{AdditionalProperties, Typed, quantity};

/// Deepest nesting that is looked at; decoding allows no more.
const DEPTH: usize = 100;

/// Drops what is empty in `value`, a node of the given schema.
pub(super) fn tidy(value: &mut Value, schema: Typed<'_>) {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    node(value, schema, &kind, DEPTH);
}

/// `kind` names the type of the whole object, which no reference does.
fn node(value: &mut Value, schema: Typed<'_>, kind: &str, depth: usize) {
    if depth == 0 || is_opaque(schema) {
        return;
    }
    match value {
        Value::String(text) if schema.name.is_some_and(|name| name.ends_with(".Quantity")) => {
            *text = quantity::canonical_or_same(text);
        }
        Value::Number(number) if schema.name.is_some_and(|name| name.ends_with(".Quantity")) => {
            *value = Value::String(quantity::canonical_or_same(&number.to_string()));
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items() {
                items.iter_mut().for_each(|item| node(item, schema, "", depth - 1));
            }
        }
        Value::Object(map) => {
            for (key, child) in map.iter_mut() {
                if let Some(schema) = schema.field(key) {
                    node(child, schema, "", depth - 1);
                }
            }
            let type_ = schema.name.unwrap_or(kind);
            map.retain(|key, child| keeps(key, child, schema, type_));
            for (key, child) in map.iter_mut() {
                // A required list that is empty is nil, which prints so.
                if child.as_array().is_some_and(Vec::is_empty) && schema.property(key).is_some() {
                    *child = Value::Null;
                }
            }
        }
        _ => {}
    }
}

/// Whether the schema says nothing of what lies there.
fn is_opaque(schema: Typed<'_>) -> bool {
    schema.node.preserve_unknown
        || schema.name.is_some_and(|name| {
            [".RawExtension", ".JSON", ".FieldsV1", ".JSONSchemaProps"].iter().any(|opaque| name.ends_with(opaque))
        })
}

fn keeps(key: &str, child: &Value, parent: Typed<'_>, type_: &str) -> bool {
    let Some(schema) = parent.property(key) else {
        // A map's value, or a field that the schema does not know.
        return !child.is_null() || parent.values().is_none();
    };
    let required = parent.node.required.iter().any(|name| name == key);
    let empty = match child {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && is_map(schema),
        Value::String(text) => text.is_empty() && !go_types::is_text_pointer(type_, key) && !is_opaque(schema),
        Value::Bool(false) => go_types::is_plain(type_, key),
        Value::Number(number) => number.as_i64() == Some(0) && go_types::is_plain(type_, key),
        Value::Bool(true) => false,
    };
    required || !empty
}

fn is_map(schema: Typed<'_>) -> bool {
    matches!(schema.node.additional_properties, Some(AdditionalProperties::Schema(_)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn tidied(kind: (&str, &str, &str), mut object: Value) -> Value {
        let (definitions, schema) = schema::builtin(kind.0, kind.1, kind.2);
        tidy(&mut object, Typed::new(&definitions, &schema));
        object
    }

    #[test]
    fn empty_maps_and_lists_vanish_and_empty_structs_stay() {
        let pod = json!({"metadata": {"labels": {}, "finalizers": []}, "spec": {"securityContext": {}, "nodeSelector": null}});
        assert_eq!(tidied(("", "v1", "Pod"), pod), json!({"metadata": {}, "spec": {"securityContext": {}}}));
    }

    #[test]
    fn zero_replicas_are_a_wish_and_a_false_host_network_is_none() {
        let deployment = json!({"spec": {"replicas": 0, "template": {"spec": {"hostNetwork": false}}}});
        assert_eq!(
            tidied(("apps", "v1", "Deployment"), deployment),
            json!({"spec": {"replicas": 0, "template": {"spec": {}}}})
        );
    }

    #[test]
    fn what_go_points_to_may_be_empty_or_zero() {
        let service = json!({"kind": "Service", "spec": {"ports": [{"name": "", "nodePort": 0, "appProtocol": ""}]}});
        assert_eq!(tidied(("", "v1", "Service"), service)["spec"], json!({"ports": [{"appProtocol": ""}]}));
        let pod = json!({"kind": "Pod", "spec": {"setHostnameAsFQDN": false, "hostPID": false}});
        assert_eq!(tidied(("", "v1", "Pod"), pod)["spec"], json!({"setHostnameAsFQDN": false}));
        let class = json!({"kind": "PriorityClass", "value": 0, "globalDefault": false});
        assert_eq!(
            tidied(("scheduling.k8s.io", "v1", "PriorityClass"), class),
            json!({"kind": "PriorityClass", "value": 0})
        );
    }

    #[test]
    fn empty_values_of_a_users_map_stay() {
        let map = json!({"data": {"k": ""}, "metadata": {"labels": {"a": ""}}});
        assert_eq!(tidied(("", "v1", "ConfigMap"), map.clone()), map);
    }

    #[test]
    fn quantities_become_canonical() {
        let quota = json!({"spec": {"hard": {"cpu": "1000m"}}});
        assert_eq!(tidied(("", "v1", "ResourceQuota"), quota), json!({"spec": {"hard": {"cpu": "1"}}}));
    }
}
