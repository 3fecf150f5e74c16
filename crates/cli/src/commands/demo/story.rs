//! What the demo tells: its events, the lines that people read, and the facts found by comparing two snapshots.
//! Pure: objects in, words out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

/// One thing that happened. With `--json`, each is one line; `docs/reference/demo-events.md` describes the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// The embedded API server answers.
    Started { server: String, milliseconds: u64 },
    /// The demo does something, as a person with kubectl would.
    Step { text: String },
    /// An object of a tenant was written. `tenant` is absent for an object that belongs to no namespace and no tenant.
    Applied { tenant: Option<String>, kind: String, name: String, change: Change },
    /// Where a tenant stands.
    Tenant(Standing),
    /// A certificate was issued anew.
    Reissued {
        tenant: String,
        secret: String,
        serial: Pair,
        names: Vec<String>,
        added_names: Vec<String>,
        not_after: String,
    },
    /// A Secret with key material that stayed as it was.
    Kept { tenant: String, secret: String },
    /// A pod template changed, which restarts the pods.
    Restarted { tenant: String, workload: String, config_hash: Pair, because: Vec<String> },
    /// Every object of this tenant still has the resourceVersion that it had.
    Untouched { tenant: String, objects: usize },
    /// With `--keep`: everything runs on, and this kubeconfig reaches it.
    Running { kubeconfig: String },
    /// The demo is over.
    Done { seconds: String },
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    Created,
    Updated,
    Deleted,
}

/// A value before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pair {
    pub(crate) before: String,
    pub(crate) after: String,
}

/// One row of the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    pub(crate) tenant: String,
    pub(crate) phase: String,
    pub(crate) reason: String,
    pub(crate) image: String,
    pub(crate) objects: usize,
    pub(crate) names: usize,
    pub(crate) config_hash: String,
    pub(crate) not_after: String,
}

/// The line that a person reads for an event; `None` when a table tells it.
pub(crate) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { server, milliseconds } => format!("Kubernetes API at {server} after {milliseconds} ms"),
        Event::Step { text } => format!("\n{text}"),
        Event::Applied { tenant, kind, name, change } => {
            let word = match change {
                Change::Created => "created",
                Change::Updated => "updated",
                Change::Deleted => "deleted",
            };
            format!("  {:<12} {word:<8} {kind}/{name}", tenant.as_deref().unwrap_or("(cluster)"))
        }
        Event::Reissued { tenant, secret, serial, added_names, not_after, .. } => format!(
            "  {tenant:<12} certificate in Secret/{secret} issued anew: serial {} → {}\n{:15}new names: {}\n{:15}valid until {not_after}",
            short(&serial.before),
            short(&serial.after),
            "",
            added_names.join(", "),
            ""
        ),
        Event::Kept { tenant, secret } => format!("  {tenant:<12} kept as it was: Secret/{secret}"),
        Event::Restarted { tenant, workload, config_hash, because } => format!(
            "  {tenant:<12} pod template of {workload} changed: config hash {} → {}\n{:15}because: {}",
            short(&config_hash.before),
            short(&config_hash.after),
            "",
            because.join(", ")
        ),
        Event::Untouched { tenant, objects } => {
            format!("  {tenant:<12} not touched: all {objects} objects have the resourceVersion that they had")
        }
        Event::Tenant(_) | Event::Running { .. } => return None,
        Event::Done { seconds } => format!("\nDone in {seconds} s."),
    })
}

/// The first characters of a long hexadecimal number.
fn short(text: &str) -> &str {
    text.get(..12).unwrap_or(text)
}

/// The summary as a table.
pub(crate) fn table(rows: &[Standing]) -> String {
    let head = ["TENANT", "PHASE", "OBJECTS", "NAMES", "IMAGE", "CONFIG", "CERTIFICATE UNTIL", "REASON"];
    let cells: Vec<[String; 8]> = rows
        .iter()
        .map(|row| {
            [
                row.tenant.clone(),
                row.phase.clone(),
                row.objects.to_string(),
                row.names.to_string(),
                row.image.clone(),
                short(&row.config_hash).to_owned(),
                row.not_after.clone(),
                row.reason.clone(),
            ]
        })
        .collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or_default()
    };
    let mut text = String::new();
    for row in std::iter::once(head.map(str::to_owned)).chain(cells.iter().cloned()) {
        let line: Vec<_> =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column))).collect();
        text.push_str(&format!("  {}\n", line.join("  ").trim_end()));
    }
    text.insert(0, '\n');
    text.trim_end().to_owned()
}

/// Where an object is found: kind and name.
pub(crate) type Place = (String, String);

/// All objects of one tenant at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<Place, Value>);

