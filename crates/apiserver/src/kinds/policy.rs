//! PodDisruptionBudget, PriorityClass, RuntimeClass and HorizontalPodAutoscaler.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, at_most_all, hold, immutable, int_or_percent, label_selector, named, one_of, required};
use super::pod::containers::resources;
use super::pod::spec::tolerations;
use super::rules::Rules;
use super::tables::policy as tables;
use super::{meta, names};
use crate::field::FieldError;

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
    validate_update: |new, _, _, _| budget(new.at("/spec")),
    columns: || tables::columns(tables::BUDGET),
    cells: tables::budget,
    ..Rules::PLAIN
};

fn budget(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    if spec.has("/minAvailable") && spec.has("/maxUnavailable") {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", spec, detail));
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

pub(super) const AUTOSCALER: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/spec/minReplicas", 1);
        if obj.list_at("/spec/metrics").is_empty() {
            obj.set_at("/spec/metrics", json!([
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
            ]));
        }
        if obj.has("/spec/behavior") {
            let all = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
            let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, all]});
            for (direction, rules) in
                [("scaleUp", up), ("scaleDown", json!({"selectPolicy": "Max", "policies": [all]}))]
            {
                obj.default_at(&format!("/spec/behavior/{direction}"), json!({}));
                for (field, value) in rules.as_object().into_iter().flatten() {
                    obj.default_at(&format!("/spec/behavior/{direction}/{field}"), value.clone());
                }
            }
        }
        obj.default_at("/status", json!({}));
        obj.default_at("/status/desiredReplicas", 0);
        obj.default_at("/status/currentMetrics", Value::Null);
    },
    validate_create: |obj, _| autoscaler(obj.at("/spec")),
    validate_update: |new, _, part, _| {
        if part == crate::resource::Part::Status { Errors::new() } else { autoscaler(new.at("/spec")) }
    },
    columns: || tables::columns(tables::AUTOSCALER),
    cells: tables::autoscaler,
    ..Rules::PLAIN
};

/// The same autoscaler in `autoscaling/v1`, which knows CPU utilization only.
pub(super) const AUTOSCALER_V1: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/spec/minReplicas", 1);
        obj.default_at("/status", json!({}));
        obj.default_at("/status/currentReplicas", 0);
        obj.default_at("/status/desiredReplicas", 0);
    },
    served_from_storage: |obj| {
        let metric = |m: &&Value| m.str_at("/type") == "Resource" && m.str_at("/resource/name") == "cpu";
        let target = obj.list_at("/spec/metrics").iter().find(metric);
        let target = target.and_then(|m| m.int_at("/resource/target/averageUtilization"));
        obj.remove_at("/spec/metrics");
        obj.remove_at("/spec/behavior");
        if let Some(target) = target {
            obj.set_at("/spec/targetCPUUtilizationPercentage", target);
        }
        let current = obj.list_at("/status/currentMetrics").iter().find(metric);
        let current = current.and_then(|m| m.int_at("/resource/current/averageUtilization"));
        for field in ["currentMetrics", "conditions"] {
            obj.remove_at(&format!("/status/{field}"));
        }
        if let Some(current) = current {
            obj.set_at("/status/currentCPUUtilizationPercentage", current);
        }
    },
    to_storage: |obj| {
        if let Some(target) = obj.remove_at("/spec/targetCPUUtilizationPercentage") {
            obj.set_at("/spec/metrics", json!([
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}
            ]));
        }
        obj.remove_at("/status/currentCPUUtilizationPercentage");
        (AUTOSCALER.default)(obj);
    },
    cells: |obj, now| {
        let mut obj = obj.clone();
        (AUTOSCALER_V1.to_storage)(&mut obj);
        tables::autoscaler(&obj, now)
    },
    ..AUTOSCALER
};

fn autoscaler(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let (least, most) = (spec.int_at("/minReplicas").unwrap_or(1), spec.int_at("/maxReplicas").unwrap_or(0));
    errors.extend(hold(least >= 1, "spec.minReplicas", &json!(least), "must be greater than or equal to 1"));
    if most < 1 {
        errors.push(FieldError::required("spec.maxReplicas", "must be set and greater than 0"));
    }
    errors.extend(hold(
        most >= least,
        "spec.maxReplicas",
        &json!(most),
        "must be greater than or equal to `minReplicas`",
    ));
    let target = spec.at("/scaleTargetRef");
    for field in ["kind", "name"] {
        let (path, text) = (format!("spec.scaleTargetRef.{field}"), target.str_at(&format!("/{field}")));
        match required(&path, text) {
            Some(error) => errors.push(error),
            None => errors.extend(named(&path, text, names::path_segment)),
        }
    }
    let api_version = target.str_at("/apiVersion");
    if !api_version.contains('/') && target.str_at("/kind") != "ReplicationController" {
        let detail = "apiVersion must specify API group";
        errors.push(FieldError::invalid("spec.scaleTargetRef.apiVersion", &json!(api_version), detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_survives_the_old_version() {
        let old = json!({"spec": {"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let mut obj = old.clone();
        (AUTOSCALER_V1.to_storage)(&mut obj);
        (AUTOSCALER_V1.served_from_storage)(&mut obj);
        assert_eq!(obj.at("/spec"), old.at("/spec"));
    }
}
