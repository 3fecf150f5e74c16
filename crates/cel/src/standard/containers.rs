//! `size`, `in`, indexing, and the maps that two-variable comprehensions build.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Overload};
use crate::operators;
use crate::types::Type;
use crate::value::{Arguments, Key, Map, Value};

pub(super) fn functions() -> Vec<Function> {
    let (a, b) = (|| Type::param("A"), || Type::param("B"));
    let list = || Type::list(a());
    let map = || Type::map(a(), b());
    vec![
        Function::new(
            "size",
            vec![
                Overload::global("size_bytes", vec![Type::Bytes], Type::Int, size),
                Overload::member("bytes_size", vec![Type::Bytes], Type::Int, size),
                Overload::global("size_list", vec![list()], Type::Int, size),
                Overload::member("list_size", vec![list()], Type::Int, size),
                Overload::global("size_map", vec![map()], Type::Int, size),
                Overload::member("map_size", vec![map()], Type::Int, size),
                Overload::global("size_string", vec![Type::String], Type::Int, size),
                Overload::member("string_size", vec![Type::String], Type::Int, size),
            ],
        ),
        Function::new(
            operators::IN,
            vec![
                Overload::global("in_list", vec![a(), list()], Type::Bool, in_list),
                Overload::global("in_map", vec![a(), map()], Type::Bool, in_map),
            ],
        ),
        Function::new(
            operators::INDEX,
            vec![
                Overload::global("index_list", vec![list(), Type::Int], a(), index),
                Overload::global("index_map", vec![map(), a()], b(), index),
                Overload::global(
                    "optional_list_index_int",
                    vec![Type::optional(list()), Type::Int],
                    Type::optional(a()),
                    optional_index,
                ),
                Overload::global(
                    "optional_map_index_value",
                    vec![Type::optional(map()), a()],
                    Type::optional(b()),
                    optional_index,
                ),
            ],
        ),
        Function::new(
            operators::OPTIONAL_INDEX,
            vec![
                Overload::global(
                    "list_optindex_optional_int",
                    vec![list(), Type::Int],
                    Type::optional(a()),
                    optional_index,
                ),
                Overload::global(
                    "optional_list_optindex_optional_int",
                    vec![Type::optional(list()), Type::Int],
                    Type::optional(a()),
                    optional_index,
                ),
                Overload::global("map_optindex_optional_value", vec![map(), a()], Type::optional(b()), optional_index),
                Overload::global(
                    "optional_map_optindex_optional_value",
                    vec![Type::optional(map()), a()],
                    Type::optional(b()),
                    optional_index,
                ),
            ],
        ),
        Function::new(
            operators::MAP_INSERT,
            vec![
                Overload::global("@mapInsert_map_map", vec![map(), map()], map(), insert_entries),
                Overload::global("@mapInsert_map_key_value", vec![map(), a(), b()], map(), insert_entry),
            ],
        ),
    ]
}

/// Text counts code points.
fn size<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let size = match args.value(0)? {
        Value::String(text) => {
            budget.work(text.len() / 8)?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn in_list<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let wanted = args.value(0)?;
    for element in args.list(1)?.iter() {
        if element?.equals(wanted, budget)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn in_map<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(args.map(1)?.contains(args.value(0)?)))
}

fn index<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    at(args.value(0)?, args.value(1)?)
}

/// `container[key]`, of lists, maps and objects.
pub(crate) fn at<'a>(container: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match container {
        Value::List(list) => match position(key) {
            Some(position) => usize::try_from(position)
                .map_err(|_| EvalError::new(format!("index out of bounds: {position}")))
                .and_then(|position| list.get(position)),
            None => Err(EvalError::new(format!("unsupported index type '{}' in list", key.type_of().name()))),
        },
        Value::Map(map) => map.get(key)?.ok_or_else(|| EvalError::no_such_key(shown(key))),
        Value::Object(object) => match key {
            Value::String(name) => object.get(name)?.ok_or_else(|| EvalError::no_such_key(&**name)),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

/// A key as cel-go writes it in messages.
fn shown(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Double(number) => super::float(*number),
        other => other.type_of().name().to_owned(),
    }
}

/// The position that a number is; any numeric type that is whole.
fn position(key: &Value<'_>) -> Option<i64> {
    match (key, Key::of(key)?) {
        (Value::Bool(_), _) => None,
        (_, Key::Int(number)) => Some(number),
        (_, Key::Uint(_)) => Some(i64::MAX),
        _ => None,
    }
}

/// `container[?key]`: empty when there is no such element. An optional container is looked into.
pub(crate) fn optional_at<'a>(container: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, EvalError> {
    let container = match container {
        Value::Optional(None) => return Ok(Value::none()),
        Value::Optional(Some(inner)) => &**inner,
        other => other,
    };
    let found = match container {
        Value::List(list) => match position(key) {
            Some(position) => match usize::try_from(position) {
                Ok(position) if position < list.len() => Some(list.get(position)?),
                _ => None,
            },
            None => return Err(EvalError::no_such_overload()),
        },
        Value::Map(map) => map.get(key)?,
        Value::Object(object) => match key {
            Value::String(name) => object.get(name)?,
            _ => return Err(EvalError::no_such_overload()),
        },
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Optional(found.map(Into::into)))
}

fn optional_index<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    optional_at(args.value(0)?, args.value(1)?)
}

/// What an entry of a map takes in memory, about.
pub(crate) const ENTRY: usize = 3 * size_of::<Value<'static>>();
/// What an element of a list takes in memory.
pub(crate) const ELEMENT: usize = size_of::<Value<'static>>();

fn insert_entry<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut map = args.map(0)?.clone();
    budget.allocate((map.len() + 1) * ENTRY)?;
    insert(&mut map, args.value(1)?.clone(), args.value(2)?.clone())?;
    Ok(Value::Map(map))
}

fn insert_entries<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut map = args.map(0)?.clone();
    let more = args.map(1)?;
    budget.allocate((map.len() + more.len()) * ENTRY)?;
    for entry in more.iter() {
        let (key, value) = entry?;
        insert(&mut map, key, value)?;
    }
    Ok(Value::Map(map))
}

/// Adds an entry whose key must be new.
pub(crate) fn insert<'a>(map: &mut Map<'a>, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
    if map.contains(&key) {
        return Err(EvalError::new(format!("insert failed: key {} already exists", shown(&key))));
    }
    map.insert(key, value)
}
