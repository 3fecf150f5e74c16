//! What is said of one gateway, from what was seen of it: its conditions, its anchor and the status of its object. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use paddock_api::{GatewayCondition, annotations};
use paddock_reconcile::{Desired, Drift, Error, Event, Plan, Severity, StatusPatch};
use serde_json::Value;

use super::condition::{
    Conditions, DOWNGRADE_REFUSED, INVALID_DOCUMENT, PROGRESSING, ROLLED_BACK, Summary, WAITING_FOR_WAVE,
};
use super::controller::{Snapshot, anchor_ref};
use super::fleet::ROLLOUT;
use super::intent::{Intent, Origin};
use super::key::GatewayKey;
use super::platform::Database;
use super::rollout::{Apply, Body, Progress, Step};
use super::{claim, drift, names, removal, render, resource, turn};

/// The reason when objects could not be written.
pub(super) const APPLY_FAILED: &str = "ApplyFailed";
/// The reason when both front ends ask for a gateway.
pub(super) const OVERRIDES: &str = "OverridesPlatformConfig";

/// What both are told then.
pub(super) fn overrides(key: &GatewayKey) -> String {
    format!(
        "platform-config has an entry {}, too: the OpenShellGateway {key} is heard, the entry is not",
        key.namespace
    )
}

/// Everything the anchor says, computed from what was seen before this pass wrote anything.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) conditions: Conditions,
    /// What is waited for: the workload, else what is seen of the gateway.
    pub(super) waits: Option<(bool, String)>,
    pub(super) image: String,
    pub(super) image_from: &'static str,
    /// The digest of what runs, as the container runtime tells it.
    image_id: String,
    /// Digest of the entry that it is about; empty for an object.
    observed: String,
    hash: String,
    not_after: String,
    /// What is worth knowing though nothing is wrong.
    notes: String,
    /// What the anchor already tells of drift.
    pub(super) drift: String,
    database: &'static str,
    origin: Origin,
    /// The version that ran with the data of a gateway that comes back, until it is remembered elsewhere.
    ran: Option<String>,
}

