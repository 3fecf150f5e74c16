//! Watches the tenants' objects and takes snapshots of them, as any client of the API can.

use std::collections::HashMap;

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{apps, core, networking, rbac};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::story::{Change, Event, Snapshot};
use crate::exit::{Failure, chain};

/// Paddock's mark on what it manages.
pub(crate) const OURS: &str = "app.kubernetes.io/managed-by=paddock";

/// The kinds of which a tenant's gateway consists.
pub(crate) fn kinds() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<core::v1::ServiceAccount>(&()),
        ApiResource::erase::<core::v1::Secret>(&()),
        ApiResource::erase::<core::v1::ConfigMap>(&()),
        ApiResource::erase::<core::v1::Service>(&()),
        ApiResource::erase::<rbac::v1::Role>(&()),
        ApiResource::erase::<rbac::v1::RoleBinding>(&()),
        ApiResource::erase::<networking::v1::NetworkPolicy>(&()),
        ApiResource::erase::<apps::v1::StatefulSet>(&()),
    ]
}

pub(crate) fn cluster_kinds() -> Vec<ApiResource> {
    vec![ApiResource::erase::<rbac::v1::ClusterRole>(&()), ApiResource::erase::<rbac::v1::ClusterRoleBinding>(&())]
}

type Seen = Result<(String, watcher::Event<DynamicObject>), watcher::Error>;

/// Everything that is written to Paddock's objects, as it happens.
pub(crate) struct Observer {
    changes: SelectAll<BoxStream<'static, Seen>>,
    /// The version of every object seen, by uid: tells a creation from an update and a repeated event from a new one.
    versions: HashMap<String, Option<String>>,
    tenants: &'static [&'static str],
}

impl Observer {
    pub(crate) fn new(client: &Client, tenants: &'static [&'static str]) -> Self {
        let streams = kinds().into_iter().chain(cluster_kinds()).map(|resource| {
            let kind = resource.kind.clone();
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            watcher(api, watcher::Config::default().labels(OURS)).map_ok(move |event| (kind.clone(), event)).boxed()
        });
        Self { changes: futures::stream::select_all(streams), versions: HashMap::new(), tenants }
    }

    /// The next write to an object of a tenant, or to one of the cluster.
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            let Some(seen) = self.changes.next().await else {
                return Err(Failure::undetermined("all watches ended"));
            };
            // The watcher reconnects by itself; an error is a hint for the log.
            let (kind, event) = match seen {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a watch was interrupted");
                    continue;
                }
            };
            let (object, deleted) = match event {
                watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, false),
                watcher::Event::Delete(object) => (object, true),
                watcher::Event::Init | watcher::Event::InitDone => continue,
            };
            if let Some(change) = self.note(&object, deleted)
                && let Some(tenant) = self.whose(&object)
            {
                return Ok(Event::Applied { tenant, kind, name: object.name_any(), change });
            }
        }
    }

    fn note(&mut self, object: &DynamicObject, deleted: bool) -> Option<Change> {
        let uid = object.uid()?;
        if deleted {
            self.versions.remove(&uid);
            return Some(Change::Deleted);
        }
        match self.versions.insert(uid, object.resource_version()) {
            None => Some(Change::Created),
            Some(version) if version == object.resource_version() => None,
            Some(_) => Some(Change::Updated),
        }
    }

    /// The tenant that an object belongs to: `Some(None)` for one of the cluster, `None` for one that is nobody's concern.
    fn whose(&self, object: &DynamicObject) -> Option<Option<String>> {
        let tenant = |name: &str| self.tenants.iter().find(|tenant| **tenant == name).map(|t| Some((*t).to_owned()));
        match object.namespace() {
            Some(namespace) => tenant(&namespace),
            None => {
                let name = object.name_any();
                Some(self.tenants.iter().find(|tenant| name.ends_with(*tenant)).map(|t| (*t).to_owned()))
            }
        }
    }
}

/// All of Paddock's objects in the namespace of a tenant.
pub(crate) async fn snapshot(client: &Client, tenant: &str) -> Result<Snapshot, kube::Error> {
    let mut snapshot = Snapshot::default();
    for resource in kinds() {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), tenant, &resource);
        for object in api.list(&ListParams::default().labels(OURS)).await? {
            let place = (resource.kind.clone(), object.name_any());
            snapshot.0.insert(place, serde_json::to_value(&object).unwrap_or(Value::Null));
        }
    }
    Ok(snapshot)
}
