//! Kubernetes' `find` and `findAll`.

use std::sync::Arc;

use regex::Regex;

use super::text::text_list;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Library, Overload};
use crate::pattern;
use crate::types::Type;
use crate::value::{Arguments, Value};

pub(super) fn library() -> Library {
    let text = || Type::String;
    let texts = || Type::list(Type::String);
    Library {
        functions: vec![
            Function::new("find", vec![Overload::member("string_find_string", vec![text(), text()], text(), find)]),
            Function::new(
                "findAll",
                vec![
                    Overload::member("string_find_all_string", vec![text(), text()], texts(), find_all),
                    Overload::member("string_find_all_string_int", vec![text(), text(), Type::Int], texts(), find_all),
                ],
            ),
        ],
        ..Library::default()
    }
}

fn regex(budget: &mut Budget, args: &[Value<'_>]) -> Result<Arc<Regex>, EvalError> {
    pattern::cached(budget, args.text(1)?).map_err(|error| match error.is_over_budget() {
        true => error,
        false => EvalError::new(format!("Illegal regex: {error}")),
    })
}

fn find<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let found = regex(budget, args)?.find(args.text(0)?).map(|found| found.as_str().to_owned()).unwrap_or_default();
    budget.allocate(found.len())?;
    Ok(Value::from(found))
}

fn find_all<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (regex, text) = (regex(budget, args)?, args.text(0)?);
    let limit = if args.len() > 2 { args.int(2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for part in regex.find_iter(text).take(limit) {
        budget.allocate(size_of::<&str>())?;
        found.push(part.as_str());
    }
    text_list(budget, found.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(text: &str, pattern: &str) -> String {
        match find(&mut Budget::default(), &[Value::from(text), Value::from(pattern)]) {
            Ok(value) => value.to_json().unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn find_all_in(args: &[Value<'_>]) -> serde_json::Value {
        find_all(&mut Budget::default(), args).unwrap().to_json().unwrap()
    }

    #[test]
    fn the_first_match_is_found() {
        assert_eq!(find_in("abc 123", "[0-9]+"), r#""123""#);
        assert_eq!(find_in("abc 123", "xyz"), r#""""#);
    }

    #[test]
    fn all_matches_are_found_up_to_the_limit() {
        let (text, digits) = (Value::from("123 abc 456"), Value::from("[0-9]+"));
        assert_eq!(find_all_in(&[text.clone(), digits.clone()]), serde_json::json!(["123", "456"]));
        assert_eq!(find_all_in(&[text.clone(), digits.clone(), Value::Int(1)]), serde_json::json!(["123"]));
        assert_eq!(find_all_in(&[text.clone(), digits.clone(), Value::Int(-1)]), serde_json::json!(["123", "456"]));
        assert_eq!(find_all_in(&[text, digits, Value::Int(0)]), serde_json::json!([]));
    }

    #[test]
    fn an_illegal_expression_is_an_error() {
        assert_eq!(find_in("a", "("), "Illegal regex: error parsing regexp: missing closing ): `(`");
    }
}
