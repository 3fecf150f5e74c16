//! Drift: what somebody else changed of what we own, and who it was. Pure.
//!
//! The caches hold our own entry of `managedFields` alone, which tells *that* something drifted. Who did it is in the
//! entries of the others, which are read from the API server only then.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::execute::owned::{MAX_DEPTH, below, entry_of, is_zero, same};
use crate::object::ObjectRef;

/// What to do about drift of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// Put it right and report it.
    #[default]
    Revert,
    /// Report it. What others took stays theirs, and an object that they deleted stays away; everything else of the object
    /// is still applied when the plan changes.
    Report,
}

/// What somebody else did to an object of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// The object.
    pub target: ObjectRef,
    /// Its uid; of a deleted one: the recorded uid.
    pub uid: String,
    /// What was done.
    pub what: Drifted,
    /// Whether it was put right; else it is only reported.
    pub reverted: bool,
}

/// What was done to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Drifted {
    /// It was deleted. Who did that is on no record of the API server but its audit log.
    Deleted,
    /// These fields are not as we applied them. Never empty.
    Changed(Vec<Change>),
}

/// One field that is not as we applied it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, as people write it: `data["gateway.toml"]`, `spec.ports[port=8080].name`.
    pub path: String,
    /// Who, when the API server has it on record. A field that was taken away has no owner: then the last one who wrote the
    /// object after us.
    pub by: Option<Writer>,
}

/// Who wrote, from an entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The field manager, such as `kubectl-edit`. At most 128 characters, as the API server allows.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// When it last changed a field.
    pub time: Option<Timestamp>,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.manager, self.operation)?;
        if let Some(time) = self.time {
            write!(f, ", {time}")?;
        }
        f.write_str(")")
    }
}

/// More fields than this are counted and not named.
const NAMED: usize = 8;

/// What happened, without the object's name: `kubectl-edit (Update, 2026-11-21T10:00:00Z) changed data["gateway.toml"]`.
impl fmt::Display for Drifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Changed(changes) = self else { return f.write_str("somebody deleted it") };
        let mut writers: Vec<&Option<Writer>> = Vec::new();
        for change in changes {
            if !writers.contains(&&change.by) {
                writers.push(&change.by);
            }
        }
        for (at, writer) in writers.into_iter().enumerate() {
            let paths: Vec<&str> = changes.iter().filter(|c| c.by == *writer).map(|c| c.path.as_str()).collect();
            let named = paths.get(..NAMED.min(paths.len())).unwrap_or_default().join(", ");
            f.write_str(if at == 0 { "" } else { "; " })?;
            match writer {
                Some(writer) => write!(f, "{writer} changed {named}")?,
                None => write!(f, "somebody who left no record changed {named}")?,
            }
            if paths.len() > NAMED {
                write!(f, " and {} more", paths.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.reverted { "it was put right" } else { "it is left so" };
        write!(f, "{}: {}; {end}", self.target, self.what)
    }
}

/// A place in an object, one segment of `managedFields`' notation each: `f:spec`, `k:{"port":80}`.
type Path = Vec<String>;

/// One field that is not as we want it, with its place in the object.
pub(crate) struct Found {
    place: Path,
    taken: bool,
    pub(crate) change: Change,
}

impl Found {
    /// Whether somebody has the field on record, so that it surely is not new in the plan.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken
    }
}

/// The entries of everybody in `managedFields`.
struct Manager<'a> {
    writer: Writer,
    fields: Option<&'a Map<String, Value>>,
}

/// That somebody made an object unchangeable, which must have its whole `managedFields`.
pub(crate) fn frozen(live: &Value) -> Change {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let by = entries.filter(|entry| entry["fieldsV1"].get("f:immutable").is_some()).max_by_key(|entry| time(entry));
    Change { path: "immutable".to_owned(), by: by.map(writer) }
}

fn writer(entry: &Value) -> Writer {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    Writer { manager: text("manager"), operation: text("operation"), time: time(entry) }
}

