//! Time and chance. Everything in the engine and in controllers that needs either asks here, so a test owns both.
//!
//! May touch: the system clock, the system's random source. Nothing else in this crate reads them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

/// Wall time for what is written down, monotonic time for how long to wait. Clones share one clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual { start: Timestamp, elapsed: Arc<watch::Sender<Duration>> },
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that stands still at `start` until [`Clock::advance`] is called.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual { start, elapsed: Arc::new(watch::Sender::new(Duration::ZERO)) })
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => Timestamp::now(),
            Source::Manual { start, elapsed } => start.saturating_add(*elapsed.borrow()).unwrap_or(Timestamp::MAX),
        }
    }

    /// Time since this clock was made. It never jumps: a changed wall clock neither delays nor hastens a retry.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual { elapsed, .. } => *elapsed.borrow(),
        }
    }

    /// Moves a manual clock forward and wakes whoever sleeps on it. On the system's clock it does nothing.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { elapsed, .. } = &self.0 {
            elapsed.send_modify(|at| *at = at.saturating_add(by));
        }
    }

    /// Returns when [`Clock::monotonic`] has reached `at`.
    pub async fn sleep_until(&self, at: Duration) {
        match &self.0 {
            Source::System { started } => tokio::time::sleep(at.saturating_sub(started.elapsed())).await,
            Source::Manual { elapsed, .. } => {
                let mut elapsed = elapsed.subscribe();
                // The sender lives in `self`, so this cannot fail while we are polled.
                let _ = elapsed.wait_for(|now| *now >= at).await;
            }
        }
    }

    /// Returns after `span` on this clock.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(self.monotonic().saturating_add(span)).await;
    }
}

/// A source of chance for jitter. Clones share one sequence. Not for keys or tokens.
#[derive(Clone, Debug)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// The same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// `span` lengthened or shortened by at most `share` of itself (`0.1`: ±10 %).
    pub fn jitter(&self, span: Duration, share: f64) -> Duration {
        span.mul_f64((1.0 + share * (2.0 * self.unit() - 1.0)).max(0.0))
    }
}
