//! What listeners count of TLS. Every label has a bounded set of values; none comes from a client.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use paddock_tls_profile::{Group, Suite, Version};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::startup::Facts;
use crate::tls::Source;

/// What was negotiated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Negotiated {
    version: &'static str,
    suite: &'static str,
    group: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// What became of a start-up directory that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    Published,
    Rejected,
    Held,
}

/// The counters of a component's TLS; clones count together.
///
/// | metric | labels |
/// |---|---|
/// | `tls_handshakes_total` | `version`, `suite`, `group` |
/// | `tls_handshake_failures_total` | `reason` |
/// | `tls_connections` | `generation`: those that have connections, and the current one |
/// | `tls_profile_reloads_total` | `result`: `published`, `rejected`, `held` |
/// | `tls_profile_stale` | 1 when what is mounted is not what the operator says it wrote |
/// | `tls_profile_info` | `component`, `hash12`, `source`, `type`, `table`, `min_version`, `outcome` |
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    handshakes: Family<Negotiated, Counter>,
    failures: Family<Reason, Counter>,
    reloads: Family<Outcome, Counter>,
    observed: Arc<Mutex<Observed>>,
}

/// What is looked at when somebody asks.
#[derive(Debug, Default)]
struct Observed {
    sources: Vec<Weak<Source>>,
    facts: Option<Facts>,
}

impl TlsMetrics {
    /// One series of each, for reference pages.
    pub fn sample() -> Self {
        let this = Self::default();
        let _ = this.handshakes.get_or_create(&Negotiated { version: "", suite: "", group: "" });
        let _ = this.failures.get_or_create(&Reason { reason: "" });
        let _ = this.reloads.get_or_create(&Outcome { result: "" });
        this.set_facts(Facts::default());
        this
    }

    /// Adds them to a registry, once.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("tls_handshakes", "TLS handshakes that succeeded", self.handshakes.clone());
        registry.register("tls_handshake_failures", "TLS handshakes that failed", self.failures.clone());
        registry.register("tls_profile_reloads", "Start-up directories that were read again", self.reloads.clone());
        registry.register_collector(Box::new(self.clone()));
    }

    /// All of them as lines of Prometheus' text format, for a page that has lines of others too.
    pub fn page(&self, prefix: &str) -> String {
        let mut registry = Registry::with_prefix(prefix);
        self.register(&mut registry);
        let mut page = String::new();
        // A String takes whatever is written into it.
        let _ = prometheus_client::encoding::text::encode(&mut page, &registry);
        page.trim_end_matches("# EOF\n").to_owned()
    }

    pub(crate) fn observe(&self, source: Weak<Source>) {
        let mut observed = self.observed();
        observed.sources.retain(|known| known.strong_count() > 0);
        observed.sources.push(source);
    }

    pub(crate) fn set_facts(&self, facts: Facts) {
        self.observed().facts = Some(facts);
    }

    pub(crate) fn reloaded(&self, how: Reload) {
        let result = match how {
            Reload::Published => "published",
            Reload::Rejected => "rejected",
            Reload::Held => "held",
        };
        self.reloads.get_or_create(&Outcome { result }).inc();
    }

    /// Counts a handshake that succeeded.
    pub(crate) fn accepted(&self, connection: &rustls::ServerConnection) {
        let version = match connection.protocol_version().map(u16::from) {
            Some(code) => Version::ALL.into_iter().find(|v| v.code() == code).map_or("other", Version::name),
            None => "other",
        };
        let suite = connection.negotiated_cipher_suite().and_then(|suite| Suite::from_code(suite.suite().into()));
        let group = connection.negotiated_key_exchange_group().map(|group| u16::from(group.name()));
        let group = group.and_then(|code| Group::ALL.into_iter().find(|group| group.code() == code));
        let labels = Negotiated {
            version,
            suite: suite.map_or("other", Suite::openssl),
            // A resumed session of TLS 1.2 exchanges no key.
            group: group.map_or("none", Group::name),
        };
        self.handshakes.get_or_create(&labels).inc();
    }

    /// Counts a handshake that failed.
    pub(crate) fn failed(&self, error: &std::io::Error) {
        let reason = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::PeerIncompatible(why)) => incompatible(why),
            Some(rustls::Error::AlertReceived(_)) => "alert_received",
            Some(rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. }) => "not_tls",
            Some(rustls::Error::InvalidCertificate(_)) => "client_certificate",
            Some(_) => "protocol",
            None => "connection",
        };
        self.failures.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a handshake that took too long.
    pub(crate) fn timed_out(&self) {
        self.failures.get_or_create(&Reason { reason: "timeout" }).inc();
    }

    fn observed(&self) -> std::sync::MutexGuard<'_, Observed> {
        // What is under the lock is replaced whole.
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn incompatible(why: &rustls::PeerIncompatible) -> &'static str {
    use rustls::PeerIncompatible as Why;
    match why {
        Why::NoCipherSuitesInCommon => "no_suite_in_common",
        Why::NoKxGroupsInCommon | Why::NamedGroupsExtensionRequired | Why::EcPointsExtensionRequired => {
            "no_group_in_common"
        }
        Why::SupportedVersionsExtensionRequired
        | Why::Tls12NotOffered
        | Why::Tls12NotOfferedOrEnabled
        | Why::Tls13RequiredForQuic => "version",
        Why::NoSignatureSchemesInCommon | Why::SignatureAlgorithmsExtensionRequired => "no_signature_in_common",
        _ => "incompatible",
    }
}

impl Collector for TlsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (sources, facts) = {
            let observed = self.observed();
            let sources: Vec<_> = observed.sources.iter().filter_map(Weak::upgrade).collect();
            (sources, observed.facts.clone())
        };
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut family = encoder.encode_descriptor(
            "tls_connections",
            "Open TLS connections by `generation` of what is served",
            None,
            kind,
        )?;
        let mut sums = std::collections::BTreeMap::new();
        for one in sources.iter().flat_map(|source| source.population()) {
            *sums.entry(one.generation).or_insert(0_usize) += one.connections;
        }
        for (generation, connections) in sums {
            let labels = [("generation", generation.to_string())];
            let gauge = ConstGauge::new(i64::try_from(connections).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&labels)?)?;
        }
        let Some(facts) = facts else { return Ok(()) };
        let help = "1 when what is mounted is not what the operator says it wrote";
        let metric = encoder.encode_descriptor("tls_profile_stale", help, None, kind)?;
        ConstGauge::new(i64::from(facts.stale)).encode(metric)?;
        let mut family = encoder.encode_descriptor("tls_profile_info", "The profile that is served", None, kind)?;
        ConstGauge::new(1_i64).encode(family.encode_family(&facts.labels())?)
    }
}
