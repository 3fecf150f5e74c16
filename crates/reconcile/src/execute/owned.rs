//! Whether a live object already holds everything we want of it, so that no request is needed. Pure.
//!
//! Two things are compared. *Ownership*: the fields that the API server has on record for our field manager are exactly
//! the fields that we want, no fewer (somebody took one) and no more (we no longer want one). *Values*: each of them is as
//! we want it. The record's own notation says which lists are maps, sets or atomic, so no schema is needed.

use serde_json::{Map, Value};

/// Nesting deeper than this is not compared but applied: the server judges it.
pub(crate) const MAX_DEPTH: usize = 64;

/// Whether applying `desired` as `manager` would change nothing on `live`.
pub(crate) fn holds(desired: &Value, live: &Value, manager: &str) -> bool {
    let Some(owned) = owned_fields(live, manager, desired.get("apiVersion")) else { return false };
    let (Value::Object(desired), Value::Object(live)) = (desired, live) else { return false };
    let mut root = desired.clone();
    root.remove("apiVersion");
    root.remove("kind");
    if let Some(Value::Object(metadata)) = root.get_mut("metadata") {
        metadata.remove("name");
        metadata.remove("namespace");
        if metadata.is_empty() {
            root.remove("metadata");
        }
    }
    object_holds(&root, live, owned, "", MAX_DEPTH)
}

/// Whether `manager` has ever applied `object`.
pub(crate) fn applied_by(object: &Value, manager: &str) -> bool {
    entry_of(object, manager).is_some()
}

/// The record of what `manager` applied.
pub(crate) fn entry_of<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    entries.iter().find(|e| {
        e["manager"] == manager && e["operation"] == "Apply" && e["subresource"].as_str().is_none_or(str::is_empty)
    })
}

fn owned_fields<'a>(live: &'a Value, manager: &str, version: Option<&Value>) -> Option<&'a Map<String, Value>> {
    let entry = entry_of(live, manager)?;
    if entry.get("apiVersion") != version {
        return None;
    }
    entry.get("fieldsV1")?.as_object()
}

fn value_holds(desired: &Value, live: Option<&Value>, owned: &Map<String, Value>, at: &str, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let inner = owned.keys().any(|key| key != ".");
    match (desired, live) {
        // The server drops zero values when it stores typed objects; the record says that they are ours all the same.
        (desired, None) => !inner && is_zero(desired),
        (Value::Object(desired), Some(Value::Object(live))) if inner => object_holds(desired, live, owned, at, depth),
        (Value::Array(desired), Some(Value::Array(live))) if inner => list_holds(desired, live, owned, at, depth),
        // A leaf of the record: a scalar, or a list or map that is replaced as a whole.
        (desired, Some(live)) => !inner && same(desired, live, at, depth),
    }
}

fn object_holds(
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    owned: &Map<String, Value>,
    at: &str,
    depth: usize,
) -> bool {
    let fields = owned.iter().filter_map(|(key, inner)| Some((key.strip_prefix("f:")?, inner)));
    let mut count = 0;
    for (name, inner) in fields {
        count += 1;
        let (Some(desired), Some(inner)) = (desired.get(name), inner.as_object()) else { return false };
        if !value_holds(desired, live.get(name), inner, below(at, name), depth) {
            return false;
        }
    }
    count == desired.len()
}

fn list_holds(desired: &[Value], live: &[Value], owned: &Map<String, Value>, at: &str, depth: usize) -> bool {
    let mut unmatched: Vec<&Value> = desired.iter().collect();
    for (element, inner) in owned.iter().filter(|(key, _)| key.as_str() != ".") {
        let Some(inner) = inner.as_object() else { return false };
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        let held = if let Some(Value::Object(keys)) = element.strip_prefix("k:").and_then(parsed) {
            // A key that we left to its default (a port's protocol) is in the record and not in what we want.
            let fits = |o: &Value, strict: bool| keys.iter().all(|(k, v)| o.get(k).map_or(!strict, |has| has == v));
            let (Some(place), Some(live)) =
                (unmatched.iter().position(|d| fits(d, false)), live.iter().find(|l| fits(l, true)))
            else {
                return false;
            };
            let desired = unmatched.swap_remove(place);
            element_holds(desired, live, inner, &keys, (at, depth))
        } else if let Some(value) = element.strip_prefix("v:").and_then(parsed) {
            let Some(place) = unmatched.iter().position(|d| **d == value) else { return false };
            unmatched.swap_remove(place);
            live.contains(&value)
        } else {
            false
        };
        if !held {
            return false;
        }
    }
    unmatched.is_empty()
}

