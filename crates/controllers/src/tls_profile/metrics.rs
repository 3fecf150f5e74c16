//! What is counted of the TLS profile. Labels are bounded: by the sources, the conditions, three states and a hundred workloads. Holds
//! figures; touches nothing else.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::decision::{Decided, Finding};
use super::report::Followers;
use super::sources::SourceKind;

/// A source of the profile, by its name in the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfSource {
    /// Its name.
    pub source: String,
}

/// A condition of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfCondition {
    /// Its type.
    pub condition: String,
}

/// A workload's pods in one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPods {
    /// The workload, as `NAMESPACE/deployments/NAME`; those beyond the first hundred are `other`.
    pub component: String,
    /// `current`, `old` or `unknown`.
    pub state: String,
}

/// What is counted of the TLS profile. Clones share the figures.
#[derive(Debug, Clone)]
pub struct ProfileMetrics {
    /// 1 while the source that counts can be read, else 0. It alone has a series.
    pub source_up: Family<OfSource, Gauge>,
    /// 1 for each condition that holds, else 0.
    pub condition: Family<OfCondition, Gauge>,
    /// Workloads that follow.
    pub followers: Gauge,
    /// Their pods.
    pub pods: Family<OfPods, Gauge>,
    /// From a decision to the last workload that follows it.
    pub propagation: Histogram,
}

impl Default for ProfileMetrics {
    fn default() -> Self {
        Self {
            source_up: Family::default(),
            condition: Family::default(),
            followers: Gauge::default(),
            pods: Family::default(),
            propagation: Histogram::new(exponential_buckets(0.05, 2.0, 16)),
        }
    }
}

impl ProfileMetrics {
    /// Registers everything below the prefix `tls_profile`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("tls_profile");
        let help = "1 while the source of the TLS profile can be read";
        registry.register("source_up", help, self.source_up.clone());
        registry.register("condition", "1 for each condition of the TLS profile that holds", self.condition.clone());
        registry.register("followers", "Workloads that follow the TLS profile", self.followers.clone());
        let help = "Pods of workloads that follow, by whether they serve the TLS profile";
        registry.register("pods", help, self.pods.clone());
        let help = "Seconds from a decision on the TLS profile to the last workload that has it";
        registry.register("propagation_seconds", help, self.propagation.clone());
    }

    /// Every metric with one series, for the reference page.
    pub fn sample() -> Self {
        let sample = Self::default();
        sample.source_up.get_or_create(&OfSource { source: "x".to_owned() }).set(1);
        sample.condition.get_or_create(&OfCondition { condition: "x".to_owned() }).set(1);
        sample.pods.get_or_create(&OfPods { component: "x".to_owned(), state: "x".to_owned() }).set(1);
        sample
    }

    /// Shows how things stand.
    pub(super) fn show(&self, source: SourceKind, decided: &Decided, followers: &Followers) {
        let told = followers.findings();
        let findings: Vec<&Finding> = decided.findings.iter().chain(&told).collect();
        for finding in &findings {
            let of = OfCondition { condition: finding.kind.to_owned() };
            self.condition.get_or_create(&of).set(i64::from(finding.holds));
        }
        if let Some(available) = findings.iter().find(|finding| finding.kind == "SourceAvailable") {
            self.source_up.clear();
            self.source_up.get_or_create(&OfSource { source: source.to_string() }).set(i64::from(available.holds));
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.followers.set(count(followers.total));
        // Workloads that are gone have no series.
        self.pods.clear();
        for (component, state, number) in followers.pods() {
            self.pods.get_or_create(&OfPods { component, state: state.to_owned() }).set(count(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn tls_f09_a_word_that_is_no_profile_is_counted() {
        let metrics = ProfileMetrics::default();
        let finding = |kind, holds| Finding { kind, holds, reason: "", message: String::new() };
        let decided = |resolved| Decided {
            published: None,
            findings: vec![finding("SourceAvailable", true), finding("ProfileResolved", resolved)],
        };
        metrics.show(SourceKind::Inline, &decided(true), &Followers::default());
        metrics.show(SourceKind::OpenShiftApiServer, &decided(false), &Followers::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("tls_profile_condition{condition=\"ProfileResolved\"} 0"), "{text}");
        assert!(
            text.contains("tls_profile_source_up{source=\"OpenShiftAPIServer\"} 1") && !text.contains("Inline"),
            "{text}"
        );
    }
}
