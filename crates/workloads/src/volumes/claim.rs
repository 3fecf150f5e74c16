//! What one pass does for a claim: find it a volume and bind the two, or say why it has to wait. Pure.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use paddock_reconcile::{Act, Error, Event, Plan, When};

use super::matching::{self, class_of_claim, is_kept_for};
use crate::events::About;
use crate::names::{annotation, name, namespace, text, uid};

pub(super) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// By whom a claim is to be provisioned, the old name and the new.
pub(super) const PROVISIONER: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];

/// What is known of a claim.
#[derive(Debug)]
pub struct Known {
    pub(super) claim: PersistentVolumeClaim,
    /// The volume that it names, else those that come into question.
    pub(super) volumes: Vec<PersistentVolume>,
    /// Asked for while it names no volume.
    pub(super) classes: Vec<StorageClass>,
    /// Pods without a node that want it; asked for when a node decides.
    pub(super) waiting: Vec<String>,
}

pub(super) fn plan(known: &Known) -> Result<Plan, Error> {
    let claim = &known.claim;
    let named = text(claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()));
    let volume = known.volumes.iter().find(|volume| name(&volume.metadata) == named);
    let about = About::new(claim);
    let mut plan = Plan::new();
    if annotation(&claim.metadata, BIND_COMPLETED).is_some() {
        let of = volume.and_then(|volume| volume.spec.as_ref()?.claim_ref.as_ref());
        match (volume, of) {
            _ if named.is_empty() => {
                lost(
                    &mut plan,
                    known,
                    "ClaimLost",
                    "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
                )?;
            }
            (None, _) => {
                lost(
                    &mut plan,
                    known,
                    "ClaimLost",
                    "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
                )?;
            }
            (Some(volume), None) => bind(&mut plan, claim, volume)?,
            (Some(volume), Some(of)) if text(of.uid.as_ref()) == uid(&claim.metadata) => {
                bind(&mut plan, claim, volume)?;
            }
            _ => {
                let why = "Two claims are bound to the same volume, this one is bound incorrectly";
                lost(&mut plan, known, "ClaimMisbound", why)?;
            }
        }
        return Ok(plan);
    }
    if named.is_empty() {
        return find(known, &about);
    }
    let Some(volume) = volume else {
        plan.step(status(claim, "Pending", None)?);
        return Ok(plan);
    };
    let taken = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    if taken && !is_kept_for(volume, &claim.metadata) {
        plan.step(status(claim, "Pending", None)?);
        let note = format!("volume {named:?} already bound to a different claim.");
        plan.event(about.warning("FailedBinding", note));
    } else if let Some(objection) = matching::objection(volume, claim).filter(|_| !taken) {
        plan.step(status(claim, "Pending", None)?);
        let note = format!("Cannot bind to requested volume {named:?}: {objection}");
        plan.event(about.warning("VolumeMismatch", note));
    } else {
        bind(&mut plan, claim, volume)?;
    }
    Ok(plan)
}

