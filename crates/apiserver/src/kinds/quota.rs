//! ResourceQuota: which names it can limit, and which of them in which scopes.

use serde_json::{Value, json};

use super::at::At;
use super::checks::Errors;
use super::pod::containers::{any_resource_name, resource_quantity};
use super::rules::Rules;
use super::tables::policy as tables;
use crate::field::FieldError;
use crate::resource::Part;

pub(super) const QUOTA: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
    },
    validate_create: |obj, _| {
        let mut errors = spec(obj.at("/spec"));
        errors.extend(status(obj.at("/status")));
        errors
    },
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return status(new.at("/status"));
        }
        let mut errors = spec(new.at("/spec"));
        let sorted = |quota: &Value| {
            let mut scopes: Vec<String> = quota.list_at("/spec/scopes").iter().map(Value::to_string).collect();
            scopes.sort();
            scopes.dedup();
            scopes
        };
        if sorted(new) != sorted(old) {
            errors.push(FieldError::invalid("spec.scopes", new.at("/spec/scopes"), "field is immutable"));
        }
        errors
    },
    columns: || tables::columns(tables::QUOTA),
    cells: tables::quota,
    ..Rules::PLAIN
};

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
/// Names without a group that a quota can limit.
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

/// Most names that are told not to fit one scope: there are about as many that can be told apart.
const MOST_MISFITS: usize = 32;

fn is_quota_name(name: &str) -> bool {
    NAMES.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

fn spec(spec: &Value) -> Errors {
    let mut errors = amounts(spec.at("/hard"), "spec.hard");
    errors.extend(scopes(spec));
    errors.extend(selector(spec));
    errors
}

fn status(status: &Value) -> Errors {
    let mut errors = amounts(status.at("/hard"), "status.hard");
    errors.extend(amounts(status.at("/used"), "status.used"));
    errors
}

fn amounts(list: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    for (name, value) in list.as_object().into_iter().flatten() {
        let field = format!("{field}[{name}]");
        errors.extend(any_resource_name(name, &field));
        if !name.contains('/') && !is_quota_name(name) {
            errors.push(FieldError::invalid(&field, &json!(name), "must be a standard resource for quota"));
        }
        errors.extend(resource_quantity(name, value, &field));
    }
    errors
}

/// Whether objects in a scope can use any of a resource.
fn fits(scope: &str, name: &str) -> bool {
    let compute = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "BestEffort" => name == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            name == "pods" || compute.contains(&name)
        }
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

/// How many limited names no object in the scope can use; of many, some.
fn misfits(spec: &Value, scope: &str) -> usize {
    let names = spec.map_at("/hard").into_iter().flatten().map(|(name, _)| name);
    names.filter(|name| is_quota_name(name) && !fits(scope, name)).take(MOST_MISFITS).count()
}

/// Pairs that no object is in.
fn conflicts(scopes: &[&str]) -> usize {
    let pairs = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
    pairs.iter().filter(|pair| pair.iter().all(|scope| scopes.contains(scope))).count()
}

fn scopes(spec: &Value) -> Errors {
    const FIELD: &str = "spec.scopes";
    let (mut errors, all) = (Errors::new(), spec.at("/scopes"));
    let given: Vec<&str> = spec.list_at("/scopes").iter().filter_map(Value::as_str).collect();
    for scope in &given {
        if !SCOPES.contains(scope) {
            errors.push(FieldError::invalid(FIELD, all, "unsupported scope"));
        }
        for _ in 0..misfits(spec, scope) {
            errors.push(FieldError::invalid(FIELD, all, "unsupported scope applied to resource"));
        }
    }
    for _ in 0..conflicts(&given) {
        errors.push(FieldError::invalid(FIELD, all, "conflicting scopes"));
    }
    errors
}

fn selector(spec: &Value) -> Errors {
    const FIELD: &str = "spec.scopeSelector.matchExpressions";
    let mut errors = Errors::new();
    let expressions = spec.list_at("/scopeSelector/matchExpressions");
    // Printed as Go's internal struct, whose fields have no other names.
    let shown: Vec<Value> = expressions
        .iter()
        .map(|e| json!({"ScopeName": e.at("/scopeName"), "Operator": e.at("/operator"), "Values": e.at("/values")}))
        .collect();
    let shown = internal(&shown);
    for expression in expressions {
        let [scope, operator] = ["/scopeName", "/operator"].map(|field| expression.str_at(field));
        let values = expression.list_at("/values");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(format!("{FIELD}.scopeName"), &json!(scope), "unsupported scope"));
        }
        for _ in 0..misfits(spec, scope) {
            let (kind, detail) = (crate::field::Kind::Invalid, "unsupported scope applied to resource");
            errors.push(FieldError::with(kind, FIELD, Some(shown.clone()), detail));
        }
        let by_value = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope) && !by_value && operator != "Exists" {
            let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                          ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                          ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(FieldError::invalid(format!("{FIELD}.operator"), &json!(operator), detail));
        }
        let field = format!("{FIELD}.values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(FieldError::required(field, detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(FieldError::invalid(field, expression.at("/values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let detail = "not a valid selector operator";
                errors.push(FieldError::invalid(format!("{FIELD}.operator"), &json!(operator), detail));
            }
        }
    }
    let names: Vec<&str> = expressions.iter().map(|expression| expression.str_at("/scopeName")).collect();
    for _ in 0..conflicts(&names) {
        errors.push(FieldError::invalid(FIELD, spec.at("/scopes"), "conflicting scopes"));
    }
    errors
}

