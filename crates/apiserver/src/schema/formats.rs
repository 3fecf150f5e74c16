//! `format` in custom resources: those that kube-apiserver knows, as `k8s.io/kube-openapi/pkg/validation/strfmt` checks
//! them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::quantity;

/// Formats of strings, without dashes.
const OF_STRINGS: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "quantity",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Whether the format of a string is known; its dashes say nothing.
pub(crate) fn is_known(format: &str) -> bool {
    OF_STRINGS.contains(&format.replace('-', "").as_str())
}

/// Whether a format means anything for a type; no type is as a string. What does not is ignored, with a warning when the
/// definition is written.
pub(crate) fn is_supported(type_: &str, format: &str) -> bool {
    match type_ {
        "" | "string" => is_known(format),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

/// Whether `text` is of the format. Unknown formats take any text.
pub(crate) fn matches(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "datetime" => date_time(text),
        "date" => date(text),
        "ipv4" => text.contains('.') && text.parse::<IpAddr>().is_ok(),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => mac(text),
        "uri" => uri(text),
        "email" => email(text),
        "byte" => byte(text),
        "uuid" => uuid(text, None, false),
        "uuid3" => uuid(text, Some(b'3'), false),
        "uuid4" => uuid(text, Some(b'4'), true),
        "uuid5" => uuid(text, Some(b'5'), true),
        "duration" => duration(text),
        "hostname" => hostname(text),
        "hexcolor" => {
            let hex = text.strip_prefix('#').unwrap_or(text);
            matches!(hex.len(), 3 | 6) && hex.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "rgbcolor" => rgb(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "quantity" => quantity::canonical(text).is_ok(),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "creditcard" => credit_card(text),
        "ssn" => ssn(text),
        "k8sshortname" => kube_label(text, 63),
        "k8slongname" => text.len() <= 253 && text.split('.').all(|label| kube_label(label, 253)),
        _ => true,
    }
}

fn digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|b| b.is_ascii_digit())
}

fn date(text: &str) -> bool {
    text.len() == 10 && text.is_ascii() && text.parse::<jiff::civil::Date>().is_ok()
}

/// A date, `T`, a time of day and an offset; a fraction may follow any one character.
fn date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((day, time)) = lower.split_once('t') else { return false };
    let (Some(clock), Some(rest)) = (time.get(..8), time.get(8..)) else { return false };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return false };
    let clock = [*hour, *minute, *second].iter().all(|part| digits(part, 2))
        && *hour <= "23"
        && *minute <= "59"
        && *second <= "59";
    let zone = |text: &str| {
        text == "z"
            || text
                .strip_prefix(['+', '-'])
                .and_then(|zone| zone.split_once(':'))
                .is_some_and(|(hours, minutes)| digits(hours, 2) && digits(minutes, 2))
    };
    let fraction = rest.chars().next().and_then(|mark| {
        let rest = &rest[mark.len_utf8()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (end > 0).then(|| &rest[end..])
    });
    date(day) && clock && (zone(rest) || fraction.is_some_and(zone))
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}

/// Go's `net.ParseMAC`: 6, 8 or 20 bytes, in pairs or in fours with dots.
fn mac(text: &str) -> bool {
    let hex = |part: &&str, size: usize| part.len() == size && part.bytes().all(|b| b.is_ascii_hexdigit());
    let split = |mark: char, size: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(mark).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, size))
    };
    split(':', 2, [6, 8, 20]) || split('-', 2, [6, 8, 20]) || split('.', 4, [3, 4, 10])
}

