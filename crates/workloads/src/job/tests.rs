//! The rules of Jobs, plan by plan.

use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Controller as _, Plan};
use serde_json::{Value, json};

use super::{FINALIZER, Jobs, Snapshot};
use crate::Name;
use crate::fixtures::{at, created, deleted, merge, patched, status};

fn job(more: &Value) -> Value {
    let mut job = json!({
        "metadata": {"name": "j", "namespace": "n", "uid": "job"},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "selector": {"matchLabels": {"app": "x"}}, "podReplacementPolicy": "TerminatingOrFailed",
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}},
        },
        "status": {"startTime": "2026-01-01T00:00:00Z", "uncountedTerminatedPods": {}, "ready": 0, "terminating": 0},
    });
    merge(&mut job, more);
    job
}

fn pod(name: &str, more: &Value) -> Pod {
    let mut all = json!({"metadata": {"finalizers": [FINALIZER]}});
    merge(&mut all, more);
    crate::fixtures::pod(name, ("Job", "j", "job"), &all)
}

/// A pod that ended then.
fn ended(name: &str, how: &str, code: i32, time: &str) -> Pod {
    let finished = format!("2026-01-01T{time}Z");
    let state = json!({"terminated": {"exitCode": code, "finishedAt": finished}});
    pod(
        name,
        &json!({"status": {
            "phase": how,
            "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}],
        }}),
    )
}

fn indexed(pod: Pod, index: i32) -> Pod {
    let mut pod = pod;
    let index = (super::indexes::INDEX.to_owned(), index.to_string());
    pod.metadata.annotations.get_or_insert_default().extend([index]);
    pod
}

fn plan_at(job: Value, pods: Vec<Pod>, time: &str) -> Plan {
    let snapshot = Snapshot { job: Some(serde_json::from_value(job).expect("a job")), pods };
    Jobs::default().plan(&Name::new("n", "j"), &snapshot, at(time)).expect("a plan")
}

fn planned(job: Value, pods: Vec<Pod>) -> Plan {
    plan_at(job, pods, "01:00:00")
}

fn conditions(plan: &Plan) -> Vec<(String, String)> {
    let all = status(plan).and_then(|s| s["conditions"].as_array().cloned()).unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    all.iter().filter(|c| c["status"] == "True").map(|c| (text(&c["type"]), text(&c["reason"]))).collect()
}

fn is(kind: &str, reason: &str) -> (String, String) {
    (kind.to_owned(), reason.to_owned())
}

#[test]
fn new_job_starts_its_clock_and_its_pods() {
    let plan =
        planned(job(&json!({"status": {"startTime": null}, "spec": {"parallelism": 3, "completions": 2}})), vec![]);
    assert_eq!(created(&plan).len(), 2, "no more than are still needed");
    assert_eq!(created(&plan)[0]["metadata"]["finalizers"], json!([FINALIZER]));
    let status = status(&plan).expect("a status");
    assert_eq!((&status["active"], &status["startTime"]), (&json!(2), &json!("2026-01-01T01:00:00Z")));
}

