//! What the statuses of workloads and budgets report: counts that are not negative and fit each other.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, non_negative};
use crate::field::FieldError;

fn counts(obj: &Value, fields: &[&str]) -> Errors {
    fields
        .iter()
        .filter_map(|field| non_negative(obj, &format!("/status/{field}"), &format!("status.{field}")))
        .collect()
}

/// Each field that is greater than another one.
fn exceeding(obj: &Value, fields: &[&str], most: &str, text: &str) -> Errors {
    let count = |field: &str| obj.int_at(&format!("/status/{field}")).unwrap_or(0);
    let over = fields.iter().filter(|field| count(field) > count(most));
    over.map(|field| FieldError::invalid(format!("status.{field}"), &json!(count(field)), text)).collect()
}

fn not_decremented(new: &Value, old: &Value) -> Option<FieldError> {
    let field = "/status/collisionCount";
    let before = old.int_at(field)?;
    let value = new.at(field);
    (new.int_at(field).unwrap_or(0) < before)
        .then(|| FieldError::invalid("status.collisionCount", value, "cannot be decremented"))
}

const OF_ALL: &str = "cannot be greater than status.replicas";

/// `ValidateDeploymentStatusUpdate`.
pub(super) fn deployment(new: &Value, old: &Value) -> Errors {
    let mut errors = counts(
        new,
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
    );
    errors.extend(exceeding(new, &["updatedReplicas", "readyReplicas", "availableReplicas"], "replicas", OF_ALL));
    errors.extend(exceeding(new, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas"));
    errors.extend(not_decremented(new, old));
    errors
}

/// `ValidateReplicaSetStatus`, also of ReplicationControllers.
pub(super) fn replica_set(new: &Value, _old: &Value) -> Errors {
    let parts = &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    let mut errors = counts(new, &["replicas"]);
    errors.extend(counts(new, parts));
    errors.extend(counts(new, &["terminatingReplicas", "observedGeneration"]));
    errors.extend(exceeding(new, parts, "replicas", OF_ALL));
    errors.extend(exceeding(new, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas"));
    errors
}

/// `ValidateStatefulSetStatus`.
pub(super) fn stateful_set(new: &Value, _old: &Value) -> Errors {
    let parts = &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    let mut errors = counts(new, &["replicas"]);
    errors.extend(counts(new, parts));
    errors.extend(counts(new, &["observedGeneration", "collisionCount"]));
    errors.extend(exceeding(new, parts, "replicas", OF_ALL));
    errors.extend(exceeding(
        new,
        &["availableReplicas"],
        "readyReplicas",
        "cannot be greater than status.readyReplicas",
    ));
    errors
}

/// `ValidateDaemonSetStatus`.
pub(super) fn daemon_set(new: &Value, old: &Value) -> Errors {
    let mut errors = counts(
        new,
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
    );
    errors.extend(not_decremented(new, old));
    errors
}

/// `ValidatePodDisruptionBudgetStatusUpdate`.
pub(super) fn budget(new: &Value) -> Errors {
    counts(new, &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|error| error.field.as_str()).collect()
    }

    #[test]
    fn no_part_is_greater_than_the_whole() {
        let new = json!({"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}});
        let errors = deployment(&new, &json!({}));
        assert_eq!(fields(&errors), ["status.readyReplicas", "status.availableReplicas", "status.availableReplicas"]);
    }

    #[test]
    fn collisions_are_never_taken_back() {
        let status = |count: i64| json!({"status": {"collisionCount": count}});
        assert_eq!(fields(&deployment(&status(1), &status(2))), ["status.collisionCount"]);
        assert_eq!(deployment(&status(2), &status(2)), []);
    }
}
