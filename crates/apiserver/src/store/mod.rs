//! One store: every write has a revision, readers see memory, and what was acknowledged survives `kill -9`.
//!
//! | module | what it is for |
//! |---|---|
//! | [`encoded`](Encoded) | objects as bytes, with a place for their revision |
//! | `index` | what readers see: objects in order, and recent events |
//! | `writer` | the one writer: group commit |
//! | `disk` | a log and a snapshot, their lock and their format; or nowhere |
//! | `watch` | a cursor into recent events |
//! | [`listing`] | which revision a list reads and where a watch starts |
//! | `continue_token` | where the next page starts |
//!
//! A write goes through a bounded queue to the writer, which checks its expectation, commits it together with whatever else
//! waits, publishes it and answers; where nothing is kept, the caller does that itself. A read takes a short lock on the index and clones shared bytes.

mod continue_token;
mod disk;
mod encoded;
mod index;
pub mod listing;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

pub use self::continue_token::ContinueToken;
pub use self::disk::OpenError;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::disk::fuzz_record;
pub use self::encoded::{Encoded, EventKind, NotAnObject, Object};
pub use self::index::HistoryLimits;
pub use self::watch::{Watch, WatchError};
use crate::clock::Clock;

/// Names one object. `resource` is [`Resource::storage`](crate::resource::Resource::storage).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `apps/deployments`, `/configmaps`.
    pub resource: Arc<str>,
    /// Empty for cluster-scoped resources.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl Key {
    /// Of its three parts.
    pub fn new(resource: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// What a write expects to find. A write whose expectation does not hold changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No object.
    Absent,
    /// The object of this revision.
    Revision(u64),
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which object.
    pub key: Key,
    /// What must be there.
    pub expect: Expect,
    /// The new value; `None` deletes.
    pub value: Option<Encoded>,
}

/// A write that is durable and visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The store's revision after it.
    pub revision: u64,
    /// The object as stored; for a deletion its last state with the deletion's revision.
    pub object: Object,
}

/// Why a write was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The expectation did not hold; here is what is there.
    #[error("the object is not in the expected state")]
    Conflict(Option<Object>),
    /// The disk is full. Reads go on; writes succeed again when there is space.
    #[error("no space left for the data file")]
    Full,
    /// The store was closed or failed, with the cause. Whether this write is on disk is unknown.
    #[error("the store is closed: {0}")]
    Closed(Arc<str>),
}

/// The past that was asked for is gone: 410.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {requested} ({oldest})")]
pub struct Compacted {
    /// The revision asked for.
    pub requested: u64,
    /// The oldest one that could be answered.
    pub oldest: u64,
}

/// What to list.
#[derive(Clone, Copy, Debug)]
pub struct ListRequest<'a> {
    /// As in [`Key::resource`].
    pub resource: &'a str,
    /// `None`: all namespaces; `Some("")` is right for cluster-scoped resources.
    pub namespace: Option<&'a str>,
    /// Start after this namespace and name.
    pub after: Option<(&'a str, &'a str)>,
    /// Most objects to answer.
    pub limit: Option<usize>,
    /// An older revision to answer; the present when `None` or not older.
    pub at: Option<u64>,
}

impl<'a> ListRequest<'a> {
    /// Everything of a resource, as it is now.
    pub fn all(resource: &'a str) -> Self {
        Self { resource, namespace: None, after: None, limit: None, at: None }
    }
}

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Empty for cluster-scoped resources.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

/// A page of a list, ordered as etcd orders keys: by `namespace/`, then by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The page.
    pub objects: Vec<Object>,
    /// The revision that it shows.
    pub revision: u64,
    /// Where the page ended, when objects follow that were not looked at: the next page starts after it.
    pub next: Option<Position>,
    /// How many follow; with a filter it counts also those that the filter would not keep.
    pub remaining: usize,
}

impl Listing {
    fn of(rows: Vec<index::Row>, revision: u64, remaining: usize) -> Self {
        let next = if remaining > 0 { rows.last().map(|(at, _)| at.clone()) } else { None };
        Self { objects: rows.into_iter().map(|(_, object)| object).collect(), revision, next, remaining }
    }
}

/// One change, as every watch of the resource sees it.
#[derive(Clone)]
pub struct Event {
    /// The store's revision after it.
    pub revision: u64,
    /// What happened.
    pub kind: EventKind,
    /// To which object.
    pub key: Key,
    /// The new state; for a deletion the last one with the deletion's revision.
    pub object: Object,
    /// The state before.
    pub previous: Option<Object>,
    /// The event as a line of a watch response in the storage version. `object` is a slice of it.
    pub frame: Bytes,
    /// When it was written, by the store's clock.
    pub at: Timestamp,
}

/// Prints no text of the object: it may be a Secret's.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {:?}", self.kind.as_str(), self.key, self.object)
    }
}

