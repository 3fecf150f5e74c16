//! Messages that are no objects in JSON: times, quantities, numbers or texts, JSON in bytes. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Error;
use super::wire::Reader;

pub(super) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// Little-endian. A whole number has no fraction in JSON.
pub(super) fn double(bytes: &[u8]) -> Result<Value, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Malformed("a double is not eight bytes long"))?;
    let number = f64::from_le_bytes(bytes);
    let whole = number.to_string();
    match whole.parse::<i64>() {
        Ok(whole) => Ok(whole.into()),
        Err(_) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or(Error::Malformed("a double is not a finite number")),
    }
}

/// `Quantity{1: text}`.
pub(super) fn quantity(bytes: &[u8]) -> Result<Value, Error> {
    let mut text = "";
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        if number == 1 {
            text = payload.text()?;
        }
    }
    Ok(text.into())
}

/// `Time{1: seconds, 2: nanoseconds}`: the nanoseconds are not looked at. An empty message is the zero time: null.
pub(super) fn time(bytes: &[u8]) -> Result<Value, Error> {
    Ok(timestamp(bytes)?.map_or(Value::Null, |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()))
}

/// As [`time`], with microseconds.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Value, Error> {
    Ok(timestamp(bytes)?.map_or(Value::Null, |time| time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into()))
}

fn timestamp(bytes: &[u8]) -> Result<Option<jiff::Timestamp>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => seconds = payload.integer()?,
            2 => nanoseconds = payload.integer()?,
            _ => {}
        }
    }
    let out_of_range = || Error::Malformed("a time is out of range");
    let nanoseconds = u32::try_from(nanoseconds).ok().filter(|n| *n < 1_000_000_000).ok_or_else(out_of_range)?;
    jiff::Timestamp::new(seconds, nanoseconds.cast_signed()).map(Some).map_err(|_| out_of_range())
}

/// `IntOrString{1: type, 2: integer, 3: text}`; type 1 is a text.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut integer, mut text) = (false, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match number {
            1 => is_text = payload.integer()? == 1,
            2 => integer = payload.integer()?,
            3 => text = payload.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { integer.into() })
}

/// `RawExtension`, `FieldsV1` and `JSON`: `{1: bytes}`. Nothing is null.
pub(super) fn raw(bytes: &[u8]) -> Result<Value, Error> {
    let mut raw = &[][..];
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        if number == 1 {
            raw = payload.bytes()?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw).map_err(|_| Error::Malformed("an embedded value is not JSON"))
}

/// The texts in one field of a message.
pub(super) fn texts(bytes: &[u8], field: u32) -> Result<Value, Error> {
    let mut list = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        if number == field {
            list.push(payload.text()?.into());
        }
    }
    Ok(Value::Array(list))
}
