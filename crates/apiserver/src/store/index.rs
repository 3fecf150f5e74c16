//! What readers see: the objects of every resource in order, and the events of the recent past. Pure data; one lock around it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Compacted, Event, Key, ListRequest, Object, Position};

/// How much of the past is kept, for each resource. What falls out can no longer be watched or listed from.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    /// Events; default 10,000.
    pub events: usize,
    /// Bytes of objects in events; default 16 MiB.
    pub bytes: usize,
    /// Age by the server's clock; default 5 minutes, as etcd is compacted under kube-apiserver. Older events go with the next
    /// write to the resource.
    pub age: Duration,
    /// Events that age does not touch, so that moving a clock does not cut every watch; default 100.
    pub keep: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events: 10_000, bytes: 16 << 20, age: Duration::from_secs(5 * 60), keep: 100 }
    }
}

/// Everything in memory.
pub(super) struct Index {
    /// Revision of the last write; 1 before the first.
    pub(super) revision: u64,
    /// Watches and lists cannot start before this revision, in any resource.
    floor: u64,
    pub(super) limits: HistoryLimits,
    resources: HashMap<Arc<str>, Resource>,
}

/// One resource.
struct Resource {
    name: Arc<str>,
    /// By `namespace/`: with the slash the order is that of etcd's keys, which kube-apiserver lists by (`a-b` before `a`).
    namespaces: BTreeMap<Box<str>, Namespace>,
    history: VecDeque<Arc<Event>>,
    history_bytes: usize,
    /// Revision of the last event that fell out of `history`.
    dropped: u64,
    /// Wakes watchers; the value says nothing.
    changed: watch::Sender<()>,
}

/// The objects of one resource in one namespace.
struct Namespace {
    name: Arc<str>,
    objects: BTreeMap<Arc<str>, Object>,
}

/// One object and where it is.
pub(super) type Row = (Position, Object);

/// Consecutive rows.
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// The revision they show.
    pub(super) revision: u64,
    /// How many rows follow.
    pub(super) remaining: usize,
}

/// How much of the history is read at once: events until one of the two is reached, and always one.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) events: usize,
    /// Of the events' frames.
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) const ALL: Self = Self { events: usize::MAX, bytes: usize::MAX };
    pub(super) const ONE: Self = Self { events: 1, bytes: usize::MAX };
}

/// The events after a revision.
pub(super) enum After {
    /// Some, in order.
    Events(Vec<Arc<Event>>),
    /// None up to this revision of the store.
    Nothing(u64),
    /// Events are missing.
    Compacted(Compacted),
}

fn row((namespace, name, object): (&Arc<str>, &Arc<str>, &Object)) -> Row {
    (Position { namespace: namespace.clone(), name: name.clone() }, object.clone())
}

fn namespace_key(namespace: &str) -> String {
    let mut key = String::with_capacity(namespace.len() + 1);
    key.push_str(namespace);
    key.push('/');
    key
}

impl Index {
    pub(super) fn new(revision: u64, limits: HistoryLimits) -> Self {
        Self { revision, floor: revision, limits, resources: HashMap::new() }
    }

    pub(super) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Object> {
        let namespaces = &self.resources.get(resource)?.namespaces;
        namespaces.get(namespace_key(namespace).as_str())?.objects.get(name)
    }

    /// Number of objects of a resource.
    pub(super) fn count(&self, resource: &str) -> usize {
        self.resources.get(resource).map_or(0, |r| r.namespaces.values().map(|n| n.objects.len()).sum())
    }

