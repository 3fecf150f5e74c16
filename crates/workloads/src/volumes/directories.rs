//! Volumes that are directories below one root: made for claims of a class of [`PROVISIONER`], gone with them. Plans only: whoever
//! runs this makes and removes the directories, by [`due`].

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Act, Context, Controller, Error, Kind, Outcome, Plan, Settings, Source};
use serde_json::Value;

use super::bind::Key;
use super::claim::PROVISIONER as ASKED;
use super::matching::class_of_claim;
use super::volume::PROVISIONED_BY;
use crate::events::About;
use crate::names::{Name, annotation, name, namespace, text, uid};

/// What a StorageClass names as its `provisioner` for its claims to get directories.
pub const PROVISIONER: &str = "paddock.dev/directory";

/// Keeps a volume until its directory is removed.
pub const FINALIZER: &str = "paddock.dev/directory";

/// What a volume's directory needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// It has to be there.
    Make(PathBuf),
    /// The volume goes: first the directory with everything in it, then [`FINALIZER`].
    Remove(PathBuf),
    /// The volume goes and the directory stays: only [`FINALIZER`] is in the way.
    Release,
}

/// What is to be done for a volume as JSON; `None` when it is not one of these below `root`, or is in use.
pub fn due(volume: &Value, root: &Path) -> Option<Due> {
    if volume.pointer("/metadata/annotations")?.get(PROVISIONED_BY)?.as_str()? != PROVISIONER {
        return None;
    }
    let path = Path::new(volume.pointer("/spec/hostPath/path")?.as_str()?);
    // Directly below the root and of the volume's name: nobody points this elsewhere by writing a volume.
    let of = volume.pointer("/metadata/name")?.as_str()?;
    if path != root.join(of) || path.parent() != Some(root) || path.file_name() != Some(of.as_ref()) {
        return None;
    }
    if volume.pointer("/metadata/deletionTimestamp").is_none() {
        return Some(Due::Make(path.to_owned()));
    }
    let held_by = volume.pointer("/metadata/finalizers").and_then(Value::as_array)?;
    let ours_alone = held_by.iter().all(|finalizer| finalizer == FINALIZER) && !held_by.is_empty();
    let removes = volume.pointer("/spec/persistentVolumeReclaimPolicy").is_some_and(|policy| policy == "Delete");
    ours_alone.then(|| if removes { Due::Remove(path.to_owned()) } else { Due::Release })
}

/// The controller.
#[derive(Debug)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    /// Volumes are directories below `root`, an absolute path.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

/// What is known of a claim or a volume.
#[derive(Debug)]
pub enum Known {
    /// Nothing to do with this.
    Other,
    /// A claim that waits for its volume to be made, and its class.
    Claim(Box<(PersistentVolumeClaim, StorageClass)>),
    /// A volume of ours.
    Volume(Box<PersistentVolume>),
}

impl Controller for Directories {
    type Key = Key;
    type Snapshot = Known;

