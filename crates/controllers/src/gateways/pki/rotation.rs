//! The replacement of an authority, as a clock-driven state machine. Pure.
//!
//! A running sandbox read the trusted authorities and its own certificate once, at its start. So the old authority and the
//! new one are believed side by side for as long as sandboxes live that know only the old one:
//!
//! | stage | bundles | leaves | goes on when |
//! |---|---|---|---|
//! | `Steady` | the authority | by it | it is due, or a rotation is asked for |
//! | `Publishing` | new and old | by the old | both Secrets carry the bundle |
//! | `Overlapping` | new and old | by the old | no sandbox is older than the bundle |
//! | `Switching` | new and old | by the new | both Secrets carry their new leaf |
//! | `Retiring` | new and old | by the new | no sandbox is older than the switch, and the gateway serves the new leaf |
//!
//! The stage lives in the authority's Secret, which is written before the others: whichever write a process dies after, the
//! next one reads the stage and completes what belongs to it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A sandbox that starts this soon after a Secret changed may have been given what it was before: the kubelet takes a minute or
/// two to notice.
pub(super) const SETTLING: SignedDuration = SignedDuration::from_mins(5);
/// Each of the two waits for sandboxes ends after this, whoever still lives.
pub(super) const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Sandboxes are counted this often while they are waited for.
const COUNT_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// A stage that began later than this from now was written by a clock that is wrong.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// How far the replacement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "stage")]
pub(super) enum Stage {
    /// Nothing is being replaced.
    #[default]
    Steady,
    /// Both authorities are put into the bundles.
    Publishing,
    /// Sandboxes that know only the old one are waited for.
    Overlapping {
        /// When both bundles were seen to be published.
        since: Timestamp,
    },
    /// The leaves are issued by the new one.
    Switching,
    /// Sandboxes that show a certificate of the old one are waited for.
    Retiring {
        /// When both leaves were seen to be switched.
        since: Timestamp,
    },
}

/// What the authority's Secret says about its replacement, under the key `rotation`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Rotation {
    #[serde(flatten)]
    pub(super) stage: Stage,
    /// The last request that was obeyed: the annotation's value.
    #[serde(default)]
    pub(super) handled: String,
}

/// When the sandboxes of the gateway were created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) enum Sandboxes {
    /// They were not counted, or could not be.
    #[default]
    Unknown,
    /// Each of them.
    Created(Vec<Timestamp>),
}

/// What was found in the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed<'a> {
    /// Both Secrets carry the bundle of the stage.
    pub(super) published: bool,
    /// Both Secrets carry a leaf of the new authority.
    pub(super) switched: bool,
    pub(super) sandboxes: &'a Sandboxes,
    /// Whether the gateway was seen to serve the leaf that is stored; `None` when it cannot be seen.
    pub(super) served: Option<bool>,
    /// When the old authority ends.
    pub(super) old_ends: Timestamp,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The stage holds.
    Stay {
        /// What is waited for, in a sentence.
        message: String,
        /// When to look again, unless something happens before.
        look_again: Option<Timestamp>,
    },
    /// The next stage begins.
    Go {
        stage: Stage,
        /// Who suffers from it, in a sentence; nobody when it is `None`.
        loss: Option<String>,
    },
}

/// Decides. `Steady` stays: what begins a replacement is for the caller to know.
pub(super) fn next(stage: Stage, observed: Observed<'_>, now: Timestamp) -> Next {
    let stay = |message: &str| Next::Stay { message: message.to_owned(), look_again: None };
    let go = |stage| Next::Go { stage, loss: None };
    match stage {
        Stage::Steady => stay(""),
        Stage::Publishing if now >= observed.old_ends => {
            let loss =
                format!("the old authority ended at {} before all sandboxes knew the new one", observed.old_ends);
            Next::Go { stage: Stage::Switching, loss: Some(loss) }
        }
        Stage::Publishing if observed.published => go(Stage::Overlapping { since: now }),
        Stage::Publishing => stay("the new authority is being published"),
        Stage::Overlapping { since } if since > later(now, CLOCK_TOLERANCE) => go(Stage::Overlapping { since: now }),
        Stage::Overlapping { since } => wait(observed, since, now, Stage::Switching, "know only the old authority"),
        Stage::Switching if observed.switched => go(Stage::Retiring { since: now }),
        Stage::Switching => stay("the certificates of the new authority are being issued"),
        Stage::Retiring { since } if since > later(now, CLOCK_TOLERANCE) => go(Stage::Retiring { since: now }),
        Stage::Retiring { .. } if observed.served == Some(false) => {
            stay("the gateway does not serve the certificate of the new authority yet")
        }
        Stage::Retiring { since } => {
            wait(observed, since, now, Stage::Steady, "show a certificate of the old authority")
        }
    }
}

