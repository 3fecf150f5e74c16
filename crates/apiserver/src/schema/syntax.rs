//! What Go's `encoding/json` says of text that is no JSON. Pure; one pass, memory in the depth of the text.

/// Where the scanner stands between two bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    KeyOrEnd,
    Key,
    /// After a value: what follows depends on what it lies in.
    Done,
}

/// What a value lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Key,
    Member,
    Element,
}

/// The first mistake in the text, as Go words it; `None` when the text is one JSON value.
pub(crate) fn mistake(text: &[u8]) -> Option<String> {
    let mut rest = text;
    let mut stack: Vec<Inside> = Vec::new();
    let mut state = State::Value;
    loop {
        rest = rest.trim_ascii_start();
        let Some((&byte, after)) = rest.split_first() else {
            return (state != State::Done || !stack.is_empty()).then(|| "unexpected end of JSON input".to_owned());
        };
        match (state, byte) {
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => {
                stack.pop();
                (rest, state) = (after, State::Done);
            }
            (State::KeyOrEnd | State::Key, b'"') => match scalar(rest) {
                Ok(end) => (rest, state) = (end, State::Done),
                Err(wrong) => return Some(wrong),
            },
            (State::KeyOrEnd | State::Key, _) => {
                return Some(invalid(byte, "looking for beginning of object key string"));
            }
            (State::Value | State::ValueOrEnd, b'{') => {
                stack.push(Inside::Key);
                (rest, state) = (after, State::KeyOrEnd);
            }
            (State::Value | State::ValueOrEnd, b'[') => {
                stack.push(Inside::Element);
                (rest, state) = (after, State::ValueOrEnd);
            }
            (State::Value | State::ValueOrEnd, _) => match scalar(rest) {
                Ok(end) => (rest, state) = (end, State::Done),
                Err(wrong) => return Some(wrong),
            },
            (State::Done, _) => {
                state = match (stack.last_mut(), byte) {
                    (Some(inside @ Inside::Key), b':') => {
                        *inside = Inside::Member;
                        State::Value
                    }
                    (Some(inside @ Inside::Member), b',') => {
                        *inside = Inside::Key;
                        State::Key
                    }
                    (Some(Inside::Element), b',') => State::Value,
                    (Some(Inside::Member), b'}') | (Some(Inside::Element), b']') => {
                        stack.pop();
                        State::Done
                    }
                    (None, _) => return Some(invalid(byte, "after top-level value")),
                    (Some(Inside::Key), _) => return Some(invalid(byte, "after object key")),
                    (Some(Inside::Member), _) => return Some(invalid(byte, "after object key:value pair")),
                    (Some(Inside::Element), _) => return Some(invalid(byte, "after array element")),
                };
                rest = after;
            }
        }
    }
}

/// What follows a string, number or literal.
fn scalar(text: &[u8]) -> Result<&[u8], String> {
    match text.first() {
        Some(b'"') => string(&text[1..]),
        Some(b'-' | b'0'..=b'9') => number(text),
        Some(b't') => literal(text, "true"),
        Some(b'f') => literal(text, "false"),
        Some(b'n') => literal(text, "null"),
        Some(&byte) => Err(invalid(byte, "looking for beginning of value")),
        None => Err("unexpected end of JSON input".to_owned()),
    }
}

/// Takes one byte that fits.
fn expect<'t>(text: &'t [u8], fits: impl Fn(u8) -> bool, context: &str) -> Result<&'t [u8], String> {
    match text.split_first() {
        Some((&byte, rest)) if fits(byte) => Ok(rest),
        Some((&byte, _)) => Err(invalid(byte, context)),
        None => Err("unexpected end of JSON input".to_owned()),
    }
}

fn literal<'t>(text: &'t [u8], word: &str) -> Result<&'t [u8], String> {
    word.bytes().try_fold(text, |rest, wanted| {
        let context = format!("in literal {word} (expecting {})", quoted(wanted));
        expect(rest, |byte| byte == wanted, &context)
    })
}

fn string(mut text: &[u8]) -> Result<&[u8], String> {
    loop {
        text = match text.split_first() {
            None => return Err("unexpected end of JSON input".to_owned()),
            Some((b'"', rest)) => return Ok(rest),
            Some((b'\\', [b'u', rest @ ..])) => (0..4).try_fold(rest, |rest, _| {
                expect(rest, |byte| byte.is_ascii_hexdigit(), "in \\u hexadecimal character escape")
            })?,
            Some((b'\\', rest)) => expect(rest, |byte| br#"bfnrt\/""#.contains(&byte), "in string escape code")?,
            Some((&byte, _)) if byte < b' ' => return Err(invalid(byte, "in string literal")),
            Some((_, rest)) => rest,
        };
    }
}

fn number(text: &[u8]) -> Result<&[u8], String> {
    let digits = |text: &'_ [u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let first = expect(text, |byte| byte.is_ascii_digit(), "in numeric literal")?;
    let mut rest = if text.first() == Some(&b'0') { first } else { &text[digits(text)..] };
    if let Some(after) = rest.strip_prefix(b".") {
        expect(after, |byte| byte.is_ascii_digit(), "after decimal point in numeric literal")?;
        rest = &after[digits(after)..];
    }
    if let Some(after) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let after = after.strip_prefix(b"+").or_else(|| after.strip_prefix(b"-")).unwrap_or(after);
        expect(after, |byte| byte.is_ascii_digit(), "in exponent of numeric literal")?;
        rest = &after[digits(after)..];
    }
    Ok(rest)
}

fn invalid(byte: u8, context: &str) -> String {
    format!("invalid character {} {context}", quoted(byte))
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let text = crate::field::go_quote(char::from(byte).encode_utf8(&mut [0; 4]));
            format!("'{}'", &text[1..text.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mistake;

    #[test]
    fn mistakes_are_worded_as_go_words_them() {
        for (text, wrong) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("\"a", "unexpected end of JSON input"),
            ("nope", "invalid character 'o' in literal null (expecting 'u')"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{x", "invalid character 'x' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+", "unexpected end of JSON input"),
            ("01", "invalid character '1' after top-level value"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
        ] {
            assert_eq!(mistake(text.as_bytes()).as_deref(), Some(wrong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_serde_reads_has_no_mistake(text in "[\\[\\]{}:,\" a1\\\\.e+-]{0,12}") {
            let read = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(mistake(text.as_bytes()).is_none(), read, "{}", text);
        }
    }
}
