//! Events go an hour after they were last written, by the server's clock. kube-apiserver gives their keys a lease of etcd, which ends
//! without a request of anybody; so they are taken out of the store here, and only watches and metrics see it.
//!
//! What is remembered does not grow with their number: revisions grow with time, so a revision and a time for each minute tell
//! which objects are old enough.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::api::Api;
use crate::store::{EventKind, Expect, Key, ListRequest, Object, WatchError, Write};

/// Both groups' Events are stored here.
const STORAGE: &str = "/events";
/// How long an Event stays after it was written: kube-apiserver's default of `--event-ttl`.
const TTL: SignedDuration = SignedDuration::from_hours(1);
/// How exactly times are remembered: an Event stays this much longer at most.
const STEP: SignedDuration = SignedDuration::from_mins(1);
/// Deletions on their way to the writer at once; others' writes come in between.
const AT_ONCE: usize = 64;
/// Objects that are decoded before others get their turn.
const DECODED: usize = 256;
/// How soon deletions are tried again that were refused.
const RETRY: Duration = Duration::from_secs(10);

pub(super) async fn run(api: Api) {
    while api.store.is_open() {
        // Watched before it is listed, so that nothing comes in between.
        let Ok(mut watch) = api.store.watch(STORAGE, api.store.revision()) else { continue };
        let mut marks = Marks::of_stored(&api).await;
        loop {
            let due = async {
                match marks.due() {
                    Some(at) => {
                        let left = at.duration_since(api.clock.now());
                        api.clock.sleep(left.try_into().unwrap_or(Duration::ZERO)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                events = watch.next() => match events {
                    Ok(events) => {
                        for event in events.iter().filter(|event| event.kind != EventKind::Deleted) {
                            marks.note(event.at, event.revision);
                        }
                    }
                    Err(WatchError::Closed) => return,
                    // So many at once that this one was too slow: what is there tells the rest.
                    Err(WatchError::Compacted(_)) => break,
                },
                () = due => {
                    while let Some(mark) = marks.over(api.clock.now()) {
                        if !expire(&api, mark.revision).await {
                            marks.0.push_front(mark);
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                }
            }
        }
    }
}

/// Deletes what was not written after this revision. `false`: not all of it could be.
async fn expire(api: &Api, revision: u64) -> bool {
    let Ok(listing) = api.store.list(&ListRequest::all(STORAGE)) else { return false };
    let old = listing.objects.into_iter().filter(|object| object.revision() <= revision);
    let deletions = stream::iter(old).map(|object| async move {
        let Some(metadata) = Metadata::of(&object) else { return true };
        let key = Key::new(STORAGE, &*metadata.namespace, &*metadata.name);
        // That it was written meanwhile, or deleted, is as well.
        api.write(Write { key, expect: Expect::Revision(object.revision()), value: None }).await.is_ok()
    });
    let mut deletions = deletions.buffer_unordered(AT_ONCE);
    let mut all = true;
    while let Some(gone) = deletions.next().await {
        all &= gone;
        // Without a file a write waits for nobody.
        tokio::task::yield_now().await;
    }
    all
}

/// Everything up to a revision was written up to a time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    first: Timestamp,
    last: Timestamp,
    revision: u64,
}

/// Oldest first, one for each [`STEP`] in which there were writes.
#[derive(Debug, Default)]
struct Marks(VecDeque<Mark>);

impl Marks {
    /// Of what is in the store. When an object was written is not stored with it; its times that the server sets tell it.
    async fn of_stored(api: &Api) -> Self {
        let mut objects = api.store.list(&ListRequest::all(STORAGE)).map(|listing| listing.objects).unwrap_or_default();
        objects.sort_by_key(Object::revision);
        let mut marks = Self::default();
        for objects in objects.chunks(DECODED) {
            for object in objects {
                if let Some(at) = Metadata::of(object).and_then(|metadata| metadata.written()) {
                    marks.note(at, object.revision());
                }
            }
            tokio::task::yield_now().await;
        }
        marks
    }

    fn note(&mut self, at: Timestamp, revision: u64) {
        match self.0.back_mut() {
            // A clock that is set back makes nothing older.
            Some(mark) if at.duration_since(mark.first) < STEP => {
                mark.last = mark.last.max(at);
                mark.revision = mark.revision.max(revision);
            }
            _ => self.0.push_back(Mark { first: at, last: at, revision }),
        }
    }

    /// When the oldest is over.
    fn due(&self) -> Option<Timestamp> {
        self.0.front().map(|mark| mark.last.checked_add(TTL).unwrap_or(Timestamp::MAX))
    }

    /// The newest of those that are over; all of them are forgotten.
    fn over(&mut self, now: Timestamp) -> Option<Mark> {
        let mut over = None;
        while self.due().is_some_and(|due| due <= now) {
            over = self.0.pop_front();
        }
        over
    }
}

/// What is read of an Event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
struct Managed {
    time: Option<Timestamp>,
}

impl<'a> Metadata<'a> {
    fn of(object: &'a Object) -> Option<Self> {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            metadata: Metadata<'a>,
        }
        serde_json::from_slice::<Event<'a>>(object.bytes()).ok().map(|event| event.metadata)
    }

    /// The last time that the server wrote on it.
    fn written(&self) -> Option<Timestamp> {
        self.managed_fields.iter().map(|managed| managed.time).chain([self.creation_timestamp]).flatten().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_revision_is_over_an_hour_after_its_minute() {
        let mut marks = Marks::default();
        for (second, revision) in [(0, 1), (59, 2), (60, 3), (61, 4)] {
            marks.note(at(second), revision);
        }
        assert_eq!((marks.due(), marks.over(at(3658))), (Some(at(3659)), None));
        assert_eq!(marks.over(at(3659)).map(|mark| mark.revision), Some(2));
        assert_eq!((marks.over(at(9999)).map(|mark| mark.revision), marks.due()), (Some(4), None));
    }

    #[test]
    fn marks_do_not_grow_with_the_writes() {
        let mut marks = Marks::default();
        for revision in 0..100_000 {
            marks.note(at(i64::try_from(revision / 100).unwrap()), revision);
        }
        assert_eq!(marks.0.len(), 17);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_older() {
        let mut marks = Marks::default();
        marks.note(at(1000), 1);
        marks.note(at(10), 2);
        assert_eq!(marks.over(at(4599)), None);
        assert_eq!(marks.over(at(4600)).map(|mark| mark.revision), Some(2));
    }
}
