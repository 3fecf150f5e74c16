//! JSON patch (RFC 6902) as kube-apiserver applies it. Pure.
//!
//! It differs from the RFC where the Go library does: `replace` of a missing key adds it, negative indices count from the
//! end, `test` of a missing path equals `null`. The document stays as it was when an operation fails.

use serde_json::Value;

use crate::schema::decode::go_type;
use crate::status::{Details, Status};

use super::{MAX_DEPTH, depth};

/// Most operations in one patch; kube-apiserver's limit.
const MAX_OPERATIONS: usize = 10_000;

/// Most bytes that the copies of one patch may add; kube-apiserver's limit.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// An operation that does not apply.
type Failed = String;

/// Applies `patch` to a copy of `current`.
pub(super) fn apply(current: &Value, patch: Value) -> Result<Value, Status> {
    let Value::Array(operations) = patch else {
        return Err(Status::bad_request(format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
            go_type(&patch)
        )));
    };
    if let Some(other) = operations.iter().find(|o| !o.is_object()) {
        return Err(Status::bad_request(format!(
            "json: cannot unmarshal {} into Go value of type jsonpatch.Operation",
            go_type(other)
        )));
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                operations.len()
            ),
        ));
    }
    // The text of what failed is not sent: kube-apiserver answers the same for all of them.
    run_all(current, operations).map_err(|_| unprocessable())
}

/// Applies the patch of a webhook, whose failures are told.
pub(super) fn apply_told(current: &Value, patch: Value) -> Result<Value, Failed> {
    let Value::Array(operations) = patch else {
        return Err(format!("json: cannot unmarshal {} into Go value of type jsonpatch.Patch", go_type(&patch)));
    };
    run_all(current, operations)
}

/// Whether a failure is that of a `test` operation.
pub(super) fn is_failed_test(why: &str) -> bool {
    why.starts_with("testing value ")
}

fn run_all(current: &Value, operations: Vec<Value>) -> Result<Value, Failed> {
    let mut document = Document { root: current.clone(), depth: depth(current), copied: 0 };
    for mut operation in operations {
        if !operation.is_object() {
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type jsonpatch.Operation",
                go_type(&operation)
            ));
        }
        document.run(&mut operation)?;
    }
    Ok(document.root)
}

/// `NewGenericServerResponse(422)` without a resource.
fn unprocessable() -> Status {
    Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with(Details::default())
}

struct Document {
    root: Value,
    /// Upper bound of the nesting: operations may build deeper documents than any body could carry.
    depth: usize,
    copied: usize,
}

/// A path split into the way to a container and the key in it.
struct Place {
    parents: Vec<String>,
    key: String,
}

impl Place {
    /// What stands before the first `/` is ignored, as the Go library does.
    fn of(path: &str) -> Result<Self, Failed> {
        let mut parts: Vec<String> = path.split('/').skip(1).map(unescape).collect();
        let key = parts.pop().ok_or_else(|| format!("doc is missing path: {path:?}"))?;
        Ok(Self { parents: parts, key })
    }

