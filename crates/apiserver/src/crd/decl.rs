//! The CEL types of a schema, with the sizes that its values can have. Pure.
//!
//! `SchemaDeclType` of `k8s.io/apiserver/pkg/cel/common`: what no type describes cannot be reached by rules; sizes that the
//! schema does not bound are bounded by what fits into a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use paddock_cel::cost::{SizeEstimate, Sizes};
use paddock_cel::types::ObjectType;
use paddock_cel::{Type, escape_property};

use crate::schema::body::MAX_DEPTH;
use crate::schema::{AdditionalProperties, Schema};

/// Largest request, in bytes: what bounds all sizes in the end.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

/// A type, and what is known of its values' sizes.
#[derive(Debug)]
pub(super) struct Decl {
    /// The type.
    pub(super) ty: Type,
    /// Most elements of a list or map, most bytes of a text; zero for others.
    pub(super) max: u64,
    /// Fewest bytes of a value as JSON.
    pub(super) min_bytes: u64,
    below: Below,
}

#[derive(Debug)]
enum Below {
    Nothing,
    Elements(Arc<Decl>),
    Values(Arc<Decl>),
    /// By the names that expressions use.
    Fields(BTreeMap<String, Arc<Decl>>),
}

/// The type of a schema node; nothing for one that rules cannot reach. `root`: a whole object, whose kind and name are
/// known without being described.
pub(super) fn of(schema: &Schema, root: bool) -> Option<Arc<Decl>> {
    Declarer { objects: 0 }.node(schema, root, 0)
}

struct Declarer {
    /// Each object type has a name of its own.
    objects: usize,
}

impl Declarer {
    fn node(&mut self, schema: &Schema, root: bool, depth: usize) -> Option<Arc<Decl>> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let decl = if schema.int_or_string {
            let max = schema.max_length.map_or(MAX_REQUEST - 2, |max| max.saturating_mul(4));
            Decl { ty: Type::Dyn, max, min_bytes: 1, below: Below::Nothing }
        } else {
            match schema.type_.as_deref()? {
                "array" => self.list(schema, depth)?,
                "object" => match &schema.additional_properties {
                    Some(AdditionalProperties::Schema(values)) if !root => self.map(schema, values, depth)?,
                    _ => self.object(schema, root, depth),
                },
                "string" => string(schema),
                "boolean" => Decl { ty: Type::Bool, max: 0, min_bytes: 4, below: Below::Nothing },
                "number" => Decl { ty: Type::Double, max: 0, min_bytes: 1, below: Below::Nothing },
                "integer" => Decl { ty: Type::Int, max: 0, min_bytes: 1, below: Below::Nothing },
                _ => return None,
            }
        };
        Some(Arc::new(decl))
    }

    fn list(&mut self, schema: &Schema, depth: usize) -> Option<Decl> {
        let items = schema.items.as_ref()?;
        let element = self.node(items, items.embedded_resource, depth + 1)?;
        let max = schema.max_items.unwrap_or((MAX_REQUEST - 2) / (element.min_bytes + 1));
        let ty = match schema.list_type.as_deref() {
            Some("set") => Type::set(element.ty.clone()),
            Some("map") => Type::list_map(element.ty.clone(), schema.list_map_keys.iter().cloned()),
            _ => Type::list(element.ty.clone()),
        };
        Some(Decl { ty, max, min_bytes: 2, below: Below::Elements(element) })
    }

    fn map(&mut self, schema: &Schema, values: &Schema, depth: usize) -> Option<Decl> {
        let value = self.node(values, values.embedded_resource, depth + 1)?;
        let max = schema.max_properties.unwrap_or((MAX_REQUEST - 2) / (value.min_bytes + 6));
        Some(Decl { ty: Type::map(Type::String, value.ty.clone()), max, min_bytes: 2, below: Below::Values(value) })
    }

    fn object(&mut self, schema: &Schema, root: bool, depth: usize) -> Decl {
        self.objects += 1;
        let name = format!("selfType.{}", self.objects);
        let mut declared: BTreeMap<&str, Arc<Decl>> = BTreeMap::new();
        let mut min_bytes = 2_u64;
        for (name, property) in &schema.properties {
            if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let Some(field) = self.node(property, property.embedded_resource, depth + 1) else { continue };
            if property.default.is_none() && schema.required.contains(name) {
                min_bytes = min_bytes.saturating_add(name.len() as u64 + field.min_bytes + 4);
            }
            declared.insert(name, field);
        }
        if root {
            let text = Arc::new(Decl { ty: Type::String, max: MAX_REQUEST - 2, min_bytes: 2, below: Below::Nothing });
            let names = ["name", "generateName"].map(|name| (name, text.clone()));
            self.objects += 1;
            let metadata = object(format!("selfType.{}", self.objects), names.into(), 2);
            declared.insert("metadata", Arc::new(metadata));
            declared.insert("apiVersion", text.clone());
            declared.insert("kind", text);
        }
        object(name, declared, min_bytes)
    }
}

fn object(name: String, declared: BTreeMap<&str, Arc<Decl>>, min_bytes: u64) -> Decl {
    let properties = declared.iter().map(|(&name, field)| (name.to_owned(), field.ty.clone()));
    let ty = Type::object(ObjectType::new(name, properties));
    let fields = declared.into_iter().filter_map(|(name, field)| Some((escape_property(name)?, field))).collect();
    Decl { ty, max: 0, min_bytes, below: Below::Fields(fields) }
}

