//! What one pass does for a ReplicaSet: claim, then create or delete, then report. Pure.

use std::cmp::Ordering;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Act, Error, Kind, Plan};

use super::{Snapshot, node, status};
use crate::events::About;
use crate::names::{name, namespace, uid};
use crate::owner::{Claimed, claim};
use crate::pods;

/// Pods made or deleted in one pass.
const BURST: usize = 500;

pub(super) fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
    let Snapshot { set, pods, .. } = snapshot;
    let mut plan = Plan::new();
    let Some(spec) = &set.spec else { return Ok(plan) };
    let Claimed { owned, claims } = claim(set, &spec.selector, pods.iter().cloned(), pods::is_active, None);
    let claiming = !claims.is_empty();
    plan.step(claims);
    let (mut active, rest): (Vec<Pod>, Vec<Pod>) = owned.into_iter().partition(pods::is_active);
    let terminating = rest.iter().filter(|pod| pods::is_terminating(pod)).count();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let counted = status::count(set, &active, terminating, now);
    // What is claimed counts from the next pass on.
    if set.metadata.deletion_timestamp.is_none() && !claiming {
        let failed = match active.len().cmp(&wanted) {
            Ordering::Less => {
                plan.step(creations(set, (wanted - active.len()).min(BURST))?);
                "FailedCreate"
            }
            Ordering::Equal => "",
            Ordering::Greater => {
                let excess = (active.len() - wanted).min(BURST);
                plan.step(deletions(snapshot, &mut active, excess, now));
                "FailedDelete"
            }
        };
        if !failed.is_empty() {
            let (set, counted) = (set.clone(), counted.clone());
            plan.on_error(move |error| {
                let mut report = Plan::new();
                let told = match error {
                    // The namespace ends: nobody reads it any more.
                    Error::Waiting { .. } => status::report(&set, counted.clone()),
                    error => status::report_failure(&set, counted.clone(), failed, error.message(), now),
                };
                report.step(told.ok().flatten().into_iter().collect());
                report
            });
        }
    }
    plan.step(status::report(set, counted)?.into_iter().collect());
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    if let Some(at) = pods::next_available(&active, min_ready, now) {
        plan.look_again_at(at);
    }
    Ok(plan)
}

fn creations(set: &ReplicaSet, number: usize) -> Result<Vec<Act>, Error> {
    let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return Ok(Vec::new()) };
    let (pod, about) = (pods::from_template(template, set), About::new(set));
    let create = Act::create(&pod)?;
    Ok((0..number).map(|_| about.creation("pod", create.clone())).collect())
}

fn deletions(snapshot: &Snapshot, active: &mut [Pod], excess: usize, now: Timestamp) -> Vec<Act> {
    let shared = |pod: &Pod| node(pod).and_then(|node| snapshot.per_node.get(node)).copied().unwrap_or(0);
    let ranks = active.iter().map(|pod| (uid(&pod.metadata).to_owned(), shared(pod))).collect();
    pods::least_useful_first(active, &ranks, now);
    let about = About::new(&snapshot.set);
    let delete = |pod: &Pod| {
        let target = Kind::of::<Pod>().named(Some(namespace(&pod.metadata)), name(&pod.metadata));
        about.deletion("pod", Act::delete(target, uid(&pod.metadata)))
    };
    active.iter().take(excess).map(delete).collect()
}
