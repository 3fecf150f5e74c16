//! What one pass does for a Deployment. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use paddock_reconcile::{Act, Error, Kind, Outcome, Plan};
use serde_json::Value;

use super::revision::{self, DESIRED, MAX, REVISION, Sets, number};
use super::scale::{self, Scaling};
use super::status::{self, PROGRESSING, condition, find, is_complete};
use super::{Snapshot, progress, size};
use crate::events::About;
use crate::names::{annotation, name, namespace, uid};
use crate::owner::{Claimed, claim};

pub(super) fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
    let deployment = &snapshot.deployment;
    let mut plan = Plan::new();
    let Some(spec) = &deployment.spec else { return Ok(plan) };
    let Claimed { owned, claims } = claim(deployment, &spec.selector, snapshot.sets.iter().cloned(), |_| true, None);
    if !claims.is_empty() {
        plan.step(claims);
        return Ok(plan);
    }
    let pass = Pass { deployment, sets: Sets::of(deployment, &owned), running: &snapshot.running, now };
    if deployment.metadata.deletion_timestamp.is_none() {
        if let Some(status) = progress::pause(deployment, now) {
            plan.step(vec![report(deployment, status)?]);
            return Ok(plan);
        }
        // The history first, then sizes.
        if let Some(act) = pass.history()? {
            plan.step(vec![act]);
            return Ok(plan);
        }
    }
    let paused = spec.paused == Some(true);
    if deployment.metadata.deletion_timestamp.is_some() || paused || scale::was_scaled(deployment, &pass.sets) {
        pass.stand_still(&mut plan, paused)?;
    } else if size::recreates(deployment) {
        pass.recreate(&mut plan)?;
    } else {
        pass.roll(&mut plan)?;
    }
    Ok(plan)
}

struct Pass<'a> {
    deployment: &'a Deployment,
    sets: Sets<'a>,
    running: &'a [String],
    now: Timestamp,
}

