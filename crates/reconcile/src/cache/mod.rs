//! What watches have told us: objects by name, with our own writes laid over them. Pure; `watch` feeds it.
//!
//! A cache always holds what its listeners were told last: an answer to a write of ours is told as its event would be, and
//! the event then tells nothing new. Whatever else the event brings is told.

mod all;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

pub(crate) use all::{Caches, Known};

use crate::controller::Selection;
use crate::object;
use crate::stored::{Keeping, Samples, Stored};

pub(crate) type Name = (Option<String>, String);
type Objects = BTreeMap<Name, Held>;

/// Before and after of one object.
pub(crate) type Changed = (Option<Arc<Value>>, Option<Arc<Value>>);

/// Whether a cache can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The first list is not complete.
    Pending,
    /// The kind is not served.
    Missing,
    /// A list was complete once; it may lag, as every cache.
    Synced,
}

/// An object and its version, which is looked at more often than the object.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    stored: Stored,
    version: Option<u64>,
    /// Digest of the answer to our own write that this is, until its event comes.
    answer: Option<u64>,
}

impl Held {
    /// Whether this is what an event or a list tells: the same version of it, and no answer that may leave out other things.
    fn is(&self, version: Option<u64>, digest: impl FnOnce() -> u64) -> bool {
        version.is_some() && self.version == version && self.answer.is_none_or(|answer| answer == digest())
    }
}

/// One watch's objects.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) selection: Selection,
    keeping: Keeping,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sync: Sync,
    objects: Objects,
    relist: Option<Objects>,
    /// Written by us while a list was under way, which may be too old to have them.
    noted: Vec<Name>,
    /// The newest version that a watch event told of: an answer of that age or older tells nothing new.
    seen: u64,
}

impl State {
    fn see(&mut self, object: &Value) {
        self.seen = self.seen.max(version(object).unwrap_or(0));
    }
}

