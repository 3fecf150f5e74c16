//! What a listener counts of its connections, so that what clients do to it can be seen. Counters only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of a listener. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    handshakes_late: AtomicU64,
    silent: AtomicU64,
    idle: AtomicU64,
    broken: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted, ever.
    pub accepted: u64,
    /// Connections that are open, those in their handshake included.
    pub open: u64,
    /// Connections in their TLS handshake.
    pub handshakes: u64,
    /// Handshakes that failed, ever.
    pub handshakes_failed: u64,
    /// Handshakes that were given up after [`Options::handshake_timeout`](crate::Options::handshake_timeout), ever.
    pub handshakes_late: u64,
    /// Connections that were closed because no request came in [`Options::head_timeout`](crate::Options::head_timeout), ever.
    pub silent: u64,
    /// Connections that were told to go because no request ran for [`Options::idle_timeout`](crate::Options::idle_timeout), ever.
    pub idle: u64,
    /// Connections that ended with an error of the protocol or of the network, those that reset too many streams among them, ever.
    pub broken: u64,
}

/// Something that is counted as long as it is there.
pub(crate) struct Held<'a>(&'a AtomicU64);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn held(counter: &AtomicU64) -> Held<'_> {
    counter.fetch_add(1, Relaxed);
    Held(counter)
}

impl Traffic {
    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        let Counters { accepted, open, handshakes, handshakes_failed, handshakes_late, silent, idle, broken } =
            &*self.0;
        let [accepted, open, handshakes] = [accepted, open, handshakes].map(|counter| counter.load(Relaxed));
        let [handshakes_failed, handshakes_late] = [handshakes_failed, handshakes_late].map(|c| c.load(Relaxed));
        let [silent, idle, broken] = [silent, idle, broken].map(|counter| counter.load(Relaxed));
        Counts { accepted, open, handshakes, handshakes_failed, handshakes_late, silent, idle, broken }
    }

    pub(crate) fn connection(&self) -> Held<'_> {
        self.0.accepted.fetch_add(1, Relaxed);
        held(&self.0.open)
    }

    pub(crate) fn handshake(&self) -> Held<'_> {
        held(&self.0.handshakes)
    }

    pub(crate) fn handshake_failed(&self) {
        self.0.handshakes_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn handshake_late(&self) {
        self.0.handshakes_late.fetch_add(1, Relaxed);
    }

    pub(crate) fn silent(&self) {
        self.0.silent.fetch_add(1, Relaxed);
    }

    pub(crate) fn idle(&self) {
        self.0.idle.fetch_add(1, Relaxed);
    }

    pub(crate) fn broken(&self) {
        self.0.broken.fetch_add(1, Relaxed);
    }
}
