//! Request bodies in Kubernetes' protobuf encoding, turned into JSON values. Pure: bytes in, value out.
//!
//! kubectl's typed clients (`kubectl create namespace|secret|deployment|…`) send `application/vnd.kubernetes.protobuf` and do
//! not fall back to JSON. The table `messages.txt` knows the messages that they send. A message or field that it does not know
//! is an error by name: nothing is dropped silently.

mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use self::wire::{Payload, Reader};

/// The media type of this encoding.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
const MAX_DEPTH: usize = 32;

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The bytes are no message.
    #[error("the body is not in the Kubernetes protobuf encoding: {0}")]
    Malformed(&'static str),
    /// A kind that the table does not have.
    #[error("{0} is not supported in the protobuf encoding; send it as JSON")]
    Kind(String),
    /// A field that the table does not have.
    #[error("field {number} of {message} is not supported in the protobuf encoding; send it as JSON")]
    Field { message: String, number: u32 },
}

/// Reads a body: the object with its `apiVersion` and `kind`.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Error> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::Malformed("it does not start with k8s"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(envelope);
    while let Some((number, payload)) = reader.next()? {
        match (number, payload) {
            (1, Payload::Bytes(type_meta)) => {
                let mut reader = Reader::new(type_meta);
                while let Some((number, payload)) = reader.next()? {
                    match number {
                        1 => api_version = payload.text()?.to_owned(),
                        2 => kind = payload.text()?.to_owned(),
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = format!("{api_version}/{kind}");
    // Options travel in the version of the resource that they are for.
    let message = if kind == "DeleteOptions" { "v1/DeleteOptions" } else { &name };
    let fields = MESSAGES.get(message).ok_or_else(|| Error::Kind(name.clone()))?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::String(api_version));
    object.insert("kind".to_owned(), Value::String(kind));
    read(message, fields, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Integer,
    Boolean,
    Bytes,
    Time,
    Quantity,
    IntOrString,
    Map,
    MapOfBytes,
    MapOfQuantities,
    Message(&'static str),
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Absent when empty or zero.
    Plain,
    /// Kept when empty or zero.
    Pointer,
    Repeated,
    /// Its fields belong to the parent.
    Inline,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    of: Type,
    place: Place,
}

type Fields = BTreeMap<u32, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let lines = include_str!("messages.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, rest)| (name, rest.split(", ").filter_map(field).collect()))
        .collect()
});

fn field(text: &'static str) -> Option<(u32, Field)> {
    let mut words = text.split(' ');
    let (number, name, of) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let (of, place) = match (of.strip_prefix("[]"), of.strip_suffix('*'), of.strip_prefix('<')) {
        (Some(of), _, _) => (of, Place::Repeated),
        (_, Some(of), _) => (of, Place::Pointer),
        (_, _, Some(of)) => (of, Place::Inline),
        _ => (of, Place::Plain),
    };
    let of = match of {
        "s" => Type::Text,
        "i" => Type::Integer,
        "b" => Type::Boolean,
        "y" => Type::Bytes,
        "T" => Type::Time,
        "Q" => Type::Quantity,
        "O" => Type::IntOrString,
        "m" => Type::Map,
        "mb" => Type::MapOfBytes,
        "mQ" => Type::MapOfQuantities,
        "-" => Type::Nothing,
        message => Type::Message(message),
    };
    Some((number, Field { name, of, place }))
}

/// Reads the fields of one message into `object`.
fn read(
    message: &str,
    fields: &Fields,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Malformed("it is nested too deeply"));
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let field = fields.get(&number).ok_or_else(|| Error::Field { message: message.to_owned(), number })?;
        let slot = field.name;
        match (field.of, field.place) {
            (Type::Nothing, _) => {}
            (Type::Map | Type::MapOfBytes | Type::MapOfQuantities, _) => {
                let (key, value) = entry(field.of, payload.bytes()?)?;
                if let Value::Object(map) = object.entry(slot).or_insert_with(|| json!({})) {
                    map.insert(key, value);
                }
            }
            (Type::Message(name), Place::Inline) => {
                let fields = MESSAGES.get(name).ok_or_else(|| Error::Kind(name.to_owned()))?;
                read(name, fields, payload.bytes()?, object, depth + 1)?;
            }
            (of, Place::Repeated) => {
                let value = single(of, payload, depth)?;
                if let Value::Array(list) = object.entry(slot).or_insert_with(|| json!([])) {
                    list.push(value);
                }
            }
            (of, place) => {
                let value = single(of, payload, depth)?;
                if place == Place::Pointer || !is_empty(&value) {
                    object.insert(slot.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn single(of: Type, payload: Payload<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match of {
        Type::Text => Value::from(payload.text()?),
        Type::Integer => Value::from(payload.integer()?),
        Type::Boolean => Value::from(payload.integer()? != 0),
        Type::Bytes => Value::from(STANDARD.encode(payload.bytes()?)),
        Type::Quantity => Value::from(quantity(payload.bytes()?)?),
        Type::Time => time(payload.bytes()?)?,
        Type::IntOrString => int_or_string(payload.bytes()?)?,
        Type::Message(name) => {
            let fields = MESSAGES.get(name).ok_or_else(|| Error::Kind(name.to_owned()))?;
            let mut object = Map::new();
            read(name, fields, payload.bytes()?, &mut object, depth + 1)?;
            Value::Object(object)
        }
        Type::Map | Type::MapOfBytes | Type::MapOfQuantities | Type::Nothing => Value::Null,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Array(_) => false,
    }
}

/// One entry of a map: key 1, value 2.
fn entry(of: Type, bytes: &[u8]) -> Result<(String, Value), Error> {
    let (mut key, mut value) = (String::new(), &[][..]);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => key = payload.text()?.to_owned(),
            2 => value = payload.bytes()?,
            _ => {}
        }
    }
    let value = match of {
        Type::MapOfBytes => Value::from(STANDARD.encode(value)),
        Type::MapOfQuantities => Value::from(quantity(value)?),
        _ => Value::from(Payload::Bytes(value).text()?),
    };
    Ok((key, value))
}

/// `Quantity{1: string}`
fn quantity(bytes: &[u8]) -> Result<String, Error> {
    let mut text = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        if number == 1 {
            text = payload.text()?.to_owned();
        }
    }
    Ok(text)
}

/// `Time{1: seconds, 2: nanos}`; without seconds it is the zero time, which JSON writes as null.
fn time(bytes: &[u8]) -> Result<Value, Error> {
    let mut seconds = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        if number == 1 {
            seconds = Some(payload.integer()?);
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| Error::Malformed("a time is out of range"))?;
    Ok(Value::from(time.to_string()))
}

/// `IntOrString{1: type, 2: integer, 3: string}`; type 1 is a string.
fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number_value, mut text) = (false, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => is_text = payload.integer()? == 1,
            2 => number_value = payload.integer()?,
            3 => text = payload.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(if is_text { Value::from(text) } else { Value::from(number_value) })
}

#[cfg(test)]
mod tests;
