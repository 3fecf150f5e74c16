//! The front end of `OpenShellGateway` objects: to the same intents as `platform-config`, and back to their status.
//!
//! Pure. The cluster's copy of the schema (see [`definition`](super::definition)) refuses most mistakes before they get here.

use std::collections::BTreeMap;
use std::sync::Arc;

use paddock_api::gateway::{self, DatabaseKind, Isolation, OpenShellGatewaySpec};
use paddock_api::{GatewayCondition, GatewayPhase, annotations};
use paddock_reconcile::{Act, Kind, ObjectRef, Strategy, object};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::condition::{Condition, Conditions, Summary};
use super::document::{Placed, RawEntry};
use super::intent::{self, Entry, Origin, Rules, Wish};
use super::key::GatewayKey;
use super::platform::Database;
use super::policies::Policies;
use super::problem::Problem;

/// The kind.
pub(super) fn kind() -> Kind {
    Kind::custom(gateway::GROUP, gateway::VERSION, gateway::KIND, gateway::PLURAL, true)
}

/// The object that asks for this gateway.
pub(super) fn reference(key: &GatewayKey) -> ObjectRef {
    kind().named(Some(key.namespace()), key.gateway())
}

/// How to say of this gateway that so many deletions are meant: what follows `kubectl annotate --overwrite`.
pub(super) fn acknowledgement(key: &GatewayKey) -> String {
    let (name, namespace) = (key.gateway(), key.namespace());
    format!("openshellgateway {name} --namespace {namespace} {}=true", annotations::ACKNOWLEDGE_REMOVALS)
}

/// Whether somebody said so.
pub(super) fn is_acknowledged(object: Option<&Value>) -> bool {
    let word = object.and_then(|object| object::annotation(object, annotations::ACKNOWLEDGE_REMOVALS));
    word.is_some_and(|word| word != "false")
}

/// The gateway that an object asks for; `None` for names that the schema does not allow.
pub(super) fn key_of(object: &Value) -> Option<GatewayKey> {
    let text = |field: &str| object["metadata"][field].as_str();
    Some(GatewayKey::new(text("namespace")?.parse().ok()?, text("name")?.parse().ok()?))
}

/// Judges an object. Fields of problems are paths in it; for `spec.config` the place is one in that text.
pub(super) fn compile(key: &GatewayKey, object: &Value, rules: &Rules) -> Entry {
    let mut problems = Vec::new();
    let mut fail = |field: &str, message: String| {
        let (entry, key, hint) = (String::new(), field.to_owned(), String::new());
        problems.push(Problem { entry, key, position: None, message, hint });
    };
    let spec = match &object["spec"] {
        Value::Null => Ok(OpenShellGatewaySpec::default()),
        spec => OpenShellGatewaySpec::deserialize(spec),
    };
    let spec = match spec {
        Ok(spec) => spec,
        Err(error) => {
            fail("spec", error.to_string());
            return Entry { problems, ..Entry::default() };
        }
    };
    if let Err(error) = rules.reserved.check(&key.namespace) {
        fail("metadata.namespace", error.to_string());
    }
    let database = match spec.database.as_ref().map(|database| (database.kind, database.secret_name.as_deref())) {
        None => rules.database.clone(),
        Some((DatabaseKind::SQLite, None)) => Database::Sqlite,
        Some((DatabaseKind::SQLite, Some(_))) => {
            fail("spec.database.secretName", "only Postgres has a Secret".to_owned());
            Database::Sqlite
        }
        Some((DatabaseKind::Postgres, secret)) => {
            Database::postgres(secret.unwrap_or_default()).unwrap_or_else(|error| {
                fail("spec.database.secretName", error.to_string());
                Database::Sqlite
            })
        }
    };
    let serves = match (spec.isolation, &spec.served_namespaces) {
        (Isolation::PerTenant, None) => None,
        (Isolation::SharedOperator, Some(served)) => {
            let selector = Served::new(&served.match_labels);
            selector.map_err(|message| fail("spec.servedNamespaces.matchLabels", message)).ok()
        }
        (Isolation::PerTenant, Some(_)) => {
            fail("spec.servedNamespaces", "only a SharedOperator gateway serves other namespaces".to_owned());
            None
        }
        (Isolation::SharedOperator, None) => {
            fail("spec.servedNamespaces", "a SharedOperator gateway must say which namespaces it serves".to_owned());
            None
        }
    };
    let words = |text: &Option<String>| text.clone().map(|value| Placed { value, position: None, defined: None });
    let names = spec.server_dns_names.iter().cloned();
    let raw = RawEntry {
        image: words(&spec.image),
        version: words(&spec.version),
        names: names.map(|value| Placed { value, position: None, defined: None }).collect(),
        config: words(&spec.config),
        ..RawEntry::default()
    };
    let wish = Wish {
        raw: &raw,
        label: "",
        prefix: "spec",
        document: None,
        origin: Origin::Resource,
        options: options(&spec),
        written: written(&object["spec"]),
        database,
        serves,
        policies: chosen(&spec, rules),
    };
    let intent = intent::judge_wish(wish, Some(key.clone()), rules, &mut problems);
    let intent = if problems.is_empty() { intent.map(Arc::new) } else { None };
    Entry { intent, problems, digest: String::new() }
}

/// What restarts the gateway when it is edited, and entries of `platform-config` cannot say; null when nothing is said.
fn written(spec: &Value) -> Value {
    let parts = [&spec["database"], &spec["servedNamespaces"]];
    if parts.iter().all(|part| part.is_null()) { Value::Null } else { json!(parts) }
}

