//! How all gateways stand, read from what the controllers wrote down: the anchors, `platform-config-status` and the status of
//! `OpenShellGateway` objects. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use paddock_api::{GatewayPhase, gateway};
use serde::Serialize;
use serde_json::Value;

use super::condition::{PROGRESSING, Summary};
use super::controller::NAMESPACES_KEY;
use super::key::GatewayKey;
use super::status::entry_key;
use super::{intent, names, removal, resource};

/// One gateway's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The namespace; for what cannot be a tenant, the entry's stand-in in `platform-config-status`.
    pub namespace: String,
    /// The gateway's name; empty for what cannot be a gateway.
    pub gateway: String,
    /// The phase, in one word.
    pub phase: String,
    /// Whether everything holds.
    pub ready: bool,
    /// Why not, CamelCase.
    pub reason: String,
    /// Why not, in a sentence.
    pub message: String,
    /// The effective image.
    pub image: String,
    /// The digest of what runs, as the container runtime tells it; empty while nothing runs.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// The digest of what runs.
    pub config_hash: String,
    /// End of the server certificate's life, RFC 3339; empty while there is none.
    pub not_after: String,
    /// Digest of the entry of `platform-config` that this is about; empty for an object.
    pub observed_digest: String,
    /// Since when it exists.
    pub since: Option<Timestamp>,
}

/// The reason of a line that is about what was asked for before.
const NOT_OBSERVED: &str = "NotObserved";

impl Line {
    /// Whether the gateway is gone, and only what is retained of it is left: it is shown, and nobody waits for it.
    pub fn is_removed(&self) -> bool {
        self.reason == removal::REMOVED
    }

    /// What was asked for last was not looked at yet: what this says was about something else.
    fn outdate(&mut self) {
        let before = format!("{} {}", self.phase, self.reason);
        let colon = if self.message.is_empty() { "" } else { ": " };
        self.message = format!("it was edited and not looked at since; before: {before}{colon}{}", self.message);
        NOT_OBSERVED.clone_into(&mut self.reason);
        self.ready = false;
    }
}

