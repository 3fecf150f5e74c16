//! The one writer: a thread that takes what waits in the queue, checks it, makes it durable with one commit, publishes it
//! and answers, in that order. Nothing is visible before it is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::disk::{Backend, DiskError};
use super::{Committed, Event, EventKind, Expect, Key, Lifecycle, Object, Shared, Write, WriteError};

/// Writes that may wait; more callers wait outside.
pub(super) const QUEUE: usize = 1024;
/// Largest group: bounds how long the first caller of a group waits for the last.
const GROUP_WRITES: usize = 512;
/// Largest group in bytes.
const GROUP_BYTES: usize = 8 << 20;

/// The longest that a group is waited for: a commit costs the processor about the same for one write as for twenty, so under load
/// it pays to let those come that came last time. A writer who is alone never waits.
const GATHER: Duration = Duration::from_micros(600);
/// So many are worth no wait.
const ENOUGH: usize = 32;
/// How often it looks whether they are there.
const LOOK: Duration = Duration::from_micros(60);

type Outcome = Result<Committed, WriteError>;

pub(super) enum Request {
    Write(Write, oneshot::Sender<Outcome>),
    /// Everything before it is done first.
    Close,
}

/// Runs until the queue is closed, `Close` comes or the disk fails.
pub(super) fn run(mut queue: mpsc::Receiver<Request>, shared: &Arc<Shared>, mut backend: Box<dyn Backend>) {
    // Also when this thread panics: no caller may wait for a writer that is gone.
    let _closes = CloseOnDrop(shared);
    let mut group = Vec::new();
    let mut before = 0;
    while let Some(first) = queue.blocking_recv() {
        if before > 1 {
            gather(&queue, before);
        }
        let mut next = Some(first);
        let (mut bytes, mut close) = (0, false);
        while let Some(request) = next {
            match request {
                Request::Close => {
                    close = true;
                    break;
                }
                Request::Write(write, reply) => {
                    bytes += write.value.as_ref().map_or(0, super::Encoded::len);
                    group.push((write, reply));
                }
            }
            let room = group.len() < GROUP_WRITES && bytes < GROUP_BYTES;
            next = if room { queue.try_recv().ok() } else { None };
        }
        before = group.len();
        let (writes, replies): (Vec<Write>, Vec<_>) = group.drain(..).unzip();
        let (outcomes, survived) = commit(writes, shared, backend.as_mut());
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // A caller that went away does not undo its write.
            let _ = reply.send(outcome);
        }
        if let Err(cause) = survived {
            shared.end(Lifecycle::Failed(cause));
            return;
        }
        if close {
            return;
        }
    }
}

/// Waits until as many writes are there as `before`, the first of them included, but not for long.
fn gather(queue: &mpsc::Receiver<Request>, before: usize) {
    let wanted = before.min(ENOUGH);
    let until = Instant::now() + GATHER;
    while queue.len() + 1 < wanted && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
}

struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end(Lifecycle::Closed);
    }
}

/// What a group decided for one write.
enum Decision {
    /// The event at this place of the group.
    Event(usize),
    /// The expectation did not hold.
    Conflict {
        current: Option<Object>,
        /// `current` is of this group: not durable yet.
        pending: bool,
    },
}

/// A write to a store that keeps nothing, by its caller: there is nothing to wait for, so nothing is gained by a thread.
pub(super) fn commit_here(write: Write, shared: &Arc<Shared>) -> Outcome {
    let unknown = || Err(WriteError::Closed("the write got no answer".into()));
    commit(vec![write], shared, &mut super::disk::Nowhere).0.pop().unwrap_or_else(unknown)
}

/// One group, from checks to outcomes. `Err` is the cause of a failure that the store does not survive.
fn commit(writes: Vec<Write>, shared: &Arc<Shared>, backend: &mut dyn Backend) -> (Vec<Outcome>, Result<(), Arc<str>>) {
    let now = shared.clock.now();
    let (decisions, events) = decide(writes, shared, now);
    let result = if events.is_empty() { Ok(()) } else { timed(shared, &events, backend) };
    let outcomes: Vec<Outcome> = match &result {
        Ok(()) => decisions
            .into_iter()
            .map(|decision| match decision {
                Decision::Event(at) => {
                    Ok(Committed { revision: events[at].revision, object: events[at].object.clone() })
                }
                Decision::Conflict { current, .. } => Err(WriteError::Conflict(current)),
            })
            .collect(),
        Err(error) => decisions
            .into_iter()
            .map(|decision| match (decision, error) {
                (Decision::Conflict { current, pending: false }, _) => Err(WriteError::Conflict(current)),
                (_, DiskError::Full) => Err(WriteError::Full),
                (_, DiskError::Fatal(cause)) => Err(WriteError::Closed(cause.as_str().into())),
            })
            .collect(),
    };
    if result.is_ok() && !events.is_empty() {
        let woken = shared.index_mut().publish(events, now);
        for changed in woken {
            changed.send_replace(());
        }
    }
    let survived = match result {
        Err(DiskError::Fatal(cause)) => Err(cause.into()),
        _ => Ok(()),
    };
    (outcomes, survived)
}

