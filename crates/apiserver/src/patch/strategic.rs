//! Strategic merge patch: objects merge, lists merge by the key that the schema names, directives delete, replace, order
//! and retain. Pure.
//!
//! Rules and error texts are those of `k8s.io/apimachinery/pkg/util/strategicpatch`. Lists are indexed by key, so long
//! lists cost no more than sorting them.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::schema::{Schema, Typed};
use crate::status::Status;

use super::merge::prune_nulls;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

type Object = Map<String, Value>;

/// How a field of the schema merges.
#[derive(Default)]
struct Field<'a> {
    /// The field's own schema.
    schema: Option<Typed<'a>>,
    /// `replace` or `merge`; `retainKeys` only matters to clients.
    strategy: &'a str,
    /// Key of the elements, empty when there is none.
    key: &'a str,
}

impl<'a> Field<'a> {
    fn of(schema: Option<Typed<'a>>, name: &str) -> Self {
        let Some(parent) = schema else { return Self::default() };
        let Some(node) = parent.node.properties.get(name) else {
            return Self { schema: parent.values(), ..Self::default() };
        };
        let node: &'a Schema = node;
        let strategy = node.patch_strategy.as_deref().unwrap_or_default();
        Self {
            schema: Some(Typed::new(parent.defs, node)),
            strategy: strategy.split(',').find(|s| *s != "retainKeys").unwrap_or_default(),
            key: node.patch_merge_key.as_deref().unwrap_or_default(),
        }
    }

    fn elements(&self) -> Option<Typed<'a>> {
        self.schema.and_then(Typed::items)
    }
}

/// 400: the patch's form is wrong.
fn malformed(message: &str) -> Status {
    Status::bad_request(message)
}

/// 500: kube-apiserver does not classify these.
fn failed(message: impl Into<String>) -> Status {
    Status::new(500, "", message)
}

fn no_merge_key(element: &Object, key: &str) -> Status {
    failed(format!("map: {} does not contain declared merge key: {key}", go_text(&Value::Object(element.clone()))))
}

fn bad_patch_type(directive: &Value, patch: &Object) -> Status {
    failed(format!("unknown patch type: {} in map: {}", go_text(directive), go_text(&Value::Object(patch.clone()))))
}

/// Merges `patch` into `original` by `schema`.
pub(super) fn merge(original: Object, patch: Object, schema: Option<Typed<'_>>) -> Result<Object, Status> {
    merge_objects(original, patch, schema)
}

fn merge_objects(mut original: Object, mut patch: Object, schema: Option<Typed<'_>>) -> Result<Object, Status> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                let mut value = Value::Object(patch);
                drop_directives(&mut value);
                Ok(into_object(value))
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(bad_patch_type(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_order(&mut original, &mut patch, schema)?;
    for (key, value) in patch {
        let (name, deleting) = match key.strip_prefix(DELETE_FROM) {
            None => (key.as_str(), false),
            Some(rest) => {
                let name = rest.strip_prefix('/');
                (name.ok_or_else(|| malformed("invalid patch format of primitive list"))?, true)
            }
        };
        if value.is_null() {
            original.remove(name);
            continue;
        }
        let Some(current) = original.get_mut(name) else {
            if !deleting {
                original.insert(name.to_owned(), taken(value));
            }
            continue;
        };
        let field = Field::of(schema, name);
        match (current, value) {
            (Value::Object(current), Value::Object(patch)) if field.strategy != "replace" => {
                *current = merge_objects(std::mem::take(current), patch, field.schema)?;
            }
            (Value::Array(current), Value::Array(patch)) if field.strategy == "merge" || deleting => {
                *current = merge_lists(std::mem::take(current), patch, &field, deleting)?;
            }
            (current, value) if !deleting => *current = taken(value),
            _ => {}
        }
    }
    Ok(original)
}

/// A value of the patch as it stands where nothing was.
fn taken(mut value: Value) -> Value {
    prune_nulls(&mut value);
    drop_directives(&mut value);
    value
}

fn into_object(value: Value) -> Object {
    match value {
        Value::Object(map) => map,
        _ => Object::new(),
    }
}

/// Directives that meet nothing to act on leave no trace in the object.
fn drop_directives(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get(DIRECTIVE).is_some_and(|d| d == "delete") {
                map.clear();
            }
            map.retain(|key, _| {
                key != DIRECTIVE && key != RETAIN_KEYS && !key.starts_with(SET_ORDER) && !key.starts_with(DELETE_FROM)
            });
            map.values_mut().for_each(drop_directives);
        }
        Value::Array(list) => {
            list.retain(|element| element.get(DIRECTIVE).is_none_or(|d| d != "delete" && d != "replace"));
            list.iter_mut().for_each(drop_directives);
        }
        _ => {}
    }
}