#[test]
fn pod_is_written_down_before_its_finalizer_goes() {
    let plan = planned(job(&json!({"spec": {"completions": 2}})), vec![ended("a", "Succeeded", 0, "00:30:00")]);
    assert_eq!(status(&plan).map(|s| s["uncountedTerminatedPods"].clone()), Some(json!({"succeeded": ["uid-a"]})));
    let expected = json!({"metadata": {"uid": "uid-a", "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    assert_eq!(patched(&plan), [("a", &expected)]);
    let last = plan.acts.last().expect("steps");
    assert_eq!(last[0].target().name, "a", "the finalizer goes last");
}

#[test]
fn pod_without_its_finalizer_becomes_a_number() {
    let mut counted = ended("a", "Succeeded", 0, "00:30:00");
    counted.metadata.finalizers = None;
    let noted = json!({"spec": {"completions": 2}, "status": {"uncountedTerminatedPods": {"succeeded": ["uid-a"]}}});
    let plan = planned(job(&noted), vec![counted]);
    let status = status(&plan).expect("a status");
    assert_eq!((&status["succeeded"], &status["uncountedTerminatedPods"]), (&json!(1), &json!({})));
}

#[test]
fn success_is_told_before_the_job_is_complete() {
    let plan = planned(job(&json!({})), vec![ended("a", "Succeeded", 0, "00:30:00")]);
    assert_eq!(conditions(&plan), [is("SuccessCriteriaMet", "CompletionsReached")]);
}

#[test]
fn complete_job_has_a_time_and_an_event() {
    let met = json!([{"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached", "message": "m"}]);
    let plan = planned(job(&json!({"status": {"succeeded": 1, "conditions": met}})), vec![]);
    assert_eq!(conditions(&plan)[1], is("Complete", "CompletionsReached"));
    assert_eq!(status(&plan).map(|s| s["completionTime"].clone()), Some(json!("2026-01-01T01:00:00Z")));
    assert_eq!(plan.events[0].note, "Job completed");
}

#[test]
fn too_many_failures_end_the_job_and_its_pods() {
    let failed = json!({"spec": {"backoffLimit": 0, "parallelism": 2, "completions": 2}});
    let plan = planned(job(&failed), vec![ended("a", "Failed", 1, "00:30:00"), pod("b", &json!({}))]);
    assert_eq!(deleted(&plan), ["b"]);
    assert_eq!(conditions(&plan), [is("FailureTarget", "BackoffLimitExceeded")]);
    let uncounted = status(&plan).map(|s| s["uncountedTerminatedPods"]["failed"].clone());
    assert_eq!(uncounted, Some(json!(["uid-a", "uid-b"])), "what is killed by the end counts as failed");
}

#[test]
fn job_is_not_finished_while_a_pod_is_terminating() {
    let target = json!([{"type": "FailureTarget", "status": "True", "reason": "R", "message": "m"}]);
    let going = pod("b", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:59:00Z", "finalizers": []}}));
    let at_end = |pods| conditions(&planned(job(&json!({"status": {"conditions": target}})), pods)).len();
    assert_eq!((at_end(vec![going]), at_end(vec![])), (1, 2));
}

#[test]
fn failed_pod_is_replaced_after_the_backoff() {
    let failed = || vec![ended("a", "Failed", 1, "00:59:55")];
    let plan = planned(job(&json!({})), failed());
    assert!(created(&plan).is_empty());
    assert_eq!(plan.look_again, Some(at("01:00:05")));
    assert_eq!(created(&plan_at(job(&json!({})), failed(), "01:00:05")).len(), 1);
}

#[test]
fn job_beyond_its_deadline_fails() {
    let limited = || job(&json!({"spec": {"activeDeadlineSeconds": 3601}}));
    let plan = planned(limited(), vec![pod("a", &json!({}))]);
    assert_eq!(plan.look_again, Some(at("01:00:01")));
    let plan = plan_at(limited(), vec![pod("a", &json!({}))], "01:00:01");
    assert_eq!(conditions(&plan), [is("FailureTarget", "DeadlineExceeded")]);
}

#[test]
fn suspended_job_lets_its_pods_go_uncounted() {
    let plan = planned(job(&json!({"spec": {"suspend": true}})), vec![pod("a", &json!({}))]);
    assert_eq!(patched(&plan).len(), 1, "the finalizer goes first");
    assert_eq!(deleted(&plan), ["a"]);
    assert_eq!(conditions(&plan), [is("Suspended", "JobSuspended")]);
    assert_eq!(plan.events[0].reason, "Suspended");
}

#[test]
fn resumed_job_starts_its_clock_anew() {
    let suspended =
        json!([{"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}]);
    let plan = planned(job(&json!({"status": {"conditions": suspended}})), vec![]);
    assert_eq!(status(&plan).map(|s| s["startTime"].clone()), Some(json!("2026-01-01T01:00:00Z")));
    assert_eq!(plan.events[0].reason, "Resumed");
}

#[test]
fn exit_code_of_the_failure_policy_ends_the_job_with_its_words() {
    let rules = json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]);
    let plan = planned(
        job(&json!({"spec": {"podFailurePolicy": {"rules": rules}}})),
        vec![ended("a", "Failed", 42, "00:30:00")],
    );
    let told = &status(&plan).expect("a status")["conditions"][0];
    assert_eq!(told["message"], "Container c for pod n/a failed with exit code 42 matching FailJob rule at index 0");
    assert_eq!(told["reason"], "PodFailurePolicy");
}

#[test]
fn ignored_failure_counts_for_nothing() {
    let rules = json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]);
    let ignoring = json!({"spec": {"backoffLimit": 0, "podFailurePolicy": {"rules": rules}}});
    let mut lost = ended("a", "Failed", 1, "00:30:00");
    let condition = serde_json::from_value(json!({"type": "DisruptionTarget", "status": "True"})).expect("a condition");
    lost.status.as_mut().expect("a status").conditions = Some(vec![condition]);
    let plan = planned(job(&ignoring), vec![lost]);
    assert_eq!((conditions(&plan), created(&plan).len()), (vec![], 1));
    assert_eq!(status(&plan).map(|s| s["uncountedTerminatedPods"].clone()), Some(json!({})));
}

fn numbered(more: &Value) -> Value {
    let mut all = json!({"spec": {"completionMode": "Indexed", "completions": 3, "parallelism": 3}});
    merge(&mut all, more);
    job(&all)
}

#[test]
fn pods_of_an_indexed_job_carry_their_index() {
    let plan = planned(numbered(&json!({})), vec![indexed(ended("a", "Succeeded", 0, "00:30:00"), 1)]);
    let made = created(&plan);
    assert_eq!(made.iter().map(|p| p["metadata"]["generateName"].clone()).collect::<Vec<_>>(), ["j-0-", "j-2-"]);
    assert_eq!(made[1]["spec"]["hostname"], "j-2");
    assert_eq!(made[1]["metadata"]["labels"][super::indexes::INDEX], "2");
    assert_eq!(made[1]["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    let status = status(&plan).expect("a status");
    assert_eq!((&status["completedIndexes"], &status["succeeded"]), (&json!("1"), &json!(1)));
}

#[test]
fn second_pod_of_an_index_goes() {
    let pods = vec![indexed(pod("a", &json!({})), 0), indexed(pod("b", &crate::fixtures::ready("00:00:00")), 0)];
    assert_eq!(deleted(&planned(numbered(&json!({})), pods)), ["a"]);
}

#[test]
fn success_policy_ends_the_job_early() {
    let early = json!({"spec": {"successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]}}});
    let pods = vec![indexed(ended("a", "Succeeded", 0, "00:30:00"), 1), indexed(pod("b", &json!({})), 2)];
    let plan = planned(numbered(&early), pods);
    assert_eq!(status(&plan).map(|s| s["conditions"][0]["message"].clone()), Some(json!("Matched rules at index 0")));
    assert_eq!(deleted(&plan), ["b"]);
}

#[test]
fn failure_of_an_index_is_kept_until_its_successor_inherits_the_count() {
    let per_index =
        json!({"spec": {"backoffLimitPerIndex": 1, "backoffLimit": i32::MAX, "completions": 1, "parallelism": 1}});
    let mut failed = indexed(ended("a", "Failed", 1, "00:30:00"), 0);
    let plan = planned(numbered(&per_index), vec![failed.clone()]);
    assert!(patched(&plan).is_empty(), "it keeps its finalizer");
    assert_eq!(created(&plan)[0]["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"], "1");
    let count = ("batch.kubernetes.io/job-index-failure-count".to_owned(), "1".to_owned());
    failed.metadata.annotations.get_or_insert_default().extend([count]);
    let plan = planned(numbered(&per_index), vec![failed]);
    assert_eq!(status(&plan).map(|s| s["failedIndexes"].clone()), Some(json!("0")));
    assert_eq!(conditions(&plan), [is("FailureTarget", "FailedIndexes")]);
}

#[test]
fn pods_being_deleted_are_not_replaced_when_only_failed_ones_are() {
    let going = pod("a", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:59:00Z"}}));
    let replaced = |policy: &str| {
        let job = job(&json!({"spec": {"podReplacementPolicy": policy, "backoffLimit": 6}}));
        created(&plan_at(job, vec![going.clone()], "02:00:00")).len()
    };
    assert_eq!((replaced("Failed"), replaced("TerminatingOrFailed")), (0, 1));
}

#[test]
fn pods_of_a_job_that_is_gone_are_let_go() {
    let snapshot = Snapshot { job: None, pods: vec![pod("a", &json!({}))] };
    let plan = Jobs::default().plan(&Name::new("n", "j"), &snapshot, at("01:00:00")).expect("a plan");
    assert_eq!(patched(&plan).len(), 1);
}

#[test]
fn job_of_another_controller_is_left_alone() {
    let plan = planned(job(&json!({"spec": {"managedBy": "example.com/other"}})), vec![]);
    assert!(plan.acts.is_empty());
}
