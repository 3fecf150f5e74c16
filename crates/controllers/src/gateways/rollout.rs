//! The revisions of one gateway: which one to apply, whether it came up, and back to the last good one when it did not. Pure.
//!
//! A revision is everything that restarts a gateway when it changes: its file and its workload. A ConfigMap
//! of the gateway's own remembers which one was decided on, which one is known to be good, and how both look in full, so that a
//! gateway can keep or get back what this build would no longer render. What is remembered is written before the workload is:
//! a process that dies in between goes on with what was decided.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pods::Pod;
use super::version::GatewayVersion;
use super::waves::RolloutPolicy;

/// The most bytes of one revision that are remembered. A larger one is applied all the same, but cannot be gone back to.
const MAX_BODY: usize = 256 * 1024;

/// A revision in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    /// The gateway's image.
    pub(super) image: String,
    /// Its version, as text; see [`GatewayVersion`].
    pub(super) version: String,
    /// The database, by kind: what ran with one says nothing about another.
    pub(super) database: String,
    /// `gateway.toml`.
    pub(super) config: String,
    /// The workload as applied, without its owner.
    pub(super) workload: Value,
}

impl Body {
    fn version(&self) -> Option<GatewayVersion> {
        self.version.parse().ok()
    }
}

/// Why a revision is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) revision: String,
    /// The tenant's own part when it failed: an edit is a new try.
    pub(super) own: String,
    /// The wave by which it came; absent for what needed no turn.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) wave: Option<String>,
    pub(super) at: Timestamp,
    pub(super) why: String,
    /// Whether it speaks against the revision: another one was good in the same place.
    pub(super) counts: bool,
}

/// A revision that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) revision: String,
    /// The wave that it belongs to: the platform's revision, or the image that its author chose.
    pub(super) wave: String,
    /// Whether its author chose another image.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) edited: bool,
}

/// What is remembered in short: all that the fleet needs to know of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    /// The revision that was decided on last; empty before the first one.
    pub(super) applied: String,
    /// The tenant's own part that was decided on last.
    pub(super) own: String,
    /// The image that the tenant had chosen in it; empty when none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) own_image: String,
    /// Since when; absent while it is scaled to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    /// The wave by which it came; absent when it needed no turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wave: Option<String>,
    /// Since when it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ready_since: Option<Timestamp>,
    /// The last revision that stayed ready, or was ready when another took its place; empty while there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) good: String,
    /// The revision that waits for its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waiting: Option<Waiting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<Failed>,
    /// The version that last was ready, and with which database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ran: Option<(String, String)>,
    /// Whether the gateway goes first in a wave.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) canary: bool,
}

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Memory {
    pub(super) record: Record,
    /// By revision: the one decided on and the last good one.
    pub(super) bodies: BTreeMap<String, Body>,
}

impl Memory {
    /// The keys of the ConfigMap's data that hold it.
    pub(super) const RECORD: &'static str = "rollout";
    pub(super) const BODIES: &'static str = "revisions";

    /// What a ConfigMap remembers. What cannot be read counts as nothing remembered: then nothing is touched out of turn.
    pub(super) fn read(config_map: &Value) -> Self {
        let bodies = config_map["data"][Self::BODIES].as_str().and_then(|text| serde_json::from_str(text).ok());
        Self { record: Record::read(config_map), bodies: bodies.unwrap_or_default() }
    }