impl Report {
    pub(super) fn new(snapshot: &Snapshot, intent: &Intent, step: &Step, invalid: &str, now: Timestamp) -> Self {
        use GatewayCondition::{Applied, NamespaceReady, PkiReady, Prerequisites, RolledOut, Serving};
        let mut conditions = judged(snapshot, invalid, now);
        conditions.set(NamespaceReady, true, "NamespaceExists", "");
        let lacks_database = matches!(&intent.database, Database::Postgres { .. }) && snapshot.database.is_none();
        let findings = snapshot.premises.judge(intent.version, &snapshot.sandbox_versions, lacks_database);
        let served = format!("served: {}", snapshot.sandbox_versions);
        let (holds, reason, first) = match findings.missing.first() {
            Some((reason, _)) => (false, *reason, None),
            None => (true, "SandboxKindServed", Some(&served)),
        };
        let missing = findings.missing.iter().map(|(_, message)| message);
        let all: Vec<_> = first.into_iter().chain(missing).chain(&findings.notes).map(String::as_str).collect();
        conditions.set(Prerequisites, holds, reason, all.join("; "));
        let material = snapshot.material.as_ref();
        let other_key = snapshot.life.claim.as_ref().and_then(|(claim, _)| claim::key_fingerprint(claim));
        match material.map(|material| &material.trouble) {
            Some(None) if other_key.is_some_and(|of| snapshot.life.data_key.as_deref().is_some_and(|is| is != of)) => {
                let message = format!(
                    "Secret {} is not the key with which the credentials in the volume were encrypted; restore that one",
                    intent.key.name_of(names::KEK)
                );
                conditions.set(PkiReady, false, "EncryptionKeyMismatch", message);
            }
            None => conditions.set(PkiReady, false, PROGRESSING, "certificates are being made"),
            Some(Some((reason, message))) => conditions.set(PkiReady, false, reason, message),
            Some(None) => match (snapshot.view.certificate(), material.and_then(|material| material.note.as_ref())) {
                (Some((reason, message)), _) => conditions.set(PkiReady, false, reason, message),
                (None, Some((reason, message))) => conditions.set(PkiReady, true, reason, message),
                (None, None) => conditions.set(PkiReady, true, "Complete", ""),
            },
        }
        let applied = is_applied(snapshot, intent, step);
        match applied {
            true => conditions.set(Applied, true, "Applied", ""),
            false => conditions.set(Applied, false, PROGRESSING, "objects are being applied"),
        }
        let (rolled_out, reason, message) =
            scaled(intent, snapshot).unwrap_or_else(|| progress(step, applied, snapshot.has_node, &intent.key));
        conditions.set(RolledOut, rolled_out, reason, &*message);
        let mut waits = matches!(reason, PROGRESSING | "NoNode").then(|| (true, format!("{reason}: {message}")));
        if let Some((holds, reason, message)) = snapshot.view.serving() {
            if !holds && waits.is_none() {
                waits = Some((false, format!("{reason}: {message}")));
            }
            conditions.set(Serving, holds, reason, message);
        }
        // What this pass makes may never be stored: only what was found is reported, or a failing pass would never rest.
        let stored = snapshot.material.as_ref().filter(|material| material.made.is_empty());
        let not_after = stored.and_then(|material| material.not_after).map_or_else(String::new, |end| end.to_string());
        let hash = running_hash(snapshot).unwrap_or_default();
        // Until something runs, it is what will.
        let image =
            snapshot.workload.as_deref().and_then(image_of).map_or_else(|| intent.image.to_string(), str::to_owned);
        let image_from = intent.image_from.as_str();
        let notes = findings.notes.join("; ");
        let told = snapshot.anchor.as_deref().and_then(|anchor| removal::entry(anchor, drift::DRIFT));
        let drift = told.unwrap_or_default().to_owned();
        let database = match &intent.database {
            Database::Sqlite => "sqlite",
            Database::Postgres { .. } => "postgres",
        };
        let (hash, origin) = (hash.to_owned(), intent.origin);
        let ran = snapshot.anchor.as_deref().filter(|_| snapshot.revisions.is_none());
        let ran = ran.and_then(|anchor| removal::entry(anchor, removal::RAN)).map(str::to_owned);
        let image_id = snapshot.around.image_id.clone();
        Self {
            conditions,
            waits,
            image,
            image_from,
            image_id,
            observed: observed(snapshot).to_owned(),
            hash,
            not_after,
            notes,
            drift,
            database,
            origin,
            ran,
        }
    }

    /// Of a gateway for which nothing can be done.
    pub(super) fn unusable(snapshot: &Snapshot, invalid: &str, now: Timestamp) -> Self {
        let conditions = judged(snapshot, invalid, now);
        let nothing = String::new;
        Self {
            conditions,
            waits: None,
            image: nothing(),
            image_from: "",
            image_id: nothing(),
            observed: observed(snapshot).to_owned(),
            hash: nothing(),
            not_after: nothing(),
            notes: nothing(),
            drift: nothing(),
            database: "",
            origin: Origin::default(),
            ran: None,
        }
    }

    /// Tells the object that asks, if one does.
    pub(super) fn tell(&mut self, plan: &mut Plan, key: &GatewayKey, snapshot: &Snapshot) {
        plan.status.extend(self.status(key, snapshot.resource.as_deref()));
    }

    pub(super) fn status(&mut self, key: &GatewayKey, resource: Option<&Value>) -> Option<StatusPatch> {
        let object = resource?;
        let phase = self.conditions.conclude();
        let facts = resource::Facts {
            image: &self.image,
            image_from: self.image_from,
            image_id: &self.image_id,
            config_hash: &self.hash,
            not_after: &self.not_after,
        };
        let status = resource::status(object, &self.conditions, phase, facts);
        Some(StatusPatch { target: resource::reference(key), status })
    }

