//! Reading a patch's body: JSON into a value, with the duplicate keys that strict field validation reports. Pure.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most duplicate keys that are reported; kube-apiserver's limit.
const MAX_REPORTED: usize = 100;

/// Reads JSON. The last of several equal keys wins; each repeated one is returned as `duplicate field "a.b"`.
/// Nesting is bounded by `serde_json` (128 levels).
pub(super) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut seen = Seen { path: String::new(), duplicates: Vec::new() };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reader(&mut seen).deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, seen.duplicates))
}

struct Seen {
    path: String,
    duplicates: Vec<String>,
}

struct Reader<'a>(&'a mut Seen);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        let length = self.0.path.len();
        loop {
            self.0.path.push_str(&format!("[{}]", out.len()));
            let next = from.next_element_seed(Reader(self.0));
            self.0.path.truncate(length);
            match next? {
                Some(value) => out.push(value),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        let length = self.0.path.len();
        while let Some(key) = from.next_key::<String>()? {
            if key.len() > 1 << 20 {
                return Err(A::Error::custom("key too long"));
            }
            if length > 0 {
                self.0.path.push('.');
            }
            self.0.path.push_str(&key);
            if out.contains_key(&key) && self.0.duplicates.len() < MAX_REPORTED {
                self.0.duplicates.push(format!("duplicate field {:?}", self.0.path));
            }
            let value = from.next_value_seed(Reader(self.0));
            self.0.path.truncate(length);
            out.insert(key, value?);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn the_last_of_equal_keys_wins_and_is_reported() {
        let (value, duplicates) = parse(br#"{"a":{"b":1,"b":2},"l":[{"c":1,"c":1}]}"#).unwrap();
        assert_eq!(value, json!({"a": {"b": 2}, "l": [{"c": 1}]}));
        assert_eq!(duplicates, [r#"duplicate field "a.b""#, r#"duplicate field "l[0].c""#]);
    }

    #[test]
    fn trailing_text_is_an_error() {
        assert!(parse(b"{} {}").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