/// Go's `url.ParseRequestURI`: absolute, or a path from the root.
fn uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    let scheme = text.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    let rest = match scheme {
        Some((_, rest)) => rest,
        None if text.starts_with('/') => text,
        None => return false,
    };
    // An authority has no spaces and, after the last colon, a port.
    if let Some(authority) = rest.strip_prefix("//").filter(|_| scheme.is_some()) {
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        let host = authority[..end].rsplit_once('@').map_or(&authority[..end], |(_, host)| host);
        let port = if host.starts_with('[') {
            match host.split_once(']') {
                Some((_, port)) => port,
                None => return false,
            }
        } else {
            host.find(':').map_or("", |at| &host[at..])
        };
        let port =
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
        if !port || host.contains([' ', '<', '>', '"', '^', '`', '{', '}', '|', '\\']) {
            return false;
        }
    }
    // Every `%` starts an escape.
    rest.split('%')
        .skip(1)
        .all(|after| after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

/// An address, or a name and an address in `<…>`.
fn email(text: &str) -> bool {
    let address = text.trim().rsplit_once('<').map_or(Some(text.trim()), |(_, rest)| rest.strip_suffix('>'));
    let Some((user, host)) = address.and_then(|address| address.rsplit_once('@')) else { return false };
    let word = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii())
    };
    let quoted = user.len() > 1 && user.starts_with('"') && user.ends_with('"');
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    (quoted || user.split('.').all(word))
        && literal.map_or_else(|| host.split('.').all(word), |ip| ip.parse::<Ipv4Addr>().is_ok())
}

/// Base64 of at least one byte, padded.
fn byte(text: &str) -> bool {
    use base64::Engine as _;
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn uuid(text: &str, version: Option<u8>, variant: bool) -> bool {
    // Each dash may be left out.
    let mut rest = text;
    for (i, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let (Some(part), Some(left)) = (rest.get(..length), rest.get(length..)) else { return false };
        let first = part.as_bytes().first().map(u8::to_ascii_lowercase);
        let wrong_version = i == 2 && version.is_some() && first != version;
        let wrong_variant = i == 3 && variant && !matches!(first, Some(b'8' | b'9' | b'a' | b'b'));
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) || wrong_version || wrong_variant {
            return false;
        }
        rest = left;
    }
    rest.is_empty()
}

/// Go durations (`1h2m`), or a text in which a number and a unit of time occur (`3 days`).
fn duration(text: &str) -> bool {
    go_duration(text) || worded_duration(text)
}

fn go_duration(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if number.bytes().filter(|&b| b == b'.').count() > 1 || !number.bytes().any(|b| b.is_ascii_digit()) {
            return false;
        }
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        if !matches!(&after[..unit], "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        rest = &after[unit..];
    }
    !text.is_empty()
}

fn worded_duration(text: &str) -> bool {
    const EXACT: &[&str] = &["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w"];
    const BEGIN: &[&str] = &["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
        let after = rest.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(after.len());
        let unit = after[..end].to_lowercase();
        if EXACT.contains(&unit.as_str()) || BEGIN.iter().any(|name| unit.starts_with(name)) {
            return true;
        }
    }
    false
}

/// A label, or labels with dots; letters and symbols of any script.
fn hostname(text: &str) -> bool {
    let fits = |c: char| {
        c.is_ascii_alphanumeric() || "$+<=>^`|~".contains(c) || !c.is_ascii() && !c.is_whitespace() && !c.is_control()
    };
    if text.len() > 255 || text.split('.').any(|label| label.len() > 63) {
        return false;
    }
    let Some((heads, last)) = text.rsplit_once('.') else {
        let mut chars = text.chars();
        let first = chars.next().is_some_and(fits);
        let rest = chars.as_str();
        return first && rest.strip_prefix('-').unwrap_or(rest).chars().all(fits);
    };
    let head =
        |label: &str| label.starts_with(fits) && label.ends_with(fits) && label.chars().all(|c| fits(c) || c == '-');
    heads.split('.').all(head) && head(last) && !last.contains("--") && last.chars().count() > 1
}

fn rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok_and(|value| value.to_string() == *part))
    })
}

