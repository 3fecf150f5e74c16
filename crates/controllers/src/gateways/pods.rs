//! What a gateway's pods say about their revision: whether they are ready, and what keeps them from it. Pure.

use paddock_api::annotations;
use paddock_reconcile::object;
use serde_json::Value;

use super::names;

/// A pod crash-loops when its container ended this often and is held back: the first ends may be those of a start-up order.
const CRASHES: i64 = 2;

/// The most bytes of what a runtime says of an image: two digests.
const MAX_IMAGE_ID: usize = 256;

/// A pod of a gateway's workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    /// The revision of the template that it was made from.
    pub(super) revision: Option<String>,
    pub(super) ready: bool,
    pub(super) terminating: bool,
    /// Why it will not come up by waiting.
    pub(super) failure: Option<String>,
    /// What it says that it waits for.
    pub(super) waiting: Option<String>,
    /// The digest of the image that runs in it; empty while nothing is told.
    pub(super) image_id: String,
}

impl Pod {
    /// Reads `pod` when the workload with the uid `workload` controls it: nobody else's pod is ever looked at.
    pub(super) fn of(workload: &str, pod: &Value) -> Option<Self> {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
        owners.iter().find(|owner| owner["controller"] == true && owner["uid"] == workload && !workload.is_empty())?;
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
        let revision = pod.pointer("/metadata/annotations").and_then(|all| all[annotations::REVISION].as_str());
        let (failure, waiting) = if ready { (None, None) } else { (failure(pod), waiting(pod)) };
        Some(Self {
            name: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            uid: object::uid(pod).to_owned(),
            revision: revision.map(str::to_owned),
            ready,
            terminating: object::is_terminating(pod),
            failure,
            waiting,
            image_id: image_id(pod),
        })
    }

    /// Whether it stands in the way of `revision`: a StatefulSet waits for a pod of an earlier template, and one that never
    /// gets ready is waited for for ever.
    pub(super) fn blocks(&self, revision: &str) -> bool {
        !self.ready && !self.terminating && self.revision.as_deref() != Some(revision)
    }
}

/// Whether a change of a pod can matter to a rollout. Pods report a lot more.
pub(super) fn differ(before: Option<&Value>, after: Option<&Value>) -> bool {
    let essence = |pod: Option<&Value>| {
        let pod = pod?;
        let uid = pod.pointer("/metadata/uid").cloned();
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
        Some((uid, ready, object::is_terminating(pod), failure(pod), waiting(pod), image_id(pod)))
    };
    essence(before) != essence(after)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |list: &str| pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
    of("/status/initContainerStatuses").chain(of("/status/containerStatuses"))
}

/// The digest in `ghcr.io/nvidia/openshell/gateway@sha256:…`; a runtime that knows none says another id, which is told as it is.
fn image_id(pod: &Value) -> String {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let told = statuses.into_iter().find(|container| container["name"] == names::GATEWAY);
    let id = told.and_then(|container| container["imageID"].as_str()).unwrap_or_default();
    let id = id.rsplit_once('@').map_or(id, |(_, digest)| digest);
    let is_plain = id.len() <= MAX_IMAGE_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { id.to_owned() } else { String::new() }
}

fn told<'a>(container: &'a Value, state: &str) -> (&'a str, &'a str) {
    let state = &container["state"][state];
    (state["reason"].as_str().unwrap_or_default(), state["message"].as_str().unwrap_or_default())
}

fn sentence(container: &Value, reason: &str, message: &str) -> String {
    let name = container["name"].as_str().unwrap_or_default();
    let mut text = format!("container {name}: {reason}");
    if !message.is_empty() {
        text.push_str(": ");
        text.extend(message.chars().take(200));
    }
    text
}

fn failure(pod: &Value) -> Option<String> {
    containers(pod).find_map(|container| {
        let (reason, message) = told(container, "waiting");
        let hopeless = match reason {
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => true,
            "CrashLoopBackOff" => container["restartCount"].as_i64().unwrap_or(0) >= CRASHES,
            _ => false,
        };
        let ended = container.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
        let message = match (reason, ended) {
            ("CrashLoopBackOff", Some(code)) => format!("ended with exit code {code}"),
            _ => message.to_owned(),
        };
        hopeless.then(|| sentence(container, reason, &message))
    })
}

fn waiting(pod: &Value) -> Option<String> {
    let container = containers(pod).find_map(|container| {
        let (reason, message) = told(container, "waiting");
        (!matches!(reason, "" | "ContainerCreating" | "PodInitializing")).then(|| sentence(container, reason, message))
    });
    container.or_else(|| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array)?;
        let unscheduled = conditions.iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False")?;
        Some(format!("pod is not scheduled: {}", unscheduled["reason"].as_str().unwrap_or("unknown")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(reason: &str, restarts: u32) -> Value {
        json!({
            "metadata": {
                "name": "openshell-gateway-0", "uid": "pod-uid",
                "annotations": { annotations::REVISION: "b" },
                "ownerReferences": [{ "controller": true, "uid": "set-uid" }],
            },
            "status": { "containerStatuses": [{
                "name": "openshell-gateway", "restartCount": restarts,
                "state": { "waiting": { "reason": reason, "message": "no such tag" } },
            }] },
        })
    }

    #[test]
    fn gw_w08_image_that_cannot_be_pulled_is_a_failure() {
        for (reason, restarts, fails) in [
            ("ImagePullBackOff", 0, true),
            ("InvalidImageName", 0, true),
            ("ErrImagePull", 0, false),
            ("CrashLoopBackOff", 1, false),
            ("CrashLoopBackOff", 2, true),
            ("ContainerCreating", 0, false),
            ("CreateContainerConfigError", 0, false),
        ] {
            let read = Pod::of("set-uid", &pod(reason, restarts)).unwrap();
            assert_eq!(read.failure.is_some(), fails, "{reason}");
        }
    }

    #[test]
    fn failure_names_container_reason_and_message() {
        let read = Pod::of("set-uid", &pod("ImagePullBackOff", 0)).unwrap();
        assert_eq!(read.failure.as_deref(), Some("container openshell-gateway: ImagePullBackOff: no such tag"));
    }

    #[test]
    fn pods_of_others_are_not_looked_at() {
        assert_eq!(Pod::of("other-uid", &pod("ImagePullBackOff", 0)), None);
        assert_eq!(
            Pod::of("", &json!({ "metadata": { "ownerReferences": [{ "controller": true, "uid": "" }] } })),
            None
        );
    }

    #[test]
    fn gw_d31_unready_pod_of_another_revision_blocks() {
        let read = Pod::of("set-uid", &pod("ImagePullBackOff", 0)).unwrap();
        assert!(read.blocks("a") && !read.blocks("b"));
        let mut ready = pod("", 0);
        ready["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert!(!Pod::of("set-uid", &ready).unwrap().blocks("a"));
        let mut going = pod("", 0);
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(!Pod::of("set-uid", &going).unwrap().blocks("a"));
    }

    #[test]
    fn heartbeats_of_pods_matter_to_no_rollout() {
        let before = pod("ImagePullBackOff", 0);
        let mut after = before.clone();
        after["status"]["conditions"] = json!([{ "type": "Initialized", "status": "True" }]);
        assert!(!differ(Some(&before), Some(&after)));
        assert!(differ(Some(&before), Some(&pod("ErrImagePull", 0))));
        assert!(differ(None, Some(&before)) && differ(Some(&before), None));
    }
}