/// An element of a list of type map: its key fields are in the record even where the server filled them in.
fn element_holds(
    desired: &Value,
    live: &Value,
    owned: &Map<String, Value>,
    keys: &Map<String, Value>,
    (at, depth): (&str, usize),
) -> bool {
    let Value::Object(desired) = desired else { return false };
    if !owned.keys().any(|key| key != ".") {
        // An atomic element, such as an owner reference: it is ours as a whole.
        return same(&Value::Object(desired.clone()), live, at, depth);
    }
    let Some(live) = live.as_object() else { return false };
    let mut desired = desired.clone();
    for (key, value) in keys {
        if owned.contains_key(&format!("f:{key}")) {
            desired.entry(key.clone()).or_insert_with(|| value.clone());
        } else {
            desired.remove(key);
        }
    }
    let Some(depth) = depth.checked_sub(1) else { return false };
    object_holds(&desired, live, owned, at, depth)
}

/// Whether a whole value that we own is as we want it. Fields that the server filled in inside it do not count.
pub(crate) fn same(desired: &Value, live: &Value, at: &str, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(name, desired)| match live.get(name) {
            Some(live) => same(desired, live, below(at, name), depth),
            None => is_zero(desired),
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len() && desired.iter().zip(live).all(|(d, l)| same(d, l, at, depth))
        }
        (Value::Number(desired), Value::Number(live)) => desired == live || desired.as_f64() == live.as_f64(),
        (desired, live) if desired == live => true,
        (desired, live) => QUANTITIES.contains(&at) && nano(desired).is_some_and(|d| nano(live) == Some(d)),
    }
}

/// Fields whose values, or whose members' values, are quantities: the server respells them (`1000m` becomes `1`).
const QUANTITIES: [&str; 8] =
    ["limits", "requests", "hard", "capacity", "overhead", "sizeLimit", "divisor", "allocatable"];
/// Maps whose members have names of the user's choosing.
const OPAQUE: [&str; 5] = ["data", "binaryData", "labels", "annotations", "matchLabels"];

/// The name that decides how a field is compared.
pub(crate) fn below<'a>(at: &'a str, name: &'a str) -> &'a str {
    if QUANTITIES.contains(&at) || OPAQUE.contains(&at) { at } else { name }
}

/// A quantity in billionths; `None` when it is none, or is in exponent notation, which the server does not write.
fn nano(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let split = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: i128 = format!("0{whole}{fraction:0<9}").parse().ok()?;
    let (times, over) = match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "" => (1, 1),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1_i128 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => return None,
    };
    digits.checked_mul(times).map(|n| sign * n / over)
}

