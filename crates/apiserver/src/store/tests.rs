//! Rules of the store as its users see them.

use serde_json::{Value, json};

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
