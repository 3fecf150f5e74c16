//! The directories of volumes that `paddock.dev/directory` provisions: there as long as the volume is, removed before it goes. May
//! touch the file system, directly below the root alone.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use paddock_workloads::volumes::directories::{Due, FINALIZER, due};
use serde_json::Value;

use super::{Caller, path};
use crate::store::{EventKind, ListRequest};

const VOLUMES: &str = "/persistentvolumes";
/// What failed, such as a removal on a file system that is busy, is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);

pub(super) async fn run(caller: Caller, root: PathBuf) {
    while caller.api.store.is_open() {
        let store = &caller.api.store;
        // The watch first: what changes while the list is read comes again.
        let (Ok(mut watch), Ok(listing)) =
            (store.watch(VOLUMES, store.revision()), store.list(&ListRequest::all(VOLUMES)))
        else {
            continue;
        };
        let mut waiting: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for volume in listing.objects.iter().filter_map(|object| object.decode().ok()) {
            let name = volume.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            waiting.insert(name.into(), volume);
        }
        loop {
            settle(&caller, &root, &mut waiting).await;
            let retry = if waiting.is_empty() { Duration::MAX } else { RETRY };
            let Ok(events) = tokio::time::timeout(retry, watch.next()).await else { continue };
            let Ok(events) = events else { break };
            for event in events {
                let volume = (event.kind != EventKind::Deleted).then(|| event.object.decode().ok()).flatten();
                match volume {
                    Some(volume) => waiting.insert(event.key.name.clone(), volume),
                    None => waiting.remove(&event.key.name),
                };
            }
        }
    }
}

/// Does what is due; what fails waits.
async fn settle(caller: &Caller, root: &Path, waiting: &mut BTreeMap<Arc<str>, Value>) {
    for (name, volume) in std::mem::take(waiting) {
        let done = match due(&volume, root) {
            None => Ok(()),
            Some(Due::Make(directory)) => make(directory).await,
            Some(Due::Remove(directory)) => match remove(directory).await {
                Ok(()) => release(caller, &name, &volume).await,
                Err(error) => Err(error),
            },
            Some(Due::Release) => release(caller, &name, &volume).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, volume = &*name, "the directory of a volume is not as it should be");
            waiting.insert(name, volume);
        }
    }
}

/// Makes a directory in which pods of any user can write.
async fn make(directory: PathBuf) -> io::Result<()> {
    if tokio::fs::try_exists(&directory).await? {
        return Ok(());
    }
    tokio::fs::create_dir_all(&directory).await?;
    tokio::fs::set_permissions(&directory, Permissions::from_mode(0o777)).await
}

async fn remove(directory: PathBuf) -> io::Result<()> {
    match tokio::fs::remove_dir_all(&directory).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Lets a volume go.
async fn release(caller: &Caller, name: &str, volume: &Value) -> io::Result<()> {
    let Some(resource) = caller.api.registry.served().find("", "v1", "persistentvolumes").cloned() else {
        return Ok(());
    };
    let mut volume = volume.clone();
    if let Some(finalizers) = volume.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    match caller.call(Method::PUT, &path(&resource, "", name), "", Some(&volume)).await {
        // Changed meanwhile: its event comes.
        Err(status) if !matches!(status.code, 404 | 409) => Err(io::Error::other(status.to_string())),
        _ => Ok(()),
    }
}