/// What the store did and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Revision of the last write.
    pub revision: u64,
    /// Objects of all resources.
    pub objects: usize,
    /// Events that lists and watches can start from.
    pub history_events: usize,
    /// Bytes of those events.
    pub history_bytes: usize,
    /// Groups of writes that were committed.
    pub commits: u64,
    /// Writes that were committed.
    pub writes: u64,
    /// Writes that were refused because the disk was full.
    pub full: u64,
    /// Time spent in commits.
    pub committing: Duration,
    /// Writes that wait for the writer.
    pub waiting: usize,
}

/// Counters of the writer.
#[derive(Debug, Default)]
struct Work {
    commits: AtomicU64,
    writes: AtomicU64,
    full: AtomicU64,
    nanoseconds: AtomicU64,
    /// Whether the last commit was refused for want of space.
    is_full: AtomicBool,
}

/// Whether the store takes writes.
#[derive(Clone, Debug)]
enum Lifecycle {
    Open,
    Closed,
    Failed(Arc<str>),
}

impl Lifecycle {
    fn is_over(&self) -> bool {
        !matches!(self, Self::Open)
    }

    fn cause(&self) -> Arc<str> {
        match self {
            Self::Failed(cause) => cause.clone(),
            Self::Open | Self::Closed => "shut down".into(),
        }
    }
}

/// What the writer, readers and watches share.
struct Shared {
    index: RwLock<index::Index>,
    clock: Clock,
    lifecycle: tokio::sync::watch::Sender<Lifecycle>,
    work: Work,
}

impl Shared {
    fn new(index: index::Index, clock: Clock) -> Self {
        Self {
            index: RwLock::new(index),
            clock,
            lifecycle: tokio::sync::watch::Sender::new(Lifecycle::Open),
            work: Work::default(),
        }
    }

    /// A poisoned lock is taken as it is: the index changes only in `publish`, which runs to its end or ends the writer.
    fn index(&self) -> RwLockReadGuard<'_, index::Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, index::Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the store, once.
    fn end(&self, how: Lifecycle) {
        self.lifecycle.send_if_modified(|state| {
            let ends = !state.is_over();
            if ends {
                *state = how;
            }
            ends
        });
    }
}

/// Who writes, one at a time.
enum Writer {
    /// The caller of a store that keeps nothing, while it holds this.
    Caller(Mutex<()>, Arc<Shared>),
    /// A thread. When the last handle of the store goes, the queue is drained and the file closed.
    Thread { queue: Mutex<Option<mpsc::Sender<writer::Request>>>, thread: Mutex<Option<JoinHandle<()>>> },
}

impl Writer {
    fn queue(&self) -> Option<mpsc::Sender<writer::Request>> {
        match self {
            Self::Caller(..) => None,
            Self::Thread { queue, .. } => queue.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn join(&self) {
        match self {
            Self::Caller(turn, shared) => {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                shared.end(Lifecycle::Closed);
            }
            Self::Thread { queue, thread } => {
                queue.lock().unwrap_or_else(PoisonError::into_inner).take();
                let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
                // A panic of the writer has been reported through the lifecycle.
                let _ = thread.map(JoinHandle::join);
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.join();
    }
}

/// The store. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

impl Store {
    /// A store that forgets everything when it goes. The revision starts at 1.
    pub fn in_memory(clock: Clock) -> Self {
        let shared = Arc::new(Shared::new(index::Index::new(1, HistoryLimits::default()), clock));
        Self { writer: Arc::new(Writer::Caller(Mutex::default(), shared.clone())), shared }
    }

    /// The store in `dir`, which is made where there is none. Reads all of it into memory.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, OpenError> {
        let mut index = index::Index::new(1, HistoryLimits::default());
        let (disk, revision) = disk::Disk::open(dir, |key, object| index.restore(key, object))?;
        index.restored(revision);
        Ok(Self::start(index, clock, Box::new(disk)))
    }

    fn start(index: index::Index, clock: Clock, backend: Box<dyn disk::Backend>) -> Self {
        let shared = Arc::new(Shared::new(index, clock));
        let (queue, requests) = mpsc::channel(writer::QUEUE);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn({
            let shared = shared.clone();
            move || writer::run(requests, &shared, backend)
        });
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                shared.end(Lifecycle::Failed(format!("cannot start the writer: {error}").into()));
                None
            }
        };
        let writer = Arc::new(Writer::Thread { queue: Mutex::new(Some(queue)), thread: Mutex::new(thread) });
        Self { shared, writer }
    }

    /// The revision of the last write that is visible.
    pub fn revision(&self) -> u64 {
        self.shared.index().revision
    }

    /// One object as it is now.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.shared.index().get(resource, namespace, name).cloned()
    }

    /// The revision of the last change to each of these resources that is remembered, 0 when none is; under one lock.
    pub fn last_changes<const N: usize>(&self, resources: [&str; N]) -> [u64; N] {
        let index = self.shared.index();
        resources.map(|resource| index.last_change(resource))
    }

