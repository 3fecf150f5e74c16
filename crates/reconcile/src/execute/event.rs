//! Events as objects, which of them were said already, and how often. Pure but for that memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::context::{EventApi, Identity};
use crate::drift::Drift;
use crate::object::{Kind, ObjectRef, digest};
use crate::plan::{Event, Severity, When};

const EVENTS_V1: Kind = Kind::custom("events.k8s.io", "v1", "Event", "events", true);
const CORE_V1: Kind = Kind::custom("", "v1", "Event", "events", true);

/// The kind of event that `identity` writes.
pub(crate) fn kind(identity: &Identity) -> Kind {
    match identity.events {
        EventApi::EventsV1 => EVENTS_V1,
        EventApi::CoreV1 => CORE_V1,
    }
}

/// `note` may not be longer (validation of events.k8s.io/v1).
const NOTE_LIMIT: usize = 1024;

/// What a key's pass before said and wanted. One per key, in memory; of what was wanted only digests.
#[derive(Clone, Debug, Default)]
pub struct Said {
    events: HashSet<(String, String, String)>,
    drifts: HashSet<String>,
    wanted: HashMap<u64, u64>,
    message: Option<u64>,
    taken: HashSet<u64>,
    /// Whether the report was held back.
    held_back: bool,
}

impl Said {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.drifts.is_empty()
            && self.wanted.is_empty()
            && self.message.is_none()
            && self.taken.is_empty()
            && !self.held_back
    }

    /// Whether this pass may hold its report back: not twice in a row.
    pub(crate) fn may_hold_back(&self) -> bool {
        !self.held_back
    }

    /// Whether this pass held its report back.
    pub(crate) fn held_back(&mut self, held: bool) {
        self.held_back = held;
    }

    /// Whether the pass before ended with another message: a key that waits for long is not logged at every look.
    pub(crate) fn is_news(&mut self, message: Option<&str>) -> bool {
        let message = message.map(|message| digest(&message));
        std::mem::replace(&mut self.message, message) != message
    }

    /// Whether the object was wanted in the same way by the last pass that got to it; `None` when this process never did.
    pub(crate) fn wanted_so(&self, target: &ObjectRef, body: &Value) -> Option<bool> {
        self.wanted.get(&digest(target)).map(|before| *before == digest(body))
    }

    /// The object is as wanted now.
    pub(crate) fn is_wanted_so(&mut self, target: &ObjectRef, body: &Value) {
        self.taken.remove(&digest(target));
        self.wanted.insert(digest(target), digest(body));
    }

    /// Something of that name exists that our caches do not hold.
    pub(crate) fn takes(&mut self, target: &ObjectRef) {
        self.taken.insert(digest(target));
    }

    /// Whether something of that name was met that our caches did not hold, and was not made ours since.
    pub(crate) fn is_taken(&self, target: &ObjectRef) -> bool {
        self.taken.contains(&digest(target))
    }

    /// Forgets what no longer is in the plan.
    pub(crate) fn retain<'a>(&mut self, targets: impl Iterator<Item = &'a ObjectRef>) {
        let kept: HashSet<u64> = targets.map(digest).collect();
        self.wanted.retain(|target, _| kept.contains(target));
        self.taken.retain(|target| kept.contains(target));
    }

    /// Those that the pass before did not tell of.
    pub(crate) fn news(&mut self, drifts: &[Drift]) -> usize {
        let before = std::mem::take(&mut self.drifts);
        self.drifts = drifts.iter().map(ToString::to_string).collect();
        self.drifts.difference(&before).count()
    }

    /// The events to write now: those for a change if the pass changed something, and those not said by the pass before.
    pub(crate) fn choose<'a>(&mut self, planned: &'a [Event], changed: bool) -> Vec<&'a Event> {
        let id = |event: &Event| (event.regarding.to_string(), event.reason.clone(), event.note.clone());
        let before = std::mem::take(&mut self.events);
        self.events = planned.iter().map(id).collect();
        let wanted = |event: &&Event| match event.when {
            When::Changed => changed,
            When::Planned => !before.contains(&id(event)),
        };
        planned.iter().filter(wanted).collect()
    }
}

