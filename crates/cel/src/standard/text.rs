//! Functions of text: `contains`, `startsWith`, `endsWith`, `matches`.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Overload};
use crate::pattern;
use crate::types::Type;
use crate::value::{Arguments, Value};

pub(super) fn functions() -> Vec<Function> {
    let two = || vec![Type::String, Type::String];
    vec![
        Function::new(
            "contains",
            vec![Overload::member("contains_string", two(), Type::Bool, |_, args| {
                Ok(Value::Bool(args.text(0)?.contains(args.text(1)?)))
            })],
        ),
        Function::new(
            "endsWith",
            vec![Overload::member("ends_with_string", two(), Type::Bool, |_, args| {
                Ok(Value::Bool(args.text(0)?.ends_with(args.text(1)?)))
            })],
        ),
        Function::new(
            "startsWith",
            vec![Overload::member("starts_with_string", two(), Type::Bool, |_, args| {
                Ok(Value::Bool(args.text(0)?.starts_with(args.text(1)?)))
            })],
        ),
        Function::new(
            "matches",
            vec![
                Overload::global("matches", two(), Type::Bool, matches),
                Overload::member("matches_string", two(), Type::Bool, matches),
            ],
        ),
    ]
}

fn matches<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(pattern::cached(budget, args.text(1)?)?.is_match(args.text(0)?)))
}
