//! What webhook configurations and admission policies have in common: rules, selectors, match conditions.
//!
//! The rules are those of `pkg/apis/admissionregistration/validation`.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, label_selector, named, one_of};
use super::names;
use crate::admission::expressions::{Compiler, Purpose, Scope};
use crate::field::FieldError;

/// Most conditions of one webhook or policy.
const MAX_CONDITIONS: usize = 64;

fn wildcard(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.len() > 1 && list.iter().any(|item| item == "*"))
}

/// `Required` for an absent or empty list, else `Invalid` when `*` stands beside others.
fn list_with_wildcard(field: &str, list: &Value, others: &str) -> Option<FieldError> {
    if list.as_array().is_none_or(Vec::is_empty) {
        return Some(FieldError::required(field, ""));
    }
    let detail = format!("if '*' is present, must not specify other {others}");
    wildcard(list).then(|| FieldError::invalid(field, list, &detail))
}

/// `validateRuleWithOperations`.
pub(super) fn rule(rule: &Value, field: &str) -> Errors {
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Errors::new();
    errors.extend(list_with_wildcard(&at("operations"), rule.at("/operations"), "operations"));
    for (index, operation) in rule.list_at("/operations").iter().enumerate() {
        let supported = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        errors.extend(one_of(&format!("{field}.operations[{index}]"), text(operation), supported));
    }
    errors.extend(list_with_wildcard(&at("apiGroups"), rule.at("/apiGroups"), "API groups"));
    errors.extend(list_with_wildcard(&at("apiVersions"), rule.at("/apiVersions"), "API versions"));
    for (index, _) in empty(rule.list_at("/apiVersions")) {
        errors.push(FieldError::required(format!("{field}.apiVersions[{index}]"), ""));
    }
    errors.extend(resources(rule.at("/resources"), &at("resources")));
    if rule.has("/scope") {
        errors.extend(one_of(&at("scope"), rule.str_at("/scope"), &["*", "Cluster", "Namespaced"]));
    }
    errors
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn empty(list: &[Value]) -> impl Iterator<Item = (usize, &Value)> {
    list.iter().enumerate().filter(|(_, item)| text(item).is_empty())
}

/// `validateResources`.
fn resources(list: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        errors.push(FieldError::required(field, ""));
    }
    let (mut all_parts_of, mut parts_of_all): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let (mut everything, mut all_resources, mut plain) = (false, false, false);
    for (index, item) in items.iter().enumerate() {
        let item = text(item);
        let at = format!("{field}[{index}]");
        everything |= item == "*/*";
        all_resources |= item == "*";
        let Some((resource, part)) = item.split_once('/') else {
            if item.is_empty() {
                errors.push(FieldError::required(at, ""));
            } else {
                plain = item != "*";
            }
            continue;
        };
        if all_parts_of.contains(&resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {item}");
            errors.push(FieldError::invalid(&at, &json!(item), &detail));
        }
        if parts_of_all.contains(&part) {
            let detail = format!("if '*/{part}' is present, must not specify {item}");
            errors.push(FieldError::invalid(&at, &json!(item), &detail));
        }
        if part == "*" {
            all_parts_of.push(resource);
        }
        if resource == "*" {
            parts_of_all.push(part);
        }
    }
    if items.len() > 1 && everything {
        errors.push(FieldError::invalid(field, list, "if '*/*' is present, must not specify other resources"));
    }
    if all_resources && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(field, list, detail));
    }
    errors
}

/// `namespaceSelector` and `objectSelector`.
pub(super) fn selectors(holder: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    for name in ["namespaceSelector", "objectSelector"] {
        if holder.has(&format!("/{name}")) {
            errors.extend(label_selector(&format!("{field}.{name}"), holder.at(&format!("/{name}"))));
        }
    }
    errors
}

