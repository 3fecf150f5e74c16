//! `+ - * / %` and negation: checked, never wrapping.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Implementation, Overload};
use crate::operators;
use crate::types::{ListKind, Type};
use crate::value::{Arguments, Duration, List, Text, Timestamp, Value};

pub(super) fn functions() -> Vec<Function> {
    let same = |id, ty: Type, call: Implementation| Overload::global(id, vec![ty.clone(), ty.clone()], ty, call);
    let mixed = |id, left, right, result, call: Implementation| Overload::global(id, vec![left, right], result, call);
    vec![
        Function::new(
            operators::ADD,
            vec![
                same("add_bytes", Type::Bytes, add_bytes),
                same("add_double", Type::Double, double::<0>),
                same("add_duration_duration", Type::Duration, add_durations),
                mixed("add_duration_timestamp", Type::Duration, Type::Timestamp, Type::Timestamp, |_, args| {
                    shift(args.value(1)?, args.value(0)?, 1)
                }),
                mixed("add_timestamp_duration", Type::Timestamp, Type::Duration, Type::Timestamp, |_, args| {
                    shift(args.value(0)?, args.value(1)?, 1)
                }),
                same("add_int64", Type::Int, int::<0>),
                same("add_list", Type::list(Type::param("A")), add_lists),
                same("add_string", Type::String, add_text),
                same("add_uint64", Type::Uint, uint::<0>),
            ],
        ),
        Function::new(
            operators::SUBTRACT,
            vec![
                same("subtract_double", Type::Double, double::<1>),
                same("subtract_duration_duration", Type::Duration, subtract_durations),
                same("subtract_int64", Type::Int, int::<1>),
                mixed("subtract_timestamp_duration", Type::Timestamp, Type::Duration, Type::Timestamp, |_, args| {
                    shift(args.value(0)?, args.value(1)?, -1)
                }),
                mixed("subtract_timestamp_timestamp", Type::Timestamp, Type::Timestamp, Type::Duration, between),
                same("subtract_uint64", Type::Uint, uint::<1>),
            ],
        ),
        Function::new(
            operators::MULTIPLY,
            vec![
                same("multiply_double", Type::Double, double::<2>),
                same("multiply_int64", Type::Int, int::<2>),
                same("multiply_uint64", Type::Uint, uint::<2>),
            ],
        ),
        Function::new(
            operators::DIVIDE,
            vec![
                same("divide_double", Type::Double, double::<3>),
                same("divide_int64", Type::Int, int::<3>),
                same("divide_uint64", Type::Uint, uint::<3>),
            ],
        ),
        Function::new(
            operators::MODULO,
            vec![same("modulo_int64", Type::Int, int::<4>), same("modulo_uint64", Type::Uint, uint::<4>)],
        ),
        Function::new(
            operators::NEGATE,
            vec![
                Overload::global("negate_double", vec![Type::Double], Type::Double, negate),
                Overload::global("negate_int64", vec![Type::Int], Type::Int, negate),
            ],
        ),
    ]
}

/// Operations by number, so that one function serves all: `+ - * / %`.
fn int<'a, const OPERATION: u8>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = (args.int(0)?, args.int(1)?);
    let zero = |what: &str| if right == 0 { Err(EvalError::new(what)) } else { Ok(()) };
    let result = match OPERATION {
        0 => left.checked_add(right),
        1 => left.checked_sub(right),
        2 => left.checked_mul(right),
        3 => {
            zero("division by zero")?;
            left.checked_div(right)
        }
        _ => {
            zero("modulus by zero")?;
            left.checked_rem(right)
        }
    };
    result.map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
}

fn uint<'a, const OPERATION: u8>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (Value::Uint(left), Value::Uint(right)) = (args.value(0)?, args.value(1)?) else {
        return Err(EvalError::no_such_overload());
    };
    let zero = |what: &str| if *right == 0 { Err(EvalError::new(what)) } else { Ok(()) };
    let result = match OPERATION {
        0 => left.checked_add(*right),
        1 => left.checked_sub(*right),
        2 => left.checked_mul(*right),
        3 => {
            zero("division by zero")?;
            left.checked_div(*right)
        }
        _ => {
            zero("modulus by zero")?;
            left.checked_rem(*right)
        }
    };
    result.map(Value::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
}

fn double<'a, const OPERATION: u8>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (Value::Double(left), Value::Double(right)) = (args.value(0)?, args.value(1)?) else {
        return Err(EvalError::no_such_overload());
    };
    Ok(Value::Double(match OPERATION {
        0 => left + right,
        1 => left - right,
        2 => left * right,
        _ => left / right,
    }))
}

fn negate<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args.value(0)? {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or_else(|| EvalError::new("integer overflow")),
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn add_text<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = (args.text(0)?, args.text(1)?);
    budget.allocate(left.len() + right.len())?;
    Ok(Value::String(Text::Shared([left, right].concat().into())))
}

fn add_bytes<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (Value::Bytes(left), Value::Bytes(right)) = (args.value(0)?, args.value(1)?) else {
        return Err(EvalError::no_such_overload());
    };
    budget.allocate(left.len() + right.len())?;
    Ok(Value::Bytes([&left[..], &right[..]].concat().into()))
}

/// Appends; or makes the union of lists that Kubernetes' schemas call sets and maps.
fn add_lists<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = (args.list(0)?, args.list(1)?);
    budget.allocate((left.len() + right.len()) * size_of::<Value<'_>>())?;
    if *left.kind() != ListKind::Atomic {
        return left.union(right, budget).map(Value::List);
    }
    if right.is_empty() {
        return Ok(Value::List(left.clone()));
    }
    let elements = left.iter().chain(right.iter()).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::List(List::from(elements)))
}

fn durations(args: &[Value<'_>]) -> Result<(i64, i64), EvalError> {
    match (args.value(0)?, args.value(1)?) {
        (Value::Duration(left), Value::Duration(right)) => Ok((left.nanos, right.nanos)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn duration<'a>(nanos: Option<i64>) -> Result<Value<'a>, EvalError> {
    let nanos = nanos.ok_or_else(|| EvalError::new("duration overflow"))?;
    Ok(Value::Duration(Duration { nanos }))
}

fn add_durations<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = durations(args)?;
    duration(left.checked_add(right))
}

fn subtract_durations<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = durations(args)?;
    duration(left.checked_sub(right))
}

/// A time moved by a span, in the range of years 1 to 9999.
fn shift<'a>(time: &Value<'a>, span: &Value<'a>, sign: i128) -> Result<Value<'a>, EvalError> {
    let (Value::Timestamp(time), Value::Duration(span)) = (time, span) else {
        return Err(EvalError::no_such_overload());
    };
    let nanos = time.as_nanosecond() + sign * i128::from(span.nanos);
    let moved = Timestamp::from_nanosecond(nanos).ok_or_else(|| EvalError::new("timestamp overflow"))?;
    Ok(Value::Timestamp(moved))
}

fn between<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match (args.value(0)?, args.value(1)?) {
        (Value::Timestamp(left), Value::Timestamp(right)) => {
            duration(i64::try_from(left.as_nanosecond() - right.as_nanosecond()).ok())
        }
        _ => Err(EvalError::no_such_overload()),
    }
}