    fn name(&self) -> &'static str {
        "directories"
    }

    fn sources(&self) -> Vec<Source<Key>> {
        vec![
            Source::of::<PersistentVolumeClaim>(|change| {
                Name::of(change.object()).map(Key::Claim).into_iter().collect()
            }),
            Source::of::<PersistentVolume>(|change| {
                let name = change.object().pointer("/metadata/name").and_then(Value::as_str);
                name.map(|name| Key::Volume(name.to_owned())).into_iter().collect()
            }),
            // The binder asks anew when a class comes.
            Source::of::<StorageClass>(|_| Vec::new()),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Key) -> Result<Known, Error> {
        match key {
            Key::Claim(of) => {
                let Some(claim) = cx.get_as::<PersistentVolumeClaim>(Some(&of.namespace), &of.name).await? else {
                    return Ok(Known::Other);
                };
                let asked = ASKED.iter().any(|key| annotation(&claim.metadata, key) == Some(PROVISIONER));
                let bound = claim.spec.as_ref().is_some_and(|spec| !text(spec.volume_name.as_ref()).is_empty());
                if !asked || bound || claim.metadata.deletion_timestamp.is_some() {
                    return Ok(Known::Other);
                }
                let class = class_of_claim(&claim).unwrap_or_default();
                let class = cx.get_as::<StorageClass>(None, class).await?;
                let made = cx.get_as::<PersistentVolume>(None, &volume_name(&claim)).await?;
                Ok(match (class, made) {
                    (Some(class), None) if class.provisioner == PROVISIONER => Known::Claim(Box::new((claim, class))),
                    _ => Known::Other,
                })
            }
            Key::Volume(of) => {
                let volume = cx.get_as::<PersistentVolume>(None, of).await?;
                let ours = volume.filter(|v| annotation(&v.metadata, PROVISIONED_BY) == Some(PROVISIONER));
                Ok(ours.map_or(Known::Other, |volume| Known::Volume(Box::new(volume))))
            }
        }
    }

    fn plan(&self, _: &Key, known: &Known, _: Timestamp) -> Result<Plan, Error> {
        match known {
            Known::Other => Ok(Plan::new()),
            Known::Claim(known) => self.provision(&known.0, &known.1),
            Known::Volume(volume) => Ok(reclaim(volume)),
        }
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// A claim's volume has the claim's uid: a claim that is made again gets another one.
fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", uid(&claim.metadata))
}

impl Directories {
    fn provision(&self, claim: &PersistentVolumeClaim, class: &StorageClass) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let about = About::new(claim);
        let spec = claim.spec.clone().unwrap_or_default();
        let objection = if spec.volume_mode.as_deref() == Some("Block") {
            Some("directories are no block devices: volumeMode must be Filesystem")
        } else if spec.selector.is_some() {
            Some("claim Selector is not supported")
        } else {
            None
        };
        if let Some(why) = objection {
            let class = name(&class.metadata);
            let note = format!("failed to provision volume with StorageClass {class:?}: {why}");
            plan.event(about.warning("ProvisioningFailed", note));
            return Ok(plan);
        }
        let of = volume_name(claim);
        let requests = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
        let volume = PersistentVolume {
            metadata: ObjectMeta {
                name: Some(of.clone()),
                annotations: Some([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())].into()),
                finalizers: Some(vec![FINALIZER.to_owned()]),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeSpec {
                access_modes: spec.access_modes,
                capacity: Some(requests.into_iter().filter(|(what, _)| what == "storage").collect()),
                claim_ref: Some(ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("PersistentVolumeClaim".to_owned()),
                    namespace: Some(namespace(&claim.metadata).to_owned()),
                    name: claim.metadata.name.clone(),
                    uid: claim.metadata.uid.clone(),
                    resource_version: claim.metadata.resource_version.clone(),
                    field_path: None,
                }),
                host_path: Some(HostPathVolumeSource {
                    path: self.root.join(&of).to_string_lossy().into_owned(),
                    type_: Some("DirectoryOrCreate".to_owned()),
                }),
                mount_options: class.mount_options.clone(),
                persistent_volume_reclaim_policy: Some(
                    class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned()),
                ),
                storage_class_name: class.metadata.name.clone(),
                volume_mode: spec.volume_mode,
                ..PersistentVolumeSpec::default()
            }),
            status: None,
        };
        plan.step(vec![Act::create(&volume)?.reporting(move |outcome| {
            Some(match outcome {
                Outcome::Done(_) => {
                    about.normal("ProvisioningSucceeded", format!("Successfully provisioned volume {of}"))
                }
                Outcome::Failed(why) => about.warning("ProvisioningFailed", format!("cannot make volume {of}: {why}")),
            })
        })]);
        Ok(plan)
    }
}