impl Snapshot {
    /// Whether the gateway is all there: its workload is applied last.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.keys().any(|place| place.0 == STATEFUL_SET && self.config_hash(place).is_some())
    }

    /// Whether a pod template carries another hash than it did in `before`.
    pub(crate) fn restarted_since(&self, before: &Self) -> bool {
        self.0.keys().filter(|(kind, _)| kind == STATEFUL_SET).any(|place| {
            matches!((before.config_hash(place), self.config_hash(place)), (Some(old), Some(new)) if old != new)
        })
    }

    /// The resourceVersion of every object: equal versions mean that nothing was written.
    pub(crate) fn versions(&self) -> BTreeMap<&Place, &str> {
        self.0.iter().map(|(place, object)| (place, text(object, "/metadata/resourceVersion"))).collect()
    }

    /// The certificate that a Secret of type kubernetes.io/tls holds.
    fn certificate(&self, place: &Place) -> Option<paddock_pki::CertificateInfo> {
        let pem = decoded(self.0.get(place)?.pointer("/data/tls.crt")?.as_str()?)?;
        paddock_pki::inspect(&pem).ok()
    }

    /// The hash on the pod template that makes Kubernetes replace the pods.
    fn config_hash(&self, place: &Place) -> Option<&str> {
        self.0.get(place)?.pointer("/spec/template/metadata/annotations")?.get(CONFIG_HASH)?.as_str()
    }

    /// The row of the summary, with `status` being the tenant's entry of `platform-config-status`.
    pub(crate) fn standing(&self, tenant: &str, status: &Value) -> Standing {
        let server = self.certificate(&(SECRET.to_owned(), SERVER_SECRET.to_owned()));
        let workload = self.0.iter().find(|((kind, _), _)| kind == STATEFUL_SET);
        Standing {
            tenant: tenant.to_owned(),
            phase: text(status, "/phase").to_owned(),
            reason: text(status, "/reason").to_owned(),
            image: workload
                .map(|(_, object)| text(object, "/spec/template/spec/containers/0/image").to_owned())
                .unwrap_or_default(),
            objects: self.0.len(),
            names: server.as_ref().map_or(0, |server| server.names.len()),
            config_hash: workload.and_then(|(place, _)| self.config_hash(place)).unwrap_or_default().to_owned(),
            not_after: server.map(|server| day(&server)).unwrap_or_default(),
        }
    }
}

const SECRET: &str = "Secret";
const STATEFUL_SET: &str = "StatefulSet";
const SERVER_SECRET: &str = "openshell-server-tls";
const CONFIG_HASH: &str = "paddock.dev/config-hash";

/// What changed for a tenant between two snapshots, in the order in which it should be told.
pub(crate) fn compare(tenant: &str, before: &Snapshot, after: &Snapshot) -> Vec<Event> {
    if !before.0.is_empty() && before.versions() == after.versions() {
        return vec![Event::Untouched { tenant: tenant.to_owned(), objects: after.0.len() }];
    }
    let mut events = Vec::new();
    for place in after.0.keys().filter(|(kind, _)| kind == SECRET) {
        events.extend(secret(tenant, place, before, after));
    }
    let changed: Vec<&Place> = after
        .0
        .iter()
        .filter(|(place, object)| before.0.get(place).is_some_and(|old| content(old) != content(object)))
        .map(|(place, _)| place)
        .collect();
    for place in after.0.keys().filter(|(kind, _)| kind == STATEFUL_SET) {
        let (Some(old), Some(new)) = (before.config_hash(place), after.config_hash(place)) else { continue };
        if old != new {
            // Only what the pods read can be a reason to replace them.
            let template = after.0.get(place).and_then(|object| object.pointer("/spec/template"));
            let because = changed
                .iter()
                .filter(|(kind, name)| {
                    kind != STATEFUL_SET && template.is_some_and(|template| mentions(template, name))
                })
                .map(|(kind, name)| format!("{kind}/{name} changed"))
                .collect();
            events.push(Event::Restarted {
                tenant: tenant.to_owned(),
                workload: format!("{}/{}", place.0, place.1),
                config_hash: Pair { before: old.to_owned(), after: new.to_owned() },
                because,
            });
        }
    }
    events
}

fn secret(tenant: &str, place: &Place, before: &Snapshot, after: &Snapshot) -> Option<Event> {
    let (tenant, secret) = (tenant.to_owned(), place.1.clone());
    if content(before.0.get(place)?) == content(after.0.get(place)?) {
        return Some(Event::Kept { tenant, secret });
    }
    let (old, new) = (before.certificate(place)?, after.certificate(place)?);
    let names: BTreeSet<String> = new.names.iter().map(ToString::to_string).collect();
    let had: BTreeSet<String> = old.names.iter().map(ToString::to_string).collect();
    Some(Event::Reissued {
        tenant,
        secret,
        not_after: day(&new),
        serial: Pair { before: old.serial, after: new.serial },
        added_names: names.difference(&had).cloned().collect(),
        names: names.into_iter().collect(),
    })
}

