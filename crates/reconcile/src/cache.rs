//! What watches have told us: objects by name, with our own writes laid over them. Pure; `watch` feeds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::Value;

use crate::controller::Selection;
use crate::object::{self, Kind, ObjectRef};
use crate::queue::PassId;
use crate::stored::{Keeping, Samples, Stored};

type Name = (Option<String>, String);
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
}

/// What listeners know of an object that a write of ours covers, and whose write that was.
#[derive(Debug)]
struct Covered {
    told: Option<Arc<Value>>,
    by: Option<PassId>,
    /// Digest of the object as the write's answer told it.
    answer: u64,
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
    /// What listeners know of objects that our writes cover, until the event of the write tells them.
    covered: BTreeMap<Name, Covered>,
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
        let state = State {
            sync: Sync::Pending,
            objects: Objects::new(),
            relist: None,
            noted: Vec::new(),
            covered: BTreeMap::new(),
            seen: 0,
        };
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
        Held { stored: self.keeping.store(&name.1, object), version: version(object) }
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
        for (name, object) in fresh {
            let known = old.remove(&name);
            let kept = match &known {
                Some(known) if is_older(object.version, known.version) => known.clone(),
                _ => object,
            };
            let before = match state.covered.remove(&name) {
                Some(covered) => covered.told.map(Stored::Open),
                None => known.map(|known| known.stored),
            };
            let same = |before: &Stored| object::text(&before.open(), RV) == object::text(&kept.stored.open(), RV);
            if !before.as_ref().is_some_and(same) {
                changed.push((before, Some(kept.stored.clone())));
            }
            state.objects.insert(name, kept);
        }
        for name in std::mem::take(&mut state.noted) {
            if let Some(ours) = old.remove(&name) {
                state.objects.insert(name, ours);
            }
        }
        changed.extend(old.into_values().map(|gone| (Some(gone.stored), None)));
        changed
    }

    /// A watch event: added or modified. With it comes the pass of ours that wrote the object as it is now, if one did.
    pub(crate) fn apply(&self, object: Value) -> (Changed, Option<PassId>) {
        let mut state = self.state();
        state.see(&object);
        let name = name_of(&object);
        let known = state.objects.get(&name).map(|held| (held.version, held.stored.clone()));
        let at = version(&object);
        let late = known.as_ref().is_some_and(|(version, _)| is_older(at, *version));
        if let Some(covered) = state.covered.remove(&name) {
            let noted = known.as_ref().is_some_and(|(version, _)| version.is_some() && *version == at);
            if noted {
                let after = Arc::new(object);
                // Another controller may have left out other things from the answer than this watch does.
                if object::digest(&*after) != covered.answer {
                    let held = self.hold(&name, &after);
                    state.objects.insert(name, held);
                }
                return ((covered.told, Some(after)), covered.by);
            }
            if let Some((_, known)) = known.as_ref().filter(|_| late) {
                let after = known.open();
                let Covered { told, by, answer } = covered;
                // The event of our own write has yet to come.
                state.covered.insert(name, Covered { told: Some(Arc::clone(&after)), by, answer });
                return ((told, Some(after)), by);
            }
            let after = Arc::new(object);
            let held = self.hold(&name, &after);
            state.objects.insert(name, held);
            return ((covered.told, Some(after)), None);
        }
        let known = known.map(|(_, known)| known.open());
        let after = match &known {
            Some(known) if late => return ((Some(Arc::clone(known)), Some(Arc::clone(known))), None),
            _ => Arc::new(object),
        };
        let held = self.hold(&name, &after);
        state.objects.insert(name, held);
        ((known, Some(after)), None)
    }

    /// A watch event: deleted. An object made anew under the same name by our own later write stays.
    pub(crate) fn delete(&self, object: Value) -> Changed {
        let mut state = self.state();
        state.see(&object);
        let name = name_of(&object);
        let late = state.objects.get(&name).is_some_and(|held| is_older(version(&object), held.version));
        match state.objects.get(&name).map(|held| held.stored.open()) {
            Some(known) if late && object::uid(&known) != object::uid(&object) => (Some(Arc::new(object)), Some(known)),
            known => {
                state.objects.remove(&name);
                let before = state.covered.remove(&name).map_or(known, |covered| covered.told);
                (before.or_else(|| Some(Arc::new(object))), None)
            }
        }
    }

    /// Lays a write's response over the cache, so that the next pass does not repeat the write before its event comes. `by`:
    /// the pass that wrote it.
    fn note_written(&self, name: &Name, object: &Arc<Value>, by: Option<PassId>) {
        let mut state = self.state();
        let state = &mut *state;
        let known = state.objects.get(name);
        // Only what the cache already knows, or selects, is laid in.
        let covers = known.is_some() || self.would_hold(name, |key| object::label(object, key));
        // The watch was faster than the answer: whatever happened to the object since then is known, its deletion included.
        let at = version(object);
        let stale = at.is_some_and(|at| at <= state.seen);
        if covers && !stale && known.is_none_or(|known| is_older(known.version, at)) {
            let told = match state.covered.remove(name) {
                Some(covered) => covered.told,
                None => known.map(|known| known.stored.open()),
            };
            let held = self.hold(name, object);
            state.objects.insert(name.clone(), held);
            state.covered.insert(name.clone(), Covered { told, by, answer: object::digest(&**object) });
            if state.relist.is_some() {
                state.noted.push(name.clone());
            }
        }
    }

    /// Forgets an object that the API server said is gone.
    fn note_deleted(&self, name: &Name, uid: &str) {
        let mut state = self.state();
        if state.objects.get(name).is_some_and(|known| object::uid(&known.stored.open()) == uid) {
            state.objects.remove(name);
        }
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

/// All caches of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Caches(RwLock<Vec<Arc<Cache>>>);

/// What the caches know about an object.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// This is it.
    Present(Arc<Value>),
    /// It does not exist.
    Absent,
    /// Its kind is not served.
    NotServed,
    /// No cache covers it: ask the API server.
    Unknown,
}

