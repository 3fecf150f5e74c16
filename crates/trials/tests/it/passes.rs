//! What one process does, pass by pass.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::events::v1::Event;
use paddock_reconcile::{Dependency, Error};
use paddock_trials::Process;
use paddock_trials::kubelet::{Fate, Kubelet};
use paddock_trials::tap::Failure;
use serde_json::{Value, json};

use crate::sample::Sample;
use crate::stand::{Stand, sample};

fn uid(object: Option<Value>) -> String {
    object.expect("it exists")["metadata"]["uid"].as_str().expect("a uid").to_owned()
}

#[tokio::test]
async fn drift_of_an_owned_field_is_reverted_and_a_foreign_field_is_left() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    let theirs = json!({"metadata": {"annotations": {"theirs": "1"}}, "spec": {"replicas": 5}});
    world.merge::<Deployment>("a", "web", &theirs).await;
    process.settle().await;
    let live = world.get::<Deployment>("a", "web").await.expect("it exists");
    assert_eq!(live["spec"]["replicas"], 1);
    assert_eq!(live["metadata"]["annotations"]["theirs"], "1");
}

#[tokio::test]
async fn object_no_longer_wanted_is_deleted_and_its_neighbour_is_kept() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.intent("a", &json!({"image": "web:1", "service": "false"})).await;
    process.settle().await;
    assert!(world.get::<Service>("a", "web").await.is_none());
    assert!(world.get::<Deployment>("a", "web").await.is_some());
    assert!(world.get::<Service>("b", "web").await.is_some());
}

#[tokio::test]
async fn removed_intent_is_torn_down_after_a_restart_too() {
    let world = Stand::two_tenants().await;
    sample().start(&world).settle().await;
    world.delete::<ConfigMap>("a", "app").await;
    sample().start(&world).settle().await;
    assert!(world.get::<Deployment>("a", "web").await.is_none());
    let record = world.get::<ConfigMap>("sample-system", "record").await.expect("the other tenant's record");
    assert_eq!(record["data"]["a"], Value::Null);
}

#[tokio::test]
async fn what_a_dead_process_made_is_deleted_when_the_intent_went_meanwhile() {
    let world = Stand::two_tenants().await;
    let mut dying = sample().start(&world);
    // The first write is the record, the second the workload.
    dying.tap.fail(Failure::CrashAfter(2));
    dying.settle().await;
    assert!(world.get::<Deployment>("a", "web").await.is_some());
    world.delete::<ConfigMap>("a", "app").await;
    sample().start(&world).settle().await;
    assert!(world.get::<Deployment>("a", "web").await.is_none());
}

#[tokio::test]
async fn protected_object_is_not_deleted() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.merge::<Service>("a", "web", &json!({"metadata": {"annotations": {"paddock.dev/protect": "true"}}})).await;
    world.intent("a", &json!({"image": "web:1", "service": "false"})).await;
    process.settle().await;
    assert!(world.get::<Service>("a", "web").await.is_some());
}

#[tokio::test]
async fn namesake_of_a_recorded_object_is_not_deleted() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.delete::<Service>("a", "web").await;
    let spec = json!({"ports": [{"port": 1}]});
    let metadata = json!({"name": "web", "namespace": "a"});
    world.apply(&paddock_reconcile::Kind::of::<Service>(), json!({"metadata": metadata, "spec": spec})).await;
    world.intent("a", &json!({"image": "web:1", "service": "false"})).await;
    process.settle().await;
    assert!(world.get::<Service>("a", "web").await.is_some());
}

#[tokio::test]
async fn single_object_is_deleted_by_its_uid_and_a_namesake_stays() {
    let world = Stand::two_tenants().await;
    let stray = json!({"metadata": {"name": "stray", "namespace": "a"}, "spec": {"ports": [{"port": 1}]}});
    let service = paddock_reconcile::Kind::of::<Service>();
    world.apply(&service, stray.clone()).await;
    let known = uid(world.get::<Service>("a", "stray").await);
    world.intent("a", &json!({"image": "web:1", "removes": format!("stray={known}")})).await;
    let mut process = sample().start(&world);
    process.round().await.expect("a round");
    assert!(world.get::<Service>("a", "stray").await.is_none());
    world.apply(&service, stray).await;
    world.intent("a", &json!({"image": "web:2", "removes": format!("stray={known}")})).await;
    process.round().await.expect("a round");
    assert!(world.get::<Service>("a", "stray").await.is_some());
    assert!(world.get::<Deployment>("a", "web").await.is_some());
}

