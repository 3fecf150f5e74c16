//! Finished Jobs go after `ttlSecondsAfterFinished`. Reads through the engine's context; everything else is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/ttlafterfinished`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::PropagationPolicy;
use paddock_reconcile::{Act, Context, Controller, Error, ObjectRef, Plan, Settings, Source};

use crate::job::finished;
use crate::names::{Name, uid};

/// The controller.
#[derive(Debug, Default)]
pub struct TtlAfterFinished;

impl Controller for TtlAfterFinished {
    type Key = Name;
    type Snapshot = Option<Job>;

    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        vec![Source::of::<Job>(|change| {
            let expires = change.object().pointer("/spec/ttlSecondsAfterFinished").is_some();
            Name::of(change.object()).filter(|_| expires).into_iter().collect()
        })]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        cx.get_as::<Job>(Some(&key.namespace), &key.name).await
    }

    fn plan(&self, key: &Name, job: &Self::Snapshot, now: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let Some(job) = job.as_ref().filter(|job| job.metadata.deletion_timestamp.is_none()) else { return Ok(plan) };
        let Some(expires) = expiry(job) else { return Ok(plan) };
        if expires > now {
            plan.look_again_at(expires);
        } else {
            let target = ObjectRef::of::<Job>(Some(&key.namespace), &key.name);
            let act = Act::delete(target, uid(&job.metadata)).propagating(PropagationPolicy::Foreground);
            plan.step(vec![act]);
        }
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// When a finished Job is over.
fn expiry(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let ended = finished(job)?.last_transition_time.as_ref()?.0;
    ended.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paddock_reconcile::Verb;
    use serde_json::json;

    fn planned(conditions: serde_json::Value, now: &str) -> Plan {
        let job = json!({
            "metadata": {"name": "j", "namespace": "n", "uid": "u"},
            "spec": {"ttlSecondsAfterFinished": 60, "template": {}},
            "status": {"conditions": conditions},
        });
        let job: Job = serde_json::from_value(job).expect("a job");
        let now = now.parse().expect("a time");
        TtlAfterFinished.plan(&Name::new("n", "j"), &Some(job), now).expect("a plan")
    }

    fn complete() -> serde_json::Value {
        json!([{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    }

    #[test]
    fn finished_job_is_waited_for_until_its_time_is_over() {
        let plan = planned(complete(), "2026-01-01T00:00:59Z");
        assert!(plan.acts.is_empty());
        assert_eq!(plan.look_again, "2026-01-01T00:01:00Z".parse().ok());
    }

    #[test]
    fn job_whose_time_is_over_goes_with_its_pods_first() {
        let plan = planned(complete(), "2026-01-01T00:01:00Z");
        let Verb::Delete { uid, propagation, .. } = plan.acts[0][0].verb() else { panic!("no deletion") };
        assert_eq!((uid.as_str(), propagation), ("u", &Some(PropagationPolicy::Foreground)));
    }

    #[test]
    fn running_job_has_no_time() {
        let plan = planned(json!([]), "2036-01-01T00:00:00Z");
        assert!(plan.acts.is_empty() && plan.look_again.is_none());
    }
}
