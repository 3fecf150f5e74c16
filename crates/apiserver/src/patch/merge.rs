//! JSON merge patch (RFC 7386) as kube-apiserver applies it. Pure.

use serde_json::{Map, Value};

/// Merges `patch` into `object`: `null` deletes, objects merge, everything else replaces.
pub(super) fn merge(object: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match (object.get_mut(&key), value) {
            (_, Value::Null) => {
                object.remove(&key);
            }
            (Some(Value::Object(current)), Value::Object(patch)) => merge(current, patch),
            (Some(Value::Object(_)), value) => {
                object.insert(key, value);
            }
            (_, mut value) => {
                prune_nulls(&mut value);
                object.insert(key, value);
            }
        }
    }
}

/// Drops `null` fields at any depth. Elements of lists stay, `null` or not.
pub(super) fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn merged(mut object: Value, patch: Value) -> Value {
        let (Value::Object(map), Value::Object(patch)) = (&mut object, patch) else { panic!("objects") };
        super::merge(map, patch);
        object
    }

    #[test]
    fn null_deletes_objects_merge_lists_replace() {
        let object = json!({"data": {"a": "1", "b": "2"}, "l": [1, 2]});
        assert_eq!(
            merged(object, json!({"data": {"a": null, "c": "3"}, "l": [3], "gone": null})),
            json!({"data": {"b": "2", "c": "3"}, "l": [3]})
        );
    }

    #[test]
    fn nulls_of_a_new_object_are_dropped() {
        assert_eq!(merged(json!({}), json!({"a": {"b": null, "c": {"d": null}}})), json!({"a": {"c": {}}}));
    }
}