#[tokio::test]
async fn immutable_selector_recreates_the_deployment() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    let before = uid(world.get::<Deployment>("a", "web").await);
    world.intent("a", &json!({"image": "web:1", "app": "other"})).await;
    process.settle().await;
    let live = world.get::<Deployment>("a", "web").await;
    assert_eq!(live.as_ref().expect("it exists")["spec"]["selector"]["matchLabels"]["app"], "other");
    assert_ne!(uid(live), before);
}

#[tokio::test]
async fn statefulset_is_recreated_without_its_pods() {
    let world = Stand::empty().await;
    world.tenant("a").await;
    world.intent("a", &json!({"image": "web:1", "stateful": "true", "serviceName": "one"})).await;
    let mut process = sample().start(&world);
    process.settle().await;
    Kubelet::new().step(&world).await.expect("a step");
    let pod = uid(world.get::<Pod>("a", "web-0").await);
    let before = uid(world.get::<StatefulSet>("a", "web").await);
    world.intent("a", &json!({"image": "web:1", "stateful": "true", "serviceName": "two"})).await;
    process.tap.clear();
    process.round().await.expect("a round");
    // The garbage collector is off: it would take the finalizer away once the pods have no owner.
    if let Some(lingering) = world.get::<StatefulSet>("a", "web").await
        && lingering["metadata"]["deletionTimestamp"].is_string()
    {
        assert_eq!(lingering["metadata"]["finalizers"], json!(["orphan"]));
        world.merge::<StatefulSet>("a", "web", &json!({"metadata": {"finalizers": null}})).await;
    }
    process.settle().await;
    assert_ne!(uid(world.get::<StatefulSet>("a", "web").await), before);
    assert_eq!(uid(world.get::<Pod>("a", "web-0").await), pod);
}

#[tokio::test]
async fn gate_holds_back_what_comes_after_until_the_workload_is_ready() {
    let world = Stand::empty().await;
    world.tenant("a").await;
    world.intent("a", &json!({"image": "web:1", "gate": "true"})).await;
    let mut process = sample().start(&world);
    let mut kubelet = Kubelet::new();
    kubelet.set("a", "web", Fate::Crash).step(&world).await.expect("a step");
    let passed = process.settle().await;
    assert!(matches!(&passed["a"].result, Err(Error::Waiting { on, .. }) if matches!(**on, Dependency::Object(_))));
    kubelet.step(&world).await.expect("a step");
    process.settle().await;
    assert!(world.get::<Service>("a", "web").await.is_none());
    kubelet.set("a", "web", Fate::Ready).step(&world).await.expect("a step");
    process.settle().await;
    assert!(world.get::<Service>("a", "web").await.is_some());
}

#[tokio::test]
async fn foreign_object_is_named_in_the_refusal() {
    let world = Stand::two_tenants().await;
    let metadata = json!({"name": "web", "namespace": "a", "labels": {"app.kubernetes.io/managed-by": "helm"}});
    let spec = json!({"ports": [{"port": 1}]});
    world.apply(&paddock_reconcile::Kind::of::<Service>(), json!({"metadata": metadata, "spec": spec})).await;
    let passed = sample().start(&world).settle().await;
    let message = passed["a"].message().expect("a refusal");
    assert_eq!(message, r#"NotOurs: Service a/web exists and is managed by "helm"; it is left alone"#);
    assert!(passed["b"].result.is_ok());
}

#[tokio::test]
async fn lost_answer_is_transient_and_the_next_pass_writes_nothing_twice() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.tap.fail(Failure::ResponseLost(2));
    let passed = process.round().await.expect("a round");
    assert_eq!(passed["a"].outcome(), "transient");
    assert_eq!(passed["b"].outcome(), "settled");
    process.settle().await;
    let applied = process.tap.writes().iter().filter(|w| w.resource == "deployments" && w.namespace == "a").count();
    assert_eq!(applied, 1);
}