/// The fields of `desired` that others changed in `live`, which must have its whole `managedFields`. A field that is still
/// ours and has another value is none: then what is wanted has changed.
pub(crate) fn find(desired: &Value, live: &Value, manager: &str) -> Vec<Found> {
    let ours = entry_of(live, manager);
    let since = ours.and_then(time);
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    // The status is nobody's drift; other parts, such as scale, write fields of the object itself.
    let others = entries.filter(|entry| entry["manager"] != manager && entry["subresource"] != "status");
    let others: Vec<Manager<'_>> =
        others.map(|entry| Manager { writer: writer(entry), fields: entry["fieldsV1"].as_object() }).collect();
    let mut found = Vec::new();
    let (Value::Object(desired), Some(ours)) = (desired, ours) else { return found };
    let mut root = desired.clone();
    root.remove("apiVersion");
    root.remove("kind");
    if let Some(Value::Object(metadata)) = root.get_mut("metadata") {
        metadata.remove("name");
        metadata.remove("namespace");
    }
    let fields: Vec<_> = others.iter().map(|other| other.fields).collect();
    let mut walk = Walk { others: &others, place: Vec::new(), words: String::new(), found: Vec::new() };
    walk.object(&root, Some(live), ours["fieldsV1"].as_object(), &fields, ("", MAX_DEPTH));
    found.append(&mut walk.found);
    let later = others.iter().filter(|other| other.writer.time >= since && other.writer.time.is_some());
    if let Some(last) = later.max_by_key(|other| other.writer.time) {
        for item in found.iter_mut().filter(|item| item.change.by.is_none()) {
            item.change.by = Some(last.writer.clone());
        }
    }
    found
}

/// Takes what was found out of what we apply, so that it stays as others left it.
pub(crate) fn leave(desired: &mut Value, found: &[Found]) {
    for item in found {
        remove(desired, &item.place);
    }
}

fn remove(value: &mut Value, place: &[String]) {
    let Some((first, rest)) = place.split_first() else { return };
    let Some(inner) = step(value, first) else { return };
    if rest.is_empty() {
        if let (Value::Object(members), Some(name)) = (value, first.strip_prefix("f:")) {
            members.remove(name);
        }
    } else {
        remove(inner, rest);
    }
}

fn step<'a>(value: &'a mut Value, segment: &str) -> Option<&'a mut Value> {
    if let Some(name) = segment.strip_prefix("f:") {
        return value.get_mut(name);
    }
    let keys: Value = serde_json::from_str(segment.strip_prefix("k:")?).ok()?;
    value.as_array_mut()?.iter_mut().find(|element| fits(element, &keys))
}

/// Whether an element of a list has these keys. A key that is left to its default does not tell elements apart.
fn fits(element: &Value, keys: &Value) -> bool {
    keys.as_object().is_some_and(|keys| keys.iter().all(|(key, value)| element.get(key).is_none_or(|has| has == value)))
}

fn time(entry: &Value) -> Option<Timestamp> {
    entry["time"].as_str()?.parse().ok()
}

/// Whether `live` is a map with members that are not in `desired`.
fn adds(desired: &Value, live: &Value) -> bool {
    let maps = desired.as_object().zip(live.as_object());
    maps.is_some_and(|(desired, live)| live.keys().any(|name| !desired.contains_key(name)))
}

struct Walk<'a> {
    others: &'a [Manager<'a>],
    place: Path,
    /// The place in people's words.
    words: String,
    found: Vec<Found>,
}

type Fields<'a> = Option<&'a Map<String, Value>>;

fn inner<'a>(fields: Fields<'a>, segment: &str) -> Fields<'a> {
    fields?.get(segment)?.as_object()
}