    fn length(&self) -> usize {
        self.parents.len() + 1
    }
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn index(key: &str, length: usize) -> Result<usize, Failed> {
    let at: i64 = key.parse().map_err(|_| format!("value was not a proper array index: '{key}'"))?;
    let signed = i64::try_from(length).unwrap_or(i64::MAX);
    let at = if at < 0 { at + signed } else { at };
    usize::try_from(at).ok().filter(|at| *at < length).ok_or_else(|| format!("Unable to access invalid index: {key}"))
}

impl Document {
    fn run(&mut self, operation: &mut Value) -> Result<(), Failed> {
        let text = |field: &str| operation[field].as_str().map(str::to_owned);
        let path = text("path").ok_or("failed to decode path");
        let op = text("op").unwrap_or_else(|| "unknown".to_owned());
        match op.as_str() {
            "add" => {
                let value = operation["value"].take();
                let deep = depth(&value);
                self.add(&Place::of(&path?)?, value, deep)
            }
            "remove" => self.remove(&Place::of(&path?)?).map(|_| ()),
            "replace" => {
                let path = path?;
                let value = operation["value"].take();
                self.replace(&path, value)
            }
            "move" => {
                let from = Place::of(&text("from").ok_or("failed to decode from")?)?;
                let to = Place::of(&path?)?;
                let deep = self.depth.saturating_sub(from.length());
                let value = self.remove(&from)?;
                self.add(&to, value, deep)
            }
            "copy" => {
                let from = Place::of(&text("from").ok_or("failed to decode from")?)?;
                let to = Place::of(&path?)?;
                let value = self.get(&from)?.cloned().unwrap_or_default();
                self.copied += serde_json::to_string(&value).map_or(0, |text| text.len());
                if self.copied > MAX_COPIED {
                    return Err("Unable to complete the copy: too many bytes".to_owned());
                }
                let deep = depth(&value);
                self.add(&to, value, deep)
            }
            "test" => {
                let path = path?;
                let found = if path.is_empty() { Some(&self.root) } else { self.get(&Place::of(&path)?)? };
                let want = operation.get("value").unwrap_or(&Value::Null);
                if found.unwrap_or(&Value::Null) == want { Ok(()) } else { Err(format!("testing value {path} failed")) }
            }
            other => Err(format!("Unexpected kind: {other}")),
        }
    }

    fn container(&self, place: &Place) -> Result<&Value, Failed> {
        let mut at = &self.root;
        for part in &place.parents {
            at = match at {
                Value::Object(map) => map.get(part).ok_or("doc is missing path")?,
                Value::Array(list) => &list[index(part, list.len())?],
                _ => return Err("doc is missing path".to_owned()),
            };
        }
        Ok(at)
    }

    fn container_mut(&mut self, place: &Place) -> Result<&mut Value, Failed> {
        let mut at = &mut self.root;
        for part in &place.parents {
            at = match at {
                Value::Object(map) => map.get_mut(part).ok_or("doc is missing path")?,
                Value::Array(list) => {
                    let i = index(part, list.len())?;
                    &mut list[i]
                }
                _ => return Err("doc is missing path".to_owned()),
            };
        }
        Ok(at)
    }

    /// A missing key of an object is `None`; a bad index of a list is an error.
    fn get(&self, place: &Place) -> Result<Option<&Value>, Failed> {
        match self.container(place)? {
            Value::Object(map) => Ok(map.get(&place.key)),
            Value::Array(list) => Ok(Some(&list[index(&place.key, list.len())?])),
            _ => Err("doc is missing path".to_owned()),
        }
    }

    /// Keeps the document shallow enough for everything that walks it recursively. `deep` bounds the value's nesting.
    fn deepen(&mut self, place: &Place, deep: usize) -> Result<(), Failed> {
        self.depth = self.depth.max(place.length() + deep);
        if self.depth > MAX_DEPTH {
            self.depth = depth(&self.root);
            if self.depth.max(place.length() + deep) > MAX_DEPTH {
                return Err("the document is nested too deeply".to_owned());
            }
        }
        Ok(())
    }

    fn add(&mut self, place: &Place, value: Value, deep: usize) -> Result<(), Failed> {
        self.deepen(place, deep)?;
        match self.container_mut(place)? {
            Value::Object(map) => {
                map.insert(place.key.clone(), value);
            }
            Value::Array(list) if place.key == "-" => list.push(value),
            Value::Array(list) => {
                let at = index(&place.key, list.len() + 1)?;
                list.insert(at, value);
            }
            _ => return Err("doc is missing path".to_owned()),
        }
        Ok(())
    }

