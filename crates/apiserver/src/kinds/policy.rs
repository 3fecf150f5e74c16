//! PodDisruptionBudget, PriorityClass and RuntimeClass.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::at::At;
use super::checks::{
    Errors, at_most_all, go_selector, immutable, int_or_percent, label_selector, named, one_of, shown,
};
use super::pod::containers::resources;
use super::pod::spec::tolerations;
use super::reported;
use super::rules::Rules;
use super::tables::policy as tables;
use super::{meta, names};
use crate::field::{FieldError, Kind, go_json};
use crate::resource::Part;

pub(super) const BUDGET: Rules = Rules {
    generation: true,
    unconditional_update: false,
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
        for count in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            obj.default_at(&format!("/status/{count}"), 0);
        }
    },
    validate_create: |obj, _| budget(obj.at("/spec")),
    validate_update: |new, _, part, _| {
        if part == Part::Status { reported::budget(new) } else { budget(new.at("/spec")) }
    },
    columns: || tables::columns(tables::BUDGET),
    cells: tables::budget,
    ..Rules::PLAIN
};

fn budget(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    if spec.has("/minAvailable") && spec.has("/maxUnavailable") {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        // As the fields of Go's internal type.
        let value = format!(
            r#"{{"MinAvailable":{},"Selector":{},"MaxUnavailable":{},"UnhealthyPodEvictionPolicy":{}}}"#,
            go_json(spec.at("/minAvailable")),
            go_selector(spec.at("/selector")),
            go_json(spec.at("/maxUnavailable")),
            go_json(spec.at("/unhealthyPodEvictionPolicy")),
        );
        errors.push(shown(Kind::Invalid, "spec", value, detail));
    }
    for name in ["minAvailable", "maxUnavailable"] {
        let (field, value) = (format!("spec.{name}"), spec.at(&format!("/{name}")));
        errors.extend(int_or_percent(&field, value));
        errors.extend(at_most_all(&field, value));
    }
    errors.extend(label_selector("spec.selector", spec.at("/selector")));
    let policy = spec.str_at("/unhealthyPodEvictionPolicy");
    if !policy.is_empty() {
        errors.extend(one_of("spec.unhealthyPodEvictionPolicy", policy, &["AlwaysAllow", "IfHealthyBudget"]));
    }
    errors
}

pub(super) const PRIORITY: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/preemptionPolicy", "PreemptLowerPriority");
        obj.default_at("/value", 0);
    },
    validate_create: |obj, _| priority(obj),
    validate_update: |new, old, _, _| {
        let mut errors = Errors::new();
        if new.int_at("/value") != old.int_at("/value") {
            errors.push(FieldError::forbidden("value", "may not be changed in an update."));
        }
        errors.extend(immutable("preemptionPolicy", new.at("/preemptionPolicy"), old.at("/preemptionPolicy")));
        errors
    },
    columns: || tables::columns(tables::PRIORITY),
    cells: tables::priority,
    ..Rules::PLAIN
};

fn priority(obj: &Value) -> Errors {
    const SYSTEM: [(&str, i64); 2] =
        [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
    const MOST: i64 = 1_000_000_000;
    let mut errors = Errors::new();
    let (name, value) = (obj.str_at("/metadata/name"), obj.int_at("/value").unwrap_or(0));
    if name.starts_with("system-") {
        let wrong = match SYSTEM.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, known)) if *known != value => Some(format!("value of {name} PriorityClass must be {known}")),
            Some(_) => {
                obj.true_at("/globalDefault").then(|| format!("globalDefault of {name} PriorityClass must be false"))
            }
        };
        errors.extend(wrong.map(|wrong| {
            let detail =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {wrong}");
            FieldError::forbidden("metadata.name", &detail)
        }));
    } else if value > MOST {
        let detail = format!("maximum allowed value of a user defined priority is {MOST}");
        errors.push(FieldError::forbidden("value", &detail));
    }
    let policy = obj.str_at("/preemptionPolicy");
    errors.extend(one_of("preemptionPolicy", policy, &["Never", "PreemptLowerPriority"]));
    errors
}

pub(super) const RUNTIME: Rules = Rules {
    validate_create: |obj, _| runtime(obj),
    validate_update: |new, old, _, _| {
        let mut errors = runtime(new);
        errors.extend(immutable("handler", new.at("/handler"), old.at("/handler")));
        errors
    },
    columns: || tables::columns(tables::RUNTIME),
    cells: tables::runtime,
    ..Rules::PLAIN
};

fn runtime(obj: &Value) -> Errors {
    let mut errors = named("handler", obj.str_at("/handler"), names::dns_label);
    // Overhead is checked as the limits of a container are.
    errors.extend(resources(&json!({"limits": obj.at("/overhead/podFixed")}), "overhead"));
    errors.extend(meta::labels("scheduling.nodeSelector", obj.at("/scheduling/nodeSelector")));
    let given = obj.list_at("/scheduling/tolerations");
    let field = "scheduling.tolerations";
    errors.extend(tolerations(given, field));
    let mut seen = HashSet::new();
    for (index, toleration) in given.iter().enumerate() {
        if !seen.insert(toleration.to_string()) {
            errors.push(FieldError::duplicate(format!("{field}[{index}]"), toleration));
        }
    }
    errors
}
