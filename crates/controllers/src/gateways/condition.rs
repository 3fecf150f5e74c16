//! Conditions of a gateway and the one-line summary that follows from them. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_api::{GatewayCondition, GatewayPhase};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The reason of what is under way.
pub(super) const PROGRESSING: &str = "Progressing";
/// The reason of a rollout that has not begun; what ran before runs on.
pub(super) const WAITING_FOR_WAVE: &str = "WaitingForWave";
/// The reason of a rollout that failed; what ran before runs again.
pub(super) const ROLLED_BACK: &str = "RolledBack";
/// The reason of a rollout that is refused; what ran before runs on.
pub(super) const DOWNGRADE_REFUSED: &str = "DowngradeRefused";

/// The reason of a `platform-config` that cannot be read; what it said before holds.
pub(super) const INVALID_DOCUMENT: &str = "InvalidDocument";

/// One condition, as `kubectl` and people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) last_transition_time: Timestamp,
    /// Which entry of `platform-config` it is about: a ConfigMap has no generation that could be observed.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) observed_digest: String,
}

/// The conditions in the making.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    now: Timestamp,
    before: Vec<Condition>,
    current: Vec<Condition>,
    /// Digest of the entry that they are about; empty for an object.
    about: String,
}

impl Conditions {
    /// Starts from those that were reported last.
    pub(super) fn since(before: Vec<Condition>, now: Timestamp) -> Self {
        Self { now, before, current: Vec::new(), about: String::new() }
    }

    /// Those that are set from now on are about the entry with this digest.
    pub(super) fn about(mut self, digest: &str) -> Self {
        digest.clone_into(&mut self.about);
        self
    }

    /// Says again what was reported last.
    pub(super) fn again(mut self) -> Self {
        self.current.clone_from(&self.before);
        self
    }

    /// Reads what [`Self::to_json`] wrote. Anything else counts as nothing reported yet.
    pub(super) fn read(text: &str) -> Vec<Condition> {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// What was reported last.
    pub(super) fn before(&self, kind: GatewayCondition) -> Option<&Condition> {
        self.before.iter().find(|condition| condition.kind == kind.as_str())
    }

    pub(super) fn set(&mut self, kind: GatewayCondition, holds: bool, reason: &str, message: impl Into<String>) {
        let status = if holds { "True" } else { "False" };
        let same = self.before(kind).filter(|before| before.status == status);
        let moved = same.map_or(self.now, |before| before.last_transition_time);
        // Kubernetes' times have seconds.
        let last_transition_time = Timestamp::from_second(moved.as_second()).unwrap_or(moved);
        let condition = Condition {
            kind: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: cut(&message.into(), 1024).to_owned(),
            last_transition_time,
            observed_digest: self.about.clone(),
        };
        self.current.retain(|old| old.kind != condition.kind);
        self.current.push(condition);
        // One order, in whichever order they were found out: equal conditions are equal text.
        let place =
            |condition: &Condition| GatewayCondition::ALL.iter().position(|kind| kind.as_str() == condition.kind);
        self.current.sort_by_key(place);
    }

    /// Why the gateway is not ready: the reason of the first thing that does not hold, and everything that does not.
    /// What the cluster lacks for sandboxes comes last, because the gateway itself can be waited for without it.
    pub(super) fn obstacle(&self) -> Option<(String, String)> {
        let of = |kind: &GatewayCondition| self.current.iter().find(|condition| condition.kind == kind.as_str());
        let first = GatewayCondition::ALL
            .iter()
            .filter(|kind| !matches!(kind, GatewayCondition::Prerequisites | GatewayCondition::Ready))
            .chain([&GatewayCondition::Prerequisites]);
        // What does not run does not serve: said once.
        let first = first.filter(|kind| **kind != GatewayCondition::Serving || self.holds(GatewayCondition::RolledOut));
        // Who waits for a turn is well: what runs is what ran. So is who waits for somebody's document to be mended.
        let is_well = |condition: &Condition| [WAITING_FOR_WAVE, INVALID_DOCUMENT].contains(&&*condition.reason);
        let fails = |condition: &&Condition| condition.status != "True" && !is_well(condition);
        let failing: Vec<_> = first.filter_map(of).filter(fails).collect();
        let messages: Vec<_> = failing.iter().map(|condition| condition.message.as_str()).collect();
        Some((failing.first()?.reason.clone(), messages.join("; ")))
    }

    fn holds(&self, kind: GatewayCondition) -> bool {
        self.current.iter().any(|condition| condition.kind == kind.as_str() && condition.status == "True")
    }

    /// Sets `Ready` from all others and gives the phase.
    pub(super) fn conclude(&mut self) -> GatewayPhase {
        let was_running = self.before(GatewayCondition::Ready).is_some_and(|ready| ready.status == "True");
        let (phase, reason, message) = match self.obstacle() {
            None => (GatewayPhase::Running, "Ready".to_owned(), String::new()),
            Some((reason, message)) => {
                // Valid and complete, so that only time or the cluster is missing.
                let pki = self.current.iter().find(|c| c.kind == GatewayCondition::PkiReady.as_str());
                let pki = pki.is_none_or(|c| c.status == "True" || c.reason == PROGRESSING);
                let config = self.current.iter().find(|c| c.kind == GatewayCondition::ConfigValid.as_str());
                let valid = config.is_some_and(|c| c.status == "True" || c.reason == INVALID_DOCUMENT);
                let on_its_way = valid && pki;
                // A gateway that has just been rolled out and was not asked yet has not failed.
                let serving = self.current.iter().find(|c| c.kind == GatewayCondition::Serving.as_str());
                let asked = serving.is_none_or(|c| c.reason != PROGRESSING);
                let runs = |c: &Condition| [WAITING_FOR_WAVE, ROLLED_BACK, DOWNGRADE_REFUSED].contains(&&*c.reason);
                let up = self.holds(GatewayCondition::RolledOut) || self.current.iter().any(runs);
                let worked = (up && asked) || was_running;
                let namespace = self.current.iter().find(|c| c.kind == GatewayCondition::NamespaceReady.as_str());
                let phase = match namespace {
                    // Nobody could ever make anything of what is asked for.
                    None if !valid => GatewayPhase::Failed,
                    Some(namespace) if namespace.status != "True" => GatewayPhase::Pending,
                    _ if on_its_way && !worked => GatewayPhase::Provisioning,
                    _ => GatewayPhase::Degraded,
                };
                (phase, reason, message)
            }
        };
        self.set(GatewayCondition::Ready, phase == GatewayPhase::Running, &reason, message);
        phase
    }

    /// For an object's status: each says which generation it is about.
    pub(super) fn observing(&self, generation: &Value) -> Value {
        let with = |condition: &Condition| {
            let mut value = serde_json::to_value(condition).unwrap_or_default();
            value["observedGeneration"] = generation.clone();
            value
        };
        self.current.iter().map(with).collect()
    }

    /// Whether it became ready or ceased to be since the last report, and why; said once. What was never ready has not ceased to be.
    pub(super) fn transition(&self) -> Option<(bool, &Condition)> {
        let was = self.before(GatewayCondition::Ready).is_some_and(|ready| ready.status == "True");
        let ready = self.current.iter().find(|condition| condition.kind == GatewayCondition::Ready.as_str())?;
        let is = ready.status == "True";
        (is != was).then_some((is, ready))
    }

    /// For the anchor.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&self.current).unwrap_or_default()
    }
}

