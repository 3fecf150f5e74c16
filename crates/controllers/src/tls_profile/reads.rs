//! What several of the controllers read: who follows, what was decided, a workload's pods. Reads the API server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use paddock_reconcile::{Change, Context, Error, Kind, ObjectRef, Source};
use serde_json::Value;

use super::decider::{DECISION, data};
use super::decision::Published;
use super::follower::{FOLLOW, FOLLOWS, Workload, WorkloadKind};
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

/// Pods that carry the label, as far as it matters: that they come, run, get an address, go. Pods of workloads that do not put the label
/// on them are seen when their workload's status changes, or at the next look.
pub(crate) fn marked_pods() -> Source<Workload> {
    let keys = |change: &Change<'_>| {
        let matters = |pod: Option<&Value>| {
            pod.map(|pod| {
                let status = &pod["status"];
                [&pod["metadata"]["uid"], &pod["metadata"]["deletionTimestamp"], &status["phase"], &status["podIP"]]
                    .map(Value::clone)
            })
        };
        if matters(change.before) == matters(change.after) { Vec::new() } else { owner(change.object()) }
    };
    Source::of::<Pod>(keys).labels(format!("{FOLLOW}={FOLLOWS}"))
}

/// The workload that a pod is of, by who controls it.
fn owner(pod: &Value) -> Vec<Workload> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let workload = |reference: &Value| {
        let name = reference["name"].as_str()?;
        let (kind, name) = match reference["kind"].as_str()? {
            "ReplicaSet" => (WorkloadKind::Deployment, deployment_of(name)),
            kind => (WorkloadKind::ALL.into_iter().find(|one| one.kind().kind == kind)?, name),
        };
        Some(Workload { namespace: namespace.to_owned(), kind, name: name.to_owned() })
    };
    owners.into_iter().flatten().filter(|reference| reference["controller"] == true).filter_map(workload).collect()
}

/// A Deployment's ReplicaSets are called after it and their template.
fn deployment_of(replica_set: &str) -> &str {
    replica_set.rsplit_once('-').map_or(replica_set, |(of, _)| of)
}

/// What was decided and written down; not what somebody else wrote over it.
pub(crate) async fn published(cx: &Context, namespace: &str, memory: &Memory) -> Result<Option<Published>, Error> {
    let record = ObjectRef::of::<ConfigMap>(Some(namespace), DECISION);
    let published = cx.get(&record).await?.and_then(|record| Published::read(&data(&record)));
    Ok(published.filter(|published| memory.vouches_for(cx.term(), published)))
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
            owner["kind"] == "ReplicaSet" && deployment_of(name) == key.name
        } else {
            owner["kind"] == *key.kind.kind().kind && name == key.name
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(owner: &str, name: &str, status: &Value) -> Value {
        let owner = json!({"kind": owner, "name": name, "controller": true});
        json!({"metadata": {"namespace": "n", "name": "p", "uid": "1", "ownerReferences": [owner]}, "status": status})
    }

    fn woken(before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
        marked_pods().keys_of(&Change { before, after }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_that_comes_or_goes_wakes_its_workload() {
        for (owner, name, workload) in [
            ("ReplicaSet", "web-5d4f", "n/deployments/web"),
            ("StatefulSet", "db", "n/statefulsets/db"),
            ("DaemonSet", "agent", "n/daemonsets/agent"),
        ] {
            let pod = pod(owner, name, &json!({}));
            assert_eq!(
                (woken(None, Some(&pod)), woken(Some(&pod), None)),
                (vec![workload.into()], vec![workload.into()])
            );
        }
        assert_eq!(woken(None, Some(&pod("Job", "once", &json!({})))), [""; 0]);
    }

    #[test]
    fn a_pod_that_runs_wakes_its_workload_and_one_that_is_probed_does_not() {
        let of = |status: Value| pod("StatefulSet", "db", &status);
        let (pending, runs) = (of(json!({"phase": "Pending"})), of(json!({"phase": "Running", "podIP": "10.0.0.1"})));
        let mut ready = runs.clone();
        ready["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(woken(Some(&pending), Some(&runs)), ["n/statefulsets/db"]);
        assert_eq!(woken(Some(&runs), Some(&ready)), [""; 0]);
    }
}
