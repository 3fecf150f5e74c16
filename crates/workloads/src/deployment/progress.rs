//! Whether a rollout gets on, and when it is out of time. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};

use super::revision::Sets;
use super::status::{self, PROGRESSING, condition, find, is_complete};
use crate::names::name;

const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The progress deadline, when there is one.
pub(super) fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

/// The status after a change of `spec.paused`, when it has to be told.
pub(super) fn pause(deployment: &Deployment, now: Timestamp) -> Option<DeploymentStatus> {
    deadline(deployment)?;
    let mut status = deployment.status.clone().unwrap_or_default();
    let reason = find(&status, PROGRESSING).and_then(|condition| condition.reason.as_deref());
    let paused = deployment.spec.as_ref().is_some_and(|spec| spec.paused == Some(true));
    let told = match (paused, reason) {
        // That time ran out is not covered up.
        (_, Some(TIMED_OUT)) => return None,
        (true, reason) if reason != Some(PAUSED) => (PAUSED, "Deployment is paused"),
        (false, Some(PAUSED)) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return None,
    };
    status::set(&mut status, condition(PROGRESSING, "Unknown", told.0, told.1.to_owned(), now));
    Some(status)
}

/// Puts the progress of a rollout into its status.
pub(super) fn judge(deployment: &Deployment, sets: &Sets<'_>, status: &mut DeploymentStatus, now: Timestamp) {
    let before = deployment.status.clone().unwrap_or_default();
    let current = find(&before, PROGRESSING);
    let Some(deadline) = deadline(deployment) else { return status::remove(status, PROGRESSING) };
    let was_done = current.is_some_and(|c| c.reason.as_deref() == Some(DONE));
    if was_done && status.replicas == status.updated_replicas {
        return;
    }
    let what = sets.new.map_or_else(
        || format!("Deployment {:?}", name(&deployment.metadata)),
        |new| format!("ReplicaSet {:?}", name(&new.metadata)),
    );
    let told = |is: &str, reason: &str, how: &str| condition(PROGRESSING, is, reason, format!("{what} {how}"), now);
    if is_complete(deployment, status) {
        status::set(status, told("True", DONE, "has successfully progressed."));
    } else if progressed(&before, status) {
        let mut condition = told("True", "ReplicaSetUpdated", "is progressing.");
        // Told anew each time, so that the deadline counts from the last progress.
        if let Some(current) = current {
            if current.status == "True" {
                condition.last_transition_time.clone_from(&current.last_transition_time);
            }
            status::remove(status, PROGRESSING);
        }
        status::set(status, condition);
    } else if timed_out(status, deadline, now) {
        status::set(status, told("False", TIMED_OUT, "has timed out progressing."));
    }
}

fn progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let number = |of: Option<i32>| of.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(now.updated_replicas) > number(before.updated_replicas)
        || old(now) < old(before)
        || number(now.ready_replicas) > number(before.ready_replicas)
        || number(now.available_replicas) > number(before.available_replicas)
}

fn timed_out(status: &DeploymentStatus, deadline: SignedDuration, now: Timestamp) -> bool {
    let Some(condition) = find(status, PROGRESSING) else { return false };
    match condition.reason.as_deref() {
        Some(DONE) => false,
        Some(TIMED_OUT) => true,
        _ => condition.last_update_time.as_ref().is_some_and(|since| now.duration_since(since.0) > deadline),
    }
}

/// When to look whether a rollout that stands still is out of time.
pub(super) fn look_again(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let condition = find(status, PROGRESSING)?;
    if is_complete(deployment, status) || condition.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    // A second later than the deadline, since time stamps have whole seconds.
    let wait = deadline(deployment)?.checked_add(SignedDuration::from_secs(1))?;
    condition.last_update_time.as_ref()?.0.checked_add(wait).ok()
}