impl Pass<'_> {
    /// The write that brings the newest ReplicaSet's place in the history, or the Deployment's revision, up to date.
    fn history(&self) -> Result<Option<Act>, Error> {
        let Some(new) = self.sets.new else { return Ok(None) };
        let annotations = revision::annotations(self.deployment, &new.metadata, revision::next(&self.sets.old));
        let min_ready = |spec: Option<i32>| spec.unwrap_or(0);
        let wanted = self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        let has = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        if new.metadata.annotations.as_ref().is_none_or(|has| *has != annotations)
            || min_ready(has) != min_ready(wanted)
        {
            let mut set = new.clone();
            set.metadata.annotations = Some(annotations);
            if let Some(spec) = &mut set.spec {
                spec.min_ready_seconds = wanted;
            }
            return Act::update(&set).map(Some);
        }
        let mut status = self.deployment.status.clone().unwrap_or_default();
        let untold = progress::deadline(self.deployment).is_some() && find(&status, PROGRESSING).is_none();
        if untold {
            let message = format!("Found new replica set {:?}", name(&new.metadata));
            status::set(&mut status, condition(PROGRESSING, "True", "FoundNewReplicaSet", message, self.now));
        }
        let revision = annotation(&new.metadata, REVISION);
        let told = annotation(&self.deployment.metadata, REVISION);
        if revision == told && !untold {
            return Ok(None);
        }
        report(&with_revision(self.deployment, revision.unwrap_or_default()), status).map(Some)
    }

    /// Paused, going, or scaled: sizes change in proportion and nothing is rolled out.
    fn stand_still(&self, plan: &mut Plan, paused: bool) -> Result<(), Error> {
        if self.deployment.metadata.deletion_timestamp.is_none() {
            let scalings = scale::proportionally(self.deployment, &self.sets);
            plan.step(self.scaled(scalings)?);
            if paused {
                plan.step(self.cleanup());
            }
        }
        self.told(plan, status::count(self.deployment, &self.sets, self.now))
    }

    fn roll(&self, plan: &mut Plan) -> Result<(), Error> {
        let Some(new) = self.sets.new else { return self.create(plan) };
        if let Some(next) = scale::newest(self.deployment, &self.sets, new) {
            plan.step(self.scaled(vec![(new, next)])?);
        } else {
            let old = scale::old(self.deployment, &self.sets, new);
            if old.is_empty() {
                self.finish(plan);
            }
            plan.step(self.scaled(old)?);
        }
        self.progress(plan)
    }

    fn recreate(&self, plan: &mut Plan) -> Result<(), Error> {
        let old = scale::none(&self.sets);
        if !old.is_empty() {
            plan.step(self.scaled(old)?);
            return self.progress(plan);
        }
        let newest = self.sets.new.map(|new| uid(&new.metadata));
        let running = self.running.iter().any(|of| newest != Some(of.as_str()));
        if running || size::sum(self.sets.old.iter().copied(), size::actual) > 0 {
            return self.progress(plan);
        }
        let Some(new) = self.sets.new else { return self.create(plan) };
        let total = size::wanted(self.deployment);
        if size::replicas(new) != total {
            plan.step(self.scaled(vec![(new, total)])?);
        }
        self.finish(plan);
        self.progress(plan)
    }

    /// The history of a rollout that is done is cut to its limit.
    fn finish(&self, plan: &mut Plan) {
        if self.deployment.status.as_ref().is_some_and(|status| is_complete(self.deployment, status)) {
            plan.step(self.cleanup());
        }
    }

    fn cleanup(&self) -> Vec<Act> {
        let delete = |set: &&ReplicaSet| {
            let target = Kind::of::<ReplicaSet>().named(Some(namespace(&set.metadata)), name(&set.metadata));
            Act::delete(target, uid(&set.metadata))
        };
        scale::obsolete(self.deployment, &self.sets).iter().map(delete).collect()
    }

    /// Makes the ReplicaSet of a template that has none, then tells of it.
    fn create(&self, plan: &mut Plan) -> Result<(), Error> {
        let Some(set) = revision::fresh(self.deployment, &self.sets) else { return Ok(()) };
        let (about, made, size) = (About::new(self.deployment), name(&set.metadata).to_owned(), size::replicas(&set));
        let act = {
            let made = made.clone();
            Act::create(&set)?.reporting(move |outcome| match outcome {
                Outcome::Done(_) if size > 0 => {
                    let note = format!("Scaled up replica set {made} from 0 to {size}");
                    Some(about.normal("ScalingReplicaSet", note))
                }
                Outcome::Failed(why) if !is_taken(why) => {
                    let note = format!("Failed to create new replica set {made:?}: {why}");
                    Some(about.warning("ReplicaSetCreateError", note))
                }
                _ => None,
            })
        };
        plan.step(vec![act]);
        let before = self.deployment.status.clone().unwrap_or_default();
        let has_deadline = progress::deadline(self.deployment).is_some();
        let (deployment, failed, now) = (self.deployment.clone(), before.clone(), self.now);
        let name_of_set = made.clone();
        plan.on_error(move |error| {
            let mut told = Plan::new();
            let mut status = failed.clone();
            if is_taken(error.message()) {
                // Another template has this hash: the next pass tries another name.
                status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
            } else if has_deadline && !matches!(error, Error::Waiting { .. }) {
                let message = format!("Failed to create new replica set {name_of_set:?}: {}", error.message());
                status::set(&mut status, condition(PROGRESSING, "False", "ReplicaSetCreateError", message, now));
            } else {
                return told;
            }
            if Some(&status) != deployment.status.as_ref() {
                told.step(report(&deployment, status).into_iter().collect());
            }
            told
        });
        let mut status = before;
        if has_deadline {
            let message = format!("Created new replica set {made:?}");
            status::set(&mut status, condition(PROGRESSING, "True", "NewReplicaSetCreated", message, self.now));
        }
        let revision = annotation(&set.metadata, REVISION).unwrap_or_default();
        if has_deadline || annotation(&self.deployment.metadata, REVISION) != Some(revision) {
            plan.step(vec![report(&with_revision(self.deployment, revision), status)?]);
        }
        Ok(())
    }

    fn scaled(&self, scalings: Scaling<'_>) -> Result<Vec<Act>, Error> {
        let mut acts = Vec::new();
        for (set, size) in scalings {
            let before = size::replicas(set);
            let mut annotations = set.metadata.annotations.clone().unwrap_or_default();
            revision::replicas(self.deployment, &mut annotations);
            let noted =
                [DESIRED, MAX].iter().all(|key| number(set, key) == annotations.get(*key).and_then(|n| n.parse().ok()));
            if size == before && noted {
                continue;
            }
            let mut scaled = set.clone();
            scaled.metadata.annotations = Some(annotations);
            scaled.spec = scaled.spec.map(|spec| ReplicaSetSpec { replicas: Some(size), ..spec });
            let act = Act::update(&scaled)?;
            if size == before {
                acts.push(act);
                continue;
            }
            let (about, name) = (About::new(self.deployment), name(&set.metadata).to_owned());
            let how = if size > before { "up" } else { "down" };
            acts.push(act.reporting(move |outcome| match outcome {
                Outcome::Done(Value::Null) | Outcome::Failed(_) => None,
                Outcome::Done(_) => {
                    let note = format!("Scaled {how} replica set {name} from {before} to {size}");
                    Some(about.normal("ScalingReplicaSet", note))
                }
            }));
        }
        Ok(acts)
    }

    fn progress(&self, plan: &mut Plan) -> Result<(), Error> {
        let mut status = status::count(self.deployment, &self.sets, self.now);
        progress::judge(self.deployment, &self.sets, &mut status, self.now);
        status::failures(&mut status, &self.sets);
        if let Some(at) = progress::look_again(self.deployment, &status) {
            plan.look_again_at(at);
        }
        self.told(plan, status)
    }

    fn told(&self, plan: &mut Plan, mut status: DeploymentStatus) -> Result<(), Error> {
        status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
        if self.deployment.status.as_ref() != Some(&status) {
            plan.step(vec![report(self.deployment, status)?]);
        }
        Ok(())
    }
}

/// Whether a name was refused because an object has it.
fn is_taken(why: &str) -> bool {
    why.ends_with("already exists")
}

fn with_revision(deployment: &Deployment, revision: &str) -> Deployment {
    let mut deployment = deployment.clone();
    deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision.to_owned());
    deployment
}

fn report(deployment: &Deployment, status: DeploymentStatus) -> Result<Act, Error> {
    Act::update_status(&Deployment { status: Some(status), ..deployment.clone() })
}
