//! Defaulting of custom resources by their schema. Pure. Idempotent.

use serde_json::{Map, Value};

use super::body::MAX_DEPTH;
use super::{AdditionalProperties, Schema};

/// Sets absent fields to their schema's default, then the defaults inside of what is there. A `null` that the schema does not
/// allow counts as absent.
pub fn default(value: &mut Value, schema: &Schema) {
    walk(value, schema, 0);
}

fn walk(value: &mut Value, schema: &Schema, depth: usize) {
    if depth >= MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, node) in &schema.properties {
                settle(map, name, node);
            }
            if let Some(AdditionalProperties::Schema(node)) = &schema.additional_properties {
                let names: Vec<String> = map
                    .iter()
                    .filter(|(k, v)| v.is_null() && !schema.properties.contains_key(*k))
                    .map(|(k, _)| k.clone())
                    .collect();
                for name in names {
                    settle(map, &name, node);
                }
            }
            for (name, value) in map {
                let node = schema.properties.get(name).or(match &schema.additional_properties {
                    Some(AdditionalProperties::Schema(node)) => Some(node),
                    _ => None,
                });
                if let Some(node) = node {
                    walk(value, node, depth + 1);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for item in list {
                if item.is_null()
                    && !items.nullable
                    && let Some(default) = &items.default
                {
                    *item = default.clone();
                }
                walk(item, items, depth + 1);
            }
        }
        _ => {}
    }
}

/// One field: its default when it is absent, nothing when it is a `null` that may not be.
fn settle(map: &mut Map<String, Value>, name: &str, node: &Schema) {
    let (present, null) = (map.contains_key(name), map.get(name).is_some_and(Value::is_null));
    match &node.default {
        Some(default) if !present || null && !node.nullable => {
            map.insert(name.to_owned(), default.clone());
        }
        None if null && !node.nullable => {
            map.remove(name);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        serde_json::from_value(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string", "default": "x"},
            "n": {"type": "string", "nullable": true, "default": "f"},
            "p": {"type": "string"},
            "d": {"type": "object", "default": {}, "properties": {"e": {"type": "integer", "default": 4}}},
            "l": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
            "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"default": true}}}}
        }}}}))
        .unwrap()
    }

    fn defaulted(mut value: Value) -> Value {
        default(&mut value, &schema());
        value
    }

    #[test]
    fn absent_fields_get_defaults_also_inside_defaults() {
        assert_eq!(defaulted(json!({"spec": {}})), json!({"spec": {"a": "x", "n": "f", "d": {"e": 4}}}));
        assert_eq!(defaulted(json!({})), json!({}));
    }

    #[test]
    fn list_items_and_map_values_are_defaulted() {
        let value = defaulted(json!({"spec": {"a": "", "n": "", "d": {"e": 1}, "l": [{}], "m": {"k": {}}}}));
        assert_eq!(value["spec"]["l"], json!([{"p": "TCP"}]));
        assert_eq!(value["spec"]["m"], json!({"k": {"q": true}}));
    }

    #[test]
    fn a_null_that_may_not_be_is_absent() {
        let value = defaulted(json!({"spec": {"a": null, "n": null, "p": null}}));
        assert_eq!(value["spec"], json!({"a": "x", "n": null, "d": {"e": 4}}));
    }

    proptest! {
        #[test]
        fn defaulting_twice_is_defaulting_once(
            a in prop::option::of("[a-z]?"), null in any::<bool>(), items in 0usize..3, keys in prop::collection::vec("[a-z]", 0..3)
        ) {
            let mut spec = json!({"l": vec![json!({}); items]});
            if let Some(a) = a { spec["a"] = a.into(); }
            if null { spec["p"] = Value::Null; spec["d"] = Value::Null; }
            for key in keys { spec["m"][key] = json!({}); }
            let once = defaulted(json!({"spec": spec}));
            prop_assert_eq!(defaulted(once.clone()), once);
        }
    }
}
