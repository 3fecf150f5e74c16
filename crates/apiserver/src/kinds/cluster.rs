//! Namespace, Node and Lease.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, hold, named, one_of};
use super::names;
use super::rules::Rules;
use super::tables::cluster as tables;
use crate::field::FieldError;
use crate::resource::{NameRule, Part};

pub(super) const NAMESPACE: Rules = Rules {
    name: NameRule::Label,
    default: |obj| {
        let name = obj.str_at("/metadata/name").to_owned();
        if !name.is_empty() {
            obj.set_at("/metadata/labels/kubernetes.io~1metadata.name", name);
        }
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
        obj.default_at("/status/phase", "Active");
    },
    prepare_create: |obj, _| {
        let mut finalizers = obj.list_at("/spec/finalizers").to_vec();
        if !finalizers.iter().any(|f| f == "kubernetes") {
            finalizers.push(json!("kubernetes"));
        }
        obj.set_at("/spec/finalizers", finalizers);
        Ok(())
    },
    prepare_update: |new, old, part, _| {
        match part {
            // Only the finalize subresource ends a namespace.
            Part::Main => super::pod::update::take(new, old, "/spec/finalizers"),
            Part::Other("finalize") => super::pod::update::take(new, old, "/status"),
            _ => {}
        }
        Ok(())
    },
    fields: &["status.phase"],
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::NAMESPACE),
    cells: tables::namespace,
    ..Rules::PLAIN
};

pub(super) const NODE: Rules = Rules {
    keeps_status: true,
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
        obj.default_at("/status/daemonEndpoints", json!({"kubeletEndpoint": {"Port": 0}}));
        obj.default_at("/status/nodeInfo", json!({}));
        for field in [
            "machineID",
            "systemUUID",
            "bootID",
            "kernelVersion",
            "osImage",
            "containerRuntimeVersion",
            "kubeletVersion",
            "kubeProxyVersion",
            "operatingSystem",
            "architecture",
        ] {
            obj.default_at(&format!("/status/nodeInfo/{field}"), "");
        }
        if obj.has("/status/capacity") {
            obj.default_at("/status/allocatable", obj.at("/status/capacity").clone());
        }
    },
    validate_create: |obj, _| node(obj),
    validate_update: |new, _, _, _| node(new),
    fields: &["spec.unschedulable"],
    select: |obj, _| obj.true_at("/spec/unschedulable").to_string(),
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::NODE),
    cells: tables::node,
    ..Rules::PLAIN
};

fn node(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for (index, taint) in obj.list_at("/spec/taints").iter().enumerate() {
        let field = format!("spec.taints[{index}]");
        let [key, value, effect] = ["/key", "/value", "/effect"].map(|name| taint.str_at(name));
        errors.extend(named(&format!("{field}.key"), key, names::qualified_name));
        errors.extend(named(&format!("{field}.value"), value, names::label_value));
        if effect.is_empty() {
            errors.push(FieldError::required(format!("{field}.effect"), ""));
        } else {
            let effects = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errors.extend(one_of(&format!("{field}.effect"), effect, effects));
        }
        if seen.contains(&(key, effect)) {
            let mut duplicate = FieldError::duplicate(&field, taint);
            duplicate.message.push_str(": taints must be unique by key and effect pair");
            errors.push(duplicate);
        }
        seen.push((key, effect));
    }
    errors
}

pub(super) const LEASE: Rules = Rules {
    create_on_update: true,
    unconditional_update: false,
    default: |obj| obj.default_at("/spec", json!({})),
    validate_create: |obj, _| lease(obj),
    validate_update: |new, _, _, _| lease(new),
    columns: || tables::columns(tables::LEASE),
    cells: tables::lease,
    ..Rules::PLAIN
};

fn lease(obj: &Value) -> Errors {
    let spec = obj.at("/spec");
    let mut errors = Errors::new();
    if let Some(seconds) = spec.int_at("/leaseDurationSeconds") {
        errors.extend(hold(seconds > 0, "spec.leaseDurationSeconds", &json!(seconds), "must be greater than 0"));
    }
    if let Some(count) = spec.int_at("/leaseTransitions") {
        let text = "must be greater than or equal to 0";
        errors.extend(hold(count >= 0, "spec.leaseTransitions", &json!(count), text));
    }
    errors
}