/// What Go's `omitempty` leaves out.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A live Deployment whose record for `me` is `fields`.
    fn live(mut object: Value, fields: &Value) -> Value {
        object["apiVersion"] = "v1".into();
        object["metadata"]["name"] = "a".into();
        object["metadata"]["managedFields"] = json!([
            {"manager": "other", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:theirs": {}}}},
            {"manager": "me", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:status": {}}},
            {"manager": "me", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields},
        ]);
        object
    }

    fn wanted(mut object: Value) -> Value {
        object["apiVersion"] = "v1".into();
        object["metadata"]["name"] = "a".into();
        object
    }

    #[test]
    fn foreign_fields_are_not_ours_to_compare() {
        let live = live(json!({"spec": {"a": 1, "theirs": 2}}), &json!({"f:spec": {"f:a": {}}}));
        assert!(holds(&wanted(json!({"spec": {"a": 1}})), &live, "me"));
    }

    #[test]
    fn changed_value_is_drift() {
        let live = live(json!({"spec": {"a": 2}}), &json!({"f:spec": {"f:a": {}}}));
        assert!(!holds(&wanted(json!({"spec": {"a": 1}})), &live, "me"));
    }

    #[test]
    fn equal_value_owned_by_somebody_else_is_drift() {
        let live = live(json!({"spec": {"a": 1, "b": 1}}), &json!({"f:spec": {"f:b": {}}}));
        assert!(!holds(&wanted(json!({"spec": {"a": 1, "b": 1}})), &live, "me"));
    }

    #[test]
    fn field_no_longer_wanted_must_be_released() {
        let live = live(json!({"spec": {"a": 1, "b": 1}}), &json!({"f:spec": {"f:a": {}, "f:b": {}}}));
        assert!(!holds(&wanted(json!({"spec": {"a": 1}})), &live, "me"));
    }

    #[test]
    fn object_without_our_record_is_not_held() {
        let mut live = live(json!({"spec": {"a": 1}}), &json!({"f:spec": {"f:a": {}}}));
        live["metadata"]["managedFields"] = json!([]);
        assert!(!holds(&wanted(json!({"spec": {"a": 1}})), &live, "me"));
    }

    #[test]
    fn map_list_is_matched_by_its_keys_and_defaulted_keys_are_tolerated() {
        let record = json!({"f:spec": {"f:ports": {
            "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
            "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:port": {}, "f:protocol": {}},
        }}});
        let ports = json!([{"port": 53, "protocol": "UDP"}, {"port": 80, "protocol": "TCP", "targetPort": 80}]);
        let live = live(json!({"spec": {"ports": ports}}), &record);
        let desired = |ports: Value| wanted(json!({"spec": {"ports": ports}}));
        assert!(holds(&desired(json!([{"port": 80}, {"port": 53, "protocol": "UDP"}])), &live, "me"));
        assert!(!holds(&desired(json!([{"port": 80}])), &live, "me"), "an element to release");
        assert!(!holds(&desired(json!([{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 1}])), &live, "me"));
    }

    #[test]
    fn atomic_element_of_a_map_list_is_compared_as_a_whole() {
        let record = json!({"f:metadata": {"f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}}});
        let owned_by = |name: &str| json!({"metadata": {"ownerReferences": [{"uid": "u", "name": name}]}});
        let live = live(owned_by("a"), &record);
        assert!(holds(&wanted(owned_by("a")), &live, "me"));
        assert!(!holds(&wanted(owned_by("b")), &live, "me"));
    }

    #[test]
    fn set_list_is_matched_by_value() {
        let record = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x/y\"": {}}}});
        let live = live(json!({"metadata": {"finalizers": ["other", "x/y"]}}), &record);
        assert!(holds(&wanted(json!({"metadata": {"finalizers": ["x/y"]}})), &live, "me"));
        assert!(!holds(&wanted(json!({"metadata": {"finalizers": ["x/z"]}})), &live, "me"));
    }

    #[test]
    fn atomic_list_tolerates_defaults_inside_and_not_another_length() {
        let record = json!({"f:spec": {"f:ingress": {}}});
        let rule = json!([{"ports": [{"port": 80, "protocol": "TCP"}]}]);
        let live = live(json!({"spec": {"ingress": rule}}), &record);
        assert!(holds(&wanted(json!({"spec": {"ingress": [{"ports": [{"port": 80}]}]}})), &live, "me"));
        assert!(!holds(&wanted(json!({"spec": {"ingress": []}})), &live, "me"));
    }

    #[test]
    fn zero_value_dropped_by_the_server_is_held_when_owned() {
        let live = live(json!({"spec": {}}), &json!({"f:spec": {"f:hostNetwork": {}, "f:nodeSelector": {}}}));
        assert!(holds(&wanted(json!({"spec": {"hostNetwork": false, "nodeSelector": {}}})), &live, "me"));
        assert!(!holds(&wanted(json!({"spec": {"hostNetwork": true, "nodeSelector": {}}})), &live, "me"));
    }

    #[test]
    fn quantity_spelled_differently_is_the_same() {
        let record = json!({"f:spec": {"f:limits": {"f:cpu": {}}, "f:env": {}}});
        let live = live(json!({"spec": {"limits": {"cpu": "1"}, "env": "1"}}), &record);
        assert!(holds(&wanted(json!({"spec": {"limits": {"cpu": "1000m"}, "env": "1"}})), &live, "me"));
        assert!(!holds(&wanted(json!({"spec": {"limits": {"cpu": "1001m"}, "env": "1"}})), &live, "me"));
        assert!(
            !holds(&wanted(json!({"spec": {"limits": {"cpu": "1"}, "env": "1000m"}})), &live, "me"),
            "not a quantity"
        );
    }

    #[test]
    fn configmap_entry_called_limits_is_text() {
        let live = live(json!({"data": {"limits": "1"}}), &json!({"f:data": {"f:limits": {}}}));
        assert!(!holds(&wanted(json!({"data": {"limits": "1000m"}})), &live, "me"));
    }

    #[test]
    fn quantities_are_read_exactly() {
        let read = |text: &str| nano(&json!(text));
        assert_eq!(read("1Gi"), read("1024Mi"));
        assert_eq!(read("0.5"), read("500m"));
        assert_eq!(read("-1"), Some(-1_000_000_000));
        assert_eq!((read("1e3"), read(""), read("."), read("abc")), (None, None, None, None));
    }
}
