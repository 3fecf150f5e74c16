//! What is served and why, in words and numbers. Touches nothing.

use paddock_tls_profile::{Known, Version};
use serde_json::{Map, Value, json};

use super::State;
use crate::tls::TlsSource;

/// What metrics say of the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) stale: bool,
    component: String,
    hash: String,
    source: String,
    profile: String,
    table: &'static str,
    min_version: &'static str,
    outcome: &'static str,
}

impl Facts {
    pub(super) fn of(state: &State) -> Option<Self> {
        let candidate = &state.served.as_ref()?.candidate;
        let contract = &candidate.contract;
        Some(Self {
            stale: state.is_stale(),
            component: contract.component.clone(),
            hash: candidate.hash.chars().take(12).collect(),
            source: contract.source.kind.clone(),
            profile: contract.source.profile.clone(),
            table: contract.source.table.map_or("", paddock_tls_profile::Generation::name),
            min_version: candidate.effective.versions().first().copied().map_or("", Version::name),
            outcome: candidate.resolution.outcome.name(),
        })
    }

    pub(crate) fn labels(&self) -> [(&'static str, String); 7] {
        [
            ("component", self.component.clone()),
            ("hash12", self.hash.clone()),
            ("source", self.source.clone()),
            ("type", self.profile.clone()),
            ("table", self.table.to_owned()),
            ("min_version", self.min_version.to_owned()),
            ("outcome", self.outcome.to_owned()),
        ]
    }
}

pub(super) fn report(state: &State) -> Value {
    let Some(served) = &state.served else {
        return json!({"problem": state.problem, "serving": null});
    };
    let candidate = &served.candidate;
    let contract = &candidate.contract;
    let platform: Map<String, Value> =
        contract.platform.iter().map(|(name, known)| (name.clone(), Known::name(*known).into())).collect();
    let asked: Value = serde_json::from_str(&candidate.asked.canonical()).unwrap_or_default();
    let versions: Vec<_> = candidate.effective.versions().into_iter().map(Version::name).collect();
    let suites: Vec<_> = candidate.effective.suites.iter().map(|suite| suite.openssl()).collect();
    let groups: Vec<_> = candidate.effective.groups.iter().map(|group| group.name()).collect();
    let listeners: Vec<Value> = state.source.iter().chain(&state.attached).map(listener).collect();
    json!({
        "asked": asked,
        "component": contract.component,
        "contractGeneration": contract.generation,
        "decisionHash": contract.decision.hash(),
        "expectedHash": state.expected,
        "listeners": listeners,
        "metricsAuth": contract.metrics_auth.name(),
        "platform": platform,
        "problem": state.problem,
        "profileHash": candidate.hash,
        "resolution": candidate.resolution.report(),
        "served": {"groups": groups, "suites": suites, "versions": versions},
        "serving": candidate.serving.name(),
        "since": served.since.to_string(),
        "source": {
            "kind": contract.source.kind,
            "profile": contract.source.profile,
            "table": contract.source.table.map(paddock_tls_profile::Generation::name),
        },
        "stale": state.is_stale(),
    })
}

fn listener(source: &TlsSource) -> Value {
    let connections: Vec<Value> = source
        .population()
        .iter()
        .map(|one| json!({"connections": one.connections, "generation": one.generation, "leaving": one.leaving}))
        .collect();
    let tls = source.served();
    let info = tls.certificate().info();
    json!({
        "certificate": {
            "fingerprint": tls.certificate().fingerprint(),
            "notAfter": info.map(|info| info.not_after.to_string()),
        },
        "connections": connections,
    })
}
