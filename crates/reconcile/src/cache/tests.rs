use super::*;
use crate::object::{Kind, ObjectRef};
use crate::watch::Watch;
use k8s_openapi::api::core::v1::ConfigMap;
use proptest::prelude::*;
use serde_json::json;

fn selection(labels: &str, fields: &str) -> Selection {
    let (labels, fields) = (labels.into(), fields.into());
    Selection { kind: Kind::of::<ConfigMap>(), namespace: None, labels, fields, metadata_only: false }
}

fn cache(labels: &str, fields: &str) -> Cache {
    Cache::new(selection(labels, fields))
}

fn watch(labels: &str, fields: &str) -> Arc<Watch> {
    Arc::new(Watch::new(selection(labels, fields)))
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

fn named() -> Name {
    (Some("n".into()), "a".into())
}

fn note(cache: &Cache, object: Value) -> Option<Changed> {
    cache.note_written(&named(), &Arc::new(object))
}

/// The versions that listeners are told of.
fn told(changed: Option<Changed>) -> Option<(Option<u64>, Option<u64>)> {
    changed.map(|(before, after)| (before.and_then(|o| version(&o)), after.and_then(|o| version(&o))))
}

#[test]
fn own_write_is_not_undone_by_an_older_event() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    note(&cache, object("a", "1", 5));
    assert_eq!(told(cache.apply(object("a", "1", 3))), None);
    assert_eq!(cache.state().objects[&named()].version, Some(5));
}

#[test]
fn answer_that_comes_after_the_event_of_the_deletion_brings_nothing_back() {
    let cache = cache("", "");
    synced(&cache, vec![]);
    cache.apply(object("a", "1", 4));
    cache.delete(object("a", "1", 6));
    assert_eq!(told(note(&cache, object("a", "1", 4))), None);
    assert!(cache.state().objects.is_empty());
}

#[test]
fn own_write_is_told_once_by_its_answer() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    assert_eq!(told(note(&cache, object("a", "1", 5))), Some((Some(1), Some(5))));
    assert_eq!(told(cache.apply(object("a", "1", 5))), None);
    assert_eq!(told(cache.note_deleted(&named(), "1")), Some((Some(5), None)));
    assert_eq!(told(cache.delete(object("a", "1", 6))), None);
}

#[test]
fn own_write_whose_answer_was_lost_is_told_by_its_event() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    assert_eq!(told(cache.apply(object("a", "1", 5))), Some((Some(1), Some(5))));
    assert_eq!(told(note(&cache, object("a", "1", 5))), None, "it comes after all");
}

#[test]
fn write_of_others_after_an_own_one_is_told() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    note(&cache, object("a", "1", 5));
    assert_eq!(told(cache.apply(object("a", "1", 5))), None);
    assert_eq!(told(cache.apply(object("a", "1", 6))), Some((Some(5), Some(6))));
}

#[test]
fn write_of_others_between_two_own_ones_is_told_with_the_second() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    assert_eq!(told(note(&cache, object("a", "1", 4))), Some((Some(1), Some(4))));
    // Others write version 5, which the answer to the next write of ours has in it.
    assert_eq!(told(note(&cache, object("a", "1", 6))), Some((Some(4), Some(6))));
    let events = [4, 5, 6].map(|version| told(cache.apply(object("a", "1", version))));
    assert_eq!(events, [None; 3]);
}

#[test]
fn event_that_says_more_than_the_answer_is_told() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    note(&cache, object("a", "1", 5));
    let mut whole = object("a", "1", 5);
    whole["data"] = json!({"left": "out"});
    assert_eq!(told(cache.apply(whole.clone())), Some((Some(5), Some(5))));
    assert_eq!(told(cache.apply(whole)), None);
}

#[test]
fn list_that_comes_before_the_event_of_an_own_write_tells_nothing_of_it() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    note(&cache, object("a", "1", 5));
    assert!(synced(&cache, vec![object("a", "1", 5)]).is_empty());
    let newer = synced(&cache, vec![object("a", "1", 6)]);
    assert_eq!(told(newer.into_iter().next()), Some((Some(5), Some(6))));
}