/// What one line of `platform-config-status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) phase: GatewayPhase,
    pub(super) ready: bool,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) image: String,
    /// Who chose the image.
    pub(super) image_from: String,
    /// What the container runtime says that runs: the digest of the image.
    pub(super) image_id: String,
    pub(super) config_hash: String,
    pub(super) not_after: String,
    /// Digest of the entry that it is about; empty for an object.
    pub(super) observed_digest: String,
}

/// The most bytes of one entry in `platform-config-status`.
pub(super) const MAX_SUMMARY: usize = 600;

impl Summary {
    /// Nothing but a phase and why.
    pub(super) fn of(phase: GatewayPhase, reason: &str, message: impl Into<String>) -> Self {
        Self {
            phase,
            ready: false,
            reason: reason.to_owned(),
            message: message.into(),
            image: String::new(),
            image_from: String::new(),
            image_id: String::new(),
            config_hash: String::new(),
            not_after: String::new(),
            observed_digest: String::new(),
        }
    }

    /// The entry; its message, then its image give way when it would be longer than [`MAX_SUMMARY`].
    pub(super) fn to_json(&self) -> String {
        let text = |message: &str, image: &str| {
            let entry = json!({
                "phase": self.phase.as_str(), "ready": self.ready, "reason": self.reason, "message": message,
                "image": image, "imageFrom": self.image_from, "imageID": self.image_id, "configHash": self.config_hash,
                "notAfter": self.not_after, "observedDigest": self.observed_digest,
            });
            entry.to_string()
        };
        for image in [self.image.as_str(), ""] {
            let mut message = self.message.as_str();
            loop {
                let entry = text(message, image);
                if entry.len() <= MAX_SUMMARY {
                    return entry;
                }
                let excess = entry.len() - MAX_SUMMARY;
                if message.is_empty() {
                    break;
                }
                // Escapes make the text longer than the message; cutting at least one byte each time ends.
                message = cut(message, message.len().saturating_sub(excess.max(1)));
            }
        }
        text("", "")
    }

