//! What a Pod's status says, in the terms that workload controllers count in; Pods from templates. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::{annotation, name, namespace, uid};
use crate::owner;

/// The phase, empty when there is none yet.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether it ended, well or badly.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts: not ended and not being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether it is being deleted and has not ended yet.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_some()
}

/// A condition of this type.
pub(crate) fn condition<'a>(pod: &'a Pod, of: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == of)
}

/// Whether it serves.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")?.last_transition_time.as_ref().map(|time| time.0)
}

/// Since when it is available, or will be: ready for `min_ready` seconds. `None` when it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready: i32) -> Option<Timestamp> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready <= 0 {
        return Some(Timestamp::MIN);
    }
    ready_since(pod)?.checked_add(SignedDuration::from_secs(min_ready.into())).ok()
}

/// Whether it has been ready for long enough.
pub(crate) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    available_at(pod, min_ready).is_some_and(|at| at <= now)
}

/// The next time at which one of these becomes available.
pub(crate) fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    min_ready: i32,
    now: Timestamp,
) -> Option<Timestamp> {
    pods.into_iter().filter_map(|pod| available_at(pod, min_ready)).filter(|at| *at > now).min()
}

/// A pod of a template, controlled by `owner`. The server completes the name.
pub(crate) fn from_template<K>(template: &PodTemplateSpec, owner: &K) -> Pod
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
{
    let meta = template.metadata.as_ref();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(owner.metadata()))),
            namespace: Some(namespace(owner.metadata()).to_owned()),
            labels: meta.and_then(|m| m.labels.clone()),
            annotations: meta.and_then(|m| m.annotations.clone()),
            finalizers: meta.and_then(|m| m.finalizers.clone()),
            owner_references: Some(vec![owner::reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Which pods go first when there are too many: the least useful, by the rules of kube-controller-manager
/// (`ActivePodsWithRanks`). `ranks` says how many related pods share each pod's node.
pub(crate) fn least_useful_first(pods: &mut [Pod], ranks: &BTreeMap<String, usize>, now: Timestamp) {
    let rank = |pod: &Pod| ranks.get(uid(&pod.metadata)).copied().unwrap_or(0);
    pods.sort_by(|a, b| usefulness(a, b, rank(a), rank(b), now));
}

fn usefulness(a: &Pod, b: &Pod, rank_a: usize, rank_b: usize, now: Timestamp) -> Ordering {
    let assigned =
        |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|n| !n.is_empty());
    let phases = |pod: &Pod| match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = |pod: &Pod| {
        let cost = annotation(&pod.metadata, "controller.kubernetes.io/pod-deletion-cost");
        cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0)
    };
    let ready = |pod: &Pod| is_ready(pod);
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phases(a).cmp(&phases(b)))
        .then_with(|| ready(a).cmp(&ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| if ready(a) { younger_first(ready_since(a), ready_since(b), a, b, now) } else { Ordering::Equal })
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| {
            let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            younger_first(created(a), created(b), a, b, now)
        })
}

/// Younger first, on a logarithmic scale so that pods of about the same age are chosen by chance: their uid.
fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, pod_a: &Pod, pod_b: &Pod, now: Timestamp) -> Ordering {
    match (a, b) {
        (a, b) if a == b => Ordering::Equal,
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
        (Some(a), Some(b)) => {
            let scale = |at: Timestamp| {
                let age = now.duration_since(at).as_nanos();
                u128::try_from(age).ok().and_then(u128::checked_ilog2)
            };
            scale(a).cmp(&scale(b)).then_with(|| uid(&pod_a.metadata).cmp(uid(&pod_b.metadata)))
        }
    }
}

/// The most restarts of one container; sidecars count less.
fn restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else { return (0, 0) };
    let most = |restarts: &mut dyn Iterator<Item = i32>| restarts.max().unwrap_or(0);
    let regular = most(&mut status.container_statuses.iter().flatten().map(|c| c.restart_count));
    let sidecars: Vec<&str> = init_sidecars(pod).collect();
    let of_sidecars = status.init_container_statuses.iter().flatten().filter(|c| sidecars.contains(&&*c.name));
    (regular, most(&mut of_sidecars.map(|c| c.restart_count)))
}

/// The names of init containers that keep running beside the others.
pub(crate) fn init_sidecars(pod: &Pod) -> impl Iterator<Item = &str> {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    containers.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, more: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "uid": name}, "spec": {"containers": []}});
        for part in ["metadata", "spec", "status"] {
            if let Some(Value::Object(fields)) = more.get(part) {
                for (field, value) in fields {
                    pod[part][field] = value.clone();
                }
            }
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("a time")
    }

    fn running(name: &str, since: &str) -> Pod {
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        pod(name, json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions": ready}}))
    }

    fn order(mut pods: Vec<Pod>, ranks: &[(&str, usize)]) -> Vec<String> {
        let ranks = ranks.iter().map(|(name, rank)| ((*name).to_owned(), *rank)).collect();
        least_useful_first(&mut pods, &ranks, now());
        pods.iter().map(|pod| name(&pod.metadata).to_owned()).collect()
    }

    #[test]
    fn unassigned_then_pending_then_unready_pods_go_first() {
        let pods = vec![
            running("ready", "2026-01-01T00:00:00Z"),
            pod("unready", json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running"}})),
            pod("pending", json!({"spec": {"nodeName": "n"}, "status": {"phase": "Pending"}})),
            pod("unassigned", json!({"status": {"phase": "Pending"}})),
        ];
        assert_eq!(order(pods, &[]), ["unassigned", "pending", "unready", "ready"]);
    }

    #[test]
    fn cheaper_and_doubled_up_pods_go_first() {
        let mut cheap = running("cheap", "2026-01-01T00:00:00Z");
        let cost = ("controller.kubernetes.io/pod-deletion-cost".to_owned(), "-5".to_owned());
        cheap.metadata.annotations = Some([cost].into());
        let of = |name| running(name, "2026-01-01T00:00:00Z");
        assert_eq!(
            order(vec![of("alone"), of("doubled"), cheap], &[("doubled", 2), ("alone", 1)]),
            ["cheap", "doubled", "alone"]
        );
    }

    #[test]
    fn younger_pods_go_first_by_orders_of_magnitude() {
        let pods = vec![
            running("old", "2026-01-01T00:00:00Z"),
            running("a-bit-younger", "2026-01-01T00:01:00Z"),
            running("young", "2026-01-01T00:59:00Z"),
        ];
        assert_eq!(order(pods, &[]), ["young", "a-bit-younger", "old"]);
    }

    #[test]
    fn pod_is_available_after_it_was_ready_for_long_enough() {
        let pod = running("a", "2026-01-01T00:59:30Z");
        assert!(is_available(&pod, 30, now()));
        assert!(!is_available(&pod, 31, now()));
        assert_eq!(next_available([&pod], 31, now()), "2026-01-01T01:00:01Z".parse().ok());
    }
}