#[tokio::test]
async fn event_is_written_when_something_changed_and_never_again() {
    let world = Stand::two_tenants().await;
    let subject = sample();
    for (round, expected) in [(0, 2), (1, 0)] {
        let mut process = subject.start(&world);
        process.settle().await;
        let events = process.tap.writes().iter().filter(|w| w.resource == "events").count();
        assert_eq!(events, expected, "process {round}");
    }
}

/// The events of this reason that were written so far.
async fn events(world: &Stand, reason: &str) -> Vec<Value> {
    let mut events = world.list::<Event>("a").await;
    events.retain(|event| event["reason"] == reason);
    events
}

/// Changes what tenant `a` wants, so many minutes later.
async fn change(world: &Stand, process: &mut Process<Sample>, minutes: u64, image: &str) {
    process.cx.clock().advance(Duration::from_secs(60 * minutes));
    world.intent("a", &json!({"image": image})).await;
    process.settle().await;
}

#[tokio::test]
async fn event_that_repeats_is_one_object_with_a_series_until_it_was_silent_for_six_minutes() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    for (minutes, image) in [(5, "web:2"), (6, "web:3"), (7, "web:4")] {
        change(&world, &mut process, minutes, image).await;
    }
    let mut told: Vec<_> = events(&world, "Applied").await;
    told.sort_by_key(|event| event["eventTime"].to_string());
    let told: Vec<_> = told.iter().map(|event| (&event["eventTime"], &event["series"])).collect();
    let series = json!({"count": 3, "lastObservedTime": "2026-01-01T00:11:00.000000Z"});
    let [first, second] = ["2026-01-01T00:00:00.000000Z", "2026-01-01T00:18:00.000000Z"].map(Value::from);
    assert_eq!(told, [(&first, &series), (&second, &Value::Null)]);
}

#[tokio::test]
async fn event_whose_object_is_gone_is_written_anew_with_its_series() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    let before = events(&world, "Applied").await;
    world.delete::<Event>("a", before[0]["metadata"]["name"].as_str().expect("a name")).await;
    change(&world, &mut process, 1, "web:2").await;
    let counts: Vec<_> = events(&world, "Applied").await.iter().map(|event| event["series"]["count"].clone()).collect();
    assert_eq!(counts, [json!(2)]);
}

/// The notes of the events about drift, as often as they were told so far.
async fn drift_events(world: &Stand) -> Vec<String> {
    let mut told = Vec::new();
    for event in events(world, "Drift").await {
        let times = event["series"]["count"].as_u64().unwrap_or(1);
        told.extend((0..times).filter_map(|_| event["note"].as_str().map(str::to_owned)));
    }
    told
}

#[tokio::test]
async fn gw_w02_drift_is_reported_once_with_who_changed_what() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.edit::<Service>("a", "web", "kubectl-edit", &json!({"spec": {"selector": {"app": "theirs"}}})).await;
    process.settle().await;
    let live = world.get::<Service>("a", "web").await.expect("it exists");
    assert_eq!(live["spec"]["selector"]["app"], "web");
    let said = drift_events(&world).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("Service a/web: kubectl-edit (Update, 20"), "{said:?}");
    assert!(said[0].ends_with(") changed spec.selector; it was put right"), "{said:?}");
}

#[tokio::test]
async fn gw_w02_drift_is_told_from_a_change_of_the_plan() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.intent("a", &json!({"image": "web:2"})).await;
    process.settle().await;
    assert!(drift_events(&world).await.is_empty());
}

#[tokio::test]
async fn gw_w02_drift_while_nobody_looked_is_found_after_a_restart() {
    let world = Stand::two_tenants().await;
    sample().start(&world).settle().await;
    world.edit::<Service>("a", "web", "kubectl-edit", &json!({"spec": {"selector": {"app": "theirs"}}})).await;
    sample().start(&world).settle().await;
    assert_eq!(drift_events(&world).await.len(), 1);
}

#[tokio::test]
async fn gw_w02_reported_drift_is_left_and_the_rest_follows_the_plan() {
    let world = Stand::two_tenants().await;
    world.intent("a", &json!({"image": "web:1", "drift": "report"})).await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.edit::<Service>("a", "web", "kubectl-edit", &json!({"spec": {"selector": {"app": "theirs"}}})).await;
    process.settle().await;
    process.tap.clear();
    process.round().await.expect("a round");
    assert_eq!(process.tap.writes(), [], "reported drift is silent");
    // Another process; then another plan.
    let mut process = sample().start(&world);
    world.intent("a", &json!({"image": "web:1", "drift": "report", "app": "other"})).await;
    process.settle().await;
    let live = world.get::<Service>("a", "web").await.expect("it exists");
    assert_eq!(live["spec"]["selector"]["app"], "theirs");
    assert_eq!(live["metadata"]["labels"]["app"], "other");
    assert!(drift_events(&world).await[0].ends_with("it is left so"));
}

