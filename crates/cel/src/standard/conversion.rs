//! Conversions: `int()`, `string()`, `timestamp()`, `type()`, `dyn()`, … with Go's forms.

use std::sync::Arc;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Implementation, Overload};
use crate::types::Type;
use crate::value::{Arguments, Duration, Text, Timestamp, Value};

pub(super) fn functions() -> Vec<Function> {
    use Type::{Bool, Bytes, Double, Int, String, Uint};
    let of = |name, result: &Type, overloads: &[(&'static str, Type)], call: Implementation| {
        let overloads =
            overloads.iter().map(|(id, from)| Overload::global(id, vec![from.clone()], result.clone(), call)).collect();
        Function::new(name, overloads)
    };
    vec![
        Function::new(
            "type",
            vec![Overload::global("type", vec![Type::param("A")], Type::type_of(Type::param("A")), |_, args| {
                Ok(Value::Type(args.value(0)?.type_of()))
            })],
        ),
        Function::new("dyn", vec![Overload::global("to_dyn", vec![Type::param("A")], Type::Dyn, same)]),
        of("bool", &Bool, &[("bool_to_bool", Bool), ("string_to_bool", String)], to_bool),
        of("bytes", &Bytes, &[("bytes_to_bytes", Bytes), ("string_to_bytes", String)], to_bytes),
        of(
            "double",
            &Double,
            &[
                ("double_to_double", Double),
                ("int64_to_double", Int),
                ("string_to_double", String),
                ("uint64_to_double", Uint),
            ],
            to_double,
        ),
        of(
            "duration",
            &Type::Duration,
            &[("duration_to_duration", Type::Duration), ("int64_to_duration", Int), ("string_to_duration", String)],
            to_duration,
        ),
        of(
            "int",
            &Int,
            &[
                ("int64_to_int64", Int),
                ("double_to_int64", Double),
                ("duration_to_int64", Type::Duration),
                ("string_to_int64", String),
                ("timestamp_to_int64", Type::Timestamp),
                ("uint64_to_int64", Uint),
            ],
            to_int,
        ),
        of(
            "string",
            &String,
            &[
                ("string_to_string", String),
                ("bool_to_string", Bool),
                ("bytes_to_string", Bytes),
                ("double_to_string", Double),
                ("duration_to_string", Type::Duration),
                ("int64_to_string", Int),
                ("timestamp_to_string", Type::Timestamp),
                ("uint64_to_string", Uint),
            ],
            to_string,
        ),
        of(
            "timestamp",
            &Type::Timestamp,
            &[
                ("timestamp_to_timestamp", Type::Timestamp),
                ("int64_to_timestamp", Int),
                ("string_to_timestamp", String),
            ],
            to_timestamp,
        ),
        of(
            "uint",
            &Uint,
            &[
                ("uint64_to_uint64", Uint),
                ("double_to_uint64", Double),
                ("int64_to_uint64", Int),
                ("string_to_uint64", String),
            ],
            to_uint,
        ),
    ]
}

fn same<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    args.value(0).cloned()
}

fn failed(from: &Value<'_>, to: &Type) -> EvalError {
    EvalError::new(format!("type conversion error from '{}' to '{}'", from.type_of().name(), to.name()))
}

fn to_bool<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    let Value::String(text) = value else { return Ok(value.clone()) };
    match &**text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
        _ => Err(failed(value, &Type::Bool)),
    }
}

fn to_bytes<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    let Value::String(text) = value else { return Ok(value.clone()) };
    budget.allocate(text.len())?;
    Ok(Value::Bytes(text.as_bytes().into()))
}

fn to_double<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    Ok(Value::Double(match value {
        Value::Double(number) => *number,
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::String(text) => parse_double(text).ok_or_else(|| failed(value, &Type::Double))?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

/// Go's `ParseFloat`: what overflows is an error, but infinity has a name.
fn parse_double(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() || !text.contains(|letter: char| letter.is_ascii_digit())).then_some(number)
}

fn to_duration<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    Ok(Value::Duration(match value {
        Value::Duration(span) => *span,
        Value::Int(nanos) => Duration { nanos: *nanos },
        Value::String(text) => duration(text)?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

/// A duration in Go's form.
pub(crate) fn duration(text: &str) -> Result<Duration, EvalError> {
    Duration::parse(text).ok_or_else(|| failed(&Value::from(text), &Type::Duration))
}

fn to_int<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    let overflow = || EvalError::new("integer overflow");
    Ok(Value::Int(match value {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).map_err(|_| overflow())?,
        // The bounds themselves are out: a double cannot tell them from what is beyond.
        Value::Double(number) if *number > i64::MIN as f64 && *number < i64::MAX as f64 => *number as i64,
        Value::Double(_) => return Err(overflow()),
        Value::Duration(span) => span.nanos,
        Value::Timestamp(time) => time.as_second(),
        Value::String(text) => text.parse().map_err(|_| failed(value, &Type::Int))?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_uint<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    let overflow = || EvalError::new("unsigned integer overflow");
    Ok(Value::Uint(match value {
        Value::Uint(number) => *number,
        Value::Int(number) => u64::try_from(*number).map_err(|_| overflow())?,
        Value::Double(number) if *number >= 0.0 && *number < u64::MAX as f64 => *number as u64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) if text.starts_with('+') => return Err(failed(value, &Type::Uint)),
        Value::String(text) => text.parse().map_err(|_| failed(value, &Type::Uint))?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_string<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    Ok(Value::from(match value {
        Value::String(_) => return Ok(value.clone()),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => float(*number),
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(span) => span.to_string(),
        Value::Bytes(bytes) => {
            budget.allocate(bytes.len())?;
            let text = std::str::from_utf8(bytes)
                .map_err(|_| EvalError::new("invalid UTF-8 in bytes, cannot convert to string"))?;
            return Ok(Value::String(Text::Shared(Arc::from(text))));
        }
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_timestamp<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    let overflow = || EvalError::new("timestamp overflow");
    Ok(Value::Timestamp(match value {
        Value::Timestamp(time) => *time,
        Value::Int(seconds) => Timestamp::from_second(*seconds).ok_or_else(overflow)?,
        Value::String(text) => timestamp(text)?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

/// A time in RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, EvalError> {
    let time = Timestamp::parse(text).ok_or_else(|| failed(&Value::from(text), &Type::Timestamp))?;
    time.ok_or_else(|| EvalError::new("timestamp overflow"))
}

/// A double in Go's `%g`.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    number.to_string()
}
