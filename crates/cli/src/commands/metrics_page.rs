//! The reference page of the metrics, written from the registry that the controllers fill. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use paddock_controllers::gateways::{GatewayMetrics, OfPhase, OfTenant};
use paddock_controllers::tls_profile::ProfileMetrics;
use paddock_reconcile::Metrics;
use paddock_reconcile::metrics::{OfController, OfPass, OfRequest, OfWrite};
use paddock_serve::TlsMetrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The text of `docs/reference/metrics.md`.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Written by `paddock docs --write`; edit the registrations in the code instead. -->\n\n\
         `/metrics` on the health port, in the OpenMetrics text format. Every name starts with `paddock_`. Labels are bounded: by the\n\
         controllers of the binary, and by the gateways; one that goes takes its series along. An age is the\n\
         difference to `time()`.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    let text = sample();
    let mut types = BTreeMap::new();
    let mut helps = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => drop(types.insert(name, kind)),
            (Some("#"), Some("HELP"), Some(name), Some(help)) => drop(helps.insert(name, help.trim_end_matches('.'))),
            _ => {}
        }
    }
    for (name, help) in helps {
        let kind = types.get(name).copied().unwrap_or_default();
        let series = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let shown = match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        };
        let _ = writeln!(page, "| `{shown}` | {kind} | {} | {help} |", labels(series));
    }
    page
}

/// The names of a series' labels, without a histogram's own.
fn labels(series: &str) -> String {
    let inside = series.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
    let names = inside.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
    names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Every metric with one series.
fn sample() -> String {
    let mut registry = Registry::with_prefix("paddock");
    let engine = Metrics::default();
    engine.register(&mut registry);
    let of = OfController { controller: "x".to_owned() };
    for family in [&engine.queued, &engine.running, &engine.synced] {
        family.get_or_create(&of).set(0);
    }
    engine.drifts.get_or_create(&of).inc();
    engine
        .requests
        .get_or_create(&OfRequest { verb: "x".to_owned(), resource: "x".to_owned(), code: "x".to_owned() })
        .inc();
    engine.seconds.get_or_create(&of).observe(0.0);
    engine.passes.get_or_create(&OfPass { controller: "x".to_owned(), outcome: "x".to_owned() }).inc();
    engine.writes.get_or_create(&OfWrite { controller: "x".to_owned(), write: "x".to_owned() }).inc();
    let gateways = GatewayMetrics::default();
    gateways.register(&mut registry);
    gateways.phase.get_or_create(&OfPhase { tenant: "x".to_owned(), phase: "x".to_owned() }).set(1);
    for family in [&gateways.not_after, &gateways.last_success] {
        family.get_or_create(&OfTenant { tenant: "x".to_owned() }).set(0);
    }
    ProfileMetrics::sample().register(&mut registry);
    let tls = TlsMetrics::sample();
    tls.register(&mut registry);
    let mut text = String::new();
    // A String takes whatever is written into it.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_l29_every_metric_has_our_prefix_and_is_registered_once() {
        let text = sample();
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(names.len() >= 12 && names.iter().all(|name| name.starts_with("paddock_")), "{names:?}");
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }
}
