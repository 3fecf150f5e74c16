//! An API server with tenants: what the gateways' figures are taken on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams,
};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use paddock_api::labels;
use paddock_reconcile::client;
use serde_json::json;
use tempfile::TempDir;

use super::server::{Server, directory, failed};
use crate::commands::controllers::{CONTROL_NAMESPACE, create_namespace, install};
use crate::commands::demo::observe::{self, OURS};
use crate::exit::{Failure, Outcome};

const CONFIG: &str = "platform-config";
/// Longer than anything that is measured may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A durable API server, Paddock's own namespace and the tenants' namespaces. No controller.
pub(crate) struct Tenants {
    client: Client,
    pub(crate) server: Server,
    names: Vec<String>,
    /// Removed last.
    _dir: TempDir,
}

/// An object of a gateway: its kind and its metadata.
pub(crate) struct Child {
    resource: ApiResource,
    pub(crate) object: PartialObjectMeta<DynamicObject>,
}

impl Child {
    /// The tenant that it belongs to.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.object.metadata.labels.as_ref()?.get(labels::TENANT).map(String::as_str)
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.object.metadata.resource_version.as_deref()
    }
}

/// How long after an edit the first and the last object were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaction {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Tenants {
    pub(crate) async fn new(count: u32) -> Result<Self, Failure> {
        let dir = directory()?;
        let data = dir.path().join("data");
        let server = Server::start(dir.path(), &["apiserver", "--data-dir", &data.to_string_lossy()]).await?;
        let client = client::from_kubeconfig(&server.kubeconfig, None).await.map_err(failed)?;
        install(&client).await?;
        let names: Vec<String> = (0..count).map(|at| format!("tenant-{at:03}")).collect();
        for name in &names {
            create_namespace(&client, name).await?;
        }
        Ok(Self { client, server, names, _dir: dir })
    }

    /// The tenant that is edited.
    pub(crate) fn first(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Writes a `platform-config` in which only the first tenant has a DNS name of its own.
    pub(crate) async fn configure(&self, dns: &str) -> Outcome {
        let mut text = String::new();
        for (at, name) in self.names.iter().enumerate() {
            text.push_str(&format!("- name: {name}\n"));
            if at == 0 {
                text.push_str(&format!("  gateway:\n    serverDnsNames: [{dns}]\n"));
            }
        }
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": {"namespaces": text}});
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), CONTROL_NAMESPACE);
        api.patch(CONFIG, &PatchParams::apply("paddock-bench"), &Patch::Apply(&object)).await.map_err(failed)?;
        Ok(())
    }

    /// Every object of every gateway, by kind, namespace and name.
    pub(crate) async fn children(&self) -> Result<BTreeMap<String, Child>, Failure> {
        let mut children = BTreeMap::new();
        for resource in observe::kinds().into_iter().chain(observe::cluster_kinds()) {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            for object in api.list_metadata(&ListParams::default().labels(OURS)).await.map_err(failed)? {
                let place =
                    format!("{} {}/{}", resource.kind, object.namespace().unwrap_or_default(), object.name_any());
                children.insert(place, Child { resource: resource.clone(), object });
            }
        }
        Ok(children)
    }

    /// Edits the first tenant so often, and waits each time until its workload, which is written last, has changed.
    pub(crate) async fn edits(&self, count: usize, of: &str) -> Result<Vec<Reaction>, Failure> {
        let tenant = self.first();
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), tenant);
        let list = sets.list(&ListParams::default()).await.map_err(failed)?;
        let mut generation = list.items.first().and_then(|set| set.metadata.generation);
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut sets = sets.watch(&WatchParams::default(), &version).await.map_err(failed)?.boxed();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), tenant);
        let mut secrets = secrets.watch(&WatchParams::default(), &version).await.map_err(failed)?.boxed();
        let mut reactions = Vec::new();
        for nth in 0..count {
            let began = Instant::now();
            self.configure(&format!("{of}-{nth}.example.com")).await?;
            let reaction = async {
                // The certificate is written first.
                change(&mut secrets, |_| true).await?;
                let first = began.elapsed();
                let set = change(&mut sets, |set| set.metadata.generation > generation).await?;
                generation = set.metadata.generation;
                Ok(Reaction { first, last: began.elapsed() })
            };
            reactions.push(in_time("an edit is applied", reaction).await?);
        }
        Ok(reactions)
    }

    /// Deletes an object and waits until another one is in its place.
    pub(crate) async fn recovery(&self, child: &Child) -> Result<Duration, Failure> {
        let name = child.object.name_any();
        let api: Api<DynamicObject> = match child.object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &child.resource),
            None => Api::all_with(self.client.clone(), &child.resource),
        };
        let version =
            api.list_metadata(&ListParams::default().limit(1)).await.map_err(failed)?.metadata.resource_version;
        let named = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = api.watch_metadata(&named, &version.unwrap_or_default()).await.map_err(failed)?.boxed();
        let began = Instant::now();
        api.delete(&name, &DeleteParams::default()).await.map_err(failed)?;
        let back = change(&mut events, |now| now.metadata.uid != child.object.metadata.uid);
        in_time(&format!("a deleted {} is back", child.resource.kind), back).await?;
        Ok(began.elapsed())
    }
}

/// The next object that was written and is `wanted`.
async fn change<K>(
    events: &mut BoxStream<'_, kube::Result<WatchEvent<K>>>,
    wanted: impl Fn(&K) -> bool + Send,
) -> Result<K, Failure> {
    while let Some(event) = events.try_next().await.map_err(failed)? {
        if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event
            && wanted(&object)
        {
            return Ok(object);
        }
    }
    Err(failed("the watch ended"))
}

async fn in_time<T>(what: &str, happens: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let waited = tokio::time::timeout(PATIENCE, happens).await;
    waited.map_err(|_| failed(format!("not in {} s: {what}", PATIENCE.as_secs())))?
}