#[tokio::test]
async fn gw_w02_deleted_object_comes_back_unless_drift_is_only_reported() {
    for (rule, back) in [("revert", true), ("report", false)] {
        let world = Stand::two_tenants().await;
        world.intent("a", &json!({"image": "web:1", "drift": rule})).await;
        let mut process = sample().start(&world);
        process.settle().await;
        world.delete::<Service>("a", "web").await;
        process.settle().await;
        assert_eq!(world.get::<Service>("a", "web").await.is_some(), back, "{rule}");
        assert_eq!(drift_events(&world).await.len(), 1, "{rule}");
    }
}

#[tokio::test]
async fn closed_gate_does_not_hold_back_deletions() {
    let world = Stand::empty().await;
    world.tenant("a").await;
    world.intent("a", &json!({"image": "web:1"})).await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.intent("a", &json!({"image": "web:1", "gate": "true", "service": "false"})).await;
    process.settle().await;
    assert!(world.get::<Service>("a", "web").await.is_none());
}

/// Whoever may write the record names somebody else's object in it, with its right uid.
#[tokio::test]
async fn gw_l24_record_that_names_a_stranger_deletes_nothing_of_his() {
    let world = Stand::two_tenants().await;
    let mut process = sample().start(&world);
    process.settle().await;
    let record = world.get::<ConfigMap>("sample-system", "record").await.expect("a record");
    let of_b = record["data"]["b"].clone();
    world.merge::<ConfigMap>("sample-system", "record", &json!({"data": {"a": of_b}})).await;
    process.settle().await;
    assert!(world.get::<Deployment>("b", "web").await.is_some());
    assert!(world.get::<Service>("b", "web").await.is_some());
}

async fn told(world: &Stand) -> String {
    let told = world.get::<ConfigMap>("a", "told").await;
    told.map_or_else(String::new, |told| told["data"]["is"].as_str().expect("it says something").to_owned())
}

/// A world whose tenant a reports, and may lose nothing.
async fn reporting() -> Stand {
    let world = Stand::two_tenants().await;
    world.intent("a", &json!({"image": "web:1", "report": "true"})).await;
    world
}

#[tokio::test]
async fn pass_that_changed_something_leaves_its_report_to_the_next() {
    let world = reporting().await;
    let mut process = sample().start(&world);
    process.round().await.expect("a round");
    assert!(world.get::<Deployment>("a", "web").await.is_some());
    assert_eq!(told(&world).await, "");
    process.round().await.expect("a round");
    assert_eq!(told(&world).await, "well");
    process.tap.clear();
    process.round().await.expect("a round");
    assert_eq!(process.tap.writes(), []);
}

#[tokio::test]
async fn report_is_not_held_back_twice_in_a_row() {
    let world = reporting().await;
    let mut process = sample().start(&world);
    process.round().await.expect("a round");
    world.merge::<Deployment>("a", "web", &json!({"spec": {"replicas": 5}})).await;
    process.round().await.expect("a round");
    assert_eq!(world.get::<Deployment>("a", "web").await.expect("it exists")["spec"]["replicas"], 1);
    assert_eq!(told(&world).await, "well");
}

#[tokio::test]
async fn deletion_that_fails_again_and_again_is_told_once() {
    let world = reporting().await;
    let mut process = sample().start(&world);
    process.settle().await;
    world.intent("a", &json!({"image": "web:1", "report": "true", "service": "false"})).await;
    process.settle().await;
    assert!(told(&world).await.contains("1 objects would be deleted"), "{}", told(&world).await);
    for again in [false, true] {
        if again {
            process = sample().start(&world);
        }
        process.tap.clear();
        process.round().await.expect("a round");
        assert_eq!(process.tap.writes(), [], "after a restart: {again}");
    }
    world.intent("a", &json!({"image": "web:1", "report": "true"})).await;
    process.settle().await;
    assert_eq!(told(&world).await, "well");
}
