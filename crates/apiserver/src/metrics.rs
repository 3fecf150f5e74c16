//! `/metrics`: what the server does and what is done to it, in Prometheus' text format. Names are kube-apiserver's where it has
//! the same. No label's values come from clients.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::api::Api;

/// What handlers count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: AtomicU64,
    running: AtomicU64,
    watches: AtomicU64,
    watch_events: AtomicU64,
    watches_expired: AtomicU64,
    unchanged: AtomicU64,
}

/// A request or watch that is counted as long as it runs.
pub(crate) struct Running(Api, fn(&Metrics) -> &AtomicU64);

impl Drop for Running {
    fn drop(&mut self) {
        (self.1)(&self.0.metrics).fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    pub(crate) fn request(api: &Api) -> Running {
        api.metrics.requests.fetch_add(1, Relaxed);
        Self::running(api, |metrics| &metrics.running)
    }

    pub(crate) fn watch(api: &Api) -> Running {
        Self::running(api, |metrics| &metrics.watches)
    }

    fn running(api: &Api, counter: fn(&Self) -> &AtomicU64) -> Running {
        counter(&api.metrics).fetch_add(1, Relaxed);
        Running(api.clone(), counter)
    }

    pub(crate) fn watch_event(&self) {
        self.watch_events.fetch_add(1, Relaxed);
    }

    /// A watch that was too slow.
    pub(crate) fn watch_expired(&self) {
        self.watches_expired.fetch_add(1, Relaxed);
    }

    /// An apply that was answered without merging.
    pub(crate) fn unchanged(&self) {
        self.unchanged.fetch_add(1, Relaxed);
    }
}

/// The whole page.
pub(crate) fn page(api: &Api) -> String {
    let mut out = String::new();
    let mut add = |kind: &str, name: &str, help: &str, labels: &str, value: String| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n");
    };
    let of = |counter: &AtomicU64| counter.load(Relaxed).to_string();
    let Metrics { requests, running, watches, watch_events, watches_expired, unchanged } = &api.metrics;
    add("gauge", "apiserver_current_inflight_requests", "Requests that are being answered.", "", of(running));
    add("gauge", "apiserver_longrunning_requests", "Watches that are open.", "{verb=\"WATCH\"}", of(watches));
    add("counter", "apiserver_watch_events_total", "Events sent to watches.", "", of(watch_events));
    let audit = api.audit.failed().to_string();
    let counters = [
        ("paddock_apiserver_requests_total", "Requests.", of(requests)),
        ("paddock_apiserver_watches_expired_total", "Watches that ended with 410: too slow.", of(watches_expired)),
        ("paddock_apiserver_unchanged_applies_total", "Applies known to change nothing.", of(unchanged)),
        ("apiserver_audit_error_total", "Lines of the audit log that could not be written.", audit),
    ];
    let stats = api.store.stats();
    let commits = [
        ("paddock_apiserver_store_commits_total", "Groups of writes that were committed.", stats.commits.to_string()),
        ("paddock_apiserver_store_writes_total", "Writes that were committed.", stats.writes.to_string()),
        ("paddock_apiserver_store_full_total", "Writes refused because the disk was full.", stats.full.to_string()),
        (
            "paddock_apiserver_store_commit_seconds_total",
            "Time spent committing.",
            format!("{:.6}", stats.committing.as_secs_f64()),
        ),
    ];
    let counts = api.traffic.counts();
    let connections = [
        ("paddock_apiserver_connections_total", "Connections accepted.", counts.accepted.to_string()),
        ("paddock_apiserver_handshakes_failed_total", "TLS handshakes failed.", counts.handshakes_failed.to_string()),
        ("paddock_apiserver_handshakes_late_total", "TLS handshakes given up.", counts.handshakes_late.to_string()),
        ("paddock_apiserver_connections_silent_total", "Closed: no request came.", counts.silent.to_string()),
        ("paddock_apiserver_connections_idle_total", "Told to go: no request for minutes.", counts.idle.to_string()),
        ("paddock_apiserver_connections_broken_total", "Ended by an error of the protocol.", counts.broken.to_string()),
    ];
    for (name, help, value) in counters.into_iter().chain(commits).chain(connections) {
        add("counter", name, help, "", value);
    }
    let gauges = [
        ("paddock_apiserver_connections", "Connections that are open.", counts.open),
        ("paddock_apiserver_body_bytes", "Bytes of the bodies of requests that are held.", api.bodies.held() as u64),
        ("paddock_apiserver_handshakes", "Connections in their TLS handshake.", counts.handshakes),
        ("paddock_apiserver_store_revision", "Revision of the last write.", stats.revision),
        ("paddock_apiserver_store_objects", "Objects.", stats.objects as u64),
        ("paddock_apiserver_store_waiting_writes", "Writes that wait for the writer.", stats.waiting as u64),
        ("paddock_apiserver_history_events", "Events that watches can start from.", stats.history_events as u64),
        ("paddock_apiserver_history_bytes", "Bytes of those events.", stats.history_bytes as u64),
    ];
    for (name, help, value) in gauges {
        add("gauge", name, help, "", value.to_string());
    }
    out.push_str(&api.tls.page("paddock"));
    out
}
