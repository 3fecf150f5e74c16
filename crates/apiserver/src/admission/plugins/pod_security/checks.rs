//! Which checks a standard consists of, and what their findings read like together. Pure.

use serde_json::Value;

use super::level::{Level, Standard, Version};
use super::{baseline, restricted};
use crate::kinds::at::At;

/// A pod, or what a workload makes pods of.
#[derive(Clone, Copy)]
pub(crate) struct Pod<'a> {
    pub(crate) metadata: &'a Value,
    pub(crate) spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// Containers in the order that findings name them.
    pub(super) fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["/initContainers", "/containers", "/ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| self.spec.list_at(list))
    }

    /// Names of the containers that a test finds bad.
    pub(super) fn bad(self, test: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| test(container)).map(|container| container.str_at("/name")).collect()
    }

    /// The pod has a user namespace of its own: its root is nobody on the node.
    pub(super) fn has_own_users(self) -> bool {
        self.spec.at("/hostUsers") == &Value::Bool(false)
    }

    /// Windows pods cannot set what only Linux knows.
    pub(super) fn is_windows(self) -> bool {
        self.spec.str_at("/os/name") == "windows"
    }
}

/// Why a check refuses a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule: `host namespaces`.
    pub(crate) reason: &'static str,
    /// What in the pod breaks it: `hostNetwork, hostPID`.
    pub(crate) detail: String,
}

/// One check as it is in a range of releases.
pub(super) struct Check {
    /// First minor release with this form of the check.
    pub(super) since: u32,
    /// First minor release without it; `u32::MAX` for none.
    pub(super) until: u32,
    /// From this minor release on, `restricted` has a stricter check in its place.
    pub(super) replaced: u32,
    pub(super) run: fn(Pod<'_>) -> Option<Finding>,
}

impl Check {
    /// A check of every release from `since` on.
    pub(super) const fn since(since: u32, run: fn(Pod<'_>) -> Option<Finding>) -> Self {
        Self { since, until: u32::MAX, replaced: u32::MAX, run }
    }
    pub(super) const fn until(self, until: u32) -> Self {
        Self { until, ..self }
    }
    pub(super) const fn replaced(self, replaced: u32) -> Self {
        Self { replaced, ..self }
    }
}

/// What a pod breaks of a standard, in the order Kubernetes tells it: baseline, then restricted, each by the checks' names.
pub(crate) fn findings(standard: Standard, pod: Pod<'_>) -> Vec<Finding> {
    // No check is newer than the newest release known here.
    let minor = match standard.version {
        Version::Minor(minor) => minor.min(u32::MAX - 1),
        Version::Latest => u32::MAX - 1,
    };
    let restricted = standard.level == Level::Restricted;
    let chosen = |level: Level, checks: &'static [Check]| {
        let asked = standard.level >= level;
        checks.iter().filter(move |check| {
            asked && (check.since..check.until).contains(&minor) && !(restricted && minor >= check.replaced)
        })
    };
    chosen(Level::Baseline, baseline::CHECKS)
        .chain(chosen(Level::Restricted, restricted::CHECKS))
        .filter_map(|check| (check.run)(pod))
        .collect()
}

/// Rules only: `host namespaces, privileged`.
pub(crate) fn reasons(findings: &[Finding]) -> String {
    findings.iter().map(|f| f.reason).collect::<Vec<_>>().join(", ")
}

/// Rules and what breaks them: `host namespaces (hostPID), privileged (…)`.
pub(crate) fn details(findings: &[Finding]) -> String {
    let one = |f: &Finding| {
        if f.detail.is_empty() { f.reason.to_owned() } else { format!("{} ({})", f.reason, f.detail) }
    };
    findings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `"a", "b"`.
pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The word for one or for many.
pub(super) fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names))
}

/// Those who set something: `pod`, `containers "a", "b"`, or both joined by `and`; `None`: nobody.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".to_owned()),
        (false, false) => Some(containers(names)),
        (true, false) => Some(format!("pod and {}", containers(names))),
    }
}
