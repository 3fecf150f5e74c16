//! Namespace, Node, Lease, Event, and the definitions of other resources.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
use super::ages::{age, duration};
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
pub(in super::super) const VALIDATING_POLICY: &str = "Name|Validations:integer|ParamKind|Age";
pub(in super::super) const MUTATING_POLICY: &str = "Name|Mutations:integer|ParamKind|Age";
pub(in super::super) const POLICY_BINDING: &str = "Name|PolicyName|ParamRef|Age";
pub(in super::super) const SIGNING_REQUEST: &str = "Name|Age|SignerName|Requestor|RequestedDuration|Condition";
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

pub(in super::super) fn validating_policy(obj: &Value, now: Timestamp) -> Vec<Value> {
    policy(obj, "/spec/validations", now)
}

pub(in super::super) fn mutating_policy(obj: &Value, now: Timestamp) -> Vec<Value> {
    policy(obj, "/spec/mutations", now)
}

fn policy(obj: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let params = match obj.at("/spec/paramKind") {
        Value::Null => "<unset>".to_owned(),
        kind => format!("{}/{}", kind.str_at("/apiVersion"), kind.str_at("/kind")),
    };
    vec![name(obj), json!(obj.list_at(rules).len()), json!(params), created(obj, now)]
}

pub(in super::super) fn policy_binding(obj: &Value, now: Timestamp) -> Vec<Value> {
    let params = match obj.at("/spec/paramRef") {
        Value::Null => "<unset>".to_owned(),
        params if params.str_at("/namespace").is_empty() => params.str_at("/name").to_owned(),
        params => format!("{}/{}", params.str_at("/namespace"), params.str_at("/name")),
    };
    vec![name(obj), obj.at("/spec/policyName").clone(), json!(params), created(obj, now)]
}

pub(in super::super) fn signing_request(obj: &Value, now: Timestamp) -> Vec<Value> {
    let has = |kind: &str| obj.list_at("/status/conditions").iter().any(|c| c.str_at("/type") == kind);
    let mut condition = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    for (there, text) in [(has("Failed"), ",Failed"), (!obj.str_at("/status/certificate").is_empty(), ",Issued")] {
        condition.push_str(if there { text } else { "" });
    }
    let wanted = obj.int_at("/spec/expirationSeconds").map_or_else(|| "<none>".to_owned(), duration);
    vec![
        name(obj),
        created(obj, now),
        json!(or_none(obj.str_at("/spec/signerName"))),
        obj.at("/spec/username").clone(),
        json!(wanted),
        json!(condition),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: fn(&Value, Timestamp) -> Vec<Value>, obj: &Value) -> Vec<Value> {
        let all = cells(obj, Timestamp::UNIX_EPOCH);
        all.into_iter().skip(1).filter(|cell| cell != "<unknown>").collect()
    }

    #[test]
    fn policies_show_how_many_rules_they_have_and_of_what_params() {
        let obj = json!({"spec": {"validations": [{}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}});
        assert_eq!(cells(validating_policy, &obj), [json!(1), json!("v1/ConfigMap")]);
    }

    #[test]
    fn bindings_without_params_say_so() {
        assert_eq!(cells(policy_binding, &json!({"spec": {"policyName": "p"}})), ["p", "<unset>"]);
    }

    #[test]
    fn a_signed_request_is_approved_and_issued() {
        let obj = json!({"spec": {"username": "joe", "signerName": "a.b/c", "expirationSeconds": 3600},
            "status": {"certificate": "eA==", "conditions": [{"type": "Approved"}]}});
        assert_eq!(cells(signing_request, &obj), ["a.b/c", "joe", "60m", "Approved,Issued"]);
    }
}
