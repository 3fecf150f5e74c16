//! The conditions of a Job. Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const COMPLETE: &str = "Complete";
pub(super) const FAILED: &str = "Failed";
pub(super) const MET: &str = "SuccessCriteriaMet";
pub(super) const TARGET: &str = "FailureTarget";
pub(super) const SUSPENDED: &str = "Suspended";

/// How a Job is going to end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) succeeds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl End {
    pub(super) fn success(reason: &str, message: impl Into<String>) -> Self {
        Self { succeeds: true, reason: reason.to_owned(), message: message.into() }
    }

    pub(super) fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self { succeeds: false, reason: reason.to_owned(), message: message.into() }
    }

    /// The condition that says so before the last Pods are gone.
    pub(super) fn interim(&self) -> &'static str {
        if self.succeeds { MET } else { TARGET }
    }

    /// The condition that says so at the end.
    pub(super) fn last(&self) -> &'static str {
        if self.succeeds { COMPLETE } else { FAILED }
    }
}

/// A condition of this type that is true.
pub(super) fn is_true<'a>(status: &'a JobStatus, of: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == of && condition.status == "True")
}

/// Whether a Job came to its end.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let status = job.status.as_ref()?;
    is_true(status, COMPLETE).or_else(|| is_true(status, FAILED))
}

/// The end that was decided before.
pub(super) fn decided(status: &JobStatus) -> Option<End> {
    let end = |condition: &JobCondition, succeeds| End {
        succeeds,
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    };
    is_true(status, MET).map(|c| end(c, true)).or_else(|| is_true(status, TARGET).map(|c| end(c, false)))
}

/// Puts a condition in. One that is not there is not added to say that it is false. Returns whether something changed.
pub(super) fn ensure(status: &mut JobStatus, of: &str, is: &str, reason: &str, message: &str, now: Timestamp) -> bool {
    let new = JobCondition {
        type_: of.to_owned(),
        status: is.to_owned(),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: (!message.is_empty()).then(|| message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == of) {
        Some(old) if old.status == new.status && old.reason == new.reason && old.message == new.message => false,
        Some(old) => {
            *old = new;
            true
        }
        None if is == "False" => false,
        None => {
            conditions.push(new);
            true
        }
    }
}
