//! PodDisruptionBudget, ResourceQuota, LimitRange, PriorityClass, RuntimeClass and HorizontalPodAutoscaler.

use serde_json::{Map, Value, json};

use super::at::At;
use super::checks::{Errors, at_most_all, hold, immutable, int_or_percent, label_selector, named, one_of, required};
use super::names;
use super::pod::containers::{resource_quantity, shown_quantity};
use super::rules::Rules;
use super::tables::policy as tables;
use crate::field::FieldError;
use crate::schema::quantity::Quantity;

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

pub(super) const QUOTA: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
    },
    validate_create: |obj, _| quota(obj),
    validate_update: |new, old, _, _| {
        let mut errors = quota(new);
        errors.extend(immutable("spec.scopes", new.at("/spec/scopes"), old.at("/spec/scopes")));
        errors
    },
    columns: || tables::columns(tables::QUOTA),
    cells: tables::quota,
    ..Rules::PLAIN
};

fn quota(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    for (name, value) in obj.map_at("/spec/hard").into_iter().flatten() {
        let field = format!("spec.hard[{name}]");
        errors.extend(named(&field, name, names::qualified_name));
        if errors.is_empty() && !name.contains('/') && !is_quota_name(name) {
            for text in ["must be a standard resource type or fully qualified", "must be a standard resource for quota"]
            {
                errors.push(FieldError::invalid(&field, &json!(name), text));
            }
        }
        errors.extend(resource_quantity(name, value, &field));
    }
    errors
}

/// Names without a group that a quota can limit.
fn is_quota_name(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    NAMES.contains(&name)
        || ["hugepages-", "requests.hugepages-", "limits.hugepages-", "count."].iter().any(|p| name.starts_with(p))
}

pub(super) const LIMITS: Rules = Rules {
    default: |obj| obj.list_mut_at("/spec/limits").iter_mut().for_each(limit_defaults),
    validate_create: |obj, _| limits(obj),
    validate_update: |new, _, _, _| limits(new),
    columns: || tables::columns(tables::LIMITS),
    cells: tables::limits,
    ..Rules::PLAIN
};

/// A container's default limit comes from the most, its default request from the default limit, else from the least.
fn limit_defaults(item: &mut Value) {
    if item.str_at("/type") != "Container" {
        return;
    }
    for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        let missing: Map<String, Value> = item.map_at(&format!("/{from}")).cloned().unwrap_or_default();
        let mut all = item.map_at(&format!("/{to}")).cloned().unwrap_or_default();
        for (name, value) in missing {
            all.entry(name).or_insert(value);
        }
        if !all.is_empty() {
            item.set_at(&format!("/{to}"), all);
        }
    }
}

fn limits(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    for (index, item) in obj.list_at("/spec/limits").iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = item.str_at("/type");
        errors.extend(required(&format!("{path}.type"), kind));
        let mut keys: Vec<&String> = ["max", "min", "default", "defaultRequest"]
            .iter()
            .flat_map(|list| item.map_at(&format!("/{list}")).into_iter().flatten().map(|(key, _)| key))
            .collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let of = |list: &str| item.at(&format!("/{list}")).get(key).filter(|value| value.is_string());
            // Each row: the greater, the lesser, the field blamed, its value, the words.
            for (lesser, greater, blamed, shown, words) in [
                ("min", "max", "min", "min", ["min value", "max value"]),
                ("min", "defaultRequest", "defaultRequest", "defaultRequest", ["min value", "default request value"]),
                ("defaultRequest", "max", "defaultRequest", "defaultRequest", ["default request value", "max value"]),
                (
                    "defaultRequest",
                    "default",
                    "defaultRequest",
                    "defaultRequest",
                    ["default request value", "default limit value"],
                ),
                ("min", "default", "default", "min", ["min value", "default value"]),
                ("default", "max", "default", "max", ["default value", "max value"]),
            ] {
                let (Some(low), Some(high), Some(shown)) = (of(lesser), of(greater), of(shown)) else { continue };
                let parse = |value: &Value| Quantity::parse(value.as_str().unwrap_or_default());
                if parse(low) > parse(high) {
                    let text = |value: &Value| shown_quantity(value).as_str().unwrap_or_default().to_owned();
                    let detail = format!("{} {} is greater than {} {}", words[0], text(low), words[1], text(high));
                    errors.push(FieldError::invalid(
                        format!("{path}.{blamed}[{key}]"),
                        &shown_quantity(shown),
                        &detail,
                    ));
                }
            }
        }
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
            Some((_, known)) => (*known != value).then(|| format!("value of {name} PriorityClass must be {known}")),
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
    for (name, value) in obj.map_at("/overhead/podFixed").into_iter().flatten() {
        errors.extend(resource_quantity(name, value, &format!("overhead.podFixed[{name}]")));
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
    fn default_requests_come_from_limits() {
        let mut item = json!({"type": "Container", "max": {"cpu": "2"}, "default": {"memory": "1Gi"}});
        limit_defaults(&mut item);
        assert_eq!(item.at("/defaultRequest"), &json!({"cpu": "2", "memory": "1Gi"}));
    }

    #[test]
    fn a_quota_limits_known_names_or_those_of_a_group() {
        let of = |name: &str| quota(&json!({"spec": {"hard": {name: "1"}}})).len();
        assert_eq!([of("pods"), of("count/pods"), of("example.com/gpu"), of("dogs")], [0, 0, 0, 2]);
    }

    #[test]
    fn an_autoscaler_survives_the_old_version() {
        let old = json!({"spec": {"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let mut obj = old.clone();
        (AUTOSCALER_V1.to_storage)(&mut obj);
        (AUTOSCALER_V1.served_from_storage)(&mut obj);
        assert_eq!(obj.at("/spec"), old.at("/spec"));
    }
}