    /// Objects, events that are kept, and the bytes of those.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        self.resources.values().fold((0, 0, 0), |(objects, events, bytes), resource| {
            let here: usize = resource.namespaces.values().map(|space| space.objects.len()).sum();
            (objects + here, events + resource.history.len(), bytes + resource.history_bytes)
        })
    }

    /// The revision of the last event of a resource, 0 when it had none since the start.
    pub(super) fn last_change(&self, resource: &str) -> u64 {
        self.resources.get(resource).map_or(0, |r| r.history.back().map_or(r.dropped, |event| event.revision))
    }

    /// The same of all resources that `counts`.
    pub(super) fn last_change_where(&self, counts: impl Fn(&str) -> bool) -> u64 {
        let resources = self.resources.iter().filter(|(name, _)| counts(name));
        resources.map(|(_, r)| r.history.back().map_or(r.dropped, |event| event.revision)).max().unwrap_or(0)
    }

    /// A change that the disk remembers; `None`: the object is gone.
    pub(super) fn restore(&mut self, key: Key, object: Option<Object>) {
        let resource = self.resource(key.resource);
        match object {
            Some(object) => drop(resource.insert(&key.namespace, &key.name, object)),
            None => resource.remove(&key.namespace, &key.name),
        }
    }

    /// The revision that the disk has come to. The past before it is not known.
    pub(super) fn restored(&mut self, revision: u64) {
        (self.revision, self.floor) = (revision, revision);
    }

    /// All resources that have or had objects.
    pub(super) fn resources(&self) -> Vec<Arc<str>> {
        self.resources.keys().cloned().collect()
    }

    /// The next objects of a resource after a position, in order. Takes time for these alone.
    pub(super) fn some(&self, resource: &str, after: Option<&Position>, limit: usize) -> Vec<Row> {
        let Some(resource) = self.resources.get(resource) else { return Vec::new() };
        let after = after.map(|at| (&*at.namespace, &*at.name));
        resource.objects(None, after).take(limit).map(row).collect()
    }

    fn resource(&mut self, name: Arc<str>) -> &mut Resource {
        self.resources.entry(name).or_insert_with_key(|name| Resource::new(name.clone()))
    }

    /// Makes committed events visible. They are in order and follow `revision`. Whose watchers are to be woken then, each
    /// resource once, when nobody waits for the index any more.
    pub(super) fn publish(&mut self, events: Vec<Event>, now: Timestamp) -> Vec<watch::Sender<()>> {
        let limits = self.limits;
        let mut touched: Vec<Arc<str>> = Vec::new();
        for event in events {
            self.revision = event.revision;
            let name = event.key.resource.clone();
            if !touched.contains(&name) {
                touched.push(name.clone());
            }
            self.resource(name).publish(event, &limits, now);
        }
        touched.iter().filter_map(|name| self.resources.get(name)).map(|resource| resource.changed.clone()).collect()
    }

    /// Forgets the past: watches and lists can start from the present revision on.
    pub(super) fn compact(&mut self) {
        self.floor = self.revision;
        for resource in self.resources.values_mut() {
            while resource.drop_oldest() {}
        }
    }

    fn check_floor(&self, resource: &str, from: u64) -> Result<(), Compacted> {
        let dropped = self.resources.get(resource).map_or(0, |r| r.dropped);
        let oldest = self.floor.max(dropped);
        if from < oldest { Err(Compacted { requested: from, oldest }) } else { Ok(()) }
    }

    /// Registers interest in a resource from a revision on.
    pub(super) fn subscribe(&mut self, resource: &str, from: u64) -> Result<watch::Receiver<()>, Compacted> {
        self.check_floor(resource, from)?;
        Ok(self.resource(resource.into()).changed.subscribe())
    }

    /// A batch of the events of `resource` after `cursor`. The floor of the store does not bind a watch that runs: it has
    /// missed something only when an event that it had not seen fell out.
    pub(super) fn after(&self, resource: &str, cursor: u64, batch: Batch) -> After {
        let Some(resource) = self.resources.get(resource) else { return After::Nothing(self.revision) };
        if cursor < resource.dropped {
            return After::Compacted(Compacted { requested: cursor, oldest: resource.dropped });
        }
        let start = resource.history.partition_point(|event| event.revision <= cursor);
        let mut left = batch.bytes;
        let fits = |event: &&Arc<Event>| {
            let begins = left > 0;
            left = left.saturating_sub(event.frame.len());
            begins
        };
        let events: Vec<_> = resource.history.range(start..).take(batch.events).take_while(fits).cloned().collect();
        if events.is_empty() { After::Nothing(self.revision) } else { After::Events(events) }
    }

    /// One page of objects, where it ended, and how many follow; `None`: the past is asked for, see [`Self::list`]. Copies no keys.
    pub(super) fn list_now(&self, request: &ListRequest<'_>) -> Option<(Vec<Object>, Option<Position>, usize)> {
        if request.at.is_some_and(|at| at < self.revision) {
            return None;
        }
        let Some(resource) = self.resources.get(request.resource) else { return Some((Vec::new(), None, 0)) };
        let mut all = resource.objects(request.namespace, request.after);
        let mut last = None;
        let page = all.by_ref().take(request.limit.unwrap_or(usize::MAX)).map(|(namespace, name, object)| {
            last = Some((namespace, name));
            object.clone()
        });
        let objects = page.collect();
        let last = last.map(|(namespace, name)| Position { namespace: namespace.clone(), name: name.clone() });
        Some((objects, last, all.count()))
    }

    /// One page.
    pub(super) fn list(&self, request: &ListRequest<'_>) -> Result<Page, Compacted> {
        let revision = match request.at {
            Some(at) if at < self.revision => {
                self.check_floor(request.resource, at)?;
                at
            }
            _ => self.revision,
        };
        let limit = request.limit.unwrap_or(usize::MAX);
        let Some(resource) = self.resources.get(request.resource) else {
            return Ok(Page { rows: Vec::new(), revision, remaining: 0 });
        };
        let (rows, remaining) = if revision == self.revision {
            resource.page(request.namespace, request.after, limit)
        } else {
            resource.page_at(revision, request.namespace, request.after, limit)
        };
        Ok(Page { rows, revision, remaining })
    }
}

