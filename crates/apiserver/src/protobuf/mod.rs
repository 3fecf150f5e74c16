//! Request bodies in Kubernetes' protobuf encoding, turned into JSON values. Pure: bytes in, value out.
//!
//! kubectl's typed clients (`kubectl create namespace|secret|deployment|…`) and controllers written in Go send
//! `application/vnd.kubernetes.protobuf` and do not fall back to JSON. The value is the one that the same client would send as
//! JSON: the fields that Go's `omitempty` leaves out are left out. A field of a later release is skipped, as kube-apiserver
//! does. Answers are JSON, which these clients accept.

mod messages;
mod values;
mod wire;

use serde_json::{Map, Value, json};

use self::messages::{Id, MESSAGES, Place, Type};
use self::wire::{Payload, Reader};
use crate::schema;

/// The media type of this encoding.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting of messages that is read. A pod's deepest is 12; a schema in a CustomResourceDefinition may be deeper.
const MAX_DEPTH: usize = 64;

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The bytes are no message.
    #[error("the body of the request is not a Kubernetes protobuf message: {0}")]
    Malformed(&'static str),
    /// The bytes are something else; kube-apiserver's words.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// A kind that has no message: a custom resource, or none of this server's.
    #[error(
        "{0} has no protobuf encoding on this server: the body of the request was in an unknown format - accepted media \
         types include: application/json, application/yaml"
    )]
    Kind(String),
}

/// Reads a body: the object with its `apiVersion` and `kind`.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Error> {
    let (api_version, kind, raw) = unwrap(body)?;
    let message = message(api_version, kind).ok_or_else(|| Error::Kind(format!("{api_version}, Kind={kind}")))?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    read(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

/// `runtime.Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw}` after the magic number: version, kind and raw.
fn unwrap(body: &[u8]) -> Result<(&str, &str, &[u8]), Error> {
    let mut envelope = Reader::new(body.strip_prefix(MAGIC).ok_or(Error::Magic)?);
    let (mut api_version, mut kind, mut raw) = ("", "", &[][..]);
    while let Some((number, payload)) = envelope.next()? {
        match number {
            1 => {
                let mut type_meta = Reader::new(payload.bytes()?);
                while let Some((number, payload)) = type_meta.next()? {
                    match number {
                        1 => api_version = payload.text()?,
                        2 => kind = payload.text()?,
                        _ => {}
                    }
                }
            }
            2 => raw = payload.bytes()?,
            _ => {}
        }
    }
    Ok((api_version, kind, raw))
}

fn message(api_version: &str, kind: &str) -> Option<Id> {
    // Options travel in the version of the resource that they are for.
    let definition = if kind == "DeleteOptions" {
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
    } else {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        schema::definition_name(group, version, kind)?
    };
    MESSAGES.of_definition(definition)
}

/// Reads the fields of one message into `object`.
fn read(message: Id, bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Malformed("it is nested too deeply"));
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let Some(field) = MESSAGES.field(message, number) else { continue };
        let slot = &*field.name;
        match (field.place, field.of) {
            (Place::Inline, Type::Message(inlined)) => read(inlined, payload.bytes()?, object, depth + 1)?,
            (Place::Map, of) => {
                let (key, value) = entry(of, payload.bytes()?, depth)?;
                if let Value::Object(map) = object.entry(slot).or_insert_with(|| json!({})) {
                    map.insert(key, value);
                }
            }
            (Place::Repeated, of) => {
                let mut values = Vec::new();
                match (of, payload) {
                    (Type::Integer, Payload::Bytes(packed)) => {
                        let mut packed = Reader::new(packed);
                        while let Some(number) = packed.packed()? {
                            values.push(number.into());
                        }
                    }
                    (of, payload) => values.push(single(of, payload, depth)?),
                }
                if let Value::Array(list) = object.entry(slot).or_insert_with(|| json!([])) {
                    list.append(&mut values);
                }
            }
            (place, of) => {
                let value = single(of, payload, depth)?;
                let absent = value.is_null() || (place == Place::OmitEmpty && is_zero(&value));
                if !absent {
                    object.insert(slot.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn single(of: Type, payload: Payload<'_>, depth: usize) -> Result<Value, Error> {
    let object = |message: Id, bytes: &[u8]| {
        let mut object = Map::new();
        read(message, bytes, &mut object, depth + 1)?;
        Ok(Value::Object(object))
    };
    match of {
        Type::Text => Ok(payload.text()?.into()),
        Type::Integer => Ok(payload.integer()?.into()),
        Type::Boolean => Ok((payload.integer()? != 0).into()),
        Type::Double => values::double(payload.bytes()?),
        Type::Bytes => Ok(values::base64(payload.bytes()?)),
        Type::Time => values::time(payload.bytes()?),
        Type::MicroTime => values::micro_time(payload.bytes()?),
        Type::Quantity => values::quantity(payload.bytes()?),
        Type::IntOrString => values::int_or_string(payload.bytes()?),
        Type::Raw => values::raw(payload.bytes()?),
        Type::Texts => values::texts(payload.bytes()?, 1),
        Type::Message(message) => object(message, payload.bytes()?),
        Type::OrArray(message) => {
            let mut list = Vec::new();
            let mut reader = Reader::new(payload.bytes()?);
            while let Some((number, payload)) = reader.next()? {
                match number {
                    1 => return object(message, payload.bytes()?),
                    2 => list.push(object(message, payload.bytes()?)?),
                    _ => {}
                }
            }
            Ok(Value::Array(list))
        }
        Type::OrBoolean(message) => {
            let mut allows = false;
            let mut reader = Reader::new(payload.bytes()?);
            while let Some((number, payload)) = reader.next()? {
                match number {
                    1 => allows = payload.integer()? != 0,
                    2 => return object(message, payload.bytes()?),
                    _ => {}
                }
            }
            Ok(allows.into())
        }
        Type::OrTexts(message) => {
            let mut reader = Reader::new(payload.bytes()?);
            while let Some((number, payload)) = reader.next()? {
                if number == 1 {
                    return object(message, payload.bytes()?);
                }
            }
            values::texts(payload.bytes()?, 2)
        }
    }
}

/// One entry of a map: key 1, value 2.
fn entry(of: Type, bytes: &[u8], depth: usize) -> Result<(String, Value), Error> {
    let (mut key, mut value) = ("", Payload::Bytes(&[]));
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => key = payload.text()?,
            2 => value = payload,
            _ => {}
        }
    }
    Ok((key.to_owned(), single(of, value, depth)?))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