/// `$retainKeys`: fields that it does not name are cleared.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Status> {
    let Some(retain) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let wrong = || malformed("invalid patch format of retainKeys");
    let Value::Array(retain) = retain else { return Err(wrong()) };
    let keep: HashSet<&str> = retain.iter().filter_map(Value::as_str).collect();
    let directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !keep.contains(key.as_str())) {
        return Err(wrong());
    }
    original.retain(|key, _| keep.contains(key.as_str()));
    Ok(())
}

/// `$setElementOrder/FIELD`: merges the field's list and puts it in that order.
fn set_order(original: &mut Object, patch: &mut Object, schema: Option<Typed<'_>>) -> Result<(), Status> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let wrong = || malformed("invalid patch format of setElementOrder list");
        let name = directive.strip_prefix(SET_ORDER).and_then(|rest| rest.strip_prefix('/')).ok_or_else(wrong)?;
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(failed("expected a []interface {}"));
        };
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(failed(format!("expected a []interface {{}}, but received a {}", go_text(&other)))),
        };
        // A null deletes the list like any other field.
        if patch.get(name).is_some_and(Value::is_null) {
            continue;
        }
        let current = list(original.get(name).cloned())?;
        let patched = list(patch.remove(name))?;
        let field = Field::of(schema, name);
        check_order(patched.as_deref().unwrap_or_default(), &order, field.key)?;
        let server = current.clone().unwrap_or_default();
        let merged = match (current, patched) {
            (None, None) => continue,
            (Some(current), None) => current,
            (None, Some(patched)) => match taken(Value::Array(patched)) {
                Value::Array(list) => list,
                _ => Vec::new(),
            },
            (Some(current), Some(patched)) if field.strategy == "merge" => {
                merge_lists(current, patched, &field, false)?
            }
            (Some(_), Some(patched)) => patched,
        };
        original.insert(name.to_owned(), Value::Array(ordered(merged, &order, &server, field.key)?));
    }
    Ok(())
}

/// The patch's elements must stand in the order list, in the same order.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), Status> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut wanted = order.iter();
    for element in patch.iter().filter(|element| element.get(DIRECTIVE).is_none()) {
        let id = identity(element, key)?;
        loop {
            let Some(next) = wanted.next() else {
                return Err(failed(format!(
                    "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                    go_text(&Value::Array(patch.to_vec())),
                    go_text(&Value::Array(order.to_vec()))
                )));
            };
            if identity(next, key)? == id {
                break;
            }
        }
    }
    Ok(())
}

/// What tells an element from others: the value of its merge key, or itself when the list has none.
fn identity(element: &Value, key: &str) -> Result<String, Status> {
    if key.is_empty() {
        return Ok(element.to_string());
    }
    match element {
        Value::Object(map) => map.get(key).map(Value::to_string).ok_or_else(|| no_merge_key(map, key)),
        other => Err(failed(format!("expected a map[string]interface {{}}, but received a {}", go_text(other)))),
    }
}

fn merge_lists(
    current: Vec<Value>,
    patch: Vec<Value>,
    field: &Field<'_>,
    deleting: bool,
) -> Result<Vec<Value>, Status> {
    let Some(first) = current.first().or(patch.first()) else { return Ok(current) };
    if first.is_array() {
        return Err(failed("lists of lists are not supported"));
    }
    let objects = first.is_object();
    let kind = |value: &Value| std::mem::discriminant(value);
    if current.iter().chain(&patch).any(|element| kind(element) != kind(first)) {
        let both = Value::Array(vec![Value::Array(current), Value::Array(patch)]);
        return Err(failed(format!("list element types are not identical: {}", go_text(&both))));
    }
    if !objects {
        if deleting {
            let gone: HashSet<String> = patch.iter().map(Value::to_string).collect();
            return Ok(current.into_iter().filter(|element| !gone.contains(&element.to_string())).collect());
        }
        let mut seen = HashSet::new();
        let both = current.iter().chain(&patch);
        let merged = both.filter(|element| seen.insert(element.to_string())).cloned().collect();
        return ordered(merged, &patch, &current, "");
    }
    let key = field.key;
    if key.is_empty() {
        return Err(failed("cannot merge lists without merge key"));
    }
    let (current, patch) = special_elements(current, patch, key)?;
    let mut merged = current;
    let server: Vec<Value> = merged.iter().map(|element| only_key(element, key)).collect();
    let order: Vec<Value> = patch.iter().map(|element| only_key(element, key)).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, element) in merged.iter().enumerate() {
        if let Some(value) = element.get(key) {
            places.entry(value.to_string()).or_insert(at);
        }
    }
    for element in patch {
        let id = identity(&element, key)?;
        match places.get(&id).and_then(|at| merged.get_mut(*at)) {
            Some(place) => {
                let before = into_object(place.take());
                *place = Value::Object(merge_objects(before, into_object(element), field.elements())?);
            }
            None => {
                places.insert(id, merged.len());
                merged.push(taken(element));
            }
        }
    }
    ordered(merged, &order, &server, key)
}

