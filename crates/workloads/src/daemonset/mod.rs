//! DaemonSets: a pod on every node that it belongs on. Reads through the engine's context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/daemon`.

mod failures;
mod nodes;
mod plan;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use paddock_reconcile::{Context, Controller, Error, Plan, Settings, Source};
use serde_json::Value;

use failures::{Due, Failures};

use crate::names::Name;
use crate::owner;
use crate::selector::Selectors;
use crate::snapshots::{dependents, everywhere, select};

/// The controller.
#[derive(Debug, Default)]
pub struct DaemonSets {
    selectors: Selectors,
    failures: Failures,
}

/// What is known of one DaemonSet.
#[derive(Debug)]
pub struct Snapshot {
    set: DaemonSet,
    /// Its own pods and orphans.
    pods: Vec<Pod>,
    /// Its own revisions, orphans, and those of others whose names are in the way.
    revisions: Vec<ControllerRevision>,
    nodes: Vec<Node>,
    /// Since when each failed pod may be replaced.
    due: Due,
}

impl Controller for DaemonSets {
    type Key = Name;
    type Snapshot = Option<Snapshot>;

    fn name(&self) -> &'static str {
        "daemonset"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let [learning, choosing, all] = [(); 3].map(|()| self.selectors.clone());
        vec![
            Source::of::<DaemonSet>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| owner::keys::<DaemonSet>(change, Some(&choosing))),
            Source::of::<ControllerRevision>(|_| Vec::new()),
            // A node's heartbeats change nothing.
            Source::of::<Node>(move |change| {
                let decides = |node: Option<&Value>| {
                    node.map(|node| (node.pointer("/metadata/labels").cloned(), node.get("spec").cloned()))
                };
                if decides(change.before) == decides(change.after) { Vec::new() } else { all.names() }
            }),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(set) = cx.get_as::<DaemonSet>(Some(&key.namespace), &key.name).await? else {
            self.failures.forget(key);
            return Ok(None);
        };
        let pods = dependents::<Pod>(cx, &key.namespace, &set.metadata).await?;
        let prefix = format!("{}-", key.name);
        let revisions = select::<ControllerRevision>(cx, &key.namespace, |revision| {
            let name = revision.pointer("/metadata/name").and_then(Value::as_str);
            owner::concerns(revision, &set.metadata) || name.is_some_and(|name| name.starts_with(&prefix))
        });
        let revisions = revisions.await?;
        let nodes = everywhere::<Node>(cx, |_| true).await?;
        let due = self.failures.due(key, &set, &pods, cx.clock().now());
        Ok(Some(Snapshot { set, pods, revisions, nodes, due }))
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
