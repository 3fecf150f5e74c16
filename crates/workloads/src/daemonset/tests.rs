//! Rules of DaemonSets, one by one.

use jiff::Timestamp;
use paddock_reconcile::{Plan, Verb};
use serde_json::{Value, json};

use super::failures::Due;
use super::{Snapshot, nodes, plan};
use crate::fixtures::{self, at};
use crate::names::name;
use crate::revisions::{self, REVISION};

fn now() -> Timestamp {
    at("01:00:00")
}

/// A set `ds` over these nodes, with the revision of its template.
fn world(pod: &Value, nodes: &[Value]) -> Snapshot {
    let mut spec = json!({"containers": [{"name": "c", "image": "i:1"}]});
    for (key, value) in pod.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let set = serde_json::from_value(json!({
        "metadata": {"name": "ds", "namespace": "n", "uid": "set", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "x"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": spec}},
    }))
    .expect("a set");
    let nodes = nodes.iter().map(|node| serde_json::from_value(node.clone()).expect("a node")).collect();
    let mut world = Snapshot { set, pods: Vec::new(), revisions: Vec::new(), nodes, due: Due::new() };
    let revision = revision(&world);
    world.revisions.push(revision);
    world
}

fn revision(world: &Snapshot) -> k8s_openapi::api::apps::v1::ControllerRevision {
    let template = &world.set.spec.as_ref().expect("a spec").template;
    let data = revisions::data(template).expect("data");
    let hash = revisions::hash(&data, 0);
    revisions::new(&world.set, template, data, revisions::next(&world.revisions), &hash, REVISION)
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
}

/// A pod of the template as it is now.
fn with_pod(mut world: Snapshot, on: &str, ready: bool) -> Snapshot {
    let labels = revision(&world).metadata.labels.expect("labels");
    let status = if ready { "True" } else { "False" };
    let owner = serde_json::to_value(crate::owner::reference(&world.set)).expect("JSON");
    let pod = json!({"metadata": {"name": format!("ds-{on}-{}", world.pods.len()), "namespace": "n",
        "uid": format!("{on}-{}", world.pods.len()), "labels": labels, "ownerReferences": [owner],
        "creationTimestamp": format!("2026-01-01T00:00:0{}Z", world.pods.len())},
        "spec": {"nodeName": on, "containers": []}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    world.pods.push(serde_json::from_value(pod).expect("a pod"));
    world
}

fn image(mut world: Snapshot, image: &str) -> Snapshot {
    let spec = world.set.spec.as_mut().expect("a spec");
    spec.template.spec.as_mut().expect("a spec").containers[0].image = Some(image.into());
    world
}

fn pass(world: &Snapshot) -> Plan {
    plan::plan(world, now()).expect("a plan")
}

/// Nodes that get a pod, and pods that go.
fn moves(world: &Snapshot) -> (Vec<String>, Vec<String>) {
    let (mut made, mut gone) = (Vec::new(), Vec::new());
    for act in pass(world).acts.iter().flatten().filter(|act| act.target().kind.kind == "Pod") {
        match act.verb() {
            Verb::Create(body) => {
                let pod = serde_json::from_value(body.clone()).expect("a pod");
                made.push(nodes::of(&pod).expect("a node").to_owned());
            }
            Verb::Delete { .. } => gone.push(act.target().name.clone()),
            _ => {}
        }
    }
    (made, gone)
}

fn status(world: &Snapshot) -> Value {
    fixtures::status(&pass(world)).expect("a status").clone()
}

#[test]
fn every_node_gets_a_pod() {
    let world = world(&json!({}), &[node("a"), node("b")]);
    assert_eq!(moves(&with_pod(world, "a", true)), (vec!["b".to_owned()], vec![]));
}

#[test]
fn a_node_that_is_not_selected_gets_none() {
    let other = world(&json!({"nodeSelector": {"none": "x"}}), &[node("a")]);
    assert_eq!(moves(&other), (vec![], vec![]));
    let status = status(&other);
    assert_eq!((&status["desiredNumberScheduled"], &status["observedGeneration"]), (&json!(0), &json!(1)));
}

#[test]
fn affinity_chooses_nodes() {
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a"]}]});
    let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [term]}}}});
    assert_eq!(moves(&world(&affinity, &[node("a"), node("b")])).0, ["b"]);
}

