//! How long a Job waits before it replaces failed Pods: 10 s doubling to 10 min. Pure.
//!
//! kube-controller-manager keeps the failures in memory; here they are counted anew from the Pods that are there, so a restart
//! forgets nothing.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::policy::{is_failed, judge};
use crate::pods::{condition, phase};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(600);

/// When a Pod ended, as near as it can be told.
pub(super) fn ended(pod: &Pod) -> Timestamp {
    let status = pod.status.as_ref();
    let containers: Vec<&ContainerStatus> =
        status.into_iter().flat_map(|s| s.container_statuses.iter().flatten()).collect();
    let finished =
        |container: &&ContainerStatus| Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0);
    let latest =
        containers.iter().filter_map(finished).max().filter(|_| containers.iter().all(|c| finished(c).is_some()));
    let unready = || {
        let ready = condition(pod, "Ready").filter(|ready| ready.status == "False")?;
        Some(ready.last_transition_time.as_ref()?.0)
    };
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    latest.or_else(unready).or_else(deleted).or_else(created).unwrap_or(Timestamp::MIN)
}

/// When the next Pod may be made, after these Pods ended: the failures since the last success decide.
pub(super) fn next(spec: &JobSpec, pods: &[Pod]) -> Option<Timestamp> {
    let success = pods.iter().filter(|pod| phase(pod) == "Succeeded").map(ended).max();
    let counts = |pod: &&Pod| is_failed(pod, spec) && judge(spec, pod).counts();
    let failures: Vec<Timestamp> =
        pods.iter().filter(counts).map(ended).filter(|at| success.is_none_or(|success| *at > success)).collect();
    let last = failures.iter().copied().max()?;
    last.checked_add(wait(failures.len())).ok()
}

/// The wait after this many failures in a row.
pub(super) fn wait(failures: usize) -> SignedDuration {
    let Some(doubled) = failures.checked_sub(1) else { return SignedDuration::ZERO };
    let factor = 1_i32.checked_shl(u32::try_from(doubled).unwrap_or(u32::MAX)).filter(|factor| *factor > 0);
    factor.and_then(|factor| FIRST.checked_mul(factor)).map_or(LONGEST, |wait| wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_doubles_from_10_s_to_10_min() {
        let waits: Vec<i64> = (0..9).chain([40]).map(|failures| wait(failures).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
    }
}
