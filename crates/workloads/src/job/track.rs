//! Counting Pods exactly once: uids into the status, finalizers off, uids into numbers. Pure.

use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::Act;
use serde_json::json;

use super::FINALIZER;
use super::conditions::End;
use super::indexes;
use super::manage::delayed;
use super::plan::{Pass, is_indexed};
use super::policy::{is_failed, judge};
use crate::names::uid;
use crate::owner;
use crate::pods::phase;

/// Most uids that a status holds: it stays below 20 KB.
const MOST: usize = 500;

/// Whether a Pod is yet to be counted.
pub(super) fn tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Takes the finalizer off.
pub(super) fn untrack(pod: &Pod) -> Act {
    owner::patch(pod, &json!({"uid": uid(&pod.metadata), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}))
}

/// What is left to do after the status is written.
#[derive(Debug)]
pub(super) struct Tracking {
    /// Finalizers that go.
    pub(super) untrack: Vec<Act>,
    /// Uids in the status that are no numbers yet.
    pub(super) pending: usize,
    /// Whether more Pods wait than the status can hold.
    pub(super) is_full: bool,
}

/// Brings the counters of a status forward by one step.
pub(super) fn track(pass: &Pass<'_>, status: &mut JobStatus, end: Option<&End>) -> Tracking {
    let completions = pass.spec.completions.unwrap_or(0);
    let (indexed, going) = (is_indexed(pass.spec), pass.job.metadata.deletion_timestamp.is_some());
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let (mut good, mut bad) =
        (uncounted.succeeded.take().unwrap_or_default(), uncounted.failed.take().unwrap_or_default());
    let waits = |of: &String| pass.pods.iter().any(|pod| tracked(pod) && uid(&pod.metadata) == of);
    let count = |uids: &mut Vec<String>, counter: &mut Option<i32>| {
        let before = uids.len();
        uids.retain(waits);
        let counted = super::plan::whole(before - uids.len());
        if counted > 0 {
            *counter = Some(counter.unwrap_or(0).saturating_add(counted));
        }
    };
    count(&mut good, &mut status.succeeded);
    count(&mut bad, &mut status.failed);
    let delayed = delayed(pass);
    let (mut untracked, mut new_indexes, mut is_full) = (Vec::new(), 0, false);
    for pod in pass.pods.iter().filter(|pod| tracked(pod)) {
        let (of, failed) = (uid(&pod.metadata).to_owned(), is_failed(pod, pass.spec));
        let index = indexes::of(pod, completions);
        let succeeded = phase(pod) == "Succeeded";
        let is_delayed = index.and_then(|index| delayed.get(&index)).is_some_and(|kept| uid(&kept.metadata) == of);
        if !(going || end.is_some() || succeeded || (failed && !is_delayed)) {
            continue;
        }
        untracked.push(untrack(pod));
        if succeeded && !bad.contains(&of) {
            if indexed {
                new_indexes += usize::from(index.is_some_and(|index| !pass.done_before.has(index)));
            } else if !good.contains(&of) {
                good.push(of);
            }
        } else if (failed || end.is_some_and(|end| !end.succeeds))
            && !bad.contains(&of)
            && (!indexed || index.is_some())
            && (pass.spec.pod_failure_policy.is_none() || judge(pass.spec, pod).counts())
        {
            bad.push(of);
        }
        if new_indexes + good.len() + bad.len() >= MOST {
            is_full = true;
            break;
        }
    }
    if indexed {
        status.succeeded = Some(pass.done.total()).filter(|number| *number != 0);
        status.completed_indexes = Some(pass.done.to_string()).filter(|text| !text.is_empty());
        status.failed_indexes = pass.lost.as_ref().map(ToString::to_string);
    }
    let pending = good.len() + bad.len();
    let some = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    (uncounted.succeeded, uncounted.failed) = (some(good), some(bad));
    Tracking { untrack: untracked, pending, is_full }
}
