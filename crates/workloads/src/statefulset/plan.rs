//! What one pass does for a StatefulSet: make, mend or delete pods in their order, then update, then report. Pure.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paddock_reconcile::{Act, Error, Kind, Outcome, Plan};
use serde_json::json;

use super::status::{self, Revisions, is_available, is_running_and_ready, is_unavailable};
use super::{Snapshot, claims, identity};
use crate::events::About;
use crate::names::{name, namespace, uid};
use crate::owner::{self, Claimed, claim};
use crate::revisions::{self, History};
use crate::{amounts, pods};

/// How soon it is looked again whether a claim that is being deleted is gone.
const CLAIM_RETRY: SignedDuration = SignedDuration::from_secs(1);

pub(super) fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
    let set = &snapshot.set;
    let mut plan = Plan::new();
    let Some(spec) = &set.spec else { return Ok(plan) };
    let is_member = |pod: &Pod| identity::ordinal(set, pod).is_some();
    let Claimed { owned, claims } = claim(set, &spec.selector, snapshot.pods.iter().cloned(), is_member, None);
    let status = set.status.as_ref();
    let collisions = status.and_then(|status| status.collision_count);
    let history = History::of(set, &spec.selector, &spec.template, collisions, revisions::HASH, &snapshot.revisions)?;
    let named = status.and_then(|status| status.current_revision.as_deref()).unwrap_or_default();
    let current = history.own.iter().find(|r| name(&r.metadata) == named).unwrap_or(&history.update).clone();
    let ends = set.metadata.deletion_timestamp.is_some();
    let claiming = !claims.is_empty() || !history.adoptions.is_empty();
    if claiming && !ends {
        // What is claimed counts from the next pass on, which its event starts.
        plan.step(history.adoptions).step(claims);
        plan.look_again_at(now.checked_add(CLAIM_RETRY).unwrap_or(now));
        return Ok(plan);
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let names = Revisions {
        current: name(&current.metadata).to_owned(),
        update: name(&history.update.metadata).to_owned(),
        collisions: history.collisions,
    };
    let members: Vec<Pod> = owned.into_iter().filter(is_member).collect();
    let mut counted = status::count(set, &names, &members, now);
    if !ends {
        plan.step(history.write.clone().into_iter().collect());
        let mut work = Work::new(snapshot, spec, (&current, &history.update), &members, now);
        if work.replicas()?.is_continue() && work.condemned()?.is_continue() && !is_on_delete(spec) {
            let deleted = work.update();
            counted.current_replicas = counted.current_replicas.map(|current| current.saturating_sub(deleted));
        }
        plan.events.append(&mut work.events);
        if work.waits_for_claim {
            plan.look_again_at(now.checked_add(CLAIM_RETRY).unwrap_or(now));
        }
        plan.step(work.claims).step(work.creations).step(work.changes).step(work.deletions);
        let failed = status::report(set, status::count(set, &names, &members, now))?;
        plan.on_error(move |_| {
            let mut report = Plan::new();
            report.step(failed.clone().into_iter().collect());
            report
        });
    }
    plan.step(status::report(set, counted)?.into_iter().collect());
    if !ends {
        let live = |revision: &str| {
            revision == names.current
                || revision == names.update
                || members.iter().any(|pod| identity::revision(pod) == revision)
        };
        let gone = revisions::superfluous(&history.own, |r| live(name(&r.metadata)), spec.revision_history_limit);
        plan.step(gone.into_iter().map(revisions::delete).collect());
    }
    if let Some(at) = pods::next_available(&members, min_ready, now) {
        plan.look_again_at(at);
    }
    Ok(plan)
}

fn is_on_delete(spec: &StatefulSetSpec) -> bool {
    spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("OnDelete")
}

/// The place of an ordinal and the pod in it, which may be yet to be made.
struct Replica {
    ordinal: i32,
    pod: Pod,
    exists: bool,
}

/// The writes of a pass, gathered while walking over the pods.
struct Work<'a> {
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    snapshot: &'a Snapshot,
    about: About,
    update_revision: String,
    /// One after the other: the default. Else all at once.
    monotonic: bool,
    min_ready: i32,
    now: Timestamp,
    replicas: Vec<Replica>,
    /// Pods whose ordinals are not wanted, highest first.
    condemned: Vec<(i32, Pod)>,
    /// The pod that is to be mended first.
    first_unavailable: Option<String>,
    claims: Vec<Act>,
    creations: Vec<Act>,
    changes: Vec<Act>,
    deletions: Vec<Act>,
    events: Vec<paddock_reconcile::Event>,
    waits_for_claim: bool,
}

/// `Break`: nothing further in this pass.
type Flow = ControlFlow<()>;

