//! What several of the controllers read: who follows, what was decided, a workload's pods. Reads the API server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use paddock_reconcile::{Change, Context, Error, Kind, ObjectRef, Source};
use serde_json::Value;

use super::decider::{DECISION, data};
use super::decision::Published;
use super::follower::{FOLLOW, Workload, WorkloadKind};
use super::memory::Memory;

/// Everything that carries the label; `found` hears of who is there.
pub(crate) fn workloads(found: impl Fn(&Workload) + Clone + Send + Sync + 'static) -> Vec<Source<Workload>> {
    let source = |kind: WorkloadKind| {
        let found = found.clone();
        let keys = move |change: &Change<'_>| {
            let workload = Workload::of(kind, change.object());
            if let (Some(workload), Some(_)) = (&workload, change.after) {
                found(workload);
            }
            workload.into_iter().collect()
        };
        Source::kind(kind.kind(), keys).labels(FOLLOW)
    };
    WorkloadKind::ALL.into_iter().map(source).collect()
}

/// What was decided and written down; not what somebody else wrote over it.
pub(crate) async fn published(cx: &Context, namespace: &str, memory: &Memory) -> Result<Option<Published>, Error> {
    let record = ObjectRef::of::<ConfigMap>(Some(namespace), DECISION);
    let published = cx.get(&record).await?.and_then(|record| Published::read(&data(&record)));
    Ok(published.filter(|published| memory.vouches_for(published)))
}

/// The pods of a workload: those that its selector's labels name and that it, or a ReplicaSet of it, owns.
pub(crate) async fn pods(cx: &Context, key: &Workload, object: &Value) -> Result<Vec<Arc<Value>>, Error> {
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let labels: Vec<(&str, &str)> =
        labels.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
    let mut found = cx.list(&Kind::of::<Pod>(), Some(&key.namespace), &labels).await?;
    found.retain(|pod| is_of(key, pod));
    Ok(found)
}

fn is_of(key: &Workload, pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|owner| {
        let name = owner["name"].as_str().unwrap_or_default();
        if key.kind == WorkloadKind::Deployment {
            // Its ReplicaSets are called after it and their template.
            let of = name.rsplit_once('-').map_or(name, |(of, _)| of);
            owner["kind"] == "ReplicaSet" && of == key.name
        } else {
            owner["kind"] == *key.kind.kind().kind && name == key.name
        }
    })
}
