//! What the engine counts. Labels are bounded: a controller's name, a class, a verb; never a key. Touches nothing.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// One controller.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfController {
    /// [`Controller::name`](crate::Controller::name).
    pub controller: String,
}

/// One controller and how its pass ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfPass {
    /// The controller.
    pub controller: String,
    /// `settled`, `invalid`, `waiting`, `transient` or `fatal`.
    pub outcome: String,
}

/// One controller and what became of an intended write.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfWrite {
    /// The controller.
    pub controller: String,
    /// `applied`, `skipped`, `deleted`, `status` or `event`.
    pub write: String,
}

/// A kind of request to the API server and its answer.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `other`.
    pub verb: String,
    /// The plural name of the kind; empty for what is about none, such as the server's version. Bounded by the kinds that
    /// controllers look after.
    pub resource: String,
    /// The HTTP status code, or `none` when there was no answer.
    pub code: String,
}

/// The engine's metrics. Clones share the figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Keys waiting for a worker.
    pub queued: Family<OfController, Gauge>,
    /// Keys being worked on.
    pub running: Family<OfController, Gauge>,
    /// Passes by outcome.
    pub passes: Family<OfPass, Counter>,
    /// Duration of passes.
    pub seconds: Family<OfController, Histogram>,
    /// Intended writes by what became of them.
    pub writes: Family<OfWrite, Counter>,
    /// Objects of ours that others were found to have changed or deleted.
    pub drifts: Family<OfController, Counter>,
    /// Requests to the API server, by verb, resource and answer.
    pub requests: Family<OfRequest, Counter>,
    /// 1 when every source is synced or known to be missing.
    pub synced: Family<OfController, Gauge>,
    /// 1 while this process holds the lease or needs none.
    pub leading: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        // 1 ms to 65 s.
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 9));
        Self {
            queued: Family::default(),
            running: Family::default(),
            passes: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            writes: Family::default(),
            drifts: Family::default(),
            requests: Family::default(),
            synced: Family::default(),
            leading: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Registers everything below the prefix `reconcile`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("reconcile");
        registry.register("queued_keys", "Keys waiting for a worker", self.queued.clone());
        registry.register("running_keys", "Keys being worked on", self.running.clone());
        registry.register("passes", "Passes by outcome", self.passes.clone());
        registry.register_with_unit("pass_duration", "Duration of passes", Unit::Seconds, self.seconds.clone());
        registry.register("writes", "Intended writes by what became of them", self.writes.clone());
        registry.register("drifts", "Objects that others were found to have changed or deleted", self.drifts.clone());
        registry.register(
            "requests",
            "Requests to the API server, by verb, resource and answer",
            self.requests.clone(),
        );
        registry.register("synced", "1 when every source is synced or not served", self.synced.clone());
        registry.register("leading", "1 while this process may write", self.leading.clone());
    }

    pub(crate) fn pass(&self, controller: &str, outcome: &str, seconds: f64) {
        let of = OfController { controller: controller.to_owned() };
        self.seconds.get_or_create(&of).observe(seconds);
        self.passes.get_or_create(&OfPass { controller: of.controller, outcome: outcome.to_owned() }).inc();
    }

    pub(crate) fn drift(&self, controller: &str, objects: usize) {
        let of = OfController { controller: controller.to_owned() };
        self.drifts.get_or_create(&of).inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
    }

    pub(crate) fn request(&self, verb: &str, resource: String, code: Option<http::StatusCode>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.as_str().to_owned());
        self.requests.get_or_create(&OfRequest { verb: verb.to_owned(), resource, code }).inc();
    }

    pub(crate) fn write(&self, controller: &str, write: &str) {
        self.writes.get_or_create(&OfWrite { controller: controller.to_owned(), write: write.to_owned() }).inc();
    }
}
