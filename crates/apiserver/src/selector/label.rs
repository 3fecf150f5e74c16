//! Label selectors: a conjunction of requirements, from text or from a `LabelSelector` object, and what they match.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::label_syntax;
use crate::field::{FieldError, Kind};
use crate::kinds::names;
use crate::status::Status;

/// Why a selector is not one, worded as kube-apiserver words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// A selector that does not parse is a bad request.
impl From<SelectorError> for Status {
    fn from(error: SelectorError) -> Self {
        Self::bad_request(error.0)
    }
}

/// All requirements must hold; without any, everything matches. Ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// One valid condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    condition: Condition,
}

/// The values are sorted and differ.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(Vec<String>),
    NotIn(Vec<String>),
    Equals { value: String, sign: &'static str },
    NotEquals(String),
    Exists,
    DoesNotExist,
    Above(i64, String),
    Below(i64, String),
}

/// Operators of the text syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl Requirement {
    /// `labels.NewRequirement`: checks the key, the number of values and each value. `values` must be sorted and differ.
    pub(super) fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let mut errors = Vec::new();
        errors.extend(key_error(key, "key"));
        let number = |text: &str| go_i64(text);
        let wrong_count = match operator {
            Operator::In | Operator::NotIn => {
                values.is_empty().then_some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals => {
                (values.len() != 1).then_some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist => {
                (!values.is_empty()).then_some("values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan => {
                (values.len() != 1).then_some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
        };
        errors.extend(wrong_count.map(|detail| FieldError::invalid("values", &json!(values), detail)));
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            for (i, value) in values.iter().enumerate().filter(|(_, value)| number(value).is_none()) {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(format!("values[{i}]"), &json!(value), detail));
            }
        }
        for (i, value) in values.iter().enumerate() {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(format!("values[{i}][{key}]"), &json!(value), &wrong.join("; ")));
            }
        }
        if !errors.is_empty() {
            return Err(aggregate(&errors));
        }
        let only = |values: Vec<String>| values.into_iter().next().unwrap_or_default();
        let condition = match operator {
            Operator::In => Condition::In(values),
            Operator::NotIn => Condition::NotIn(values),
            Operator::Equals => Condition::Equals { value: only(values), sign: "=" },
            Operator::DoubleEquals => Condition::Equals { value: only(values), sign: "==" },
            Operator::NotEquals => Condition::NotEquals(only(values)),
            Operator::Exists => Condition::Exists,
            Operator::DoesNotExist => Condition::DoesNotExist,
            Operator::GreaterThan | Operator::LessThan => {
                let value = only(values);
                let bound = number(&value).unwrap_or_default();
                if operator == Operator::GreaterThan {
                    Condition::Above(bound, value)
                } else {
                    Condition::Below(bound, value)
                }
            }
        };
        Ok(Self { key: key.to_owned(), condition })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let within = |values: &[String], value: &str| values.binary_search_by(|v| v.as_str().cmp(value)).is_ok();
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| within(values, value)),
            Condition::NotIn(values) => !value.is_some_and(|value| within(values, value)),
            Condition::Equals { value: wanted, .. } => value == Some(wanted),
            Condition::NotEquals(unwanted) => value != Some(unwanted),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
            Condition::Above(bound, _) => value.and_then(go_i64).is_some_and(|n| n > *bound),
            Condition::Below(bound, _) => value.and_then(go_i64).is_some_and(|n| n < *bound),
        }
    }
}

impl LabelSelector {
    /// `labels.Parse`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        label_syntax::parse(text).map(Self::of)
    }

    /// `metav1.LabelSelectorAsSelector` on the JSON of a `LabelSelector`: `{}` matches everything. Whether an absent
    /// selector matches nothing or everything differs by kind, so that is the caller's.
    pub fn from_object(selector: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let mut values: Vec<String> = values.map(|v| v.as_str().unwrap_or_default().to_owned()).collect();
            values.sort();
            values.dedup();
            requirements.push(Requirement::new(expression["key"].as_str().unwrap_or_default(), operator, values)?);
        }
        Ok(Self::of(requirements))
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements }
    }

    /// Matches everything: nothing needs to be looked at.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether these labels (`metadata.labels` of a decoded object) satisfy every requirement.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches_by(|key| labels?.get(key)?.as_str())
    }

    /// Whether the labels of an object satisfy every requirement.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(object["metadata"]["labels"].as_object())
    }

    /// The same for the JSON text of an object, of which only the labels are decoded. Text that is not an object's has no
    /// labels.
    pub fn matches_text(&self, text: &[u8]) -> bool {
        #[derive(Default, Deserialize)]
        struct Object<'a> {
            #[serde(borrow)]
            metadata: Metadata<'a>,
        }
        #[derive(Default, Deserialize)]
        struct Metadata<'a> {
            #[serde(borrow)]
            labels: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
        }
        if self.is_empty() {
            return true;
        }
        let object: Object<'_> = serde_json::from_slice(text).unwrap_or_default();
        let labels = object.metadata.labels.unwrap_or_default();
        self.matches_by(|key| labels.get(key).map(|value| &**value))
    }

    fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(value(&requirement.key)))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A lone empty value needs its comma: `()` is the empty set, which is refused.
        let set = |values: &[String]| if *values == [""] { ",".to_owned() } else { values.join(",") };
        let key = &self.key;
        match &self.condition {
            Condition::In(values) => write!(f, "{key} in ({})", set(values)),
            Condition::NotIn(values) => write!(f, "{key} notin ({})", set(values)),
            Condition::Equals { value, sign } => write!(f, "{key}{sign}{value}"),
            Condition::NotEquals(value) => write!(f, "{key}!={value}"),
            Condition::Exists => f.write_str(key),
            Condition::DoesNotExist => write!(f, "!{key}"),
            Condition::Above(_, value) => write!(f, "{key}>{value}"),
            Condition::Below(_, value) => write!(f, "{key}<{value}"),
        }
    }
}

