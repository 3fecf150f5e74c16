//! Typed reads and writes of decoded objects by JSON pointer. An absent field reads as Go's zero value.

use serde_json::{Map, Value};

/// Reads and writes by JSON pointer (`/spec/replicas`).
pub(crate) trait At {
    /// The value, `null` when absent.
    fn at(&self, pointer: &str) -> &Value;
    /// The string, empty when absent or of another type.
    fn str_at(&self, pointer: &str) -> &str;
    /// The integer, if there is one.
    fn int_at(&self, pointer: &str) -> Option<i64>;
    /// Whether the value is `true`.
    fn true_at(&self, pointer: &str) -> bool;
    /// The list, empty when absent.
    fn list_at(&self, pointer: &str) -> &[Value];
    /// The entries of an object, none when absent.
    fn map_at(&self, pointer: &str) -> Option<&Map<String, Value>>;
    /// Whether a value other than `null` is there.
    fn has(&self, pointer: &str) -> bool;
    /// Puts a value where there is none or `null`; absent parents are left absent.
    fn default_at(&mut self, pointer: &str, value: impl Into<Value>);
    /// Puts a value, making absent parents.
    fn set_at(&mut self, pointer: &str, value: impl Into<Value>);
    /// Takes a value out.
    fn remove_at(&mut self, pointer: &str) -> Option<Value>;
    /// The list to change, empty when absent.
    fn list_mut_at(&mut self, pointer: &str) -> &mut [Value];
}

/// Splits a pointer into its parent and the unescaped last key.
fn split(pointer: &str) -> (&str, String) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    (parent, key.replace("~1", "/").replace("~0", "~"))
}

/// As [`Value::pointer`], which copies every part of the pointer: this is asked some hundred times for each write.
fn find<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    if pointer.contains('~') {
        return value.pointer(pointer);
    }
    let Some(parts) = pointer.strip_prefix('/') else { return pointer.is_empty().then_some(value) };
    parts.split('/').try_fold(value, |here, part| match here {
        Value::Object(map) => map.get(part),
        Value::Array(_) => here.pointer(&format!("/{part}")),
        _ => None,
    })
}

impl At for Value {
    fn at(&self, pointer: &str) -> &Self {
        find(self, pointer).unwrap_or(&Self::Null)
    }
    fn str_at(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }
    fn int_at(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).as_i64()
    }
    fn true_at(&self, pointer: &str) -> bool {
        self.at(pointer) == &Self::Bool(true)
    }
    fn list_at(&self, pointer: &str) -> &[Self] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }
    fn map_at(&self, pointer: &str) -> Option<&Map<String, Self>> {
        self.at(pointer).as_object()
    }
    fn has(&self, pointer: &str) -> bool {
        !self.at(pointer).is_null()
    }
    fn default_at(&mut self, pointer: &str, value: impl Into<Self>) {
        let (parent, key) = split(pointer);
        if let Some(Self::Object(map)) = self.pointer_mut(parent) {
            let slot = map.entry(key).or_insert(Self::Null);
            if slot.is_null() {
                *slot = value.into();
            }
        }
    }
    fn set_at(&mut self, pointer: &str, value: impl Into<Self>) {
        let mut here = self;
        for part in pointer.split('/').skip(1) {
            let key = part.replace("~1", "/").replace("~0", "~");
            if here.is_null() {
                *here = Self::Object(Map::new());
            }
            here = match here {
                Self::Object(map) => map.entry(key).or_insert(Self::Null),
                Self::Array(list) => match key.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
                    Some(item) => item,
                    None => return,
                },
                _ => return,
            };
        }
        *here = value.into();
    }
    fn remove_at(&mut self, pointer: &str) -> Option<Self> {
        let (parent, key) = split(pointer);
        self.pointer_mut(parent)?.as_object_mut()?.remove(&key)
    }
    fn list_mut_at(&mut self, pointer: &str) -> &mut [Self] {
        match self.pointer_mut(pointer) {
            Some(Self::Array(list)) => list,
            _ => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_leads_where_that_of_serde_json_leads() {
        let value = json!({"a": {"b/c": [1, {"d": 2}], "": 3}, "~": 4});
        for pointer in
            ["", "/", "a", "/a", "/a/", "/a/b~1c/1/d", "/a/b~1c/01", "/a/b~1c/+1", "/~0", "/a/x", "/a/b/c", "/a//"]
        {
            assert_eq!(find(&value, pointer), value.pointer(pointer), "{pointer}");
        }
        let list = json!({"a": [1, [2]]});
        for pointer in ["/a/0", "/a/1/0", "/a/01", "/a/+1", "/a/2", "/a/-", "/a/"] {
            assert_eq!(find(&list, pointer), list.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn default_fills_only_what_is_absent_or_null() {
        let mut object = json!({"spec": {"a": 1, "b": null}});
        for field in ["/spec/a", "/spec/b", "/spec/c", "/none/d"] {
            object.default_at(field, 7);
        }
        assert_eq!(object, json!({"spec": {"a": 1, "b": 7, "c": 7}}));
    }

    #[test]
    fn set_makes_parents() {
        let mut object = json!({});
        object.set_at("/metadata/labels/a~1b", "x");
        assert_eq!(object, json!({"metadata": {"labels": {"a/b": "x"}}}));
    }
}