    /// The revision of the last change to any resource that `counts`.
    pub fn last_change_where(&self, counts: impl Fn(&str) -> bool) -> u64 {
        self.shared.index().last_change_where(counts)
    }

    /// The changes of a resource after a revision, in order, as far as they are visible now.
    pub fn changes_after(&self, resource: &str, from: u64) -> Result<Vec<Arc<Event>>, Compacted> {
        match self.shared.index().after(resource, from, index::Batch::ALL) {
            index::After::Events(events) => Ok(events),
            index::After::Nothing(_) => Ok(Vec::new()),
            index::After::Compacted(compacted) => Err(compacted),
        }
    }

    /// Number of objects of a resource in all namespaces.
    pub fn count(&self, resource: &str) -> usize {
        self.shared.index().count(resource)
    }

    /// A page of objects.
    pub fn list(&self, request: &ListRequest<'_>) -> Result<Listing, Compacted> {
        let page = {
            let index = self.shared.index();
            if let Some((objects, last, remaining)) = index.list_now(request) {
                let next = last.filter(|_| remaining > 0);
                return Ok(Listing { objects, revision: index.revision, next, remaining });
            }
            index.list(request)?
        };
        Ok(Listing::of(page.rows, page.revision, page.remaining))
    }

    /// A page of the objects that `keep` wants: `limit` counts those. The filter runs outside of the store's lock.
    pub fn list_where(
        &self,
        request: &ListRequest<'_>,
        mut keep: impl FnMut(&Position, &Object) -> bool,
    ) -> Result<Listing, Compacted> {
        let limit = request.limit.unwrap_or(usize::MAX);
        let page = self.shared.index().list(&ListRequest { limit: None, ..*request })?;
        let mut candidates = page.rows.into_iter();
        let rows: Vec<_> = candidates.by_ref().filter(|(at, object)| keep(at, object)).take(limit).collect();
        // As kube-apiserver does: whether any of the rest would be kept is left to the next page.
        Ok(Listing::of(rows, page.revision, candidates.len()))
    }

    /// Makes one change; waits while the queue is full. A write whose future is dropped may still be made.
    pub async fn write(&self, write: Write) -> Result<Committed, WriteError> {
        let closed = || WriteError::Closed(self.shared.lifecycle.borrow().cause());
        if let Writer::Caller(turn, shared) = &*self.writer {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            return if shared.lifecycle.borrow().is_over() {
                Err(closed())
            } else {
                writer::commit_here(write, shared)
            };
        }
        let queue = self.writer.queue().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        queue.send(writer::Request::Write(write, reply)).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// All events of a resource after `from`.
    pub fn watch(&self, resource: &str, from: u64) -> Result<Watch, Compacted> {
        let changed = self.shared.index_mut().subscribe(resource, from)?;
        Ok(Watch::new(self.shared.clone(), resource.into(), from, changed))
    }

    /// Forgets the past: lists and watches from before now are answered 410. Watches that run are not cut.
    pub fn compact(&self) {
        self.shared.index_mut().compact();
    }

    /// Sets how much of the past is kept, from the next write to each resource on.
    pub fn set_history(&self, limits: HistoryLimits) {
        self.shared.index_mut().limits = limits;
    }

    /// What it did and holds.
    pub fn stats(&self) -> Stats {
        let waiting = self.writer.queue().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        let Work { commits, writes, full, nanoseconds, is_full: _ } = &self.shared.work;
        let [commits, writes, full] = [commits, writes, full].map(|counter| counter.load(Relaxed));
        let committing = Duration::from_nanos(nanoseconds.load(Relaxed));
        let index = self.shared.index();
        let (objects, history_events, history_bytes) = index.sizes();
        let revision = index.revision;
        Stats { revision, objects, history_events, history_bytes, commits, writes, full, committing, waiting }
    }

    /// Whether writes are taken.
    pub fn is_open(&self) -> bool {
        !self.shared.lifecycle.borrow().is_over()
    }

    /// Resolves with the cause when the disk failed and writes are no longer possible; never otherwise.
    pub async fn failed(&self) -> Arc<str> {
        let mut lifecycle = self.shared.lifecycle.subscribe();
        loop {
            if let Lifecycle::Failed(cause) = &*lifecycle.borrow_and_update() {
                return cause.clone();
            }
            if lifecycle.changed().await.is_err() {
                // The sender is in `self.shared`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Finishes the writes that wait, ends all watches and closes the file. Later writes are refused, reads go on.
    pub async fn close(&self) {
        if let Some(queue) = self.writer.queue() {
            let _ = queue.send(writer::Request::Close).await;
        }
        let writer = self.writer.clone();
        // Joining blocks for as long as the last commit takes.
        let _ = tokio::task::spawn_blocking(move || writer.join()).await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store(revision {})", self.revision())
    }
}
