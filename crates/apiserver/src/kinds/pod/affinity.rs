//! Validation of affinity and node selectors.

use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::{Errors, hold, label_selector, named};
use super::super::names;
use crate::field::FieldError;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `validateAffinity`.
pub(super) fn validate(affinity: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let node = affinity.at("/nodeAffinity");
    if node.has(&format!("/{REQUIRED}")) {
        errors.extend(node_selector(node.at(&format!("/{REQUIRED}")), &format!("{path}.nodeAffinity.{REQUIRED}")));
    }
    for (index, term) in node.list_at(&format!("/{PREFERRED}")).iter().enumerate() {
        let path = format!("{path}.nodeAffinity.{PREFERRED}[{index}]");
        errors.extend(weight(term, &path));
        errors.extend(node_term(term.at("/preference"), &format!("{path}.preference")));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let rules = affinity.at(&format!("/{kind}"));
        for (index, term) in rules.list_at(&format!("/{REQUIRED}")).iter().enumerate() {
            errors.extend(pod_term(term, &format!("{path}.{kind}.{REQUIRED}[{index}]")));
        }
        for (index, term) in rules.list_at(&format!("/{PREFERRED}")).iter().enumerate() {
            let path = format!("{path}.{kind}.{PREFERRED}[{index}]");
            errors.extend(weight(term, &path));
            errors.extend(pod_term(term.at("/podAffinityTerm"), &format!("{path}.podAffinityTerm")));
        }
    }
    errors
}

fn weight(term: &Value, path: &str) -> Option<FieldError> {
    let weight = term.int_at("/weight").unwrap_or(0);
    hold((1..=100).contains(&weight), &format!("{path}.weight"), &json!(weight), "must be in the range 1-100")
}

/// `ValidateNodeSelector`.
pub(in super::super) fn node_selector(selector: &Value, path: &str) -> Errors {
    let path = format!("{path}.nodeSelectorTerms");
    let terms = selector.list_at("/nodeSelectorTerms");
    if terms.is_empty() {
        return vec![FieldError::required(path, "must have at least one node selector term")];
    }
    terms.iter().enumerate().flat_map(|(index, term)| node_term(term, &format!("{path}[{index}]"))).collect()
}

fn node_term(term: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    for (index, requirement) in term.list_at("/matchExpressions").iter().enumerate() {
        let at = |name: &str| format!("{path}.matchExpressions[{index}].{name}");
        let (operator, values) = (requirement.str_at("/operator"), requirement.list_at("/values"));
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(at("values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(at("values"), detail));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(at("values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.push(FieldError::invalid(at("operator"), &json!(operator), "not a valid selector operator")),
        }
        errors.extend(named(&at("key"), requirement.str_at("/key"), names::qualified_name));
    }
    for (index, requirement) in term.list_at("/matchFields").iter().enumerate() {
        let at = |name: &str| format!("{path}.matchFields[{index}].{name}");
        if requirement.list_at("/values").len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(at("values"), detail));
        }
        let key = requirement.str_at("/key");
        errors.extend(hold(key == "metadata.name", &at("key"), &json!(key), "not a valid field selector key"));
    }
    errors
}

fn pod_term(term: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    for selector in ["labelSelector", "namespaceSelector"] {
        if term.has(&format!("/{selector}")) {
            errors.extend(label_selector(&format!("{path}.{selector}"), term.at(&format!("/{selector}"))));
        }
    }
    for (index, namespace) in term.list_at("/namespaces").iter().enumerate() {
        let field = format!("{path}.namespaces[{index}]");
        errors.extend(named(&field, namespace.as_str().unwrap_or_default(), names::dns_label));
    }
    let (field, key) = (format!("{path}.topologyKey"), term.str_at("/topologyKey"));
    if key.is_empty() {
        errors.push(FieldError::required(&field, "can not be empty"));
    }
    errors.extend(named(&field, key, names::qualified_name));
    errors
}
