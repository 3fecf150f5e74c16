//! Pods and the kinds that make them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::selector_text;
use super::ages::{age, duration, seconds_between};
pub(in super::super) use super::columns;
use super::{count, created, joined, labels_text, name, or_none};

pub(in super::super) const POD: &str = "Name|Ready|Status|Restarts|Age|IP+|Node+|Nominated Node+|Readiness Gates+";
pub(in super::super) const POD_TEMPLATE: &str = "Name|Containers|Images|Pod Labels";
pub(in super::super) const DEPLOYMENT: &str =
    "Name|Ready|Up-to-date:integer|Available:integer|Age|Containers+|Images+|Selector+";
pub(in super::super) const REPLICA_SET: &str =
    "Name|Desired:integer|Current:integer|Ready:integer|Age|Containers+|Images+|Selector+";
pub(in super::super) const REPLICATION_CONTROLLER: &str = REPLICA_SET;
pub(in super::super) const STATEFUL_SET: &str = "Name|Ready|Age|Containers+|Images+";
pub(in super::super) const DAEMON_SET: &str = "Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|\
     Available:integer|Node Selector|Age|Containers+|Images+|Selector+";
pub(in super::super) const CONTROLLER_REVISION: &str = "Name|Controller|Revision:integer|Age";
pub(in super::super) const JOB: &str = "Name|Status|Completions|Duration|Age|Containers+|Images+|Selector+";
pub(in super::super) const CRON_JOB: &str =
    "Name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|Containers+|Images+|Selector+";

/// Names and images of a template's containers.
fn containers(spec: &Value) -> [Value; 2] {
    ["/name", "/image"].map(|field| json!(joined(spec.list_at("/containers").iter().map(|c| c.str_at(field)))))
}

/// Cells in order, then those of the template's containers, then `rest`.
fn wide(mut cells: Vec<Value>, spec: &Value, rest: Option<Value>) -> Vec<Value> {
    cells.extend(containers(spec));
    cells.extend(rest);
    cells
}

pub(in super::super) fn pod_template(obj: &Value, _: Timestamp) -> Vec<Value> {
    let labels = json!(labels_text(obj.at("/template/metadata/labels")));
    wide(vec![name(obj)], obj.at("/template/spec"), Some(labels))
}

pub(in super::super) fn deployment(obj: &Value, now: Timestamp) -> Vec<Value> {
    let ready = obj.int_at("/status/readyReplicas").unwrap_or(0);
    let wanted = obj.int_at("/spec/replicas").unwrap_or(0);
    let cells = vec![
        name(obj),
        json!(format!("{ready}/{wanted}")),
        count(obj, "/status/updatedReplicas"),
        count(obj, "/status/availableReplicas"),
        created(obj, now),
    ];
    wide(cells, obj.at("/spec/template/spec"), Some(json!(selector_text(obj.at("/spec/selector")))))
}

pub(in super::super) fn replica_set(obj: &Value, now: Timestamp) -> Vec<Value> {
    let selector = selector_text(obj.at("/spec/selector"));
    wide(replicated(obj, now), obj.at("/spec/template/spec"), Some(json!(selector)))
}

pub(in super::super) fn replication_controller(obj: &Value, now: Timestamp) -> Vec<Value> {
    let selector = labels_text(obj.at("/spec/selector"));
    wide(replicated(obj, now), obj.at("/spec/template/spec"), Some(json!(selector)))
}

fn replicated(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(obj),
        count(obj, "/spec/replicas"),
        count(obj, "/status/replicas"),
        count(obj, "/status/readyReplicas"),
        created(obj, now),
    ]
}

pub(in super::super) fn stateful_set(obj: &Value, now: Timestamp) -> Vec<Value> {
    let ready = obj.int_at("/status/readyReplicas").unwrap_or(0);
    let wanted = obj.int_at("/spec/replicas").unwrap_or(0);
    let cells = vec![name(obj), json!(format!("{ready}/{wanted}")), created(obj, now)];
    wide(cells, obj.at("/spec/template/spec"), None)
}