/// An element reduced to its merge key: enough to order by.
fn only_key(element: &Value, key: &str) -> Value {
    let mut map = Object::new();
    if let Some(value) = element.get(key) {
        map.insert(key.to_owned(), value.clone());
    }
    Value::Object(map)
}

/// Acts on elements with `$patch`; returns the lists without them.
fn special_elements(mut current: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    let mut replace = false;
    for element in patch {
        let Some(directive) = element.get(DIRECTIVE) else {
            plain.push(element);
            continue;
        };
        let map = element.as_object().cloned().unwrap_or_default();
        match directive.as_str() {
            Some("delete") => {
                gone.insert(map.get(key).ok_or_else(|| no_merge_key(&map, key))?.to_string());
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(failed("merging lists cannot yet be specified in the patch")),
            _ => return Err(bad_patch_type(directive, &map)),
        }
    }
    if replace {
        let Value::Array(list) = taken(Value::Array(plain)) else { return Ok((Vec::new(), Vec::new())) };
        return Ok((list, Vec::new()));
    }
    if !gone.is_empty() {
        current.retain(|element| element.get(key).is_none_or(|value| !gone.contains(&value.to_string())));
    }
    Ok((current, plain))
}

/// Elements that `order` names come in its order; the others keep that of `server` and stand before the first named
/// element that followed them there.
fn ordered(merged: Vec<Value>, order: &[Value], server: &[Value], key: &str) -> Result<Vec<Value>, Status> {
    let places = |list: &[Value]| -> Result<HashMap<String, usize>, Status> {
        let mut out = HashMap::new();
        for (at, element) in list.iter().enumerate() {
            out.entry(identity(element, key)?).or_insert(at);
        }
        Ok(out)
    };
    let (order, server) = (places(order)?, places(server)?);
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for element in merged {
        let id = identity(&element, key)?;
        match order.get(&id) {
            Some(at) => named.push((*at, server.get(&id).copied(), element)),
            None => others.push((server.get(&id).copied(), element)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, place, element) in named {
        while others.peek().is_some_and(|(at, _)| matches!((at, place), (Some(at), Some(place)) if *at < place)) {
            out.extend(others.next().map(|(_, element)| element));
        }
        out.push(element);
    }
    out.extend(others.map(|(_, element)| element));
    Ok(out)
}

/// A value as Go's `%v` prints it: `map[a:1 b:[x y]]`.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::schema::{Definitions, Schema, Typed};
    use crate::status::Status;

    fn schema() -> Schema {
        serde_json::from_value(json!({"type": "object", "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
            "args": {"type": "array", "items": {"type": "string"}},
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {}},
            "whole": {"type": "object", "x-kubernetes-patch-strategy": "replace", "properties": {}},
            "containers": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                "items": {"type": "object", "properties": {
                    "name": {"type": "string"},
                    "env": {"type": "array", "x-kubernetes-patch-strategy": "merge",
                        "x-kubernetes-patch-merge-key": "name", "items": {"type": "object"}},
                }}},
        }}))
        .unwrap()
    }

    fn merged(original: Value, patch: Value) -> Result<Value, Status> {
        let (schema, defs) = (schema(), Definitions::new());
        let (Value::Object(original), Value::Object(patch)) = (original, patch) else { panic!("objects") };
        super::merge(original, patch, Some(Typed::new(&defs, &schema))).map(Value::Object)
    }

    fn names(value: &Value) -> Vec<&str> {
        value["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn keyed_lists_merge_and_plain_lists_are_replaced() {
        let out = merged(
            json!({"containers": [{"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}, {"name": "Y"}]}], "args": ["p"]}),
            json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "9"}, {"name": "Z", "v": null}]}], "args": ["q"]}),
        );
        assert_eq!(
            out.unwrap(),
            json!({"args": ["q"], "containers": [{"name": "a", "image": "i",
                "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "9"}, {"name": "Z"}]}]})
        );
    }

    #[test]
    fn new_elements_come_before_later_ones_of_the_patch() {
        let out = merged(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "new"}, {"name": "a", "x": 1}]}),
        );
        assert_eq!(names(&out.unwrap()), ["new", "a", "b"]);
    }

    #[test]
    fn null_deletes_and_maps_merge() {
        let out = merged(
            json!({"labels": {"a": "1", "b": "2"}, "args": []}),
            json!({"labels": {"a": null, "c": "3"}, "args": null}),
        );
        assert_eq!(out.unwrap(), json!({"labels": {"b": "2", "c": "3"}}));
    }

    #[test]
    fn patch_directives_delete_and_replace() {
        let original = json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {"a": "1"}});
        let delete = json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "zz", "$patch": "delete"}]});
        assert_eq!(names(&merged(original.clone(), delete).unwrap()), ["b"]);
        let replace =
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}], "labels": {"$patch": "replace", "x": "y"}});
        let out = merged(original.clone(), replace).unwrap();
        assert_eq!(out, json!({"containers": [{"name": "c"}], "labels": {"x": "y"}}));
        assert_eq!(merged(original, json!({"labels": {"$patch": "delete"}})).unwrap()["labels"], json!({}));
    }

    #[test]
    fn a_strategy_of_replace_replaces_a_map() {
        assert_eq!(merged(json!({"whole": {"a": 1}}), json!({"whole": {"b": 2}})).unwrap(), json!({"whole": {"b": 2}}));
    }

    #[test]
    fn set_element_order_reorders() {
        let out = merged(
            json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a", "image": "new"}]}),
        );
        assert_eq!(names(&out.unwrap()), ["b", "c", "a"]);
    }

    #[test]
    fn set_element_order_must_name_the_patched_elements() {
        let error = merged(
            json!({"containers": [{"name": "a"}]}),
            json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}),
        )
        .unwrap_err();
        assert_eq!((error.code, &*error.reason), (500, ""));
        assert_eq!(
            error.message,
            "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n"
        );
    }

    #[test]
    fn a_missing_merge_key_is_500() {
        let error =
            merged(json!({"containers": [{"name": "a"}]}), json!({"containers": [{"image": "x"}]})).unwrap_err();
        assert_eq!(error.to_json()["message"], "map: map[image:x] does not contain declared merge key: name");
        assert_eq!((error.code, &*error.reason), (500, ""));
    }

    #[test]
    fn an_unknown_directive_is_500() {
        let error =
            merged(json!({"containers": [{"name": "a"}]}), json!({"containers": [{"name": "a", "$patch": "nope"}]}));
        assert_eq!(error.unwrap_err().message, "unknown patch type: nope in map: map[$patch:nope name:a]");
    }

    #[test]
    fn primitive_lists_merge_and_delete() {
        let out = merged(json!({"finalizers": ["a", "b"]}), json!({"finalizers": ["c", "b"]})).unwrap();
        assert_eq!(out, json!({"finalizers": ["c", "a", "b"]}));
        let out = merged(out, json!({"$deleteFromPrimitiveList/finalizers": ["a", "zz"]})).unwrap();
        assert_eq!(out, json!({"finalizers": ["c", "b"]}));
    }

    #[test]
    fn retain_keys_clears_the_others() {
        let out = merged(
            json!({"strategy": {"type": "R", "rolling": {}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "X"}}),
        );
        assert_eq!(out.unwrap(), json!({"strategy": {"type": "X"}}));
        let error =
            merged(json!({"strategy": {}}), json!({"strategy": {"$retainKeys": ["type"], "x": 1}})).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (400, "invalid patch format of retainKeys"));
    }

    #[test]
    fn directives_that_meet_nothing_leave_no_trace() {
        let out = merged(
            json!({}),
            json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "b", "$retainKeys": ["name"]}]}),
        );
        assert_eq!(out.unwrap(), json!({"containers": [{"name": "b"}]}));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3i64).prop_map(Value::from),
            "[a-c]|delete|replace".prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 60, 4, |inner| {
            let key = prop::sample::select(vec![
                "name",
                "labels",
                "containers",
                "env",
                "finalizers",
                "$patch",
                "$retainKeys",
                "$setElementOrder/containers",
                "$setElementOrder",
                "$deleteFromPrimitiveList/finalizers",
                "strategy",
            ]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|map| map
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<serde_json::Map<_, _>>()
                    .into())
            ]
        })
    }

    fn valid_object() -> impl Strategy<Value = Value> {
        let env = prop::collection::btree_map("[A-D]", "[x-z]", 0..4).prop_map(|map| {
            map.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
        });
        let containers = prop::collection::btree_map("[a-e]", env, 1..5);
        (containers, prop::collection::btree_set("[a-f]", 0..4), prop::collection::vec("[a-c]", 0..3)).prop_map(
            |(containers, finalizers, args)| {
                let containers: Vec<Value> =
                    containers.into_iter().map(|(name, env)| json!({"name": name, "env": env})).collect();
                json!({"containers": containers, "finalizers": finalizers, "args": args})
            },
        )
    }

    proptest! {
        #[test]
        fn arbitrary_patches_never_panic(original in any_json(), patch in any_json()) {
            if let (Value::Object(_), Value::Object(_)) = (&original, &patch) {
                let _ = merged(original, patch);
            }
        }

        #[test]
        fn an_object_patched_with_itself_is_unchanged(object in valid_object()) {
            prop_assert_eq!(merged(object.clone(), object.clone()).unwrap(), object);
        }
    }
}