#[test]
fn object_made_while_a_list_was_under_way_stays() {
    let cache = cache("", "");
    cache.begin_list();
    note(&cache, object("a", "1", 4));
    assert!(cache.finish_list().next().is_none());
    assert_eq!(cache.state().objects.len(), 1);
}

#[test]
fn object_made_while_a_newer_list_was_under_way_is_gone_when_that_lacks_it() {
    let cache = cache("", "");
    cache.begin_list();
    note(&cache, object("a", "1", 4));
    cache.list_item(object("b", "2", 6));
    let changed: Vec<_> = cache.finish_list().map(|changed| told(Some(changed)).unwrap()).collect();
    assert_eq!(changed, [(None, Some(6)), (Some(4), None)]);
}

#[test]
fn late_deletion_of_a_predecessor_keeps_the_successor() {
    let cache = cache("", "");
    synced(&cache, vec![object("a", "1", 1)]);
    note(&cache, object("a", "2", 9));
    let (_, after) = cache.delete(object("a", "1", 8)).unwrap();
    assert_eq!(after.map(|o| object::uid(&o).to_owned()), Some("2".into()));
}

#[test]
fn what_we_made_is_laid_over_the_caches_that_select_it() {
    let mut made = object("a", "1", 4);
    made["metadata"]["labels"] = json!({"app": "x"});
    for (labels, held) in [("app=x", 1), ("app=y", 0)] {
        let cache = cache(labels, "");
        synced(&cache, vec![]);
        note(&cache, made.clone());
        assert_eq!(cache.state().objects.len(), held, "{labels}");
    }
}

#[test]
fn absence_from_a_label_selected_cache_proves_nothing() {
    let caches = Caches::default();
    let selected = watch("app=x", "");
    synced(&selected.cache, vec![]);
    caches.add(Arc::clone(&selected));
    let target = ObjectRef::of::<ConfigMap>(Some("n"), "a");
    assert_eq!(caches.get(&target), Known::Unknown);
    let by_name = watch("", "metadata.name=a");
    synced(&by_name.cache, vec![]);
    caches.add(by_name);
    assert_eq!(caches.get(&target), Known::Absent);
}

#[test]
fn only_a_synced_cache_that_selects_what_is_wanted_would_hold_it() {
    let target = ObjectRef::of::<ConfigMap>(Some("n"), "a");
    let body = json!({"metadata": {"labels": {"app": "x"}}});
    let holds = |labels: &str, fields: &str, is_synced: bool| {
        let caches = Caches::default();
        let selected = watch(labels, fields);
        if is_synced {
            synced(&selected.cache, vec![]);
        }
        caches.add(selected);
        caches.would_hold(&target, |key| object::label(&body, key))
    };
    assert!(holds("app=x", "", true) && holds("app", "metadata.name=a", true) && holds("", "", true));
    assert!(!holds("app=x", "", false));
    for (labels, fields) in [("app=y", ""), ("tier", ""), ("app in (x)", ""), ("!tier", ""), ("app", "metadata.name=b")]
    {
        assert!(!holds(labels, fields, true), "{labels} {fields}");
    }
}

#[test]
fn missing_kind_is_not_a_deletion() {
    let caches = Caches::default();
    let watched = watch("", "");
    synced(&watched.cache, vec![object("a", "1", 1)]);
    watched.cache.mark_missing();
    caches.add(Arc::clone(&watched));
    assert_eq!(caches.get(&ObjectRef::of::<ConfigMap>(Some("n"), "a")), Known::NotServed);
    assert!(synced(&watched.cache, vec![object("a", "1", 1)]).is_empty());
}

#[test]
fn list_is_answered_by_a_cache_whose_selector_is_implied() {
    let cache = cache("app=x,tier", "");
    assert!(cache.covers_list(Some("n"), &[("app", "x"), ("tier", "db")]));
    assert!(!cache.covers_list(Some("n"), &[("app", "x")]));
    assert!(!cache.covers_list(Some("n"), &[("app", "y"), ("tier", "db")]));
}

