//! What the platform can do: found out by discovery, kept over restarts, changed only by evidence. Pure.
//!
//! An API group that does not answer for a minute must not look like a cluster without it: a wrong "no" once switched
//! authentication off in systems that asked only once. So what cannot be found out changes nothing, and an answer that contradicts
//! what is known must hold for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use paddock_reconcile::Kind;
use paddock_tls_profile::Known;
use serde::{Deserialize, Serialize};

/// How long after the first contradiction the second must come.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// Something that a platform has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Capability {
    /// OpenShift's security context constraints.
    Scc,
    /// The cluster-wide `APIServer` object, which carries the TLS profile. MicroShift has constraints and not this.
    ApiServerConfig,
    /// Serving certificates for annotated Services.
    ServiceCa,
    /// The Prometheus operator's kinds.
    Monitoring,
}

impl Capability {
    pub(crate) const ALL: [Self; 4] = [Self::Scc, Self::ApiServerConfig, Self::ServiceCa, Self::Monitoring];

    /// The name in a contract.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scc => "scc",
            Self::ApiServerConfig => "apiserver-config",
            Self::ServiceCa => "service-ca",
            Self::Monitoring => "monitoring",
        }
    }

    /// The kind whose being served is the capability.
    pub(crate) fn kind(self) -> Kind {
        let (group, version, kind, plural, namespaced) = match self {
            Self::Scc => {
                ("security.openshift.io", "v1", "SecurityContextConstraints", "securitycontextconstraints", false)
            }
            Self::ApiServerConfig => ("config.openshift.io", "v1", "APIServer", "apiservers", false),
            Self::ServiceCa => ("operator.openshift.io", "v1", "ServiceCA", "servicecas", false),
            Self::Monitoring => ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", true),
        };
        Kind { group: group.into(), version: version.into(), kind: kind.into(), plural: plural.into(), namespaced }
    }
}

/// What is known of one capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Finding {
    value: Known,
    /// Since when answers say the opposite.
    contradicted: Option<Timestamp>,
}

impl Finding {
    fn hear(&mut self, answer: Known, now: Timestamp) {
        match (self.value, answer) {
            // Nothing was learnt, and a run of contradictions is broken: they must follow one another.
            (_, Known::Unknown) => self.contradicted = None,
            (Known::Unknown, _) => *self = Self { value: answer, contradicted: None },
            (before, answer) if before == answer => self.contradicted = None,
            (_, answer) => match self.contradicted {
                Some(since)
                    if now.duration_since(since) >= jiff::SignedDuration::try_from(SECOND_LOOK).unwrap_or_default() =>
                {
                    *self = Self { value: answer, contradicted: None };
                }
                Some(_) => {}
                None => self.contradicted = Some(now),
            },
        }
    }
}

/// What is known of the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Platform(BTreeMap<&'static str, Finding>);

/// How a finding is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    has: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    contradicted: Option<Timestamp>,
}

impl Platform {
    /// What is known of `capability`.
    pub(crate) fn of(&self, capability: Capability) -> Known {
        self.0.get(capability.name()).map_or(Known::Unknown, |finding| finding.value)
    }

    /// All of it, as contracts say it.
    pub(crate) fn known(&self) -> BTreeMap<String, Known> {
        Capability::ALL.into_iter().map(|capability| (capability.name().to_owned(), self.of(capability))).collect()
    }

    /// Takes an answer in.
    pub(crate) fn hear(&mut self, capability: Capability, answer: Known, now: Timestamp) {
        self.0.entry(capability.name()).or_default().hear(answer, now);
    }

    /// When a contradiction has to be looked at again.
    pub(crate) fn look_again(&self) -> Option<Timestamp> {
        let since = self.0.values().filter_map(|finding| finding.contradicted).min()?;
        since.checked_add(jiff::SignedDuration::try_from(SECOND_LOOK).ok()?).ok()
    }

    /// For the record that a restart reads.
    pub(crate) fn to_json(&self) -> String {
        let kept = |(name, finding): (&&'static str, &Finding)| {
            let has = match finding.value {
                Known::Yes => true,
                Known::No => false,
                Known::Unknown => return None,
            };
            Some(((*name).to_owned(), Kept { has, contradicted: finding.contradicted }))
        };
        let kept: BTreeMap<String, Kept> = self.0.iter().filter_map(kept).collect();
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Reads what [`Self::to_json`] wrote. What does not read is not known.
    pub(crate) fn read(text: &str) -> Self {
        let kept: BTreeMap<String, Kept> = serde_json::from_str(text).unwrap_or_default();
        let finding = |capability: Capability| {
            let kept = kept.get(capability.name())?;
            let value = if kept.has { Known::Yes } else { Known::No };
            Some((capability.name(), Finding { value, contradicted: kept.contradicted }))
        };
        Self(Capability::ALL.into_iter().filter_map(finding).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn after(answers: &[(Known, i64)]) -> Known {
        let mut platform = Platform::default();
        for (answer, seconds) in answers {
            platform = Platform::read(&platform.to_json());
            platform.hear(Capability::Scc, *answer, at(*seconds));
        }
        platform.of(Capability::Scc)
    }

    use Known::{No, Unknown, Yes};

    #[test]
    fn tls_d03_what_was_never_answered_is_not_known() {
        assert_eq!((after(&[]), after(&[(Unknown, 0), (Unknown, 60)])), (Unknown, Unknown));
    }

    #[test]
    fn the_first_answer_decides() {
        assert_eq!((after(&[(Unknown, 0), (No, 1)]), after(&[(Yes, 0)])), (No, Yes));
    }

    #[test]
    fn tls_f05_a_group_that_flaps_changes_nothing() {
        assert_eq!(after(&[(Yes, 0), (Unknown, 10), (No, 20), (Yes, 60), (No, 70), (No, 80)]), Yes);
        assert_eq!(after(&[(Yes, 0), (No, 20), (Unknown, 40), (No, 60)]), Yes, "an outage between two answers");
    }

    #[test]
    fn tls_f05_an_answer_that_holds_is_believed_also_over_a_restart() {
        assert_eq!(after(&[(Yes, 0), (No, 20), (No, 40), (No, 50)]), No);
    }

    #[test]
    fn a_contradiction_is_looked_at_again() {
        let mut platform = Platform::default();
        platform.hear(Capability::Scc, Yes, at(0));
        assert_eq!(platform.look_again(), None);
        platform.hear(Capability::Scc, No, at(5));
        assert_eq!(platform.look_again(), Some(at(35)));
    }

    #[test]
    fn a_record_that_does_not_read_is_not_believed() {
        assert_eq!(Platform::read("{\"scc\": 1}"), Platform::default());
    }
}
