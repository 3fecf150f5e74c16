//! What a gateway's snapshot asks about that needs a rule of how it is asked. May read the API server.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use paddock_reconcile::{Context, Error, ObjectRef};
use serde::Deserialize as _;
use serde_json::Value;

use super::intent::Intent;
use super::key::GatewayKey;
use super::{names, pki};

/// A Secret of the gateway. Under the names of the default gateway others may have made one, which lacks our labels: those
/// names are watched. Under other names only ours can be ours, and a namesake is met when it is in the way.
pub(super) async fn secret(cx: &Context, key: &GatewayKey, name: &str) -> Result<Option<Secret>, Error> {
    let target = ObjectRef::of::<Secret>(Some(key.namespace()), key.name_of(name));
    let found = match key.is_default() {
        true => cx.get(&target).await?,
        false => cx.get_labelled(&target, &key.object_labels()).await?,
    };
    let read = |found: Arc<Value>| Secret::deserialize(&*found);
    found.map(read).transpose().map_err(|error| Error::transient(format!("{target}: {error}")))
}

/// When the gateway's sandboxes were created. Asked for only while an authority is replaced; what cannot be asked is unknown.
pub(super) async fn sandboxes(cx: &Context, key: &GatewayKey, intent: &Intent, served: &[String]) -> pki::Sandboxes {
    let api: Api<Pod> = match &intent.serves {
        Some(_) => Api::all(cx.client().clone()),
        None => Api::namespaced(cx.client().clone(), key.namespace()),
    };
    let may_hold = |namespace: &str| namespace == key.namespace() || served.iter().any(|name| name == namespace);
    let mut params = ListParams::default().labels(names::SANDBOX_POD_LABEL).limit(500);
    params.field_selector = Some("status.phase!=Succeeded,status.phase!=Failed".to_owned());
    let mut created = Vec::new();
    loop {
        let Ok(page) = api.list_metadata(&params).await else { return pki::Sandboxes::Unknown };
        // One without a time of its creation could be as old as any.
        let here = page.items.iter().filter(|pod| pod.metadata.namespace.as_deref().is_some_and(may_hold));
        let times = here.map(|pod| pod.metadata.creation_timestamp.as_ref());
        created.extend(times.map(|time| time.map_or(Timestamp::MIN, |time| time.0)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return pki::Sandboxes::Created(created),
        }
    }
}

/// Served versions of the Sandbox kind; empty when its definition does not exist.
pub(super) async fn sandbox_versions(cx: &Context) -> Result<String, Error> {
    let definition = ObjectRef::of::<CustomResourceDefinition>(None, names::SANDBOX_CRD);
    Ok(cx.get(&definition).await?.as_deref().map(served_versions).unwrap_or_default())
}

/// `v1alpha1,v1beta1`.
fn served_versions(definition: &Value) -> String {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] == true).filter_map(|version| version["name"].as_str());
    let mut served: Vec<&str> = served.collect();
    served.sort_unstable();
    served.join(",")
}
