//! The named formats of `format.named(…)` and `format.dns1123Label()`: Kubernetes' rules for names, and a few of OpenAPI.
//! Pure; linear in the length of the text.

use super::url;

/// A format: `format.dns1123Label()`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Its name in expressions.
    pub(super) name: &'static str,
    /// What is wrong with a text; nothing when it is right.
    pub(super) validate: fn(&str) -> Vec<String>,
    /// The length that Kubernetes supposes its regular expression to have; it decides what a validation costs.
    pub(super) max_regex_size: u64,
}

/// All formats.
pub(super) const FORMATS: [Format; 13] = [
    Format { name: "dns1123Label", validate: dns_label, max_regex_size: 30 },
    Format { name: "dns1123Subdomain", validate: dns_subdomain, max_regex_size: 60 },
    Format { name: "dns1035Label", validate: dns_1035_label, max_regex_size: 30 },
    Format { name: "qualifiedName", validate: qualified_name, max_regex_size: 60 },
    Format { name: "dns1123LabelPrefix", validate: |text| dns_label(&as_prefix(text)), max_regex_size: 30 },
    Format { name: "dns1123SubdomainPrefix", validate: |text| dns_subdomain(&as_prefix(text)), max_regex_size: 60 },
    Format { name: "dns1035LabelPrefix", validate: |text| dns_1035_label(&as_prefix(text)), max_regex_size: 30 },
    Format { name: "labelValue", validate: label_value, max_regex_size: 40 },
    Format {
        name: "uri",
        validate: |text| url::check_request_uri(text).err().into_iter().collect(),
        max_regex_size: 1120,
    },
    Format {
        name: "uuid",
        validate: |text| unless(is_uuid(text), "does not match the UUID format"),
        max_regex_size: 70,
    },
    Format { name: "byte", validate: |text| unless(is_base64(text), "invalid base64"), max_regex_size: 84 },
    Format { name: "date", validate: |text| unless(is_date(text), "invalid date"), max_regex_size: 71 },
    Format { name: "datetime", validate: |text| unless(is_datetime(text), "invalid datetime"), max_regex_size: 71 },
];

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
     end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
     must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
     character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
     '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
     character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
     validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// A prefix of names may end in a dash: the dash stands for what follows.
fn as_prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => text.to_owned(),
    }
}

fn unless(right: bool, message: &str) -> Vec<String> {
    if right { Vec::new() } else { vec![message.to_owned()] }
}

fn at_most(text: &str, most: usize, unit: &str) -> Vec<String> {
    unless(text.len() <= most, &format!("must be no more than {most} {unit}"))
}

fn both(mut left: Vec<String>, right: Vec<String>) -> Vec<String> {
    left.extend(right);
    left
}

/// Whether all letters are of `inner`, the first and the last of `outer` too.
fn framed(text: &str, outer: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) else { return false };
    outer(first) && outer(last) && text.bytes().all(|byte| outer(byte) || inner(byte))
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    framed(text, is_lower, |byte| byte == b'-')
}

fn is_word(text: &str) -> bool {
    framed(text, |byte| byte.is_ascii_alphanumeric(), |byte| b"-_.".contains(&byte))
}

/// `IsDNS1123Label`.
pub(super) fn dns_label(text: &str) -> Vec<String> {
    // What would do as a subdomain has only dots too many.
    let message = if text.split('.').all(is_label) { "must not contain dots" } else { LABEL };
    both(at_most(text, 63, "characters"), unless(is_label(text), message))
}

/// `IsDNS1123Subdomain`.
pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    both(at_most(text, 253, "characters"), unless(text.split('.').all(is_label), SUBDOMAIN))
}

fn dns_1035_label(text: &str) -> Vec<String> {
    let right = is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase());
    both(at_most(text, 63, "characters"), unless(right, LABEL_1035))
}

fn label_value(text: &str) -> Vec<String> {
    both(at_most(text, 63, "bytes"), unless(text.is_empty() || is_word(text), LABEL_VALUE))
}

fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            let example = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {QUALIFIED}{example}")];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut wrong = match prefix {
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => dns_subdomain(prefix).into_iter().map(|message| format!("prefix part {message}")).collect(),
        None => Vec::new(),
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else {
        wrong.extend(at_most(name, 63, "bytes").into_iter().map(|message| format!("name part {message}")));
    }
    if !is_word(name) {
        wrong.push(format!("name part {QUALIFIED}"));
    }
    wrong
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12, with or without dashes between them.
fn is_uuid(text: &str) -> bool {
    let mut rest = text.as_bytes();
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(length) else { return false };
        if !group.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Base64 with its padding, not empty.
fn is_base64(text: &str) -> bool {
    let data = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && data.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// RFC 3339's `full-date`.
fn is_date(text: &str) -> bool {
    let shaped = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    shaped && text.parse::<jiff::civil::Date>().is_ok()
}

/// A date, `T`, a time of day. What follows another `T` does not count.
fn is_datetime(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    is_date(date) && is_time(time)
}

/// `hh:mm:ss`, a fraction after any letter, `z` or an offset.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else { return false };
    let digits = clock
        .bytes()
        .enumerate()
        .all(|(at, byte)| if matches!(at, 2 | 5) { byte == b':' } else { byte.is_ascii_digit() });
    let in_range = clock.get(..2) <= Some("23") && clock.get(3..5) <= Some("59") && clock.get(6..) <= Some("59");
    digits && in_range && (is_zone(rest) || after_fraction(rest).is_some_and(is_zone))
}

fn after_fraction(text: &str) -> Option<&str> {
    let mut letters = text.chars();
    letters.next()?;
    let rest = letters.as_str().trim_start_matches(|digit: char| digit.is_ascii_digit());
    (rest.len() < letters.as_str().len()).then_some(rest)
}

fn is_zone(text: &str) -> bool {
    text == "z"
        || match text.as_bytes() {
            [b'+' | b'-', digits @ ..] => {
                matches!(digits, [a, b, b':', c, d] if [a, b, c, d].into_iter().all(u8::is_ascii_digit))
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, text: &str) -> Vec<String> {
        let format = FORMATS.iter().find(|known| known.name == format).unwrap();
        (format.validate)(text)
    }

    #[test]
    fn right_texts_have_no_errors() {
        for (format, text) in [
            ("dns1123Label", "my-label-name"),
            ("dns1123Subdomain", "apiextensions.k8s.io"),
            ("dns1035Label", "my-label-name"),
            ("qualifiedName", "apiextensions.k8s.io/v1beta1"),
            ("dns1123LabelPrefix", "my-label-prefix-"),
            ("dns1123SubdomainPrefix", "mysubdomain.prefix.a-"),
            ("dns1035LabelPrefix", "my-label-prefix-"),
            ("labelValue", ""),
            ("labelValue", "my_Value.1"),
            ("uri", "http://example.com"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
            ("uuid", "123E4567e89b12d3a456426614174000"),
            ("byte", "aGVsbG8="),
            ("date", "2021-01-01"),
            ("datetime", "2021-01-01T00:00:00Z"),
            ("datetime", "2021-01-01t00:00:00.123+02:00"),
        ] {
            assert_eq!(check(format, text), [""; 0], "{format} {text}");
        }
    }

    #[test]
    fn wrong_texts_have_kubernetes_errors() {
        for (format, text, error) in [
            ("dns1123Label", "contains.dots", "must not contain dots"),
            ("dns1123Label", "BAD", LABEL),
            ("dns1123Subdomain", "a..b", SUBDOMAIN),
            ("dns1035Label", "1a", LABEL_1035),
            ("dns1123LabelPrefix", "-", LABEL),
            ("labelValue", "a b", LABEL_VALUE),
            ("qualifiedName", "/a", "prefix part must be non-empty"),
            ("uri", "relative", r#"parse "relative": invalid URI for request"#),
            ("uuid", "123", "does not match the UUID format"),
            ("byte", "a", "invalid base64"),
            ("byte", "", "invalid base64"),
            ("date", "2021-02-30", "invalid date"),
            ("datetime", "2021-01-01", "invalid datetime"),
            ("datetime", "2021-01-01T24:00:00Z", "invalid datetime"),
        ] {
            assert_eq!(check(format, text).first().map(String::as_str), Some(error), "{format} {text}");
        }
    }

    #[test]
    fn length_and_form_are_both_told() {
        assert_eq!(check("dns1123Label", &"A".repeat(64)), ["must be no more than 63 characters", LABEL]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_checked_without_panic(text in "\\PC{0,40}") {
            for format in FORMATS {
                let _ = (format.validate)(&text);
            }
        }
    }
}
