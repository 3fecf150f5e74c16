//! Whether a gateway would restart, and why, told by comparing objects as they are with objects as they would be. Pure.

use std::collections::BTreeSet;
use std::fmt;

use paddock_api::annotations;
use paddock_reconcile::Foreseen;
use paddock_reconcile::object::annotation;
use serde_json::Value;

use super::names;
use super::restart::{self, Part};

/// What becomes of a gateway's pod.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase", tag = "pod", content = "reasons")]
pub enum Forecast {
    /// It stays as it is.
    Stays,
    /// It is made for the first time.
    Starts,
    /// It restarts once, for these reasons.
    Restarts(Vec<String>),
    /// It ends.
    Ends,
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays => f.write_str("does not restart"),
            Self::Starts => f.write_str("starts: it is new"),
            Self::Restarts(reasons) => write!(f, "restarts: {}", reasons.join("; ")),
            Self::Ends => f.write_str("ends"),
        }
    }
}

/// Reads the forecast from all objects that would be written for one gateway.
pub(super) fn forecast(objects: &[Foreseen]) -> Forecast {
    let workload =
        objects.iter().find(|object| template(object.before.as_ref()).or(template(object.after.as_ref())).is_some());
    let Some(Foreseen { before, after }) = workload else { return Forecast::Stays };
    let (Some(before), Some(after)) = (before, after) else {
        return if after.is_some() { Forecast::Starts } else { Forecast::Ends };
    };
    let (Some(old), Some(new)) = (template(Some(before)), template(Some(after))) else { return Forecast::Stays };
    let mut reasons = Vec::new();
    let image =
        |template: &Value| template.pointer("/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned);
    if let (Some(from), Some(to)) = (image(old), image(new))
        && from != to
    {
        reasons.push(format!("image changed from {from} to {to}"));
    }
    let hash = |template: &Value| template["metadata"]["annotations"][annotations::CONFIG_HASH].clone();
    if hash(old) != hash(new) {
        reasons.extend(inputs(before, after, objects));
    }
    let mut fields = BTreeSet::new();
    differing(old, new, String::new(), &mut fields, DEPTH);
    // Digests of what is told by name.
    let digests = [annotations::CONFIG_HASH, annotations::REVISION];
    fields.retain(|path| !path.ends_with(".image") && !digests.iter().any(|digest| path.ends_with(digest)));
    if !fields.is_empty() {
        reasons.push(format!("pod template changed in {}", listed(fields.into_iter())));
    }
    if reasons.is_empty() { Forecast::Stays } else { Forecast::Restarts(reasons) }
}

/// Why the hash of what is read at the start differs.
fn inputs(before: &Value, after: &Value, objects: &[Foreseen]) -> Vec<String> {
    let parts = |object| annotation(object, annotations::RESTART_INPUTS);
    let changed = match (parts(before), parts(after)) {
        (Some(before), Some(after)) => restart::changed(before, after),
        // A workload of an earlier version does not say: what can be compared is compared.
        _ => vec![Part::File],
    };
    let mut reasons = Vec::new();
    for part in changed {
        reasons.push(match part {
            Part::File => match file_changes(objects) {
                Some(changes) => format!("TOML changed in {changes}"),
                None => "what the gateway reads at its start changed".to_owned(),
            },
            Part::Tokens => "token keys changed; tokens of live sandboxes end".to_owned(),
            Part::Database => "database credentials changed".to_owned(),
            Part::Sandboxes(from, to) => {
                format!("served Sandbox versions changed from {} to {}", or_none(&from), or_none(&to))
            }
        });
    }
    if reasons.is_empty() {
        reasons.push("what the gateway reads at its start changed".to_owned());
    }
    reasons
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// `[openshell.gateway] log_level, server_sans; [openshell.drivers.kubernetes] topology`.
fn file_changes(objects: &[Foreseen]) -> Option<String> {
    let file = |object: &Option<Value>| {
        let text = object.as_ref()?.get("data")?.get(names::CONFIG_KEY)?.as_str()?.to_owned();
        toml_edit::de::from_str::<Value>(&text).ok()
    };
    let config = objects.iter().find_map(|object| Some((file(&object.before)?, file(&object.after)?)));
    let (before, after) = config?;
    toml_changes(&before, &after)
}

/// Which keys differ between two files, by their tables.
pub(super) fn toml_changes(before: &Value, after: &Value) -> Option<String> {
    let mut paths = BTreeSet::new();
    differing(before, after, String::new(), &mut paths, DEPTH);
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for path in &paths {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        match tables.iter_mut().find(|(known, _)| known == table) {
            Some((_, keys)) => keys.push(key.to_owned()),
            None => tables.push((table.to_owned(), vec![key.to_owned()])),
        }
    }
    let table = |(table, keys): (String, Vec<String>)| {
        let keys = listed(keys.into_iter());
        if table.is_empty() { keys } else { format!("[{table}] {keys}") }
    };
    (!tables.is_empty()).then(|| tables.into_iter().map(table).collect::<Vec<_>>().join("; "))
}

const DEPTH: usize = 64;
/// More names than this are counted.
const NAMED: usize = 8;

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The paths of the leaves that differ. Lists of named things are compared by name, other lists as a whole.
fn differing(before: &Value, after: &Value, path: String, found: &mut BTreeSet<String>, depth: usize) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after, depth.checked_sub(1)) {
        (Value::Object(old), Value::Object(new), Some(depth)) => {
            for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                // A table that only one side has is told key by key.
                let (old, new) = match (of(old), of(new)) {
                    (Value::Null, new @ Value::Object(_)) => (Value::Object(serde_json::Map::new()), new),
                    (old @ Value::Object(_), Value::Null) => (old, Value::Object(serde_json::Map::new())),
                    both => both,
                };
                differing(&old, &new, below(name), found, depth);
            }
        }
        (Value::Array(old), Value::Array(new), Some(depth)) if named(old) && named(new) => {
            let by_name = |list: &[Value], name: &str| list.iter().find(|item| item["name"] == name).cloned();
            let all: BTreeSet<&str> = old.iter().chain(new).filter_map(|item| item["name"].as_str()).collect();
            for name in all {
                let of = |list| by_name(list, name).unwrap_or(Value::Null);
                differing(&of(old), &of(new), format!("{path}[{name}]"), found, depth);
            }
        }
        (old, new, _) => {
            if old != new {
                found.insert(path);
            }
        }
    }
}