    pub(super) fn to_data(&self) -> [(&'static str, String); 2] {
        [
            (Self::RECORD, serde_json::to_string(&self.record).unwrap_or_default()),
            (Self::BODIES, serde_json::to_string(&self.bodies).unwrap_or_default()),
        ]
    }

    fn commit(&mut self, wanted: Wanted<'_>, wave: Option<&str>, now: Timestamp) {
        let record = &mut self.record;
        wanted.revision.clone_into(&mut record.applied);
        record.take_over(wanted);
        record.since = Some(now);
        record.wave = wave.map(str::to_owned);
        record.ready_since = None;
        record.failed = None;
    }
}

/// A digest that is short enough to read and long enough to tell revisions apart.
pub(super) fn short(text: &str) -> String {
    let mut digest = paddock_pki::sha256_hex(text.as_bytes());
    digest.truncate(16);
    digest
}

impl Record {
    pub(super) fn read(config_map: &Value) -> Self {
        let text = config_map["data"][Memory::RECORD].as_str();
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// What was decided on is what is wanted.
    fn satisfied(&mut self, wanted: Wanted<'_>) {
        self.take_over(wanted);
        self.waiting = None;
        // Nobody wants the revision that failed any more.
        self.failed.take_if(|failed| failed.revision != wanted.revision);
    }

    /// What is ready when another revision takes its place is the one to go back to, however short it ran.
    fn gives_way(&mut self, found: &Found<'_>) {
        if found.exists && found.rolled_out && found.objection.is_none() && found.revision == Some(&self.applied) {
            self.good.clone_from(&self.applied);
        }
    }

    /// The tenant's own part is decided on.
    fn take_over(&mut self, wanted: Wanted<'_>) {
        wanted.own.clone_into(&mut self.own);
        wanted.own_image.clone_into(&mut self.own_image);
    }
}

/// What this pass would render.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) revision: &'a str,
    /// Digest of what is the tenant's own doing.
    pub(super) own: &'a str,
    /// The image that the tenant chose; empty when it left that to the platform.
    pub(super) own_image: &'a str,
    pub(super) body: &'a Body,
}

/// What is there.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    /// Whether the workload exists and is ours to change.
    pub(super) exists: bool,
    /// The revision of its template, if it has one.
    pub(super) revision: Option<&'a str>,
    /// Whether its newest template runs and is ready.
    pub(super) rolled_out: bool,
    /// Whether somebody scaled it to nothing: then it can neither prove itself nor fail.
    pub(super) scaled_away: bool,
    /// What the gateway itself said against it since: that it does not serve, and how.
    pub(super) objection: Option<String>,
    /// The workload's own pods.
    pub(super) pods: &'a [Pod],
    /// Whether a node could run it.
    pub(super) has_node: bool,
}

/// What others decided about this gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    /// Whether the fleet lets it take the wanted revision now.
    pub(super) admitted: bool,
    /// The platform's revision, which names the wave of its changes.
    pub(super) wave: &'a str,
    /// Whether an older version may take over the database.
    pub(super) downgrade_allowed: bool,
    pub(super) canary: bool,
    pub(super) policy: &'a RolloutPolicy,
}

/// What to do about file and workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Apply {
    /// What this pass renders.
    Wanted,
    /// A remembered revision.
    Kept(Box<Body>),
    /// Nothing: they stay as they are.
    Untouched,
}

/// Where the rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    Progressing,
    /// Another revision waits for its turn; what runs is ready, or not.
    Waiting {
        ready: bool,
    },
    /// The wanted revision failed, and the last good one is back.
    RolledBack {
        why: String,
        ready: bool,
    },
    /// The revision does not come up, and there is none to go back to.
    Stuck {
        why: String,
    },
    /// The wanted version is older than the one that ran with the database.
    DowngradeRefused {
        from: String,
        to: String,
    },
}

/// The decision of one pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) apply: Apply,
    /// The revision that is applied: the one that pods should have.
    pub(super) revision: String,
    pub(super) memory: Memory,
    pub(super) progress: Progress,
    /// Whether this very pass goes back to the last good revision.
    pub(super) rolls_back: bool,
    pub(super) look_again: Option<Timestamp>,
}

