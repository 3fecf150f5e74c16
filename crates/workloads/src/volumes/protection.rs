//! Finalizers that keep claims from going while pods use them, and volumes while they are bound.

use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Act, Context, Controller, Error, Plan, Settings, Source};
use serde::Serialize;
use serde_json::Value;

use crate::names::{Name, name, uid};
use crate::owner;
use crate::snapshots::select;

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";

/// Whether a pod names a claim, or has one of that name made for it.
pub(super) fn uses(pod: &Pod, claim: &str) -> bool {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).any(|volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim)
            || (volume.ephemeral.is_some() && format!("{}-{}", name(&pod.metadata), volume.name) == claim)
    })
}

/// The claims of a pod as JSON.
fn claims_in(pod: &Value) -> Vec<Name> {
    let Some(at) = Name::of(pod) else { return Vec::new() };
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let claim = |volume: &Value| {
        let named = volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str).map(str::to_owned);
        named.or_else(|| {
            volume.get("ephemeral").filter(|e| !e.is_null())?;
            Some(format!("{}-{}", at.name, volume.get("name")?.as_str()?))
        })
    };
    volumes.into_iter().flatten().filter_map(claim).map(|claim| Name::new(at.namespace.as_str(), claim)).collect()
}

/// The write that an object's finalizer needs: it comes when it is missing and goes when nothing needs it any more.
fn settle<K>(object: &K, finalizer: &str, in_use: bool) -> Result<Plan, Error>
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta> + Serialize + Clone,
    K::Scope: 'static,
{
    let mut plan = Plan::new();
    let meta = object.metadata();
    let has = meta.finalizers.iter().flatten().any(|f| f == finalizer);
    let due = if meta.deletion_timestamp.is_some() { has && !in_use } else { !has };
    if !due {
        return Ok(plan);
    }
    let mut object = object.clone();
    let finalizers = object.metadata_mut().finalizers.get_or_insert_default();
    if has {
        finalizers.retain(|f| f != finalizer);
    } else {
        finalizers.push(finalizer.to_owned());
    }
    plan.step(vec![Act::update(&object)?]);
    Ok(plan)
}

/// Keeps claims that pods use.
#[derive(Debug, Default)]
pub struct ClaimProtection;

/// A claim and whether a pod with a node uses it.
#[derive(Debug)]
pub struct ClaimUse {
    claim: PersistentVolumeClaim,
    in_use: bool,
}

impl Controller for ClaimProtection {
    type Key = Name;
    type Snapshot = Option<ClaimUse>;

    fn name(&self) -> &'static str {
        "persistentvolumeclaim-protection"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        vec![
            Source::of::<PersistentVolumeClaim>(|change| Name::of(change.object()).into_iter().collect()),
            Source::of::<Pod>(|change| claims_in(change.object())),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(claim) = cx.get_as::<PersistentVolumeClaim>(Some(&key.namespace), &key.name).await? else {
            return Ok(None);
        };
        let mut in_use = false;
        if claim.metadata.deletion_timestamp.is_some() {
            // A pod without a node cannot have seen the claim, and no node will start it now.
            let users = select::<Pod>(cx, &key.namespace, |pod| {
                pod.pointer("/spec/nodeName").and_then(Value::as_str).is_some_and(|node| !node.is_empty())
                    && claims_in(pod).contains(key)
            });
            in_use = users.await?.iter().any(|pod| is_user(pod, &claim));
        }
        Ok(Some(ClaimUse { claim, in_use }))
    }

    fn plan(&self, _: &Name, snapshot: &Self::Snapshot, _: Timestamp) -> Result<Plan, Error> {
        snapshot.as_ref().map_or_else(|| Ok(Plan::new()), |known| settle(&known.claim, OF_CLAIMS, known.in_use))
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// Whether a pod that names a claim is its user: a claim made for pods is used by its own pod alone.
fn is_user(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let named = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).any(|volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == name(&claim.metadata))
    });
    named || owner::controller(&claim.metadata).is_some_and(|by| by.uid == uid(&pod.metadata))
}

/// Keeps volumes that are bound.
#[derive(Debug, Default)]
pub struct VolumeProtection;

impl Controller for VolumeProtection {
    type Key = String;
    type Snapshot = Option<PersistentVolume>;

    fn name(&self) -> &'static str {
        "persistentvolume-protection"
    }

    fn sources(&self) -> Vec<Source<String>> {
        vec![Source::of::<PersistentVolume>(|change| {
            let name = change.object().pointer("/metadata/name").and_then(Value::as_str);
            name.map(str::to_owned).into_iter().collect()
        })]
    }

    async fn snapshot(&self, cx: &Context, key: &String) -> Result<Self::Snapshot, Error> {
        cx.get_as::<PersistentVolume>(None, key).await
    }

    fn plan(&self, _: &String, snapshot: &Self::Snapshot, _: Timestamp) -> Result<Plan, Error> {
        let Some(volume) = snapshot else { return Ok(Plan::new()) };
        let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        settle(volume, OF_VOLUMES, bound)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}
