//! Many controllers in one process: shared watches, readiness, leadership, an orderly end. May touch the API server.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cache::Sync;
use crate::context::{Context, Identity};
use crate::controller::{Change, Controller, Selection};
use crate::error::Error;
use crate::health::{Readiness, State};
use crate::lease::{Election, LeaseConfig, Lost};
use crate::metrics::OfController;
use crate::watch::{self, Watch};
use crate::worker::Worker;

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
type Start = Box<dyn Fn(CancellationToken, CancellationToken) -> Running + Send + std::marker::Sync>;

struct Part {
    name: &'static str,
    selections: Vec<Selection>,
    start: Start,
}

/// Runs controllers.
pub struct Runtime {
    cx: Context,
    parts: Vec<Part>,
    watches: HashMap<Selection, Watch>,
    lease: Option<LeaseConfig>,
    readiness: Readiness,
}

impl Runtime {
    /// A runtime without controllers.
    pub fn new(cx: Context) -> Self {
        cx.metrics().leading.set(0);
        Self { cx, parts: Vec::new(), watches: HashMap::new(), lease: None, readiness: Readiness::default() }
    }

    /// Adds a controller. Its sources share watches with those of the others where they select the same.
    #[must_use]
    pub fn with_controller<C: Controller>(self, controller: C) -> Self {
        let cx = self.cx.clone();
        self.with_controller_in(cx, controller)
    }

    /// Adds a controller that reads and writes as someone else than the runtime, whose own client watches for all.
    #[must_use]
    pub fn with_controller_as<C: Controller>(self, client: kube::Client, identity: Identity, controller: C) -> Self {
        let cx = self.cx.acting_as(client, identity);
        self.with_controller_in(cx, controller)
    }

