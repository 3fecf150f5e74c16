//! Rules of claims and volumes, one by one.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use paddock_reconcile::{Plan, Verb};
use serde_json::{Value, json};

use super::{claim, matching, volume};
use crate::fixtures::merge;

fn merged(mut base: Value, more: &Value) -> Value {
    merge(&mut base, more);
    base
}

fn pv(name: &str, more: &Value) -> PersistentVolume {
    let base = json!({"metadata": {"name": name, "uid": name}, "status": {"phase": "Available"},
        "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "k"}});
    serde_json::from_value(merged(base, more)).expect("a volume")
}

fn pvc(more: &Value) -> PersistentVolumeClaim {
    let base = json!({"metadata": {"name": "c", "namespace": "n", "uid": "claim"}, "status": {"phase": "Pending"},
        "spec": {"storageClassName": "k", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    serde_json::from_value(merged(base, more)).expect("a claim")
}

fn of_claim(claim: PersistentVolumeClaim, volumes: Vec<PersistentVolume>, classes: &Value) -> Plan {
    let classes = serde_json::from_value(classes.clone()).expect("classes");
    claim::plan(&claim::Known { claim, volumes, classes, waiting: Vec::new() }).expect("a plan")
}

fn of_volume(volume: PersistentVolume, claim: Option<PersistentVolumeClaim>) -> Plan {
    volume::plan(&volume::Known { volume, claim }).expect("a plan")
}

/// Kinds that are written, and phases.
fn told(plan: &Plan) -> Vec<String> {
    let one = |act: &paddock_reconcile::Act| match act.verb() {
        Verb::Update { body, subresource: Some(_) } => body["status"]["phase"].as_str().unwrap_or_default().to_owned(),
        _ => act.target().kind.kind.to_string(),
    };
    plan.acts.iter().flatten().map(one).collect()
}

fn said(plan: &Plan) -> Vec<(String, String)> {
    plan.events.iter().map(|e| (e.reason.clone(), e.note.clone())).collect()
}

fn one(reason: &str, note: &str) -> Vec<(String, String)> {
    vec![(reason.to_owned(), note.to_owned())]
}

const MINE: &str = r#"{"spec": {"claimRef": {"namespace": "n", "name": "c", "uid": "claim"}}}"#;

fn mine() -> Value {
    serde_json::from_str(MINE).expect("JSON")
}

#[test]
fn smallest_volume_that_fits_is_chosen() {
    let size = |size: &str| json!({"spec": {"capacity": {"storage": size}}});
    let volumes = [pv("big", &size("5Gi")), pv("small", &size("1Gi")), pv("tiny", &size("1G"))];
    let best = matching::best(&pvc(&json!({})), &volumes, false).and_then(|v| v.metadata.name.as_deref());
    assert_eq!(best, Some("small"));
}

#[test]
fn volume_that_does_not_fit_is_not_chosen() {
    let others = [
        json!({"spec": {"storageClassName": "other"}}),
        json!({"spec": {"accessModes": ["ReadOnlyMany"]}}),
        json!({"spec": {"volumeMode": "Block"}}),
        json!({"status": {"phase": "Released"}}),
        json!({"spec": {"claimRef": {"namespace": "n", "name": "other"}}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    ];
    for other in &others {
        assert!(matching::best(&pvc(&json!({})), &[pv("v", other)], false).is_none(), "{other}");
    }
}

#[test]
fn selector_of_a_claim_chooses_by_labels() {
    let claim = pvc(&json!({"spec": {"selector": {"matchLabels": {"disk": "fast"}}}}));
    assert!(matching::best(&claim, &[pv("v", &json!({}))], false).is_none());
    let fast = json!({"metadata": {"labels": {"disk": "fast"}}});
    assert!(matching::best(&claim, &[pv("v", &fast)], false).is_some());
}

#[test]
fn volume_kept_for_a_claim_comes_before_all_others() {
    let kept = json!({"spec": {"capacity": {"storage": "9Gi"}, "claimRef": {"namespace": "n", "name": "c"}}});
    let volumes = [pv("a", &json!({})), pv("kept", &kept)];
    let best = matching::best(&pvc(&json!({})), &volumes, true).and_then(|v| v.metadata.name.as_deref());
    assert_eq!(best, Some("kept"));
}

#[test]
fn binding_goes_step_by_step_volume_first() {
    let (mut claim, mut volume) = (pvc(&json!({})), pv("v", &json!({})));
    let mut steps = Vec::new();
    for _ in 0..4 {
        let plan = of_claim(claim.clone(), vec![volume.clone()], &json!([]));
        steps.push(told(&plan).join(" "));
        for act in plan.acts.iter().flatten() {
            let Verb::Update { body, .. } = act.verb() else { panic!("no update") };
            match &*act.target().kind.kind {
                "PersistentVolume" => volume = serde_json::from_value(body.clone()).expect("a volume"),
                _ => claim = serde_json::from_value(body.clone()).expect("a claim"),
            }
        }
    }
    assert_eq!(steps, ["PersistentVolume", "Bound PersistentVolumeClaim", "Bound", ""]);
    assert_eq!(claim.spec.and_then(|spec| spec.volume_name).as_deref(), Some("v"));
    let marks = ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"];
    assert_eq!(claim.metadata.annotations, Some(marks.map(|mark| (mark.to_owned(), "yes".to_owned())).into()));
}

#[test]
fn volume_that_was_kept_for_the_claim_was_not_bound_by_the_controller() {
    let kept = pv("v", &json!({"spec": {"claimRef": {"namespace": "n", "name": "c"}}}));
    let plan = of_claim(pvc(&json!({"spec": {"volumeName": "v"}})), vec![kept], &json!([]));
    let Verb::Update { body, .. } = plan.acts[0][0].verb() else { panic!("no update") };
    assert_eq!((body.pointer("/metadata/annotations"), &body["spec"]["claimRef"]["uid"]), (None, &json!("claim")));
}

#[test]
fn claim_without_volume_and_class_says_so() {
    let plan = of_claim(pvc(&json!({"spec": {"storageClassName": ""}})), vec![], &json!([]));
    let note = "no persistent volumes available for this claim and no storage class is set";
    assert_eq!(said(&plan), one("FailedBinding", note));
}

#[test]
fn claim_of_a_class_that_is_missing_says_so() {
    let plan = of_claim(pvc(&json!({})), vec![], &json!([]));
    assert_eq!(said(&plan), one("ProvisioningFailed", "storageclass.storage.k8s.io \"k\" not found"));
}

#[test]
fn claim_that_a_node_decides_about_waits_for_a_pod() {
    let classes = json!([{"metadata": {"name": "k"}, "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer"}]);
    let plan = of_claim(pvc(&json!({})), vec![pv("v", &json!({}))], &classes);
    assert_eq!(said(&plan), one("WaitForFirstConsumer", "waiting for first consumer to be created before binding"));
}

#[test]
fn provisioner_of_a_class_is_asked() {
    let classes =
        json!([{"metadata": {"name": "k"}, "provisioner": "example.com/p", "volumeBindingMode": "Immediate"}]);
    let plan = of_claim(pvc(&json!({})), vec![], &classes);
    let Verb::Update { body, .. } = plan.acts[0][0].verb() else { panic!("no update") };
    assert_eq!(body["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"], "example.com/p");
    assert_eq!(plan.events[0].reason, "ExternalProvisioning");
}

#[test]
fn claim_that_says_nothing_of_classes_gets_the_default() {
    let classes = json!([{"metadata": {"name": "d", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "p"}]);
    let plan = of_claim(pvc(&json!({"spec": {"storageClassName": null}})), vec![], &classes);
    let Verb::Update { body, .. } = plan.acts[0][0].verb() else { panic!("no update") };
    assert_eq!(body["spec"]["storageClassName"], "d");
}

#[test]
fn volume_that_is_too_small_is_refused_in_words() {
    let claim = pvc(&json!({"spec": {"volumeName": "v", "resources": {"requests": {"storage": "3Gi"}}}}));
    let plan = of_claim(claim, vec![pv("v", &json!({}))], &json!([]));
    assert_eq!(said(&plan), one("VolumeMismatch", "Cannot bind to requested volume \"v\": requested PV is too small"));
}

#[test]
fn volume_of_another_claim_is_refused_in_words() {
    let other = pv("v", &json!({"spec": {"claimRef": {"namespace": "n", "name": "other", "uid": "o"}}}));
    let plan = of_claim(pvc(&json!({"spec": {"volumeName": "v"}})), vec![other], &json!([]));
    assert_eq!(said(&plan), one("FailedBinding", "volume \"v\" already bound to a different claim."));
}

#[test]
fn claim_whose_volume_is_gone_is_lost() {
    let bound =
        json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": "v"}});
    let plan = of_claim(pvc(&bound), vec![], &json!([]));
    assert_eq!(told(&plan), ["Lost"]);
    assert_eq!(said(&plan)[0].0, "ClaimLost");
}

#[test]
fn new_volume_is_available() {
    assert_eq!(told(&of_volume(pv("v", &json!({"status": {"phase": "Pending"}})), None)), ["Available"]);
}

#[test]
fn volume_without_its_claim_is_released_and_kept() {
    let bound = pv("v", &merged(mine(), &json!({"status": {"phase": "Bound"}})));
    assert_eq!(told(&of_volume(bound, None)), ["Released"]);
    let retain = json!({"status": {"phase": "Released"}, "spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    assert!(told(&of_volume(pv("v", &merged(mine(), &retain)), None)).is_empty());
}

#[test]
fn volume_that_nobody_can_delete_failed() {
    let delete = json!({"status": {"phase": "Released"},
        "spec": {"persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": "/x"}}});
    let plan = of_volume(pv("v", &merged(mine(), &delete)), None);
    assert_eq!(told(&plan), ["Failed"]);
    let why = "host_path deleter only supports /tmp/.+ but received provided /x";
    assert_eq!(said(&plan), one("VolumeFailedDelete", why));
}

#[test]
fn volume_of_a_claim_that_is_bound_elsewhere_is_free_again() {
    let bound = merged(
        mine(),
        &json!({"metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
        "status": {"phase": "Bound"}}),
    );
    let plan = of_volume(pv("v", &bound), Some(pvc(&json!({"spec": {"volumeName": "other"}}))));
    assert_eq!(told(&plan), ["PersistentVolume"]);
    let Verb::Update { body, .. } = plan.acts[0][0].verb() else { panic!("no update") };
    assert!(body["spec"].get("claimRef").is_none());
}
