//! What one pass does for a Job: how it stands, what its Pods need, what is told. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paddock_reconcile::{Act, Error, Plan};

use super::conditions::{self, End, SUSPENDED, decided, finished};
use super::indexes::{self, Indexes};
use super::manage::{self, Managed};
use super::policy::{self, Judgement, is_failed, judge};
use super::track::{self, tracked, untrack};
use super::{Snapshot, backoff};
use crate::events::About;
use crate::names::uid;
use crate::owner::{Claimed, claim};
use crate::pods::{self, phase};

/// A Job and everything counted of its Pods.
pub(super) struct Pass<'a> {
    pub(super) job: &'a Job,
    pub(super) spec: &'a JobSpec,
    pub(super) pods: Vec<Pod>,
    pub(super) active: Vec<Pod>,
    pub(super) terminating: i32,
    /// Pods that succeeded, or indexes when they are numbered.
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) done: Indexes,
    pub(super) done_before: Indexes,
    /// With a limit per index only.
    pub(super) lost: Option<Indexes>,
    pub(super) now: Timestamp,
}

pub(super) fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let spec = snapshot.job.as_ref().and_then(|job| Some((job, job.spec.as_ref()?)));
    let Some((job, spec)) = spec else {
        plan.step(snapshot.pods.iter().filter(|pod| tracked(pod)).map(untrack).collect());
        return Ok(plan);
    };
    let ours = uid(&job.metadata);
    let of_others = |pod: &&Pod| crate::owner::controller(&pod.metadata).is_some_and(|by| by.uid != ours);
    plan.step(snapshot.pods.iter().filter(of_others).filter(|pod| tracked(pod)).map(untrack).collect());
    if spec.managed_by.as_deref().is_some_and(|by| by != "kubernetes.io/job-controller") {
        return Ok(plan);
    }
    let Some(selector) = &spec.selector else { return Ok(plan) };
    if finished(job).is_some() {
        return Ok(plan);
    }
    let Claimed { owned, claims } =
        claim(job, selector, snapshot.pods.iter().cloned(), |_| true, Some(super::FINALIZER));
    if !claims.is_empty() {
        plan.step(claims);
        return Ok(plan);
    }
    Pass::new(job, spec, owned, now).plan(&mut plan)?;
    Ok(plan)
}