/// Decides. Equal input gives the equal step, and a step whose memory is stored gives itself again.
pub(super) fn decide(now: Timestamp, mut memory: Memory, wanted: Wanted<'_>, found: Found<'_>, turn: Turn<'_>) -> Step {
    let before = memory.record.applied.clone();
    memory.record.canary = turn.canary;
    let mut choice = choose(&memory, wanted, &found, turn);
    match &choice {
        Choice::Commit { wave } => {
            memory.record.gives_way(&found);
            memory.commit(wanted, wave.as_deref(), now);
        }
        Choice::Same => memory.record.satisfied(wanted),
        Choice::Hold(_) => {}
    }
    memory.record.waiting = match &choice {
        Choice::Hold(Hold::Turn(waiting)) => Some(waiting.clone()),
        _ => None,
    };
    let committed = matches!(choice, Choice::Commit { .. }) && memory.record.applied != before;
    let mut look_again = None;
    let trouble = if committed { None } else { judge(now, &mut memory, &found, turn.policy, &mut look_again) };
    let mut rolls_back = false;
    if let Some((why, conclusive)) = trouble {
        rolls_back = give_up(now, &mut memory, why, conclusive && found.has_node);
        if rolls_back && memory.record.applied == wanted.revision {
            memory.record.satisfied(wanted);
            choice = Choice::Same;
        }
    }
    let apply = if memory.record.applied == wanted.revision {
        Apply::Wanted
    } else {
        match memory.bodies.get(&memory.record.applied) {
            Some(body) => Apply::Kept(Box::new(body.clone())),
            None => Apply::Untouched,
        }
    };
    if apply == Apply::Wanted {
        remember(&mut memory, wanted);
    }
    let keep = [memory.record.applied.clone(), memory.record.good.clone()];
    memory.bodies.retain(|revision, _| keep.contains(revision));
    let progress = progress(&memory.record, &choice, rolls_back, wanted, &found);
    Step { apply, revision: memory.record.applied.clone(), memory, progress, rolls_back, look_again }
}

/// Which revision is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// The one that was decided on before is what is wanted.
    Same,
    /// The wanted one from now on, by that wave if it needed a turn.
    Commit { wave: Option<String> },
    /// The one that was decided on before.
    Hold(Hold),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hold {
    Turn(Waiting),
    Failed,
    Downgrade { from: String },
}

fn choose(memory: &Memory, wanted: Wanted<'_>, found: &Found<'_>, turn: Turn<'_>) -> Choice {
    let record = &memory.record;
    if record.applied == wanted.revision {
        return Choice::Same;
    }
    let unknown = record.applied.is_empty();
    // Nothing to wait with: it is not there, and nobody knows how it was.
    let lost = !found.exists && !memory.bodies.contains_key(&record.applied);
    let failed = record.failed.as_ref();
    if failed.is_some_and(|failed| failed.revision == wanted.revision && failed.own == wanted.own) && !lost {
        return Choice::Hold(Hold::Failed);
    }
    if let Some((version, database)) = &record.ran
        && *database == wanted.body.database
        && version.parse::<GatewayVersion>().ok() > wanted.body.version()
        && !turn.downgrade_allowed
    {
        return Choice::Hold(Hold::Downgrade { from: version.clone() });
    }
    let own_edit = !unknown && record.own != wanted.own;
    // Another image is what fails most and is edited for many gateways in one go. What does not run loses nothing by it.
    let edited = own_edit && record.own_image != wanted.own_image && found.rolled_out;
    if lost || (own_edit && !edited) {
        // It takes along what it waited for or failed with, so how that goes counts there.
        let waited = record.waiting.as_ref().map(|waiting| waiting.wave.clone());
        return Choice::Commit { wave: waited.or_else(|| failed.and_then(|failed| failed.wave.clone())) };
    }
    let wave = if edited { &wanted.body.image } else { turn.wave }.to_owned();
    if turn.admitted {
        return Choice::Commit { wave: Some(wave) };
    }
    Choice::Hold(Hold::Turn(Waiting { revision: wanted.revision.to_owned(), wave, edited }))
}