    /// Reads an entry back, as the anchor carries it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let string = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let phase = GatewayPhase::ALL.into_iter().find(|phase| phase.as_str() == string("phase"))?;
        Some(Self {
            phase,
            ready: value["ready"].as_bool().unwrap_or_default(),
            reason: string("reason"),
            message: string("message"),
            image: string("image"),
            image_from: string("imageFrom"),
            image_id: string("imageID"),
            config_hash: string("configHash"),
            not_after: string("notAfter"),
            observed_digest: string("observedDigest"),
        })
    }
}

/// An entry of `platform-config-status`, and its text, which is made once however often it is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) summary: Summary,
    pub(super) text: String,
}

impl Row {
    pub(super) fn of(summary: Summary) -> Arc<Self> {
        let text = summary.to_json();
        Arc::new(Self { summary, text })
    }
}

/// At most `length` bytes of `text`, at a character's boundary.
fn cut(text: &str, length: usize) -> &str {
    let mut length = length.min(text.len());
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    &text[..length]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_with_the_status_alone() {
        let mut first = Conditions::since(Vec::new(), at(1));
        first.set(GatewayCondition::Applied, false, "A", "a");
        let mut second = Conditions::since(Conditions::read(&first.to_json()), at(2));
        second.set(GatewayCondition::Applied, false, "B", "b");
        assert_eq!(second.current[0].last_transition_time, at(1));
        let mut third = Conditions::since(Conditions::read(&second.to_json()), at(3));
        third.set(GatewayCondition::Applied, true, "C", "");
        assert_eq!(third.current[0].last_transition_time, at(3));
    }

    #[test]
    fn transition_time_has_whole_seconds() {
        let now: Timestamp = "2026-11-21T10:00:00.123456789Z".parse().unwrap();
        let mut conditions = Conditions::since(Vec::new(), now);
        conditions.set(GatewayCondition::Applied, true, "A", "");
        assert!(
            conditions.to_json().contains(r#""lastTransitionTime":"2026-11-21T10:00:00Z""#),
            "{}",
            conditions.to_json()
        );
    }

    #[test]
    fn ready_tells_the_first_thing_that_does_not_hold() {
        let mut conditions = Conditions::since(Vec::new(), at(1));
        conditions.set(GatewayCondition::ConfigValid, true, "Valid", "");
        conditions.set(GatewayCondition::Prerequisites, false, "SandboxKindMissing", "no kind");
        conditions.set(GatewayCondition::PkiReady, true, "Complete", "");
        conditions.set(GatewayCondition::RolledOut, false, "NoNode", "no node");
        assert_eq!(conditions.conclude(), GatewayPhase::Provisioning);
        let ready = conditions.current.last().unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "NoNode"));
        assert_eq!(ready.message, "no node; no kind");
    }

    #[test]
    fn gw_w01_becoming_ready_and_ceasing_to_be_is_told_once() {
        let passes = [(false, None), (true, Some(true)), (true, None), (false, Some(false)), (false, None)];
        let mut before = Vec::new();
        for (holds, told) in passes {
            let mut conditions = Conditions::since(before, at(1));
            conditions.set(GatewayCondition::RolledOut, holds, "Reason", "");
            conditions.conclude();
            assert_eq!(conditions.transition().map(|(ready, _)| ready), told);
            before = Conditions::read(&conditions.to_json());
        }
    }

    #[test]
    fn invalid_entry_of_a_running_gateway_is_degraded() {
        let mut conditions = Conditions::since(Vec::new(), at(1));
        conditions.set(GatewayCondition::ConfigValid, false, "InvalidEntry", "bad");
        conditions.set(GatewayCondition::NamespaceReady, true, "NamespaceExists", "");
        conditions.set(GatewayCondition::RolledOut, true, "RolledOut", "");
        assert_eq!(conditions.conclude(), GatewayPhase::Degraded);
    }

    #[test]
    fn what_never_was_valid_failed_and_what_has_no_namespace_is_pending() {
        let mut conditions = Conditions::since(Vec::new(), at(1));
        conditions.set(GatewayCondition::ConfigValid, false, "InvalidEntry", "bad");
        assert_eq!(conditions.conclude(), GatewayPhase::Failed);
        conditions.set(GatewayCondition::ConfigValid, true, "Valid", "");
        conditions.set(GatewayCondition::NamespaceReady, false, "NamespaceMissing", "none");
        assert_eq!(conditions.conclude(), GatewayPhase::Pending);
    }

    proptest! {
        #[test]
        fn summary_never_exceeds_its_limit(message in "\\PC{0,900}|[\"\\\\\\n]{0,900}", image in "[a-z]{0,300}") {
            let mut summary = Summary::of(GatewayPhase::Failed, "Reason", message);
            summary.image = image;
            let text = summary.to_json();
            prop_assert!(text.len() <= MAX_SUMMARY);
            prop_assert!(Summary::read(&text).is_some());
        }
    }
}