impl<'a> Pass<'a> {
    fn new(job: &'a Job, spec: &'a JobSpec, mut pods: Vec<Pod>, now: Timestamp) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (gone_well, gone_badly) = (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default());
        let completions = spec.completions.unwrap_or(0);
        let indexed = is_indexed(spec);
        if indexed {
            pods.sort_by_key(|pod| indexes::of(pod, completions).unwrap_or(-1));
        }
        let valid = |pod: &&Pod| tracked(pod) && (!indexed || indexes::of(pod, completions).is_some());
        let number = |of: &dyn Fn(&Pod) -> bool| whole(pods.iter().filter(valid).filter(|pod| of(pod)).count());
        let known = |uids: &[String], pod: &Pod| uids.iter().any(|known| known == uid(&pod.metadata));
        let new_good = number(&|pod| phase(pod) == "Succeeded" && !known(&gone_well, pod));
        let new_bad = number(&|pod| is_failed(pod, spec) && !known(&gone_badly, pod) && judge(spec, pod).counts());
        let mut pass = Pass {
            job,
            spec,
            active: pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect(),
            terminating: whole(pods.iter().filter(|pod| pods::is_terminating(pod)).count()),
            succeeded: status.succeeded.unwrap_or(0) + new_good + whole(gone_well.len()),
            failed: status.failed.unwrap_or(0) + new_bad + whole(gone_badly.len()),
            done: Indexes::default(),
            done_before: Indexes::default(),
            lost: None,
            now,
            pods,
        };
        if indexed {
            pass.done_before = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
            let good = pass.pods.iter().filter(|pod| phase(pod) == "Succeeded" && tracked(pod));
            pass.done = pass.done_before.with(good.filter_map(|pod| indexes::of(pod, completions)));
            pass.succeeded = pass.done.total();
            if spec.backoff_limit_per_index.is_some() {
                let before = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
                let bad = pass.pods.iter().filter(|pod| tracked(pod) && manage::index_failed(spec, pod));
                pass.lost = Some(before.with(bad.filter_map(|pod| indexes::of(pod, completions))));
            }
        }
        pass
    }

    /// How the Job is going to end, when that is decided.
    fn end(&self, status: &JobStatus) -> Option<End> {
        if let Some(end) = decided(status) {
            return Some(end);
        }
        let failed = self.pods.iter().filter(|pod| is_failed(pod, self.spec));
        for pod in failed {
            if let Judgement::FailJob(message) = judge(self.spec, pod) {
                return Some(End::failure("PodFailurePolicy", message));
            }
        }
        if self.failed > self.spec.backoff_limit.unwrap_or(6) || self.restarted_too_often() {
            return Some(End::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
        }
        if self.deadline(status).is_some_and(|at| at <= self.now) {
            return Some(End::failure("DeadlineExceeded", "Job was active longer than specified deadline"));
        }
        if !is_indexed(self.spec) {
            return None;
        }
        let completions = self.spec.completions.unwrap_or(0);
        if let Some(lost) = &self.lost {
            if self.spec.max_failed_indexes.is_some_and(|most| lost.total() > most) {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return Some(End::failure("MaxFailedIndexesExceeded", message));
            }
            if lost.total() > 0 && lost.total() + self.done.total() >= completions {
                return Some(End::failure("FailedIndexes", "Job has failed indexes"));
            }
        }
        policy::met(self.spec, completions, &self.done).map(|message| End::success("SuccessPolicy", message))
    }

    /// With `restartPolicy: OnFailure` the containers' restarts are the failures.
    fn restarted_too_often(&self) -> bool {
        let policy = self.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        if policy != Some("OnFailure") {
            return false;
        }
        let running = self.pods.iter().filter(|pod| matches!(phase(pod), "Running" | "Pending"));
        let statuses = running.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
        });
        let restarts = statuses.fold(0_i32, |sum, container| sum.saturating_add(container.restart_count));
        match self.spec.backoff_limit.unwrap_or(6) {
            0 => restarts > 0,
            limit => restarts >= limit,
        }
    }

    /// When the time of a Job that is not suspended is over.
    fn deadline(&self, status: &JobStatus) -> Option<Timestamp> {
        let seconds = self.spec.active_deadline_seconds.filter(|_| !is_suspended(self.spec))?;
        status.start_time.as_ref()?.0.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn plan(self, plan: &mut Plan) -> Result<(), Error> {
        let about = About::new(self.job);
        let before = self.job.status.clone().unwrap_or_default();
        let mut status = before.clone();
        status.uncounted_terminated_pods.get_or_insert_default();
        if status.start_time.is_none() && !is_suspended(self.spec) {
            status.start_time = Some(Time(self.now));
        }
        let mut end = self.end(&status);
        let ready = |pods: &[Pod]| whole(pods.iter().filter(|pod| pods::is_ready(pod)).count());
        let mut managed = Managed { ready: ready(&self.active), ..Managed::default() };
        if end.is_some() {
            // Their finalizers stay until they are counted.
            managed.steps = vec![self.active.iter().map(|pod| manage::delete(&about, pod)).collect()];
            managed.terminating = whole(self.active.len());
            managed.ready = 0;
        } else {
            let going = self.job.metadata.deletion_timestamp.is_some();
            managed.active = whole(self.active.len());
            if !going {
                managed = manage::manage(&self, &about)?;
            }
            let complete = match self.spec.completions {
                None => self.succeeded > 0 && managed.active == 0,
                Some(completions) => self.succeeded >= completions && managed.active == 0,
            };
            if complete {
                end = Some(End::success("CompletionsReached", "Reached expected number of succeeded pods"));
            } else if !going {
                self.suspend(&mut status, plan, &about);
            }
        }
        let terminating = self.terminating + managed.terminating;
        status.active = Some(managed.active).filter(|number| *number != 0);
        status.ready = Some(managed.ready);
        status.terminating = Some(terminating);
        status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
        let unfinished = status.clone();
        let tracking = track::track(&self, &mut status, end.as_ref());
        if let Some(end) = &end {
            let told = conditions::is_true(&status, end.interim()).is_some();
            if told && !tracking.is_full && tracking.pending == 0 && terminating == 0 {
                self.finish(&mut status, end, plan, &about);
            } else if !told {
                conditions::ensure(&mut status, end.interim(), "True", &end.reason, &end.message, self.now);
            }
        }
        let (job, failed) = (self.job.clone(), JobStatus { active: before.active, ..unfinished });
        if managed.creates {
            plan.on_error(move |_| {
                let mut report = Plan::new();
                if job.status.as_ref() != Some(&failed) {
                    report.step(self::report(&job, failed.clone()).into_iter().collect());
                }
                report
            });
        }
        for step in managed.steps {
            plan.step(step);
        }
        if self.job.status.as_ref() != Some(&status) {
            plan.step(vec![report(self.job, status.clone())?]);
        }
        plan.step(tracking.untrack);
        for at in [managed.look_again, self.deadline(&status).filter(|_| end.is_none())].into_iter().flatten() {
            plan.look_again_at(at);
        }
        Ok(())
    }

    fn suspend(&self, status: &mut JobStatus, plan: &mut Plan, about: &About) {
        if is_suspended(self.spec) {
            if conditions::ensure(status, SUSPENDED, "True", "JobSuspended", "Job suspended", self.now) {
                plan.event(about.normal("Suspended", "Job suspended"));
            }
        } else if conditions::ensure(status, SUSPENDED, "False", "JobResumed", "Job resumed", self.now) {
            plan.event(about.normal("Resumed", "Job resumed"));
            // The deadline counts from the last resumption.
            status.start_time = Some(Time(self.now));
        }
    }

    fn finish(&self, status: &mut JobStatus, end: &End, plan: &mut Plan, about: &About) {
        conditions::ensure(status, end.last(), "True", &end.reason, &end.message, self.now);
        if !end.succeeds {
            plan.event(about.warning(&end.reason, end.message.clone()));
            return;
        }
        status.completion_time = Some(Time(self.now));
        if self.spec.completions.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted) {
            let note = "Too many succeeded pods running after completion count reached";
            plan.event(about.warning("TooManySucceededPods", note));
        }
        plan.event(about.normal("Completed", "Job completed"));
    }

    /// When the failures of before allow the next Pod.
    pub(super) fn backoff(&self) -> Option<Timestamp> {
        backoff::next(self.spec, &self.pods).filter(|at| *at > self.now)
    }
}

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub(super) fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}

pub(super) fn whole(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn report(job: &Job, status: JobStatus) -> Result<Act, Error> {
    Act::update_status(&Job { status: Some(status), ..job.clone() })
}