impl<'a> Work<'a> {
    fn new(
        snapshot: &'a Snapshot,
        spec: &'a StatefulSetSpec,
        (current, update): (&ControllerRevision, &ControllerRevision),
        members: &[Pod],
        now: Timestamp,
    ) -> Self {
        let set = &snapshot.set;
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let wanted = identity::wanted(spec);
        let mut condemned: Vec<(i32, Pod)> = members
            .iter()
            .filter_map(|pod| Some((identity::ordinal(set, pod)?, pod.clone())))
            .filter(|(ordinal, _)| !wanted.contains(ordinal))
            .collect();
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        let mut there: std::collections::BTreeMap<i32, &Pod> =
            members.iter().filter_map(|pod| Some((identity::ordinal(set, pod)?, pod))).collect();
        let template = revisions::template(current);
        let replica = |ordinal: i32| {
            if let Some(pod) = there.remove(&ordinal) {
                return Replica { ordinal, pod: pod.clone(), exists: true };
            }
            let old = needs_current(set, spec, ordinal).then_some(template.as_ref()).flatten();
            let pod = match old {
                Some(template) => identity::pod(set, template, name(&current.metadata), ordinal),
                None => identity::pod(set, &spec.template, name(&update.metadata), ordinal),
            };
            Replica { ordinal, pod, exists: false }
        };
        let replicas: Vec<Replica> = wanted.map(replica).collect();
        let in_order = replicas.iter().map(|r| &r.pod).chain(condemned.iter().rev().map(|(_, pod)| pod));
        let first = in_order.into_iter().find(|pod| is_unavailable(pod, min_ready, now));
        Self {
            set,
            spec,
            snapshot,
            about: About::new(set),
            update_revision: name(&update.metadata).to_owned(),
            monotonic: spec.pod_management_policy.as_deref() != Some("Parallel"),
            min_ready,
            now,
            first_unavailable: first.map(|pod| name(&pod.metadata).to_owned()),
            replicas,
            condemned,
            claims: Vec::new(),
            creations: Vec::new(),
            changes: Vec::new(),
            deletions: Vec::new(),
            events: Vec::new(),
            waits_for_claim: false,
        }
    }

    /// Makes and mends the pods that are wanted.
    fn replicas(&mut self) -> Result<Flow, Error> {
        let replicas = std::mem::take(&mut self.replicas);
        let mut flow = Flow::Continue(());
        for replica in &replicas {
            let one = self.replica(replica)?;
            if self.monotonic && one.is_break() {
                flow = one;
                break;
            }
        }
        self.replicas = replicas;
        Ok(flow)
    }

    fn replica(&mut self, replica: &Replica) -> Result<Flow, Error> {
        let pod = &replica.pod;
        if pods::is_finished(pod) {
            // How it ended does not matter: it is made anew once it is gone.
            if pod.metadata.deletion_timestamp.is_none() {
                self.delete(pod);
            }
            return Ok(Flow::Break(()));
        }
        if !replica.exists {
            return self.create(replica);
        }
        if pods::phase(pod) == "Pending" {
            self.missing_claims(replica)?;
        }
        let goes = pod.metadata.deletion_timestamp.is_some();
        let waits = goes || !is_running_and_ready(pod) || !is_available(pod, self.min_ready, self.now);
        if self.monotonic && waits {
            return Ok(Flow::Break(()));
        }
        let missing = identity::missing(pod, replica.ordinal);
        if !missing.is_empty() && !goes {
            let labels: serde_json::Map<_, _> = missing.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
            let act = owner::patch(pod, &json!({"uid": uid(&pod.metadata), "labels": labels}));
            self.changes.push(self.told("update", "Update", name(&pod.metadata), act));
        }
        self.claim_owners(pod, replica.ordinal, false)?;
        Ok(Flow::Continue(()))
    }

    fn create(&mut self, replica: &Replica) -> Result<Flow, Error> {
        let pod_name = name(&replica.pod.metadata).to_owned();
        for claim in claims::of(self.set, replica.ordinal) {
            let Some(live) = self.snapshot.claims.get(name(&claim.metadata)) else { continue };
            if claims::is_stale(self.set, &pod_name, live) {
                self.waits_for_claim = true;
                return Ok(Flow::Break(()));
            }
            if live.metadata.deletion_timestamp.is_some() {
                let what = format!("pvc {} is being deleted", name(&claim.metadata));
                let note =
                    format!("create Pod {pod_name} in StatefulSet {} failed error: {what}", name(&self.set.metadata));
                self.events.push(self.about.warning("FailedCreate", note));
                self.waits_for_claim = true;
                return Ok(Flow::Break(()));
            }
        }
        self.missing_claims(replica)?;
        let create = Act::create(&replica.pod)?;
        self.creations.push(self.told("create", "Create", &pod_name, create));
        self.claim_owners(&replica.pod, replica.ordinal, false)?;
        Ok(Flow::Break(()))
    }

