//! Rules of StatefulSets, one by one: a world, what a pass does in it.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use paddock_reconcile::{Plan, Verb};
use serde_json::{Value, json};

use super::{Snapshot, identity, plan};
use crate::fixtures::{self, at, merge};
use crate::names::name;
use crate::revisions;

fn now() -> Timestamp {
    at("01:00:00")
}

/// A set `s` of two pods, with a revision; what `spec` says is different.
struct World {
    snapshot: Snapshot,
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut set = json!({
            "metadata": {"name": "s", "namespace": "n", "uid": "set", "generation": 1},
            "spec": {
                "replicas": 2, "serviceName": "svc", "podManagementPolicy": "OrderedReady",
                "selector": {"matchLabels": {"app": "x"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            },
        });
        merge(&mut set["spec"], spec);
        let set: StatefulSet = serde_json::from_value(set).expect("a set");
        let mut world = Self {
            snapshot: Snapshot {
                set,
                pods: Vec::new(),
                revisions: Vec::new(),
                claims: std::collections::BTreeMap::new(),
            },
        };
        let first = world.revision();
        let current = name(&first.metadata).to_owned();
        world.snapshot.revisions.push(first);
        world.snapshot.set.status = Some(
            serde_json::from_value(json!({"replicas": 0, "availableReplicas": 0, "observedGeneration": 1,
                "currentRevision": current, "updateRevision": current, "collisionCount": 0}))
            .expect("a status"),
        );
        world
    }

    fn revision(&self) -> k8s_openapi::api::apps::v1::ControllerRevision {
        let set = &self.snapshot.set;
        let template = &set.spec.as_ref().expect("a spec").template;
        let data = revisions::data(template).expect("data");
        let hash = revisions::hash(&data, 0);
        revisions::new(set, template, data, revisions::next(&self.snapshot.revisions), &hash, revisions::HASH)
    }

    /// A pod of the template as it is now, in this state.
    fn pod(mut self, ordinal: i32, state: &str) -> Self {
        let set = &self.snapshot.set;
        let revision = name(&self.revision().metadata).to_owned();
        let mut pod = identity::pod(set, &set.spec.as_ref().expect("a spec").template, &revision, ordinal);
        pod.metadata.uid = Some(format!("uid-{ordinal}"));
        let mut pod = serde_json::to_value(pod).expect("JSON");
        pod["status"] = match state {
            "ready" | "ready-going" => json!({"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:59:50Z"}]}),
            "unready" => json!({"phase": "Running"}),
            phase => json!({"phase": phase}),
        };
        if state == "ready-going" {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z".into();
        }
        self.snapshot.pods.push(serde_json::from_value::<Pod>(pod).expect("a pod"));
        self
    }

    fn image(mut self, image: &str) -> Self {
        let spec = self.snapshot.set.spec.as_mut().expect("a spec");
        spec.template.spec.as_mut().expect("a spec").containers[0].image = Some(image.to_owned());
        self
    }

    fn claim(mut self, ordinal: i32, owner: Option<(&str, &str)>) -> Self {
        let mut claim = super::claims::of(&self.snapshot.set, ordinal).remove(0);
        claim.metadata.owner_references = owner.map(|(kind, name)| {
            let api_version = if kind == "Pod" { "v1" } else { "apps/v1" };
            vec![
                serde_json::from_value(json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": "old"}))
                    .expect("a reference"),
            ]
        });
        self.snapshot.claims.insert(name(&claim.metadata).to_owned(), claim);
        self
    }

    fn plan(&self) -> Plan {
        plan::plan(&self.snapshot, now()).expect("a plan")
    }

    /// What a pass writes, but for the status.
    fn writes(&self) -> Vec<String> {
        let acts = self.plan().acts;
        let told = acts.iter().flatten().filter_map(|act| {
            let target = format!("{} {}", act.target().kind.kind, act.target().name);
            match act.verb() {
                Verb::Create(_) => Some(format!("create {target}")),
                Verb::Update { subresource: Some(_), .. } => None,
                Verb::Update { .. } | Verb::Patch { .. } => Some(format!("update {target}")),
                Verb::Delete { .. } => Some(format!("delete {target}")),
            }
        });
        told.collect()
    }

    /// The status that a pass writes.
    fn status(&self) -> Option<Value> {
        fixtures::status(&self.plan()).cloned()
    }
}