    /// The event when the gateway became ready or ceased to be.
    pub(super) fn transition(&mut self, key: &GatewayKey) -> Option<Event> {
        let image = &self.image;
        self.conditions.conclude();
        self.conditions.transition().map(|(ready, condition)| match ready {
            true => Event::normal(anchor_ref(key), "Ready", format!("{image} runs and everything holds")),
            false => Event {
                severity: Severity::Warning,
                ..Event::normal(anchor_ref(key), condition.reason.as_str(), condition.message.as_str())
            },
        })
    }

    /// The anchor, with what others were just found to have done.
    pub(super) fn anchor(&mut self, key: &GatewayKey, drifts: &[Drift]) -> Result<Desired, Error> {
        let phase = self.conditions.conclude();
        let (reason, message) = self.conditions.obstacle().unwrap_or_else(|| ("Ready".to_owned(), self.notes.clone()));
        let summary = Summary {
            phase,
            ready: phase == paddock_api::GatewayPhase::Running,
            reason,
            message,
            image: self.image.clone(),
            image_from: self.image_from.to_owned(),
            image_id: self.image_id.clone(),
            config_hash: self.hash.clone(),
            not_after: self.not_after.clone(),
            observed_digest: self.observed.clone(),
        };
        let mut data = vec![
            ("conditions", self.conditions.to_json()),
            ("summary", summary.to_json()),
            (removal::DATABASE, self.database.to_owned()),
            (removal::ORIGIN, self.origin.as_str().to_owned()),
        ];
        data.extend(self.ran.clone().map(|ran| (removal::RAN, ran)));
        let told = drift::told(&self.drift, drifts);
        if !told.is_empty() {
            data.push((drift::DRIFT, told));
        }
        Desired::of(&ConfigMap {
            metadata: render::meta(key, names::ANCHOR),
            data: Some(data.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()),
            ..ConfigMap::default()
        })
    }
}

/// The conditions that were reported last, and what is to be said about the intent.
fn judged(snapshot: &Snapshot, invalid: &str, now: Timestamp) -> Conditions {
    let before = match (&snapshot.resource, &snapshot.anchor) {
        (Some(object), _) => resource::conditions_of(object),
        (None, Some(anchor)) => Conditions::read(anchor["data"]["conditions"].as_str().unwrap_or_default()),
        (None, None) => Vec::new(),
    };
    let mut conditions = Conditions::since(before, now).about(observed(snapshot));
    match invalid {
        "" if snapshot.overridden => {
            let message = "platform-config has an entry for this namespace, too; it is not heard";
            conditions.set(GatewayCondition::ConfigValid, true, OVERRIDES, message);
        }
        "" => match &snapshot.document {
            Some(problem) => {
                conditions.set(GatewayCondition::ConfigValid, false, INVALID_DOCUMENT, problem.to_string());
            }
            None => conditions.set(GatewayCondition::ConfigValid, true, "Valid", ""),
        },
        _ => conditions.set(GatewayCondition::ConfigValid, false, "InvalidEntry", invalid),
    }
    conditions
}

/// Digest of the entry that is followed; empty for an object, which has a generation.
fn observed(snapshot: &Snapshot) -> &str {
    snapshot.entry.as_ref().map_or("", |entry| &entry.digest)
}

/// Whether what the step decided on is there.
fn is_applied(snapshot: &Snapshot, intent: &Intent, step: &Step) -> bool {
    let workload = snapshot.workload.as_deref();
    let body = step.memory.bodies.get(&step.revision);
    let image = body.map_or_else(|| intent.image.to_string(), |body| body.image.clone());
    step.apply == Apply::Untouched
        || (workload.and_then(turn::revision_of) == Some(&step.revision) && workload.and_then(image_of) == Some(&image))
}