/// Whether `name` occurs anywhere in a value as a whole text.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Object(fields) => fields.values().any(|field| mentions(field, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What an object says, without the server's book-keeping.
fn content(object: &Value) -> Option<&Value> {
    object.get("data").or_else(|| object.get("spec"))
}

fn day(certificate: &paddock_pki::CertificateInfo) -> String {
    certificate.not_after.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn decoded(base64: &str) -> Option<String> {
    // The generic accessor of a Secret's data, so that base64 has one implementation here.
    let bytes: k8s_openapi::ByteString = serde_json::from_value(Value::String(base64.to_owned())).ok()?;
    String::from_utf8(bytes.0).ok()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn snapshot(objects: &[(&str, &str, Value)]) -> Snapshot {
        Snapshot(objects.iter().map(|(kind, name, o)| (((*kind).to_owned(), (*name).to_owned()), o.clone())).collect())
    }

    fn config(version: &str, text: &str) -> (&'static str, &'static str, Value) {
        (
            "ConfigMap",
            "openshell-gateway-config",
            json!({"metadata": {"resourceVersion": version}, "data": {"gateway.toml": text}}),
        )
    }

    fn workload(version: &str, hash: &str) -> (&'static str, &'static str, Value) {
        let volumes = json!([{"name": "config", "configMap": {"name": "openshell-gateway-config"}}]);
        let template = json!({"metadata": {"annotations": {CONFIG_HASH: hash}}, "spec": {"volumes": volumes}});
        (
            "StatefulSet",
            "openshell-gateway",
            json!({"metadata": {"resourceVersion": version}, "spec": {"template": template}}),
        )
    }

    #[test]
    fn equal_versions_mean_untouched() {
        let world = snapshot(&[config("1", "a"), workload("2", "x")]);
        assert_eq!(
            compare("tenant-b", &world, &world),
            [Event::Untouched { tenant: "tenant-b".to_owned(), objects: 2 }]
        );
    }

    #[test]
    fn an_object_that_is_new_is_a_touch() {
        let (before, after) = (snapshot(&[config("1", "a")]), snapshot(&[config("1", "a"), workload("2", "x")]));
        assert_eq!(compare("tenant-b", &before, &after), []);
    }

    #[test]
    fn a_restart_names_what_caused_it() {
        let status = |text: &str| ("ConfigMap", "status", json!({"data": {"summary": text}}));
        let before = snapshot(&[config("1", "a"), workload("2", "x"), status("old")]);
        let after = snapshot(&[config("3", "b"), workload("4", "y"), status("not mounted")]);
        assert_eq!(
            compare("tenant-a", &before, &after),
            [Event::Restarted {
                tenant: "tenant-a".to_owned(),
                workload: "StatefulSet/openshell-gateway".to_owned(),
                config_hash: Pair { before: "x".to_owned(), after: "y".to_owned() },
                because: vec!["ConfigMap/openshell-gateway-config changed".to_owned()],
            }]
        );
    }

    #[test]
    fn a_write_that_leaves_the_pod_template_alone_is_no_restart() {
        let before = snapshot(&[config("1", "a"), workload("2", "x")]);
        let after = snapshot(&[config("1", "a"), workload("5", "x")]);
        assert_eq!(compare("tenant-a", &before, &after), []);
    }

    #[test]
    fn a_secret_with_the_same_data_was_kept() {
        let secret = |version: &str| {
            ("Secret", "openshell-client-tls", json!({"metadata": {"resourceVersion": version}, "data": {"k": "v"}}))
        };
        assert_eq!(
            compare("tenant-a", &snapshot(&[secret("1")]), &snapshot(&[secret("2")])),
            [Event::Kept { tenant: "tenant-a".to_owned(), secret: "openshell-client-tls".to_owned() }]
        );
    }

    #[test]
    fn json_names_the_event_first() {
        let event = Event::Applied {
            tenant: Some("tenant-a".to_owned()),
            kind: "Service".to_owned(),
            name: "openshell-gateway".to_owned(),
            change: Change::Created,
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"applied","tenant":"tenant-a","kind":"Service","name":"openshell-gateway","change":"created"}"#
        );
        assert_eq!(line(&event).unwrap(), "  tenant-a     created  Service/openshell-gateway");
    }

    #[test]
    fn columns_of_the_summary_are_aligned() {
        let row =
            |tenant: &str| Standing { tenant: tenant.to_owned(), phase: "Waiting".to_owned(), ..Standing::default() };
        let text = table(&[row("a"), row("longer-name")]);
        let columns: BTreeSet<_> = text.lines().skip(2).filter_map(|line| line.find("Waiting")).collect();
        assert_eq!(columns.len(), 1);
    }
}
