//! The operator's question to a listener: is what its profile allows accepted, and what it excludes refused? A handful of
//! handshakes, where a scan takes dozens.

use paddock_tls_profile::Version;
use serde_json::{Value, json};

use crate::catalogue;
use crate::observed::{group_title, suite_title};
use crate::{Answer, Dialer, Expectation, Offer, Protocol, Trouble};

/// One question, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was offered, in words.
    pub offered: String,
    /// Whether it should be accepted.
    pub allowed: bool,
    /// What the server did.
    pub seen: Seen,
}

/// What a server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It accepted: version, suite and group by name.
    Accepted {
        /// The version.
        version: String,
        /// The suite.
        suite: String,
        /// The group, where there is one.
        group: Option<String>,
    },
    /// It refused.
    Refused {
        /// The alert's number; `None` where it only closed the connection.
        alert: Option<u8>,
    },
}

/// Everything that a listener was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The questions, in the order in which they were asked.
    pub checks: Vec<Check>,
}

impl Check {
    /// Whether the server did what it should.
    pub fn holds(&self) -> bool {
        matches!(self.seen, Seen::Accepted { .. }) == self.allowed
    }
}

impl Verified {
    /// Whether the server did everything that it should.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(Check::holds)
    }

    /// One sentence for a condition: what was seen, or what is wrong.
    pub fn summary(&self) -> String {
        let wrong: Vec<String> = self.checks.iter().filter(|check| !check.holds()).map(Check::sentence).collect();
        let told = if wrong.is_empty() { self.checks.iter().map(Check::sentence).collect() } else { wrong };
        told.join("; ")
    }

    /// As reports show it: a list of `offered`, `allowed`, `accepted` (version, suite, group; `null` when refused), `alert` and `holds`.
    pub fn report(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            let (accepted, alert) = match &check.seen {
                Seen::Accepted { version, suite, group } => {
                    (json!({ "version": version, "suite": suite, "group": group }), None)
                }
                Seen::Refused { alert } => (Value::Null, *alert),
            };
            json!({
                "offered": check.offered,
                "allowed": check.allowed,
                "accepted": accepted,
                "alert": alert,
                "holds": check.holds(),
            })
        });
        checks.collect()
    }
}

impl Check {
    fn sentence(&self) -> String {
        let Self { offered, .. } = self;
        match &self.seen {
            Seen::Accepted { version, suite, group } => {
                let group = group.as_ref().map(|group| format!(" with {group}")).unwrap_or_default();
                format!("{offered}: accepted {version} {suite}{group}")
            }
            Seen::Refused { alert: Some(alert) } => format!("{offered}: refused (alert {alert})"),
            Seen::Refused { alert: None } => format!("{offered}: refused"),
        }
    }
}

/// Asks a listener whether it serves what `expectation` says: the newest allowed version with an allowed suite; everything of the
/// versions below; all excluded suites; all excluded groups. Of each question that has nothing to ask, nothing is asked.
///
/// # Errors
/// When that cannot be determined.
pub async fn verify(dialer: &Dialer, expectation: &Expectation) -> Result<Verified, Trouble> {
    let mut checks = Vec::new();
    for question in questions(expectation) {
        let seen = match dialer.ask(&question.offer).await? {
            // An older version than the offered one is another question's matter, and wrong in any case.
            Answer::Accepted(accepted) => Seen::Accepted {
                version: version_name(accepted.version),
                suite: suite_title(accepted.suite),
                group: accepted.group.map(group_title),
            },
            Answer::Retry { suite, group } => Seen::Accepted {
                version: Protocol::TLS13.to_string(),
                suite: suite_title(suite),
                group: group.map(group_title),
            },
            Answer::Refused { alert, .. } => Seen::Refused { alert },
        };
        checks.push(Check { offered: question.words, allowed: question.allowed, seen });
    }
    Ok(Verified { checks })
}

fn version_name(code: u16) -> String {
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.code() == code);
    known.map_or_else(|| format!("version 0x{code:04X}"), |protocol| protocol.to_string())
}

#[derive(Debug)]
struct Question {
    words: String,
    allowed: bool,
    offer: Offer,
}