impl Resource {
    fn new(name: Arc<str>) -> Self {
        let (history, changed) = (VecDeque::new(), watch::Sender::new(()));
        Self { name, namespaces: BTreeMap::new(), history, history_bytes: 0, dropped: 0, changed }
    }

    /// Answers the strings that are kept, so that events share them.
    fn insert(&mut self, namespace: &Arc<str>, name: &Arc<str>, object: Object) -> (Arc<str>, Arc<str>) {
        let space = self
            .namespaces
            .entry(namespace_key(namespace).into())
            .or_insert_with(|| Namespace { name: namespace.clone(), objects: BTreeMap::new() });
        let name = space.objects.get_key_value(&**name).map_or_else(|| name.clone(), |(kept, _)| kept.clone());
        space.objects.insert(name.clone(), object);
        (space.name.clone(), name)
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        let key = namespace_key(namespace);
        if let Some(space) = self.namespaces.get_mut(key.as_str()) {
            space.objects.remove(name);
            if space.objects.is_empty() {
                self.namespaces.remove(key.as_str());
            }
        }
    }

    fn publish(&mut self, mut event: Event, limits: &HistoryLimits, now: Timestamp) {
        event.key.resource = self.name.clone();
        if event.kind == super::EventKind::Deleted {
            self.remove(&event.key.namespace, &event.key.name);
        } else {
            let (namespace, name) = self.insert(&event.key.namespace, &event.key.name, event.object.clone());
            (event.key.namespace, event.key.name) = (namespace, name);
        }
        self.history_bytes += event.frame.len();
        self.history.push_back(Arc::new(event));
        let too_old = now.checked_sub(limits.age).unwrap_or(Timestamp::MIN);
        while self.history.len() > limits.events
            || (self.history_bytes > limits.bytes && self.history.len() > 1)
            || (self.history.len() > limits.keep && self.history.front().is_some_and(|e| e.at < too_old))
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(event) = self.history.pop_front() else { return false };
        self.history_bytes -= event.frame.len();
        self.dropped = event.revision;
        true
    }

    /// The namespaces of a request, from the one of `after` on.
    fn spaces<'a>(
        &'a self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &'a Namespace> {
        let (from, to) = match (namespace, after) {
            (Some(namespace), _) => {
                let key = namespace_key(namespace);
                (Bound::Included(key.clone()), Bound::Included(key))
            }
            (None, Some((namespace, _))) => (Bound::Included(namespace_key(namespace)), Bound::Unbounded),
            (None, None) => (Bound::Unbounded, Bound::Unbounded),
        };
        let range = (from.as_ref().map(String::as_str), to.as_ref().map(String::as_str));
        self.namespaces.range::<str, _>(range).map(|(_, space)| space)
    }

    /// Objects after a position, in order.
    fn objects<'a>(
        &'a self,
        namespace: Option<&str>,
        after: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>, &'a Object)> {
        self.spaces(namespace, after).flat_map(move |space| {
            let from = match after {
                Some((namespace, name)) if *space.name == *namespace => Bound::Excluded(name),
                _ => Bound::Unbounded,
            };
            space.objects.range::<str, _>((from, Bound::Unbounded)).map(|(name, object)| (&space.name, name, object))
        })
    }

    /// At most `limit` objects of the present, and how many follow.
    fn page(&self, namespace: Option<&str>, after: Option<(&str, &str)>, limit: usize) -> (Vec<Row>, usize) {
        let mut all = self.objects(namespace, after);
        let page = all.by_ref().take(limit).map(row).collect();
        (page, all.count())
    }

    /// The same of the past: every event after `revision` is undone.
    fn page_at(
        &self,
        revision: u64,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> (Vec<Row>, usize) {
        let order = |namespace: &str, name: &str| (namespace_key(namespace), name.to_owned());
        let start = after.map(|(namespace, name)| order(namespace, name));
        let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
        let insert = |rows: &mut BTreeMap<_, _>, at, namespace: &Arc<str>, name: &Arc<str>, object: &Object| {
            let position = Position { namespace: namespace.clone(), name: name.clone() };
            rows.insert(at, (position, object.clone()));
        };
        for (namespace, name, object) in self.objects(namespace, after) {
            insert(&mut rows, order(namespace, name), namespace, name, object);
        }
        for event in self.history.iter().rev().take_while(|event| event.revision > revision) {
            let Key { namespace: of, name, .. } = &event.key;
            let at = order(of, name);
            if namespace.is_some_and(|wanted| *wanted != **of) || start.as_ref().is_some_and(|start| at <= *start) {
                continue;
            }
            match &event.previous {
                Some(object) => insert(&mut rows, at, of, name, object),
                None => {
                    rows.remove(&at);
                }
            }
        }
        let remaining = rows.len().saturating_sub(limit);
        (rows.into_values().take(limit).collect(), remaining)
    }
}