/// What happens to one object, and what is heard of it.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// We write it; the answer comes, sooner or later, or never.
    Write { answered: bool },
    /// We delete it.
    Delete { answered: bool },
    /// Others write it.
    Others,
    /// Others delete it.
    OthersDelete,
    /// The next event comes.
    Event,
    /// The next answer comes.
    Answer,
    /// The watch breaks, and lists anew.
    Relist,
    /// The list is complete.
    Listed,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        any::<bool>().prop_map(|answered| Op::Write { answered }),
        any::<bool>().prop_map(|answered| Op::Delete { answered }),
        Just(Op::Others),
        Just(Op::OthersDelete),
        Just(Op::Event),
        Just(Op::Event),
        Just(Op::Event),
        Just(Op::Answer),
        Just(Op::Answer),
        Just(Op::Relist),
        Just(Op::Listed),
    ]
}

/// A server with one object, a watch of it, and a listener.
struct World {
    cache: Cache,
    version: u64,
    /// Uid and version.
    live: Option<(u64, u64)>,
    events: std::collections::VecDeque<(bool, Value)>,
    answers: std::collections::VecDeque<(bool, Value)>,
    listing: bool,
    heard: Option<u64>,
}

impl World {
    fn put(&mut self) -> Value {
        self.version += 1;
        let uid = self.live.map_or(self.version, |(uid, _)| uid);
        self.live = Some((uid, self.version));
        let written = object("a", &uid.to_string(), self.version);
        self.events.push_back((true, written.clone()));
        written
    }

    fn remove(&mut self) -> Option<Value> {
        let (uid, _) = self.live.take()?;
        self.version += 1;
        let gone = object("a", &uid.to_string(), self.version);
        self.events.push_back((false, gone.clone()));
        Some(gone)
    }

    fn hear(&mut self, changed: Option<Changed>) {
        if let Some((before, after)) = changed {
            assert!(before.is_some() || after.is_some());
            self.heard = after.and_then(|o| version(&o));
        }
    }

    fn answer(&mut self) {
        let Some((there, object)) = self.answers.pop_front() else { return };
        let changed = match there {
            true => note(&self.cache, object),
            false => self.cache.note_deleted(&named(), object::uid(&object)),
        };
        self.hear(changed);
    }

    fn event(&mut self) {
        let Some((there, object)) = self.events.pop_front() else { return };
        let changed = if there { self.cache.apply(object) } else { self.cache.delete(object) };
        self.hear(changed);
    }

    fn listed(&mut self) {
        if std::mem::take(&mut self.listing) {
            let changed: Vec<_> = self.cache.finish_list().collect();
            changed.into_iter().for_each(|changed| self.hear(Some(changed)));
        }
    }

    fn step(&mut self, op: Op) {
        let answer = match op {
            Op::Write { answered } => Some(self.put()).filter(|_| answered).map(|written| (true, written)),
            Op::Delete { answered } => self.remove().filter(|_| answered).map(|gone| (false, gone)),
            Op::Others => {
                self.put();
                return;
            }
            Op::OthersDelete => {
                self.remove();
                return;
            }
            Op::Event if !self.listing => return self.event(),
            Op::Answer => return self.answer(),
            Op::Relist if !self.listing => {
                // Of an answer that is on its way when a list begins nobody can tell which of the two is newer.
                while !self.answers.is_empty() {
                    self.answer();
                }
                self.events.clear();
                self.listing = true;
                self.cache.begin_list();
                if let Some((uid, version)) = self.live {
                    self.cache.list_item(object("a", &uid.to_string(), version));
                }
                return;
            }
            Op::Listed => return self.listed(),
            Op::Event | Op::Relist => return,
        };
        self.answers.extend(answer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever comes when, or never: what listeners heard last is what the cache holds, and in the end what is true.
    #[test]
    fn no_change_is_lost_and_none_is_taken_back(ops in proptest::collection::vec(op(), 0..24)) {
        let (events, answers) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
        let cache = cache("", "");
        synced(&cache, vec![]);
        let mut world = World { cache, version: 1, live: None, events, answers, listing: false, heard: None };
        for op in ops {
            world.step(op);
            let held = world.cache.state().objects.get(&named()).and_then(|held| held.version);
            prop_assert_eq!(world.heard, held, "after {:?}", op);
        }
        world.listed();
        while !world.events.is_empty() || !world.answers.is_empty() {
            world.event();
            world.answer();
        }
        prop_assert_eq!(world.heard, world.live.map(|(_, version)| version));
    }
}