/// The condition `RolledOut`: whether, reason and message.
fn progress(step: &Step, applied: bool, has_node: bool, key: &GatewayKey) -> (bool, &'static str, Cow<'static, str>) {
    let namespace = key.namespace();
    match &step.progress {
        Progress::Done if applied => (true, "RolledOut", "".into()),
        Progress::Waiting { ready: true } => {
            let message = format!("another revision waits for its turn; see the ConfigMap {ROLLOUT}");
            (false, WAITING_FOR_WAVE, message.into())
        }
        Progress::RolledBack { why, ready } => {
            let runs = if *ready { "runs again" } else { "is put back" };
            let message = format!("the new revision failed: {why}; the last one that was ready {runs}");
            (false, ROLLED_BACK, message.into())
        }
        Progress::Stuck { why } => (false, "RolloutFailed", why.clone().into()),
        Progress::DowngradeRefused { from, to } => {
            let message = format!(
                "gateway {from} ran with this database, and {to} may not understand it; to go back all the same: kubectl \
                 annotate --overwrite namespace {namespace} {}={to}",
                annotations::ALLOW_DOWNGRADE
            );
            (false, DOWNGRADE_REFUSED, message.into())
        }
        _ if !has_node => (false, "NoNode", "the cluster has no node that could run the gateway".into()),
        _ => (false, PROGRESSING, "the gateway is not ready yet".into()),
    }
}

/// What somebody made of the number of replicas, which is not ours to set, when the gateway cannot work with it.
fn scaled(intent: &Intent, snapshot: &Snapshot) -> Option<(bool, &'static str, Cow<'static, str>)> {
    let replicas = snapshot.workload.as_deref()?.pointer("/spec/replicas")?.as_i64()?;
    let mend = format!(
        "kubectl scale statefulset {} --namespace {} --replicas=1",
        intent.key.gateway(),
        intent.key.namespace()
    );
    match (replicas, &intent.database) {
        (0, _) => Some((false, "ScaledToZero", format!("somebody scaled the gateway to 0 replicas: {mend}").into())),
        (2.., Database::Sqlite) => {
            let message = format!(
                "somebody scaled the gateway to {replicas} replicas; each has a database of its own, so that none knows the \
                 sandboxes of the others: {mend}"
            );
            Some((false, "StateNotShared", message.into()))
        }
        _ => None,
    }
}

fn image_of(workload: &Value) -> Option<&str> {
    workload.pointer("/spec/template/spec/containers/0/image")?.as_str()
}

fn running_hash(snapshot: &Snapshot) -> Option<&str> {
    config_hash_of(snapshot.workload.as_deref()?)
}

/// Why the gateway restarts by what this pass writes; `None` when it does not, or none runs that could.
pub(super) fn restarts(snapshot: &Snapshot, step: &Step, wanted: &Body) -> Option<String> {
    let live = snapshot.workload.as_deref().filter(|_| step.apply != Apply::Untouched)?;
    turn::revision_of(live).filter(|revision| *revision != step.revision)?;
    if live.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) {
        return None;
    }
    let mut why = Vec::new();
    if let (Some(before), Some(now)) = (config_hash_of(live), config_hash_of(&wanted.workload))
        && before != now
    {
        why.push(format!("the configuration changed (hash {before:.8} to {now:.8})"));
    }
    if let Some(before) = image_of(live).filter(|before| *before != wanted.image) {
        why.push(format!("the image changed ({before} to {})", wanted.image));
    }
    Some(if why.is_empty() { "the pod's template changed".to_owned() } else { why.join(", ") })
}

fn config_hash_of(workload: &Value) -> Option<&str> {
    workload.pointer("/spec/template/metadata/annotations")?.get(annotations::CONFIG_HASH)?.as_str()
}

/// Whether a replica is ready.
pub(super) fn has_ready(live: &Value) -> bool {
    live.pointer("/status/readyReplicas").and_then(Value::as_i64).is_some_and(|ready| ready > 0)
}

pub(super) fn is_rolled_out(live: &Value) -> bool {
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
    let want = number("/spec/replicas").unwrap_or(1);
    number("/status/observedGeneration").unwrap_or(0) >= number("/metadata/generation").unwrap_or(1)
        && number("/status/updatedReplicas").unwrap_or(0) >= want
        && number("/status/readyReplicas").unwrap_or(0) >= want
}