#[test]
fn taints_keep_pods_away_unless_tolerated() {
    let tainted = |effect: &str, key: &str| {
        let mut node = node("a");
        node["spec"] = json!({"taints": [{"key": key, "effect": effect}]});
        node
    };
    let none = json!({});
    assert!(moves(&world(&none, &[tainted("NoSchedule", "k")])).0.is_empty());
    assert_eq!(moves(&world(&none, &[tainted("NoSchedule", "node.kubernetes.io/unschedulable")])).0, ["a"]);
    let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
    assert_eq!(moves(&world(&tolerant, &[tainted("NoExecute", "k")])).0, ["a"]);
    let there = with_pod(world(&none, &[tainted("NoSchedule", "k")]), "a", true);
    assert!(moves(&there).1.is_empty(), "it may stay");
    let evicted = with_pod(world(&none, &[tainted("NoExecute", "k")]), "a", true);
    assert_eq!(moves(&evicted).1, ["ds-a-0"]);
}

#[test]
fn of_two_pods_on_a_node_the_older_stays() {
    let world = with_pod(with_pod(world(&json!({}), &[node("a")]), "a", true), "a", true);
    assert_eq!(moves(&world).1, ["ds-a-1"]);
}

#[test]
fn update_takes_one_node_after_the_other() {
    let both = with_pod(with_pod(world(&json!({}), &[node("a"), node("b")]), "a", true), "b", true);
    let changed = image(both, "i:2");
    assert_eq!(moves(&changed).1, ["ds-a-0"]);
    let half = with_pod(image(with_pod(world(&json!({}), &[node("a"), node("b")]), "a", true), "i:2"), "b", false);
    assert!(moves(&half).1.is_empty(), "the new one does not serve yet");
}

#[test]
fn update_replaces_what_does_not_serve_in_any_case() {
    let both = with_pod(with_pod(world(&json!({}), &[node("a"), node("b")]), "a", false), "b", false);
    assert_eq!(moves(&image(both, "i:2")).1, ["ds-a-0", "ds-b-1"]);
}

#[test]
fn surge_starts_the_new_pod_first() {
    let surging = |mut world: Snapshot| {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
        world.set.spec.as_mut().expect("a spec").update_strategy = serde_json::from_value(strategy).ok();
        world
    };
    let old = image(surging(with_pod(world(&json!({}), &[node("a")]), "a", true)), "i:2");
    assert_eq!(moves(&old), (vec!["a".to_owned()], vec![]));
    let both = with_pod(old, "a", true);
    assert_eq!(moves(&both), (vec![], vec!["ds-a-0".to_owned()]));
}

#[test]
fn on_delete_updates_nothing_by_itself() {
    let mut world = image(with_pod(world(&json!({}), &[node("a")]), "a", true), "i:2");
    let strategy = json!({"type": "OnDelete"});
    world.set.spec.as_mut().expect("a spec").update_strategy = serde_json::from_value(strategy).ok();
    assert_eq!(moves(&world), (vec![], vec![]));
}

#[test]
fn pod_whose_node_went_before_it_got_there_goes() {
    let mut world = with_pod(world(&json!({}), &[]), "a", false);
    let spec = world.pods[0].spec.as_mut().expect("a spec");
    spec.node_name = None;
    nodes::tie(spec, "a");
    assert_eq!(moves(&world).1, ["ds-a-0"]);
}

#[test]
fn status_counts_nodes() {
    let mut elsewhere = node("c");
    elsewhere["spec"] = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let world = world(&json!({}), &[node("a"), node("b"), elsewhere]);
    let world = with_pod(with_pod(world, "a", true), "c", true);
    let status = status(&world);
    let numbers = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "numberUnavailable",
        "updatedNumberScheduled",
        "numberMisscheduled",
    ];
    assert_eq!(numbers.map(|n| status[n].as_i64().unwrap_or(0)), [2, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn settled_set_writes_nothing() {
    let mut world = with_pod(world(&json!({}), &[node("a")]), "a", true);
    world.set.status = serde_json::from_value(status(&world)).ok();
    assert!(pass(&world).acts.is_empty());
}

#[test]
fn first_pass_makes_the_revision() {
    let mut world = world(&json!({}), &[]);
    let expected = name(&world.revisions.remove(0).metadata).to_owned();
    let made: Vec<_> = pass(&world)
        .acts
        .iter()
        .flatten()
        .filter(|a| matches!(a.verb(), Verb::Create(_)))
        .map(|a| a.target().name.clone())
        .collect();
    assert_eq!(made, [expected]);
}

#[test]
fn failed_pod_goes_when_it_is_due_and_is_looked_at_again_until_then() {
    let mut world = with_pod(world(&json!({}), &[node("a")]), "a", false);
    world.pods[0].status.as_mut().expect("a status").phase = Some("Failed".into());
    world.due = [("a-0".to_owned(), at("01:00:08"))].into();
    assert_eq!((moves(&world).1, pass(&world).look_again), (vec![], Some(at("01:00:08"))));
    world.due = [("a-0".to_owned(), at("01:00:00"))].into();
    assert_eq!(moves(&world).1, ["ds-a-0"]);
}
