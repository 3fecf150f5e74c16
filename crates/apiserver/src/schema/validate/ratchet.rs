//! Which part of the old object a value corresponds to, and whether it changed. Pure.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::schema::Schema;

/// The old value at a place in the schema.
#[derive(Clone, Copy)]
pub(crate) struct Correlated<'a> {
    /// The old value.
    pub(crate) old: &'a Value,
    /// The node that describes it: never one of an alternative.
    pub(crate) schema: &'a Schema,
}

impl<'a> Correlated<'a> {
    /// The old value of a field, when the schema names it.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let schema = self.schema.child(name)?;
        Some(Self { old: self.old.as_object()?.get(name)?, schema })
    }

    /// The old elements of a list, to be found by what tells them apart.
    pub(crate) fn elements(self) -> Elements<'a> {
        let none = Elements::None;
        let (Some(list), Some(items)) = (self.old.as_array(), &self.schema.items) else { return none };
        match self.schema.list_type.as_deref() {
            Some("map") => {
                let mut by_key: HashMap<u64, Vec<&'a Value>> = HashMap::with_capacity(list.len());
                for item in list {
                    by_key.entry(map_key(item, self.schema)).or_default().push(item);
                }
                Elements::ByKey { by_key, list: self.schema, items }
            }
            None => Elements::ByIndex { list, items },
            // Elements of other lists have no identity.
            Some(_) => none,
        }
    }

    /// The value did not change. Values that the schema does not name count as changed, as in kube-apiserver.
    pub(crate) fn is(self, new: &Value) -> bool {
        match (self.old, new) {
            (Value::Array(old), Value::Array(new)) => {
                if old.len() != new.len() {
                    return false;
                }
                let elements = self.elements();
                match &elements {
                    Elements::None => old == new,
                    Elements::ByKey { .. } | Elements::ByIndex { .. } => new
                        .iter()
                        .enumerate()
                        .all(|(i, item)| elements.at(i, item).is_some_and(|before| before.is(item))),
                }
            }
            (Value::Object(old), Value::Object(new)) => {
                old.len() == new.len()
                    && new.iter().all(|(name, value)| self.field(name).is_some_and(|before| before.is(value)))
            }
            (old, new) => old == new,
        }
    }
}

/// The old elements of a list.
pub(crate) enum Elements<'a> {
    /// None can be found.
    None,
    /// An element keeps its place.
    ByIndex { list: &'a [Value], items: &'a Schema },
    /// An element is told by its keys.
    ByKey { by_key: HashMap<u64, Vec<&'a Value>>, list: &'a Schema, items: &'a Schema },
}

impl<'a> Elements<'a> {
    /// The old element for the new one at an index.
    pub(crate) fn at(&self, index: usize, new: &Value) -> Option<Correlated<'a>> {
        let (old, schema) = match self {
            Self::None => return None,
            Self::ByIndex { list, items } => (list.get(index)?, *items),
            Self::ByKey { by_key, list, items } => {
                let same = by_key.get(&map_key(new, list))?;
                (*same.iter().find(|old| same_key(old, new, list))?, *items)
            }
        };
        (!old.is_null()).then_some(Correlated { old, schema })
    }
}

/// A hash of what tells an element of a `map` list from others.
pub(crate) fn map_key(item: &Value, list: &Schema) -> u64 {
    let mut hasher = DefaultHasher::new();
    for key in &list.list_map_keys {
        key_value(item, list, key).hash(&mut hasher);
    }
    hasher.finish()
}

/// Whether two elements of a `map` list are the same one.
pub(crate) fn same_key(a: &Value, b: &Value, list: &Schema) -> bool {
    list.list_map_keys.iter().all(|key| key_value(a, list, key) == key_value(b, list, key))
}

/// The value of a key: absent keys have their default.
fn key_value<'a>(item: &'a Value, list: &'a Schema, key: &str) -> Option<&'a Value> {
    item.get(key).or_else(|| list.items.as_ref()?.properties.get(key)?.default.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unchanged(schema: Value, old: Value, new: Value) -> bool {
        let schema: Schema = serde_json::from_value(schema).unwrap();
        Correlated { old: &old, schema: &schema }.is(&new)
    }

    #[test]
    fn a_map_list_may_change_its_order() {
        let list = |kind: &str| {
            json!({"x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["k"],
            "items": {"properties": {"k": {}, "v": {}}}})
        };
        let (old, new) = (json!([{"k": 1, "v": 1}, {"k": 2, "v": 2}]), json!([{"k": 2, "v": 2}, {"k": 1, "v": 1}]));
        assert!(unchanged(list("map"), old.clone(), new.clone()));
        assert!(!unchanged(list("atomic"), old.clone(), new));
        assert!(unchanged(list("atomic"), old.clone(), old));
    }

    #[test]
    fn what_the_schema_does_not_name_counts_as_changed() {
        assert!(!unchanged(json!({}), json!({"a": 1}), json!({"a": 1})));
        assert!(unchanged(json!({"properties": {"a": {}}}), json!({"a": 1}), json!({"a": 1})));
        assert!(unchanged(json!({}), json!({}), json!({})));
    }
}
