//! Namespace, Node, Lease, Event, and the definitions of other resources.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
use super::ages::age;
pub(in super::super) use super::columns;
use super::{created, joined, name, or_none};

pub(in super::super) const NAMESPACE: &str = "Name|Status|Age";
pub(in super::super) const NODE: &str =
    "Name|Status|Roles|Age|Version|Internal-IP+|External-IP+|OS-Image+|Kernel-Version+|Container-Runtime+";
pub(in super::super) const LEASE: &str = "Name|Holder|Age";
pub(in super::super) const EVENT: &str =
    "Last Seen|Type|Reason|Object|Subobject+|Source+|Message|First Seen+|Count+|Name+";
pub(in super::super) const WEBHOOKS: &str = "Name|Webhooks:integer|Age";
pub(in super::super) const DEFINITION: &str = "Name|Created At:date";
pub(in super::super) const API_SERVICE: &str = "Name|Service|Available|Age";

pub(in super::super) fn namespace(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), obj.at("/status/phase").clone(), created(obj, now)]
}

pub(in super::super) fn node(obj: &Value, now: Timestamp) -> Vec<Value> {
    let ready = obj.list_at("/status/conditions").iter().find(|c| c.str_at("/type") == "Ready");
    let mut status = match ready.map(|c| c.str_at("/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if obj.true_at("/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles = Vec::new();
    for (key, value) in obj.map_at("/metadata/labels").into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/").filter(|role| !role.is_empty()) {
            roles.push(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|role| !role.is_empty()));
        }
    }
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        let found = obj.list_at("/status/addresses").iter().find(|a| a.str_at("/type") == kind);
        json!(found.map_or("<none>", |a| or_none(a.str_at("/address"))))
    };
    let info = |field: &str| {
        let text = obj.str_at(&format!("/status/nodeInfo/{field}"));
        json!(if text.is_empty() { "<unknown>" } else { text })
    };
    vec![
        name(obj),
        json!(status),
        json!(or_none(&joined(roles))),
        created(obj, now),
        obj.at("/status/nodeInfo/kubeletVersion").clone(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

pub(in super::super) fn lease(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), json!(obj.str_at("/spec/holderIdentity")), created(obj, now)]
}

pub(in super::super) fn webhooks(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), json!(obj.list_at("/webhooks").len()), created(obj, now)]
}

pub(in super::super) fn definition(obj: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(obj), obj.at("/metadata/creationTimestamp").clone()]
}

pub(in super::super) fn api_service(obj: &Value, now: Timestamp) -> Vec<Value> {
    let service = match obj.str_at("/spec/service/name") {
        "" => "Local".to_owned(),
        service => format!("{}/{service}", obj.str_at("/spec/service/namespace")),
    };
    let available = obj.list_at("/status/conditions").iter().find(|c| c.str_at("/type") == "Available");
    let text = available.map_or("Unknown".to_owned(), |condition| match condition.str_at("/status") {
        "True" => "True".to_owned(),
        status => format!("{status} ({})", condition.str_at("/reason")),
    });
    vec![name(obj), json!(service), json!(text), created(obj, now)]
}

/// Cells of an Event of the core group.
pub(in super::super) fn event(obj: &Value, now: Timestamp) -> Vec<Value> {
    let time = |pointer: &str| Some(obj.str_at(pointer)).filter(|text| !text.is_empty());
    let first = time("/firstTimestamp").or(time("/eventTime")).unwrap_or_default();
    let last = time("/series/lastObservedTime").or(time("/lastTimestamp")).unwrap_or(first);
    let times = obj.int_at("/series/count").or(obj.int_at("/count")).unwrap_or(1);
    let kind = obj.str_at("/involvedObject/kind").to_ascii_lowercase();
    let target = match obj.str_at("/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let [component, host] = ["/source/component", "/source/host"].map(|field| obj.str_at(field));
    let component = if component.is_empty() { obj.str_at("/reportingComponent") } else { component };
    let source = joined([component, host].into_iter().filter(|text| !text.is_empty())).replace(',', ", ");
    vec![
        json!(age(last, now)),
        json!(obj.str_at("/type")),
        json!(obj.str_at("/reason")),
        json!(target),
        json!(obj.str_at("/involvedObject/fieldPath")),
        json!(source),
        json!(obj.str_at("/message").trim()),
        json!(age(first, now)),
        json!(times),
        name(obj),
    ]
}
