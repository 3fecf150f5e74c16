//! One controller's queue and its passes. May touch what its controller and `execute` touch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::controller::Controller;
use crate::error::Error;
use crate::execute::{Said, Writes};
use crate::metrics::OfController;
use crate::pass::{Passed, run_pass};
use crate::queue::{Finish, Queue};

/// A controller with its queue.
pub(crate) struct Worker<C: Controller> {
    pub(crate) controller: C,
    queue: Mutex<Queue<C::Key>>,
    said: Mutex<HashMap<C::Key, Said>>,
    bell: Notify,
}

impl<C: Controller> Worker<C> {
    pub(crate) fn new(controller: C) -> Self {
        let queue = Mutex::new(Queue::new(controller.settings()));
        Self { controller, queue, said: Mutex::default(), bell: Notify::new() }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue<C::Key>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> MutexGuard<'_, HashMap<C::Key, Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings after the queue changed.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Runs passes until cancelled or a pass is fatal. After cancellation passes that run are finished (drained) unless
    /// `abort` comes first.
    pub(crate) async fn run(
        self: Arc<Self>,
        cx: Context,
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), Error> {
        let settings = self.controller.settings();
        let of = OfController { controller: self.controller.name().to_owned() };
        let mut running: JoinSet<Result<(), Error>> = JoinSet::new();
        loop {
            while running.len() < settings.concurrency.max(1) && !drain.is_cancelled() {
                let Some(key) = self.queue().take(cx.clock().monotonic()) else { break };
                running.spawn(Arc::clone(&self).pass(cx.clone(), key, abort.clone()));
            }
            let next_due = {
                let queue = self.queue();
                cx.metrics.queued.get_or_create(&of).set(i64::try_from(queue.queued()).unwrap_or(i64::MAX));
                queue.next_due()
            };
            cx.metrics.running.get_or_create(&of).set(i64::try_from(running.len()).unwrap_or(i64::MAX));
            let room = running.len() < settings.concurrency.max(1);
            let due = async {
                match next_due {
                    Some(at) if room => cx.clock().sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            if drain.is_cancelled() && running.is_empty() {
                return Ok(());
            }
            let joined = tokio::select! {
                Some(joined) = async { running.join_next().await }, if !running.is_empty() => Some(joined),
                () = self.bell.notified() => None,
                () = due => None,
                () = drain.cancelled(), if !drain.is_cancelled() => None,
            };
            match joined {
                Some(Ok(Err(fatal))) => return Err(fatal),
                Some(Err(gone)) if gone.is_panic() => return Err(Error::fatal("bug: the engine panicked")),
                _ => {}
            }
        }
    }

    /// One pass with its limits; whatever happens the queue learns of it. Only fatal errors come back.
    async fn pass(self: Arc<Self>, cx: Context, key: C::Key, abort: CancellationToken) -> Result<(), Error> {
        let name = self.controller.name();
        let settings = self.controller.settings();
        let started = cx.clock().monotonic();
        let mut said = self.said().remove(&key).unwrap_or_default();
        let lost = |error: Error| {
            let finish = Finish::Transient { retry_after: None };
            Passed { writes: Writes::default(), result: Err(error), finish }
        };
        let guarded = std::panic::AssertUnwindSafe(run_pass(&self.controller, &cx, &key, &mut said)).catch_unwind();
        let passed = tokio::select! {
            passed = guarded => passed.unwrap_or_else(|_| lost(Error::transient("bug: the pass panicked"))),
            () = cx.clock().sleep(settings.timeout) => lost(Error::transient(format!("no end after {:?}", settings.timeout))),
            () = abort.cancelled() => lost(Error::transient("stopped")),
        };
        let message = passed.message();
        let is_news = said.is_news(message.as_deref());
        if !said.is_empty() {
            self.said().insert(key.clone(), said);
        }
        let now = cx.clock().monotonic();
        cx.metrics.pass(name, passed.outcome(), now.saturating_sub(started).as_secs_f64());
        match (&passed.result, message) {
            (Err(Error::Fatal { .. }), Some(why)) => tracing::error!(controller = name, %key, why, "pass"),
            (Err(Error::Transient { .. }), Some(why)) => tracing::warn!(controller = name, %key, why, "pass"),
            (_, Some(why)) if is_news => tracing::info!(controller = name, %key, why, "pass"),
            (_, Some(why)) => tracing::debug!(controller = name, %key, why, "pass"),
            (_, None) => tracing::debug!(controller = name, %key, writes = passed.writes.total(), "pass"),
        }
        self.queue().finish(&key, &passed.finish, now, cx.chance().unit());
        self.ring();
        match passed.result {
            Err(fatal @ Error::Fatal { .. }) => Err(fatal),
            _ => Ok(()),
        }
    }
}