/// The text that parses to the same selector.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Go's `strconv.ParseInt(text, 10, 64)`: a sign and digits.
fn go_i64(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// What is wrong with a label key, if anything.
pub(super) fn key_error(key: &str, field: &str) -> Option<FieldError> {
    let wrong = names::qualified_name(key);
    (!wrong.is_empty())
        .then(|| FieldError::with(Kind::Invalid, field, Some(crate::field::go_value(&json!(key))), &wrong.join("; ")))
}

/// `ErrorList.ToAggregate().Error()`.
pub(super) fn aggregate(errors: &[FieldError]) -> SelectorError {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = format!("{}: {}", error.field, error.message);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    SelectorError(match texts.as_slice() {
        [only] => only.clone(),
        _ => format!("[{}]", texts.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(selector: &str, labels: &Value) -> bool {
        let selector = LabelSelector::parse(selector).unwrap();
        let text = serde_json::to_vec(&json!({"metadata": {"labels": labels}, "spec": [1, {"x": null}]})).unwrap();
        assert_eq!(selector.matches(labels.as_object()), selector.matches_text(&text));
        selector.matches_text(&text)
    }

    #[test]
    fn a_label_that_is_absent_satisfies_the_negative_operators_only() {
        let satisfied: Vec<&str> = ["a=x", "a==x", "a in (x)", "a", "a>1", "a<1", "a!=x", "a notin (x)", "!a"]
            .into_iter()
            .filter(|selector| matches(selector, &json!({"b": "x"})))
            .collect();
        assert_eq!(satisfied, ["a!=x", "a notin (x)", "!a"]);
    }

    #[test]
    fn a_label_with_the_value_satisfies_the_positive_operators_only() {
        let satisfied: Vec<&str> =
            ["a=7", "a==7", "a in (x,7)", "a", "a>6", "a<8", "a>7", "a<7", "a!=7", "a notin (x,7)", "!a"]
                .into_iter()
                .filter(|selector| matches(selector, &json!({"a": "7"})))
                .collect();
        assert_eq!(satisfied, ["a=7", "a==7", "a in (x,7)", "a", "a>6", "a<8"]);
    }

    #[test]
    fn a_value_that_is_no_number_is_neither_above_nor_below() {
        assert!(!matches("a>0", &json!({"a": "x"})) && !matches("a<0", &json!({"a": "x"})));
    }

    #[test]
    fn the_empty_selector_matches_what_has_no_labels() {
        assert!(LabelSelector::parse(" ").unwrap().matches_text(b"{}"));
    }

    #[test]
    fn every_requirement_must_hold() {
        assert!(matches("a=1,b", &json!({"a": "1", "b": ""})) && !matches("a=1,b", &json!({"a": "1"})));
    }

    #[test]
    fn a_selector_object_is_the_conjunction_of_both_parts() {
        let object = json!({"matchLabels": {"b": "1"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"}]});
        assert_eq!(LabelSelector::from_object(&object).unwrap().to_string(), "a in (x,y),b=1,!c");
    }

    #[test]
    fn an_unknown_operator_of_an_object_is_an_error() {
        let object = json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["x"]}]});
        let error = LabelSelector::from_object(&object).unwrap_err();
        assert_eq!(error.to_string(), "\"Like\" is not a valid label selector operator");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[ a-c/.!=<>(),inotJ\u{e9}\0-]{0,24}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn what_is_printed_parses_to_the_same(text in "(!?[ab]|[ab] ?(=|==|!=|>|<) ?[1-9]?| ?[ab] (in|notin) \\(([ab1]?,?){0,3}\\)){1,3}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
