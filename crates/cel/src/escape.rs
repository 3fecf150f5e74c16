//! Names of JSON properties in expressions: Kubernetes' escaping. Pure.

use crate::words::is_keyword;

/// The name by which an expression reaches the JSON property `property`: `a-b` is `a__dash__b`, `namespace` is
/// `__namespace__`. None when the property has no such name and cannot be reached.
pub fn escape_property(property: &str) -> Option<String> {
    if is_keyword(property) {
        return Some(format!("__{property}__"));
    }
    let mut escaped = String::with_capacity(property.len() + 8);
    let mut rest = property.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '_' if rest.peek() == Some(&'_') => {
                rest.next();
                escaped.push_str("__underscores__");
            }
            '.' => escaped.push_str("__dot__"),
            '-' => escaped.push_str("__dash__"),
            '/' => escaped.push_str("__slash__"),
            '_' | 'a'..='z' | 'A'..='Z' => escaped.push(letter),
            '0'..='9' if !escaped.is_empty() => escaped.push(letter),
            _ => return None,
        }
    }
    (!escaped.is_empty()).then_some(escaped)
}

/// The JSON property behind an escaped name: the reverse of [`escape_property`]. A name that escapes nothing is itself.
pub fn unescape_property(name: &str) -> String {
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && is_keyword(word)
    {
        return word.to_owned();
    }
    let mut property = String::with_capacity(name.len());
    let mut rest = name;
    'outer: while let Some(letter) = rest.chars().next() {
        for (escape, text) in [("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")] {
            if let Some(after) = rest.strip_prefix(escape) {
                property.push_str(text);
                rest = after;
                continue 'outer;
            }
        }
        property.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    property
}
