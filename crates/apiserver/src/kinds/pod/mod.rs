//! Pods and the pod templates of other kinds.

pub(super) mod affinity;
pub(super) mod containers;
pub(super) mod defaults;
pub(super) mod security;
pub(super) mod spec;
pub(super) mod update;
pub(super) mod volumes;

use serde_json::{Value, json};

use super::at::At;
use super::names;
use super::rules::Rules;
use super::tables::workloads as tables;
use crate::field::FieldError;
use crate::resource::{Cx, Part};
use crate::schema::quantity::Quantity;
use crate::status::Status;

pub(super) const POD: Rules = Rules {
    generation: true,
    default: defaults::pod,
    prepare_create,
    prepare_update,
    validate_create: |obj, _| validate(obj),
    validate_update: |new, old, part, _| update::validate(new, old, part),
    warnings,
    fields: &[
        "spec.nodeName",
        "spec.host",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ],
    select,
    unselectable: |field| format!("field label not supported: {field}"),
    grace_period,
    columns: || tables::columns(tables::POD),
    cells: tables::pod,
    ..Rules::PLAIN
};

pub(super) const POD_TEMPLATE: Rules = Rules {
    generation: true,
    default: |obj| {
        if obj.has("/template") {
            defaults::template(obj, "/template");
        } else {
            obj.set_at("/template", json!({}));
            defaults::template(obj, "/template");
        }
    },
    validate_create: |obj, _| spec::validate_template(obj.at("/template"), "template"),
    validate_update: |new, _, _, _| spec::validate_template(new.at("/template"), "template"),
    columns: || tables::columns(tables::POD_TEMPLATE),
    cells: tables::pod_template,
    ..Rules::PLAIN
};

fn validate(obj: &Value) -> Vec<FieldError> {
    spec::validate(obj.at("/spec"), obj.at("/metadata"), "spec")
}

fn prepare_create(obj: &mut Value, cx: &Cx<'_>) -> Result<(), Status> {
    defaults::pod(obj);
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(obj.at("/spec"))});
    if !obj.list_at("/spec/schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": super::timestamp(cx.now),
            "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    obj.set_at("/status", status);
    Ok(())
}

fn prepare_update(new: &mut Value, old: &Value, part: Part, _: &Cx<'_>) -> Result<(), Status> {
    match part {
        Part::Main => {
            if old.list_at("/spec/schedulingGates").len() > new.list_at("/spec/schedulingGates").len()
                && new.list_at("/spec/schedulingGates").is_empty()
            {
                // The scheduler will say so again if it must.
                if let Some(Value::Array(conditions)) = new.pointer_mut("/status/conditions") {
                    conditions.retain(|c| c.str_at("/reason") != "SchedulingGated");
                }
                if new.list_at("/status/conditions").is_empty() {
                    new.remove_at("/status/conditions");
                }
            }
        }
        Part::Status => {
            let owners = old.at("/metadata/ownerReferences").clone();
            if owners.is_null() {
                new.remove_at("/metadata/ownerReferences");
            } else {
                new.set_at("/metadata/ownerReferences", owners);
            }
            new.default_at("/status/qosClass", old.at("/status/qosClass").clone());
        }
        Part::Other(name) => update::isolate(new, old, name),
    }
    Ok(())
}

/// `qosClass`: what the node may take from the pod first. What the pod states as a whole counts alone.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let stated = |list: &str| spec.map_at(&format!("/resources/{list}")).is_some_and(|map| !map.is_empty());
    let holders: Vec<&Value> = if stated("requests") || stated("limits") {
        vec![spec]
    } else {
        ["/containers", "/initContainers"].iter().flat_map(|list| spec.list_at(list)).collect()
    };
    for container in holders {
        for name in ["cpu", "memory"] {
            let amount = |what: &str| {
                Quantity::parse(container.str_at(&format!("/resources/{what}/{name}"))).filter(|q| !q.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn grace_period(pod: &Value, asked: Option<i64>) -> Option<i64> {
    let unscheduled = pod.str_at("/spec/nodeName").is_empty();
    let over = matches!(pod.str_at("/status/phase"), "Failed" | "Succeeded");
    if unscheduled || over {
        return Some(0);
    }
    let period = asked.or(pod.int_at("/spec/terminationGracePeriodSeconds")).unwrap_or(0);
    Some(if period < 0 { 1 } else { period })
}

fn select(pod: &Value, field: &str) -> String {
    match field {
        // What v1 called it before 1.0.
        "spec.host" => pod.str_at("/spec/nodeName").to_owned(),
        "spec.hostNetwork" => pod.true_at("/spec/hostNetwork").to_string(),
        "status.podIP" | "status.podIPs" => pod.str_at("/status/podIP").to_owned(),
        _ => super::rules::field_value(pod, field),
    }
}

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let wrong = names::dns_label(new.str_at("/metadata/name"));
    let name = (!wrong.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            wrong.join(" ")
        )
    });
    name.into_iter().chain(spec::warnings(new.at("/spec"), "spec")).collect()
}
