//! A watch: a cursor into the history of one resource. It has no queue of its own, so a slow one costs nothing and holds up
//! nobody; when events that it has not seen fall out of the history it ends.

use std::sync::Arc;

use tokio::sync::watch::Receiver;

use super::index::{After, Batch};
use super::{Compacted, Event, Lifecycle, Shared};

/// What a watch takes at once. Bounds how long the index is locked, and what a client that stopped reading keeps from being freed
/// when it has long left the history.
const BATCH: Batch = Batch { events: 256, bytes: 256 << 10 };

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It was too slow: events that it had not seen are gone.
    #[error(transparent)]
    Compacted(#[from] Compacted),
    /// The store was closed, or failed.
    #[error("the store is closed")]
    Closed,
}

/// All events of one resource after a revision, in order, none twice.
pub struct Watch {
    shared: Arc<Shared>,
    resource: Arc<str>,
    cursor: u64,
    changed: Receiver<()>,
    lifecycle: Receiver<Lifecycle>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, resource: Arc<str>, from: u64, changed: Receiver<()>) -> Self {
        let lifecycle = shared.lifecycle.subscribe();
        Self { shared, resource, cursor: from, changed, lifecycle }
    }

    /// The next events: at least one, at most 256; not many that are large. Dropping the future loses none.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            self.changed.mark_unchanged();
            let after = self.shared.index().after(&self.resource, self.cursor, BATCH);
            match after {
                After::Events(events) => {
                    self.cursor = events.last().map_or(self.cursor, |event| event.revision);
                    return Ok(events);
                }
                After::Compacted(compacted) => return Err(compacted.into()),
                After::Nothing(_) if self.lifecycle.borrow().is_over() => return Err(WatchError::Closed),
                After::Nothing(_) => {}
            }
            tokio::select! {
                // The sender lives in the index, which this watch holds.
                _ = self.changed.changed() => {}
                _ = self.lifecycle.changed() => {}
            }
        }
    }

    /// The revision up to which this watch has handed out everything: what a bookmark may promise. It moves on with other
    /// resources' writes.
    pub fn progress(&mut self) -> u64 {
        if let After::Nothing(revision) = self.shared.index().after(&self.resource, self.cursor, Batch::ONE) {
            // A watch may start in the future.
            self.cursor = self.cursor.max(revision);
        }
        self.cursor
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({} from {})", self.resource, self.cursor)
    }
}
