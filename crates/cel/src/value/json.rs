//! JSON → value by its declared type, value → JSON.

use base64::Engine;
use serde_json::{Number, Value as Json};

use super::{Duration, List, Map, Object, Text, Timestamp, Value};
use crate::error::EvalError;
use crate::types::{ListKind, ListType, MapType, Type};

/// How deep a value may be nested to become JSON.
const MAX_DEPTH: usize = 512;

impl<'a> Value<'a> {
    /// The value that JSON of a declared type is. Objects, lists and maps are read later, part by part.
    ///
    /// `null` is always the null value. `dyn` takes JSON as it is: whole numbers are `int`, others `double`.
    pub fn from_json(json: &'a Json, ty: &Type) -> Result<Self, EvalError> {
        let expected = |what: &str| EvalError::new(format!("invalid data, expected {what}, got {}", go_type(json)));
        Ok(match (ty, json) {
            (_, Json::Null) => Self::Null,
            (Type::Object(object), Json::Object(fields)) => Self::Object(Object::from_json(fields, object.clone())),
            (Type::Map(map), Json::Object(entries)) => Self::Map(Map::from_json(entries, map.clone())),
            (Type::List(list), Json::Array(elements)) => Self::List(List::from_json(elements, list.clone())),
            (Type::Object(_), _) => {
                return Err(EvalError::new("invalid data, expected a map for the provided schema with type=object"));
            }
            (Type::Map(_), _) => {
                return Err(EvalError::new("invalid data, expected a map for the provided schema with type=object"));
            }
            (Type::List(_), _) => {
                return Err(EvalError::new("invalid data, expected an array for the provided schema with type=array"));
            }
            (Type::Bool, Json::Bool(truth)) => Self::Bool(*truth),
            (Type::Bool, _) => return Err(expected("bool")),
            (Type::Int, Json::Number(number)) => Self::Int(whole(number).ok_or_else(|| expected("int"))?),
            (Type::Int, _) => return Err(expected("int")),
            (Type::Uint, Json::Number(number)) => Self::Uint(number.as_u64().ok_or_else(|| expected("uint"))?),
            (Type::Uint, _) => return Err(expected("uint")),
            (Type::Double, Json::Number(number)) => Self::Double(number.as_f64().ok_or_else(|| expected("float"))?),
            (Type::Double, _) => return Err(expected("float")),
            (Type::String, Json::String(text)) => Self::String(Text::Borrowed(text)),
            (Type::Bytes, Json::String(text)) => Self::Bytes(
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|error| EvalError::new(format!("Invalid byte formatted string {text}: {error}")))?
                    .into(),
            ),
            (Type::Timestamp, Json::String(text)) => Self::Timestamp(
                timestamp(text).ok_or_else(|| EvalError::new(format!("Invalid date-time formatted string {text}")))?,
            ),
            (Type::Duration, Json::String(text)) => {
                Self::Duration(Duration::parse(text).ok_or_else(|| EvalError::new(format!("Invalid duration {text}")))?)
            }
            (Type::String | Type::Bytes | Type::Timestamp | Type::Duration, _) => return Err(expected("string")),
            (Type::Optional(of), _) => Self::from_json(json, of)?,
            (
                Type::Dyn | Type::Null | Type::Type(_) | Type::Opaque(_) | Type::Param(_) | Type::Error,
                Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_),
            ) => Self::from(json),
        })
    }

    /// The value as JSON: `timestamp` as RFC 3339, `duration` as seconds with an `s`, `bytes` as base64; an empty optional is
    /// `null`. Errors: types and opaque values, map keys that are not strings, infinite numbers, nesting that is too deep.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        self.to_json_within(MAX_DEPTH)
    }

    fn to_json_within(&self, depth: usize) -> Result<Json, EvalError> {
        let Some(depth) = depth.checked_sub(1) else { return Err(EvalError::new("value is nested too deep")) };
        Ok(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Bool(truth) => Json::Bool(*truth),
            Self::Int(number) => Json::Number((*number).into()),
            Self::Uint(number) => Json::Number((*number).into()),
            Self::Double(number) => Json::Number(
                Number::from_f64(*number).ok_or_else(|| EvalError::new(format!("unsupported value: {number}")))?,
            ),
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
            Self::Timestamp(time) => Json::String(time.to_string()),
            Self::Duration(span) => Json::String(span.to_string()),
            Self::Optional(Some(value)) => value.to_json_within(depth)?,
            Self::List(list) => {
                Json::Array(list.iter().map(|element| element?.to_json_within(depth)).collect::<Result<_, _>>()?)
            }
            Self::Map(map) => {
                let mut object = serde_json::Map::new();
                for entry in map.iter() {
                    let (Self::String(key), value) = entry? else {
                        return Err(EvalError::new("JSON only supports string keys"));
                    };
                    object.insert(key.to_string(), value.to_json_within(depth)?);
                }
                Json::Object(object)
            }
            Self::Object(object) => object.to_json(|value| value.to_json_within(depth))?,
            Self::Type(_) | Self::Opaque(_) => {
                return Err(EvalError::new(format!("type conversion error from '{}' to JSON", self.type_of())));
            }
        })
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    /// JSON without a declared type.
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(elements) => {
                Self::List(List::from_json(elements, ListType { element: Type::Dyn, kind: ListKind::Atomic }.into()))
            }
            Json::Object(entries) => {
                Self::Map(Map::from_json(entries, MapType { key: Type::String, value: Type::Dyn }.into()))
            }
        }
    }
}

/// The whole number that a JSON number is.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 9_223_372_036_854_775_808.0)
            .map(|float| float as i64)
    })
}

/// RFC 3339, or a full date.
fn timestamp(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).flatten().or_else(|| Timestamp::parse_date(text))
}

/// What Go calls the type of decoded JSON.
fn go_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}
