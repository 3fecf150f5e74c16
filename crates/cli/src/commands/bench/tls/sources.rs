//! How soon an edit of the profile's source is on the wire: the `ServingPolicy`, the controllers that decide, the ConfigMaps, the mounts, the
//! listeners.

use std::pin::pin;
use std::time::Instant;

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Client as Kube, Resource};
use paddock_tls_profile::{Named, files};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::figure::{Report, Wanted, median};
use super::super::server::{Server, directory, failed};
use super::components::{PATIENCE, until_followed, until_serves};
use super::mounted::Mounted;
use super::{Kind, Listening};
use crate::exit::Outcome;

/// The workload that follows, and the ConfigMap that is written for it.
const NAME: &str = "bench";
const CONFIG_MAP: &str = "bench-tls-profile";
const NAMESPACE: &str = "default";

/// An edit of the `ServingPolicy` until `paddock up` itself and a listener of another process serve by it. That one's files are copied from
/// its ConfigMap as kubelet would, but as soon as it changed: kubelet's own delay, up to about a minute, is not in the figure.
pub(super) async fn edits(report: &Report) -> Outcome {
    let dir = directory()?;
    let data = dir.path().join("data").to_string_lossy().into_owned();
    let server = Server::start(dir.path(), &["up", "--data-dir", &data, "--health-listen", "off"]).await?;
    let kube = paddock_reconcile::client::from_kubeconfig(&server.kubeconfig, None).await.map_err(failed)?;
    ask_for(&kube, Named::Intermediate).await?;
    follow(&kube).await?;
    let maps: Api<ConfigMap> = Api::namespaced(kube.clone(), NAMESPACE);
    let params = WatchParams::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let mut changes = pin!(maps.watch(&params, "0").await.map_err(failed)?);
    let mut mounted = Mounted::asking_for(Named::Intermediate)?;
    bring(&mut mounted, &mut changes, Named::Intermediate).await?;
    let other = Listening::start(Kind::Ours, mounted.path()).await?;
    let listeners = [server.address(), other.addr];
    for addr in listeners {
        until_serves(addr, true).await?;
    }

    let what =
        format!("ServingPolicy edit, decision, ConfigMap, mount, every listener ({}) serving by it", listeners.len());
    let mut written = Vec::new();
    let edit = async |named| {
        let began = Instant::now();
        ask_for(&kube, named).await?;
        bring(&mut mounted, &mut changes, named).await?;
        written.push(began.elapsed());
        Ok(())
    };
    until_followed(report, &what, &listeners, edit).await?;
    report.time("… of that until the ConfigMap was copied, median", median(written), Wanted::Nothing)?;
    other.process.stop().await?;
    server.stop().await
}

/// Edits the source.
async fn ask_for(kube: &Kube, named: Named) -> Outcome {
    let kind = GroupVersionKind::gvk("paddock.dev", "v1alpha1", "ServingPolicy");
    let policies: Api<DynamicObject> =
        Api::all_with(kube.clone(), &ApiResource::from_gvk_with_plural(&kind, "servingpolicies"));
    let policy = json!({
        "apiVersion": "paddock.dev/v1alpha1", "kind": "ServingPolicy", "metadata": {"name": "cluster"},
        "spec": {"source": "Inline", "profile": {"type": named.name()}},
    });
    apply(&policies, "cluster", &policy).await
}

/// A workload that follows and has no pods: a listener of this benchmark's stands for them.
async fn follow(kube: &Kube) -> Outcome {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": NAME, "labels": {"paddock.dev/tls-profile": "follow"},
            "annotations": {"paddock.dev/tls-profile-reload": "Hot"},
        },
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [{"name": "c", "image": "example.com/c:1"}]}},
        },
    });
    apply(&Api::<Deployment>::namespaced(kube.clone(), NAMESPACE), NAME, &deployment).await
}

async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Outcome
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(object)).await.map(drop).map_err(failed)
}

/// Waits for the ConfigMap with that profile and copies it to the mount.
async fn bring<S>(mounted: &mut Mounted, changes: &mut S, named: Named) -> Outcome
where
    S: Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin,
{
    let wanted = named.profile(paddock_tls_profile::Generation::C).canonical();
    let copied = async {
        while let Some(event) = changes.try_next().await.map_err(failed)? {
            let (WatchEvent::Added(map) | WatchEvent::Modified(map)) = event else { continue };
            let data = map.data.unwrap_or_default();
            if let (Some(contract), Some(profile)) = (data.get(files::CONTRACT), data.get(files::PROFILE))
                && *profile == wanted
            {
                return mounted.bring(contract, profile);
            }
        }
        Err(failed("the watch of the ConfigMap ended"))
    };
    timeout(PATIENCE, copied).await.map_err(|_| failed("an edited policy did not arrive"))?
}
