//! Pruning of custom resources: fields that a structural schema does not name are dropped, unless it says to keep them.
//! Pure.

use serde_json::Value;

use super::body::{MAX_DEPTH, MAX_REPORTED};
use super::{AdditionalProperties, Schema, decode};

/// Drops what `schema` does not name; the paths of dropped fields are returned. At a `resource` root `apiVersion`, `kind`
/// and `metadata` stay.
pub fn prune(value: &mut Value, schema: &Schema, resource: bool) -> Vec<String> {
    let mut walk = Walk { path: String::new(), dropped: Vec::new() };
    walk.value(value, Some(schema), resource, 0);
    walk.dropped
}

struct Walk {
    path: String,
    dropped: Vec<String>,
}

impl Walk {
    /// `schema` is absent below fields that are kept without being named.
    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, resource: bool, depth: usize) {
        let Some(schema) = schema else { return };
        if depth >= MAX_DEPTH {
            // The readers refuse deeper bodies; what comes by another way is not kept unseen.
            *value = Value::Null;
            return;
        }
        let preserve = schema.preserve_unknown;
        let length = self.path.len();
        match value {
            Value::Object(map) => {
                let embedded = resource || schema.embedded_resource;
                let named = |key: &str| match (schema.properties.get(key), &schema.additional_properties) {
                    (Some(node), _) => Some(Some(&**node)),
                    (None, Some(AdditionalProperties::Schema(node))) => Some(Some(&**node)),
                    (None, Some(AdditionalProperties::Any(true))) => Some(None),
                    _ => None,
                };
                map.retain(|key, value| {
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(key);
                    let keep = if embedded && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                        true
                    } else if let Some(node) = named(key) {
                        self.value(value, node, false, depth + 1);
                        true
                    } else {
                        if !preserve && self.dropped.len() < MAX_REPORTED {
                            self.dropped.push(self.path.clone());
                        }
                        preserve
                    };
                    self.path.truncate(length);
                    keep
                });
                if schema.embedded_resource && !resource {
                    let path = if length > 0 { format!("{}.metadata", self.path) } else { "metadata".to_owned() };
                    // A malformed embedded metadata is left for validation to refuse.
                    let mut copy = value.clone();
                    if decode::metadata(&mut copy, &path, &mut self.dropped).is_ok() {
                        *value = copy;
                    }
                }
            }
            Value::Array(list) => {
                for (i, item) in list.iter_mut().enumerate() {
                    self.path.push_str(&format!("[{i}]"));
                    self.value(item, schema.items.as_deref(), false, depth + 1);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        serde_json::from_value(json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "x": {"type": "integer"},
                "k": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                      "properties": {"in": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "l": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "t": {"type": "object", "x-kubernetes-embedded-resource": true}
            }}
        }}))
        .unwrap()
    }

    #[test]
    fn unknown_fields_are_dropped_at_every_level() {
        let mut value = json!({"apiVersion": "v", "kind": "K", "metadata": {"u": 1}, "top": 1, "spec": {"x": 1, "u": 1,
            "m": {"z": {"a": "", "u": 1}}, "l": [{"a": "", "u": 1}]}});
        let dropped = prune(&mut value, &schema(), true);
        assert_eq!(dropped, ["spec.l[0].u", "spec.m.z.u", "spec.u", "top"]);
        assert_eq!(
            value,
            json!({"apiVersion": "v", "kind": "K", "metadata": {"u": 1},
                   "spec": {"x": 1, "m": {"z": {"a": ""}}, "l": [{"a": ""}]}})
        );
    }

    #[test]
    fn below_preserved_fields_named_objects_are_still_pruned() {
        let mut value = json!({"spec": {"k": {"u": {"v": 1}, "in": {"a": "", "u": 1}}}});
        assert_eq!(prune(&mut value, &schema(), true), ["spec.k.in.u"]);
        assert_eq!(value, json!({"spec": {"k": {"u": {"v": 1}, "in": {"a": ""}}}}));
    }

    #[test]
    fn metadata_of_an_embedded_object_is_pruned_by_its_own_type() {
        let mut value = json!({"spec": {"t": {"kind": "Pod", "metadata": {"name": "a", "u": 1}, "u": 1}}});
        assert_eq!(prune(&mut value, &schema(), true), ["spec.t.u", "spec.t.metadata.u"]);
        assert_eq!(value, json!({"spec": {"t": {"kind": "Pod", "metadata": {"name": "a"}}}}));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            Just("spec"),
            Just("x"),
            Just("k"),
            Just("in"),
            Just("m"),
            Just("l"),
            Just("a"),
            Just("t"),
            Just("metadata"),
            Just("u")
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pruning_twice_is_pruning_once(mut value in any_json()) {
            prune(&mut value, &schema(), true);
            let once = value.clone();
            prop_assert!(prune(&mut value, &schema(), true).is_empty());
            prop_assert_eq!(value, once);
        }
    }
}