impl Caches {
    pub(crate) fn add(&self, cache: Arc<Cache>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(cache);
    }

    fn of_kind(&self, kind: &Kind) -> Vec<Arc<Cache>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|c| c.selection.kind == *kind).cloned().collect()
    }

    pub(crate) fn get(&self, target: &ObjectRef) -> Known {
        let name = (target.namespace.clone(), target.name.clone());
        let mut known = Known::Unknown;
        for cache in self.of_kind(&target.kind) {
            let state = cache.state();
            match state.sync {
                Sync::Synced => {
                    if let Some(object) = state.objects.get(&name) {
                        return Known::Present(object.stored.open());
                    }
                    if cache.covers(&name) {
                        known = Known::Absent;
                    }
                }
                Sync::Missing if known == Known::Unknown => known = Known::NotServed,
                Sync::Missing | Sync::Pending => {}
            }
        }
        known
    }

    /// `None` when no cache holds all of them.
    pub(crate) fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &[(&str, &str)],
    ) -> Option<Vec<Arc<Value>>> {
        self.select(kind, namespace, labels, |o| {
            labels.iter().all(|(key, value)| object::label(o, key) == Some(*value))
        })
    }

    /// What `wanted` chooses, which may be no more than what has these labels. `None` when no cache holds all of them.
    pub(crate) fn select(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &[(&str, &str)],
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Vec<Arc<Value>>> {
        self.of_kind(kind).iter().find(|c| c.sync() == Sync::Synced && c.covers_list(namespace, labels)).map(|cache| {
            let state = cache.state();
            let start = (namespace.map(str::to_owned), String::new());
            let here = state.objects.range(start..);
            let here = here.take_while(|((ns, _), _)| namespace.is_none() || ns.as_deref() == namespace);
            here.map(|(_, object)| object.stored.open()).filter(|o| wanted(o)).collect()
        })
    }

    /// Whether some cache would have the object, were it there with these labels. When it has not, the object is new, or
    /// somebody else's, or lost its labels.
    pub(crate) fn would_hold<'a>(&self, target: &ObjectRef, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let name = (target.namespace.clone(), target.name.clone());
        self.of_kind(&target.kind).iter().any(|cache| cache.sync() == Sync::Synced && cache.would_hold(&name, &label))
    }

    /// Whether some cache found the kind not served.
    pub(crate) fn is_missing(&self, kind: &Kind) -> bool {
        self.of_kind(kind).iter().any(|c| c.sync() == Sync::Missing)
    }

    pub(crate) fn note_written(&self, target: &ObjectRef, object: &Arc<Value>, by: Option<PassId>) {
        let name = (target.namespace.clone(), target.name.clone());
        self.of_kind(&target.kind).iter().for_each(|cache| cache.note_written(&name, object, by));
    }

    pub(crate) fn note_deleted(&self, target: &ObjectRef, uid: &str) {
        let name = (target.namespace.clone(), target.name.clone());
        self.of_kind(&target.kind).iter().for_each(|cache| cache.note_deleted(&name, uid));
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

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    fn cache(labels: &str, fields: &str) -> Cache {
        let kind = Kind::of::<ConfigMap>();
        Cache::new(Selection { kind, namespace: None, labels: labels.into(), fields: fields.into() })
    }

    fn object(name: &str, uid: &str, version: u64) -> Value {
        json!({"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": version.to_string()}})
    }

    fn synced(cache: &Cache, objects: Vec<Value>) -> Vec<Changed> {
        cache.begin_list();
        objects.into_iter().for_each(|o| cache.list_item(o));
        cache.finish_list().collect()
    }

    #[test]
    fn relist_reports_each_deletion_once() {
        let cache = cache("", "");
        synced(&cache, vec![object("a", "1", 1), object("b", "2", 2)]);
        let first = synced(&cache, vec![object("b", "2", 2)]);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].0.as_ref().map(|o| object::uid(o).to_owned()), Some("1".into()));
        assert!(first[0].1.is_none());
        assert!(synced(&cache, vec![object("b", "2", 2)]).is_empty());
    }

    #[test]
    fn interrupted_list_changes_nothing() {
        let cache = cache("", "");
        synced(&cache, vec![object("a", "1", 1)]);
        cache.begin_list();
        cache.begin_list();
        cache.list_item(object("a", "1", 1));
        assert!(cache.finish_list().next().is_none());
    }

    #[test]
    fn own_write_is_not_undone_by_an_older_event() {
        let cache = cache("", "");
        synced(&cache, vec![object("a", "1", 1)]);
        cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(object("a", "1", 5)), None);
        let ((_, after), _) = cache.apply(object("a", "1", 3));
        assert_eq!(after.map(|o| object::text(&o, RV).to_owned()), Some("5".into()));
    }

    #[test]
    fn answer_that_comes_after_the_event_of_the_deletion_brings_nothing_back() {
        let cache = cache("", "");
        synced(&cache, vec![]);
        cache.apply(object("a", "1", 4));
        cache.delete(object("a", "1", 6));
        cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(object("a", "1", 4)), None);
        assert!(cache.state().objects.is_empty());
    }

    #[test]
    fn event_of_an_own_write_tells_what_it_changed() {
        let cache = cache("", "");
        synced(&cache, vec![object("a", "1", 1)]);
        cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(object("a", "1", 5)), None);
        let ((before, _), _) = cache.apply(object("a", "1", 5));
        assert_eq!(before.map(|o| object::text(&o, RV).to_owned()), Some("1".into()));
    }

    #[test]
    fn event_of_an_own_write_says_whose_it_is_and_of_a_later_one_it_is_nobodys() {
        let cache = cache("", "");
        synced(&cache, vec![object("a", "1", 1)]);
        let pass = |nth| Some(PassId { worker: 0, nth });
        for (version, nth) in [(4, 1), (6, 2)] {
            cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(object("a", "1", version)), pass(nth));
        }
        let events: Vec<_> = [3, 4, 6, 7].map(|version| cache.apply(object("a", "1", version))).into();
        let told: Vec<_> = events
            .iter()
            .map(|((before, after), by)| {
                let version = |of: &Option<Arc<Value>>| object::text(of.as_ref().unwrap(), RV).to_owned();
                (version(before), version(after), *by)
            })
            .collect();
        let expected = [("1", "6", pass(2)), ("6", "6", pass(2)), ("6", "6", pass(2)), ("6", "7", None)];
        assert_eq!(told, expected.map(|(before, after, by)| (before.to_owned(), after.to_owned(), by)));
    }

    #[test]
    fn object_made_while_a_list_was_under_way_stays() {
        let cache = cache("", "");
        cache.begin_list();
        cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(object("a", "1", 4)), None);
        assert!(cache.finish_list().next().is_none());
        assert_eq!(cache.state().objects.len(), 1);
    }

    #[test]
    fn late_deletion_of_a_predecessor_keeps_the_successor() {
        let cache = cache("", "");
        synced(&cache, vec![object("a", "1", 1)]);
        cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(object("a", "2", 9)), None);
        let (_, after) = cache.delete(object("a", "1", 8));
        assert_eq!(after.map(|o| object::uid(&o).to_owned()), Some("2".into()));
    }

    #[test]
    fn what_we_made_is_laid_over_the_caches_that_select_it() {
        let mut made = object("a", "1", 4);
        made["metadata"]["labels"] = json!({"app": "x"});
        for (labels, held) in [("app=x", 1), ("app=y", 0)] {
            let cache = cache(labels, "");
            synced(&cache, vec![]);
            cache.note_written(&(Some("n".into()), "a".into()), &Arc::new(made.clone()), None);
            assert_eq!(cache.state().objects.len(), held, "{labels}");
        }
    }

    #[test]
    fn absence_from_a_label_selected_cache_proves_nothing() {
        let caches = Caches::default();
        let selected = Arc::new(cache("app=x", ""));
        synced(&selected, vec![]);
        caches.add(Arc::clone(&selected));
        let target = ObjectRef::of::<ConfigMap>(Some("n"), "a");
        assert_eq!(caches.get(&target), Known::Unknown);
        let by_name = Arc::new(cache("", "metadata.name=a"));
        synced(&by_name, vec![]);
        caches.add(by_name);
        assert_eq!(caches.get(&target), Known::Absent);
    }

    #[test]
    fn only_a_synced_cache_that_selects_what_is_wanted_would_hold_it() {
        let target = ObjectRef::of::<ConfigMap>(Some("n"), "a");
        let body = json!({"metadata": {"labels": {"app": "x"}}});
        let holds = |labels: &str, fields: &str, is_synced: bool| {
            let caches = Caches::default();
            let selected = Arc::new(cache(labels, fields));
            if is_synced {
                synced(&selected, vec![]);
            }
            caches.add(selected);
            caches.would_hold(&target, |key| object::label(&body, key))
        };
        assert!(holds("app=x", "", true) && holds("app", "metadata.name=a", true) && holds("", "", true));
        assert!(!holds("app=x", "", false));
        for (labels, fields) in
            [("app=y", ""), ("tier", ""), ("app in (x)", ""), ("!tier", ""), ("app", "metadata.name=b")]
        {
            assert!(!holds(labels, fields, true), "{labels} {fields}");
        }
    }

    #[test]
    fn missing_kind_is_not_a_deletion() {
        let caches = Caches::default();
        let watched = Arc::new(cache("", ""));
        synced(&watched, vec![object("a", "1", 1)]);
        watched.mark_missing();
        caches.add(Arc::clone(&watched));
        assert_eq!(caches.get(&ObjectRef::of::<ConfigMap>(Some("n"), "a")), Known::NotServed);
        assert!(synced(&watched, vec![object("a", "1", 1)]).is_empty());
    }

    #[test]
    fn list_is_answered_by_a_cache_whose_selector_is_implied() {
        let cache = cache("app=x,tier", "");
        assert!(cache.covers_list(Some("n"), &[("app", "x"), ("tier", "db")]));
        assert!(!cache.covers_list(Some("n"), &[("app", "x")]));
        assert!(!cache.covers_list(Some("n"), &[("app", "y"), ("tier", "db")]));
    }
}