/// The lines, by namespace and gateway. `objects` are ConfigMaps of ours, of which anchors count, and `OpenShellGateway`
/// objects; `status` is `platform-config-status`. That and the objects know what anchors cannot: mistakes and missing
/// namespaces. An object is heard before an entry, and so is what it was told. `config` is `platform-config`, where it may be
/// read: it tells what was not looked at yet.
pub fn overview<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    status: Option<&Value>,
    config: Option<&Value>,
) -> Vec<Line> {
    let mut told = Vec::new();
    let mut lines = BTreeMap::new();
    for object in objects {
        if object["kind"] == gateway::KIND {
            told.push(object);
            continue;
        }
        let Some(key) = GatewayKey::of_object(object) else { continue };
        if object["metadata"]["name"] != key.name_of(names::ANCHOR) {
            continue;
        }
        let summary = object["data"]["summary"].as_str().and_then(Summary::read);
        let since = object["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse().ok());
        if let Some(summary) = summary {
            let place = (key.namespace().to_owned(), key.gateway().to_owned());
            lines.insert(place.clone(), line(place, summary, since));
        }
    }
    for (name, entry) in status.and_then(|status| status["data"].as_object()).into_iter().flatten() {
        let Some(summary) = entry.as_str().and_then(Summary::read) else { continue };
        let gateway = if name.starts_with('_') { "" } else { names::GATEWAY };
        let place = (name.clone(), gateway.to_owned());
        let since = lines.get(&place).and_then(|known: &Line| known.since);
        lines.insert(place.clone(), line(place, summary, since));
    }
    let text = config.and_then(|config| config["data"][NAMESPACES_KEY].as_str());
    for (name, digest) in text.and_then(intent::digests).unwrap_or_default() {
        let name = entry_key(&name);
        let gateway = if name.starts_with('_') { "" } else { names::GATEWAY };
        let place = (name, gateway.to_owned());
        let unseen = || line(place.clone(), unseen(), None);
        let line = lines.entry(place.clone()).or_insert_with(unseen);
        // Another release of the operator may say no digest; what it takes down nobody asked for then.
        let is_old = line.observed_digest.is_empty() && line.phase == GatewayPhase::Deleting.as_str();
        if is_old || ![&digest, ""].contains(&&*line.observed_digest) {
            line.outdate();
        }
    }
    for object in told {
        let Some(key) = resource::key_of(object) else { continue };
        let place = (key.namespace().to_owned(), key.gateway().to_owned());
        let since = object["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse().ok());
        let since = lines.get(&place).map_or(since, |known| known.since);
        match resource::summary_of(object) {
            Some(summary) => {
                let mut line = line(place.clone(), summary, since);
                if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
                    line.outdate();
                }
                lines.insert(place, line);
            }
            None => {
                lines.entry(place.clone()).or_insert_with(|| line(place, unseen(), since));
            }
        }
    }
    lines.into_values().collect()
}

fn unseen() -> Summary {
    Summary::of(GatewayPhase::Pending, PROGRESSING, "nothing was said of it yet")
}

fn line((namespace, gateway): (String, String), summary: Summary, since: Option<Timestamp>) -> Line {
    Line {
        namespace,
        gateway,
        phase: summary.phase.to_string(),
        ready: summary.ready,
        reason: summary.reason,
        message: summary.message,
        image: summary.image,
        image_id: summary.image_id,
        config_hash: summary.config_hash,
        not_after: summary.not_after,
        observed_digest: summary.observed_digest,
        since,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn anchor(namespace: &str, gateway: Option<&str>, reason: &str) -> Value {
        let summary = json!({ "phase": "Running", "ready": true, "reason": reason }).to_string();
        let name = gateway.map_or("openshell-gateway-anchor".to_owned(), |gateway| format!("{gateway}.anchor"));
        let mut object = json!({
            "metadata": {
                "name": name, "labels": { "paddock.dev/tenant": namespace }, "creationTimestamp": "2026-11-21T05:00:00Z",
            },
            "data": { "summary": summary },
        });
        if let Some(gateway) = gateway {
            object["metadata"]["labels"]["paddock.dev/gateway"] = gateway.into();
        }
        object
    }

    #[test]
    fn gw_w01_every_gateway_has_a_line_and_the_status_knows_better() {
        let entry = |reason: &str| json!({ "phase": "Failed", "ready": false, "reason": reason }).to_string();
        let status = json!({ "data": { "a": entry("InvalidEntry"), "missing": entry("NamespaceMissing"), "_document": entry("X") } });
        let anchors = [anchor("a", None, "Ready"), anchor("a", Some("team"), "Ready"), json!({ "metadata": {} })];
        let lines = overview(&anchors, Some(&status), None);
        let told: Vec<_> =
            lines.iter().map(|line| format!("{}/{} {}", line.namespace, line.gateway, line.reason)).collect();
        assert_eq!(
            told,
            [
                "_document/ X",
                "a/openshell-gateway InvalidEntry",
                "a/team Ready",
                "missing/openshell-gateway NamespaceMissing"
            ]
        );
        assert!(lines[1].since.is_some(), "the age is the anchor's");
    }

    #[test]
    fn gw_w01_an_object_without_a_gateway_has_a_line() {
        let object = |name: &str, status: Value| json!({ "kind": "OpenShellGateway", "metadata": { "namespace": "a", "name": name }, "status": status });
        let ready = json!({
            "type": "Ready", "status": "False", "reason": "InvalidEntry", "message": "spec.image: no",
            "lastTransitionTime": "2026-11-21T05:00:00Z",
        });
        let wrong = object("wrong", json!({ "phase": "Failed", "conditions": [ready] }));
        let lines = overview(&[wrong, object("fresh", Value::Null), anchor("a", Some("fresh"), "Ready")], None, None);
        let told: Vec<_> =
            lines.iter().map(|line| format!("{} {} {}", line.gateway, line.phase, line.reason)).collect();
        assert_eq!(told, ["fresh Running Ready", "wrong Failed InvalidEntry"]);
    }

    #[test]
    fn gw_w01_what_was_edited_and_not_looked_at_since_is_told_as_that() {
        let config = |entries: &str| json!({ "data": { "namespaces": entries } });
        let digest = intent::digests("- name: a\n").unwrap().remove("a").unwrap();
        let row = |phase: &str, reason: &str, digest: &str| {
            json!({ "phase": phase, "ready": reason == "Ready", "reason": reason, "observedDigest": digest })
                .to_string()
        };
        let told = |row: String, entries: &str| {
            let status = json!({ "data": { "a": row } });
            let lines = overview(&[], Some(&status), Some(&config(entries)));
            lines.iter().map(|line| format!("{} {} {}", line.namespace, line.ready, line.reason)).collect::<Vec<_>>()
        };
        let ready = || row("Running", "Ready", &digest);
        assert_eq!(told(ready(), "- name: a # again\n"), ["a true Ready"]);
        assert_eq!(told(ready(), "- name: a\n  gateway: {version: 0.0.71}\n"), ["a false NotObserved"]);
        assert_eq!(told(ready(), "- name: a\n- name: b\n"), ["a true Ready", "b false Progressing"]);
        assert_eq!(told(ready(), "- name: ["), ["a true Ready"], "nothing can be said");
        assert_eq!(told(row("Running", "Ready", ""), "- name: a\n"), ["a true Ready"], "of another release");
        assert_eq!(told(row("Deleting", "Removed", ""), "- name: a\n"), ["a false NotObserved"], "it is back");
        let object = json!({
            "kind": "OpenShellGateway", "metadata": { "namespace": "a", "name": "x", "generation": 2 },
            "status": { "phase": "Running", "observedGeneration": 1, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": "2026-11-21T05:00:00Z",
            }] },
        });
        assert_eq!(overview(&[object], None, None)[0].reason, "NotObserved");
    }

    #[test]
    fn gw_l21_more_gateways_than_a_page_holds_are_all_there() {
        let anchors: Vec<_> = (0..1200).map(|n| anchor(&format!("tenant-{n}"), None, "Ready")).collect();
        assert_eq!(overview(&anchors, None, None).len(), 1200);
    }
}