    fn missing_claims(&mut self, replica: &Replica) -> Result<(), Error> {
        for claim in claims::of(self.set, replica.ordinal) {
            if !self.snapshot.claims.contains_key(name(&claim.metadata)) {
                self.claims.push(claims::create(&self.about, self.set, &replica.pod, &claim)?);
            }
        }
        Ok(())
    }

    /// Gives claims to whom the retention policy says.
    fn claim_owners(&mut self, pod: &Pod, ordinal: i32, condemned: bool) -> Result<(), Error> {
        for claim in claims::of(self.set, ordinal) {
            let live = self.snapshot.claims.get(name(&claim.metadata));
            if let Some(owned) = live.and_then(|live| claims::with_owners(self.set, pod, condemned, live)) {
                self.changes.push(Act::update(&owned)?);
            }
        }
        Ok(())
    }

    /// Deletes pods whose ordinals are not wanted, from the highest on.
    fn condemned(&mut self) -> Result<Flow, Error> {
        let condemned = std::mem::take(&mut self.condemned);
        for (ordinal, pod) in &condemned {
            self.claim_owners(pod, *ordinal, true)?;
        }
        for (_, pod) in &condemned {
            if pod.metadata.deletion_timestamp.is_some() {
                if self.monotonic {
                    return Ok(Flow::Break(()));
                }
                continue;
            }
            let waits = !is_running_and_ready(pod) || !is_available(pod, self.min_ready, self.now);
            if self.monotonic && waits && self.first_unavailable.as_deref() != Some(name(&pod.metadata)) {
                return Ok(Flow::Break(()));
            }
            self.delete(pod);
            if self.monotonic {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }

    /// Deletes pods that are not of the newest revision, from the highest ordinal down to the partition, as many as may be
    /// unavailable. How many those are.
    fn update(&mut self) -> i32 {
        let rolling = self.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let partition = rolling.and_then(|r| r.partition).and_then(|p| usize::try_from(p).ok()).unwrap_or(0);
        let allowed = max_unavailable(rolling.and_then(|r| r.max_unavailable.as_ref()), self.replicas.len());
        let unavailable = self.replicas.iter().filter(|r| is_unavailable(&r.pod, self.min_ready, self.now)).count();
        let room = allowed.saturating_sub(unavailable);
        let outdated = |replica: &&Replica| {
            replica.exists
                && identity::revision(&replica.pod) != self.update_revision
                && replica.pod.metadata.deletion_timestamp.is_none()
        };
        let gone: Vec<Pod> =
            self.replicas.iter().skip(partition).rev().filter(outdated).take(room).map(|r| r.pod.clone()).collect();
        for pod in &gone {
            self.delete(pod);
        }
        i32::try_from(gone.len()).unwrap_or(i32::MAX)
    }

    fn delete(&mut self, pod: &Pod) {
        let target = Kind::of::<Pod>().named(Some(namespace(&pod.metadata)), name(&pod.metadata));
        let act = Act::delete(target, uid(&pod.metadata));
        self.deletions.push(self.told("delete", "Delete", name(&pod.metadata), act));
    }

    /// With the event that tells of it.
    fn told(&self, verb: &'static str, title: &'static str, pod: &str, act: Act) -> Act {
        let (about, what) =
            (self.about.clone(), format!("{verb} Pod {pod} in StatefulSet {}", name(&self.set.metadata)));
        act.reporting(move |outcome| {
            Some(match outcome {
                Outcome::Done(_) => about.normal(&format!("Successful{title}"), format!("{what} successful")),
                Outcome::Failed(why) => about.warning(&format!("Failed{title}"), format!("{what} failed error: {why}")),
            })
        })
    }
}

/// Whether a new pod of this ordinal is still made of the current revision: below the partition of an update.
fn needs_current(set: &StatefulSet, spec: &StatefulSetSpec, ordinal: i32) -> bool {
    let start = identity::wanted(spec).start;
    let strategy = spec.update_strategy.as_ref();
    match strategy.and_then(|s| s.rolling_update.as_ref()) {
        Some(rolling) => ordinal < start.saturating_add(rolling.partition.unwrap_or(0)),
        None if is_on_delete(spec) => false,
        None => ordinal < start.saturating_add(set.status.as_ref().and_then(|s| s.current_replicas).unwrap_or(0)),
    }
}

/// How many pods may be unavailable during an update: at least one.
fn max_unavailable(wanted: Option<&IntOrString>, replicas: usize) -> usize {
    wanted.map_or(1, |wanted| amounts::scaled(wanted, replicas, amounts::Round::Down)).max(1)
}
