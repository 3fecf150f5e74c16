//! Reading what plans are made from. May touch the context's caches and, where they do not reach, the API server.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Context, Error, Kind};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::owner;

/// The objects of a kind in a namespace that `owner` controls or that nobody does.
pub(crate) async fn dependents<K>(cx: &Context, namespace: &str, owner: &ObjectMeta) -> Result<Vec<K>, Error>
where
    K: k8s_openapi::Resource + DeserializeOwned,
    K::Scope: 'static,
{
    select(cx, namespace, |object| owner::concerns(object, owner)).await
}

/// The objects of a kind in a namespace that `wanted` chooses.
pub(crate) async fn select<K>(
    cx: &Context,
    namespace: &str,
    wanted: impl Fn(&Value) -> bool + Send,
) -> Result<Vec<K>, Error>
where
    K: k8s_openapi::Resource + DeserializeOwned,
    K::Scope: 'static,
{
    let kind = Kind::of::<K>();
    let found = cx.select(&kind, Some(namespace), wanted).await?;
    found.iter().map(|object| read(&kind, object)).collect()
}

/// The objects of a kind, wherever they are, that `wanted` chooses.
pub(crate) async fn everywhere<K>(cx: &Context, wanted: impl Fn(&Value) -> bool + Send) -> Result<Vec<K>, Error>
where
    K: k8s_openapi::Resource + DeserializeOwned,
    K::Scope: 'static,
{
    let kind = Kind::of::<K>();
    let found = cx.select(&kind, None, wanted).await?;
    found.iter().map(|object| read(&kind, object)).collect()
}

fn read<K: DeserializeOwned>(kind: &Kind, object: &Arc<Value>) -> Result<K, Error> {
    K::deserialize(&**object).map_err(|e| Error::transient(format!("a {kind} that cannot be read: {e}")))
}
