//! Changes of the platform reach gateways in waves: who may take one now. Pure, one pass over a short line per gateway.
//!
//! A change of the platform is another default image, another rendering of a new version of ours, another option of the
//! operator: what would restart many gateways at once. An image that authors choose for their gateways is a wave of its own,
//! named by the image. Canaries go first, then a few at a time; each has to stay ready for a while before its place is free; too
//! many failures stop their wave until a person or a newer revision says otherwise. All waves share the places.
//! There is no lock and no plan to lose: who goes next follows from what the gateways' records say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::rollout::{Record, Waiting};

/// How changes of the platform are rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutPolicy {
    /// How many gateways may be on their way at once.
    pub max_unavailable: Share,
    /// How long a gateway stays ready before it counts as good and makes room for the next.
    pub soak: SignedDuration,
    /// How long a gateway may take to become ready before its revision counts as failed.
    pub progress_deadline: SignedDuration,
    /// How many gateways of a wave may fail before it pauses.
    pub tolerated_failures: u32,
    /// Gateways that go first, by the names they have in `platform-config-status`; others by a label of their namespace.
    pub canaries: BTreeSet<String>,
}

impl Default for RolloutPolicy {
    /// A tenth of the gateways, at least one; half a minute; ten minutes; no failure; no canaries.
    fn default() -> Self {
        Self {
            max_unavailable: Share::Percent(10),
            soak: SignedDuration::from_secs(30),
            progress_deadline: SignedDuration::from_mins(10),
            tolerated_failures: 0,
            canaries: BTreeSet::new(),
        }
    }
}

impl RolloutPolicy {
    /// When a gateway that is ready since then counts as good.
    pub(super) fn soaked(&self, since: Timestamp) -> Timestamp {
        since.saturating_add(self.soak).unwrap_or(Timestamp::MAX)
    }

    /// When a gateway that began then must be ready.
    pub(super) fn deadline(&self, since: Timestamp) -> Timestamp {
        since.saturating_add(self.progress_deadline).unwrap_or(Timestamp::MAX)
    }
}

/// A part of the gateways: so many, or so many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many, at least 1.
    Count(u32),
    /// So many of a hundred, 1 to 100; always at least one gateway.
    Percent(u32),
}

impl Share {
    /// How many of `total` that is, at least one.
    pub fn of(self, total: usize) -> usize {
        let part = match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => total.saturating_mul(usize::try_from(percent).unwrap_or(100)) / 100,
        };
        part.max(1)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// The text is neither a count nor a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a count from 1 on, such as 3, nor a percentage from 1% to 100%")]
pub struct ShareError(String);

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten().filter(|number| *number > 0)
        };
        let share = match text.strip_suffix('%') {
            Some(percent) => number(percent).filter(|percent| *percent <= 100).map(Self::Percent),
            None => number(text).map(Self::Count),
        };
        share.ok_or_else(|| ShareError(text.to_owned()))
    }
}

/// A gateway, as far as waves are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) canary: bool,
    /// The revision that it waits to take.
    pub(super) waiting: Option<Waiting>,
    /// The last wave that it took part in; empty when none.
    pub(super) wave: String,
    pub(super) stage: Stage,
}

/// How it took the last revision that it took by a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none, or that is long over.
    Settled,
    /// It is not ready yet.
    Updating,
    /// It is ready since then.
    Ready(Timestamp),
    /// It failed and went back.
    Failed,
}

impl Member {
    /// A gateway by its record.
    pub(super) fn of(key: impl Into<String>, record: &Record) -> Self {
        let failed = record.failed.as_ref().filter(|failed| failed.counts).and_then(|failed| failed.wave.as_ref());
        let (wave, stage) = match (failed, &record.wave, record.ready_since) {
            (Some(wave), _, _) => (wave.as_str(), Stage::Failed),
            (None, None, _) => ("", Stage::Settled),
            (None, Some(wave), Some(since)) => (wave.as_str(), Stage::Ready(since)),
            // It never came up, and was not ready before either: nothing is learned by waiting for it.
            (None, Some(wave), None) if record.failed.is_some() => (wave.as_str(), Stage::Settled),
            // Somebody scaled it to nothing: it takes no place while it cannot come up.
            (None, Some(wave), None) if record.since.is_none() => (wave.as_str(), Stage::Settled),
            (None, Some(wave), None) => (wave.as_str(), Stage::Updating),
        };
        let (wave, waiting) = (wave.to_owned(), record.waiting.clone());
        Self { key: key.into(), canary: record.canary, waiting, wave, stage }
    }