impl Walk<'_> {
    fn object(
        &mut self,
        desired: &Map<String, Value>,
        live: Option<&Value>,
        ours: Fields<'_>,
        others: &[Fields<'_>],
        (at, depth): (&str, usize),
    ) {
        for (name, desired) in desired {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            let words = match (plain, self.words.is_empty()) {
                (true, true) => name.clone(),
                (true, false) => format!(".{name}"),
                (false, _) => format!("[{name:?}]"),
            };
            let live = live.and_then(|live| live.get(name));
            self.below(&format!("f:{name}"), &words, desired, live, ours, others, (below(at, name), depth));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of a walk over four trees at once")]
    fn below(
        &mut self,
        segment: &str,
        words: &str,
        desired: &Value,
        live: Option<&Value>,
        ours: Fields<'_>,
        others: &[Fields<'_>],
        (at, depth): (&str, usize),
    ) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let ours = inner(ours, segment);
        let others: Vec<Fields<'_>> = others.iter().map(|fields| inner(*fields, segment)).collect();
        let length = self.words.len();
        self.place.push(segment.to_owned());
        self.words.push_str(words);
        self.value(desired, live, ours, &others, (at, depth));
        self.place.pop();
        self.words.truncate(length);
    }

    fn value(
        &mut self,
        desired: &Value,
        live: Option<&Value>,
        ours: Fields<'_>,
        others: &[Fields<'_>],
        (at, depth): (&str, usize),
    ) {
        let inside = |fields: &Fields<'_>| fields.is_some_and(|fields| fields.keys().any(|key| key != "."));
        let divided = inside(&ours) || others.iter().any(inside);
        match (desired, live) {
            (Value::Object(members), Some(Value::Object(_))) if divided => {
                self.object(members, live, ours, others, (at, depth));
            }
            (Value::Array(elements), Some(Value::Array(_))) if divided => {
                self.list(elements, live, ours, others, (at, depth));
            }
            // Still ours, or gone because it says nothing: what is wanted has changed, or nothing has.
            _ if ours.is_some() && !inside(&ours) => {}
            (desired, None) if is_zero(desired) => {}
            // Of a map that is one field, such as a selector, members that were added count.
            (desired, Some(live))
                if same(desired, live, at, depth) && !(others.iter().any(Option::is_some) && adds(desired, live)) => {}
            _ => {
                let owners = others.iter().zip(self.others).filter(|(fields, _)| fields.is_some());
                let by = owners.max_by_key(|(_, other)| other.writer.time).map(|(_, other)| other.writer.clone());
                let (taken, change) = (by.is_some(), Change { path: self.words.clone(), by });
                self.found.push(Found { place: self.place.clone(), taken, change });
            }
        }
    }

    /// A list whose elements have owners of their own: each is found by its keys.
    fn list(
        &mut self,
        desired: &[Value],
        live: Option<&Value>,
        ours: Fields<'_>,
        others: &[Fields<'_>],
        (at, depth): (&str, usize),
    ) {
        let segments: Vec<&String> = ours.iter().chain(others.iter().flatten()).flat_map(|f| f.keys()).collect();
        let keys = |segment: &str| serde_json::from_str::<Value>(segment.strip_prefix("k:")?).ok();
        for element in desired {
            let known =
                segments.iter().find_map(|segment| Some((*segment, keys(segment).filter(|k| fits(element, k))?)));
            // An element that nobody has on record is new, or its key was changed: nothing to tell.
            let Some((segment, keys)) = known else { continue };
            let live = live.and_then(Value::as_array).and_then(|all| all.iter().find(|one| fits(one, &keys)));
            let named: Vec<String> = keys
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| {
                    format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                })
                .collect();
            let words = format!("[{}]", named.join(","));
            self.below(segment, &words, element, live, ours, others, (at, depth));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: &str = "2026-11-21T10:00:00Z";
    const THEIRS: &str = "2026-11-21T11:00:00Z";

    /// A live object on which we own `ours` and `kubectl-edit` owns `theirs`.
    fn live(mut object: Value, ours: Value, theirs: Value) -> Value {
        object["metadata"] = json!({"managedFields": [
            {"manager": "me", "operation": "Apply", "time": OURS, "fieldsV1": ours},
            {"manager": "kubectl-edit", "operation": "Update", "time": THEIRS, "fieldsV1": theirs},
        ]});
        object
    }

    fn paths(desired: &Value, live: &Value) -> Vec<String> {
        find(desired, live, "me").into_iter().map(|found| found.change.path).collect()
    }

    #[test]
    fn gw_w02_changed_field_names_its_writer_operation_and_time() {
        let desired = json!({"data": {"gateway.toml": "a", "b": "b"}});
        let live = live(
            json!({"data": {"gateway.toml": "x", "b": "b"}}),
            json!({"f:data": {"f:b": {}}}),
            json!({"f:data": {"f:gateway.toml": {}}}),
        );
        let changes = find(&desired, &live, "me").into_iter().map(|found| found.change).collect();
        let said = Drifted::Changed(changes).to_string();
        assert_eq!(said, r#"kubectl-edit (Update, 2026-11-21T11:00:00Z) changed data["gateway.toml"]"#);
    }

    #[test]
    fn value_that_is_still_ours_is_a_change_of_the_plan() {
        let live = live(json!({"spec": {"a": 1}}), json!({"f:spec": {"f:a": {}}}), json!({"f:spec": {"f:b": {}}}));
        assert!(paths(&json!({"spec": {"a": 2}}), &live).is_empty());
    }

    #[test]
    fn field_of_somebody_else_is_no_drift() {
        let live = live(
            json!({"spec": {"a": 1, "theirs": 2}}),
            json!({"f:spec": {"f:a": {}}}),
            json!({"f:spec": {"f:theirs": {}}}),
        );
        assert!(paths(&json!({"spec": {"a": 1}}), &live).is_empty());
    }

    #[test]
    fn field_that_was_taken_away_is_blamed_on_the_last_writer() {
        let live = live(json!({"data": {"b": "b"}}), json!({"f:data": {"f:b": {}}}), json!({"f:metadata": {}}));
        let found = find(&json!({"data": {"a": "a", "b": "b"}}), &live, "me");
        assert_eq!(found[0].change.path, "data.a");
        assert_eq!(found[0].change.by.as_ref().map(|by| by.manager.as_str()), Some("kubectl-edit"));
    }

    #[test]
    fn writer_before_us_is_not_blamed_for_what_is_missing() {
        let mut live = live(json!({"data": {}}), json!({"f:data": {"f:b": {}}}), json!({"f:metadata": {}}));
        live["metadata"]["managedFields"][1]["time"] = "2026-11-21T09:00:00Z".into();
        assert_eq!(find(&json!({"data": {"a": "a"}}), &live, "me")[0].change.by, None);
    }

    #[test]
    fn element_of_a_list_is_found_by_its_keys() {
        let element = r#"k:{"port":80,"protocol":"TCP"}"#;
        let desired = json!({"spec": {"ports": [{"port": 80, "name": "web"}]}});
        let live = live(
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "other"}]}}),
            json!({"f:spec": {"f:ports": {element: {".": {}, "f:port": {}}}}}),
            json!({"f:spec": {"f:ports": {element: {"f:name": {}}}}}),
        );
        assert_eq!(paths(&desired, &live), ["spec.ports[port=80,protocol=TCP].name"]);
    }

    #[test]
    fn atomic_list_is_one_field() {
        let live = live(json!({"rules": [{"verbs": ["*"]}]}), json!({"f:metadata": {}}), json!({"f:rules": {}}));
        assert_eq!(paths(&json!({"rules": [{"verbs": ["get"]}]}), &live), ["rules"]);
    }

    #[test]
    fn member_that_was_added_to_a_map_of_one_field_is_drift() {
        let (desired, theirs) = (json!({"spec": {"selector": {"a": "1"}}}), json!({"f:spec": {"f:selector": {}}}));
        let live =
            |selector: Value, theirs| live(json!({"spec": {"selector": selector}}), json!({"f:metadata": {}}), theirs);
        assert_eq!(paths(&desired, &live(json!({"a": "1", "b": "2"}), theirs.clone())), ["spec.selector"]);
        assert!(paths(&desired, &live(json!({"a": "1"}), theirs)).is_empty());
        assert!(paths(&desired, &live(json!({"a": "1", "b": "2"}), json!({"f:metadata": {}}))).is_empty());
    }

    #[test]
    fn what_was_found_can_be_left_out() {
        let element = r#"k:{"name":"c"}"#;
        let mut desired = json!({"spec": {"containers": [{"name": "c", "image": "a", "args": ["b"]}]}});
        let live = live(
            json!({"spec": {"containers": [{"name": "c", "image": "x", "args": ["b"]}]}}),
            json!({"f:spec": {"f:containers": {element: {"f:name": {}, "f:args": {}}}}}),
            json!({"f:spec": {"f:containers": {element: {"f:image": {}}}}}),
        );
        let found = find(&desired, &live, "me");
        leave(&mut desired, &found);
        assert_eq!(desired, json!({"spec": {"containers": [{"name": "c", "args": ["b"]}]}}));
    }

    #[test]
    fn many_fields_are_counted() {
        let by = Some(Writer { manager: "m".into(), operation: "Update".into(), time: None });
        let change = |n: usize| Change { path: format!("f{n}"), by: by.clone() };
        let said = Drifted::Changed((0..10).map(change).collect()).to_string();
        assert_eq!(said, "m (Update) changed f0, f1, f2, f3, f4, f5, f6, f7 and 2 more");
    }
}
