//! Namespace, Node and Lease.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, hold, named, one_of};
use super::names;
use super::rules::Rules;
use super::tables::cluster as tables;
use crate::field::{FieldError, Kind, go_json};
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
    validate_create: |obj, _| namespace(obj),
    validate_update: |new, _, _, _| namespace(new),
    prepare_update: |new, old, part, _| {
        match part {
            // Only the finalize subresource ends a namespace.
            Part::Main => super::pod::update::take(new, old, "/spec/finalizers"),
            Part::Other("finalize") => super::pod::update::take(new, old, "/status"),
            _ => {}
        }
        Ok(())
    },
    namespace_field: false,
    fields: &["status.phase"],
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::NAMESPACE),
    cells: tables::namespace,
    ..Rules::PLAIN
};

fn namespace(obj: &Value) -> Errors {
    const FIELD: &str = "spec.finalizers";
    let mut errors = Errors::new();
    for finalizer in obj.list_at("/spec/finalizers").iter().filter_map(Value::as_str) {
        errors.extend(named(FIELD, finalizer, names::qualified_name));
        if !finalizer.contains('/') && !matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(FIELD, &json!(finalizer), detail));
        }
    }
    errors
}

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
        // One range and the list of ranges begin alike.
        if let Some(first) = obj.list_at("/spec/podCIDRs").first().cloned() {
            obj.default_at("/spec/podCIDR", first);
        } else if obj.has("/spec/podCIDR") {
            obj.set_at("/spec/podCIDRs", json!([obj.at("/spec/podCIDR")]));
        }
        if obj.has("/status/capacity") {
            obj.default_at("/status/allocatable", obj.at("/status/capacity").clone());
        }
    },
    validate_create: |obj, _| node(obj),
    validate_update: |new, old, _, _| {
        let mut errors = node(new);
        errors.extend(node_change(new, old));
        errors
    },
    namespace_field: false,
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
            // As the fields of Go's internal type.
            let shown = format!(
                r#"{{"Key":{},"Value":{},"Effect":{},"TimeAdded":{}}}"#,
                go_json(&json!(key)),
                go_json(&json!(value)),
                go_json(&json!(effect)),
                go_json(taint.at("/timeAdded"))
            );
            let detail = "taints must be unique by key and effect pair";
            errors.push(FieldError::with(Kind::Duplicate, &field, Some(shown), detail));
        }
        seen.push((key, effect));
    }
    for (index, range) in obj.list_at("/spec/podCIDRs").iter().filter_map(Value::as_str).enumerate() {
        errors.extend(named(&format!("spec.podCIDRs[{index}]"), range, names::cidr));
    }
    errors
}

/// What is given to a node once.
fn node_change(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&Value> = Vec::new();
    for (index, address) in new.list_at("/status/addresses").iter().enumerate() {
        if seen.contains(&address) {
            errors.push(FieldError::duplicate(format!("status.addresses[{index}]"), address));
        }
        seen.push(address);
    }
    for (field, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let pointer = format!("/spec/{field}");
        if old.has(&pointer) && old.at(&pointer) != new.at(&pointer) {
            let detail = format!("node updates may not change {name} except from \"\" to valid");
            errors.push(FieldError::forbidden(format!("spec.{field}"), &detail));
        }
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
