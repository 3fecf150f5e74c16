//! PodDisruptionBudgets: how many pods may be evicted now. Reads through the engine's context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/disruption`.

mod plan;
mod stale;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use paddock_reconcile::{Change, Context, Controller, Error, Kind, Plan, Settings, Source};

pub use stale::StaleDisruptions;

use crate::names::{Name, text};
use crate::owner;
use crate::selector::{Selectors, labels, matches_all};
use crate::snapshots::select;

/// The controller.
#[derive(Debug, Default)]
pub struct Disruptions {
    budgets: Selectors,
}

/// What is known of one budget.
#[derive(Debug)]
pub struct Snapshot {
    budget: PodDisruptionBudget,
    /// The pods that it is about.
    pods: Vec<Pod>,
    /// What stands behind each controller of a pod, by the controller's uid; or why that cannot be known.
    scales: BTreeMap<String, Result<Option<Scale>, String>>,
}

/// Who decides how many pods there are, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scale {
    uid: String,
    replicas: i32,
}

impl Controller for Disruptions {
    type Key = Name;
    type Snapshot = Option<Snapshot>;

    fn name(&self) -> &'static str {
        "disruption"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, choosing) = (self.budgets.clone(), self.budgets.clone());
        vec![
            Source::of::<PodDisruptionBudget>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| of_pod(change, &choosing)),
            // How many pods there should be is asked of their controllers, but only when pods change.
            Source::of::<ReplicaSet>(|_| Vec::new()),
            Source::of::<Deployment>(|_| Vec::new()),
            Source::of::<StatefulSet>(|_| Vec::new()),
            Source::of::<ReplicationController>(|_| Vec::new()),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(budget) = cx.get_as::<PodDisruptionBudget>(Some(&key.namespace), &key.name).await? else {
            return Ok(None);
        };
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let pods = match selector {
            None => Vec::new(),
            Some(s) => select::<Pod>(cx, &key.namespace, |pod| matches_all(s, Some(&labels(pod)))).await?,
        };
        let mut scales = BTreeMap::new();
        if plan::asks_for_scales(&budget) {
            for by in pods.iter().filter_map(|pod| owner::controller(&pod.metadata)) {
                if !scales.contains_key(&by.uid) {
                    scales.insert(by.uid.clone(), scale(cx, &key.namespace, by).await?);
                }
            }
        }
        Ok(Some(Snapshot { budget, pods, scales }))
    }

    fn plan(&self, _: &Name, snapshot: &Self::Snapshot, now: Timestamp) -> Result<Plan, Error> {
        match snapshot {
            Some(snapshot) => plan::plan(snapshot, now),
            None => Ok(Plan::new()),
        }
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// The budgets that a change of a pod concerns.
fn of_pod(change: &Change<'_>, budgets: &Selectors) -> Vec<Name> {
    let mut found = BTreeSet::new();
    for pod in [change.before, change.after].into_iter().flatten() {
        if let Some(Name { namespace, .. }) = Name::of(pod) {
            found.extend(budgets.choosing_all(&namespace, &labels(pod)));
        }
    }
    found.into_iter().collect()
}

/// What stands behind a pod's controller: of a ReplicaSet its Deployment. The inner error is for people.
async fn scale(cx: &Context, namespace: &str, by: &OwnerReference) -> Result<Result<Option<Scale>, String>, Error> {
    let group = by.api_version.split_once('/').map_or("", |(group, _)| group);
    let of = |uid: Option<String>, replicas: Option<i32>| {
        uid.filter(|uid| *uid == by.uid).map(|uid| Scale { uid, replicas: replicas.unwrap_or(1) })
    };
    let (here, name) = (Some(namespace), by.name.as_str());
    Ok(match (group, by.kind.as_str()) {
        ("", "ReplicationController") => {
            let found = cx.get_as::<ReplicationController>(here, name).await?;
            Ok(found.and_then(|rc| of(rc.metadata.uid, rc.spec.and_then(|spec| spec.replicas))))
        }
        ("apps", "StatefulSet") => {
            let found = cx.get_as::<StatefulSet>(here, name).await?;
            Ok(found.and_then(|set| of(set.metadata.uid, set.spec.and_then(|spec| spec.replicas))))
        }
        ("apps", "ReplicaSet") => {
            let Some(set) = cx.get_as::<ReplicaSet>(here, name).await? else { return Ok(Ok(None)) };
            match owner::controller(&set.metadata).filter(|by| by.kind == "Deployment") {
                None => Ok(of(set.metadata.uid.clone(), set.spec.and_then(|spec| spec.replicas))),
                Some(root) => {
                    let found = cx.get_as::<Deployment>(here, &root.name).await?;
                    let found = found.filter(|d| d.metadata.uid.as_ref() == Some(&root.uid));
                    let replicas = |d: &Deployment| d.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                    Ok(found.map(|d| Scale { uid: root.uid.clone(), replicas: replicas(&d) }))
                }
            }
        }
        _ => of_subresource(cx, namespace, by).await,
    })
}

/// Any other kind says it in its scale, when it has one.
async fn of_subresource(cx: &Context, namespace: &str, by: &OwnerReference) -> Result<Option<Scale>, String> {
    let (group, version) = by.api_version.split_once('/').unwrap_or(("", &by.api_version));
    let plural = format!("{}s", by.kind.to_lowercase());
    let kind = Kind {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: by.kind.clone().into(),
        plural: plural.clone().into(),
        namespaced: true,
    };
    match kind.api(cx.client().clone(), Some(namespace)).get_scale(&by.name).await {
        Ok(scale) => {
            let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
            let uid = text(scale.metadata.uid.as_ref());
            Ok((uid.is_empty() || uid == by.uid).then(|| Scale { uid: by.uid.clone(), replicas }))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Err(format!("{}, Resource={plural} does not implement the scale subresource", by.api_version))
        }
        Err(error) => Err(error.to_string()),
    }
}
