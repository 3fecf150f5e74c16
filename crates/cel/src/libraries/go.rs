//! How Go writes things in the error texts that the libraries repeat. Pure.

use std::fmt::Write;

/// Go's `strconv.Quote`, which is also `%q` of a string.
pub(super) fn quote(text: &str) -> String {
    quoted(text, quote_rare)
}

/// In quotation marks, with Go's short escapes; `rest` writes what is neither one of them nor printable ASCII.
pub(super) fn quoted(text: &str, rest: impl Fn(char, &mut String)) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            ' '..='~' => quoted.push(letter),
            _ => rest(letter, &mut quoted),
        }
    }
    quoted.push('"');
    quoted
}

fn quote_rare(letter: char, quoted: &mut String) {
    let code = u32::from(letter);
    // Writing to a string cannot fail.
    let _ = if code < 0x20 || code == 0x7f {
        write!(quoted, "\\x{code:02x}")
    } else if letter.is_control()
        || (letter.is_whitespace() && letter != ' ')
        || matches!(code, 0xad | 0x200b..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xd800..=0xf8ff | 0xfeff | 0xfff0..=0xfffb)
    {
        match code {
            0..=0xffff => write!(quoted, "\\u{code:04x}"),
            _ => write!(quoted, "\\U{code:08x}"),
        }
    } else {
        quoted.push(letter);
        Ok(())
    };
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(quote("a\"b\\c"), r#""a\"b\\c""#);
    }

    #[test]
    fn control_characters_have_their_short_or_hex_form() {
        assert_eq!(quote("\n\t\u{1}\u{7f}"), r#""\n\t\x01\x7f""#);
    }

    #[test]
    fn printable_unicode_stays() {
        assert_eq!(quote("Æ世"), "\"Æ世\"");
    }

    #[test]
    fn unprintable_unicode_is_a_code() {
        assert_eq!(quote("\u{200b}\u{85}"), r#""\u200b\u0085""#);
    }
}
