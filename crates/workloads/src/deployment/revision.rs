//! Which ReplicaSet is of the current template, and the annotations that keep the history. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::size;
use crate::names::{annotation, name, namespace};
use crate::{owner, template};

pub(super) const HASH: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// What is not copied from a Deployment to its ReplicaSets.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// Longest revision history, in bytes; the oldest go first.
const HISTORY_LIMIT: usize = 2000;

type Annotations = BTreeMap<String, String>;

/// The ReplicaSets of a Deployment: of its current template, and the others, oldest first.
#[derive(Debug)]
pub(super) struct Sets<'a> {
    pub(super) new: Option<&'a ReplicaSet>,
    pub(super) old: Vec<&'a ReplicaSet>,
}

impl<'a> Sets<'a> {
    pub(super) fn of(deployment: &Deployment, sets: &'a [ReplicaSet]) -> Self {
        let mut all: Vec<&ReplicaSet> = sets.iter().collect();
        size::by_age(&mut all);
        let current = deployment.spec.as_ref().map(|spec| &spec.template);
        // Of several the oldest: a rule that does not change its mind.
        let new = all.iter().copied().find(|set| same(set.spec.as_ref().and_then(|s| s.template.as_ref()), current));
        let old = all.into_iter().filter(|set| new.is_none_or(|new| !std::ptr::eq(*set, new))).collect();
        Self { new, old }
    }

    pub(super) fn all(&self) -> Vec<&'a ReplicaSet> {
        self.old.iter().copied().chain(self.new).collect()
    }
}

/// Whether two templates are the same but for the hash label.
fn same(a: Option<&PodTemplateSpec>, b: Option<&PodTemplateSpec>) -> bool {
    let plain = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let meta = template.metadata.get_or_insert_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH);
        }
        meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
        template
    };
    match (a, b) {
        (Some(a), Some(b)) => plain(a) == plain(b),
        _ => false,
    }
}

/// A ReplicaSet's revision; zero without one.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    annotation(&set.metadata, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// The revision that a new ReplicaSet gets.
pub(super) fn next(old: &[&ReplicaSet]) -> i64 {
    old.iter().map(|set| revision(set)).max().unwrap_or(0).max(0).saturating_add(1)
}

/// The annotations of the newest ReplicaSet: those of the Deployment and its place in the history.
pub(super) fn annotations(deployment: &Deployment, of: &ObjectMeta, next: i64) -> Annotations {
    let mut annotations = of.annotations.clone().unwrap_or_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten().filter(|(key, _)| !OWN.contains(&&***key)) {
        annotations.insert(key.clone(), value.clone());
    }
    let before = annotations.get(REVISION).cloned();
    let parsed = before.as_deref().map_or(Some(0), |text| if text.is_empty() { Some(0) } else { text.parse().ok() });
    // A revision that is no number is not ours to change.
    let Some(number): Option<i64> = parsed else { return annotations };
    if number < next {
        annotations.insert(REVISION.to_owned(), next.to_string());
        if let Some(before) = before {
            let history = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
            if let Some(history) = lengthened(history, &before) {
                annotations.insert(HISTORY.to_owned(), history);
            }
        }
    }
    annotations
}

fn lengthened(history: &str, revision: &str) -> Option<String> {
    if history.is_empty() {
        return Some(revision.to_owned());
    }
    let mut kept = history;
    while kept.len() + revision.len() + 1 > HISTORY_LIMIT {
        kept = kept.split_once(',')?.1;
    }
    Some(format!("{kept},{revision}"))
}

/// The annotations that say for how many pods of the Deployment a ReplicaSet was last scaled.
pub(super) fn replicas(deployment: &Deployment, annotations: &mut Annotations) {
    let wanted = size::wanted(deployment);
    annotations.insert(DESIRED.to_owned(), wanted.to_string());
    annotations.insert(MAX.to_owned(), wanted.saturating_add(size::max_surge(deployment)).to_string());
}

/// A number of [`replicas`].
pub(super) fn number(set: &ReplicaSet, of: &str) -> Option<i32> {
    annotation(&set.metadata, of)?.parse().ok()
}

/// The ReplicaSet for a template that has none.
pub(super) fn fresh(deployment: &Deployment, sets: &Sets<'_>) -> Option<ReplicaSet> {
    let spec = deployment.spec.as_ref()?;
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template::hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector: LabelSelector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());
    let next = next(&sets.old);
    let mut annotations = annotations(deployment, &ObjectMeta::default(), next);
    replicas(deployment, &mut annotations);
    let total = size::sum(sets.old.iter().copied(), size::replicas);
    Some(ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(&deployment.metadata))),
            namespace: Some(namespace(&deployment.metadata).to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner::reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size::of_newest(deployment, total, 0)),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    })
}