fn string(schema: &Schema) -> Decl {
    let decl = |ty: Type, max: u64, min_bytes: u64| Decl { ty, max, min_bytes, below: Below::Nothing };
    match schema.format.as_deref().unwrap_or_default() {
        "byte" => decl(Type::Bytes, schema.max_length.unwrap_or(MAX_REQUEST - 2), 2),
        "duration" => decl(Type::Duration, 32, 3),
        "date" => decl(Type::Timestamp, 12, 12),
        "date-time" => decl(Type::Timestamp, 32, 21),
        _ => {
            let longest = schema.enum_.iter().filter_map(|value| value.as_str()).map(str::len).max();
            let max = match (schema.max_length, schema.enum_.is_empty()) {
                // A letter takes four bytes at most.
                (Some(max), _) => max.saturating_mul(4),
                (None, false) => longest.unwrap_or_default() as u64,
                (None, true) => MAX_REQUEST - 2,
            };
            decl(Type::String, max, 2)
        }
    }
}

impl Decl {
    /// How often a value of this type can occur in a request when no list or map above bounds it.
    pub(super) fn max_occurrences(&self) -> u64 {
        MAX_REQUEST / self.min_bytes.saturating_add(1)
    }
}

impl Sizes for Decl {
    fn size(&self, path: &[String], _ty: &Type) -> Option<SizeEstimate> {
        let mut here = self;
        let (_variable, steps) = path.split_first()?;
        for step in steps {
            here = match (&here.below, step.as_str()) {
                (Below::Elements(below), "@items") | (Below::Values(below), "@items" | "@values") => below,
                // Nothing is known of the length of keys.
                (Below::Values(_), "@keys") => return Some(SizeEstimate { min: 0, max: 0 }),
                (Below::Fields(fields), name) => fields.get(name)?,
                _ => return None,
            };
        }
        Some(SizeEstimate { min: 0, max: here.max })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decl(schema: Value, root: bool) -> Option<Arc<Decl>> {
        of(&serde_json::from_value(schema).unwrap(), root)
    }

    fn size(schema: Value, path: &[&str]) -> Option<u64> {
        let path: Vec<String> = path.iter().map(|&step| step.to_owned()).collect();
        decl(schema, false)?.size(&path, &Type::Dyn).map(|size| size.max)
    }

    #[test]
    fn types_follow_the_schema() {
        for (schema, ty) in [
            (json!({"type": "integer"}), "int"),
            (json!({"type": "number"}), "double"),
            (json!({"type": "string", "format": "date-time"}), "timestamp"),
            (json!({"type": "string", "format": "duration"}), "duration"),
            (json!({"type": "string", "format": "byte"}), "bytes"),
            (json!({"x-kubernetes-int-or-string": true}), "dyn"),
            (json!({"type": "array", "items": {"type": "boolean"}}), "list(bool)"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "map(string, string)"),
        ] {
            assert_eq!(decl(schema.clone(), false).unwrap().ty.to_string(), ty, "{schema}");
        }
    }

    #[test]
    fn what_no_type_describes_cannot_be_reached() {
        assert!(decl(json!({"x-kubernetes-preserve-unknown-fields": true}), false).is_none());
        assert!(decl(json!({"type": "array", "items": {}}), false).is_none());
        let object = decl(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}}), false).unwrap();
        let Type::Object(object) = &object.ty else { panic!("no object") };
        assert!(object.field("a").is_some() && object.field("b").is_none());
    }

    #[test]
    fn of_metadata_only_names_can_be_reached() {
        let root = decl(json!({"type": "object", "properties": {"spec": {"type": "object"}}}), true).unwrap();
        let Type::Object(root) = &root.ty else { panic!("no object") };
        let Type::Object(metadata) = root.field("metadata").unwrap().ty else { panic!("no metadata") };
        assert_eq!(metadata.fields().map(|(name, _)| name).collect::<Vec<_>>(), ["generateName", "name"]);
        assert!(root.field("kind").is_some() && root.field("spec").is_some());
    }

    #[test]
    fn sizes_are_those_of_the_schema_or_of_a_request() {
        assert_eq!(size(json!({"type": "string", "maxLength": 10}), &["self"]), Some(40));
        assert_eq!(size(json!({"type": "string", "enum": ["a", "long"]}), &["self"]), Some(4));
        assert_eq!(size(json!({"type": "string"}), &["self"]), Some(MAX_REQUEST - 2));
        let list = json!({"type": "array", "items": {"type": "string", "maxLength": 3}});
        assert_eq!(size(list.clone(), &["self"]), Some((MAX_REQUEST - 2) / 3));
        assert_eq!(size(list, &["self", "@items"]), Some(12));
        let map = json!({"type": "object", "properties": {"m": {"type": "object", "maxProperties": 5,
                         "additionalProperties": {"type": "integer"}}}});
        assert_eq!(size(map.clone(), &["self", "m"]), Some(5));
        assert_eq!(size(map, &["self", "x"]), None);
    }

    #[test]
    fn required_fields_make_an_object_larger() {
        let fewest = |schema: Value| decl(schema, false).unwrap().min_bytes;
        assert_eq!(fewest(json!({"type": "object"})), 2);
        let fields = json!({"ab": {"type": "string"}, "d": {"type": "string", "default": "x"}});
        assert_eq!(fewest(json!({"type": "object", "required": ["ab", "d"], "properties": fields})), 2 + 2 + 2 + 4);
    }
}