/// The characters of a number that is written in groups.
fn ungrouped(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn isbn10(text: &str) -> bool {
    let plain = ungrouped(text);
    let (Some(head), Some(last)) = (plain.get(..9), plain.get(9..)) else { return false };
    if !digits(head, 9) {
        return false;
    }
    let sum: u32 = (1..).zip(head.bytes()).map(|(i, b)| i * u32::from(b - b'0')).sum();
    match last {
        "X" => (sum + 100).is_multiple_of(11),
        digit if digits(digit, 1) => digit.parse::<u32>().is_ok_and(|digit| (sum + 10 * digit).is_multiple_of(11)),
        _ => false,
    }
}

fn isbn13(text: &str) -> bool {
    let plain = ungrouped(text);
    digits(&plain, 13) && {
        let weights = [1, 3].into_iter().cycle();
        let sum: u32 = weights.zip(plain.bytes()).map(|(weight, b)| weight * u32::from(b - b'0')).sum();
        sum.is_multiple_of(10)
    }
}

/// Numbers of the large issuers whose check digit is right.
fn credit_card(text: &str) -> bool {
    let plain: String = text.chars().filter(char::is_ascii_digit).collect();
    let issued = match plain.as_bytes() {
        [b'4', ..] => matches!(plain.len(), 13 | 16),
        [b'5', b'1'..=b'5', ..] => plain.len() == 16,
        [b'6', b'0', b'1', b'1', ..] | [b'6', b'5', ..] => plain.len() == 16,
        [b'3', b'4' | b'7', ..] => plain.len() == 15,
        [b'3', b'0', b'0'..=b'5', ..] | [b'3', b'6' | b'8', ..] => plain.len() == 14,
        [b'2', b'1', b'3', b'1', ..] | [b'1', b'8', b'0', b'0', ..] => plain.len() == 15,
        [b'3', b'5', ..] => plain.len() == 16,
        _ => false,
    };
    let sum: u32 = plain
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    issued && sum.is_multiple_of(10)
}

fn ssn(text: &str) -> bool {
    let mut rest = text;
    for (i, length) in [3, 2, 4].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(['-', ' ']).unwrap_or(rest);
        }
        match (rest.get(..length), rest.get(length..)) {
            (Some(part), Some(left)) if digits(part, length) => rest = left,
            _ => return false,
        }
    }
    rest.is_empty() && text.len() == 11
}

/// Lower-case letters, digits and dashes, with no dash at either end.
fn kube_label(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::{is_supported, matches};

    #[test]
    fn formats_take_what_they_name() {
        for (format, good, bad) in [
            ("date-time", "2026-01-01T00:00:00Z", "yesterday"),
            ("date-time", "2026-01-01t23:59:59.5+02:00", "2026-01-01T24:00:00Z"),
            ("datetime", "2026-01-01T00:00:00Z", "2026-01-01"),
            ("date", "2026-01-01", "2026-13-01"),
            ("ipv4", "1.2.3.4", "1.2.3"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:00:5e:00:53:01", "00:00:5e"),
            ("mac", "0000.5e00.5301", "0000.5e00"),
            ("uri", "https://a:80/b?c", "a b"),
            ("uri", "/a", "https://a:x/"),
            ("email", "a@b.c", "x"),
            ("email", "A <a@b.c>", "a@b@c"),
            ("byte", "YQ==", "*"),
            ("byte", "YWJj", ""),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "x"),
            ("uuid4", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
            ("duration", "1h2m", "x"),
            ("duration", "3 days", "3 dogs"),
            ("hostname", "a.bc", "-a"),
            ("hexcolor", "#fff", "#ff"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1,2,256)"),
            ("quantity", "10Gi", "10Xi"),
            ("isbn", "0321751043", "0321751044"),
            ("isbn13", "978-0321751041", "978-0321751042"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "111-22-3333", "11-22-3333"),
            ("k8s-short-name", "my-name", "My"),
            ("k8s-long-name", "a.b-c", "a..b"),
        ] {
            assert!(matches(format, good), "{format} {good}");
            assert!(!matches(format, bad), "{format} {bad}");
        }
        assert!(matches("whatever", "anything"));
    }

    #[test]
    fn a_format_means_something_for_its_type_only() {
        assert!(is_supported("string", "date-time"));
        assert!(is_supported("integer", "int32"));
        assert!(!is_supported("string", "int32"));
        assert!(!is_supported("object", "date"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(
            text in ".{0,40}", format in "date-time|duration|uuid|uri|email|mac|hostname|isbn|creditcard|ssn|rgbcolor"
        ) {
            let _ = matches(&format, &text);
        }
    }
}
