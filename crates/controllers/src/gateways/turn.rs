//! What a rollout depends on besides the gateway's own objects: what others decided, and what its pods say; and which of
//! them stand in its way.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use paddock_api::{annotations, labels};
use paddock_reconcile::{Context, Error, Event, Kind, ObjectRef, Plan, object};
use serde_json::Value;

use super::controller::workload_ref;
use super::fleet::{self, ROLLOUT};
use super::intent::Intent;
use super::key::GatewayKey;
use super::pods;
use super::report::{has_ready, is_rolled_out};
use super::rollout::{Apply, Found, Progress, Step, Turn};
use super::waves::RolloutPolicy;

/// What was found. The default is that of a gateway that does not exist yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// Those of a workload that is not rolled out.
    pub(super) pods: Vec<pods::Pod>,
    /// The digest of the image that runs, as the ready pod of one that is rolled out tells it; empty when none does.
    pub(super) image_id: String,
    /// The platform's revision.
    pub(super) wave: Arc<str>,
    /// The revision that the gateway may take now.
    pub(super) admitted: Option<String>,
    pub(super) canary: bool,
    /// Versions that may be gone back to.
    pub(super) downgrades: Vec<String>,
}

impl Surroundings {
    /// Reads them. `home` is the control plane's namespace, `namespace` the gateway's own as an object.
    pub(super) async fn see(
        cx: &Context,
        key: &GatewayKey,
        home: &str,
        config: Option<&Value>,
        namespace: Option<&Value>,
        workload: Option<&Value>,
    ) -> Result<Self, Error> {
        let rollout = cx.get(&ObjectRef::of::<ConfigMap>(Some(home), ROLLOUT)).await?;
        let mut found = Self {
            admitted: rollout.and_then(|report| fleet::admitted(&report, key)),
            canary: namespace.and_then(|namespace| object::label(namespace, labels::ROLLOUT)) == Some("canary"),
            downgrades: [config, namespace]
                .into_iter()
                .flatten()
                .filter_map(|holder| object::annotation(holder, annotations::ALLOW_DOWNGRADE).map(str::to_owned))
                .collect(),
            ..Self::default()
        };
        if let Some(workload) = workload {
            let labelled = [(labels::TENANT, key.namespace())];
            let listed = cx.list(&Kind::of::<Pod>(), Some(key.namespace()), &labelled).await?;
            let mut pods = listed.iter().filter_map(|pod| pods::Pod::of(object::uid(workload), pod));
            if is_rolled_out(workload) {
                let runs =
                    |pod: &pods::Pod| pod.ready && !pod.terminating && pod.revision.as_deref() == revision_of(workload);
                found.image_id = pods.find(runs).map(|pod| pod.image_id).unwrap_or_default();
            } else {
                found.pods = pods.collect();
            }
        }
        Ok(found)
    }

    /// What others decided about `revision` of this gateway.
    pub(super) fn turn<'a>(
        &'a self,
        key: &GatewayKey,
        intent: &Intent,
        revision: &str,
        policy: &'a RolloutPolicy,
    ) -> Turn<'a> {
        let version = intent.version.to_string();
        Turn {
            admitted: self.admitted.as_deref() == Some(revision),
            wave: &self.wave,
            downgrade_allowed: self.downgrades.contains(&version),
            canary: self.canary
                || policy.canaries.contains(key.namespace())
                || policy.canaries.contains(&key.to_string()),
            policy,
        }
    }

    /// What is there of the workload.
    pub(super) fn found<'a>(&'a self, workload: Option<&'a Value>, has_node: bool) -> Found<'a> {
        let ours = |workload: &&Value| object::label(workload, labels::MANAGED_BY) == Some(labels::MANAGED_BY_PADDOCK);
        let workload = workload.filter(ours);
        Found {
            exists: workload.is_some(),
            revision: workload.and_then(revision_of),
            rolled_out: workload.is_some_and(|it| is_rolled_out(it) && has_ready(it)),
            scaled_away: workload.is_some_and(|it| it.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0)),
            objection: None,
            pods: &self.pods,
            has_node,
        }
    }
}

/// The revision of a workload's template.
pub(super) fn revision_of(workload: &Value) -> Option<&str> {
    workload.pointer("/spec/template/metadata/annotations")?.get(annotations::REVISION)?.as_str()
}

/// A StatefulSet waits for a pod of an earlier template before it makes one of the next; a pod that never gets ready is
/// waited for for ever. `pods` are those of the gateway's own workload: no other is ever deleted.
pub(super) fn clear_the_way(key: &GatewayKey, pods: &[pods::Pod], step: &Step, plan: &mut Plan) {
    if step.rolls_back
        && let Progress::RolledBack { why, .. } = &step.progress
    {
        let note = format!("the new revision failed: {why}; the last one that was ready is back");
        plan.event(Event::warning(workload_ref(key), "RolledBack", note));
    }
    if step.apply == Apply::Untouched {
        return;
    }
    for pod in pods.iter().filter(|pod| pod.blocks(&step.revision)) {
        plan.delete(ObjectRef::of::<Pod>(Some(key.namespace()), pod.name.clone()), pod.uid.clone());
    }
}
