//! What single components are told otherwise than everybody: `spec.components` of the policy. The first entry that names a workload
//! counts. Pure.
//!
//! An entry says another profile; floor, FIPS and adherence hold for all. So a component never serves more than its entry asks for, and
//! nothing below the floor.

use std::collections::BTreeMap;

use paddock_tls_profile::{
    Adherence, Backend, Decision, Generation, MetricsAuth, Outcome, Profile, Request, Source, Verdict, resolve,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::{Finding, Published};
use super::follower::{Follower, Reload, Workload, WorkloadKind};

/// The key of the decision's ConfigMap that holds the entries.
pub(crate) const FILE: &str = "components.json";
/// Most entries.
pub(crate) const MOST: usize = 64;
/// The kind of source that a component's contract names.
const SOURCE: &str = "Component";

/// The workloads that an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Which {
    /// One.
    Ref(Reference),
    /// Those that have all these labels.
    Selector(Selector),
}

/// Names one workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    kind: WorkloadKind,
    namespace: String,
    name: String,
}

/// Chooses workloads by their own labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Selector {
    /// `None`: in every namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    match_labels: BTreeMap<String, String>,
}

impl Which {
    fn is(&self, key: &Workload, object: &Value) -> bool {
        match self {
            Self::Ref(one) => (one.kind, &one.namespace, &one.name) == (key.kind, &key.namespace, &key.name),
            Self::Selector(selector) => {
                let labels = &object["metadata"]["labels"];
                selector.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
                    && !selector.match_labels.is_empty()
                    && selector.match_labels.iter().all(|(label, value)| labels[label] == **value)
            }
        }
    }
}

/// An entry of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) which: Which,
    pub(crate) profile: Option<Request>,
    pub(crate) reload: Option<Reload>,
    pub(crate) metrics_auth: Option<MetricsAuth>,
}

/// An entry as the policy has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(rename = "ref")]
    reference: Option<Reference>,
    selector: Option<Selector>,
    #[serde(default)]
    profile: Value,
    reload: Option<Reload>,
    metrics_auth: Option<String>,
}

impl Entry {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(self) -> Result<Component, String> {
        let which = match (self.reference, self.selector) {
            (Some(one), None) => Which::Ref(one),
            (None, Some(selector)) if !selector.match_labels.is_empty() => Which::Selector(selector),
            (None, Some(_)) => return Err("a selector without labels chooses everything: use spec.profile".to_owned()),
            _ => return Err("either ref or selector says which workloads".to_owned()),
        };
        let profile = match &self.profile {
            Value::Null => None,
            profile => Some(Request::parse(profile).map_err(|error| format!("profile: {error}"))?),
        };
        let metrics_auth = match self.metrics_auth.as_deref() {
            None => None,
            Some(name) => {
                Some(MetricsAuth::from_name(name).ok_or_else(|| format!("metricsAuth {name:?} is not known"))?)
            }
        };
        Ok(Component { which, profile, reload: self.reload, metrics_auth })
    }
}

/// What was decided on an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Override {
    which: Which,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<Reload>,
    /// By its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_auth: Option<String>,
}

/// A profile, and what it was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    /// Its canonical text.
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
}

impl Asked {
    fn new(request: &Request, table: Generation) -> Self {
        let named = matches!(request, Request::Named(_));
        Self {
            name: request.name().to_owned(),
            text: request.profile(table).canonical(),
            table: named.then(|| table.name().to_owned()),
        }
    }

    fn profile(&self) -> Option<Profile> {
        let profile = Profile::parse(self.text.as_bytes()).ok()?.profile;
        (profile.canonical() == self.text).then_some(profile)
    }
}

/// The entries as the decision's ConfigMap keeps them.
pub(crate) fn to_json(overrides: &[Override]) -> String {
    serde_json::to_string(overrides).unwrap_or_default()
}

/// Reads them back; `None` for what was not written so.
pub(crate) fn read(text: &str) -> Option<Vec<Override>> {
    let overrides: Vec<Override> = serde_json::from_str(text).ok()?;
    let good = |one: &Override| one.profile.as_ref().is_none_or(|asked| asked.profile().is_some());
    (overrides.len() <= MOST && overrides.iter().all(good)).then_some(overrides)
}

/// What becomes of the policy's entries. One whose profile cannot be served leaves all of them as they were: nobody is told
/// something wider because of a bad word.
pub(crate) fn decide(
    components: &[Component],
    before: &[Override],
    decision: Decision,
    table: Generation,
) -> (Vec<Override>, Option<Finding>) {
    const KIND: &str = "ComponentsHonored";
    let mut wrong = Vec::new();
    let mut overrides = Vec::new();
    for (at, component) in components.iter().enumerate() {
        if let Some(request) = &component.profile
            && let Err(why) = servable(&request.profile(table), decision)
        {
            wrong.push(format!("spec.components[{at}]: {}: {why}", request.name()));
        }
        overrides.push(Override {
            which: component.which.clone(),
            profile: component.profile.as_ref().map(|request| Asked::new(request, table)),
            reload: component.reload,
            metrics_auth: component.metrics_auth.map(|auth| auth.name().to_owned()),
        });
    }
    if !wrong.is_empty() {
        let message = format!("{}; what components were told last stays", wrong.join("; "));
        return (before.to_vec(), Some(Finding { kind: KIND, holds: false, reason: "Unservable", message }));
    }
    let told = !(components.is_empty() && before.is_empty());
    let message = format!("{} entries say otherwise than spec.profile", components.len());
    let finding = told.then_some(Finding { kind: KIND, holds: true, reason: "Honored", message });
    (overrides, finding)
}

fn servable(profile: &Profile, decision: Decision) -> Result<(), String> {
    let resolution = resolve(profile, &Backend::RUSTLS_AWS_LC, &decision.options(None));
    match (decision.adherence.judge(&resolution), resolution.outcome) {
        (Verdict::Serve, _) => Ok(()),
        (_, Outcome::Unservable(why)) => Err(why.to_string()),
        _ if decision.adherence == Adherence::Strict => Err("no client of Kubernetes could speak it".to_owned()),
        _ => Err("it cannot be served".to_owned()),
    }
}

/// What a workload is told, and what it would be told without its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) published: Published,
    /// For reports; `None` where no entry says another profile.
    pub(crate) replaces: Option<String>,
}

/// What this workload is told.
pub(crate) fn told(published: Published, key: &Workload, object: &Value, follower: &mut Follower) -> Told {
    let Some(found) = published.overrides.iter().find(|one| one.which.is(key, object)).cloned() else {
        return Told { published, replaces: None };
    };
    if let Some(reload) = found.reload.filter(|_| !follower.is_agent) {
        follower.reload = reload;
    }
    let mut told = Told { published, replaces: None };
    let contract = &mut told.published.contract;
    if let Some(auth) = found.metrics_auth.as_deref().and_then(MetricsAuth::from_name) {
        contract.metrics_auth = auth;
    }
    if let Some(asked) = &found.profile
        && let Some(profile) = asked.profile()
    {
        told.replaces = Some(format!("{} of {}", contract.source.profile, contract.source.kind));
        contract.profile_hash = Some(profile.hash());
        let table = asked.table.as_deref().and_then(Generation::from_name);
        contract.source = Source { kind: SOURCE.to_owned(), profile: asked.name.clone(), table };
        told.published.profile = profile;
    }
    told
}

#[cfg(test)]
#[path = "components_tests.rs"]
mod tests;