impl Cache {
    pub(crate) fn new(selection: Selection) -> Self {
        let state = State { sync: Sync::Pending, objects: Objects::new(), relist: None, noted: Vec::new(), seen: 0 };
        // What is selected by labels is ours, many, and read by its name, as are Secrets; everything else is listed by many
        // passes.
        let keeping = match selection.labels.is_empty() && selection.kind.kind != "Secret" {
            true => Keeping::Open,
            false => Keeping::Packed(Samples::of(&selection.kind)),
        };
        Self { selection, keeping, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sync(&self) -> Sync {
        self.state().sync
    }

    /// The kind is not served. What was known stays known: a proxy's 404 must not look like a thousand deletions.
    pub(crate) fn mark_missing(&self) {
        self.state().sync = Sync::Missing;
    }

    /// A list begins. What is known stays visible until the list is complete.
    pub(crate) fn begin_list(&self) {
        let mut state = self.state();
        state.relist = Some(Objects::new());
        state.noted.clear();
    }

    fn hold(&self, name: &Name, object: &Arc<Value>) -> Held {
        Held { stored: self.keeping.store(&name.1, object), version: version(object), answer: None }
    }

    /// One object of the list.
    pub(crate) fn list_item(&self, object: Value) {
        if let Some(relist) = &mut self.state().relist {
            let name = name_of(&object);
            let held = self.hold(&name, &Arc::new(object));
            relist.insert(name, held);
        }
    }

    /// The list is complete. Returns what differs from what was known, deletions that happened meanwhile included: each
    /// once, because they leave the cache here.
    pub(crate) fn finish_list(&self) -> impl Iterator<Item = Changed> + use<> {
        let changed = self.take_list();
        // Opened one by one: a first list of thousands would otherwise be in memory twice.
        let open = |stored: Option<Stored>| stored.map(|stored| stored.open());
        changed.into_iter().map(move |(before, after)| (open(before), open(after)))
    }

    /// The same, still as it is kept.
    pub(crate) fn take_list(&self) -> Vec<(Option<Stored>, Option<Stored>)> {
        let mut state = self.state();
        let Some(fresh) = state.relist.take() else { return Vec::new() };
        state.sync = Sync::Synced;
        let mut old = std::mem::take(&mut state.objects);
        let mut changed = Vec::new();
        // The list is at least as new as what it has.
        let newest = fresh.values().filter_map(|held| held.version).max();
        for (name, object) in fresh {
            let known = old.remove(&name);
            let kept = match &known {
                Some(known) if is_older(object.version, known.version) => known.clone(),
                _ => object,
            };
            let same = |known: &Held| match kept.version {
                Some(_) => known.is(kept.version, || object::digest(&*kept.stored.open())),
                None => object::text(&known.stored.open(), RV) == object::text(&kept.stored.open(), RV),
            };
            if !known.as_ref().is_some_and(same) {
                changed.push((known.map(|known| known.stored), Some(kept.stored.clone())));
            }
            state.objects.insert(name, kept);
        }
        for name in std::mem::take(&mut state.noted) {
            if let Some(ours) = old.get(&name)
                && !is_older(ours.version, newest)
            {
                state.objects.extend(old.remove_entry(&name));
            }
        }
        changed.extend(old.into_values().map(|gone| (Some(gone.stored), None)));
        changed
    }

    /// A watch event: added or modified. `None` when listeners were told that already, or something newer.
    pub(crate) fn apply(&self, object: Value) -> Option<Changed> {
        let mut state = self.state();
        state.see(&object);
        let name = name_of(&object);
        let at = version(&object);
        let mut before = None;
        if let Some(known) = state.objects.get_mut(&name) {
            if is_older(at, known.version) {
                return None;
            }
            if known.is(at, || object::digest(&object)) {
                known.answer = None;
                return None;
            }
            before = Some(known.stored.open());
        }
        let after = Arc::new(object);
        let held = self.hold(&name, &after);
        state.objects.insert(name, held);
        Some((before, Some(after)))
    }

    /// A watch event: deleted. An object made anew under the same name by our own later write stays. `None` when listeners
    /// were told already.
    pub(crate) fn delete(&self, object: Value) -> Option<Changed> {
        let mut state = self.state();
        state.see(&object);
        let name = name_of(&object);
        let known = state.objects.get(&name)?;
        let open = known.stored.open();
        if is_older(version(&object), known.version) && object::uid(&open) != object::uid(&object) {
            return Some((Some(Arc::new(object)), Some(open)));
        }
        state.objects.remove(&name);
        Some((Some(open), None))
    }

    /// Lays a write's answer over the cache, so that the next pass does not repeat the write before its event comes. `None` when
    /// it is not for this cache, or older than what is known.
    pub(crate) fn note_written(&self, name: &Name, object: &Arc<Value>) -> Option<Changed> {
        let mut state = self.state();
        let known = state.objects.get(name);
        // Only what the cache already knows, or selects, is laid in.
        let covers = known.is_some() || self.would_hold(name, |key| object::label(object, key));
        // The watch was faster than the answer: whatever happened to the object since then is known, its deletion included.
        let at = version(object);
        let stale = at.is_some_and(|at| at <= state.seen);
        if !covers || stale || known.is_some_and(|known| !is_older(known.version, at)) {
            return None;
        }
        let before = known.map(|known| known.stored.open());
        let held = Held { answer: Some(object::digest(&**object)), ..self.hold(name, object) };
        state.objects.insert(name.clone(), held);
        if state.relist.is_some() {
            state.noted.push(name.clone());
        }
        Some((before, Some(Arc::clone(object))))
    }

    /// Forgets an object that the API server said is gone. `None` when it is not known.
    pub(crate) fn note_deleted(&self, name: &Name, uid: &str) -> Option<Changed> {
        let mut state = self.state();
        let open = state.objects.get(name)?.stored.open();
        if object::uid(&open) != uid {
            return None;
        }
        state.objects.remove(name);
        Some((Some(open), None))
    }

    /// Whether the absence of `name` from this cache means that it does not exist.
    fn covers(&self, (namespace, name): &Name) -> bool {
        let of_name = || self.selection.fields == format!("metadata.name={name}");
        self.selection.labels.is_empty()
            && (self.selection.namespace.is_none() || self.selection.namespace == *namespace)
            && (self.selection.fields.is_empty() || of_name())
    }

    /// Whether every object with these labels is in this cache.
    fn covers_list(&self, namespace: Option<&str>, labels: &[(&str, &str)]) -> bool {
        let value_of = |key: &str| labels.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        self.selection.fields.is_empty()
            && (self.selection.namespace.is_none() || self.selection.namespace.as_deref() == namespace)
            && self.selects_labels(value_of)
    }

    /// Whether an object of that name with these labels would be in this cache.
    fn would_hold<'a>(&self, (namespace, name): &Name, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let selection = &self.selection;
        (selection.namespace.is_none() || selection.namespace == *namespace)
            && (selection.fields.is_empty() || selection.fields == format!("metadata.name={name}"))
            && self.selects_labels(label)
    }

    /// Whether these labels are selected. Selectors other than `key` and `key=value` are not understood and select nothing.
    fn selects_labels<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        let implied = |term: &str| match term.split_once('=') {
            Some((key, value)) => value_of(key.trim()) == Some(value.trim_start_matches('=').trim()),
            None => value_of(term.trim()).is_some(),
        };
        self.selection.labels.is_empty() || self.selection.labels.split(',').all(implied)
    }
}

const RV: &str = "/metadata/resourceVersion";

/// `None` when it is not a number, as with some aggregated APIs.
fn version(object: &Value) -> Option<u64> {
    object::text(object, RV).parse().ok()
}

/// Whether `a` is an older state than `b`. Resource versions that are not numbers never are.
fn is_older(a: Option<u64>, b: Option<u64>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a < b)
}

fn name_of(object: &Value) -> Name {
    let namespace = object::text(object, "/metadata/namespace");
    let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    (namespace, object::text(object, "/metadata/name").to_owned())
}

/// Keeps only what the engine reads: of `managedFields` our manager's entries, and no last-applied copy.
///
/// Without a manager nothing of it is kept, and everything else stays: such an object may be sent back as it is.
pub(crate) fn slim(object: &mut Value, manager: Option<&str>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(manager) = manager else {
        metadata.remove("managedFields");
        return;
    };
    if let Some(Value::Array(entries)) = metadata.get_mut("managedFields") {
        entries.retain(|entry| entry["manager"] == manager);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
