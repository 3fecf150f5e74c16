//! How all gateways stand, read from what the controllers wrote down: the anchors, `platform-config-status` and the status of
//! `OpenShellGateway` objects. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use paddock_api::{GatewayPhase, gateway};
use serde::Serialize;
use serde_json::Value;

use super::condition::{PROGRESSING, Summary};
use super::key::GatewayKey;
use super::{names, removal, resource};

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
    /// The digest of what runs.
    pub config_hash: String,
    /// End of the server certificate's life, RFC 3339; empty while there is none.
    pub not_after: String,
    /// Since when it exists.
    pub since: Option<Timestamp>,
}

impl Line {
    /// Whether the gateway is gone, and only what is retained of it is left: it is shown, and nobody waits for it.
    pub fn is_removed(&self) -> bool {
        self.reason == removal::REMOVED
    }
}

/// The lines, by namespace and gateway. `objects` are ConfigMaps of ours, of which anchors count, and `OpenShellGateway`
/// objects; `status` is `platform-config-status`. That and the objects know what anchors cannot: mistakes and missing
/// namespaces. An object is heard before an entry, and so is what it was told.
pub fn overview<'a>(objects: impl IntoIterator<Item = &'a Value>, status: Option<&Value>) -> Vec<Line> {
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
    for object in told {
        let Some(key) = resource::key_of(object) else { continue };
        let place = (key.namespace().to_owned(), key.gateway().to_owned());
        let since = object["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse().ok());
        let since = lines.get(&place).map_or(since, |known| known.since);
        match resource::summary_of(object) {
            Some(summary) => _ = lines.insert(place.clone(), line(place, summary, since)),
            None => {
                let summary = Summary::of(GatewayPhase::Pending, PROGRESSING, "nothing was said of it yet");
                lines.entry(place.clone()).or_insert_with(|| line(place, summary, since));
            }
        }
    }
    lines.into_values().collect()
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
        config_hash: summary.config_hash,
        not_after: summary.not_after,
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
        let lines = overview(&anchors, Some(&status));
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
        let lines = overview(&[wrong, object("fresh", Value::Null), anchor("a", Some("fresh"), "Ready")], None);
        let told: Vec<_> =
            lines.iter().map(|line| format!("{} {} {}", line.gateway, line.phase, line.reason)).collect();
        assert_eq!(told, ["fresh Running Ready", "wrong Failed InvalidEntry"]);
    }

    #[test]
    fn gw_l21_more_gateways_than_a_page_holds_are_all_there() {
        let anchors: Vec<_> = (0..1200).map(|n| anchor(&format!("tenant-{n}"), None, "Ready")).collect();
        assert_eq!(overview(&anchors, None).len(), 1200);
    }
}
