//! The status of a StatefulSet. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Act, Error};

use super::identity::revision;
use crate::pods;

/// What pods are counted by.
#[derive(Clone, Debug)]
pub(super) struct Revisions {
    pub(super) current: String,
    pub(super) update: String,
    pub(super) collisions: i32,
}

pub(super) fn is_running_and_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

pub(super) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    pods::phase(pod) == "Running" && pods::is_available(pod, min_ready, now)
}

/// Whether it does not serve, or soon will not.
pub(super) fn is_unavailable(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    pod.metadata.deletion_timestamp.is_some() || !is_available(pod, min_ready, now)
}

/// Counts pods.
pub(super) fn count(set: &StatefulSet, revisions: &Revisions, pods: &[Pod], now: Timestamp) -> StatefulSetStatus {
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let number = |of: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|p| of(p)).count()).unwrap_or(i32::MAX);
    let created = |pod: &Pod| !pods::phase(pod).is_empty();
    let of =
        |pod: &Pod, wanted: &str| created(pod) && pod.metadata.deletion_timestamp.is_none() && revision(pod) == wanted;
    StatefulSetStatus {
        observed_generation: set.metadata.generation.filter(|generation| *generation != 0),
        replicas: number(&created),
        ready_replicas: Some(number(&is_running_and_ready)),
        available_replicas: Some(number(&|pod| is_available(pod, min_ready, now))),
        current_replicas: Some(number(&|pod| of(pod, &revisions.current))),
        updated_replicas: Some(number(&|pod| of(pod, &revisions.update))),
        current_revision: Some(revisions.current.clone()),
        update_revision: Some(revisions.update.clone()),
        collision_count: Some(revisions.collisions),
        conditions: None,
    }
}

/// The write of a status; `None` when the object says so already. An update that is through makes its revision the current
/// one.
pub(super) fn report(set: &StatefulSet, mut status: StatefulSetStatus) -> Result<Option<Act>, Error> {
    let spec = set.spec.as_ref();
    let wanted = Some(spec.and_then(|spec| spec.replicas).unwrap_or(1));
    let rolling = spec.and_then(|s| s.update_strategy.as_ref()?.type_.as_deref()) == Some("RollingUpdate");
    let all = [status.updated_replicas, status.ready_replicas, Some(status.replicas)];
    if rolling && all.iter().all(|number| *number == wanted) {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    for zero in [&mut status.ready_replicas, &mut status.current_replicas, &mut status.updated_replicas] {
        *zero = zero.filter(|number| *number != 0);
    }
    if set.status.as_ref() == Some(&status) {
        return Ok(None);
    }
    Act::update_status(&StatefulSet { status: Some(status), ..set.clone() }).map(Some)
}