/// Waits for the sandboxes that began before `since` had reached all nodes.
fn wait(observed: Observed<'_>, since: Timestamp, now: Timestamp, then: Stage, they: &str) -> Next {
    let settled = later(since, SETTLING);
    let limit = later(since, LONGEST_WAIT).min(observed.old_ends);
    let older = match observed.sandboxes {
        Sandboxes::Unknown => None,
        Sandboxes::Created(created) => Some(created.iter().filter(|created| **created < settled).count()),
    };
    if now >= limit {
        let loss = match older {
            Some(0) => None,
            Some(n) => {
                Some(format!("{n} sandboxes from before {settled} {they}; they lose the gateway when they reconnect"))
            }
            None => {
                Some(format!("sandboxes could not be counted; any from before {settled} that {they} lose the gateway"))
            }
        };
        return Next::Go { stage: then, loss };
    }
    let again = |at: Timestamp| Some(at.min(limit));
    if now < settled {
        let message = "the Secrets have changed; nodes take a few minutes to notice".to_owned();
        return Next::Stay { message, look_again: again(settled) };
    }
    match older {
        Some(0) => Next::Go { stage: then, loss: None },
        Some(n) => Next::Stay {
            message: format!("{n} sandboxes from before {settled} {they}; they are waited for until {limit} at most"),
            look_again: again(later(now, COUNT_EVERY)),
        },
        None => Next::Stay {
            message: format!("sandboxes cannot be counted, so it is waited until {limit}"),
            look_again: again(later(now, COUNT_EVERY)),
        },
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    fn observed(sandboxes: &Sandboxes) -> Observed<'_> {
        Observed { published: true, switched: true, sandboxes, served: None, old_ends: Timestamp::MAX }
    }

    fn created(minutes: &[i64]) -> Sandboxes {
        Sandboxes::Created(minutes.iter().map(|minute| at(*minute)).collect())
    }

    fn goes(next: &Next, to: Stage) -> bool {
        matches!(next, Next::Go { stage, loss: None } if *stage == to)
    }

    #[test]
    fn gw_w05_each_stage_waits_for_what_it_is_named_after() {
        let none = created(&[]);
        let unfinished = Observed { published: false, switched: false, ..observed(&none) };
        for stage in [Stage::Publishing, Stage::Switching] {
            assert!(matches!(next(stage, unfinished, at(0)), Next::Stay { .. }), "{stage:?}");
        }
        assert!(goes(&next(Stage::Publishing, observed(&none), at(0)), Stage::Overlapping { since: at(0) }));
        assert!(goes(&next(Stage::Switching, observed(&none), at(0)), Stage::Retiring { since: at(0) }));
        assert!(goes(&next(Stage::Overlapping { since: at(0) }, observed(&none), at(6)), Stage::Switching));
        assert!(goes(&next(Stage::Retiring { since: at(0) }, observed(&none), at(6)), Stage::Steady));
    }

    #[test]
    fn gw_w05_sandboxes_from_before_are_waited_for_and_younger_ones_are_not() {
        let stage = Stage::Overlapping { since: at(0) };
        let (old, young) = (created(&[-10, 4, 90]), created(&[5, 90]));
        let Next::Stay { message, look_again } = next(stage, observed(&old), at(100)) else { panic!("it went on") };
        assert!(message.starts_with("2 sandboxes"), "{message}");
        assert_eq!(look_again, Some(at(105)));
        assert!(goes(&next(stage, observed(&young), at(100)), Stage::Switching));
    }

    #[test]
    fn gw_w05_nodes_get_time_to_notice_even_without_sandboxes() {
        let none = created(&[]);
        let Next::Stay { look_again, .. } = next(Stage::Overlapping { since: at(0) }, observed(&none), at(1)) else {
            panic!("it went on")
        };
        assert_eq!(look_again, Some(at(5)));
    }

    #[test]
    fn gw_w05_no_wait_is_for_ever_and_who_loses_is_told() {
        let month = at(30 * 24 * 60);
        for sandboxes in [created(&[-1]), Sandboxes::Unknown] {
            let stage = Stage::Overlapping { since: at(0) };
            assert!(matches!(next(stage, observed(&sandboxes), at(60)), Next::Stay { .. }));
            let Next::Go { stage: Stage::Switching, loss: Some(_) } = next(stage, observed(&sandboxes), month) else {
                panic!("{sandboxes:?}")
            };
        }
    }

    #[test]
    fn old_authority_that_ends_is_not_waited_with() {
        let old = created(&[-1]);
        let ending = Observed { old_ends: at(10), published: false, ..observed(&old) };
        for stage in [Stage::Publishing, Stage::Overlapping { since: at(0) }] {
            assert!(matches!(next(stage, ending, at(10)), Next::Go { stage: Stage::Switching, loss: Some(_) }));
        }
    }

    #[test]
    fn gw_w05_old_authority_stays_until_the_gateway_serves_the_new_leaf() {
        let none = created(&[]);
        let stage = Stage::Retiring { since: at(0) };
        let unserved = Observed { served: Some(false), ..observed(&none) };
        assert!(matches!(next(stage, unserved, at(1_000_000)), Next::Stay { .. }));
        assert!(goes(&next(stage, Observed { served: Some(true), ..unserved }, at(6)), Stage::Steady));
    }

    #[test]
    fn stage_from_the_future_begins_again() {
        let none = created(&[]);
        let stage = Stage::Overlapping { since: at(600) };
        assert!(goes(&next(stage, observed(&none), at(0)), Stage::Overlapping { since: at(0) }));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for stage in
            [Stage::Steady, Stage::Publishing, Stage::Overlapping { since: at(1) }, Stage::Retiring { since: at(2) }]
        {
            let rotation = Rotation { stage, handled: "x\"y".to_owned() };
            let text = serde_json::to_string(&rotation).unwrap();
            assert_eq!(serde_json::from_str::<Rotation>(&text).unwrap(), rotation, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_replacement_comes_to_its_end(jumps in proptest::collection::vec(0..20_000_i64, 40), births in proptest::collection::vec(-10_000..10_000_i64, 0..5)) {
            let sandboxes = created(&births);
            let (mut stage, mut now) = (Stage::Publishing, 0);
            for jump in jumps.iter().chain(std::iter::repeat_n(&50_000, 8)) {
                if let Next::Go { stage: then, .. } = next(stage, observed(&sandboxes), at(now)) {
                    stage = then;
                }
                now += jump;
            }
            prop_assert_eq!(stage, Stage::Steady);
        }
    }
}