/// A commit, counted.
fn timed(shared: &Arc<Shared>, events: &[Event], backend: &mut dyn Backend) -> Result<(), DiskError> {
    let began = Instant::now();
    let result = backend.commit(events, shared);
    let work = &shared.work;
    work.nanoseconds.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    match &result {
        Ok(()) => {
            if work.is_full.load(Relaxed) {
                work.is_full.store(false, Relaxed);
                tracing::info!("the disk has space again: writes are taken");
            }
            work.commits.fetch_add(1, Relaxed);
            work.writes.fetch_add(events.len() as u64, Relaxed);
        }
        Err(DiskError::Full) => {
            // Once, not for each write that is refused.
            if !work.is_full.swap(true, Relaxed) {
                tracing::warn!(
                    "the disk is full: writes are refused with 507, reads go on; they are taken again when there is space"
                );
            }
            work.full.fetch_add(events.len() as u64, Relaxed);
        }
        Err(DiskError::Fatal(_)) => {}
    }
    result
}

/// Checks each write against the committed state and the writes before it in the group, and builds the events.
fn decide(writes: Vec<Write>, shared: &Shared, now: jiff::Timestamp) -> (Vec<Decision>, Vec<Event>) {
    // Nobody else writes to the index, so what is read here still holds when the group is published.
    let index = shared.index();
    let mut events: Vec<Event> = Vec::with_capacity(writes.len());
    let mut pending: HashMap<Key, usize> = HashMap::new();
    let mut decisions = Vec::with_capacity(writes.len());
    for Write { key, expect, value } in writes {
        let earlier = pending.get(&key).map(|at| &events[*at]);
        let current = match earlier {
            Some(event) => (event.kind != EventKind::Deleted).then(|| event.object.clone()),
            None => index.get(&key.resource, &key.namespace, &key.name).cloned(),
        };
        let holds = match (expect, &current) {
            (Expect::Absent, None) => true,
            (Expect::Revision(revision), Some(object)) => object.revision() == revision,
            (Expect::Absent, Some(_)) | (Expect::Revision(_), None) => false,
        };
        if !holds {
            decisions.push(Decision::Conflict { current, pending: earlier.is_some() });
            continue;
        }
        let revision = index.revision + events.len() as u64 + 1;
        let (kind, (frame, object)) = match (&current, value) {
            (None, Some(value)) => (EventKind::Added, value.stored(EventKind::Added, revision, revision)),
            (Some(old), Some(value)) => {
                (EventKind::Modified, value.stored(EventKind::Modified, revision, old.created_revision()))
            }
            (Some(old), None) => (EventKind::Deleted, old.deleted(revision)),
            // To delete what is expected to be absent: nothing to do, and nothing that could be answered.
            (None, None) => {
                decisions.push(Decision::Conflict { current: None, pending: earlier.is_some() });
                continue;
            }
        };
        pending.insert(key.clone(), events.len());
        decisions.push(Decision::Event(events.len()));
        events.push(Event { revision, kind, key, object, previous: current, frame, at: now });
    }
    (decisions, events)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Level, Metadata, Subscriber};

    use super::*;

    /// Answers commits as it is told.
    struct Told(Vec<Result<(), DiskError>>);

    impl Backend for Told {
        fn commit(&mut self, _: &[Event], _: &Arc<Shared>) -> Result<(), DiskError> {
            self.0.pop().unwrap_or(Ok(()))
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_full_disk_is_told_once_and_so_is_its_end() {
        let shared = Arc::new(Shared::new(
            super::super::index::Index::new(1, Default::default()),
            crate::clock::Clock::system(),
        ));
        let lines = Lines::default();
        let mut backend = Told(vec![Ok(()), Ok(()), Err(DiskError::Full), Err(DiskError::Full), Ok(())]);
        tracing::subscriber::with_default(lines.clone(), || {
            for _ in 0..5 {
                let _ = timed(&shared, &[], &mut backend);
            }
        });
        assert_eq!(*lines.0.lock().unwrap(), [Level::WARN, Level::INFO]);
    }
}
