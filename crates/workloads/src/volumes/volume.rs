//! What one pass does for a volume: its phase, and what becomes of it without its claim. Pure.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use paddock_reconcile::{Act, Error, Plan};

use super::claim::BOUND_BY_CONTROLLER;
use super::matching::volume_modes_differ;
use crate::events::About;
use crate::names::{annotation, name, text, uid};

pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// What is known of a volume.
#[derive(Debug)]
pub struct Known {
    pub(super) volume: PersistentVolume,
    /// The claim that it is kept for, or a namesake.
    pub(super) claim: Option<PersistentVolumeClaim>,
}

pub(super) fn plan(known: &Known) -> Result<Plan, Error> {
    let volume = &known.volume;
    let mut plan = Plan::new();
    let Some(of) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
        plan.step(phase(volume, "Available", None)?.into_iter().collect());
        return Ok(plan);
    };
    let kept_for = text(of.uid.as_ref());
    if kept_for.is_empty() {
        plan.step(phase(volume, "Available", None)?.into_iter().collect());
        return Ok(plan);
    }
    let Some(claim) = known.claim.as_ref().filter(|claim| uid(&claim.metadata) == kept_for) else {
        released(&mut plan, volume)?;
        return Ok(plan);
    };
    let bound_to = text(claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()));
    if bound_to == name(&volume.metadata) {
        plan.step(phase(volume, "Bound", None)?.into_iter().collect());
    } else if bound_to.is_empty() {
        // The claim's own pass completes the binding.
        if volume_modes_differ(volume, claim) {
            let what = format!(
                "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
                name(&claim.metadata)
            );
            plan.event(About::new(volume).warning("VolumeMismatch", what));
        }
    } else if annotation(&volume.metadata, PROVISIONED_BY).is_some() && policy(volume) == "Delete" {
        released(&mut plan, volume)?;
    } else {
        // The pass after this one finds it available.
        plan.step(vec![Act::update(&unbound(volume))?]);
    }
    Ok(plan)
}

fn policy(volume: &PersistentVolume) -> &str {
    text(volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_ref()))
}

fn phase_of(volume: &PersistentVolume) -> &str {
    text(volume.status.as_ref().and_then(|status| status.phase.as_ref()))
}

/// The write of a phase; `None` when it does not change: then its message stays, too.
pub(super) fn phase(volume: &PersistentVolume, phase: &str, message: Option<String>) -> Result<Option<Act>, Error> {
    if phase_of(volume) == phase {
        return Ok(None);
    }
    let mut volume = volume.clone();
    let status = volume.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    status.message = message;
    Act::update_status(&volume).map(Some)
}

/// Its claim is gone: first it is released, then the policy says what follows.
fn released(plan: &mut Plan, volume: &PersistentVolume) -> Result<(), Error> {
    if !matches!(phase_of(volume), "Released" | "Failed") {
        plan.step(phase(volume, "Released", None)?.into_iter().collect());
        return Ok(());
    }
    if phase_of(volume) == "Failed" {
        return Ok(());
    }
    let spec = volume.spec.as_ref();
    let (reason, message) = match policy(volume) {
        // Who made it deletes it.
        "Delete"
            if annotation(&volume.metadata, PROVISIONED_BY).is_some_and(|by| !by.starts_with("kubernetes.io/")) =>
        {
            return Ok(());
        }
        "Delete" => match spec.and_then(|spec| spec.host_path.as_ref()) {
            // Directories that somebody else made are never removed here.
            Some(path) if path.path.starts_with("/tmp/") => return Ok(()),
            Some(path) => (
                "VolumeFailedDelete",
                format!("host_path deleter only supports /tmp/.+ but received provided {}", path.path),
            ),
            None => (
                "VolumeFailedDelete",
                format!(
                    "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
                    name(&volume.metadata)
                ),
            ),
        },
        // What these have would be wiped by a pod.
        "Recycle" if spec.is_some_and(|spec| spec.host_path.is_some() || spec.nfs.is_some()) => return Ok(()),
        "Recycle" => ("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        _ => return Ok(()),
    };
    plan.step(phase(volume, "Failed", Some(message.clone()))?.into_iter().collect());
    plan.event(About::new(volume).warning(reason, message));
    Ok(())
}

/// Without its claim: wholly when the binder chose it, else it stays kept for the claim of that name.
fn unbound(volume: &PersistentVolume) -> PersistentVolume {
    let mut volume = volume.clone();
    let chosen = volume.metadata.annotations.as_mut().and_then(|all| all.remove(BOUND_BY_CONTROLLER)).is_some();
    if volume.metadata.annotations.as_ref().is_some_and(std::collections::BTreeMap::is_empty) {
        volume.metadata.annotations = None;
    }
    let spec = volume.spec.get_or_insert_default();
    if chosen {
        spec.claim_ref = None;
    } else if let Some(of) = &mut spec.claim_ref {
        of.uid = None;
    }
    volume
}
