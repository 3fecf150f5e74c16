//! How many pods a Deployment may have: surge, unavailability, and the counts of its ReplicaSets. Pure.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::amounts::{self, Round};
use crate::names::name;

/// Pods asked for.
pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn strategy(deployment: &Deployment) -> &str {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate")
}

/// Whether all old pods end before the first new one is made.
pub(super) fn recreates(deployment: &Deployment) -> bool {
    strategy(deployment) == "Recreate"
}

/// Whether pods are replaced little by little.
pub(super) fn rolls(deployment: &Deployment) -> bool {
    strategy(deployment) == "RollingUpdate"
}

/// A number, or a share of `total`.
fn scaled(value: Option<&IntOrString>, total: i32, round: Round) -> i32 {
    let total = usize::try_from(total).unwrap_or(0);
    i32::try_from(value.map_or(0, |value| amounts::scaled(value, total, round))).unwrap_or(i32::MAX)
}

fn parameters(spec: &DeploymentSpec) -> (Option<&IntOrString>, Option<&IntOrString>) {
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    (rolling.and_then(|r| r.max_surge.as_ref()), rolling.and_then(|r| r.max_unavailable.as_ref()))
}

/// Pods above the wanted number while rolling, and pods that may be missing. Not both are zero.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let Some(spec) = &deployment.spec else { return (0, 0) };
    let (surge, unavailable) = parameters(spec);
    let total = wanted(deployment);
    match (scaled(surge, total, Round::Up), scaled(unavailable, total, Round::Down)) {
        (0, 0) => (0, 1),
        both => both,
    }
}

/// Pods above the wanted number while rolling.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if rolls(deployment) { fenceposts(deployment).0 } else { 0 }
}

/// Wanted pods that may be unavailable while rolling.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    if !rolls(deployment) || wanted(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(wanted(deployment))
}

/// Pods that a ReplicaSet asks for.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Pods that a ReplicaSet has.
pub(super) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Pods of a ReplicaSet that are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// The sum over ReplicaSets.
pub(super) fn sum<'a>(sets: impl IntoIterator<Item = &'a ReplicaSet>, of: impl Fn(&ReplicaSet) -> i32) -> i32 {
    sets.into_iter().map(of).fold(0, i32::saturating_add)
}

/// Oldest first.
pub(super) fn by_age(sets: &mut [&ReplicaSet]) {
    sets.sort_by_key(|set| age(set));
}

/// What orders by age.
pub(super) fn age(set: &ReplicaSet) -> (Option<jiff::Timestamp>, String) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), name(&set.metadata).to_owned())
}

/// How many pods the newest ReplicaSet should have now. `all` includes it.
pub(super) fn of_newest(deployment: &Deployment, all: i32, newest: i32) -> i32 {
    if !rolls(deployment) {
        return wanted(deployment);
    }
    let surge = deployment.spec.as_ref().map_or(0, |spec| scaled(parameters(spec).0, wanted(deployment), Round::Up));
    let most = wanted(deployment).saturating_add(surge);
    if all >= most {
        return newest;
    }
    newest.saturating_add((most - all).min(wanted(deployment) - newest))
}
