//! Field errors, worded as Kubernetes' `k8s.io/apimachinery/pkg/util/validation/field` words them: people and clients read
//! these texts, and the recorded exchanges compare them.

use serde_json::Value;

/// What is wrong with a field. The first text is the cause's `reason`, the second starts its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The field must be set.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is not one of a fixed list.
    NotSupported,
    /// The value occurs twice where it may occur once.
    Duplicate,
    /// The value may not be set here.
    Forbidden,
    /// What the value names does not exist.
    NotFound,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// Wrong JSON type.
    TypeInvalid,
    /// The server failed to check.
    Internal,
}

impl Kind {
    /// `reason` of a `StatusCause`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One wrong field: where, what, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: Kind,
    /// Path as Kubernetes prints it: `spec.containers[0].name`, `data[key]`.
    pub field: String,
    /// The cause's message, without the field.
    pub message: String,
}

impl FieldError {
    /// `Required value[: detail]`.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::with(Kind::Required, field, None, detail)
    }
    /// `Invalid value: VALUE: detail`.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::with(Kind::Invalid, field, Some(go_value(value)), detail)
    }
    /// `Unsupported value: VALUE: supported values: "A", "B"`, in the order given.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list = supported.iter().map(|s| go_quote(s)).collect::<Vec<_>>().join(", ");
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {list}") };
        Self::with(Kind::NotSupported, field, Some(go_value(value)), &detail)
    }
    /// `Duplicate value: VALUE`.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::with(Kind::Duplicate, field, Some(go_value(value)), "")
    }
    /// `Forbidden: detail`.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::with(Kind::Forbidden, field, None, detail)
    }
    /// `Not found: VALUE`.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::with(Kind::NotFound, field, Some(go_value(value)), "")
    }
    /// `Too long: may not be more than MAX bytes`.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::with(Kind::TooLong, field, None, &format!("may not be more than {max} bytes"))
    }
    /// `Too many: ACTUAL: must have at most MAX items`.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        Self::with(Kind::TooMany, field, Some(actual.to_string()), &format!("must have at most {max} items"))
    }
    /// `Internal error: detail`.
    pub fn internal(field: impl Into<String>, detail: &str) -> Self {
        Self::with(Kind::Internal, field, None, detail)
    }
    /// Any other shape: the value is printed as given.
    pub fn with(kind: Kind, field: impl Into<String>, value: Option<String>, detail: &str) -> Self {
        let mut message = kind.text().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&value);
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self { kind, field: field.into(), message }
    }
}

/// A value as Go's `field.Error` prints it: strings by `%q`, numbers and booleans bare, anything else as `json.Marshal`
/// writes it.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        Value::Number(number) if number.is_f64() => go_float(number.as_f64().unwrap_or_default()),
        other => go_json(other),
    }
}

/// Go's `%q`.
pub fn go_quote(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            // Writing to a String cannot fail.
            c if c.is_ascii() => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) < 0x1_0000 => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => _ = write!(out, "\\U{:08x}", u32::from(c)),
        }
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(crate) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // Rust escapes what is not printable and, at the start of a text only, marks.
    let mut text = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

/// Go's `json.Marshal`: compact, keys of maps sorted, `<`, `>`, `&` and the two line separators escaped.
pub fn go_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_json_text(text, out),
        Value::Number(number) if number.is_f64() => out.push_str(&json_float(number.as_f64().unwrap_or_default())),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (at, (key, value)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_json_text(key, out);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_json_text(text: &str, out: &mut String) {
    for c in Value::from(text).to_string().chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
}

/// `%v` of a float64.
fn go_float(number: f64) -> String {
    shortest(number, 1e-4, 1e21, true)
}

/// A float64 in `json.Marshal`.
fn json_float(number: f64) -> String {
    shortest(number, 1e-6, 1e21, false)
}

/// The shortest digits that read back; with an exponent outside of `least..most`, of two digits at least when `padded`.
fn shortest(number: f64, least: f64, most: f64, padded: bool) -> String {
    if number == 0.0 || (least..most).contains(&number.abs()) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    let width = if padded { 2 } else { 1 };
    format!("{digits}e{sign}{exponent:0>width$}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_quoted_as_go_quotes() {
        for (text, quoted) in [
            ("a\"b\\", r#""a\"b\\""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\u{0}\u{1b}\u{7f}", r#""\x00\x1b\x7f""#),
            ("é日e\u{301}😀'", "\"é日e\u{301}😀'\""),
            ("\u{a0}\u{200b}\u{feff}\u{2028}", r#""\u00a0\u200b\ufeff\u2028""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(go_quote(text), quoted);
        }
    }

    #[test]
    fn composites_are_printed_as_go_marshals() {
        let value = json!({"b": [1, 1.5, null, true], "a": "<x> & \u{2028}\n"});
        assert_eq!(go_value(&value), r#"{"a":"\u003cx\u003e \u0026 \u2028\n","b":[1,1.5,null,true]}"#);
    }

    #[test]
    fn floats_have_gos_exponents() {
        let printed = [0.5, 1.0, 1e20, 1e21, 1.5e-5, -2e-7].map(|f| (go_value(&json!(f)), go_json(&json!(f))));
        let expected = [
            ("0.5", "0.5"),
            ("1", "1"),
            ("100000000000000000000", "100000000000000000000"),
            ("1e+21", "1e+21"),
            ("1.5e-05", "0.000015"),
            ("-2e-07", "-2e-7"),
        ];
        for ((value, json), (bare, inside)) in printed.iter().zip(expected) {
            assert_eq!((value.as_str(), json.as_str()), (bare, inside));
        }
    }
}
