//! HorizontalPodAutoscaler in both of its versions.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, hold, named, one_of, required};
use super::names;
use super::rules::Rules;
use super::tables::policy as tables;
use crate::field::FieldError;
use crate::resource::Part;
use crate::schema::quantity::Quantity;

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
        if part == Part::Status { Errors::new() } else { autoscaler(new.at("/spec")) }
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
        obj.default_at("/status/currentReplicas", 0);
    },
    to_storage: |obj| {
        if let Some(target) = obj.remove_at("/spec/targetCPUUtilizationPercentage") {
            obj.set_at("/spec/metrics", json!([
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}
            ]));
        }
        obj.remove_at("/status/currentCPUUtilizationPercentage");
        // This version writes the zero, the other leaves it out.
        if obj.int_at("/status/currentReplicas") == Some(0) {
            obj.remove_at("/status/currentReplicas");
        }
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
    errors.extend(metrics(spec.list_at("/metrics")));
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.at(&format!("/behavior/{direction}"));
        if !rules.is_null() {
            errors.extend(scaling(rules, &format!("spec.behavior.{direction}")));
        }
    }
    errors
}

fn metrics(metrics: &[Value]) -> Errors {
    const SOURCES: [(&str, &str); 5] = [
        ("Object", "object"),
        ("External", "external"),
        ("Pods", "pods"),
        ("Resource", "resource"),
        ("ContainerResource", "containerResource"),
    ];
    let mut errors = Errors::new();
    for (index, metric) in metrics.iter().enumerate() {
        let path = format!("spec.metrics[{index}]");
        let kind = metric.str_at("/type");
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{path}.type"), "must specify a metric source type"));
        }
        let kinds = &["ContainerResource", "External", "Object", "Pods", "Resource"];
        errors.extend(one_of(&format!("{path}.type"), kind, kinds));
        let present: Vec<&str> =
            SOURCES.iter().map(|(_, name)| *name).filter(|name| metric.get(name).is_some()).collect();
        if let Some(first) = present.first() {
            errors.extend(source(first, &metric[*first], &format!("{path}.{first}")));
        }
        let expected = SOURCES.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name);
        if let Some(expected) = expected.filter(|expected| metric.get(expected).is_none()) {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(format!("{path}.{expected}"), detail));
        }
        if present.len() != 1 {
            for other in present.into_iter().filter(|name| Some(*name) != expected) {
                let detail = "must populate the given metric source only";
                errors.push(FieldError::forbidden(format!("{path}.{other}"), detail));
            }
        }
    }
    errors
}

/// One source of a metric and its target.
fn source(kind: &str, source: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let resource = matches!(kind, "resource" | "containerResource");
    if resource && source.str_at("/name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), "must specify a resource name"));
    }
    if kind == "containerResource" && source.str_at("/container").is_empty() {
        errors.push(FieldError::required(format!("{path}.container"), "must specify a container"));
    }
    if !resource {
        let name = source.str_at("/metric/name");
        match required(&format!("{path}.metric.name"), name) {
            Some(_) => errors.push(FieldError::required(format!("{path}.metric.name"), "must specify a metric name")),
            None => errors.extend(named(&format!("{path}.metric.name"), name, names::path_segment)),
        }
    }
    let target = source.at("/target");
    let kind = target.str_at("/type");
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{path}.target.type"), "must specify a metric target type"));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(format!("{path}.target.type"), &json!(kind), detail));
    }
    for field in ["value", "averageValue"] {
        let value = target.at(&format!("/{field}"));
        if Quantity::parse(value.as_str().unwrap_or_default()).is_some_and(|q| q.is_zero() || q.is_negative()) {
            errors.push(FieldError::invalid(format!("{path}.target.{field}"), value, "must be positive"));
        }
    }
    if let Some(share) = target.int_at("/averageUtilization") {
        let field = format!("{path}.target.averageUtilization");
        errors.extend(hold(share >= 1, &field, &json!(share), "must be greater than 0"));
    }
    if resource {
        match (target.has("/averageUtilization"), target.has("/averageValue")) {
            (false, false) => {
                let detail = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(format!("{path}.target.averageUtilization"), detail));
            }
            (true, true) => {
                let detail = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(format!("{path}.target.averageValue"), detail));
            }
            _ => {}
        }
    }
    errors
}

/// `validateScalingRules`.
fn scaling(rules: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    if let Some(window) = rules.int_at("/stabilizationWindowSeconds") {
        let (field, value) = (format!("{path}.stabilizationWindowSeconds"), json!(window));
        errors.extend(hold(window >= 0, &field, &value, "must be greater than or equal to zero"));
        errors.extend(hold(window <= 3600, &field, &value, "must be less than or equal to 3600"));
    }
    let select = rules.str_at("/selectPolicy");
    if !select.is_empty() {
        errors.extend(one_of(&format!("{path}.selectPolicy"), select, &["Disabled", "Max", "Min"]));
    }
    let policies = rules.list_at("/policies");
    if policies.is_empty() {
        errors.push(FieldError::required(format!("{path}.policies"), "must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        let path = format!("{path}.policies[{index}]");
        errors.extend(one_of(&format!("{path}.type"), policy.str_at("/type"), &["Percent", "Pods"]));
        let number = |field: &str| policy.int_at(&format!("/{field}")).unwrap_or(0);
        let (value, period) = (number("value"), number("periodSeconds"));
        errors.extend(hold(value > 0, &format!("{path}.value"), &json!(value), "must be greater than zero"));
        let field = format!("{path}.periodSeconds");
        errors.extend(hold(period > 0, &field, &json!(period), "must be greater than zero"));
        errors.extend(hold(period <= 1800, &field, &json!(period), "must be less than or equal to 1800"));
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

    #[test]
    fn a_metric_has_the_source_that_its_type_names() {
        let of = |metric: Value| metrics(&[metric]).iter().map(|error| error.field.clone()).collect::<Vec<_>>();
        assert_eq!(of(json!({"type": "Resource"})), ["spec.metrics[0].resource"]);
        let target = json!({"type": "Utilization", "averageUtilization": 0});
        assert_eq!(
            of(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})),
            ["spec.metrics[0].resource.target.averageUtilization"]
        );
    }

    #[test]
    fn scaling_rules_have_policies() {
        assert_eq!(scaling(&json!({}), "p")[0].field, "p.policies");
        let rules = json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]});
        assert_eq!(scaling(&rules, "p")[0].field, "p.policies[0].periodSeconds");
    }
}
