//! What one pass does for a budget: count, forget evictions that came to nothing, report. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paddock_reconcile::{Act, Error, Event, Plan, When};

use super::Snapshot;
use crate::amounts::{Round, scaled};
use crate::events::About;
use crate::names::{name, namespace};
use crate::{owner, pods};

/// How long an eviction may take before the pod counts as healthy again.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);

const CONDITION: &str = "DisruptionAllowed";

/// Whether the number of pods is asked of their controllers: `minAvailable` as a number needs none.
pub(super) fn asks_for_scales(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

pub(super) fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
    let Snapshot { budget, pods, .. } = snapshot;
    let (mut plan, about) = (Plan::new(), About::new(budget));
    if pods.is_empty() {
        let event = about.normal("NoPods", "No matching pods found");
        plan.event(Event { when: When::Planned, ..event });
    }
    let expected = match expected(snapshot, &mut plan, &about) {
        Ok(expected) => expected,
        Err(why) => {
            plan.event(about.warning(
                "CalculateExpectedPodCountFailed",
                format!("Failed to calculate the number of expected pods: {why}"),
            ));
            plan.step(failed(budget, &why, now)?.into_iter().collect());
            return Ok(plan);
        }
    };
    let (disrupted, recheck) = disrupted(snapshot, &mut plan, now);
    if let Some(at) = recheck {
        plan.look_again_at(at);
    }
    let counts = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_none() && !disrupted.contains_key(name(&pod.metadata)) && pods::is_ready(pod)
    };
    let healthy = whole(pods.iter().filter(|pod| counts(pod)).count());
    let allowed = if expected.pods <= 0 { 0 } else { healthy.saturating_sub(expected.healthy).max(0) };
    let mut status = PodDisruptionBudgetStatus {
        observed_generation: budget.metadata.generation,
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        conditions: budget.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    let (is, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    condition(&mut status, is, reason, "", now);
    plan.step(write(budget, status)?.into_iter().collect());
    Ok(plan)
}

struct Expected {
    pods: i32,
    healthy: i32,
}

/// How many pods there should be and how many of them must be healthy.
fn expected(snapshot: &Snapshot, plan: &mut Plan, about: &About) -> Result<Expected, String> {
    let spec = snapshot.budget.spec.as_ref();
    let min = spec.and_then(|spec| spec.min_available.as_ref());
    let max = spec.and_then(|spec| spec.max_unavailable.as_ref());
    let share = |value: &IntOrString, of: i32| whole(scaled(value, usize::try_from(of).unwrap_or(0), Round::Up));
    match (max, min) {
        (Some(max), _) => {
            let pods = scales(snapshot, plan, about)?;
            Ok(Expected { pods, healthy: pods.saturating_sub(share(max, pods)).max(0) })
        }
        (None, Some(IntOrString::Int(min))) => Ok(Expected { pods: whole(snapshot.pods.len()), healthy: *min }),
        (None, Some(min)) => {
            let pods = scales(snapshot, plan, about)?;
            Ok(Expected { pods, healthy: share(min, pods) })
        }
        (None, None) => Ok(Expected { pods: 0, healthy: 0 }),
    }
}

/// The sum of what the controllers of the pods want.
fn scales(snapshot: &Snapshot, plan: &mut Plan, about: &About) -> Result<i32, String> {
    let (mut counted, mut sum) = (BTreeSet::new(), 0_i32);
    let mut unmanaged = false;
    for pod in &snapshot.pods {
        let Some(by) = owner::controller(&pod.metadata) else {
            unmanaged = true;
            continue;
        };
        match snapshot.scales.get(&by.uid) {
            Some(Ok(Some(scale))) => {
                if counted.insert(scale.uid.clone()) {
                    sum = sum.saturating_add(scale.replicas);
                }
            }
            Some(Err(why)) => return Err(why.clone()),
            _ => return Err(format!("found no controllers for pod {:?}", name(&pod.metadata))),
        }
    }
    if unmanaged {
        let selector = snapshot.budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = selector.map(go_selector).unwrap_or_default();
        plan.event(about.warning(
            "UnmanagedPods",
            format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of \
                 the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
                 \".spec.minAvailable\" field of the PDB to an integer value."
            ),
        ));
    }
    Ok(sum)
}

/// A selector as Go prints it.
fn go_selector(selector: &LabelSelector) -> String {
    let labels: Vec<String> =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},")).collect();
    let terms = selector.match_expressions.iter().flatten().map(|term| {
        let values = term.values.clone().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", term.key, term.operator)
    });
    let terms: String = terms.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{terms}}},}}",
        labels.join("")
    )
}

/// Evictions that are under way still, and when the first of them is late.
fn disrupted(snapshot: &Snapshot, plan: &mut Plan, now: Timestamp) -> (BTreeMap<String, Time>, Option<Timestamp>) {
    let budget = &snapshot.budget;
    let noted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let (mut left, mut recheck) = (BTreeMap::new(), None::<Timestamp>);
    for (pod_name, since) in noted.into_iter().flatten() {
        let Some(pod) = snapshot.pods.iter().find(|pod| name(&pod.metadata) == pod_name) else { continue };
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let late = since.0.checked_add(DELETION_TIMEOUT).unwrap_or(now);
        if late < now {
            let note = format!(
                "Pod was expected by PDB {}/{} to be deleted but it wasn't",
                namespace(&budget.metadata),
                name(&budget.metadata)
            );
            plan.event(About::new(pod).warning("NotDeleted", note));
        } else {
            recheck = Some(recheck.map_or(late, |first| first.min(late)));
            left.insert(pod_name.clone(), since.clone());
        }
    }
    (left, recheck)
}

/// Nothing may be evicted while the numbers are not known.
fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> Result<Option<Act>, Error> {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    status.observed_generation = budget.metadata.generation;
    for number in [&mut status.current_healthy, &mut status.desired_healthy, &mut status.expected_pods] {
        number.get_or_insert(0);
    }
    condition(&mut status, "False", "SyncFailed", why, now);
    write(budget, status)
}

fn condition(status: &mut PodDisruptionBudgetStatus, is: &str, reason: &str, message: &str, now: Timestamp) {
    let all = status.conditions.get_or_insert_default();
    let old = all.iter_mut().find(|condition| condition.type_ == CONDITION);
    let since =
        old.as_ref().filter(|old| old.status == is).map_or_else(|| Time(now), |o| o.last_transition_time.clone());
    let new = Condition {
        type_: CONDITION.to_owned(),
        status: is.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time: since,
    };
    match old {
        Some(old) => *old = new,
        None => all.push(new),
    }
}

/// The write of a status; `None` when the object says so already.
fn write(budget: &PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> Result<Option<Act>, Error> {
    if budget.status.as_ref() == Some(&status) {
        return Ok(None);
    }
    Act::update_status(&PodDisruptionBudget { status: Some(status), ..budget.clone() }).map(Some)
}

fn whole(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