    fn is_busy(&self, now: Timestamp, policy: &RolloutPolicy) -> bool {
        match self.stage {
            Stage::Updating => true,
            Stage::Ready(since) => policy.soaked(since) > now,
            Stage::Settled | Stage::Failed => false,
        }
    }
}

/// Leave to take a revision: gateway and revision.
pub(super) type Leave = (String, String);

/// Where the fleet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody waits.
    Settled,
    /// Some wait for their turn.
    Rolling,
    /// More failed in a wave than may: nobody else of it gets a turn.
    Paused,
}

impl Phase {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::Rolling => "Rolling",
            Self::Paused => "Paused",
        }
    }
}

/// Who may go now, and why nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) phase: Phase,
    /// Sorted by gateway.
    pub(super) admitted: BTreeSet<Leave>,
    /// How many wait, the admitted ones included.
    pub(super) waiting: usize,
    /// How many are on their way.
    pub(super) busy: usize,
    /// Who failed, and nothing else was decided on since.
    pub(super) failed: Vec<String>,
    /// The first wave that is paused, and how many failed in it.
    pub(super) paused: Option<(String, usize)>,
    /// When somebody's time of proof ends.
    pub(super) look_again: Option<Timestamp>,
}

/// Failures that a person accepts: the wave, and how many.
pub(super) type Acknowledged = (String, usize);

/// Decides who may take what they wait for now. `before` is who was allowed last: who has not begun yet keeps the turn.
pub(super) fn admit(
    now: Timestamp,
    fleet: &[Member],
    before: &BTreeSet<Leave>,
    policy: &RolloutPolicy,
    acknowledged: Option<&Acknowledged>,
) -> Decision {
    let busy = |member: &&Member| member.is_busy(now, policy);
    let on_their_way = fleet.iter().filter(busy).count();
    let waiting: Vec<(&Member, &Waiting)> =
        fleet.iter().filter_map(|member| Some((member, member.waiting.as_ref()?))).collect();
    let mut failures: BTreeMap<&str, usize> = waiting.iter().map(|(_, waiting)| (waiting.wave.as_str(), 0)).collect();
    let mut failed = Vec::new();
    for member in fleet.iter().filter(|member| member.stage == Stage::Failed) {
        let concerns = failures.get_mut(member.wave.as_str()).map(|count| *count += 1).is_some();
        // Who waits for something else is past it.
        if concerns || member.waiting.is_none() {
            failed.push(member.key.clone());
        }
    }
    failures.retain(|wave, count| {
        let accepted = acknowledged.filter(|(of, _)| of == wave).map_or(0, |(_, accepted)| *accepted);
        let tolerated = usize::try_from(policy.tolerated_failures).unwrap_or(usize::MAX);
        *count > tolerated.saturating_add(accepted)
    });
    let paused = failures;
    let mut decision = Decision {
        phase: match (waiting.is_empty(), paused.is_empty()) {
            (true, _) => Phase::Settled,
            (false, false) => Phase::Paused,
            (false, true) => Phase::Rolling,
        },
        admitted: BTreeSet::new(),
        waiting: waiting.len(),
        busy: on_their_way,
        failed,
        paused: paused.first_key_value().map(|(wave, count)| ((*wave).to_owned(), *count)),
        look_again: None,
    };
    let mut canaries: BTreeSet<&str> = BTreeSet::new();
    for member in fleet.iter().filter(|member| member.canary) {
        canaries.extend(member.waiting.as_ref().map(|waiting| waiting.wave.as_str()));
        canaries.extend(busy(&member).then_some(member.wave.as_str()));
    }
    let mut next: Vec<_> = waiting
        .into_iter()
        .filter(|(_, waiting)| !paused.contains_key(waiting.wave.as_str()))
        .filter(|(member, waiting)| member.canary || !canaries.contains(waiting.wave.as_str()))
        .map(|(member, waiting)| (member, waiting.edited, (member.key.clone(), waiting.revision.clone())))
        .collect();
    // Whoever is on the way already takes no further place; whoever had a turn keeps it; people come before the platform.
    next.sort_by_key(|(member, edited, leave)| (!busy(member), !before.contains(leave), !edited, member.key.as_str()));
    let mut room = policy.max_unavailable.of(fleet.len()).saturating_sub(on_their_way);
    for (member, _, leave) in next {
        if !busy(&member) {
            match room.checked_sub(1) {
                Some(rest) => room = rest,
                None => break,
            }
        }
        decision.admitted.insert(leave);
    }
    if decision.waiting > 0 {
        let proofs = fleet.iter().filter(busy).filter_map(|member| match member.stage {
            Stage::Ready(since) => Some(policy.soaked(since)),
            _ => None,
        });
        decision.look_again = proofs.min();
    }
    decision
}

#[cfg(test)]
mod tests;
