//! Names that a server certificate may carry: DNS names, one leading wildcard, address literals.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The most names one gateway may claim. A certificate with thousands of names would not fit a TLS handshake.
pub const MAX_NAMES: usize = 64;

/// One accepted name in its normal form: lower case, without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// `example.com` or `*.example.com`.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only a dot.
    #[error("a DNS name must not be empty")]
    Empty,
    /// Longer than 253 characters.
    #[error("a DNS name has at most 253 characters, this one has {0}")]
    TooLong(usize),
    /// A label is empty or longer than 63 characters.
    #[error("every label of a DNS name has 1 to 63 characters, {0:?} has {count}", count = .0.len())]
    LabelLength(String),
    /// A label has a character that is not a letter, digit or inner hyphen.
    #[error("label {0:?} must consist of letters, digits and inner hyphens (write other scripts as xn-- labels)")]
    LabelCharacters(String),
    /// `*` elsewhere than as the whole first label, or with nothing behind it.
    #[error("a wildcard may only be the whole first label, as in *.example.com")]
    Wildcard,
    /// An address with a dot behind it: as a name it would stand in a certificate that no client takes for that address.
    #[error("{0:?} is no name; an IP address has no dot at its end")]
    Address(String),
    /// The last label is a number, so that browsers and TLS stacks take the whole for an IPv4 address, mostly a wrong one.
    #[error("the last label of a DNS name is no number, {0:?} would be taken for an IP address")]
    Number(String),
    /// More than [`MAX_NAMES`].
    #[error("at most {MAX_NAMES} names are allowed, these are {0}")]
    TooMany(usize),
}

impl FromStr for SubjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > 253 {
            return Err(NameError::TooLong(name.len()));
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(NameError::Address(text.to_owned()));
        }
        let host = name.strip_prefix("*.").unwrap_or(&name);
        if host.contains('*') {
            return Err(NameError::Wildcard);
        }
        host.split('.').try_for_each(check_label)?;
        if let Some(last) = host.rsplit('.').next().filter(|last| is_number(last)) {
            return Err(NameError::Number(last.to_owned()));
        }
        Ok(Self::Dns(name))
    }
}

/// What the WHATWG's URL standard reads as a number at the end of a host: digits, or `0x` and hexadecimal digits.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|b| b.is_ascii_digit())
}

/// One label of a host name (RFC 1123, lower case).
pub(crate) fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() || label.len() > 63 {
        return Err(NameError::LabelLength(label.to_owned()));
    }
    let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !inner || label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::LabelCharacters(label.to_owned()));
    }
    Ok(())
}

/// Joins names into a set: duplicates, letter case and order carry no meaning.
///
/// # Errors
/// [`NameError::TooMany`] above [`MAX_NAMES`] different names.
pub fn collect(names: impl IntoIterator<Item = SubjectName>) -> Result<BTreeSet<SubjectName>, NameError> {
    let set: BTreeSet<_> = names.into_iter().collect();
    if set.len() > MAX_NAMES { Err(NameError::TooMany(set.len())) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<String, NameError> {
        text.parse::<SubjectName>().map(|name| name.to_string())
    }

    #[test]
    fn names_are_normalised() {
        for (given, normal) in [
            ("localhost", "localhost"),
            ("A.Example.COM.", "a.example.com"),
            ("*.gw.example.com", "*.gw.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("0:0:0:0:0:0:0:1", "::1"),
        ] {
            assert_eq!(parse(given).as_deref(), Ok(normal), "{given}");
        }
    }

    #[test]
    fn refused_names_say_why() {
        let label = "a".repeat(64);
        for (given, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("0.0.0.0.", NameError::Address("0.0.0.0.".to_owned())),
            ("1.2.3", NameError::Number("3".to_owned())),
            ("256.256.256.256", NameError::Number("256".to_owned())),
            ("*.7", NameError::Number("7".to_owned())),
            ("a.0x7F", NameError::Number("0x7f".to_owned())),
            ("0x", NameError::Number("0x".to_owned())),
            ("*", NameError::Wildcard),
            ("a.*.b", NameError::Wildcard),
            ("*.*.b", NameError::Wildcard),
            ("a*.b", NameError::Wildcard),
            ("a..b", NameError::LabelLength(String::new())),
            (&label[..], NameError::LabelLength(label.clone())),
            ("a_b.c", NameError::LabelCharacters("a_b".to_owned())),
            ("a b", NameError::LabelCharacters("a b".to_owned())),
            ("-a.b", NameError::LabelCharacters("-a".to_owned())),
            ("bücher.example", NameError::LabelCharacters("bücher".to_owned())),
            ("a.b --exec=x", NameError::LabelCharacters("b --exec=x".to_owned())),
            ("a\nb", NameError::LabelCharacters("a\nb".to_owned())),
            ("$(id)", NameError::LabelCharacters("$(id)".to_owned())),
        ] {
            assert_eq!(parse(given), Err(error), "{given}");
        }
    }

    #[test]
    fn length_limit_is_253() {
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert_eq!(longest.len(), 253);
        assert_eq!(parse(&longest).as_deref(), Ok(&longest[..]));
        assert_eq!(parse(&format!("{longest}d")), Err(NameError::TooLong(254)));
    }

    #[test]
    fn gw_d18_duplicates_and_case_make_one_name() {
        let names = ["a.example", "A.example.", "b.example"].map(|name| name.parse().unwrap());
        assert_eq!(collect(names).unwrap().len(), 2);
    }

    #[test]
    fn more_than_64_names_are_refused() {
        let names = |count: usize| (0..count).map(|n| SubjectName::Dns(format!("n{n}.example")));
        assert!(collect(names(64)).is_ok());
        assert_eq!(collect(names(65)), Err(NameError::TooMany(65)));
    }

    proptest! {
        #[test]
        fn accepted_names_round_trip(text in "\\PC{0,80}|[a-zA-Z0-9.*-]{0,80}") {
            if let Ok(name) = text.parse::<SubjectName>() {
                prop_assert_eq!(name.to_string().parse::<SubjectName>(), Ok(name));
            }
        }
    }
}
