//! Names, labels and the other lexical rules of `k8s.io/apimachinery/pkg/util/validation`, with its texts.
//!
//! Each rule returns what is wrong with a value, nothing when it is right.

use crate::resource::NameRule;

/// RFC 1123 label: what it must be, as the texts say it.
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with \
     an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
     and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
     and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
     '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
     character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
     and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  \
     or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// `first`, then any of `inner`, then `last`; one byte must be both `first` and `last`.
fn shaped(value: &str, first: fn(u8) -> bool, inner: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    match value.as_bytes() {
        [] => false,
        [one] => first(*one) && last(*one),
        [head, middle @ .., tail] => first(*head) && middle.iter().all(|b| inner(*b)) && last(*tail),
    }
}

fn is_label(value: &str) -> bool {
    shaped(value, lower_alnum, |b| lower_alnum(b) || b == b'-', lower_alnum)
}

fn is_qualified_part(value: &str) -> bool {
    shaped(
        value,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
        |b| b.is_ascii_alphanumeric(),
    )
}

fn at_most(value: &str, max: usize, unit: &str) -> Option<String> {
    (value.len() > max).then(|| format!("must be no more than {max} {unit}"))
}

fn all<const N: usize>(wrong: [Option<String>; N]) -> Vec<String> {
    wrong.into_iter().flatten().collect()
}

fn unless(right: bool, text: &str) -> Option<String> {
    (!right).then(|| text.to_owned())
}

/// `IsDNS1123Label`.
pub(crate) fn dns_label(value: &str) -> Vec<String> {
    // A name that would do as a subdomain can only have dots too many.
    let text = if value.split('.').all(is_label) { "must not contain dots" } else { LABEL };
    all([at_most(value, 63, "characters"), unless(is_label(value), text)])
}

/// `IsDNS1123Subdomain`.
pub(crate) fn dns_subdomain(value: &str) -> Vec<String> {
    all([at_most(value, 253, "characters"), unless(value.split('.').all(is_label), SUBDOMAIN)])
}

/// `IsDNS1035Label`.
pub(crate) fn dns_1035_label(value: &str) -> Vec<String> {
    let right = shaped(value, |b| b.is_ascii_lowercase(), |b| lower_alnum(b) || b == b'-', lower_alnum);
    all([at_most(value, 63, "characters"), unless(right, LABEL_1035)])
}

/// `IsWildcardDNS1123Subdomain`.
pub(crate) fn wildcard_subdomain(value: &str) -> Vec<String> {
    let right = value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label));
    all([
        at_most(value, 253, "characters"),
        unless(
            right,
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', \
             regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
    ])
}

/// `path.IsValidPathSegmentName`; only the first of the two fixed names is reported, then every bad character.
pub(crate) fn path_segment(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ['/', '%'].into_iter().filter(|c| value.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// `IsQualifiedName`: label keys, annotation keys, finalizers.
pub(crate) fn qualified_name(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(prefix).into_iter().map(|text| format!("prefix part {text}")));
            }
            *name
        }
        _ => {
            return vec![
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                 alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                 '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
                    .to_owned(),
            ];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if let Some(text) = at_most(name, 63, "bytes") {
        wrong.push(format!("name part {text}"));
    }
    wrong.extend(unless(is_qualified_part(name), QUALIFIED));
    wrong
}

/// `IsValidLabelValue`.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    all([at_most(value, 63, "bytes"), unless(value.is_empty() || is_qualified_part(value), LABEL_VALUE)])
}

/// `IsConfigMapKey`.
pub(crate) fn config_key(value: &str) -> Vec<String> {
    let right =
        !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let dots = match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    };
    all([at_most(value, 253, "characters"), unless(right, CONFIG_KEY), dots])
}

/// `IsEnvVarName`, relaxed as v1.34 and later are: printable ASCII without `=`.
pub(crate) fn env_name(value: &str) -> Vec<String> {
    let right = !value.is_empty() && value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=');
    all([unless(
        right,
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )])
}

/// `IsValidPortName`.
pub(crate) fn port_name(value: &str) -> Vec<String> {
    let chars = value.bytes().all(|b| lower_alnum(b) || b == b'-');
    all([
        (value.len() > 15).then(|| "must be no more than 15 characters".to_owned()),
        unless(chars && !value.is_empty(), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        unless(value.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        unless(!value.contains("--"), "must not contain consecutive hyphens"),
        unless(!value.starts_with('-') && !value.ends_with('-'), "must not begin or end with a hyphen"),
    ])
}

/// `IsValidPortNum`.
pub(crate) fn port_number(port: i64) -> Vec<String> {
    all([unless((1..=65535).contains(&port), "must be between 1 and 65535, inclusive")])
}

/// `IsValidIP`, as v1.36 accepts them: no leading zeros.
pub(crate) fn ip(value: &str) -> Vec<String> {
    all([unless(
        value.parse::<std::net::IpAddr>().is_ok(),
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    )])
}

/// The address and prefix length of a CIDR.
pub(crate) fn parse_cidr(value: &str) -> Option<(std::net::IpAddr, u8)> {
    let (ip, bits) = value.split_once('/')?;
    let ip: std::net::IpAddr = ip.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

/// `IsValidCIDR`.
pub(crate) fn cidr(value: &str) -> Vec<String> {
    let text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    all([unless(parse_cidr(value).is_some(), text)])
}

/// `IsValidPercent` of a string.
pub(crate) fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    all([unless(
        digits,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
         validation is '[0-9]+%')",
    )])
}

/// A name under a kind's rule. `prefix`: it is a `generateName`, whose trailing dash the suffix will follow.
pub(crate) fn object_name(rule: NameRule, value: &str, prefix: bool) -> Vec<String> {
    let masked = match value.strip_suffix('-') {
        Some(head) if prefix && value.len() > 1 => format!("{head}a"),
        _ => value.to_owned(),
    };
    match rule {
        NameRule::Subdomain => dns_subdomain(&masked),
        NameRule::Label => dns_label(&masked),
        NameRule::Label1035 => dns_1035_label(&masked),
        NameRule::PathSegment if prefix => path_segment_prefix(value),
        NameRule::PathSegment => path_segment(value),
    }
}

fn path_segment_prefix(value: &str) -> Vec<String> {
    ['/', '%'].into_iter().filter(|c| value.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotted_label_is_told_about_its_dots() {
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
    }

    #[test]
    fn lengths_are_checked_before_characters() {
        assert_eq!(dns_label(&"A".repeat(64)), ["must be no more than 63 characters", LABEL]);
    }

    #[test]
    fn a_qualified_name_may_have_one_prefix() {
        let wrong = |name: &str| qualified_name(name).len();
        assert_eq!(["a", "a.b/c_D", "/a", "a/", "a/b/c", "-a"].map(wrong), [0, 0, 1, 2, 1, 1]);
    }

    #[test]
    fn a_generated_name_may_end_in_a_dash() {
        assert_eq!(object_name(NameRule::Subdomain, "web-", true), Vec::<String>::new());
    }

    #[test]
    fn config_keys_are_file_names() {
        let wrong = |key: &str| config_key(key).len();
        assert_eq!(["a.b", "..", "..a", "", "a/b"].map(wrong), [0, 1, 1, 1, 1]);
    }
}
