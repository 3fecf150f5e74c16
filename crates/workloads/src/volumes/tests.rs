//! Rules of claims and volumes, one by one.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use paddock_reconcile::{Plan, Verb};
use serde_json::{Value, json};

use super::{claim, matching, volume};

fn merged(mut base: Value, more: &Value) -> Value {
    fn into(to: &mut Value, more: &Value) {
        match (to, more) {
            (Value::Object(to), Value::Object(more)) => {
                more.iter().for_each(|(key, value)| into(to.entry(key.clone()).or_insert(Value::Null), value));
            }
            (to, more) => *to = more.clone(),
        }
    }
    into(&mut base, more);
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

/// Kinds that are written, then statuses by phase.
fn told(plan: &Plan) -> Vec<String> {
    let acts = plan.acts.iter().flatten().map(|act| act.target().kind.kind.to_string());
    let phases = plan.status.iter().filter_map(|patch| Some(patch.status.get("phase")?.as_str()?.to_owned()));
    acts.chain(phases).collect()
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
fn binding_writes_both_and_both_are_bound() {
    let plan = of_claim(pvc(&json!({})), vec![pv("v", &json!({}))], &json!([]));
    assert_eq!(told(&plan), ["PersistentVolume", "PersistentVolumeClaim", "Bound", "Bound"]);
    let Verb::Update { body, .. } = plan.acts[1][0].verb() else { panic!("no update") };
    assert_eq!(body["spec"]["volumeName"], "v");
    assert_eq!(
        body["metadata"]["annotations"],
        json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"})
    );
}

#[test]
fn volume_that_was_kept_for_the_claim_was_not_bound_by_the_controller() {
    let kept = pv("v", &json!({"spec": {"claimRef": {"namespace": "n", "name": "c"}}}));
    let plan = of_claim(pvc(&json!({"spec": {"volumeName": "v"}})), vec![kept], &json!([]));
    let bodies = plan.acts.iter().flatten().filter_map(|act| match act.verb() {
        Verb::Update { body, .. } => Some(body.pointer("/metadata/annotations").cloned()),
        _ => None,
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [None, Some(json!({"pv.kubernetes.io/bind-completed": "yes"}))]);
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
    assert_eq!(told(&plan), ["PersistentVolume", "Available"]);
    let Verb::Update { body, .. } = plan.acts[0][0].verb() else { panic!("no update") };
    assert!(body["spec"].get("claimRef").is_none());
}
