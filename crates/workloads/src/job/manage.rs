//! How many Pods a Job runs, which ones, and with which index. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec};
use paddock_reconcile::{Act, Error, Kind};

use super::indexes::{self, INDEX, Indexes};
use super::plan::{Pass, is_indexed, is_suspended, whole};
use super::policy::{Judgement, is_failed, judge, replaces_only_failed};
use super::track::{tracked, untrack};
use super::{FINALIZER, backoff};
use crate::events::About;
use crate::names::{annotation, name, namespace, uid};
use crate::pods;

const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
/// Pods made or deleted in one pass.
const BURST: usize = 500;
/// Longest name that the server completes.
const LONGEST_PREFIX: usize = 58;

/// What is done about the number of Pods, and what is told of it.
#[derive(Debug, Default)]
pub(super) struct Managed {
    pub(super) steps: Vec<Vec<Act>>,
    pub(super) active: i32,
    pub(super) ready: i32,
    /// Pods whose deletion begins.
    pub(super) terminating: i32,
    /// Whether Pods are made, which can be refused.
    pub(super) creates: bool,
    pub(super) look_again: Option<Timestamp>,
}

/// Deletes a Pod and tells of it.
pub(super) fn delete(about: &About, pod: &Pod) -> Act {
    let target = Kind::of::<Pod>().named(Some(namespace(&pod.metadata)), name(&pod.metadata));
    about.deletion("pod", Act::delete(target, uid(&pod.metadata)))
}

pub(super) fn manage(pass: &Pass<'_>, about: &About) -> Result<Managed, Error> {
    let (spec, active) = (pass.spec, whole(pass.active.len()));
    let ready = whole(pass.active.iter().filter(|pod| pods::is_ready(pod)).count());
    let stay = Managed { active, ready, ..Managed::default() };
    if is_suspended(spec) {
        return Ok(removed(pass, about, surplus(pass, pass.active.len())));
    }
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        // One success is enough: what runs may end, nothing new begins.
        None if pass.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => (completions - pass.succeeded).min(parallelism).max(0),
    };
    let mut surplus = surplus(pass, usize::try_from(active - wanted).unwrap_or(0));
    surplus.truncate(BURST);
    if !surplus.is_empty() {
        return Ok(removed(pass, about, surplus));
    }
    let terminating = if replaces_only_failed(spec) { pass.terminating } else { 0 };
    let missing = usize::try_from(wanted - terminating - active).unwrap_or(0).min(BURST);
    if missing == 0 {
        return Ok(stay);
    }
    // As kube-controller-manager tells it while it waits.
    let wait = |until| Managed { active: 0, ready, look_again: Some(until), ..Managed::default() };
    if spec.backoff_limit_per_index.is_none()
        && let Some(until) = pass.backoff()
    {
        return Ok(wait(until));
    }
    if !is_indexed(spec) {
        let act = about.creation("pod", Act::create(&pod(pass, None, None))?);
        return Ok(created(stay, vec![act; missing]));
    }
    let delayed = delayed(pass);
    let (now, later): (Vec<i32>, Vec<i32>) =
        pending(pass, missing).into_iter().partition(|index| free_at(delayed.get(index).copied()) <= Some(pass.now));
    if now.is_empty() {
        let until = later.iter().filter_map(|index| free_at(delayed.get(index).copied())).min();
        return Ok(until.map_or(stay, wait));
    }
    let acts = now.iter().map(|index| {
        let pod = pod(pass, Some(*index), delayed.get(index).copied());
        Act::create(&pod).map(|act| about.creation("pod", act))
    });
    let acts: Vec<Act> = acts.collect::<Result<_, _>>()?;
    Ok(created(stay, acts))
}

fn created(stay: Managed, acts: Vec<Act>) -> Managed {
    Managed { active: stay.active + whole(acts.len()), creates: true, steps: vec![acts], ..stay }
}

/// What is deleted because it is too much is not counted: its finalizer goes first.
fn removed(pass: &Pass<'_>, about: &About, surplus: Vec<Pod>) -> Managed {
    let is_gone = |pod: &&Pod| surplus.iter().any(|gone| gone.metadata.uid == pod.metadata.uid);
    let left: Vec<&Pod> = pass.active.iter().filter(|pod| !is_gone(pod)).collect();
    Managed {
        steps: vec![
            surplus.iter().filter(|pod| tracked(pod)).map(untrack).collect(),
            surplus.iter().map(|pod| delete(about, pod)).collect(),
        ],
        active: whole(left.len()),
        ready: whole(left.iter().filter(|pod| pods::is_ready(pod)).count()),
        terminating: whole(surplus.len()),
        ..Managed::default()
    }
}

