//! Checks that the validation of many kinds is made of, each worded as `k8s.io/apimachinery` and `pkg/apis` word it.

use serde_json::{Value, json};

use super::at::At;
use super::{meta, names};
use crate::field::{FieldError, Kind};

/// Errors collected in order.
pub(crate) type Errors = Vec<FieldError>;

/// One `Invalid` per text, all about the same string.
pub(super) fn named(field: &str, value: &str, rule: fn(&str) -> Vec<String>) -> Errors {
    meta::invalid(field, value, rule(value))
}

/// `Required` when the string is empty, else the rule.
pub(super) fn required_name(field: &str, value: &str, rule: fn(&str) -> Vec<String>) -> Errors {
    if value.is_empty() { vec![FieldError::required(field, "")] } else { named(field, value, rule) }
}

/// `Required` when the string is empty.
pub(super) fn required(field: &str, value: &str) -> Option<FieldError> {
    value.is_empty().then(|| FieldError::required(field, ""))
}

/// `NotSupported` unless the string is one of a list.
pub(super) fn one_of(field: &str, value: &str, supported: &[&str]) -> Option<FieldError> {
    (!supported.contains(&value)).then(|| FieldError::not_supported(field, &json!(value), supported))
}

/// `Required` when empty, `NotSupported` unless in the list.
pub(super) fn required_one_of(field: &str, value: &str, supported: &[&str]) -> Option<FieldError> {
    required(field, value).or_else(|| one_of(field, value, supported))
}

/// `Invalid` with a text when a condition does not hold.
pub(super) fn hold(right: bool, field: &str, value: &Value, text: &str) -> Option<FieldError> {
    (!right).then(|| FieldError::invalid(field, value, text))
}

/// The number at `field` under `obj` is at least zero.
pub(super) fn non_negative(obj: &Value, pointer: &str, field: &str) -> Option<FieldError> {
    meta::non_negative(field, obj.at(pointer))
}

/// `ValidateImmutableField`.
pub(super) fn immutable(field: &str, new: &Value, old: &Value) -> Option<FieldError> {
    (new != old).then(|| FieldError::invalid(field, new, "field is immutable"))
}

/// `ValidatePortNumOrName`.
pub(super) fn port_number_or_name(field: &str, port: &Value) -> Errors {
    match port {
        Value::String(name) => named(field, name, names::port_name),
        other => port_number(field, other),
    }
}

/// A port number; absent is 0.
pub(super) fn port_number(field: &str, port: &Value) -> Errors {
    let number = port.as_i64().unwrap_or(0);
    names::port_number(number).iter().map(|text| FieldError::invalid(field, &json!(number), text)).collect()
}

/// `ValidatePositiveIntOrPercent`.
pub(super) fn int_or_percent(field: &str, value: &Value) -> Errors {
    match value {
        Value::String(text) => named(field, text, names::percent),
        other => meta::non_negative(field, other).into_iter().collect(),
    }
}

/// `IsNotMoreThan100Percent`.
pub(super) fn at_most_all(field: &str, value: &Value) -> Option<FieldError> {
    let right = percentage(value).is_none_or(|percent| percent <= 100);
    hold(right, field, value, "must not be greater than 100%")
}

/// The number in `30%`.
pub(super) fn percentage(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

/// `ValidateLabelSelector`.
pub(super) fn label_selector(field: &str, selector: &Value) -> Errors {
    let mut errors = meta::labels(&format!("{field}.matchLabels"), selector.at("/matchLabels"));
    for (index, requirement) in selector.list_at("/matchExpressions").iter().enumerate() {
        errors.extend(label_requirement(&format!("{field}.matchExpressions[{index}]"), requirement, false));
    }
    errors
}

/// `ValidateLabelSelectorRequirement`. `newer`: operators that this version does not know are no error.
pub(crate) fn label_requirement(field: &str, requirement: &Value, newer: bool) -> Errors {
    let mut errors = Errors::new();
    let operator = requirement.str_at("/operator");
    let values = requirement.list_at("/values");
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
            format!("{field}.values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            format!("{field}.values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ if newer => {}
        _ => errors.push(FieldError::invalid(
            format!("{field}.operator"),
            &json!(operator),
            "not a valid selector operator",
        )),
    }
    errors.extend(named(&format!("{field}.key"), requirement.str_at("/key"), names::qualified_name));
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        errors.extend(named(&format!("{field}.values[{index}]"), value, names::label_value));
    }
    errors
}