/// What to ask; pure.
fn questions(expectation: &Expectation) -> Vec<Question> {
    let Some(effective) = &expectation.resolution.effective else { return Vec::new() };
    let mut questions = Vec::new();
    let excluded = |words: String, offer| Question { words, allowed: false, offer };
    let groups: Vec<u16> = effective.groups.iter().map(|group| group.code()).collect();
    let served = |tls13: bool| -> Vec<u16> {
        effective.suites.iter().filter(|suite| suite.is_tls13() == tls13).map(|suite| suite.code()).collect()
    };
    let newest = effective.versions().last().copied().unwrap_or(Version::Tls13);
    let mut allowed = Offer::new(Protocol::Tls(newest), served(newest == Version::Tls13), groups.clone());
    allowed.share = groups.first().copied();
    if newest == Version::Tls13 {
        allowed.suites.truncate(1);
    }
    let words = match (newest, allowed.suites.first()) {
        (Version::Tls13, Some(suite)) => format!("{newest} {}", suite_title(*suite)),
        _ => format!("{newest} with its allowed suites"),
    };
    questions.push(Question { words, allowed: true, offer: allowed.clone() });

    let (all_groups, older): (Vec<u16>, Vec<u16>) =
        (catalogue::groups().collect(), catalogue::older_suites().collect());
    let below = Version::ALL.into_iter().rev().find(|version| !expectation.allows_version(Protocol::Tls(*version)));
    if let Some(below) = below {
        let offer = Offer::new(Protocol::Tls(below), older.clone(), all_groups.clone());
        questions.push(excluded(format!("{below} with any suite"), offer));
    }
    if expectation.allows_version(Protocol::Tls(Version::Tls12)) {
        let suites: Vec<u16> = older.into_iter().filter(|suite| !expectation.allows_suite(*suite)).collect();
        let words = format!("TLS 1.2 with {} excluded suites", suites.len());
        questions.push(excluded(words, Offer::new(Protocol::Tls(Version::Tls12), suites, all_groups.clone())));
    }
    let suites: Vec<u16> = catalogue::tls13_suites().filter(|suite| !expectation.allows_suite(*suite)).collect();
    if !suites.is_empty() {
        let words = format!("TLS 1.3 with {} excluded suites", suites.len());
        questions.push(excluded(words, Offer::new(Protocol::TLS13, suites, all_groups.clone())));
    }
    if expectation.names_groups() {
        let groups: Vec<u16> = all_groups.into_iter().filter(|group| !expectation.allows_group(*group)).collect();
        let words = format!("{newest} with {} excluded groups", groups.len());
        questions.push(excluded(words, Offer { groups, share: None, ..allowed }));
    }
    questions
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::{Backend, Generation, Named, Options};

    use super::*;

    fn asked(named: Named, generation: Generation) -> Vec<(bool, Protocol, Option<u16>)> {
        let profile = named.profile(generation);
        let expectation = Expectation::new(&profile, &Backend::RUSTLS_AWS_LC, &Options::default());
        let offers = questions(&expectation).into_iter().map(|question| (question.allowed, question.offer));
        offers.map(|(allowed, offer)| (allowed, offer.protocol, offer.groups.first().copied())).collect()
    }

    #[test]
    fn one_allowed_thing_and_all_that_is_excluded_is_asked() {
        let tls = Protocol::Tls;
        let any = catalogue::groups().next();
        let expected = [
            (true, tls(Version::Tls13), Some(0x11EC)),
            (false, tls(Version::Tls11), any), // with any suite
            (false, tls(Version::Tls12), any), // with excluded suites
            (false, tls(Version::Tls13), any), // with excluded suites
            (false, tls(Version::Tls13), any), // with excluded groups
        ];
        assert_eq!(asked(Named::Intermediate, Generation::C), expected);
    }

    #[test]
    fn groups_that_no_profile_names_are_not_asked_for() {
        let tls = Protocol::Tls;
        let any = catalogue::groups().next();
        let expected = [
            (true, tls(Version::Tls13), Some(0x11EC)),
            (false, tls(Version::Tls12), any),
            (false, tls(Version::Tls13), any),
        ];
        assert_eq!(asked(Named::Modern, Generation::B), expected);
    }

    #[test]
    fn nothing_excluded_is_in_what_the_profile_allows() {
        let profile = Named::Intermediate.profile(Generation::C);
        let expectation = Expectation::new(&profile, &Backend::RUSTLS_AWS_LC, &Options::default());
        for question in questions(&expectation).into_iter().filter(|question| !question.allowed) {
            let Offer { protocol, suites, groups, .. } = &question.offer;
            let possible = expectation.allows_version(*protocol)
                && suites.iter().any(|suite| expectation.allows_suite(*suite))
                && groups.iter().any(|group| expectation.allows_group(*group));
            assert!(!possible, "{}", question.words);
        }
    }

    #[test]
    fn the_summary_names_what_is_wrong_and_only_that() {
        let check = |allowed, seen| Check { offered: "TLS 1.2 with 300 excluded suites".to_owned(), allowed, seen };
        let accepted = Seen::Accepted { version: "TLS 1.2".to_owned(), suite: "RC4-SHA".to_owned(), group: None };
        let verified =
            Verified { checks: vec![check(false, Seen::Refused { alert: Some(40) }), check(false, accepted)] };
        assert!(!verified.holds());
        assert_eq!(verified.summary(), "TLS 1.2 with 300 excluded suites: accepted TLS 1.2 RC4-SHA");
    }
}
