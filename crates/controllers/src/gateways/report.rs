//! What is said of one gateway, from what was seen of it: its conditions, its anchor and the status of its object. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use paddock_api::{GatewayCondition, annotations};
use paddock_reconcile::{Desired, Error, Plan, StatusPatch};
use serde_json::Value;

use super::condition::{Conditions, PROGRESSING, Summary};
use super::controller::Snapshot;
use super::intent::Intent;
use super::key::GatewayKey;
use super::platform::Database;
use super::{names, render, resource};

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
    hash: String,
    not_after: String,
}

impl Report {
    pub(super) fn new(snapshot: &Snapshot, intent: &Intent, wanted: &str, invalid: &str, now: Timestamp) -> Self {
        use GatewayCondition::{Applied, NamespaceReady, PkiReady, Prerequisites, RolledOut, Serving};
        let mut conditions = judged(snapshot, invalid, now);
        conditions.set(NamespaceReady, true, "NamespaceExists", "");
        match snapshot.sandbox_versions.as_str() {
            "" => {
                let message = format!("the CustomResourceDefinition {} does not exist", names::SANDBOX_CRD);
                conditions.set(Prerequisites, false, "SandboxKindMissing", message);
            }
            _ if matches!(&intent.database, Database::Postgres { .. }) && snapshot.database.is_none() => {
                let message =
                    format!("the Secret of the database has no key {}, or does not exist", names::DATABASE_KEY);
                conditions.set(Prerequisites, false, "DatabaseSecretMissing", message);
            }
            versions => conditions.set(Prerequisites, true, "SandboxKindServed", format!("served: {versions}")),
        }
        let material = snapshot.material.as_ref();
        match material.map(|material| &material.trouble) {
            None => conditions.set(PkiReady, false, PROGRESSING, "certificates are being made"),
            Some(Some((reason, message))) => conditions.set(PkiReady, false, reason, message),
            Some(None) => match (snapshot.view.certificate(), material.and_then(|material| material.note.as_ref())) {
                (Some((reason, message)), _) => conditions.set(PkiReady, false, reason, message),
                (None, Some((reason, message))) => conditions.set(PkiReady, true, reason, message),
                (None, None) => conditions.set(PkiReady, true, "Complete", ""),
            },
        }
        let workload = snapshot.workload.as_deref();
        let applied = running_hash(snapshot) == Some(wanted)
            && workload.and_then(|live| live.pointer("/spec/template/spec/containers/0/image")).and_then(Value::as_str)
                == Some(&intent.image.to_string());
        let failed = conditions.before(Applied).filter(|before| before.reason == APPLY_FAILED).cloned();
        match failed {
            _ if applied => conditions.set(Applied, true, "Applied", ""),
            // It failed the last time: that stays true until it is seen to be done.
            Some(failed) => conditions.set(Applied, false, APPLY_FAILED, failed.message),
            None => conditions.set(Applied, false, PROGRESSING, "objects are being applied"),
        }
        let mut waits = None;
        if applied && workload.is_some_and(is_rolled_out) {
            conditions.set(RolledOut, true, "RolledOut", "");
        } else {
            let (reason, message) = match snapshot.has_node {
                false => ("NoNode", "the cluster has no node that could run the gateway"),
                true => (PROGRESSING, "the gateway is not ready yet"),
            };
            conditions.set(RolledOut, false, reason, message);
            waits = Some((true, format!("{reason}: {message}")));
        }
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
        Self { conditions, waits, image: intent.image.to_string(), hash: hash.to_owned(), not_after }
    }

    /// Of a gateway for which nothing can be done.
    pub(super) fn unusable(snapshot: &Snapshot, invalid: &str, now: Timestamp) -> Self {
        let conditions = judged(snapshot, invalid, now);
        Self { conditions, waits: None, image: String::new(), hash: String::new(), not_after: String::new() }
    }

    /// Tells the object that asks, if one does.
    pub(super) fn tell(&mut self, plan: &mut Plan, key: &GatewayKey, snapshot: &Snapshot) {
        plan.status.extend(self.status(key, snapshot.resource.as_deref()));
    }

    pub(super) fn status(&mut self, key: &GatewayKey, resource: Option<&Value>) -> Option<StatusPatch> {
        let object = resource?;
        let phase = self.conditions.conclude();
        let facts = resource::Facts { image: &self.image, config_hash: &self.hash, not_after: &self.not_after };
        let status = resource::status(object, &self.conditions, phase, facts);
        Some(StatusPatch { target: resource::reference(key), status })
    }

    pub(super) fn anchor(&mut self, key: &GatewayKey, inventory: &[String]) -> Result<Desired, Error> {
        let phase = self.conditions.conclude();
        let (reason, message) = self.conditions.obstacle().unwrap_or_else(|| ("Ready".to_owned(), String::new()));
        let summary = Summary {
            phase,
            ready: phase == paddock_api::GatewayPhase::Running,
            reason,
            message,
            image: self.image.clone(),
            config_hash: self.hash.clone(),
            not_after: self.not_after.clone(),
        };
        let data = [
            ("conditions", self.conditions.to_json()),
            ("inventory", inventory.join("\n")),
            ("summary", summary.to_json()),
        ];
        Desired::of(&ConfigMap {
            metadata: render::meta(key, names::ANCHOR),
            data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
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
    let mut conditions = Conditions::since(before, now);
    match invalid {
        "" if snapshot.overridden => {
            let message = "platform-config has an entry for this namespace, too; it is not heard";
            conditions.set(GatewayCondition::ConfigValid, true, OVERRIDES, message);
        }
        "" => conditions.set(GatewayCondition::ConfigValid, true, "Valid", ""),
        _ => conditions.set(GatewayCondition::ConfigValid, false, "InvalidEntry", invalid),
    }
    conditions
}

pub(super) fn running_hash(snapshot: &Snapshot) -> Option<&str> {
    let annotations = snapshot.workload.as_deref()?.pointer("/spec/template/metadata/annotations")?;
    annotations.get(annotations::CONFIG_HASH)?.as_str()
}

pub(super) fn is_rolled_out(live: &Value) -> bool {
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
    let want = number("/spec/replicas").unwrap_or(1);
    number("/status/observedGeneration").unwrap_or(0) >= number("/metadata/generation").unwrap_or(1)
        && number("/status/updatedReplicas").unwrap_or(0) >= want
        && number("/status/readyReplicas").unwrap_or(0) >= want
}
