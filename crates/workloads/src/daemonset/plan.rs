//! What one pass does for a DaemonSet: a pod per node, updates within bounds, the status. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use paddock_reconcile::{Act, Error, Kind, Plan};

use super::Snapshot;
use super::failures::Due;
use super::nodes::{self, Place};
use crate::amounts::{Round, scaled};
use crate::events::About;
use crate::names::{annotation, name, namespace, uid};
use crate::owner::{Claimed, claim};
use crate::pods;
use crate::revisions::{self, History, REVISION};

/// Pods made or deleted in one pass.
const BURST: usize = 250;
/// When a pass looks again at what it claimed, should no event tell.
const CLAIMED: SignedDuration = SignedDuration::from_secs(1);
const GENERATION: &str = "pod-template-generation";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
    let set = &snapshot.set;
    let mut plan = Plan::new();
    let Some(spec) = &set.spec else { return Ok(plan) };
    let selector = &spec.selector;
    if selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    {
        let note = "This daemon set is selecting all pods. A non-empty selector is required.";
        plan.event(About::new(set).warning("SelectingAll", note));
        return Ok(plan);
    }
    let ends = set.metadata.deletion_timestamp.is_some();
    if ends {
        return Ok(plan);
    }
    let Claimed { owned, claims } = claim(set, selector, snapshot.pods.iter().cloned(), |_| true, None);
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let history = History::of(set, selector, &spec.template, collisions, REVISION, &snapshot.revisions)?;
    if !(claims.is_empty() && history.adoptions.is_empty()) {
        // What is claimed counts from the next pass on, which its event starts.
        plan.step(history.adoptions).step(claims);
        plan.look_again_at(now.checked_add(CLAIMED).unwrap_or(now));
        return Ok(plan);
    }
    let mut daemons = Daemons::new(snapshot, spec, &history, owned, now);
    let status = daemons.status(&history);
    daemons.manage(&mut plan);
    // First every node gets its pod, then pods are updated.
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) != Some("OnDelete");
    if daemons.creates.is_empty() && daemons.deletes.is_empty() && rolling {
        daemons.update();
    }
    plan.step(history.write.clone().into_iter().collect());
    let report: Vec<Act> = report(set, status)?.into_iter().collect();
    let failed = report.clone();
    plan.on_error(move |_| {
        let mut plan = Plan::new();
        plan.step(failed.clone());
        plan
    });
    let deletions = daemons.deletions();
    plan.step(deletions).step(daemons.creations()?).step(report);
    let live = |hash: &str| daemons.pods.iter().any(|pod| label(pod, REVISION) == Some(hash));
    let is_live = |r: &k8s_openapi::api::apps::v1::ControllerRevision| {
        r.metadata.name == history.update.metadata.name
            || r.metadata.labels.as_ref().and_then(|l| l.get(REVISION)).is_some_and(|hash| live(hash))
    };
    let gone = revisions::superfluous(&history.own, is_live, spec.revision_history_limit);
    plan.step(gone.into_iter().map(revisions::delete).collect());
    if let Some(at) = pods::next_available(&daemons.pods, daemons.min_ready, now) {
        plan.look_again_at(at);
    }
    Ok(plan)
}

fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Pods by node, and the writes of a pass.
struct Daemons<'a> {
    set: &'a DaemonSet,
    spec: &'a DaemonSetSpec,
    due: &'a Due,
    now: Timestamp,
    min_ready: i32,
    /// The label of pods of the newest template.
    hash: String,
    pods: Vec<Pod>,
    /// By node: what becomes of daemons there, and their pods, oldest first.
    places: BTreeMap<String, (Place, Vec<Pod>)>,
    /// Nodes.
    creates: Vec<String>,
    deletes: Vec<Pod>,
}