    fn with_controller_in<C: Controller>(mut self, cx: Context, controller: C) -> Self {
        let name = controller.name();
        let worker = Arc::new(Worker::new(controller));
        let mut selections = Vec::new();
        for source in worker.controller.sources() {
            let (worker, cx, keys) = (Arc::clone(&worker), self.cx.clone(), source.keys);
            let listener = move |change: &Change<'_>| {
                let now = cx.clock().monotonic();
                let keys = keys(change);
                let mut queue = worker.queue();
                keys.iter().for_each(|key| queue.add(key, now));
                drop(queue);
                worker.ring();
            };
            selections.push(source.selection.clone());
            let watch = self.watches.entry(source.selection.clone()).or_insert_with(|| Watch::new(source.selection));
            watch.listeners.push(Box::new(listener));
        }
        {
            let (worker, cx) = (Arc::clone(&worker), self.cx.clone());
            self.cx.on_wake(Arc::new(move |on| {
                worker.queue().wake(on, cx.clock().monotonic());
                worker.ring();
            }));
        }
        let start = move |drain, abort| -> Running { Box::pin(Arc::clone(&worker).run(cx.clone(), drain, abort)) };
        self.parts.push(Part { name, selections, start: Box::new(start) });
        self.readiness.set(name, State::NotReady("starting".into()));
        self
    }

    /// Writes only while holding this lease. Without it the runtime writes at once.
    #[must_use]
    pub fn with_lease(mut self, lease: LeaseConfig) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Readiness of the runtime's controllers, one part each; also of its leadership, which a stand-by is ready without.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The context that the controllers share.
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// Runs until cancelled: then passes that run are finished, the lease is released and the result is `Ok`.
    ///
    /// # Errors
    /// Only [`Error::Fatal`]: the process must end with non-zero. An unreachable or refusing API server is no error here;
    /// readiness tells of it.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Error> {
        let Self { cx, parts, watches, lease, readiness } = self;
        let stop = CancellationToken::new();
        let _stop_on_return = stop.clone().drop_guard();
        let (changed, changes) = signal::channel(0_u64);
        let (needed, need) = signal::channel(false);
        let (tick, ticks) = signal::channel(0_u64);
        let (back, backs) = signal::channel(0_u64);
        let watches: HashMap<Selection, Arc<Watch>> = watches.into_iter().map(|(s, w)| (s, Arc::new(w))).collect();
        let mut background = JoinSet::new();
        for watch in watches.values() {
            cx.caches.add(Arc::clone(watch));
            let heard = watch::Heard { definitions: ticks.clone(), back: backs.clone() };
            background.spawn(watch::run(cx.clone(), Arc::clone(watch), changed.clone(), heard, stop.clone()));
        }
        background.spawn(watch::definitions(cx.clone(), need, tick, stop.clone()));
        let parts: Vec<Synced> = parts
            .into_iter()
            .map(|part| {
                let watches = part.selections.iter().filter_map(|s| watches.get(s).cloned()).collect();
                Synced { part, watches, readiness: readiness.clone(), cx: cx.clone() }
            })
            .collect();
        let parts = Arc::new(parts);
        {
            let (parts, mut changes) = (Arc::clone(&parts), changes.clone());
            background.spawn(async move {
                loop {
                    parts.iter().for_each(|part| part.look(&needed));
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        let Some(lease) = lease else {
            cx.metrics().leading.set(1);
            return lead(&parts, &changes, cancel, CancellationToken::new()).await;
        };
        let mut election = Election::new(cx.clone(), lease, back);
        let part = "leader-election";
        let others = || State::Waiting("another process leads, or none does yet".into());
        readiness.set(part, others());
        loop {
            let told = |failed: Option<&Error>| {
                readiness.set(
                    part,
                    match failed {
                        None => others(),
                        // The namespace of the Lease, for instance: nothing is wrong with the API server.
                        Some(Error::Waiting { message, .. }) => State::Waiting(message.clone()),
                        Some(error) => State::NotReady(error.to_string()),
                    },
                );
            };
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = election.acquire(told) => {}
            }
            readiness.set(part, State::Ready);
            cx.begin_term();
            cx.metrics().leading.set(1);
            let (drain, abort) = (cancel.child_token(), CancellationToken::new());
            let result = {
                let mut leading = std::pin::pin!(lead(&parts, &changes, drain, abort.clone()));
                tokio::select! {
                    result = &mut leading => Some(result),
                    lost = election.keep() => {
                        // Another process may write from now on: nothing is finished, everything is dropped.
                        abort.cancel();
                        readiness.set(part, match lost {
                            Lost::Taken => others(),
                            Lost::NotRenewed => State::NotReady("the lease could not be renewed in time".into()),
                        });
                        None
                    }
                }
            };
            cx.metrics().leading.set(0);
            if let Some(result) = result {
                election.release().await;
                return result;
            }
        }
    }
}

/// Runs every controller whose sources are known, until drained.
async fn lead(
    parts: &Arc<Vec<Synced>>,
    changes: &signal::Receiver<u64>,
    drain: CancellationToken,
    abort: CancellationToken,
) -> Result<(), Error> {
    let mut workers = JoinSet::new();
    for at in 0..parts.len() {
        let (parts, mut changes) = (Arc::clone(parts), changes.clone());
        let (drain, abort) = (drain.clone(), abort.clone());
        workers.spawn(async move {
            let part = &parts[at];
            while !part.is_synced() {
                tokio::select! {
                    () = drain.cancelled() => return Ok(()),
                    gone = changes.changed() => if gone.is_err() { return Ok(()) },
                }
            }
            (part.part.start)(drain, abort).await
        });
    }
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(fatal)) => return Err(fatal),
            Err(gone) if gone.is_cancelled() => {}
            Err(_) => return Err(Error::fatal("bug: a worker panicked")),
        }
    }
    Ok(())
}

struct Synced {
    part: Part,
    watches: Vec<Arc<Watch>>,
    readiness: Readiness,
    cx: Context,
}

impl Synced {
    /// Whether every source is either synced or known not to be served.
    fn is_synced(&self) -> bool {
        self.watches.iter().all(|watch| watch.cache.sync() != Sync::Pending)
    }

    /// Tells readiness how things stand, and the definitions' watch whether it is needed.
    fn look(&self, needed: &signal::Sender<bool>) {
        let mut state = State::Ready;
        for watch in &self.watches {
            let selection = &watch.cache.selection;
            match (watch.cache.sync(), watch.failure()) {
                (Sync::Missing, _) => {
                    needed.send_replace(true);
                    if state == State::Ready {
                        state = State::Waiting(format!("kind {} is not served", selection.kind));
                    }
                }
                (_, Some(error)) => state = State::NotReady(error.to_string()),
                (Sync::Pending, None) => state = State::NotReady(format!("listing {selection}")),
                (Sync::Synced, None) => {}
            }
            if matches!(state, State::NotReady(_)) {
                break;
            }
        }
        let of = OfController { controller: self.part.name.to_owned() };
        self.cx.metrics.synced.get_or_create(&of).set(i64::from(self.is_synced()));
        self.readiness.set(self.part.name, state);
    }
}
