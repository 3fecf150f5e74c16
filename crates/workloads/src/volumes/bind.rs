//! The binder: one key per claim and per volume, one at a time, for both are parts of every binding.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use paddock_reconcile::{Change, Context, Controller, Error, Plan, Settings, Source};
use serde_json::Value;

use super::protection::uses;
use super::{claim, matching, volume};
use crate::names::{Name, name, text};
use crate::snapshots::{everywhere, select};

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A claim.
    Claim(Name),
    /// A volume.
    Volume(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(name) => write!(f, "claim {name}"),
            Self::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

/// The claims that have no volume yet: a new volume or class concerns them all. Clones share them.
#[derive(Clone, Debug, Default)]
struct Unbound(Arc<Mutex<BTreeSet<Name>>>);

impl Unbound {
    fn all(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, change: &Change<'_>) -> Option<Name> {
        let name = Name::of(change.object())?;
        let unbound = change.after.is_some_and(|claim| string(claim, "/spec/volumeName").is_none());
        if unbound {
            self.all().insert(name.clone());
        } else {
            self.all().remove(&name);
        }
        Some(name)
    }

    fn keys(&self) -> Vec<Key> {
        self.all().iter().cloned().map(Key::Claim).collect()
    }
}

/// The controller.
#[derive(Debug, Default)]
pub struct Binder {
    unbound: Unbound,
}

/// What is known of a claim or a volume.
#[derive(Debug)]
pub enum Snapshot {
    /// It is gone.
    Gone,
    /// Of a claim.
    Claim(Box<claim::Known>),
    /// Of a volume.
    Volume(Box<volume::Known>),
}

fn string(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The claim that a volume is kept for.
fn claim_of(volume: &Value) -> Option<Name> {
    Some(Name::new(string(volume, "/spec/claimRef/namespace")?, string(volume, "/spec/claimRef/name")?))
}

impl Controller for Binder {
    type Key = Key;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "persistentvolume-binder"
    }

    fn sources(&self) -> Vec<Source<Key>> {
        let [learning, of_volumes, of_classes] = [(); 3].map(|()| self.unbound.clone());
        vec![
            Source::of::<PersistentVolumeClaim>(move |change| {
                let sides = [change.before, change.after].into_iter().flatten();
                let volumes = sides.filter_map(|claim| string(claim, "/spec/volumeName")).map(Key::Volume);
                let mut keys: Vec<Key> = volumes.chain(learning.learn(change).map(Key::Claim)).collect();
                keys.dedup();
                keys
            }),
            Source::of::<PersistentVolume>(move |change| {
                let sides = [change.before, change.after].into_iter().flatten();
                let mut keys: Vec<Key> = sides.filter_map(claim_of).map(Key::Claim).collect();
                if let Some(volume) = string(change.object(), "/metadata/name") {
                    keys.push(Key::Volume(volume));
                }
                if change.after.is_some_and(|v| string(v, "/status/phase").as_deref() == Some("Available")) {
                    keys.extend(of_volumes.keys());
                }
                keys.sort();
                keys.dedup();
                keys
            }),
            Source::of::<StorageClass>(move |_| of_classes.keys()),
            // Who waits for a claim is told in its events.
            Source::of::<Pod>(|_| Vec::new()),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Key) -> Result<Snapshot, Error> {
        match key {
            Key::Claim(name) => of_claim(cx, name).await,
            Key::Volume(name) => of_volume(cx, name).await,
        }
    }

    fn plan(&self, _: &Key, snapshot: &Snapshot, _: Timestamp) -> Result<Plan, Error> {
        match snapshot {
            Snapshot::Gone => Ok(Plan::new()),
            Snapshot::Claim(known) => claim::plan(known),
            Snapshot::Volume(known) => volume::plan(known),
        }
    }

    fn settings(&self) -> Settings {
        Settings { concurrency: 1, ..crate::settings() }
    }
}

async fn of_claim(cx: &Context, key: &Name) -> Result<Snapshot, Error> {
    let Some(claim) = cx.get_as::<PersistentVolumeClaim>(Some(&key.namespace), &key.name).await? else {
        return Ok(Snapshot::Gone);
    };
    let wanted = text(claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()));
    let class = matching::class_of_claim(&claim).unwrap_or_default().to_owned();
    // Of all volumes only those that come into question are read.
    let volumes = everywhere::<PersistentVolume>(cx, |volume| {
        if wanted.is_empty() {
            claim_of(volume).is_none_or(|of| of == *key) && matching::class_in(volume) == class
                || claim_of(volume).is_some_and(|of| of == *key)
        } else {
            string(volume, "/metadata/name").as_deref() == Some(wanted)
        }
    });
    let volumes = volumes.await?;
    let classes = if wanted.is_empty() { everywhere::<StorageClass>(cx, |_| true).await? } else { Vec::new() };
    let waits = classes
        .iter()
        .any(|c| name(&c.metadata) == class && c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let mut pods = Vec::new();
    if waits {
        pods = select::<Pod>(cx, &key.namespace, |pod| string(pod, "/spec/nodeName").is_none()).await?;
        pods.retain(|pod| uses(pod, &key.name));
    }
    let waiting = pods.iter().map(|pod| name(&pod.metadata).to_owned()).collect();
    Ok(Snapshot::Claim(Box::new(claim::Known { claim, volumes, classes, waiting })))
}

async fn of_volume(cx: &Context, key: &str) -> Result<Snapshot, Error> {
    let Some(volume) = cx.get_as::<PersistentVolume>(None, key).await? else { return Ok(Snapshot::Gone) };
    let of = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let claim = match of {
        Some(of) => cx.get_as::<PersistentVolumeClaim>(of.namespace.as_deref(), text(of.name.as_ref())).await?,
        None => None,
    };
    Ok(Snapshot::Volume(Box::new(volume::Known { volume, claim })))
}