    fn remove(&mut self, place: &Place) -> Result<Value, Failed> {
        match self.container_mut(place)? {
            Value::Object(map) => {
                map.remove(&place.key).ok_or_else(|| format!("Unable to remove nonexistent key: {}", place.key))
            }
            Value::Array(list) => {
                let at = index(&place.key, list.len())?;
                Ok(list.remove(at))
            }
            _ => Err("doc is missing path".to_owned()),
        }
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), Failed> {
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err("replace operation value must be object or array".to_owned());
            }
            self.depth = depth(&value);
            self.root = value;
            return Ok(());
        }
        let place = Place::of(path)?;
        let deep = depth(&value);
        self.deepen(&place, deep)?;
        match self.container_mut(&place)? {
            Value::Object(map) => {
                map.insert(place.key, value);
            }
            Value::Array(list) => {
                let at = index(&place.key, list.len())?;
                list[at] = value;
            }
            _ => return Err("doc is missing path".to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::apply;

    fn patched(current: &Value, patch: Value) -> Value {
        apply(current, patch).unwrap()
    }

    #[test]
    fn operations_run_in_order_on_escaped_paths() {
        let out = patched(
            &json!({"a": {"x/y": 1, "m~n": 2}, "l": [1, 2, 3]}),
            json!([
                {"op": "test", "path": "/a/x~1y", "value": 1},
                {"op": "replace", "path": "/a/m~0n", "value": 3},
                {"op": "add", "path": "/l/1", "value": 9},
                {"op": "add", "path": "/l/-", "value": 4},
                {"op": "remove", "path": "/l/0"},
                {"op": "copy", "from": "/l", "path": "/c"},
                {"op": "move", "from": "/a", "path": "/b"},
            ]),
        );
        assert_eq!(out, json!({"b": {"x/y": 1, "m~n": 3}, "l": [9, 2, 3, 4], "c": [9, 2, 3, 4]}));
    }

    #[test]
    fn replace_of_a_missing_key_adds_it() {
        assert_eq!(
            patched(&json!({"d": {}}), json!([{"op": "replace", "path": "/d/k", "value": 1}])),
            json!({"d": {"k": 1}})
        );
    }

    #[test]
    fn negative_indices_count_from_the_end() {
        assert_eq!(patched(&json!({"l": [1, 2]}), json!([{"op": "remove", "path": "/l/-1"}])), json!({"l": [1]}));
    }

    #[test]
    fn what_does_not_apply_is_422_with_empty_details() {
        for patch in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "remove", "path": "/zz"}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/l/7", "value": 1}]),
            json!([{"op": "replace", "path": "/l/7", "value": 1}]),
            json!([{"op": "frob", "path": "/a"}]),
            json!([{"path": "/a"}]),
            json!([{"op": "remove", "path": ""}]),
        ] {
            let error = apply(&json!({"a": 1, "l": []}), patch.clone()).unwrap_err();
            assert_eq!(
                error.to_json(),
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid",
                    "message": "the server rejected our request due to an error in our request", "details": {}, "code": 422}),
                "{patch}"
            );
        }
    }

    #[test]
    fn a_patch_that_is_no_list_of_objects_is_400() {
        assert_eq!(apply(&json!({}), json!({"op": "add"})).unwrap_err().code, 400);
        assert_eq!(apply(&json!({}), json!([1])).unwrap_err().code, 400);
    }

    #[test]
    fn the_number_of_operations_is_bounded() {
        let patch: Value = (0..10_001).map(|_| json!({"op": "test", "path": "", "value": {}})).collect();
        assert_eq!(apply(&json!({}), patch).unwrap_err().code, 413);
    }

    #[test]
    fn copies_cannot_grow_the_document_without_bound() {
        let patch: Value = (0..5_000).map(|i| json!({"op": "copy", "from": "/a", "path": format!("/a/{i}")})).collect();
        assert_eq!(apply(&json!({"a": {}}), patch).unwrap_err().code, 422);
    }

    #[test]
    fn moves_cannot_nest_the_document_without_bound() {
        let patch: Value = (0..1_000)
            .flat_map(|_| {
                [
                    json!({"op": "move", "from": "/a", "path": "/b"}),
                    json!({"op": "add", "path": "/a", "value": {}}),
                    json!({"op": "move", "from": "/b", "path": "/a/b"}),
                ]
            })
            .collect();
        assert_eq!(apply(&json!({"a": {}}), patch).unwrap_err().code, 422);
    }
}
