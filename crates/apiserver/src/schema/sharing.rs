//! Reading schemas with equal nodes held once: most fields of any kind are one of a few shapes. Pure.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AdditionalProperties, Schema};

/// The nodes read so far, by what they say.
#[derive(Default)]
pub(crate) struct Sharing(HashMap<String, Arc<Schema>>);

impl Sharing {
    /// Reads a schema from JSON. Descriptions are left out. Recursion is as deep as the JSON, which its reader bounds.
    ///
    /// # Errors
    /// When a keyword holds a value of another type.
    pub(crate) fn read(&mut self, node: &Value) -> Result<Arc<Schema>, serde_json::Error> {
        let empty = Map::new();
        let keywords = node.as_object().unwrap_or(&empty);
        let mut flat = Map::new();
        let mut schema = Schema::default();
        // Shared children are told apart by where they lie.
        let mut children = String::new();
        for (key, value) in keywords {
            match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    for (name, value) in properties {
                        let child = self.read(value)?;
                        let _ = write!(children, "{name:?}{:p}", Arc::as_ptr(&child));
                        schema.properties.insert(name.clone(), child);
                    }
                }
                ("items", Value::Object(_)) => {
                    let child = self.read(value)?;
                    let _ = write!(children, "[]{:p}", Arc::as_ptr(&child));
                    schema.items = Some(child);
                }
                ("additionalProperties", Value::Object(_)) => {
                    let child = self.read(value)?;
                    let _ = write!(children, "{{}}{:p}", Arc::as_ptr(&child));
                    schema.additional_properties = Some(AdditionalProperties::Schema(child));
                }
                ("description" | "title" | "example" | "externalDocs", _) => {}
                (key, value) => {
                    flat.insert(key.to_owned(), value.clone());
                }
            }
        }
        let flat = Value::Object(flat);
        let key = format!("{flat}{children}");
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let Schema { properties, items, additional_properties, .. } = schema;
        let mut schema: Schema = serde_json::from_value(flat)?;
        schema.properties = properties;
        schema.items = items;
        schema.additional_properties = additional_properties.or(schema.additional_properties);
        let schema = Arc::new(schema);
        self.0.insert(key, schema.clone());
        Ok(schema)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(node: Value) -> Arc<Schema> {
        Sharing::default().read(&node).unwrap()
    }

    #[test]
    fn equal_nodes_are_held_once_whatever_their_description() {
        let schema = read(json!({"type": "object", "properties": {
            "a": {"type": "string", "description": "x"}, "b": {"type": "string", "description": "y"},
            "c": {"type": "string", "maxLength": 3}
        }}));
        assert!(Arc::ptr_eq(&schema.properties["a"], &schema.properties["b"]));
        assert!(!Arc::ptr_eq(&schema.properties["a"], &schema.properties["c"]));
    }

    #[test]
    fn a_field_named_description_stays() {
        let schema = read(json!({"type": "object", "properties": {"description": {"type": "string"}}}));
        assert_eq!(schema.properties["description"].type_.as_deref(), Some("string"));
    }

    #[test]
    fn nodes_that_differ_below_are_not_one() {
        let list = |of: &str| json!({"type": "array", "items": {"type": of}});
        let schema = read(json!({"properties": {"a": list("string"), "b": list("integer"), "c": list("string")}}));
        assert!(Arc::ptr_eq(&schema.properties["a"], &schema.properties["c"]));
        assert!(!Arc::ptr_eq(&schema.properties["a"], &schema.properties["b"]));
    }

    #[test]
    fn a_bound_below_zero_is_zero() {
        let schema = read(json!({"maxLength": -1, "minItems": 2, "anyOf": [{"maxItems": -5}]}));
        assert_eq!((schema.max_length, schema.min_items, schema.any_of[0].max_items), (Some(0), Some(2), Some(0)));
    }

    #[test]
    fn whether_other_fields_are_allowed_is_read() {
        let schema = read(json!({"additionalProperties": true}));
        assert!(matches!(schema.additional_properties, Some(AdditionalProperties::Any(true))));
        let schema = read(json!({"additionalProperties": {"type": "string"}}));
        assert!(matches!(schema.additional_properties, Some(AdditionalProperties::Schema(_))));
    }
}
