//! Kubernetes' `find` and `findAll`, and the compiled regular expressions that all functions share.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use super::text::text_list;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Library, Overload};
use crate::types::Type;
use crate::value::{Arguments, Value};

/// How many compiled expressions are kept.
const KEPT: usize = 256;
/// How large a compiled expression may be, in octets.
const MAX_COMPILED: usize = 1 << 20;

/// Compiling takes long for what an evaluation of an expression costs, so the last ones are kept.
static COMPILED: LazyLock<Mutex<HashMap<Box<str>, Arc<Regex>>>> = LazyLock::new(Mutex::default);

/// The compiled regular expression, or what is wrong with it, as Go says it.
pub(crate) fn compile(pattern: &str) -> Result<Arc<Regex>, String> {
    let kept = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = kept().get(pattern) {
        return Ok(Arc::clone(regex));
    }
    let regex = RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| go_error(pattern, &error))?;
    let regex = Arc::new(regex);
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(pattern.into(), Arc::clone(&regex));
    Ok(regex)
}

/// Go's text for the common mistakes; others keep their own.
fn go_error(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let known = [
        ("unclosed group", "missing closing )"),
        ("unopened group", "unexpected )"),
        ("unclosed character class", "missing closing ]"),
        ("repetition operator missing expression", "missing argument to repetition operator"),
        ("invalid character class range", "invalid character class range"),
        ("unrecognized escape sequence", "invalid escape sequence"),
        ("look-around", "invalid or unsupported Perl syntax"),
        ("exceeds size limit", "expression too large"),
    ];
    let reason = known.iter().find(|(ours, _)| text.contains(ours)).map(|(_, go)| *go);
    let reason = reason.unwrap_or_else(|| text.lines().last().unwrap_or_default().trim_start_matches("error: "));
    format!("error parsing regexp: {reason}: `{pattern}`")
}

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

fn pattern<'a>(args: &[Value<'a>]) -> Result<Arc<Regex>, EvalError> {
    compile(args.text(1)?).map_err(|error| EvalError::new(format!("Illegal regex: {error}")))
}

fn find<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let found = pattern(args)?.find(args.text(0)?).map(|found| found.as_str().to_owned()).unwrap_or_default();
    budget.allocate(found.len())?;
    Ok(Value::from(found))
}

fn find_all<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (regex, text) = (pattern(args)?, args.text(0)?);
    let limit = if args.len() > 2 { args.int(2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found: Vec<&str> = regex.find_iter(text).take(limit).map(|found| found.as_str()).collect();
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

    #[test]
    fn an_expression_that_compiles_too_large_is_an_error() {
        let error = compile(r"((a{100}){100}){100}").unwrap_err();
        assert!(error.starts_with("error parsing regexp: expression too large"), "{error}");
    }
}
