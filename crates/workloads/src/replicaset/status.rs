//! The status of a ReplicaSet. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paddock_reconcile::{Act, Error};

use crate::pods;

const FAILURE: &str = "ReplicaFailure";

/// Counts the pods; conditions stay.
pub(super) fn count(set: &ReplicaSet, active: &[Pod], terminating: usize, now: Timestamp) -> ReplicaSetStatus {
    let spec = set.spec.as_ref();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = spec.and_then(|s| s.template.as_ref()?.metadata.as_ref()?.labels.as_ref());
    let labelled = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        template.into_iter().flatten().all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
    };
    let number = |of: &dyn Fn(&Pod) -> bool| whole(active.iter().filter(|pod| of(pod)).count());
    ReplicaSetStatus {
        replicas: whole(active.len()),
        fully_labeled_replicas: some(number(&labelled)),
        ready_replicas: some(number(&pods::is_ready)),
        available_replicas: some(number(&|pod| pods::is_available(pod, min_ready, now))),
        terminating_replicas: Some(whole(terminating)),
        observed_generation: set.metadata.generation.filter(|generation| *generation != 0),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

/// The write of a status after nothing failed; `None` when the object says so already.
pub(super) fn report(set: &ReplicaSet, mut status: ReplicaSetStatus) -> Result<Option<Act>, Error> {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != FAILURE);
    }
    write(set, status)
}

/// The write of a status after pods could not be made or deleted.
pub(super) fn report_failure(
    set: &ReplicaSet,
    mut status: ReplicaSetStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Result<Option<Act>, Error> {
    let conditions = status.conditions.get_or_insert_default();
    // The first failure is the one that is told.
    if !conditions.iter().any(|condition| condition.type_ == FAILURE) {
        conditions.push(ReplicaSetCondition {
            type_: FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(Time(now)),
        });
    }
    write(set, status)
}

fn write(set: &ReplicaSet, mut status: ReplicaSetStatus) -> Result<Option<Act>, Error> {
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    if set.status.as_ref() == Some(&status) {
        return Ok(None);
    }
    Act::update_status(&ReplicaSet { status: Some(status), ..set.clone() }).map(Some)
}

fn whole(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Zero is not written.
fn some(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}
