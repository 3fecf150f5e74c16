//! The status of a Deployment: counts and conditions. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::revision::Sets;
use super::size::{self, actual, available, replicas, sum, wanted};

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
const FAILURE: &str = "ReplicaFailure";

/// A condition that begins now.
pub(super) fn condition(of: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: of.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The condition of this type.
pub(super) fn find<'a>(status: &'a DeploymentStatus, of: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == of)
}

/// Puts a condition in. One of the same status and reason stays as it is; the time of the last transition is that of the status.
pub(super) fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(before) = find(status, &condition.type_) {
        if before.status == condition.status && before.reason == condition.reason {
            return;
        }
        if before.status == condition.status {
            condition.last_transition_time.clone_from(&before.last_transition_time);
        }
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

/// Takes a condition out.
pub(super) fn remove(status: &mut DeploymentStatus, of: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != of);
    }
}

/// Counts what the ReplicaSets report. Conditions are those of before, with availability as it is now.
pub(super) fn count(deployment: &Deployment, sets: &Sets<'_>, now: Timestamp) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let all = sets.all();
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let terminating: Option<Vec<i32>> = all.iter().map(|set| set.status.as_ref()?.terminating_replicas).collect();
    let usable = sum(all.iter().copied(), available);
    let missing = sum(all.iter().copied(), replicas).saturating_sub(usable).max(0);
    let some = |number: i32| (number != 0).then_some(number);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation.filter(|generation| *generation != 0),
        replicas: some(sum(all.iter().copied(), actual)),
        updated_replicas: some(sum(sets.new, actual)),
        ready_replicas: some(sum(all.iter().copied(), ready)),
        available_replicas: some(usable),
        unavailable_replicas: some(missing),
        terminating_replicas: terminating.map(|each| each.into_iter().fold(0, i32::saturating_add)),
        collision_count: before.collision_count,
        conditions: before.conditions,
    };
    let enough = usable >= wanted(deployment) - size::max_unavailable(deployment);
    let (is, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, condition(AVAILABLE, is, reason, message.to_owned(), now));
    status
}

/// Takes over the failure of a ReplicaSet, the newest one's first.
pub(super) fn failures(status: &mut DeploymentStatus, sets: &Sets<'_>) {
    let failure = |set: &ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == FAILURE).cloned()
    };
    let found = sets.new.and_then(failure).or_else(|| sets.old.iter().copied().find_map(failure));
    match found {
        Some(failure) => set(
            status,
            DeploymentCondition {
                type_: FAILURE.to_owned(),
                status: failure.status,
                reason: failure.reason,
                message: failure.message,
                last_update_time: failure.last_transition_time.clone(),
                last_transition_time: failure.last_transition_time,
            },
        ),
        None => remove(status, FAILURE),
    }
}

/// Whether the rollout is done: all pods are new and available, and nothing is left to be seen.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let all = Some(wanted(deployment)).filter(|number| *number != 0);
    status.updated_replicas == all
        && status.replicas == all
        && status.available_replicas == all
        && status.observed_generation >= deployment.metadata.generation
}
