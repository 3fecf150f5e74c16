//! Evictions that came to nothing: a Pod that says that it is being disrupted, and two minutes later is still there, says so no more.
//! Reads through the engine's context; the rest is pure.
//!
//! Rules: `syncStalePodDisruption` of kube-controller-manager's `pkg/controller/disruption`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paddock_reconcile::{Act, Context, Controller, Error, Plan, Settings, Source};
use serde_json::Value;

use crate::names::Name;
use crate::pods;

/// How long a disruption may take to begin.
const TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const CONDITION: &str = "DisruptionTarget";
/// A kubelet's own disruptions may take as long as they like.
const BY_KUBELET: &str = "TerminationByKubelet";

/// The controller.
#[derive(Debug, Default)]
pub struct StaleDisruptions;

impl Controller for StaleDisruptions {
    type Key = Name;
    type Snapshot = Option<Pod>;

    fn name(&self) -> &'static str {
        "stale-disruption"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        vec![Source::of::<Pod>(|change| {
            let conditions = change.object().pointer("/status/conditions").and_then(Value::as_array);
            let says = conditions.into_iter().flatten().any(|c| c["type"] == CONDITION && c["status"] == "True");
            Name::of(change.object()).filter(|_| says).into_iter().collect()
        })]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        cx.get_as::<Pod>(Some(&key.namespace), &key.name).await
    }

    fn plan(&self, _: &Name, pod: &Self::Snapshot, now: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let Some((pod, since)) = pod.as_ref().and_then(|pod| Some((pod, disrupted_since(pod)?))) else {
            return Ok(plan);
        };
        match since.checked_add(TIMEOUT) {
            Ok(stale) if stale > now => {
                plan.look_again_at(stale);
            }
            _ => {
                plan.step(vec![Act::update_status(&reset(pod, now))?]);
            }
        }
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// Since when a pod that goes on says that it is being disrupted.
fn disrupted_since(pod: &Pod) -> Option<Timestamp> {
    if pod.metadata.deletion_timestamp.is_some() || matches!(pods::phase(pod), "Succeeded" | "Failed") {
        return None;
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == CONDITION)?;
    let stays = condition.status != "True" || condition.reason.as_deref() == Some(BY_KUBELET);
    // Without a time it is as old as can be.
    (!stays).then(|| condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// The pod, saying that it is not being disrupted.
fn reset(pod: &Pod, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    if let Some(condition) = conditions.iter_mut().find(|c| c.type_ == CONDITION) {
        *condition = PodCondition {
            type_: CONDITION.to_owned(),
            status: "False".to_owned(),
            last_transition_time: Some(Time(now)),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        };
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, at, pod};
    use serde_json::json;

    fn planned(phase: &str, reason: &str, now: &str) -> Plan {
        let condition = json!({"type": CONDITION, "status": "True", "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T01:00:00Z"});
        let more = json!({"metadata": {"generation": 1}, "status": {"phase": phase, "conditions": [condition]}});
        let pod = pod("p", ("ReplicaSet", "r", "r"), &more);
        StaleDisruptions.plan(&Name::new("n", "p"), &Some(pod), at(now)).expect("a plan")
    }

    #[test]
    fn disruption_is_waited_for_two_minutes() {
        let plan = planned("Running", "EvictionByEvictionAPI", "01:01:59");
        assert_eq!((plan.acts.len(), plan.look_again), (0, Some(at("01:02:00"))));
    }

    #[test]
    fn disruption_that_came_to_nothing_is_taken_back() {
        let plan = planned("Running", "EvictionByEvictionAPI", "01:02:00");
        let status = fixtures::status(&plan).expect("a status");
        let expected = json!({"type": CONDITION, "status": "False", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T01:02:00Z"});
        assert_eq!(status["conditions"], json!([expected]));
    }

    #[test]
    fn what_a_kubelet_said_and_what_has_ended_stays() {
        for (phase, reason) in [("Running", BY_KUBELET), ("Failed", "EvictionByEvictionAPI")] {
            let plan = planned(phase, reason, "02:00:00");
            assert_eq!((plan.acts.len(), plan.look_again), (0, None), "{phase} {reason}");
        }
    }
}