pub(in super::super) fn daemon_set(obj: &Value, now: Timestamp) -> Vec<Value> {
    let spec = obj.at("/spec/template/spec");
    let mut cells = vec![name(obj)];
    for field in
        ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
    {
        cells.push(count(obj, &format!("/status/{field}")));
    }
    cells.push(json!(labels_text(spec.at("/nodeSelector"))));
    cells.push(created(obj, now));
    wide(cells, spec, Some(json!(selector_text(obj.at("/spec/selector")))))
}

pub(in super::super) fn controller_revision(obj: &Value, now: Timestamp) -> Vec<Value> {
    let owner = obj.list_at("/metadata/ownerReferences").iter().find(|owner| owner.true_at("/controller"));
    let controller = owner.map_or("<none>".to_owned(), |owner| {
        let (group, _) = owner.str_at("/apiVersion").split_once('/').unwrap_or_default();
        let kind = owner.str_at("/kind").to_ascii_lowercase();
        let dot = if group.is_empty() { "" } else { "." };
        format!("{kind}{dot}{group}/{}", owner.str_at("/name"))
    });
    vec![name(obj), json!(controller), count(obj, "/revision"), created(obj, now)]
}

pub(in super::super) fn job(obj: &Value, now: Timestamp) -> Vec<Value> {
    let done = obj.int_at("/status/succeeded").unwrap_or(0);
    let completions = match (obj.int_at("/spec/completions"), obj.int_at("/spec/parallelism").unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    };
    let (start, end) = (obj.str_at("/status/startTime"), obj.str_at("/status/completionTime"));
    let took = match (start, end) {
        ("", _) => String::new(),
        (_, "") => age(start, now),
        _ => seconds_between(start, end).map_or_else(|| "<unknown>".to_owned(), duration),
    };
    let holds = |kind: &str| {
        obj.list_at("/status/conditions").iter().any(|c| c.str_at("/type") == kind && c.str_at("/status") == "True")
    };
    let status = ["Complete", "Failed"].into_iter().find(|kind| holds(kind)).unwrap_or_else(|| {
        if obj.has("/metadata/deletionTimestamp") {
            "Terminating"
        } else {
            ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
                .into_iter()
                .find(|kind| holds(kind))
                .unwrap_or("Running")
        }
    });
    let cells = vec![name(obj), json!(status), json!(completions), json!(took), created(obj, now)];
    wide(cells, obj.at("/spec/template/spec"), Some(json!(selector_text(obj.at("/spec/selector")))))
}

pub(in super::super) fn cron_job(obj: &Value, now: Timestamp) -> Vec<Value> {
    let last = match obj.str_at("/status/lastScheduleTime") {
        "" => "<none>".to_owned(),
        time => age(time, now),
    };
    let cells = vec![
        name(obj),
        json!(obj.str_at("/spec/schedule")),
        json!(or_none(obj.str_at("/spec/timeZone"))),
        json!(if obj.true_at("/spec/suspend") { "True" } else { "False" }),
        json!(obj.list_at("/status/active").len()),
        json!(last),
        created(obj, now),
    ];
    let job = obj.at("/spec/jobTemplate/spec");
    wide(cells, job.at("/template/spec"), Some(json!(selector_text(job.at("/selector")))))
}

/// Cells of a Pod (`printPod`).
pub(in super::super) fn pod(obj: &Value, now: Timestamp) -> Vec<Value> {
    let (status, ready, restarts) = pod_status(obj, now);
    let total = obj.list_at("/spec/containers").len()
        + obj.list_at("/spec/initContainers").iter().filter(|c| c.str_at("/restartPolicy") == "Always").count();
    let gates = obj.list_at("/spec/readinessGates");
    let open = gates.iter().filter(|gate| {
        let holds = |c: &&Value| c.str_at("/type") == gate.str_at("/conditionType");
        obj.list_at("/status/conditions").iter().find(holds).is_some_and(|c| c.str_at("/status") == "True")
    });
    let gates = if gates.is_empty() { "<none>".to_owned() } else { format!("{}/{}", open.count(), gates.len()) };
    vec![
        name(obj),
        json!(format!("{ready}/{total}")),
        json!(status),
        json!(restarts),
        created(obj, now),
        json!(or_none(obj.str_at("/status/podIP"))),
        json!(or_none(obj.str_at("/spec/nodeName"))),
        json!(or_none(obj.str_at("/status/nominatedNodeName"))),
        json!(gates),
    ]
}

