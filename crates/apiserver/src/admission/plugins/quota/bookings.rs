//! What was booked and is not stored yet. Counting waits for it: an object that is on its way to the store is in nobody's count, and
//! a count without it would take the booking back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long counting waits for writes that are on their way. It has the turn meanwhile, so that no new ones come.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bookings of a server.
#[derive(Default)]
pub(crate) struct Bookings {
    /// Held while something is booked or counted.
    turn: tokio::sync::Mutex<()>,
    /// By namespace, how many writes are on their way.
    open: Mutex<BTreeMap<String, usize>>,
    ended: Notify,
}

/// A write that was booked and is on its way to the store, until this is dropped.
pub(crate) struct Booking {
    of: Arc<Bookings>,
    namespace: String,
}

impl Bookings {
    /// One at a time: a conflict is then only with a client.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Notes a write that is on its way.
    pub(super) fn begin(self: &Arc<Self>, namespace: &str) -> Booking {
        let mut open = self.open();
        let count = open.entry(namespace.to_owned()).or_default();
        *count = count.saturating_add(1);
        Booking { of: Arc::clone(self), namespace: namespace.to_owned() }
    }

    /// Waits until nothing of the namespace is on its way. `false`: that takes too long.
    pub(crate) async fn stored(&self, namespace: &str) -> bool {
        let stored = async {
            loop {
                let ended = self.ended.notified();
                if !self.open().contains_key(namespace) {
                    return;
                }
                ended.await;
            }
        };
        tokio::time::timeout(PATIENCE, stored).await.is_ok()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        let mut open = self.of.open();
        if let Some(count) = open.get_mut(&self.namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.namespace);
            }
        }
        drop(open);
        self.of.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn counting_waits_until_everything_booked_in_the_namespace_is_stored() {
        let bookings = Arc::new(Bookings::default());
        let (first, second) = (bookings.begin("a"), bookings.begin("a"));
        assert!(bookings.stored("b").await, "others do not matter");
        let mut waits = Box::pin(bookings.stored("a"));
        drop(first);
        assert!((&mut waits).now_or_never().is_none(), "one is on its way");
        drop(second);
        assert!(waits.await);
    }
}
