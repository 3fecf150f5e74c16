//! LimitRange: its defaults, and bounds that do not contradict each other.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::at::At;
use super::checks::{Errors, named};
use super::names;
use super::pod::containers::{any_resource_name, overcommits, resource_name};
use super::rules::Rules;
use super::tables::policy as tables;
use crate::field::FieldError;
use crate::schema::quantity::Amount;

pub(super) const LIMITS: Rules = Rules {
    default: |obj| obj.list_mut_at("/spec/limits").iter_mut().for_each(defaults),
    validate_create: |obj, _| limits(obj),
    validate_update: |new, _, _, _| limits(new),
    columns: || tables::columns(tables::LIMITS),
    cells: tables::limits,
    ..Rules::PLAIN
};

/// A container's default limit comes from the most, its default request from the default limit, else from the least.
fn defaults(item: &mut Value) {
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
    let mut seen = BTreeSet::new();
    for (index, item) in obj.list_at("/spec/limits").iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = item.str_at("/type");
        errors.extend(type_name(kind, &format!("{path}.type")));
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(format!("{path}.type"), &json!(kind)));
        }
        errors.extend(resource_names(item, &path));
        errors.extend(contradictions(item, &path));
    }
    errors
}

fn type_name(kind: &str, field: &str) -> Errors {
    let mut errors = named(field, kind, names::qualified_name);
    let standard = matches!(kind, "Container" | "PersistentVolumeClaim" | "Pod");
    if errors.is_empty() && !kind.contains('/') && !standard {
        let detail = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(field, &json!(kind), detail));
    }
    errors
}

/// Names of the bounded resources, and bounds that the type cannot have.
fn resource_names(item: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let kind = item.str_at("/type");
    let rule = if matches!(kind, "Container" | "Pod") { resource_name } else { any_resource_name };
    let given = |list: &str| item.map_at(&format!("/{list}")).is_some_and(|map| !map.is_empty());
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if list == "maxLimitRequestRatio" && kind == "PersistentVolumeClaim" {
            let stored = |list: &str| item.has(&format!("/{list}/storage"));
            if !stored("min") && !stored("max") {
                let detail = "either minimum or maximum storage value is required, but neither was provided";
                errors.push(FieldError::required(format!("{path}.limits"), detail));
            }
        }
        if list.starts_with("default") && kind == "Pod" {
            if given(list) {
                let detail = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(format!("{path}.{list}"), detail));
            }
            continue;
        }
        for (name, _) in item.map_at(&format!("/{list}")).into_iter().flatten() {
            errors.extend(rule(name, &format!("{path}.{list}[{name}]")));
        }
    }
    errors
}

fn contradictions(item: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let kind = item.str_at("/type");
    // A pod's defaults are refused as a whole.
    let lists: &[&str] = if kind == "Pod" {
        &["max", "min", "maxLimitRequestRatio"]
    } else {
        &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
    };
    let keys: BTreeSet<&String> = lists
        .iter()
        .flat_map(|list| item.map_at(&format!("/{list}")).into_iter().flatten())
        .map(|(key, _)| key)
        .collect();
    for key in keys {
        let of = |list: &str| {
            let value = item.at(&format!("/{list}")).get(key).filter(|_| lists.contains(&list))?;
            Amount::parse(value.as_str()?)
        };
        let mut wrong = |list: &str, shown: Amount, detail: String| {
            errors.push(FieldError::invalid(format!("{path}.{list}[{key}]"), &json!(shown.to_string()), &detail));
        };
        // Each row: the lesser, the greater, the field blamed, whose value is shown, the words.
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
            if let (Some(low), Some(high), Some(shown)) = (of(lesser), of(greater), of(shown))
                && low.value() > high.value()
            {
                wrong(blamed, shown, format!("{} {low} is greater than {} {high}", words[0], words[1]));
            }
        }
        if let Some(ratio) = of("maxLimitRequestRatio") {
            if ratio.value() < Amount::whole(1).value() {
                wrong("maxLimitRequestRatio", ratio, format!("ratio {ratio} is less than 1"));
            }
            if let (Some(min), Some(max)) = (of("min"), of("max"))
                && let Some(most) = quotient(max, min)
                && thousandths(ratio) / 1000.0 > most
            {
                let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
                wrong("maxLimitRequestRatio", ratio, detail);
            }
        }
        if let (Some(limit), Some(request)) = (of("default"), of("defaultRequest"))
            && !overcommits(key)
            && limit.value() != request.value()
        {
            let detail = format!("default value {limit} must equal to defaultRequest value {request} in {key}");
            wrong("defaultRequest", request, detail);
        }
    }
    errors
}