/// The reason that a pod's state shows, how many containers are ready, how often they restarted.
fn pod_status(obj: &Value, now: Timestamp) -> (String, usize, String) {
    let mut reason = [obj.str_at("/status/reason"), obj.str_at("/status/phase")]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
        .to_owned();
    let conditions = obj.list_at("/status/conditions");
    if conditions.iter().any(|c| c.str_at("/type") == "PodScheduled" && c.str_at("/reason") == "SchedulingGated") {
        reason = "SchedulingGated".to_owned();
    }
    let sidecar = |name: &str| {
        obj.list_at("/spec/initContainers")
            .iter()
            .any(|c| c.str_at("/name") == name && c.str_at("/restartPolicy") == "Always")
    };
    let (mut ready, mut restarts, mut last, mut initializing) = (0, 0, "", false);
    let init = obj.list_at("/status/initContainerStatuses");
    for (index, status) in init.iter().enumerate() {
        restarts += status.int_at("/restartCount").unwrap_or(0);
        last = last.max(status.str_at("/lastState/terminated/finishedAt"));
        let sidecar = sidecar(status.str_at("/name"));
        if status.at("/state/terminated/exitCode") == 0 {
            continue;
        }
        if sidecar && status.true_at("/started") {
            ready += usize::from(status.true_at("/ready"));
            continue;
        }
        reason = match (status.at("/state/terminated"), status.str_at("/state/waiting/reason")) {
            (Value::Object(_), _) => format!("Init:{}", ended(status.at("/state/terminated"))),
            (_, waiting) if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            _ => format!("Init:{index}/{}", obj.list_at("/spec/initContainers").len()),
        };
        initializing = true;
        break;
    }
    if !initializing {
        let (mut running, mut seen) = (false, "");
        for status in obj.list_at("/status/containerStatuses").iter().rev() {
            restarts += status.int_at("/restartCount").unwrap_or(0);
            seen = seen.max(status.str_at("/lastState/terminated/finishedAt"));
            let waiting = status.str_at("/state/waiting/reason");
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if status.has("/state/terminated") {
                reason = ended(status.at("/state/terminated"));
            } else if status.true_at("/ready") && status.has("/state/running") {
                running = true;
                ready += 1;
            }
        }
        last = last.max(seen);
        if reason == "Completed" && running {
            let holds = |c: &Value| c.str_at("/type") == "Ready" && c.str_at("/status") == "True";
            reason = if conditions.iter().any(holds) { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if obj.has("/metadata/deletionTimestamp") {
        match obj.str_at("/status/reason") {
            "NodeLost" => reason = "Unknown".to_owned(),
            _ if !matches!(obj.str_at("/status/phase"), "Succeeded" | "Failed") => reason = "Terminating".to_owned(),
            _ => {}
        }
    }
    let restarts = if restarts > 0 && !last.is_empty() {
        format!("{restarts} ({} ago)", age(last, now))
    } else {
        restarts.to_string()
    };
    (reason, ready, restarts)
}

fn ended(terminated: &Value) -> String {
    let reason = terminated.str_at("/reason");
    match terminated.int_at("/signal").unwrap_or(0) {
        _ if !reason.is_empty() => reason.to_owned(),
        0 => format!("ExitCode:{}", terminated.int_at("/exitCode").unwrap_or(0)),
        signal => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pod: &Value) -> String {
        pod_status(pod, Timestamp::UNIX_EPOCH).0
    }

    #[test]
    fn a_deleted_pod_is_terminating() {
        let pod = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}});
        assert_eq!(status(&pod), "Terminating");
    }

    #[test]
    fn a_waiting_container_tells_why() {
        let pod = json!({"status": {"phase": "Pending",
            "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}});
        assert_eq!(status(&pod), "ImagePullBackOff");
    }

    #[test]
    fn init_containers_are_counted_until_they_end() {
        let pod = json!({"spec": {"initContainers": [{"name": "a"}, {"name": "b"}]}, "status": {"phase": "Pending",
            "initContainerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 0}}}, {"name": "b", "state": {}}]}});
        assert_eq!(status(&pod), "Init:1/2");
    }
}
