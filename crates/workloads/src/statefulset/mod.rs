//! StatefulSets: pods with a name, an order and claims of their own. Reads through the engine's context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/statefulset`.

mod claims;
mod identity;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use paddock_reconcile::{Context, Controller, Error, Plan, Settings, Source};
use serde_json::Value;

use crate::names::{Name, name};
use crate::owner;
use crate::selector::Selectors;
use crate::snapshots::{dependents, select};

/// The controller.
#[derive(Debug, Default)]
pub struct StatefulSets {
    selectors: Selectors,
}

/// What is known of one StatefulSet.
#[derive(Debug)]
pub struct Snapshot {
    set: StatefulSet,
    /// Its own pods and orphans.
    pods: Vec<Pod>,
    /// Its own revisions, orphans, and those of others whose names are in the way.
    revisions: Vec<ControllerRevision>,
    /// By name: at least those of its ordinals.
    claims: BTreeMap<String, PersistentVolumeClaim>,
}

impl Controller for StatefulSets {
    type Key = Name;
    type Snapshot = Option<Snapshot>;

    fn name(&self) -> &'static str {
        "statefulset"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, choosing) = (self.selectors.clone(), self.selectors.clone());
        vec![
            Source::of::<StatefulSet>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| owner::keys::<StatefulSet>(change, Some(&choosing))),
            Source::of::<ControllerRevision>(|_| Vec::new()),
            // A claim that goes may be waited for.
            Source::of::<PersistentVolumeClaim>(|change| {
                let owners = change.object().pointer("/metadata/ownerReferences").and_then(Value::as_array);
                let set = owners.and_then(|owners| claims::set_of(owners)).filter(|_| change.after.is_none());
                let of = |set: &str| Some(Name::new(Name::of(change.object())?.namespace, set));
                set.and_then(of).into_iter().collect()
            }),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(set) = cx.get_as::<StatefulSet>(Some(&key.namespace), &key.name).await? else { return Ok(None) };
        let pods = dependents::<Pod>(cx, &key.namespace, &set.metadata).await?;
        let prefix = format!("{}-", key.name);
        let named = |object: &Value| object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        let revisions = select::<ControllerRevision>(cx, &key.namespace, |revision| {
            owner::concerns(revision, &set.metadata) || named(revision).is_some_and(|name| name.starts_with(&prefix))
        });
        let revisions = revisions.await?;
        let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        let prefixes: Vec<String> = templates.map(|t| format!("{}-{}-", name(&t.metadata), key.name)).collect();
        let mut claims = BTreeMap::new();
        if !prefixes.is_empty() {
            let ours = |claim: &Value| named(claim).is_some_and(|name| prefixes.iter().any(|p| name.starts_with(p)));
            for claim in select::<PersistentVolumeClaim>(cx, &key.namespace, ours).await? {
                claims.insert(name(&claim.metadata).to_owned(), claim);
            }
        }
        Ok(Some(Snapshot { set, pods, revisions, claims }))
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
