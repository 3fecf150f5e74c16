//! Which volume fits a claim. Pure.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::amounts::billionths;
use crate::names::{annotation, name, namespace, text, uid};
use crate::selector::matches_all;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class of a claim: empty for none, `None` when it says nothing.
pub(super) fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    annotation(&claim.metadata, CLASS).or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

fn class_of_volume(volume: &PersistentVolume) -> &str {
    let named = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    annotation(&volume.metadata, CLASS).unwrap_or(text(named))
}

/// The class of a volume as JSON.
pub(super) fn class_in(volume: &Value) -> &str {
    let annotated = volume.get("metadata").and_then(|m| m.get("annotations")?.get(CLASS)?.as_str());
    let named = volume.pointer("/spec/storageClassName").and_then(Value::as_str);
    annotated.or(named).unwrap_or_default()
}

/// Whether a volume is kept for this claim.
pub(super) fn is_kept_for(volume: &PersistentVolume, claim: &ObjectMeta) -> bool {
    volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).is_some_and(|of| {
        text(of.name.as_ref()) == name(claim)
            && text(of.namespace.as_ref()) == namespace(claim)
            && (text(of.uid.as_ref()).is_empty() || text(of.uid.as_ref()) == uid(claim))
    })
}

/// The size of a volume, and what a claim asks for.
fn sizes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> (i128, i128) {
    let has = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    let asks = claim.spec.as_ref().and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage"));
    (has.and_then(billionths).unwrap_or(0), asks.and_then(billionths).unwrap_or(0))
}

fn modes_fit(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    let asks = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    asks.iter().all(|mode| has.contains(mode))
}

fn mode(of: Option<&String>) -> &str {
    of.map_or("Filesystem", String::as_str)
}

/// Whether one wants a file system and the other is a block device.
pub(super) fn volume_modes_differ(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = mode(volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()));
    has != mode(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
}

fn attributes_differ(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_ref());
    text(has) != text(claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_ref()))
}

/// Why a volume that a claim names cannot be its own.
pub(super) fn objection(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (has, asks) = sizes(volume, claim);
    if has < asks {
        Some("requested PV is too small")
    } else if class_of_volume(volume) != class_of_claim(claim).unwrap_or_default() {
        Some("storageClassName does not match")
    } else if attributes_differ(volume, claim) {
        Some("volumeAttributesClassName does not match")
    } else if volume_modes_differ(volume, claim) {
        Some("incompatible volumeMode")
    } else if !modes_fit(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// The volume that fits a claim best: one that is kept for it, else the smallest of those with the fewest access modes.
/// `later`: volumes that nobody keeps for the claim are chosen by a scheduler.
pub(super) fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [PersistentVolume],
    later: bool,
) -> Option<&'a PersistentVolume> {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let fits = |volume: &&PersistentVolume| {
        let (has, asks) = sizes(volume, claim);
        has >= asks
            && modes_fit(volume, claim)
            && !volume_modes_differ(volume, claim)
            && !attributes_differ(volume, claim)
            && volume.metadata.deletion_timestamp.is_none()
    };
    let is_free = |volume: &&PersistentVolume| {
        volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none())
            && volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available")
            && selector.is_none_or(|selector| matches_all(selector, volume.metadata.labels.as_ref()))
            && class_of_volume(volume) == class_of_claim(claim).unwrap_or_default()
    };
    let modes =
        |volume: &PersistentVolume| volume.spec.as_ref().and_then(|s| s.access_modes.as_ref()).map_or(0, Vec::len);
    let fitting = || volumes.iter().filter(fits);
    fitting().find(|volume| is_kept_for(volume, &claim.metadata)).or_else(|| {
        let free = fitting().filter(|volume| !later && is_free(volume));
        free.min_by_key(|volume| (modes(volume), sizes(volume, claim).0, name(&volume.metadata)))
    })
}