/// Whether the revision that was decided on came up. What is wrong, and whether that is beyond doubt.
fn judge(
    now: Timestamp,
    memory: &mut Memory,
    found: &Found<'_>,
    policy: &RolloutPolicy,
    look_again: &mut Option<Timestamp>,
) -> Option<(String, bool)> {
    let record = &mut memory.record;
    if found.revision != Some(&record.applied) || !found.exists {
        return None;
    }
    if found.scaled_away {
        // Its time begins when it is to run again.
        if record.good != record.applied {
            (record.since, record.ready_since) = (None, None);
        }
        return None;
    }
    if found.rolled_out
        && let Some(body) = memory.bodies.get(&record.applied)
    {
        record.ran = Some((body.version.clone(), body.database.clone()));
    }
    // A revision that does not serve is no good one: nobody wants to go back to it.
    if found.rolled_out && found.objection.is_none() {
        let since = *record.ready_since.get_or_insert(now);
        record.failed.take_if(|failed| failed.revision == record.applied);
        if record.good != record.applied {
            match policy.soaked(since) {
                soaked if soaked <= now => record.applied.clone_into(&mut record.good),
                soaked => *look_again = Some(soaked),
            }
        }
        return None;
    }
    if record.good == record.applied {
        // It worked before: whatever it suffers from now, it is not its rollout.
        return None;
    }
    if record.ready_since.take().is_some() {
        // It was ready and is not any more: the clock starts again.
        record.since = Some(now);
    }
    let mine = || found.pods.iter().filter(|pod| pod.revision.as_deref() == Some(&record.applied));
    if let Some(why) = mine().find_map(|pod| pod.failure.clone()) {
        return Some((why, true));
    }
    let deadline = policy.deadline(*record.since.get_or_insert(now));
    if now < deadline {
        *look_again = Some(deadline);
        return None;
    }
    let minutes = policy.progress_deadline.as_mins();
    let seen = mine().find_map(|pod| pod.waiting.clone());
    let why = match (&found.objection, seen, found.has_node) {
        (Some(why), ..) if found.rolled_out => format!("does not serve after {minutes} min: {why}"),
        (_, Some(waiting), _) => format!("not ready after {minutes} min: {waiting}"),
        (_, None, true) => format!("not ready after {minutes} min"),
        (_, None, false) => format!("not ready after {minutes} min: the cluster has no node"),
    };
    Some((why, true))
}

/// Back to the last good revision if there is one; otherwise only noted. Whether it goes back.
fn give_up(now: Timestamp, memory: &mut Memory, why: String, conclusive: bool) -> bool {
    let record = &mut memory.record;
    let back = conclusive && !record.good.is_empty() && memory.bodies.contains_key(&record.good);
    if !back && record.failed.is_some() {
        return false;
    }
    record.failed = Some(Failed {
        revision: record.applied.clone(),
        own: record.own.clone(),
        wave: record.wave.clone(),
        at: now,
        why,
        counts: back,
    });
    if back {
        record.applied.clone_from(&record.good);
        record.since = Some(now);
        record.wave = None;
        record.ready_since = None;
    }
    back
}

fn remember(memory: &mut Memory, wanted: Wanted<'_>) {
    let known = memory.bodies.get(wanted.revision).is_some_and(|body| body == wanted.body);
    let size = || serde_json::to_string(wanted.body).map_or(usize::MAX, |text| text.len());
    if !known && size() <= MAX_BODY {
        memory.bodies.insert(wanted.revision.to_owned(), wanted.body.clone());
    }
}

fn progress(record: &Record, choice: &Choice, rolls_back: bool, wanted: Wanted<'_>, found: &Found<'_>) -> Progress {
    let ready = found.rolled_out && (found.revision == Some(&record.applied) || record.applied.is_empty());
    match choice {
        Choice::Hold(Hold::Turn(_)) => return Progress::Waiting { ready },
        Choice::Hold(Hold::Downgrade { from }) => {
            return Progress::DowngradeRefused { from: from.clone(), to: wanted.body.version.clone() };
        }
        _ => {}
    }
    match &record.failed {
        Some(failed) if rolls_back || *choice == Choice::Hold(Hold::Failed) => {
            Progress::RolledBack { why: failed.why.clone(), ready: ready && !rolls_back }
        }
        Some(failed) if failed.revision == record.applied => Progress::Stuck { why: failed.why.clone() },
        _ if ready => Progress::Done,
        _ => Progress::Progressing,
    }
}

#[cfg(test)]
mod tests;
