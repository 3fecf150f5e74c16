//! Swagger 2.0 in protobuf (`gnostic.openapi.v2.Document`): kubectl reads `/openapi/v2` in no other form. Pure.
//!
//! Only what clients look at is written: definitions with their types, descriptions and Kubernetes' extensions.

use serde_json::{Map, Value};

use crate::schema::body::MAX_DEPTH;

/// The media type that clients ask for.
pub(crate) const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The document as protobuf. `swagger` is the JSON document.
pub(crate) fn document(swagger: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &swagger["swagger"]);
    out.message(2, |info| {
        info.text(1, &swagger["info"]["title"]);
        info.text(2, &swagger["info"]["version"]);
    });
    out.message(8, |_| {});
    out.message(9, |definitions| named(definitions, swagger["definitions"].as_object(), 0));
    out.0
}

/// The answer's media type: what clients ask for has an `@`, which no `Content-Type` may hold.
pub(crate) const CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A `NamedSchema` per entry, in field 1.
fn named(out: &mut Message, schemas: Option<&Map<String, Value>>, depth: usize) {
    for (name, node) in schemas.into_iter().flatten() {
        out.message(1, |entry| {
            entry.bytes(1, name.as_bytes());
            entry.message(2, |out| schema(out, node, depth + 1));
        });
    }
}

fn schema(out: &mut Message, node: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    for (field, key) in [(1, "$ref"), (2, "format"), (4, "description"), (13, "pattern")] {
        out.text(field, &node[key]);
    }
    if let Some(default) = node.get("default") {
        out.message(5, |any| any.bytes(2, default.to_string().as_bytes()));
    }
    for required in node["required"].as_array().into_iter().flatten() {
        out.text(19, required);
    }
    for allowed in node["enum"].as_array().into_iter().flatten() {
        out.message(20, |any| any.bytes(2, allowed.to_string().as_bytes()));
    }
    match &node["additionalProperties"] {
        Value::Bool(allowed) => out.message(21, |item| item.number(2, u64::from(*allowed))),
        Value::Object(_) => {
            out.message(21, |item| item.message(1, |out| schema(out, &node["additionalProperties"], depth + 1)));
        }
        _ => {}
    }
    match &node["type"] {
        type_ @ Value::String(_) => out.message(22, |item| item.text(1, type_)),
        // Swagger 2 has no alternatives: quantities and the like are published as strings.
        _ if node["oneOf"].is_array() => out.message(22, |item| item.bytes(1, b"string")),
        _ => {}
    }
    if node["items"].is_object() {
        out.message(23, |item| item.message(1, |out| schema(out, &node["items"], depth + 1)));
    }
    if let Some(properties) = node["properties"].as_object() {
        out.message(25, |out| named(out, Some(properties), depth));
    }
    for (name, value) in node.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        out.message(31, |extension| {
            extension.bytes(1, name.as_bytes());
            extension.message(2, |any| any.bytes(2, value.to_string().as_bytes()));
        });
    }
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A text field, left out when it is absent.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_messages_are_length_delimited() {
        let mut out = Message::default();
        out.message(2, |inner| inner.bytes(1, b"ab"));
        assert_eq!(out.0, [0x12, 4, 0x0a, 2, b'a', b'b']);
    }

    #[test]
    fn long_fields_have_long_lengths() {
        let mut out = Message::default();
        out.bytes(31, &[0; 300]);
        assert_eq!(&out.0[..4], [0xfa, 0x01, 0xac, 0x02]);
    }

    #[test]
    fn a_definition_is_written_with_its_type() {
        let bytes = document(&json!({"swagger": "2.0", "definitions": {"a": {"type": "string"}}}));
        // definitions → NamedSchema {name, value} → TypeItem: each inside the next, with its length.
        let expected = [0x4a, 18, 0x0a, 16, 0x0a, 1, b'a', 0x12, 11, 0xb2, 0x01, 8, 0x0a, 6];
        assert!(bytes.windows(expected.len()).any(|w| w == expected), "{bytes:?}");
    }
}
