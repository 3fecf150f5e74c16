//! Reading a request body: bytes and media type → value, with the duplicate keys and the order of the fields that strict
//! decoding reports. Pure.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most strict decoding errors that are reported; kube-apiserver's limit.
pub(crate) const MAX_REPORTED: usize = 100;
/// Deepest nesting that is read; `serde_json` has the same bound.
pub(crate) const MAX_DEPTH: usize = 128;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml` and `application/apply-patch+yaml`.
    Yaml,
}

/// A body that was read.
#[derive(Debug)]
pub struct Body {
    /// The last of several equal keys wins.
    pub value: Value,
    /// Paths of keys that occur again, in the order of the text. For YAML the parser's whole message.
    pub duplicates: Vec<String>,
}

/// Stack of the thread that reads YAML: the reader takes up to 30 KB for each level of nesting, so [`MAX_DEPTH`] levels do
/// not fit into the 2 MiB of a usual thread. Only what is used is ever backed by memory.
const YAML_STACK: usize = 32 << 20;

/// YAML of more than this is read beside the thread that serves the request.
pub(crate) const LONG_YAML: usize = 256 * 1024;

/// Most events of a YAML text that its aliases may repeat. yaml.v2, which kube-apiserver reads with, refuses a text of which more than 99 %
/// come from aliases, and less of one with more than 400,000 events; four bytes are taken for each event that is no alias's.
fn repeated_events(bytes: usize) -> usize {
    bytes.saturating_mul(25).clamp(1000, 400_000)
}

/// As [`parse`] reads YAML, for async callers: a long text keeps no other request waiting.
///
/// # Errors
/// The reader's message.
pub(crate) async fn parse_yaml(bytes: &bytes::Bytes) -> Result<Body, String> {
    if bytes.len() <= LONG_YAML {
        return parse(bytes, Format::Yaml);
    }
    let bytes = bytes.clone();
    let reading = tokio::task::spawn_blocking(move || parse(&bytes, Format::Yaml));
    reading.await.unwrap_or_else(|_| Err("yaml: the reader failed".to_owned()))
}

/// Reads a body. Nesting is bounded, YAML aliases and node counts too.
///
/// # Errors
/// The reader's message.
pub fn parse(bytes: &[u8], format: Format) -> Result<Body, String> {
    match format {
        Format::Json => {
            let mut seen = Seen::default();
            let value = json(bytes, &mut seen).map_err(|e| e.to_string())?;
            Ok(Body { value, duplicates: seen.duplicates })
        }
        Format::Yaml => {
            // Most clients of apply send JSON, which is YAML.
            let mut seen = Seen::default();
            if let Ok(value) = json(bytes, &mut seen)
                && seen.duplicates.is_empty()
            {
                return Ok(Body { value, duplicates: Vec::new() });
            }
            std::thread::scope(|scope| {
                let reader = std::thread::Builder::new().name("yaml".to_owned()).stack_size(YAML_STACK);
                let reading = reader.spawn_scoped(scope, || yaml(bytes)).map_err(|e| format!("yaml: {e}"))?;
                reading.join().unwrap_or_else(|_| Err("yaml: the reader failed".to_owned()))
            })
        }
    }
}

/// Reads JSON; the paths of repeated keys come second.
///
/// # Errors
/// The reader's.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut seen = Seen::default();
    let value = json(bytes, &mut seen)?;
    Ok((value, seen.duplicates))
}

/// Where each path first occurs in a JSON text. Only asked for when several errors must be put in order.
pub(crate) fn order(bytes: &[u8]) -> HashMap<String, usize> {
    let mut seen = Seen { order: Some(HashMap::new()), ..Seen::default() };
    let _ = json(bytes, &mut seen);
    seen.order.unwrap_or_default()
}

/// The text of a member of a JSON object, as it was written; the last of equal ones. The object is well formed.
pub(crate) fn member<'b>(object: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let (mut depth, mut text_from, mut value_from) = (0_usize, None, None);
    let (mut key, mut found): (&[u8], _) = (&[], None);
    let mut escaped = false;
    for (at, byte) in object.iter().enumerate() {
        if let Some(from) = text_from {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    text_from = None;
                    if depth == 1 && value_from.is_none() {
                        key = &object[from..at];
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => text_from = Some(at + 1),
            b':' if depth == 1 => value_from = Some(at + 1),
            b',' | b'}' if depth == 1 => {
                let value = value_from.take().map(|from| object[from..at].trim_ascii());
                found = value.filter(|_| key == name.as_bytes()).or(found);
                depth -= usize::from(*byte == b'}');
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    found
}

fn json(bytes: &[u8], seen: &mut Seen) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reader(seen).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn yaml(bytes: &[u8]) -> Result<Body, String> {
    use serde_saphyr::options::DuplicateKeyPolicy::{Error, LastWins};
    let text = std::str::from_utf8(bytes).map_err(|e| format!("yaml: {e}"))?;
    let read = |duplicate_keys| {
        let budget = serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_nodes: 500_000,
            max_aliases: 1000,
            // What aliases come to is bounded; many of one anchor are no harm, and kube-apiserver takes them.
            enforce_alias_anchor_ratio: false,
        };
        let aliases = serde_saphyr::alias_limits! { max_total_replayed_events: repeated_events(bytes.len()) };
        let options = serde_saphyr::options! {
            budget: budget,
            alias_limits: aliases,
            duplicate_keys: duplicate_keys,
            legacy_octal_numbers: true,
            strict_booleans: false,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options::<Option<Plain>>(text, options)
            .map(|value| value.map_or(Value::Null, |plain| plain.0))
    };
    match read(Error) {
        Ok(value) => Ok(Body { value, duplicates: Vec::new() }),
        Err(error) if !is_repeated_key(&error) => Err(format!("error converting YAML to JSON: yaml: {error}")),
        Err(error) => match read(LastWins) {
            // Only repeated keys distinguish the two.
            Ok(value) => {
                let line = error.location().map_or(0, |at| at.line());
                let message = format!("yaml: unmarshal errors:\n  line {line}: {error}");
                Ok(Body { value, duplicates: vec![message] })
            }
            Err(error) => Err(format!("error converting YAML to JSON: yaml: {error}")),
        },
    }
}

/// Whether a key that comes again is what is wrong.
fn is_repeated_key(mut error: &serde_saphyr::Error) -> bool {
    use serde_saphyr::Error::{AliasError, DuplicateMappingKey, WithSnippet};
    while let AliasError { error: inner, .. } | WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    matches!(error, DuplicateMappingKey { .. })
}

/// A value read without looking at duplicates.
struct Plain(Value);

impl<'de> serde::Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Reader(&mut Seen::default()).deserialize(from).map(Plain)
    }
}

#[derive(Default)]
struct Seen {
    path: String,
    duplicates: Vec<String>,
    order: Option<HashMap<String, usize>>,
}

struct Reader<'a>(&'a mut Seen);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

/// A key as text: YAML also has keys that are numbers and booleans.
struct Key(String);

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Key)
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
    fn visit_none<E>(self) -> Result<Value, E> {
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
        while let Some(Key(key)) = from.next_key::<Key>()? {
            if length > 0 {
                self.0.path.push('.');
            }
            self.0.path.push_str(&key);
            if out.contains_key(&key) && self.0.duplicates.len() < MAX_REPORTED {
                self.0.duplicates.push(self.0.path.clone());
            }
            if let Some(order) = &mut self.0.order {
                let position = order.len();
                order.entry(self.0.path.clone()).or_insert(position);
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
    use super::*;
    use serde_json::json;

    fn yaml_value(text: &str) -> Value {
        parse(text.as_bytes(), Format::Yaml).unwrap().value
    }

    #[test]
    fn a_member_is_found_as_it_was_written() {
        let text = br#" {"a\"":1, "b": {"data": [1, 2]}, "data" : { "x": "}" } ,"c":[{"data":2}]}"#;
        assert_eq!(member(text, "data"), Some(br#"{ "x": "}" }"#.as_slice()));
        assert_eq!(member(text, "c"), Some(br#"[{"data":2}]"#.as_slice()));
        assert_eq!(member(br#"{"data":1,"data":2}"#, "data"), Some(b"2".as_slice()));
        assert_eq!(member(b"{}", "data"), None);
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_is_reported() {
        let body = parse(br#"{"a":{"b":1,"b":2},"l":[{"c":1,"c":1}]}"#, Format::Json).unwrap();
        assert_eq!(body.value, json!({"a": {"b": 2}, "l": [{"c": 1}]}));
        assert_eq!(body.duplicates, ["a.b", "l[0].c"]);
    }

    #[test]
    fn a_repeated_yaml_key_is_reported_and_the_last_wins() {
        let body = parse(b"a: 1\na: 2\n", Format::Yaml).unwrap();
        assert_eq!(body.value, json!({"a": 2}));
        assert_eq!(body.duplicates.len(), 1);
    }

    #[test]
    fn yaml_scalars_are_those_of_yaml_1_1() {
        assert_eq!(
            yaml_value(
                "a: yes\nb: \"yes\"\nc: 0644\nd: ~\ne:\nf: 1.5\ng: 12\nh: 2001-01-01\ni: null\nj: abc\nk: on\n1: x\n"
            ),
            json!({"a": true, "b": "yes", "c": 420, "d": null, "e": null, "f": 1.5, "g": 12, "h": "2001-01-01",
                   "i": null, "j": "abc", "k": true, "1": "x"})
        );
    }

    #[test]
    fn an_empty_yaml_body_is_null() {
        assert_eq!(yaml_value(""), Value::Null);
    }

    #[test]
    fn a_yaml_bomb_is_refused_before_it_is_much_larger_than_its_text() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        let refused = parse(bomb.as_bytes(), Format::Yaml).unwrap_err();
        let bound = repeated_events(bomb.len());
        assert!(bound < 12_000 && refused.contains(&bound.to_string()), "{bound}: {refused}");
    }

    #[test]
    fn a_template_that_is_used_many_times_is_no_bomb() {
        let template =
            "template: &t {containers: [{name: c, image: i, args: [a, b, c, d], env: [{name: A, value: b}]}]}\n";
        let text = format!("{template}used: [{}]\n", vec!["*t"; 100].join(","));
        let value = yaml_value(&text);
        assert_eq!(value["used"][99], value["template"]);
    }

    #[tokio::test]
    async fn long_yaml_is_read_like_short_yaml() {
        let text = format!("a: {}\na: 2\n", "x".repeat(LONG_YAML));
        let body = parse_yaml(&text.into()).await.unwrap();
        assert_eq!((body.value, body.duplicates.len()), (json!({"a": 2}), 1));
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(parse("[".repeat(100_000).as_bytes(), Format::Json).is_err());
        for level in ["[", "{a: ", "{\"a\":", "- ", "? ", "!!map {a: ", "&a [{"] {
            assert!(parse(level.repeat(100_000).as_bytes(), Format::Yaml).is_err(), "{level}");
        }
    }

    #[test]
    fn yaml_as_deep_as_json_is_read() {
        let text = format!("{}1", "- ".repeat(MAX_DEPTH - 2));
        assert!(parse(text.as_bytes(), Format::Yaml).is_ok());
    }

    #[test]
    fn text_after_the_value_is_an_error() {
        assert!(parse(b"{} {}", Format::Json).is_err());
    }
}