#[test]
fn pods_are_made_one_after_the_other() {
    assert_eq!(World::new(&json!({})).writes(), ["create Pod s-0"]);
    assert!(World::new(&json!({})).pod(0, "unready").writes().is_empty());
    assert_eq!(World::new(&json!({})).pod(0, "ready").writes(), ["create Pod s-1"]);
}

#[test]
fn parallel_pods_are_made_at_once() {
    let world = World::new(&json!({"podManagementPolicy": "Parallel"}));
    assert_eq!(world.writes(), ["create Pod s-0", "create Pod s-1"]);
}

#[test]
fn a_pod_that_is_not_available_long_enough_holds_its_successor_back() {
    let world = World::new(&json!({"minReadySeconds": 30})).pod(0, "ready");
    assert!(world.writes().is_empty());
    assert_eq!(world.plan().look_again, "2026-01-01T01:00:20Z".parse().ok());
}

#[test]
fn ordinals_begin_where_they_are_asked_to() {
    let world = World::new(&json!({"ordinals": {"start": 5}, "podManagementPolicy": "Parallel"})).pod(0, "ready");
    assert_eq!(world.writes(), ["create Pod s-5", "create Pod s-6", "delete Pod s-0"]);
}

#[test]
fn a_pod_that_ended_is_deleted_and_made_anew_later() {
    assert_eq!(World::new(&json!({})).pod(0, "Failed").writes(), ["delete Pod s-0"]);
}

#[test]
fn scaling_down_takes_the_highest_ordinal_alone() {
    let world = World::new(&json!({"replicas": 1})).pod(0, "ready").pod(1, "ready").pod(2, "ready");
    assert_eq!(world.writes(), ["delete Pod s-2"]);
    let going = World::new(&json!({"replicas": 1})).pod(0, "ready").pod(1, "ready").pod(2, "ready-going");
    assert!(going.writes().is_empty());
}

#[test]
fn parallel_scaling_down_takes_all() {
    let spec = json!({"replicas": 1, "podManagementPolicy": "Parallel"});
    let world = World::new(&spec).pod(0, "ready").pod(1, "ready").pod(2, "Pending");
    assert_eq!(world.writes(), ["delete Pod s-2", "delete Pod s-1"]);
}

#[test]
fn ordered_scaling_down_waits_for_an_unhealthy_predecessor() {
    let world = World::new(&json!({"replicas": 1})).pod(0, "ready").pod(1, "unready").pod(2, "unready");
    assert!(world.writes().is_empty());
    let first = World::new(&json!({"replicas": 1})).pod(0, "ready").pod(1, "ready").pod(2, "unready");
    assert_eq!(first.writes(), ["delete Pod s-2"]);
}

#[test]
fn an_update_begins_with_a_revision_and_the_highest_ordinal() {
    let world = World::new(&json!({})).pod(0, "ready").pod(1, "ready").image("i:2");
    let writes = world.writes();
    assert!(writes[0].starts_with("create ControllerRevision s-"), "{writes:?}");
    assert_eq!(writes[1..], ["delete Pod s-1"]);
}

#[test]
fn an_update_waits_for_the_pod_before() {
    let world = World::new(&json!({"podManagementPolicy": "Parallel"})).pod(0, "ready").image("i:2").pod(1, "Pending");
    assert_eq!(world.writes().len(), 1, "the revision alone");
}

#[test]
fn an_update_takes_as_many_as_may_be_unavailable() {
    let spec = json!({"replicas": 4, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}});
    let world = (0..4).fold(World::new(&spec), |world, at| world.pod(at, "ready")).image("i:2");
    assert_eq!(world.writes()[1..], ["delete Pod s-3", "delete Pod s-2"]);
}

#[test]
fn an_update_stops_at_its_partition() {
    let spec = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let world = World::new(&spec).pod(0, "ready").pod(1, "ready").image("i:2");
    assert_eq!(world.writes().len(), 1, "the revision alone");
}

#[test]
fn a_pod_below_the_partition_is_made_anew_as_it_was() {
    let spec = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let world = World::new(&spec).image("i:2");
    let acts = world.plan().acts;
    let made = acts.iter().flatten().find_map(|act| match act.verb() {
        Verb::Create(body) if act.target().kind.kind == "Pod" => Some(body.clone()),
        _ => None,
    });
    assert_eq!(made.expect("a pod")["spec"]["containers"][0]["image"], "i:1");
}

