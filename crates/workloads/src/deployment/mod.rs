//! Deployments: ReplicaSets for each template, rolled from one to the next. Reads through the engine's context; everything
//! else is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/deployment`. What it does in one pass with several writes of the same
//! object is a pass per write here: a crash between them continues where it was.

mod plan;
mod progress;
mod revision;
mod scale;
mod size;
mod status;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Context, Controller, Error, Plan, Settings, Source};

use crate::names::{Name, uid};
use crate::selector::Selectors;
use crate::snapshots::{dependents, select};
use crate::{owner, pods};

/// The controller.
#[derive(Debug, Default)]
pub struct Deployments {
    selectors: Selectors,
}

/// What is known of one Deployment.
#[derive(Debug)]
pub struct Snapshot {
    deployment: Deployment,
    /// Its own ReplicaSets and orphans.
    sets: Vec<ReplicaSet>,
    /// With the strategy Recreate: the uids of ReplicaSets that have pods which have not ended.
    running: Vec<String>,
}

impl Controller for Deployments {
    type Key = Name;
    type Snapshot = Option<Snapshot>;

    fn name(&self) -> &'static str {
        "deployment"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, choosing) = (self.selectors.clone(), self.selectors.clone());
        vec![
            Source::of::<Deployment>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<ReplicaSet>(move |change| owner::keys::<Deployment>(change, Some(&choosing))),
            // Read by Recreate. Whatever matters of pods shows in the status of their ReplicaSet.
            Source::of::<Pod>(|_| Vec::new()),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(deployment) = cx.get_as::<Deployment>(Some(&key.namespace), &key.name).await? else {
            return Ok(None);
        };
        let sets: Vec<ReplicaSet> = dependents(cx, &key.namespace, &deployment.metadata).await?;
        let mut running = Vec::new();
        if size::recreates(&deployment) {
            let ours: Vec<&str> = sets.iter().map(|set| uid(&set.metadata)).collect();
            let pods = select::<Pod>(cx, &key.namespace, |pod| {
                owner::controller_in(pod).is_some_and(|c| c["uid"].as_str().is_some_and(|uid| ours.contains(&uid)))
            });
            let pods = pods.await?;
            let live = pods.iter().filter(|pod| !pods::is_finished(pod));
            running = live.filter_map(|pod| Some(owner::controller(&pod.metadata)?.uid.clone())).collect();
        }
        Ok(Some(Snapshot { deployment, sets, running }))
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
