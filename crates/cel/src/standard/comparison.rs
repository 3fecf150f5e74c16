//! `== != < <= > >=` and `!`.

use std::cmp::Ordering;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Implementation, Overload};
use crate::operators;
use crate::types::Type;
use crate::value::{Arguments, Value};

pub(super) fn functions() -> Vec<Function> {
    let param = || vec![Type::param("A"), Type::param("A")];
    vec![
        Function::new(operators::NOT, vec![Overload::global("logical_not", vec![Type::Bool], Type::Bool, not)]),
        Function::new(operators::EQUALS, vec![Overload::global("equals", param(), Type::Bool, equals)]),
        Function::new(operators::NOT_EQUALS, vec![Overload::global("not_equals", param(), Type::Bool, not_equals)]),
        ordering(operators::LESS, &LESS, |_, args| ordered(args, Ordering::is_lt)),
        ordering(operators::LESS_EQUALS, &LESS_EQUALS, |_, args| ordered(args, Ordering::is_le)),
        ordering(operators::GREATER, &GREATER, |_, args| ordered(args, Ordering::is_gt)),
        ordering(operators::GREATER_EQUALS, &GREATER_EQUALS, |_, args| ordered(args, Ordering::is_ge)),
    ]
}

/// Overload ids of `<`, in the order of [`operands`].
const LESS: [&str; 14] = [
    "less_bool",
    "less_int64",
    "less_int64_double",
    "less_int64_uint64",
    "less_uint64",
    "less_uint64_double",
    "less_uint64_int64",
    "less_double",
    "less_double_int64",
    "less_double_uint64",
    "less_string",
    "less_bytes",
    "less_timestamp",
    "less_duration",
];
/// Overload ids of `<=`.
const LESS_EQUALS: [&str; 14] = [
    "less_equals_bool",
    "less_equals_int64",
    "less_equals_int64_double",
    "less_equals_int64_uint64",
    "less_equals_uint64",
    "less_equals_uint64_double",
    "less_equals_uint64_int64",
    "less_equals_double",
    "less_equals_double_int64",
    "less_equals_double_uint64",
    "less_equals_string",
    "less_equals_bytes",
    "less_equals_timestamp",
    "less_equals_duration",
];
/// Overload ids of `>`.
const GREATER: [&str; 14] = [
    "greater_bool",
    "greater_int64",
    "greater_int64_double",
    "greater_int64_uint64",
    "greater_uint64",
    "greater_uint64_double",
    "greater_uint64_int64",
    "greater_double",
    "greater_double_int64",
    "greater_double_uint64",
    "greater_string",
    "greater_bytes",
    "greater_timestamp",
    "greater_duration",
];
/// Overload ids of `>=`.
const GREATER_EQUALS: [&str; 14] = [
    "greater_equals_bool",
    "greater_equals_int64",
    "greater_equals_int64_double",
    "greater_equals_int64_uint64",
    "greater_equals_uint64",
    "greater_equals_uint64_double",
    "greater_equals_uint64_int64",
    "greater_equals_double",
    "greater_equals_double_int64",
    "greater_equals_double_uint64",
    "greater_equals_string",
    "greater_equals_bytes",
    "greater_equals_timestamp",
    "greater_equals_duration",
];

/// What can be ordered.
fn operands() -> [(Type, Type); 14] {
    use Type::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    [
        (Bool, Bool),
        (Int, Int),
        (Int, Double),
        (Int, Uint),
        (Uint, Uint),
        (Uint, Double),
        (Uint, Int),
        (Double, Double),
        (Double, Int),
        (Double, Uint),
        (String, String),
        (Bytes, Bytes),
        (Timestamp, Timestamp),
        (Duration, Duration),
    ]
}

fn ordering(name: &'static str, ids: &[&'static str; 14], call: Implementation) -> Function {
    let overloads = ids
        .iter()
        .zip(operands())
        .map(|(id, (left, right))| Overload::global(id, vec![left, right], Type::Bool, call))
        .collect();
    Function::new(name, overloads)
}

/// Not-a-number is in no order with anything.
fn ordered<'a>(args: &[Value<'a>], test: fn(Ordering) -> bool) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(args.value(0)?.compare(args.value(1)?).is_some_and(test)))
}

fn not<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(!args.bool(0)?))
}

fn equals<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    args.value(0)?.equals(args.value(1)?, budget).map(Value::Bool)
}

fn not_equals<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    args.value(0)?.equals(args.value(1)?, budget).map(|same| Value::Bool(!same))
}