#[test]
fn on_delete_updates_nothing_by_itself() {
    let spec = json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}});
    let world = World::new(&spec).pod(0, "ready").pod(1, "ready").image("i:2");
    assert_eq!(world.writes().len(), 1, "the revision alone");
}

#[test]
fn a_template_that_comes_back_renews_its_revision() {
    let mut world = World::new(&json!({})).image("i:2");
    let second = world.revision();
    world.snapshot.revisions.push(second);
    let back = world.image("i:1");
    assert_eq!(back.writes()[0], format!("update ControllerRevision {}", name(&back.snapshot.revisions[0].metadata)));
}

#[test]
fn a_name_that_is_taken_counts_as_a_collision() {
    let mut world = World::new(&json!({}));
    let taken = &mut world.snapshot.revisions[0];
    taken.metadata.owner_references.as_mut().expect("owners")[0].uid = "other".into();
    taken.data = Some(k8s_openapi::apimachinery::pkg::runtime::RawExtension(json!({"other": true})));
    assert_eq!(world.status().expect("a status")["collisionCount"], 1);
}

#[test]
fn an_update_that_is_through_makes_its_revision_current() {
    let world = World::new(&json!({})).image("i:2").pod(0, "ready").pod(1, "ready");
    let status = world.status().expect("a status");
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(2), &json!(2)));
}

#[test]
fn a_settled_set_writes_nothing() {
    let mut world = World::new(&json!({})).pod(0, "ready").pod(1, "ready");
    world.snapshot.set.status = serde_json::from_value(world.status().expect("a status")).ok();
    assert!(world.plan().acts.is_empty());
}

const TEMPLATE: &str = r#"[{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]"#;

fn with_claims(policy: &Value) -> World {
    let templates: Value = serde_json::from_str(TEMPLATE).expect("JSON");
    World::new(
        &json!({"replicas": 1, "volumeClaimTemplates": templates, "persistentVolumeClaimRetentionPolicy": policy}),
    )
}

#[test]
fn claims_come_before_their_pod() {
    let world = with_claims(&json!({}));
    assert_eq!(world.writes(), ["create PersistentVolumeClaim data-s-0", "create Pod s-0"]);
}

#[test]
fn a_claim_that_was_lost_comes_back_for_a_pending_pod() {
    let world = with_claims(&json!({})).pod(0, "Pending");
    assert_eq!(world.writes(), ["create PersistentVolumeClaim data-s-0"]);
}

#[test]
fn claims_that_go_with_the_set_are_its_own() {
    let world = with_claims(&json!({"whenDeleted": "Delete"})).pod(0, "ready").claim(0, None);
    assert_eq!(world.writes(), ["update PersistentVolumeClaim data-s-0"]);
}

#[test]
fn claims_that_go_when_scaled_down_belong_to_the_condemned_pod() {
    let policy = json!({"whenScaled": "Delete"});
    let world = with_claims(&policy).pod(0, "ready").pod(1, "ready").claim(0, None).claim(1, None);
    assert_eq!(world.writes(), ["update PersistentVolumeClaim data-s-1", "delete Pod s-1"]);
}

#[test]
fn a_claim_of_a_pod_that_is_gone_is_not_used_again() {
    let world = with_claims(&json!({"whenScaled": "Delete"})).claim(0, Some(("Pod", "s-0")));
    assert!(world.writes().is_empty());
}

#[test]
fn a_claim_that_is_being_deleted_is_waited_for() {
    let mut world = with_claims(&json!({})).claim(0, None);
    let claim = world.snapshot.claims.get_mut("data-s-0").expect("a claim");
    claim.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let plan = world.plan();
    let note = "create Pod s-0 in StatefulSet s failed error: pvc data-s-0 is being deleted";
    assert_eq!(plan.events.iter().map(|e| e.note.as_str()).collect::<Vec<_>>(), [note]);
}

#[test]
fn a_set_that_is_being_deleted_makes_nothing() {
    let mut world = World::new(&json!({}));
    world.snapshot.set.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert!(world.writes().is_empty());
}