/// `validateMatchResources`; an absent object has no errors.
pub(super) fn match_resources(resources: &Value, field: &str) -> Errors {
    if resources.is_null() {
        return Errors::new();
    }
    let mut errors = Errors::new();
    errors.extend(one_of(&format!("{field}.matchPolicy"), resources.str_at("/matchPolicy"), &["Equivalent", "Exact"]));
    errors.extend(selectors(resources, field));
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, item) in resources.list_at(&format!("/{list}")).iter().enumerate() {
            errors.extend(named_rule(item, &format!("{field}.{list}[{index}]")));
        }
    }
    errors
}

/// `validateNamedRuleWithOperations`.
fn named_rule(item: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, name) in item.list_at("/resourceNames").iter().enumerate() {
        let at = format!("{field}.resourceNames[{index}]");
        errors.extend(named(&at, text(name), names::path_segment));
        if seen.contains(&text(name)) {
            errors.push(FieldError::duplicate(&at, name));
        } else {
            seen.push(text(name));
        }
    }
    errors.extend(rule(item, field));
    errors
}

/// `validateMatchConditions`.
pub(super) fn match_conditions(conditions: &[Value], scope: Scope, field: &str) -> Errors {
    let mut errors = Errors::new();
    if conditions.len() > MAX_CONDITIONS {
        errors.push(FieldError::too_many(field, conditions.len(), MAX_CONDITIONS));
    }
    let compiler = Compiler::new(scope);
    let mut seen: Vec<&str> = Vec::new();
    // What is too many is not compiled: each expression costs.
    for (index, condition) in conditions.iter().enumerate().take(MAX_CONDITIONS) {
        let at = |name: &str| format!("{field}[{index}].{name}");
        let expression = condition.str_at("/expression").trim();
        if expression.is_empty() {
            errors.push(FieldError::required(at("expression"), ""));
        } else {
            errors.extend(compiles(&compiler, expression, Purpose::Condition, &at("expression")));
        }
        let name = condition.str_at("/name");
        if name.is_empty() {
            errors.push(FieldError::required(at("name"), ""));
            continue;
        }
        errors.extend(named(&at("name"), name, names::qualified_name));
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(at("name"), &json!(name)));
        } else {
            seen.push(name);
        }
    }
    errors
}

/// `Invalid` unless the expression compiles to what its purpose wants.
pub(super) fn compiles(compiler: &Compiler, source: &str, purpose: Purpose, field: &str) -> Option<FieldError> {
    compiler.compile(source, purpose).err().map(|error| FieldError::invalid(field, &json!(source), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Errors) -> Vec<String> {
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    fn with(field: &str, value: Value) -> Vec<String> {
        let mut item =
            json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        item[field] = value;
        texts(rule(&item, "r"))
    }

    #[test]
    fn a_rule_names_all_four() {
        let wrong = ["r.operations", "r.apiGroups", "r.apiVersions", "r.resources"];
        assert_eq!(texts(rule(&json!({}), "r")), wrong.map(|field| format!("{field}: Required value")));
    }

    #[test]
    fn a_star_stands_alone() {
        assert_eq!(
            with("operations", json!(["*", "CREATE"])),
            ["r.operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"]
        );
    }

    #[test]
    fn an_unknown_operation_is_not_supported() {
        assert_eq!(
            with("operations", json!(["READ"])),
            [
                "r.operations[0]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \
              \"UPDATE\""
            ]
        );
    }

    #[test]
    fn a_part_of_all_parts_is_said_twice() {
        assert_eq!(
            with("resources", json!(["pods/*", "pods/status"])),
            ["r.resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status"]
        );
    }

    #[test]
    fn all_resources_leave_no_other_without_a_part() {
        assert_eq!(with("resources", json!(["*", "pods"])).len(), 1);
        assert_eq!(with("resources", json!(["*", "pods/status"])).len(), 0);
    }

    #[test]
    fn the_scope_is_one_of_three() {
        assert_eq!(
            with("scope", json!("Some")),
            ["r.scope: Unsupported value: \"Some\": supported values: \"*\", \"Cluster\", \"Namespaced\""]
        );
    }
}
