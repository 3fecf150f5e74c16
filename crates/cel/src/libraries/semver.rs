//! Semantic versions, with the error texts of `github.com/blang/semver/v4`. Pure.

use std::cmp::Ordering;

use super::go::quote;
use crate::error::EvalError;

/// A semantic version. Build metadata is checked and forgotten: versions that differ there are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Semver {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    pre_release: PreRelease,
}

/// The part after `-`. A version without it is greater than any with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PreRelease(Vec<Identifier>);

/// Numbers are less than words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Ord for PreRelease {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0.is_empty(), other.0.is_empty()) {
            (false, false) => self.0.cmp(&other.0),
            (left, right) => left.cmp(&right),
        }
    }
}

impl PartialOrd for PreRelease {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Semver {
    /// `semver.Parse`.
    pub(super) fn parse(text: &str) -> Result<Self, EvalError> {
        parse(text).map_err(EvalError::new)
    }

    /// Drops a `v` in front and leading zeros, and adds a minor and a patch number that are not there.
    pub(super) fn parse_normalized(text: &str) -> Result<Self, EvalError> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_leading_zeros).collect();
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err(EvalError::new("short version cannot contain PreRelease/Build meta data"));
            }
            parts.resize(3, "0".to_owned());
        }
        Self::parse(&parts.join("."))
    }
}

fn without_leading_zeros(part: &str) -> String {
    if part.len() <= 1 {
        return part.to_owned();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|first: char| first.is_ascii_digit()) { rest.to_owned() } else { format!("0{rest}") }
}

/// The longest version that is read. Nobody writes longer ones, and comparing costs 1 however long they are.
const MAX_LENGTH: usize = 1_024;

fn parse(text: &str) -> Result<Semver, String> {
    if text.len() > MAX_LENGTH {
        return Err("Version string is too long".to_owned());
    }
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts.as_slice() else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let major = number(major, "major", "Major")?;
    let minor = number(minor, "minor", "Minor")?;
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (*rest, None),
    };
    let (patch, pre_release) = match rest.split_once('-') {
        Some((patch, pre_release)) => (patch, Some(pre_release)),
        None => (rest, None),
    };
    let patch = number(patch, "patch", "Patch")?;
    let pre_release = match pre_release {
        Some(identifiers) => identifiers.split('.').map(identifier).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    if let Some(build) = build {
        build.split('.').try_for_each(check_build)?;
    }
    Ok(Semver { major, minor, patch, pre_release: PreRelease(pre_release) })
}

fn number(text: &str, lower: &str, upper: &str) -> Result<u64, String> {
    if !is_numeric(text) {
        return Err(format!("Invalid character(s) found in {lower} number {}", quote(text)));
    }
    if has_leading_zero(text) {
        return Err(format!("{upper} number must not contain leading zeroes {}", quote(text)));
    }
    parse_uint(text)
}

/// `strconv.ParseUint` of digits.
fn parse_uint(digits: &str) -> Result<u64, String> {
    digits.parse().map_err(|_| {
        let why = if digits.is_empty() { "invalid syntax" } else { "value out of range" };
        format!("strconv.ParseUint: parsing {}: {why}", quote(digits))
    })
}

fn identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if is_numeric(text) {
        if has_leading_zero(text) {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {}", quote(text)));
        }
        return parse_uint(text).map(Identifier::Number);
    }
    if is_alphanumeric(text) {
        return Ok(Identifier::Word(text.to_owned()));
    }
    Err(format!("Invalid character(s) found in prerelease {}", quote(text)))
}

fn check_build(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("Build meta data is empty".to_owned());
    }
    if !is_alphanumeric(text) {
        return Err(format!("Invalid character(s) found in build meta data {}", quote(text)));
    }
    Ok(())
}

fn is_numeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Semver {
        Semver::parse(text).unwrap()
    }

    #[test]
    fn versions_are_ordered_as_semver_says() {
        let ordered = [
            "0.1.2",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn build_metadata_does_not_count() {
        assert_eq!(version("1.2.3+a"), version("1.2.3+b.4"));
    }

    #[test]
    fn bad_versions_have_the_librarys_errors() {
        for (text, error) in [
            ("", "Version string empty"),
            ("1.0", "No Major.Minor.Patch elements found"),
            ("v1.0.0", r#"Invalid character(s) found in major number "v1""#),
            ("01.0.0", r#"Major number must not contain leading zeroes "01""#),
            (".0.0", r#"strconv.ParseUint: parsing "": invalid syntax"#),
            ("1.x.0", r#"Invalid character(s) found in minor number "x""#),
            ("1.0.0.0", r#"Invalid character(s) found in patch number "0.0""#),
            ("1.0.00", r#"Patch number must not contain leading zeroes "00""#),
            ("99999999999999999999.0.0", r#"strconv.ParseUint: parsing "99999999999999999999": value out of range"#),
            ("1.0.0-", "Prerelease is empty"),
            ("1.0.0-a..b", "Prerelease is empty"),
            ("1.0.0-01", r#"Numeric PreRelease version must not contain leading zeroes "01""#),
            ("1.0.0-a_b", r#"Invalid character(s) found in prerelease "a_b""#),
            ("1.0.0+", "Build meta data is empty"),
            ("1.0.0+a_b", r#"Invalid character(s) found in build meta data "a_b""#),
            (&format!("1.0.0-{}", "a.".repeat(600)), "Version string is too long"),
        ] {
            assert_eq!(Semver::parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn normalization_accepts_short_and_padded_versions() {
        for (text, normalized) in [
            ("v1.0.0", "1.0.0"),
            ("1", "1.0.0"),
            ("1.0", "1.0.0"),
            ("01.01.01", "1.1.1"),
            ("1.0.00-a", "1.0.0-a"),
            ("v0.00.1", "0.0.1"),
        ] {
            assert_eq!(Semver::parse_normalized(text).unwrap(), version(normalized), "{text}");
        }
    }

    #[test]
    fn a_short_version_has_no_pre_release() {
        assert_eq!(
            Semver::parse_normalized("1.0-alpha").unwrap_err().to_string(),
            "short version cannot contain PreRelease/Build meta data"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,20}") {
            let _ = (Semver::parse(&text), Semver::parse_normalized(&text));
        }
    }
}