impl<'a> Daemons<'a> {
    fn new(snapshot: &'a Snapshot, spec: &'a DaemonSetSpec, history: &History, pods: Vec<Pod>, now: Timestamp) -> Self {
        let set = &snapshot.set;
        let pod = daemon(spec);
        let mut places: BTreeMap<String, (Place, Vec<Pod>)> = BTreeMap::new();
        for node in &snapshot.nodes {
            places.insert(name(&node.metadata).to_owned(), (nodes::place(&pod, node), Vec::new()));
        }
        let mut lost = Vec::new();
        for pod in &pods {
            match nodes::of(pod).and_then(|node| places.get_mut(node)) {
                Some((_, here)) => here.push(pod.clone()),
                // The node went before the pod got there; a pod that got there is the business of whoever collects pods.
                None if pod.spec.as_ref().is_none_or(|s| s.node_name.as_deref().is_none_or(str::is_empty)) => {
                    lost.push(pod.clone());
                }
                None => {}
            }
        }
        for (_, here) in places.values_mut() {
            let age = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let waits = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).is_none_or(str::is_empty);
            here.sort_by(|a, b| (waits(a), age(a), &a.metadata.name).cmp(&(waits(b), age(b), &b.metadata.name)));
        }
        let hash = history.update.metadata.labels.as_ref().and_then(|l| l.get(REVISION)).cloned().unwrap_or_default();
        Self {
            set,
            spec,
            due: &snapshot.due,
            now,
            min_ready: spec.min_ready_seconds.unwrap_or(0),
            hash,
            pods,
            places,
            creates: Vec::new(),
            deletes: lost.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect(),
        }
    }

    fn is_updated(&self, pod: &Pod) -> bool {
        let generation = annotation(&self.set.metadata, TEMPLATE_GENERATION);
        label(pod, REVISION) == Some(&self.hash) || (generation.is_some() && label(pod, GENERATION) == generation)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.min_ready, self.now)
    }

    /// How many pods may be unavailable during an update, and how many there may be beyond one per node.
    fn bounds(&self) -> (usize, usize) {
        let rolling = self.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let wanted = self.places.values().filter(|(place, _)| *place == Place::Run).count();
        let number = |of: Option<&_>, none: usize| of.map_or(none, |value| scaled(value, wanted, Round::Up));
        let surge = number(rolling.and_then(|r| r.max_surge.as_ref()), 0);
        let unavailable = number(rolling.and_then(|r| r.max_unavailable.as_ref()), 1);
        (if surge == 0 && unavailable == 0 { 1 } else { unavailable }, surge)
    }

    /// Makes missing pods; deletes those that ended, that are doubled, and that do not belong where they are.
    fn manage(&mut self, plan: &mut Plan) {
        let (_, surge) = self.bounds();
        let places = std::mem::take(&mut self.places);
        for (node, (place, here)) in &places {
            if *place == Place::No {
                self.deletes.extend(here.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).cloned());
                continue;
            }
            if here.is_empty() {
                if *place == Place::Run {
                    self.creates.push(node.clone());
                }
                continue;
            }
            let mut running = Vec::new();
            for pod in here.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
                match pods::phase(pod) {
                    "Failed" => self.ended(plan, pod, node),
                    "Succeeded" => {
                        let what = format!(
                            "Found succeeded daemon pod {}/{} on node {node}, will try to delete it",
                            namespace(&pod.metadata),
                            name(&pod.metadata)
                        );
                        plan.event(About::new(self.set).normal("SucceededDaemonPod", what));
                        self.deletes.push(pod.clone());
                    }
                    _ => running.push(pod),
                }
            }
            if surge == 0 {
                self.deletes.extend(running.into_iter().skip(1).cloned());
                continue;
            }
            // The oldest of each template stays; the old one only until the new one serves.
            let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| self.is_updated(pod));
            let replaced = new.first().is_some_and(|pod| self.is_available(pod));
            self.deletes.extend(old.into_iter().skip(usize::from(!replaced)).cloned());
            self.deletes.extend(new.into_iter().skip(1).cloned());
        }
        self.places = places;
    }

    fn ended(&mut self, plan: &mut Plan, pod: &Pod, node: &str) {
        if let Some(at) = self.due.get(uid(&pod.metadata)).filter(|at| **at > self.now) {
            plan.look_again_at(*at);
            return;
        }
        let what = format!(
            "Found failed daemon pod {}/{} on node {node}, will try to kill it",
            namespace(&pod.metadata),
            name(&pod.metadata)
        );
        plan.event(About::new(self.set).warning("FailedDaemonPod", what));
        self.deletes.push(pod.clone());
    }

    /// Replaces pods of older templates, as many at once as the strategy allows.
    fn update(&mut self) {
        let (unavailable, surge) = self.bounds();
        let (mut down, mut extra) = (0_usize, 0_usize);
        let (mut broken, mut candidates, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for (node, (place, here)) in self.places.iter().filter(|(_, (place, _))| *place != Place::No) {
            let live = || here.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let new = live().find(|pod| self.is_updated(pod));
            let old = live().find(|pod| !self.is_updated(pod));
            if surge > 0 {
                match (old, new) {
                    (Some(old), None) if !self.is_available(old) => broken.push((node, old)),
                    (Some(_), None) if *place == Place::Run => starts.push(node),
                    (Some(_), Some(_)) => extra += 1,
                    _ => {}
                }
                continue;
            }
            match (old, new) {
                (None, Some(new)) if !self.is_available(new) => down += 1,
                (None, Some(_)) => {}
                (Some(old), None) if !self.is_available(old) => broken.push((node, old)),
                (Some(old), None) => candidates.push(old),
                // A pod is on its way out or in.
                _ => down += 1,
            }
        }
        // What does not serve is replaced in any case.
        let mut gone: Vec<Pod> = Vec::new();
        let mut fresh: Vec<String> = Vec::new();
        if surge > 0 {
            fresh.extend(broken.iter().map(|(node, _)| (*node).clone()));
            fresh.extend(starts.into_iter().take(surge.saturating_sub(extra)).cloned());
        } else {
            gone.extend(broken.into_iter().map(|(_, pod)| pod.clone()));
            gone.extend(candidates.into_iter().take(unavailable.saturating_sub(down)).cloned());
        }
        self.deletes.extend(gone);
        self.creates.extend(fresh);
    }

    fn status(&self, history: &History) -> DaemonSetStatus {
        let mut status = DaemonSetStatus {
            observed_generation: self.set.metadata.generation,
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
            collision_count: (history.collisions != 0
                || self.set.status.as_ref().is_some_and(|s| s.collision_count.is_some()))
            .then_some(history.collisions),
            ..DaemonSetStatus::default()
        };
        let (mut updated, mut available) = (0, 0);
        for (place, here) in self.places.values() {
            match (*place, here.first()) {
                (Place::Run, first) => {
                    status.desired_number_scheduled += 1;
                    let Some(first) = first else { continue };
                    status.current_number_scheduled += 1;
                    status.number_ready += i32::from(pods::is_ready(first));
                    available += i32::from(self.is_available(first));
                    updated += i32::from(self.is_updated(first));
                }
                (_, Some(_)) => status.number_misscheduled += 1,
                (_, None) => {}
            }
        }
        let some = |number: i32| (number != 0).then_some(number);
        status.updated_number_scheduled = some(updated);
        status.number_available = some(available);
        status.number_unavailable = some(status.desired_number_scheduled - available);
        status
    }

    fn deletions(&self) -> Vec<Act> {
        let about = About::new(self.set);
        let mut seen = BTreeSet::new();
        let fresh = self.deletes.iter().filter(|pod| seen.insert(uid(&pod.metadata).to_owned()));
        let delete = |pod: &Pod| {
            let target = Kind::of::<Pod>().named(Some(namespace(&pod.metadata)), name(&pod.metadata));
            about.deletion("pod", Act::delete(target, uid(&pod.metadata)))
        };
        fresh.take(BURST).map(delete).collect()
    }

    fn creations(&self) -> Result<Vec<Act>, Error> {
        let about = About::new(self.set);
        let mut base = pods::from_template(&self.spec.template, self.set);
        let labels = base.metadata.labels.get_or_insert_default();
        labels.insert(REVISION.to_owned(), self.hash.clone());
        if let Some(generation) = annotation(&self.set.metadata, TEMPLATE_GENERATION) {
            labels.insert(GENERATION.to_owned(), generation.to_owned());
        }
        base.spec = Some(daemon(self.spec));
        let create = |node: &String| {
            let mut pod = base.clone();
            nodes::tie(pod.spec.get_or_insert_default(), node);
            Ok(about.creation("pod", Act::create(&pod)?))
        };
        self.creates.iter().take(BURST).map(create).collect()
    }
}

/// The template's pod, with what every daemon tolerates.
fn daemon(spec: &DaemonSetSpec) -> PodSpec {
    let mut pod = spec.template.spec.clone().unwrap_or_default();
    nodes::tolerate(&mut pod);
    pod
}

/// The write of a status; `None` when the object says so already.
fn report(set: &DaemonSet, status: DaemonSetStatus) -> Result<Option<Act>, Error> {
    if set.status.as_ref() == Some(&status) {
        return Ok(None);
    }
    Act::update_status(&DaemonSet { status: Some(status), ..set.clone() }).map(Some)
}
