//! The claims of a pod and who owns them: by the retention policy they outlive their pod, their set or neither. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use paddock_reconcile::{Act, Error, Outcome};

use crate::events::About;
use crate::names::{name, namespace};
use crate::owner;

/// The name of the claim that a template makes for an ordinal.
pub(super) fn name_of(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", name(&template.metadata), name(&set.metadata))
}

/// The claims of an ordinal.
pub(super) fn of(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let claim = |template: &PersistentVolumeClaim| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name_of(set, template, ordinal)),
                namespace: Some(namespace(&set.metadata).to_owned()),
                labels: (!labels.is_empty()).then_some(labels),
                ..template.metadata.clone()
            },
            spec: template.spec.clone(),
            status: None,
        }
    };
    spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// Who is to own the claims of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Set,
    Pod,
}

/// `condemned`: the pod's ordinal is not wanted any more.
fn wanted_owner(set: &StatefulSet, condemned: bool) -> Owner {
    let (scaled, deleted) = deletes(set);
    match (scaled, deleted) {
        (true, _) if condemned => Owner::Pod,
        (true, true) if !condemned => Owner::Set,
        (false, true) => Owner::Set,
        _ => Owner::Nobody,
    }
}

/// Whether claims go when the set is scaled down, and when it is deleted.
fn deletes(set: &StatefulSet) -> (bool, bool) {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let is = |of: Option<&String>| of.is_some_and(|of| of == "Delete");
    (is(policy.and_then(|p| p.when_scaled.as_ref())), is(policy.and_then(|p| p.when_deleted.as_ref())))
}

/// The claim with the owners that it should have; `None` when it has them.
pub(super) fn with_owners(
    set: &StatefulSet,
    pod: &Pod,
    condemned: bool,
    claim: &PersistentVolumeClaim,
) -> Option<PersistentVolumeClaim> {
    let before = claim.metadata.owner_references.clone().unwrap_or_default();
    let mut refs = before.clone();
    let ours = |r: &OwnerReference| {
        (r.kind == "StatefulSet" && r.name == name(&set.metadata) && r.api_version == "apps/v1")
            || (r.kind == "Pod" && r.name == name(&pod.metadata) && r.api_version == "v1")
    };
    refs.retain(|r| !ours(r));
    // Somebody else's claim stays somebody else's.
    if !refs.iter().any(|r| r.controller == Some(true)) {
        match wanted_owner(set, condemned) {
            Owner::Nobody => {}
            Owner::Set => refs.push(owner::reference(set)),
            Owner::Pod => refs.push(owner::reference(pod)),
        }
    }
    let same = refs.len() == before.len() && refs.iter().all(|r| before.contains(r));
    if same {
        return None;
    }
    let mut claim = claim.clone();
    claim.metadata.owner_references = (!refs.is_empty()).then_some(refs);
    Some(claim)
}

/// Whether a claim belongs to a pod of this name that is gone: it is about to go, too.
pub(super) fn is_stale(set: &StatefulSet, pod: &str, claim: &PersistentVolumeClaim) -> bool {
    let refs = claim.metadata.owner_references.iter().flatten();
    deletes(set).0 && refs.into_iter().any(|r| r.kind == "Pod" && r.name == pod)
}

/// Creates a claim, with its owner from the start.
pub(super) fn create(about: &About, set: &StatefulSet, pod: &Pod, claim: &PersistentVolumeClaim) -> Result<Act, Error> {
    let owned = with_owners(set, pod, false, claim);
    let act = Act::create(owned.as_ref().unwrap_or(claim))?;
    let about = about.clone();
    let (claim, pod, set) =
        (name(&claim.metadata).to_owned(), name(&pod.metadata).to_owned(), name(&set.metadata).to_owned());
    Ok(act.reporting(move |outcome| {
        Some(match outcome {
            Outcome::Done(_) => {
                about.normal("SuccessfulCreate", format!("create Claim {claim} Pod {pod} in StatefulSet {set} success"))
            }
            Outcome::Failed(why) => about.warning(
                "FailedCreate",
                format!("create Claim {claim} for Pod {pod} in StatefulSet {set} failed error: {why}"),
            ),
        })
    }))
}

/// The set or the pod's set that owns a claim, by what its references say.
pub(super) fn set_of(references: &[serde_json::Value]) -> Option<&str> {
    references.iter().find_map(|r| match r["kind"].as_str()? {
        "StatefulSet" => r["name"].as_str(),
        "Pod" => super::identity::parts(r["name"].as_str()?).map(|(set, _)| set),
        _ => None,
    })
}