/// Events that may be counted on; client-go's bound for those of the core group.
const COUNTED: usize = 4096;

/// A series of events.k8s.io/v1 ends when nothing was added to it for longer than this; client-go's `finishTime`.
const SERIES_ENDS: SignedDuration = SignedDuration::from_mins(6);

/// The Events that this process wrote last: one that repeats is counted up in its object, as client-go does it, instead of being
/// written again. Unlike client-go's series, each occurrence is written at once, so no object waits to be refreshed or finished.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    events: HashMap<u64, Written>,
    /// Oldest first.
    order: VecDeque<u64>,
}

#[derive(Clone, Debug)]
struct Written {
    name: Value,
    first: Value,
    last: Timestamp,
    count: u64,
}

impl Told {
    /// Makes `body`, an event of `now`, the next occurrence of what was written before: its name, first time and count. Returns the
    /// patch of the object that is there; `None`: it is to be created.
    pub(crate) fn repeat(&self, body: &mut Value, now: Timestamp) -> Option<Value> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counted.events.get(&Self::key(body)).cloned()?;
        let count = before.count.saturating_add(1);
        if is_core(body) {
            body["metadata"]["name"] = before.name;
            body["firstTimestamp"] = before.first;
            body["count"] = count.into();
            return Some(json!({"count": count, "lastTimestamp": body["lastTimestamp"]}));
        }
        if now.duration_since(before.last) > SERIES_ENDS {
            return None;
        }
        body["metadata"]["name"] = before.name;
        let observed = std::mem::replace(&mut body["eventTime"], before.first);
        body["series"] = json!({"count": count, "lastObservedTime": observed});
        // Nothing else may change (validation of events.k8s.io/v1).
        Some(json!({"series": body["series"]}))
    }

    /// It was written, as what happened at `now`.
    pub(crate) fn wrote(&self, body: &Value, now: Timestamp) {
        let (first, count) = match is_core(body) {
            true => (&body["firstTimestamp"], &body["count"]),
            false => (&body["eventTime"], &body["series"]["count"]),
        };
        // An event without a series is its first occurrence.
        let (name, first, count) = (body["metadata"]["name"].clone(), first.clone(), count.as_u64().unwrap_or(1));
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Self::key(body);
        if counted.events.insert(key, Written { name, first, last: now, count }).is_none() {
            counted.order.push_back(key);
        }
        while counted.order.len() > COUNTED {
            let Some(oldest) = counted.order.pop_front() else { break };
            counted.events.remove(&oldest);
        }
    }

    /// What makes two events one: not the state that the object was in. client-go leaves the text of a series out; here it counts,
    /// for a series cannot change it and would hide what is new.
    fn key(body: &Value) -> u64 {
        let (regarding, said): (_, &[&str]) = match is_core(body) {
            true => ("involvedObject", &["source", "type", "reason", "message", "reportingComponent"]),
            false => ("regarding", &["type", "action", "reason", "note", "reportingController", "reportingInstance"]),
        };
        let about = ["kind", "namespace", "name", "uid", "apiVersion"].map(|part| &body[regarding][part]);
        let said: Vec<_> = said.iter().map(|part| &body[*part]).collect();
        digest(&(about, said))
    }
}

/// Whether an event is one of the core group.
fn is_core(body: &Value) -> bool {
    body["apiVersion"] == "v1"
}

