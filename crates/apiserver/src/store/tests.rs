//! Rules of the store as its users see them.

mod crash;
mod damage;
mod files;
mod model;

use serde_json::{Value, json};

use super::disk::{Backend, DiskError};
use super::*;

const RESOURCE: &str = "/configmaps";

fn key(name: &str) -> Key {
    Key::new(RESOURCE, "ns", name)
}

fn value(text: &str) -> Option<Encoded> {
    Some(Encoded::new(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": text}})).unwrap())
}

fn data(object: &Object) -> Value {
    object.decode().unwrap()["data"]["k"].take()
}

async fn create(store: &Store, name: &str) -> u64 {
    let write = Write { key: key(name), expect: Expect::Absent, value: value("new") };
    store.write(write).await.unwrap().revision
}

async fn update(store: &Store, name: &str, revision: u64, text: &str) -> Result<Committed, WriteError> {
    store.write(Write { key: key(name), expect: Expect::Revision(revision), value: value(text) }).await
}

async fn delete(store: &Store, name: &str, revision: u64) -> Result<Committed, WriteError> {
    store.write(Write { key: key(name), expect: Expect::Revision(revision), value: None }).await
}

/// As [`Store::open`], with files of its own, and with a snapshot when the log has so many bytes.
fn open_with(dir: &Path, open: Arc<disk::file::OpenFile>, snapshot_bytes: u64) -> Result<Store, OpenError> {
    let mut index = index::Index::new(1, HistoryLimits::default());
    let each = |key, object| index.restore(key, object);
    let (disk, revision) = disk::Disk::open_with(dir, open, snapshot_bytes, each)?;
    index.restored(revision);
    Ok(Store::start(index, Clock::system(), Box::new(disk)))
}

fn memory() -> Store {
    Store::in_memory(Clock::system())
}

#[tokio::test]
async fn revisions_start_after_one_and_grow_by_one() {
    let store = memory();
    assert_eq!(store.revision(), 1);
    assert_eq!((create(&store, "a").await, create(&store, "b").await), (2, 3));
}

#[tokio::test]
async fn a_watch_takes_few_large_events_at_once_and_misses_none() {
    let store = memory();
    let mut watch = store.watch(RESOURCE, 1).unwrap();
    let large = "x".repeat(100 << 10);
    for name in ["a", "b", "c", "d", "e"] {
        store.write(Write { key: key(name), expect: Expect::Absent, value: value(&large) }).await.unwrap();
    }
    let mut taken = Vec::new();
    while taken.iter().sum::<usize>() < 5 {
        taken.push(watch.next().await.unwrap().len());
    }
    assert_eq!(taken, [3, 2]);
}

#[tokio::test]
async fn a_create_of_what_exists_answers_what_is_there() {
    let store = memory();
    create(&store, "a").await;
    let again = store.write(Write { key: key("a"), expect: Expect::Absent, value: value("x") }).await;
    assert_eq!(again, Err(WriteError::Conflict(store.get(RESOURCE, "ns", "a"))));
}

#[tokio::test]
async fn an_update_of_a_stale_revision_changes_nothing() {
    let store = memory();
    let first = create(&store, "a").await;
    update(&store, "a", first, "second").await.unwrap();
    assert!(matches!(update(&store, "a", first, "lost").await, Err(WriteError::Conflict(Some(_)))));
    assert_eq!(data(&store.get(RESOURCE, "ns", "a").unwrap()), "second");
}

#[tokio::test]
async fn a_deletion_answers_the_last_state_with_its_own_revision() {
    let store = memory();
    let first = create(&store, "a").await;
    let gone = delete(&store, "a", first).await.unwrap();
    assert_eq!(gone.object.decode().unwrap()["metadata"]["resourceVersion"], "3");
    assert_eq!((data(&gone.object), store.get(RESOURCE, "ns", "a")), (json!("new"), None));
}

#[tokio::test]
async fn a_watch_replays_and_then_follows() {
    let store = memory();
    let first = create(&store, "a").await;
    let mut watch = store.watch(RESOURCE, 1).unwrap();
    assert_eq!(watch.next().await.unwrap()[0].kind, EventKind::Added);
    let next = tokio::spawn(async move { watch.next().await.unwrap().remove(0) });
    delete(&store, "a", first).await.unwrap();
    assert_eq!(next.await.unwrap().kind, EventKind::Deleted);
}

#[tokio::test]
async fn a_list_is_ordered_as_etcd_orders_keys() {
    let store = memory();
    for (namespace, name) in [("a", "x"), ("a-b", "x"), ("a", "a.b"), ("a", "a-b"), ("a", "a")] {
        let key = Key::new(RESOURCE, namespace, name);
        store.write(Write { key, expect: Expect::Absent, value: value("") }).await.unwrap();
    }
    let mut order = Vec::new();
    let keep = |at: &Position, _: &Object| {
        order.push(format!("{}/{}", at.namespace, at.name));
        true
    };
    store.list_where(&ListRequest::all(RESOURCE), keep).unwrap();
    assert_eq!(order, ["a-b/x", "a/a", "a/a-b", "a/a.b", "a/x"]);
}

#[tokio::test]
async fn the_limit_counts_what_the_filter_keeps() {
    let store = memory();
    for name in ["a", "b", "c", "d", "e"] {
        create(&store, name).await;
    }
    let request = ListRequest { limit: Some(2), ..ListRequest::all(RESOURCE) };
    let page = store.list_where(&request, |at, _| &*at.name != "a" && &*at.name != "c").unwrap();
    let next = Some(Position { namespace: "ns".into(), name: "d".into() });
    assert_eq!((page.objects.len(), page.next, page.remaining), (2, next, 1));
}

#[tokio::test]
async fn a_page_that_ends_the_list_has_no_next() {
    let store = memory();
    for name in ["a", "b", "c"] {
        create(&store, name).await;
    }
    let request = ListRequest { after: Some(("ns", "a")), limit: Some(2), ..ListRequest::all(RESOURCE) };
    let page = store.list(&request).unwrap();
    assert_eq!((page.objects.len(), page.next, page.remaining), (2, None, 0));
}

#[tokio::test]
async fn compaction_refuses_the_past_and_leaves_running_watches() {
    let store = memory();
    let first = create(&store, "a").await;
    let mut idle = store.watch("/secrets", first).unwrap();
    create(&store, "b").await;
    store.compact();
    assert_eq!(store.watch(RESOURCE, first).unwrap_err(), Compacted { requested: 2, oldest: 3 });
    assert!(store.list(&ListRequest { at: Some(first), ..ListRequest::all(RESOURCE) }).is_err());
    store
        .write(Write { key: Key::new("/secrets", "ns", "s"), expect: Expect::Absent, value: value("") })
        .await
        .unwrap();
    assert_eq!(idle.next().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_watch_that_falls_out_of_the_history_ends() {
    let store = memory();
    store.set_history(HistoryLimits { events: 2, ..HistoryLimits::default() });
    let mut slow = store.watch(RESOURCE, 1).unwrap();
    for name in ["a", "b", "c"] {
        create(&store, name).await;
    }
    assert_eq!(slow.next().await.unwrap_err(), Compacted { requested: 1, oldest: 2 }.into());
}

#[tokio::test]
async fn old_events_go_but_the_last_ones_stay() {
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let store = Store::in_memory(clock.clone());
    store.set_history(HistoryLimits { keep: 2, ..HistoryLimits::default() });
    for name in ["a", "b", "c"] {
        create(&store, name).await;
    }
    clock.advance(Duration::from_secs(301));
    create(&store, "d").await;
    assert_eq!([2, 3].map(|from| store.watch(RESOURCE, from).is_ok()), [false, true]);
}

#[tokio::test]
async fn progress_moves_with_other_resources() {
    let store = memory();
    let mut watch = store.watch("/secrets", 1).unwrap();
    create(&store, "a").await;
    assert_eq!(watch.progress(), 2);
}

#[tokio::test]
async fn progress_stays_behind_what_was_not_handed_out() {
    let store = memory();
    let mut watch = store.watch(RESOURCE, 1).unwrap();
    create(&store, "a").await;
    assert_eq!(watch.progress(), 1);
}

#[tokio::test]
async fn a_watch_from_the_future_skips_what_it_knows() {
    let store = memory();
    let mut watch = store.watch(RESOURCE, 2).unwrap();
    create(&store, "a").await;
    create(&store, "b").await;
    assert_eq!(watch.next().await.unwrap()[0].revision, 3);
}

#[tokio::test]
async fn closing_ends_watches_and_refuses_writes_but_not_reads() {
    let store = memory();
    create(&store, "a").await;
    let mut watch = store.watch(RESOURCE, 2).unwrap();
    store.close().await;
    assert_eq!(watch.next().await.unwrap_err(), WatchError::Closed);
    let write = Write { key: key("b"), expect: Expect::Absent, value: value("") };
    assert_eq!(store.write(write).await, Err(WriteError::Closed("shut down".into())));
    assert!(store.get(RESOURCE, "ns", "a").is_some());
}

/// A disk that does as it is told, one order per commit, then works. It counts the events of each commit.
struct Scripted {
    orders: Vec<Result<(), DiskError>>,
    commits: Arc<Mutex<Vec<usize>>>,
    /// Each commit waits for a word.
    gate: Option<std::sync::mpsc::Receiver<()>>,
}

impl Backend for Scripted {
    fn commit(&mut self, events: &[Event], _: &Arc<Shared>) -> Result<(), DiskError> {
        if let Some(gate) = &self.gate {
            gate.recv().unwrap();
        }
        self.commits.lock().unwrap().push(events.len());
        if self.orders.is_empty() { Ok(()) } else { self.orders.remove(0) }
    }
}

fn scripted(orders: Vec<Result<(), DiskError>>) -> Store {
    let backend = Scripted { orders, commits: Arc::default(), gate: None };
    Store::start(index::Index::new(1, HistoryLimits::default()), Clock::system(), Box::new(backend))
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_the_next_one_succeeds() {
    let store = scripted(vec![Err(DiskError::Full)]);
    let write = || Write { key: key("a"), expect: Expect::Absent, value: value("") };
    assert_eq!(store.write(write()).await, Err(WriteError::Full));
    assert_eq!((store.revision(), store.get(RESOURCE, "ns", "a")), (1, None));
    assert_eq!(store.write(write()).await.unwrap().revision, 2);
}

#[tokio::test]
async fn a_failed_disk_closes_the_store_with_its_cause() {
    let store = scripted(vec![Err(DiskError::Fatal("fdatasync: I/O error".to_owned()))]);
    let write = || Write { key: key("a"), expect: Expect::Absent, value: value("") };
    let closed = Err(WriteError::Closed("fdatasync: I/O error".into()));
    assert_eq!(store.write(write()).await, closed);
    assert_eq!(&*store.failed().await, "fdatasync: I/O error");
    assert_eq!(store.write(write()).await, closed);
}

#[tokio::test]
async fn what_waits_is_one_commit_checked_in_order_and_invisible_before_it() {
    let (go, gate) = std::sync::mpsc::channel();
    let commits = Arc::<Mutex<Vec<usize>>>::default();
    let backend = Scripted { orders: Vec::new(), commits: commits.clone(), gate: Some(gate) };
    let store = Store::start(index::Index::new(1, HistoryLimits::default()), Clock::system(), Box::new(backend));
    // The first commit holds the writer, the others wait behind it: polling a write once puts it into the queue.
    let first = store.write(Write { key: key("first"), expect: Expect::Absent, value: value("") });
    let mut first = std::pin::pin!(first);
    assert!(futures::poll!(&mut first).is_pending());
    while store.writer.queue().unwrap().capacity() < writer::QUEUE {
        std::thread::yield_now();
    }
    let mut waiting = Vec::new();
    for (expect, value) in [
        (Expect::Absent, value("1")),
        (Expect::Absent, value("2")),
        (Expect::Revision(3), value("3")),
        (Expect::Revision(4), None),
    ] {
        let write = store.write(Write { key: key("a"), expect, value });
        let mut write = Box::pin(write);
        assert!(futures::poll!(&mut write).is_pending());
        waiting.push(write);
    }
    assert_eq!(store.revision(), 1);
    go.send(()).unwrap();
    go.send(()).unwrap();
    first.await.unwrap();
    let mut outcomes = Vec::new();
    for write in waiting {
        outcomes.push(write.await.map(|committed| committed.revision).map_err(|_| ()));
    }
    assert_eq!(outcomes, [Ok(3), Err(()), Ok(4), Ok(5)]);
    assert_eq!(*commits.lock().unwrap(), [1, 3]);
}
