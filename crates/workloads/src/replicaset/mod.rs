//! ReplicaSets: as many Pods of a template as asked for. Reads through the engine's context; everything else is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/replicaset`.

mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Context, Controller, Error, Plan, Settings, Source};

use crate::names::{Name, uid};
use crate::owner;
use crate::selector::Selectors;
use crate::snapshots::{dependents, select};

/// The controller.
#[derive(Debug, Default)]
pub struct ReplicaSets {
    selectors: Selectors,
}

/// What is known of one ReplicaSet.
#[derive(Debug)]
pub struct Snapshot {
    set: ReplicaSet,
    /// Its own pods and orphans.
    pods: Vec<Pod>,
    /// How many pods of ReplicaSets with the same owner are on each node.
    per_node: BTreeMap<String, usize>,
}

impl Controller for ReplicaSets {
    type Key = Name;
    type Snapshot = Option<Snapshot>;

    fn name(&self) -> &'static str {
        "replicaset"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, choosing) = (self.selectors.clone(), self.selectors.clone());
        vec![
            Source::of::<ReplicaSet>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| owner::keys::<ReplicaSet>(change, Some(&choosing))),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(set) = cx.get_as::<ReplicaSet>(Some(&key.namespace), &key.name).await? else { return Ok(None) };
        let pods = dependents::<Pod>(cx, &key.namespace, &set.metadata).await?;
        let per_node = related(cx, key, &set, &pods).await?;
        Ok(Some(Snapshot { set, pods, per_node }))
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

/// Active pods by node, of all ReplicaSets that share this one's owner: which pods are doubled up. Asked for only when some
/// of the set's own pods are on a node and there are too many.
async fn related(cx: &Context, key: &Name, set: &ReplicaSet, pods: &[Pod]) -> Result<BTreeMap<String, usize>, Error> {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let active = pods.iter().filter(|pod| crate::pods::is_active(pod)).count();
    let mut per_node = BTreeMap::new();
    if active <= usize::try_from(wanted).unwrap_or(0) || !pods.iter().any(|pod| node(pod).is_some()) {
        return Ok(per_node);
    }
    let mut owners = vec![uid(&set.metadata).to_owned()];
    if let Some(by) = owner::controller(&set.metadata) {
        let siblings = select::<ReplicaSet>(cx, &key.namespace, |other| {
            owner::controller_in(other).is_some_and(|c| c["uid"] == by.uid.as_str())
        });
        owners = siblings.await?.iter().map(|sibling| uid(&sibling.metadata).to_owned()).collect();
    }
    let theirs = select::<Pod>(cx, &key.namespace, |pod| {
        owner::controller_in(pod).is_some_and(|c| owners.iter().any(|owner| c["uid"] == owner.as_str()))
    });
    for pod in theirs.await?.iter().filter(|pod| crate::pods::is_active(pod)) {
        if let Some(node) = node(pod) {
            *per_node.entry(node.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(per_node)
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}