/// The object to create. It lives where the object it is about lives; events about cluster-scoped objects in `default`.
pub(crate) fn object(event: &Event, identity: &Identity, now: Timestamp, unit: f64) -> Value {
    let namespace = event.regarding.namespace.as_deref().unwrap_or("default");
    let mut end = event.note.len().min(NOTE_LIMIT);
    while !event.note.is_char_boundary(end) {
        end -= 1;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number in 0..1 scaled to 32 bits")]
    let suffix = (unit * f64::from(u32::MAX)) as u32;
    // Names are at most 253 bytes; object names are ASCII.
    let name: String = event.regarding.name.chars().take(220).collect();
    let mut regarding = json!({
        "apiVersion": event.regarding.kind.api_version(), "kind": event.regarding.kind.kind, "name": event.regarding.name,
    });
    if let Some(namespace) = &event.regarding.namespace {
        regarding["namespace"] = namespace.as_str().into();
    }
    if let Some(uid) = &event.uid {
        regarding["uid"] = uid.as_str().into();
    }
    if let Some(version) = &event.resource_version {
        regarding["resourceVersion"] = version.as_str().into();
    }
    let severity = match event.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    let metadata = json!({"name": format!("{name}.{:x}{suffix:08x}", now.as_microsecond()), "namespace": namespace});
    if identity.events == EventApi::CoreV1 {
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        return json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": metadata,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": identity.reporter},
            "reportingComponent": identity.reporter,
            "reportingInstance": "",
            "type": severity,
            "reason": event.reason,
            "message": &event.note[..end],
            "involvedObject": regarding,
        });
    }
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": metadata,
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        "reportingController": identity.reporter,
        "reportingInstance": identity.instance,
        "type": severity,
        "action": event.action,
        "reason": event.reason,
        "note": &event.note[..end],
        "regarding": regarding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectRef;
    use k8s_openapi::api::core::v1::{Namespace, Secret};

    #[test]
    fn change_event_needs_a_change_and_a_warning_is_said_once() {
        let about = ObjectRef::of::<Secret>(Some("n"), "a");
        let planned = [Event::normal(about.clone(), "Applied", "done"), Event::warning(about, "Bad", "fix it")];
        let mut said = Said::default();
        assert_eq!(said.choose(&planned, false).len(), 1);
        assert!(said.choose(&planned, false).is_empty());
        assert_eq!(said.choose(&planned, true), [&planned[0]]);
        said.choose(&[], false);
        assert_eq!(said.choose(&planned, false), [&planned[1]], "it came back");
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// A warning about an object, at a second.
    fn warned(identity: &Identity, name: &str, second: i64) -> Value {
        let mut event = Event::warning(ObjectRef::of::<Secret>(Some("n"), name), "Bad", "fix it");
        event.resource_version = Some(second.to_string());
        object(&event, identity, at(second), 0.5)
    }

    #[test]
    fn repeated_event_of_the_core_group_counts_up_the_first() {
        let (told, identity) = (Told::default(), Identity::controller_manager("c"));
        let warned = |name, second| warned(&identity, name, second);
        let mut first = warned("a", 0);
        assert_eq!(told.repeat(&mut first, at(0)), None);
        told.wrote(&first, at(0));
        let mut second = warned("a", 60);
        let patch = told.repeat(&mut second, at(60));
        assert_eq!(patch, Some(json!({"count": 2, "lastTimestamp": "1970-01-01T00:01:00Z"})));
        assert_eq!((&second["metadata"], &second["firstTimestamp"]), (&first["metadata"], &first["firstTimestamp"]));
        told.wrote(&second, at(60));
        let third = told.repeat(&mut warned("a", 90_000), at(90_000)).map(|patch| patch["count"].clone());
        assert_eq!(third, Some(json!(3)), "however late");
        assert_eq!(told.repeat(&mut warned("b", 90), at(90)), None, "about another object");
    }

    fn paddock() -> Identity {
        Identity::new("p", "p.dev", "pod-0")
    }

    /// The patches of a warning that is told at these seconds, each written; `None` where it is an object of its own.
    fn patches(seconds: &[i64]) -> Vec<Option<Value>> {
        let told = Told::default();
        let tell = |second: &i64| {
            let mut body = warned(&paddock(), "a", *second);
            let patch = told.repeat(&mut body, at(*second));
            told.wrote(&body, at(*second));
            patch
        };
        seconds.iter().map(tell).collect()
    }

    #[test]
    fn repeated_event_has_a_series_and_nothing_else_changes() {
        let series = |count: u32, time: &str| Some(json!({"series": {"count": count, "lastObservedTime": time}}));
        let expected = [None, series(2, "1970-01-01T00:06:00.000000Z"), series(3, "1970-01-01T00:12:00.000000Z")];
        assert_eq!(patches(&[0, 360, 720]), expected, "silent for six minutes, not for longer");
    }

    #[test]
    fn series_is_over_after_more_than_six_minutes_of_silence() {
        let told: Vec<_> = patches(&[0, 60, 421, 422]);
        let counts: Vec<_> =
            told.iter().map(|patch| patch.as_ref().map(|patch| patch["series"]["count"].clone())).collect();
        assert_eq!(counts, [None, Some(json!(2)), None, Some(json!(2))]);
    }

    #[test]
    fn new_series_counts_up_its_own_first_object() {
        let told = Told::default();
        told.wrote(&warned(&paddock(), "a", 0), at(0));
        let mut second = warned(&paddock(), "a", 1000);
        let apart = second.clone();
        assert_eq!(told.repeat(&mut second, at(1000)), None);
        assert_eq!(second, apart, "as it was");
        told.wrote(&second, at(1000));
        let mut third = warned(&paddock(), "a", 1001);
        told.repeat(&mut third, at(1001));
        assert_eq!((&third["metadata"], &third["eventTime"]), (&apart["metadata"], &apart["eventTime"]));
    }

    #[test]
    fn object_of_a_series_that_is_gone_can_be_made_anew_with_its_count() {
        let told = Told::default();
        let mut expected = warned(&paddock(), "a", 0);
        told.wrote(&expected, at(0));
        let mut again = warned(&paddock(), "a", 1);
        told.repeat(&mut again, at(1));
        expected["series"] = json!({"count": 2, "lastObservedTime": "1970-01-01T00:00:01.000000Z"});
        expected["regarding"]["resourceVersion"] = "1".into();
        assert_eq!(again, expected);
        told.wrote(&again, at(1));
        let third = told.repeat(&mut warned(&paddock(), "a", 2), at(2));
        assert_eq!(third.map(|patch| patch["series"]["count"].clone()), Some(json!(3)));
    }

    #[test]
    fn event_that_differs_in_anything_but_state_and_time_has_an_object_of_its_own() {
        let told = Told::default();
        let first = warned(&paddock(), "a", 0);
        told.wrote(&first, at(0));
        let others = [
            "/note",
            "/reason",
            "/type",
            "/action",
            "/reportingController",
            "/reportingInstance",
            "/regarding/kind",
            "/regarding/namespace",
            "/regarding/name",
            "/regarding/apiVersion",
        ];
        for field in others {
            let mut other = first.clone();
            *other.pointer_mut(field).expect("a field") = "other".into();
            assert_eq!(told.repeat(&mut other, at(1)), None, "{field}");
        }
        let mut other = first;
        other["regarding"]["uid"] = "other".into();
        assert_eq!(told.repeat(&mut other, at(1)), None, "uid");
        assert!(told.repeat(&mut warned(&paddock(), "a", 1), at(1)).is_some(), "another version of the same");
    }

    #[test]
    fn only_the_last_events_are_counted_on() {
        for identity in [Identity::controller_manager("c"), paddock()] {
            let told = Told::default();
            for name in 0..=COUNTED {
                told.wrote(&warned(&identity, &name.to_string(), 0), at(0));
            }
            assert_eq!(told.repeat(&mut warned(&identity, "0", 1), at(1)), None);
            assert!(told.repeat(&mut warned(&identity, "1", 1), at(1)).is_some());
        }
    }

    #[test]
    fn message_is_news_until_it_is_said_again() {
        let mut said = Said::default();
        let news = [Some("no node"), Some("no node"), None, None, Some("no node")].map(|message| said.is_news(message));
        assert_eq!(news, [true, false, true, false, true]);
    }

    #[test]
    fn event_lives_with_its_subject_and_long_notes_are_cut_at_a_character() {
        let identity = Identity::new("p", "p.dev", "pod-0");
        let note = "ä".repeat(600);
        let of = |about| object(&Event::normal(about, "R", &note), &identity, Timestamp::UNIX_EPOCH, 0.5);
        assert_eq!(of(ObjectRef::of::<Namespace>(None, "n"))["metadata"]["namespace"], "default");
        let event = of(ObjectRef::of::<Secret>(Some("n"), "a"));
        assert_eq!(event["metadata"]["namespace"], "n");
        assert_eq!(event["note"].as_str().map(str::len), Some(1024));
        assert_eq!(event["eventTime"], "1970-01-01T00:00:00.000000Z");
    }
}