/// For a claim that names no volume.
fn find(known: &Known, about: &About) -> Result<Plan, Error> {
    let claim = &known.claim;
    let mut plan = Plan::new();
    let class_name = class_of_claim(claim);
    let class = known.classes.iter().find(|class| Some(name(&class.metadata)) == class_name);
    let waits = class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer");
    let later = waits && annotation(&claim.metadata, SELECTED_NODE).is_none();
    if let Some(volume) = matching::best(claim, &known.volumes, waits) {
        bind(&mut plan, claim, volume)?;
        return Ok(plan);
    }
    if class_name.is_none()
        && let Some(default) = default_class(&known.classes)
    {
        let mut classed = claim.clone();
        classed.spec.get_or_insert_default().storage_class_name = Some(name(&default.metadata).to_owned());
        plan.step(vec![Act::update(&classed)?]);
        return Ok(plan);
    }
    plan.step(status(claim, "Pending", None)?);
    match (class_name.unwrap_or_default(), class) {
        _ if later => {
            let (reason, note) = match known.waiting.as_slice() {
                [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
                [pod] => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
                pods => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", pods.join(","))),
            };
            plan.event(once(about.normal(reason, note)));
        }
        ("", _) => {
            let note = "no persistent volumes available for this claim and no storage class is set";
            plan.event(once(about.normal("FailedBinding", note)));
        }
        (missing, None) => {
            let note = format!("storageclass.storage.k8s.io {missing:?} not found");
            plan.event(about.warning("ProvisioningFailed", note));
        }
        (_, Some(class)) => provision(&mut plan, claim, class, about)?,
    }
    Ok(plan)
}

/// Asks the provisioner of a class, which is somebody else, for a volume.
fn provision(plan: &mut Plan, claim: &PersistentVolumeClaim, class: &StorageClass, about: &About) -> Result<(), Error> {
    let by = class.provisioner.as_str();
    if by.starts_with("kubernetes.io/") {
        plan.event(about.warning("ProvisioningFailed", format!("no volume plugin matched name: {by}")));
        return Ok(());
    }
    if PROVISIONER.iter().any(|key| annotation(&claim.metadata, key) != Some(by)) {
        let mut asked = claim.clone();
        let annotations = asked.metadata.annotations.get_or_insert_default();
        annotations.extend(PROVISIONER.map(|key| (key.to_owned(), by.to_owned())));
        plan.step(vec![Act::update(&asked)?]);
    }
    let note = format!(
        "Waiting for a volume to be created either by the external provisioner '{by}' or manually by the system administrator. \
         If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    plan.event(once(about.normal("ExternalProvisioning", note)));
    Ok(())
}

/// A normal event of a pass that may write nothing.
fn once(event: Event) -> Event {
    Event { when: When::Planned, ..event }
}

/// The default class; of several the newest.
fn default_class(classes: &[StorageClass]) -> Option<&StorageClass> {
    let is = |class: &&StorageClass| DEFAULT_CLASS.iter().any(|key| annotation(&class.metadata, key) == Some("true"));
    let created = |class: &StorageClass| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
    classes
        .iter()
        .filter(is)
        .max_by(|a, b| created(a).cmp(&created(b)).then_with(|| name(&b.metadata).cmp(name(&a.metadata))))
}

/// Binds the two: the volume first, for it is what two claims may want.
fn bind(plan: &mut Plan, claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<(), Error> {
    let mut bound = volume.clone();
    if !is_kept_for(volume, &claim.metadata) {
        bound.metadata.annotations.get_or_insert_default().insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    let spec = bound.spec.get_or_insert_default();
    let of = spec.claim_ref.as_ref();
    if of.is_none_or(|of| text(of.uid.as_ref()) != uid(&claim.metadata)) {
        spec.claim_ref = Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: Some(namespace(&claim.metadata).to_owned()),
            name: Some(name(&claim.metadata).to_owned()),
            uid: claim.metadata.uid.clone(),
            resource_version: claim.metadata.resource_version.clone(),
            field_path: None,
        });
    }
    // A write of an object makes what is known of it old: what follows is done by the passes that it starts.
    if bound != *volume {
        plan.step(vec![Act::update(&bound)?]);
        return Ok(());
    }
    plan.step(super::volume::phase(volume, "Bound", None)?.into_iter().collect());
    let mut owner = claim.clone();
    let annotations = owner.metadata.annotations.get_or_insert_default();
    let spec = owner.spec.get_or_insert_default();
    if text(spec.volume_name.as_ref()) != name(&volume.metadata) {
        spec.volume_name.clone_from(&volume.metadata.name);
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    annotations.entry(BIND_COMPLETED.to_owned()).or_insert_with(|| "yes".to_owned());
    if owner != *claim {
        plan.step(vec![Act::update(&owner)?]);
        return Ok(());
    }
    plan.step(status(claim, "Bound", Some(volume))?);
    Ok(())
}

/// The write of a phase, with what the volume has when there is one; `None` when the claim says so already.
fn status(claim: &PersistentVolumeClaim, phase: &str, volume: Option<&PersistentVolume>) -> Result<Vec<Act>, Error> {
    let mut status = claim.status.clone().unwrap_or_default();
    let was_bound = status.phase.as_deref() == Some("Bound");
    status.phase = Some(phase.to_owned());
    let spec = volume.and_then(|volume| volume.spec.as_ref());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    // A claim that is bound keeps the size that it has: it may have grown.
    if !was_bound || spec.is_none() || status.capacity.is_none() {
        status.capacity = spec.and_then(|spec| spec.capacity.clone());
    }
    if let Some(class) = spec.and_then(|spec| spec.volume_attributes_class_name.clone()) {
        status.current_volume_attributes_class_name = Some(class);
    }
    if claim.status.as_ref() == Some(&status) {
        return Ok(Vec::new());
    }
    Ok(vec![Act::update_status(&PersistentVolumeClaim { status: Some(status), ..claim.clone() })?])
}

fn lost(plan: &mut Plan, known: &Known, reason: &str, note: &str) -> Result<(), Error> {
    let claim = &known.claim;
    let before = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if before != Some("Lost") {
        plan.step(status(claim, "Lost", None)?);
        plan.event(About::new(claim).warning(reason, note));
    }
    Ok(())
}