/// Active Pods that go: of numbered ones those without a valid index and all but one of each index, then the least useful.
fn surplus(pass: &Pass<'_>, at_least: usize) -> Vec<Pod> {
    let ranks = BTreeMap::new();
    let mut left = pass.active.clone();
    pods::least_useful_first(&mut left, &ranks, pass.now);
    let mut gone = Vec::new();
    if is_indexed(pass.spec) {
        let completions = pass.spec.completions.unwrap_or(0);
        let mut kept = BTreeMap::new();
        // The most useful one of an index comes last and stays.
        for pod in left {
            match indexes::of(&pod, completions) {
                Some(index) => gone.extend(kept.insert(index, pod)),
                None => gone.push(pod),
            }
        }
        left = kept.into_values().collect();
        pods::least_useful_first(&mut left, &ranks, pass.now);
    }
    let more = at_least.saturating_sub(gone.len());
    gone.extend(left.into_iter().take(more));
    gone
}

/// The lowest indexes that nothing runs for.
fn pending(pass: &Pass<'_>, count: usize) -> Vec<i32> {
    let completions = pass.spec.completions.unwrap_or(0);
    let of = |pods: &mut dyn Iterator<Item = &Pod>| -> Vec<i32> {
        pods.filter_map(|pod| indexes::of(pod, completions)).collect()
    };
    let mut taken = pass.done.with(of(&mut pass.active.iter()));
    if let Some(lost) = &pass.lost {
        taken = taken.union(lost);
    }
    if replaces_only_failed(pass.spec) {
        taken = taken.with(of(&mut pass.pods.iter().filter(|pod| pods::is_terminating(pod))));
    }
    taken.missing(count, completions)
}

fn count(pod: &Pod, of: &str) -> i32 {
    annotation(&pod.metadata, of).and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn all_failures(pod: &Pod) -> i32 {
    count(pod, FAILURES).saturating_add(count(pod, IGNORED))
}

/// With a limit per index: whether this Pod's failure is its index's last.
pub(super) fn index_failed(spec: &JobSpec, pod: &Pod) -> bool {
    if !is_failed(pod, spec) {
        return false;
    }
    match judge(spec, pod) {
        Judgement::FailIndex => true,
        Judgement::Ignore => false,
        _ => spec.backoff_limit_per_index.is_some_and(|limit| count(pod, FAILURES) >= limit),
    }
}

/// With a limit per index: failed Pods that are kept until their successor, which inherits their count, is made.
pub(super) fn delayed<'a>(pass: &'a Pass<'_>) -> BTreeMap<i32, &'a Pod> {
    let mut kept: BTreeMap<i32, &Pod> = BTreeMap::new();
    let Some(lost) = &pass.lost else { return kept };
    let completions = pass.spec.completions.unwrap_or(0);
    let active = Indexes::default().with(pass.active.iter().filter_map(|pod| indexes::of(pod, completions)));
    for pod in pass.pods.iter().filter(|pod| tracked(pod) && is_failed(pod, pass.spec)) {
        let Some(index) = indexes::of(pod, completions) else { continue };
        if active.has(index) || lost.has(index) || pass.done.has(index) {
            continue;
        }
        if kept.get(&index).is_none_or(|other| all_failures(other) <= all_failures(pod)) {
            kept.insert(index, pod);
        }
    }
    kept
}

/// When an index may have its next Pod.
fn free_at(failed: Option<&Pod>) -> Option<Timestamp> {
    let Some(pod) = failed else { return Some(Timestamp::MIN) };
    let failures = usize::try_from(all_failures(pod)).unwrap_or(0).saturating_add(1);
    backoff::ended(pod).checked_add(backoff::wait(failures)).ok()
}

fn pod(pass: &Pass<'_>, index: Option<i32>, replaces: Option<&Pod>) -> Pod {
    let mut template: PodTemplateSpec = pass.spec.template.clone();
    let finalizers = template.metadata.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let mut pod = pods::from_template(&template, pass.job);
    let Some(index) = index else { return pod };
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if pass.spec.backoff_limit_per_index.is_some() {
        let (mut failures, mut ignored) = replaces.map_or((0, 0), |pod| (count(pod, FAILURES), count(pod, IGNORED)));
        if let Some(before) = replaces {
            if judge(pass.spec, before).counts() {
                failures += 1;
            } else {
                ignored += 1;
            }
        }
        annotations.insert(FAILURES.to_owned(), failures.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED.to_owned(), ignored.to_string());
        }
    }
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let job = name(&pass.job.metadata);
    let suffix = format!("-{index}-");
    let prefix: String = job.chars().take(LONGEST_PREFIX.saturating_sub(suffix.len())).collect();
    pod.metadata.generate_name = Some(format!("{prefix}{suffix}"));
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{job}-{index}"));
        spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(tell_index);
    }
    pod
}

/// Containers find their index in the environment.
fn tell_index(container: &mut Container) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == NAME) {
        return;
    }
    let field =
        ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), ..ObjectFieldSelector::default() };
    variables.push(EnvVar {
        name: NAME.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    });
}