/// A label selector as Go writes it: `matchLabels` first.
pub(super) fn go_selector(selector: &Value) -> String {
    if selector.is_object() { meta::ordered(selector, &["matchLabels", "matchExpressions"]) } else { "null".to_owned() }
}

/// `ValidateImmutableField` of a selector.
pub(super) fn immutable_selector(field: &str, new: &Value, old: &Value) -> Option<FieldError> {
    (new != old).then(|| shown(Kind::Invalid, field, go_selector(new), "field is immutable"))
}

/// Whether a selector can be evaluated at all: `metav1.LabelSelectorAsSelector`.
pub(super) fn is_selector(selector: &Value) -> bool {
    label_selector("", selector).is_empty()
}

/// `IsDomainPrefixedPath`.
pub(super) fn domain_prefixed_path(field: &str, path: &str) -> Errors {
    let value = json!(path);
    match path.split_once('/') {
        _ if path.is_empty() => vec![FieldError::required(field, "")],
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => named(field, host, names::dns_subdomain),
        _ => vec![FieldError::invalid(field, &value, "must be a domain-prefixed path (such as \"acme.io/foo\")")],
    }
}

/// Whether a label selector selects labels; an absent one selects nothing, an empty one everything.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    if !selector.is_object() {
        return false;
    }
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let equal = selector.map_at("/matchLabels").into_iter().flatten().all(|(key, value)| label(key) == value.as_str());
    equal
        && selector.list_at("/matchExpressions").iter().all(|requirement| {
            let found = label(requirement.str_at("/key"));
            let listed = found.is_some_and(|value| requirement.list_at("/values").iter().any(|v| v == value));
            match requirement.str_at("/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                _ => found.is_none(),
            }
        })
}

/// A label selector in the one-line form of `metav1.FormatLabelSelector`, `<none>` when it is empty.
pub(super) fn selector_text(selector: &Value) -> String {
    let mut terms: Vec<(String, String)> = Vec::new();
    for (key, value) in selector.map_at("/matchLabels").into_iter().flatten() {
        terms.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for requirement in selector.list_at("/matchExpressions") {
        let key = requirement.str_at("/key");
        let mut values: Vec<_> = requirement.list_at("/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let text = match requirement.str_at("/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        terms.push((key.to_owned(), text));
    }
    terms.sort();
    let text = terms.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",");
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// An error about a value that is printed as given (a Go struct, redacted contents).
pub(crate) fn shown(kind: Kind, field: &str, value: String, detail: &str) -> FieldError {
    FieldError::with(kind, field, Some(value), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        let labels = json!({"a": "b"});
        assert_eq!([selects(&Value::Null, &labels), selects(&json!({}), &labels)], [false, true]);
    }

    #[test]
    fn expressions_select_by_operator() {
        let labels = json!({"a": "b"});
        let of = |key: &str, operator: &str, values: Value| {
            selects(&json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}), &labels)
        };
        assert_eq!(
            [
                of("a", "In", json!(["b"])),
                of("a", "NotIn", json!(["b"])),
                of("x", "NotIn", json!(["b"])),
                of("a", "Exists", json!([])),
                of("a", "DoesNotExist", json!([]))
            ],
            [true, false, true, true, false]
        );
    }

    #[test]
    fn gos_selectors_begin_with_labels() {
        let selector = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}], "matchLabels": {"z": "1"}});
        assert_eq!(
            go_selector(&selector),
            r#"{"matchLabels":{"z":"1"},"matchExpressions":[{"key":"a","operator":"Exists"}]}"#
        );
    }

    #[test]
    fn a_domain_prefixed_path_has_both() {
        assert_eq!(["", "x", "x/", "a.b/c"].map(|path| domain_prefixed_path("f", path).len()), [1, 1, 1, 0]);
    }

    #[test]
    fn selectors_print_sorted_by_key() {
        let selector = json!({"matchLabels": {"z": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]});
        assert_eq!(selector_text(&selector), "a in (x,y),z=1");
    }

    #[test]
    fn a_percentage_is_digits_and_a_sign() {
        let wrong = |value: Value| int_or_percent("f", &value).len();
        assert_eq!([json!("150%"), json!("x%"), json!(-1), json!(200)].map(wrong), [0, 1, 1, 0]);
    }
}
