//! Jobs: Pods that run to their end, counted exactly once. Reads through the engine's context; everything else is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/job`. A Pod carries a finalizer until it is counted: first its uid is written
//! into the Job's status, then the finalizer goes, then the uid becomes a number. Each of these is a pass, so a crash between them counts
//! nothing twice and loses nothing.

mod backoff;
mod conditions;
mod indexes;
mod manage;
mod plan;
mod policy;
#[cfg(test)]
mod tests;
mod track;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Context, Controller, Error, Plan, Settings, Source};

pub(crate) use conditions::finished;

use crate::names::Name;
use crate::owner;
use crate::selector::Selectors;
use crate::snapshots::select;

/// Keeps a Pod until it is counted.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// The controller.
#[derive(Debug, Default)]
pub struct Jobs {
    selectors: Selectors,
}

/// What is known of one Job.
#[derive(Debug)]
pub struct Snapshot {
    /// `None` when it is gone, and Pods of it may still have to be let go.
    job: Option<Job>,
    /// Pods that name it as their controller, those of a predecessor included, and orphans.
    pods: Vec<Pod>,
}

impl Controller for Jobs {
    type Key = Name;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "job"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, choosing) = (self.selectors.clone(), self.selectors.clone());
        vec![
            Source::of::<Job>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| owner::keys::<Job>(change, Some(&choosing))),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let job = cx.get_as::<Job>(Some(&key.namespace), &key.name).await?;
        let orphans = job.is_some();
        let pods = select::<Pod>(cx, &key.namespace, |pod| match owner::controller_in(pod) {
            Some(by) => by["kind"] == "Job" && by["name"] == key.name.as_str(),
            None => orphans,
        });
        Ok(Snapshot { job, pods: pods.await? })
    }

    fn plan(&self, _: &Name, snapshot: &Self::Snapshot, now: Timestamp) -> Result<Plan, Error> {
        plan::plan(snapshot, now)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}