#[expect(clippy::cast_precision_loss, reason = "Kubernetes compares ratios as floats, too")]
fn thousandths(amount: Amount) -> f64 {
    amount.millis() as f64
}

/// `max/min`; nothing is bounded by a least of nothing.
fn quotient(max: Amount, min: Amount) -> Option<f64> {
    (min.millis() != 0).then(|| thousandths(max) / thousandths(min))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(item: Value) -> Vec<String> {
        let errors = limits(&json!({"spec": {"limits": [item]}}));
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    #[test]
    fn default_requests_come_from_limits() {
        let mut item = json!({"type": "Container", "max": {"cpu": "2"}, "default": {"memory": "1Gi"}});
        defaults(&mut item);
        assert_eq!(item.at("/defaultRequest"), &json!({"cpu": "2", "memory": "1Gi"}));
    }

    #[test]
    fn a_type_is_standard_or_qualified() {
        assert_eq!(told(json!({"type": "example.com/thing"})), Vec::<String>::new());
        let expected =
            ["spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified"];
        assert_eq!(told(json!({"type": "Node"})), expected);
    }

    #[test]
    fn a_type_has_one_item() {
        let pod = json!({"type": "Pod"});
        let errors = limits(&json!({"spec": {"limits": [pod, pod]}}));
        assert_eq!(errors, [FieldError::duplicate("spec.limits[1].type", &json!("Pod"))]);
    }

    #[test]
    fn pods_have_no_defaults() {
        let expected = [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'",
        ];
        let item = json!({"type": "Pod", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "3"}, "max": {"cpu": "1"}});
        assert_eq!(told(item), expected);
    }

    #[test]
    fn claims_are_bounded_in_size() {
        let expected = [
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ];
        assert_eq!(told(json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}})), expected);
        assert_eq!(told(json!({"type": "PersistentVolumeClaim", "max": {"storage": "1"}})), Vec::<String>::new());
    }

    #[test]
    fn containers_are_bounded_in_what_they_can_ask_for() {
        let expected =
            ["spec.limits[0].max[pods]: Invalid value: \"pods\": must be a standard resource for containers"];
        assert_eq!(told(json!({"type": "Container", "max": {"pods": "1"}})), expected);
    }

    #[test]
    fn ratios_are_possible() {
        let of = |ratio: &str| {
            told(
                json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "3"}, "maxLimitRequestRatio": {"cpu": ratio}}),
            )
        };
        let field = "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value";
        assert_eq!(of("3"), Vec::<String>::new());
        assert_eq!(of("4"), [format!("{field}: \"4\": ratio 4 is greater than max/min = 3.000000")]);
        assert_eq!(of("500m"), [format!("{field}: \"500m\": ratio 500m is less than 1")]);
    }

    #[test]
    fn what_cannot_be_overcommitted_has_one_default() {
        let item = json!({"type": "Container", "default": {"example.com/gpu": "2"}, "defaultRequest": {"example.com/gpu": "1"}});
        let expected = "spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: \"1\": default value 2 must equal to \
                        defaultRequest value 1 in example.com/gpu";
        assert_eq!(told(item), [expected]);
    }
}