fn named(list: &[Value]) -> bool {
    list.iter().all(|item| item.get("name").is_some_and(Value::is_string))
}

fn template(object: Option<&Value>) -> Option<&Value> {
    object
        .filter(|object| matches!(object["kind"].as_str(), Some("StatefulSet" | "Deployment")))?
        .pointer("/spec/template")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateways::restart::Inputs;

    const FILE: &str = "[openshell.gateway]\nlog_level = \"info\"\nserver_sans = [\"a\"]\n";

    fn objects(image: &str, inputs: Inputs<'_>) -> [Value; 2] {
        let workload = json!({
            "kind": "StatefulSet",
            "metadata": { "annotations": { (annotations::RESTART_INPUTS): inputs.parts() } },
            "spec": { "replicas": 1, "template": {
                "metadata": { "annotations": { (annotations::CONFIG_HASH): inputs.hash() } },
                "spec": { "containers": [{ "name": "openshell-gateway", "image": image, "args": ["--config"] }] },
            }},
        });
        [json!({ "kind": "ConfigMap", "data": { (names::CONFIG_KEY): inputs.file } }), workload]
    }

    const LIVE: Inputs<'_> = Inputs { file: FILE, tokens: "kid", sandboxes: "v1alpha1", database: Some("digest") };

    fn forecast_of(before: [Value; 2], after: [Value; 2]) -> String {
        let pairs = before.into_iter().zip(after);
        let objects: Vec<_> =
            pairs.map(|(before, after)| Foreseen { before: Some(before), after: Some(after) }).collect();
        forecast(&objects).to_string()
    }

    #[test]
    fn gw_w21_restart_is_told_with_its_reason() {
        let live = || objects("r/gateway:0.0.71", LIVE);
        let debug = FILE.replace("info", "debug");
        for (after, told) in [
            (objects("r/gateway:0.0.71", LIVE), "does not restart"),
            (objects("r/gateway:0.0.72", LIVE), "restarts: image changed from r/gateway:0.0.71 to r/gateway:0.0.72"),
            (
                objects("r/gateway:0.0.71", Inputs { file: &debug, ..LIVE }),
                "restarts: TOML changed in [openshell.gateway] log_level",
            ),
            (
                objects("r/gateway:0.0.71", Inputs { database: Some("other"), ..LIVE }),
                "restarts: database credentials changed",
            ),
            (
                objects("r/gateway:0.0.71", Inputs { tokens: "other", ..LIVE }),
                "restarts: token keys changed; tokens of live sandboxes end",
            ),
            (
                objects("r/gateway:0.0.71", Inputs { sandboxes: "v1alpha1,v1beta1", ..LIVE }),
                "restarts: served Sandbox versions changed from v1alpha1 to v1alpha1,v1beta1",
            ),
        ] {
            assert_eq!(forecast_of(live(), after), told);
        }
    }

    #[test]
    fn gw_w21_another_field_of_the_template_is_named() {
        let mut after = objects("r/gateway:0.0.71", LIVE);
        after[1]["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--other"]);
        assert_eq!(
            forecast_of(objects("r/gateway:0.0.71", LIVE), after),
            "restarts: pod template changed in spec.containers[openshell-gateway].args"
        );
    }

    #[test]
    fn gw_w21_scaling_and_labels_of_the_workload_restart_nothing() {
        let mut after = objects("r/gateway:0.0.71", LIVE);
        after[1]["spec"]["replicas"] = 2.into();
        after[1]["metadata"]["labels"] = json!({ "a": "b" });
        assert_eq!(forecast_of(objects("r/gateway:0.0.71", LIVE), after), "does not restart");
    }

    #[test]
    fn gw_w21_new_gateway_starts_and_a_removed_one_ends() {
        let [_, workload] = objects("r/gateway:0.0.71", LIVE);
        let new = Foreseen { before: None, after: Some(workload.clone()) };
        let gone = Foreseen { before: Some(workload), after: None };
        assert_eq!((forecast(&[new]), forecast(&[gone])), (Forecast::Starts, Forecast::Ends));
        assert_eq!(forecast(&[]), Forecast::Stays);
    }

    #[test]
    fn gw_w21_toml_is_compared_as_a_tree() {
        let read = |text: &str| toml_edit::de::from_str::<Value>(text).unwrap();
        let changes = |before: &str, after: &str| toml_changes(&read(before), &read(after));
        assert_eq!(changes(FILE, "openshell.gateway = { server_sans = [ 'a' ], log_level = 'info' } # same"), None);
        assert_eq!(
            changes(
                FILE,
                "[openshell.gateway]\nlog_level = \"info\"\nserver_sans = [\"a\", \"b\"]\n[openshell.gateway.oidc]\nissuer = \"x\"\n"
            ),
            Some("[openshell.gateway.oidc] issuer; [openshell.gateway] server_sans".to_owned())
        );
        assert_eq!(changes("a = 1\n", ""), Some("a".to_owned()));
    }

    #[test]
    fn many_changes_are_counted() {
        let keys = |n: u32| (0..n).map(|at| format!("k{at:02} = {at}\n")).collect::<String>();
        let read = |text: &str| toml_edit::de::from_str::<Value>(text).unwrap();
        assert!(toml_changes(&read(""), &read(&keys(20))).unwrap().ends_with("k07 and 12 more"));
    }
}
