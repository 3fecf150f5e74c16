//! What is counted of the gateways. Labels are bounded by the gateways that exist: one that goes takes its series along. Holds
//! figures; touches nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use paddock_api::GatewayPhase;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::condition::Summary;

/// A tenant in a phase. There are as many as tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPhase {
    /// The tenant; with the gateway's name behind a slash, when that is not `openshell-gateway`.
    pub tenant: String,
    /// Its phase.
    pub phase: String,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfTenant {
    /// The tenant; with the gateway's name behind a slash, when that is not `openshell-gateway`.
    pub tenant: String,
}

/// What is counted of the gateways. Clones share the figures.
#[derive(Debug, Clone, Default)]
pub struct GatewayMetrics {
    /// 1 for each tenant in its phase.
    pub phase: Family<OfPhase, Gauge>,
    /// End of each tenant's server certificate, in seconds since 1970.
    pub not_after: Family<OfTenant, Gauge>,
    /// When each tenant's gateway was last seen to be as it should be, in seconds since 1970.
    pub last_success: Family<OfTenant, Gauge>,
    /// Objects that stay though their gateway is gone, by tenant: retained data and protected objects.
    pub orphans: Family<OfTenant, Gauge>,
    /// How often somebody else was found to have changed or deleted an object of a gateway, by tenant.
    pub drifts: Family<OfTenant, Counter>,
    /// The phases and ends shown now, so that exactly those of before go, and what stays is not worked out again.
    shown: Arc<Mutex<BTreeMap<String, (GatewayPhase, String)>>>,
}

impl GatewayMetrics {
    /// Registers everything below the prefix `gateways`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("gateways");
        registry.register("phase", "1 for each tenant in its phase", self.phase.clone());
        let help = "End of the server certificate, seconds since 1970";
        registry.register("certificate_expiry_timestamp_seconds", help, self.not_after.clone());
        let help = "When the gateway was last seen to be as it should be, seconds since 1970";
        registry.register("last_success_timestamp_seconds", help, self.last_success.clone());
        registry.register("orphans", "Objects that stay though their gateway is gone", self.orphans.clone());
        registry.register("drifts", "Objects found changed or deleted by somebody else", self.drifts.clone());
    }

    /// Counts objects that somebody else changed.
    pub(super) fn count_drifts(&self, tenant: &str, objects: usize) {
        let of = OfTenant { tenant: tenant.to_owned() };
        self.drifts.get_or_create(&of).inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
    }

    /// Shows how many objects stay of gateways that are gone.
    pub(super) fn show_orphans<'a>(&self, of: impl Iterator<Item = (&'a str, usize)>) {
        self.orphans.clear();
        for (tenant, objects) in of {
            let of = OfTenant { tenant: tenant.to_owned() };
            self.orphans.get_or_create(&of).set(i64::try_from(objects).unwrap_or(i64::MAX));
        }
    }

    /// Shows how things stand; what is no longer there leaves no series behind.
    pub(super) fn show<'a>(&self, rows: impl Iterator<Item = (&'a String, &'a Summary)> + Clone, now: Timestamp) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh: BTreeMap<String, (GatewayPhase, String)> = rows
            .clone()
            .map(|(tenant, summary)| (tenant.clone(), (summary.phase, summary.not_after.clone())))
            .collect();
        let phase_of = |tenant| fresh.get(tenant).map(|(phase, _)| phase);
        for (tenant, (phase, _)) in shown.iter().filter(|(tenant, (phase, _))| phase_of(*tenant) != Some(phase)) {
            self.phase.remove(&OfPhase { tenant: tenant.clone(), phase: phase.to_string() });
            if !fresh.contains_key(tenant) {
                self.not_after.remove(&OfTenant { tenant: tenant.clone() });
                self.last_success.remove(&OfTenant { tenant: tenant.clone() });
                self.drifts.remove(&OfTenant { tenant: tenant.clone() });
            }
        }
        for (tenant, summary) in rows {
            let of = OfTenant { tenant: tenant.clone() };
            if summary.ready {
                self.last_success.get_or_create(&of).set(now.as_second());
            }
            if shown.get(tenant).is_some_and(|(phase, end)| *phase == summary.phase && *end == summary.not_after) {
                continue;
            }
            if let Ok(end) = summary.not_after.parse::<Timestamp>() {
                self.not_after.get_or_create(&of).set(end.as_second());
            }
            self.phase.get_or_create(&OfPhase { tenant: of.tenant, phase: summary.phase.to_string() }).set(1);
        }
        *shown = fresh;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn gw_w01_metrics_follow_the_tenants_and_leave_nothing_behind() {
        let metrics = GatewayMetrics::default();
        let mut registry = Registry::with_prefix("paddock");
        metrics.register(&mut registry);
        let mut row = Summary::of(GatewayPhase::Running, "Ready", "");
        (row.ready, row.not_after) = (true, "1970-01-01T00:01:40Z".into());
        metrics.show(BTreeMap::iter(&[("a".to_owned(), row.clone())].into()), Timestamp::from_second(7).unwrap());
        assert_eq!(
            series(&registry),
            [
                r#"paddock_gateways_phase{tenant="a",phase="Running"} 1"#,
                r#"paddock_gateways_certificate_expiry_timestamp_seconds{tenant="a"} 100"#,
                r#"paddock_gateways_last_success_timestamp_seconds{tenant="a"} 7"#,
            ]
        );
        (row.ready, row.phase) = (false, GatewayPhase::Degraded);
        metrics.show(BTreeMap::iter(&[("a".to_owned(), row)].into()), Timestamp::from_second(9).unwrap());
        assert_eq!(series(&registry)[0], r#"paddock_gateways_phase{tenant="a",phase="Degraded"} 1"#);
        assert_eq!(series(&registry)[2], r#"paddock_gateways_last_success_timestamp_seconds{tenant="a"} 7"#);
        metrics.count_drifts("a", 2);
        assert_eq!(series(&registry)[3], r#"paddock_gateways_drifts_total{tenant="a"} 2"#);
        metrics.show_orphans([("b", 2)].into_iter());
        metrics.show_orphans(std::iter::empty());
        metrics.show(BTreeMap::iter(&BTreeMap::new()), Timestamp::from_second(9).unwrap());
        assert_eq!(series(&registry), Vec::<String>::new());
    }
}