/// The selector as Go prints it: fields in the order of the struct.
fn internal(expressions: &[Value]) -> String {
    let one = |e: &Value| {
        format!(
            r#"{{"ScopeName":{},"Operator":{},"Values":{}}}"#,
            e.at("/ScopeName"),
            e.at("/Operator"),
            e.at("/Values")
        )
    };
    format!(r#"{{"MatchExpressions":[{}]}}"#, expressions.iter().map(one).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(quota: Value) -> Vec<String> {
        spec(&quota).into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    #[test]
    fn names_are_standard_or_qualified() {
        let hard =
            json!({"cpu": "1", "count/pods": "1", "requests.example.com/gpu": "2", "requests.hugepages-2Mi": "2Mi"});
        assert_eq!(told(json!({"hard": hard})), Vec::<String>::new());
        let expected = [
            "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota",
            "spec.hard[x]: Invalid value: \"x\": must be a standard resource type or fully qualified",
            "spec.hard[x]: Invalid value: \"x\": must be a standard resource for quota",
        ];
        assert_eq!(told(json!({"hard": {"storage": "1", "x": "1"}})), expected);
    }

    #[test]
    fn numbers_of_objects_are_whole() {
        let expected = ["spec.hard[services.nodeports]: Invalid value: \"500m\": must be an integer"];
        assert_eq!(told(json!({"hard": {"services.nodeports": "500m"}})), expected);
    }

    #[test]
    fn scopes_fit_what_is_limited_and_each_other() {
        let expected = [
            "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
            "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
        ];
        assert_eq!(told(json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort", "NotBestEffort"]})), expected);
        let expected = ["spec.scopes: Invalid value: [\"Never\"]: unsupported scope"];
        assert_eq!(told(json!({"scopes": ["Never"]})), expected);
    }

    #[test]
    fn selectors_have_the_values_that_their_operators_need() {
        let of = |scope: &str, operator: &str, values: Value| {
            told(
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}}),
            )
        };
        let field = "spec.scopeSelector.matchExpressions";
        assert_eq!(of("PriorityClass", "In", json!(["a"])), Vec::<String>::new());
        let none = format!(
            "{field}.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        );
        assert_eq!(of("PriorityClass", "In", json!([])), [none]);
        let some = format!(
            "{field}.values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        );
        assert_eq!(of("PriorityClass", "Exists", json!(["a"])), [some]);
        assert_eq!(of("Terminating", "DoesNotExist", json!([])).len(), 1);
    }

    #[test]
    fn a_scope_that_does_not_fit_prints_the_selector() {
        let quota = json!({"hard": {"services": "1"}, "scopeSelector": {"matchExpressions":
            [{"scopeName": "PriorityClass", "operator": "Exists"}]}});
        let expected = "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\"PriorityClass\",\
                        \"Operator\":\"Exists\",\"Values\":null}]}: unsupported scope applied to resource";
        assert_eq!(told(quota), [expected]);
    }
}