/// The operator's policies with what an object says of its own. One that says something unreadable has the operator's.
pub(super) fn policies(object: &Value, rules: &Rules) -> Policies {
    chosen(&OpenShellGatewaySpec::deserialize(&object["spec"]).unwrap_or_default(), rules)
}

fn chosen(spec: &OpenShellGatewaySpec, rules: &Rules) -> Policies {
    Policies {
        deletion: spec.deletion_policy.unwrap_or(rules.policies.deletion),
        data: spec.data_policy.unwrap_or(rules.policies.data),
        drift: spec.drift_policy.unwrap_or(rules.policies.drift),
        ..rules.policies.clone()
    }
}

/// Keeps an object until everything of its gateway is gone; `None` when it is kept already.
pub(super) fn hold(key: &GatewayKey, object: &Value) -> Option<Act> {
    let mut finalizers = finalizers(object);
    if finalizers.iter().any(|name| name == gateway::FINALIZER) {
        return None;
    }
    finalizers.push(gateway::FINALIZER.into());
    Some(finalized(key, object, finalizers))
}

/// Lets an object go; `None` when nothing of ours keeps it.
pub(super) fn release(key: &GatewayKey, object: &Value) -> Option<Act> {
    let mut finalizers = finalizers(object);
    let before = finalizers.len();
    finalizers.retain(|name| name != gateway::FINALIZER);
    (finalizers.len() < before).then(|| finalized(key, object, finalizers))
}

fn finalizers(object: &Value) -> Vec<Value> {
    object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

/// The list is replaced as a whole, so it must be the one that was read.
fn finalized(key: &GatewayKey, object: &Value, finalizers: Vec<Value>) -> Act {
    let metadata = json!({ "finalizers": finalizers, "resourceVersion": object["metadata"]["resourceVersion"] });
    Act::patch(reference(key), Strategy::Merge, json!({ "metadata": metadata }))
}

/// The typed options as the gateway's own file has them: what lies below `openshell.gateway`.
fn options(spec: &OpenShellGatewaySpec) -> Value {
    let mut table = Map::new();
    if let Some(level) = &spec.log_level {
        table.insert("log_level".to_owned(), level.as_str().into());
    }
    if let Some(oidc) = &spec.oidc {
        let mut keys = json!({ "issuer": oidc.issuer, "audience": oidc.audience });
        let texts = [
            ("roles_claim", &oidc.roles_claim),
            ("admin_role", &oidc.admin_role),
            ("user_role", &oidc.user_role),
            ("scopes_claim", &oidc.scopes_claim),
        ];
        for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
            keys[key] = text.as_str().into();
        }
        if let Some(seconds) = oidc.jwks_ttl_seconds {
            keys["jwks_ttl_secs"] = seconds.into();
        }
        table.insert("oidc".to_owned(), keys);
    }
    if table.is_empty() { Value::Null } else { Value::Object(table) }
}

/// The namespaces that a shared gateway serves: those with all of these labels. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served(BTreeMap<String, String>);

impl Served {
    fn new(labels: &BTreeMap<String, String>) -> Result<Self, String> {
        if labels.is_empty() {
            return Err("needs at least one label".to_owned());
        }
        match labels.iter().find(|(key, value)| !super::network::is_label(key, value)) {
            Some((key, value)) => Err(format!("{key:?}: {value:?} cannot be a label")),
            None => Ok(Self(labels.clone())),
        }
    }

    /// The labels.
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The selector as the gateway reads it: `key=value,…`.
    pub(super) fn selector(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }

    /// Whether it selects this namespace.
    pub(super) fn selects(&self, namespace: &Value) -> bool {
        self.0.iter().all(|(key, value)| namespace["metadata"]["labels"][key] == value.as_str())
    }
}

/// What an object was last told.
pub(super) fn conditions_of(object: &Value) -> Vec<Condition> {
    Vec::<Condition>::deserialize(&object["status"]["conditions"]).unwrap_or_default()
}

/// How an object says that its gateway stands; `None` while it says nothing.
pub(super) fn summary_of(object: &Value) -> Option<Summary> {
    let text = |field: &str| object["status"][field].as_str().unwrap_or_default().to_owned();
    let ready =
        conditions_of(object).into_iter().find(|condition| condition.kind == GatewayCondition::Ready.as_str())?;
    Some(Summary {
        phase: GatewayPhase::deserialize(&object["status"]["phase"]).ok()?,
        ready: ready.status == "True",
        reason: ready.reason,
        message: ready.message,
        image: text("image"),
        image_from: text("imageFrom"),
        image_id: text("imageID"),
        config_hash: text("configHash"),
        not_after: text("notAfter"),
        observed_digest: String::new(),
    })
}

/// What stands in `status` besides the conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) image: &'a str,
    pub(super) image_from: &'a str,
    pub(super) image_id: &'a str,
    pub(super) config_hash: &'a str,
    pub(super) not_after: &'a str,
}

/// The whole `status` of `object`.
pub(super) fn status(object: &Value, conditions: &Conditions, phase: GatewayPhase, facts: Facts<'_>) -> Value {
    let generation = object["metadata"]["generation"].clone();
    let said = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    json!({
        "observedGeneration": generation,
        "phase": phase.as_str(),
        "image": said(facts.image),
        "imageFrom": said(facts.image_from),
        "imageID": said(facts.image_id),
        "configHash": said(facts.config_hash),
        "notAfter": said(facts.not_after),
        "conditions": conditions.observing(&generation),
    })
}
