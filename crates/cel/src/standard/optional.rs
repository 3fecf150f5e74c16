//! Values that may be absent: `optional.of`, `orValue`, …

use std::sync::Arc;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Overload};
use crate::types::Type;
use crate::value::{Arguments, Value};

pub(super) fn functions() -> Vec<Function> {
    let value = || Type::param("V");
    let optional = || Type::optional(value());
    vec![
        Function::new("optional.of", vec![Overload::global("optional_of", vec![value()], optional(), of)]),
        Function::new(
            "optional.ofNonZeroValue",
            vec![Overload::global("optional_ofNonZeroValue", vec![value()], optional(), of_non_zero)],
        ),
        Function::new(
            "optional.none",
            vec![Overload::global("optional_none", vec![], optional(), |_, _| Ok(Value::none()))],
        ),
        Function::new(
            "optional.unwrap",
            vec![Overload::global("optional_unwrap", vec![Type::list(optional())], Type::list(value()), unwrap)],
        ),
        Function::new(
            "unwrapOpt",
            vec![Overload::member("optional_unwrapOpt", vec![Type::list(optional())], Type::list(value()), unwrap)],
        ),
        Function::new(
            "hasValue",
            vec![Overload::member("optional_hasValue", vec![optional()], Type::Bool, |_, args| {
                Ok(Value::Bool(inner(args, 0)?.is_some()))
            })],
        ),
        Function::new(
            "value",
            vec![Overload::member("optional_value", vec![optional()], value(), |_, args| {
                inner(args, 0)?
                    .map(|value| (**value).clone())
                    .ok_or_else(|| EvalError::new("optional.none() dereference"))
            })],
        ),
        Function::new(
            "or",
            vec![Overload::member("optional_or_optional", vec![optional(), optional()], optional(), |_, args| {
                args.value(if inner(args, 0)?.is_some() { 0 } else { 1 }).cloned()
            })],
        ),
        Function::new(
            "orValue",
            vec![Overload::member(
                "optional_orValue_value",
                vec![optional(), value()],
                value(),
                |_, args| match inner(args, 0)? {
                    Some(value) => Ok((**value).clone()),
                    None => args.value(1).cloned(),
                },
            )],
        ),
        Function::new(
            "first",
            vec![Overload::member("list_first", vec![Type::list(value())], optional(), |_, args| {
                let list = args.list(0)?;
                if list.is_empty() { Ok(Value::none()) } else { list.get(0).map(Value::some) }
            })],
        ),
        Function::new(
            "last",
            vec![Overload::member("list_last", vec![Type::list(value())], optional(), |_, args| {
                let list = args.list(0)?;
                match list.len().checked_sub(1) {
                    Some(last) => list.get(last).map(Value::some),
                    None => Ok(Value::none()),
                }
            })],
        ),
    ]
}

fn inner<'v, 'a>(args: &'v [Value<'a>], index: usize) -> Result<Option<&'v Arc<Value<'a>>>, EvalError> {
    match args.value(index)? {
        Value::Optional(inner) => Ok(inner.as_ref()),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn of<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::some(args.value(0)?.clone()))
}

fn of_non_zero<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let value = args.value(0)?;
    let zero = match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Optional(None) => true,
        Value::Double(number) => *number == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Duration(span) => span.nanos == 0,
        Value::Object(object) => object.json().is_some_and(serde_json::Map::is_empty),
        _ => false,
    };
    Ok(if zero { Value::none() } else { Value::some(value.clone()) })
}

/// The values of a list of optionals, without those that are absent.
fn unwrap<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let list = args.list(0)?;
    budget.allocate(list.len() * size_of::<Value<'_>>())?;
    let mut elements = Vec::new();
    for element in list.iter() {
        match element? {
            Value::Optional(Some(value)) => elements.push((*value).clone()),
            Value::Optional(None) => {}
            _ => return Err(EvalError::no_such_overload()),
        }
    }
    Ok(Value::list(elements))
}