/// What is released and not to be retained goes.
fn reclaim(volume: &PersistentVolume) -> Plan {
    let mut plan = Plan::new();
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    if (policy, phase) == (Some("Delete"), Some("Released")) && volume.metadata.deletion_timestamp.is_none() {
        let target = Kind::of::<PersistentVolume>().named(None, name(&volume.metadata));
        plan.step(vec![Act::delete(target, uid(&volume.metadata))]);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{created, deleted, merge, told};
    use serde_json::json;

    fn provisioned(claim: &Value, class: &Value) -> Plan {
        let mut base = json!({"metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {"requests": {"storage": "1Gi"}}}});
        merge(&mut base, claim);
        let mut of = json!({"metadata": {"name": "k"}, "provisioner": PROVISIONER});
        merge(&mut of, class);
        let claim = serde_json::from_value(base).expect("a claim");
        let class = serde_json::from_value(of).expect("a class");
        Directories::below("/root/of/volumes").provision(&claim, &class).expect("a plan")
    }

    fn volume(more: &Value) -> Value {
        let mut volume = json!({"metadata": {"name": "v", "uid": "u", "annotations": {PROVISIONED_BY: PROVISIONER}},
            "spec": {"hostPath": {"path": "/root/v"}, "persistentVolumeReclaimPolicy": "Delete"},
            "status": {"phase": "Released"}});
        merge(&mut volume, more);
        volume
    }

    fn reclaimed(more: &Value) -> usize {
        let volume = serde_json::from_value(volume(more)).expect("a volume");
        deleted(&reclaim(&volume)).len()
    }

    #[test]
    fn claim_gets_a_directory_of_its_own_of_the_size_that_it_asks_for() {
        let plan = provisioned(&json!({}), &json!({"reclaimPolicy": "Retain"}));
        let made = created(&plan)[0];
        assert_eq!(made["spec"]["hostPath"]["path"], "/root/of/volumes/pvc-u");
        assert_eq!(made["spec"]["capacity"], json!({"storage": "1Gi"}));
        assert_eq!(made["spec"]["claimRef"]["uid"], "u");
        assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Retain");
        assert_eq!(told(&plan), ["Successfully provisioned volume pvc-u"]);
        assert_eq!(due(made, Path::new("/root/of/volumes")), Some(Due::Make("/root/of/volumes/pvc-u".into())));
    }

    #[test]
    fn block_device_is_refused_with_an_event() {
        let plan = provisioned(&json!({"spec": {"volumeMode": "Block"}}), &json!({}));
        assert!(created(&plan).is_empty());
        assert_eq!(plan.events[0].reason, "ProvisioningFailed");
    }

    #[test]
    fn claim_with_a_selector_is_refused_with_an_event() {
        let plan = provisioned(&json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), &json!({}));
        assert!(created(&plan).is_empty());
        assert_eq!(plan.events[0].reason, "ProvisioningFailed");
    }

    #[test]
    fn released_volume_goes_unless_it_is_retained() {
        assert_eq!(reclaimed(&json!({})), 1);
        assert_eq!(reclaimed(&json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})), 0);
        assert_eq!(reclaimed(&json!({"status": {"phase": "Bound"}})), 0);
    }

    fn due_for(more: &Value) -> Option<Due> {
        due(&volume(more), Path::new("/root"))
    }

    #[test]
    fn directory_goes_before_its_volume_once_nothing_else_holds_it() {
        let going = |finalizers: Value, policy: &str| {
            due_for(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers},
                "spec": {"persistentVolumeReclaimPolicy": policy}}))
        };
        assert_eq!(due_for(&json!({})), Some(Due::Make("/root/v".into())));
        assert_eq!(going(json!([FINALIZER, "kubernetes.io/pv-protection"]), "Delete"), None);
        assert_eq!(going(json!([FINALIZER]), "Delete"), Some(Due::Remove("/root/v".into())));
        assert_eq!(going(json!([FINALIZER]), "Retain"), Some(Due::Release));
    }

    #[test]
    fn volume_that_points_elsewhere_has_no_directory() {
        assert_eq!(due_for(&json!({"spec": {"hostPath": {"path": "/etc"}}})), None);
        assert_eq!(due_for(&json!({"spec": {"hostPath": {"path": "/root/w"}}})), None);
        assert_eq!(due_for(&json!({"metadata": {"annotations": null}})), None);
        assert_eq!(due_for(&json!({"metadata": {"name": ".."}, "spec": {"hostPath": {"path": "/root/.."}}})), None);
    }
}
