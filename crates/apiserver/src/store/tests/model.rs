//! The store against a model: a map per revision.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PLACES: [(&str, &str); 5] = [("a", "x"), ("a", "x-y"), ("a-b", "x"), ("a-b", "z"), ("b", "x")];

/// By `namespace/` and name; the value is the object's revision and text.
type Model = BTreeMap<(String, String), (u64, String)>;

#[derive(Clone, Debug)]
struct Op {
    place: usize,
    /// Expects what is there, or else what is not.
    right: bool,
    delete: bool,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (0..PLACES.len(), prop::bool::weighted(0.9), prop::bool::weighted(0.3));
    prop::collection::vec(op.prop_map(|(place, right, delete)| Op { place, right, delete }), 0..40)
}

fn order(namespace: &str, name: &str) -> (String, String) {
    (format!("{namespace}/"), name.to_owned())
}

fn row(object: &Object) -> (u64, String) {
    (object.revision(), data(object).as_str().unwrap().to_owned())
}

fn rows(listing: &Listing) -> Vec<(u64, String)> {
    listing.objects.iter().map(row).collect()
}

/// Makes the writes in the store and in the model; answers the model at every revision from 1 on.
async fn run(store: &Store, ops: Vec<Op>) -> Vec<Model> {
    let mut past = vec![Model::new()];
    for (i, Op { place, right, delete }) in ops.into_iter().enumerate() {
        let mut now = past.last().unwrap().clone();
        let (namespace, name) = PLACES[place];
        let current = now.get(&order(namespace, name)).map(|(revision, _)| *revision);
        let expect = match (current, right) {
            (Some(revision), true) => Expect::Revision(revision),
            (None, true) | (Some(_), false) => Expect::Absent,
            (None, false) => Expect::Revision(7),
        };
        let text = i.to_string();
        let delete = delete && current.is_some();
        let value = if delete { None } else { value(&text) };
        let outcome = store.write(Write { key: Key::new(RESOURCE, namespace, name), expect, value }).await;
        if right {
            let revision = past.len() as u64 + 1;
            assert_eq!(outcome.unwrap().revision, revision);
            if delete {
                now.remove(&order(namespace, name));
            } else {
                now.insert(order(namespace, name), (revision, text));
            }
            past.push(now);
        } else {
            assert!(matches!(outcome, Err(WriteError::Conflict(_))));
        }
    }
    past
}

/// All events after a revision, without waiting.
async fn events(store: &Store, from: u64) -> Vec<Arc<Event>> {
    let mut watch = store.watch(RESOURCE, from).unwrap();
    let mut events = Vec::new();
    while watch.progress() < store.revision() {
        events.extend(watch.next().await.unwrap());
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lists_and_watches_agree_with_the_model_at_every_revision(ops in ops(), limit in 1_usize..4) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = memory();
            let past = run(&store, ops).await;
            let last = past.last().unwrap();
            for (at, model) in (1..).zip(&past) {
                // The whole list, and one namespace of it.
                let all = ListRequest { at: Some(at), ..ListRequest::all(RESOURCE) };
                let listing = store.list(&all).unwrap();
                prop_assert_eq!(rows(&listing), model.values().cloned().collect::<Vec<_>>());
                prop_assert_eq!(listing.revision, at);
                let one = store.list(&ListRequest { namespace: Some("a"), ..all }).unwrap();
                let wanted = model.iter().filter(|((namespace, _), _)| namespace == "a/");
                prop_assert_eq!(rows(&one), wanted.map(|(_, row)| row.clone()).collect::<Vec<_>>());
                // The same in pages.
                let (mut paged, mut next) = (Vec::new(), None::<Position>);
                loop {
                    let after = next.as_ref().map(|next| (&*next.namespace, &*next.name));
                    let page = store.list(&ListRequest { after, limit: Some(limit), ..all }).unwrap();
                    paged.extend(rows(&page));
                    prop_assert_eq!(page.remaining, model.len() - paged.len());
                    next = page.next;
                    if next.is_none() {
                        break;
                    }
                }
                prop_assert_eq!(&paged, &rows(&listing));
                // Events replayed over the list give the present.
                let mut replayed = model.clone();
                for event in events(&store, at).await {
                    let place = order(&event.key.namespace, &event.key.name);
                    let before = replayed.remove(&place);
                    prop_assert_eq!(before, event.previous.as_ref().map(row));
                    if event.kind != EventKind::Deleted {
                        replayed.insert(place, row(&event.object));
                    }
                }
                prop_assert_eq!(&replayed, last);
            }
            Ok(())
        })?;
    }
}
