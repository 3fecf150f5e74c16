//! A profile as it is handed to components: `profile.json`, its one canonical form and the hash of that.

use aws_lc_rs::digest;
use serde_json::{Map, Value};

use crate::{Generation, Group, Named, Suite, Version};

/// Most suites or groups that a profile may list.
pub const MAX_NAMES: usize = 256;
/// Longest name in a profile, in bytes.
pub const MAX_NAME_LENGTH: usize = 128;

/// What a profile asks for: names as they were written, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Suites by OpenSSL's or IANA's name. `None` (`null` or absent) and an empty list mean the same, and hash differently.
    pub ciphers: Option<Vec<String>>,
    /// The oldest version to serve; `None`, written `""`, means TLS 1.2.
    pub min_version: Option<Version>,
    /// Key exchange groups; `None`: whatever the server has.
    pub groups: Option<Vec<String>>,
}

/// Why something is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The bytes are not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// A member is of the wrong JSON type.
    #[error("{member} is {found}, where {expected} is expected")]
    Type {
        /// Where, as a path.
        member: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// `type` names no profile.
    #[error("type {0:?} is no profile: use Old, Intermediate, Modern or Custom")]
    UnknownType(String),
    /// `type: Custom` without a profile.
    #[error("type is Custom, but there is no custom profile: write one under custom")]
    NoCustom,
    /// `minTLSVersion` names no version.
    #[error("minTLSVersion {0:?} is no version: use VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13")]
    UnknownVersion(String),
    /// A contract without the version of its shape.
    #[error("schemaVersion is missing: this is no start-up contract")]
    NoSchema,
    /// A contract of another time.
    #[error("schemaVersion {0:?} is of another major version than 1: this build cannot read it")]
    OtherSchema(String),
    /// A contract that does not say how to judge its profile.
    #[error("decision is missing")]
    NoDecision,
    /// A decision that is not the one of its hash.
    #[error("decisionHash is not the hash of decision: one of the two was changed")]
    OtherDecision,
    /// A member has a text that means nothing there.
    #[error("{member} {value:?} is not known")]
    UnknownValue {
        /// Which member.
        member: &'static str,
        /// What it says.
        value: String,
    },
    /// A list is too long.
    #[error("{member} has {count} names; at most {MAX_NAMES} are read")]
    TooMany {
        /// Which list.
        member: &'static str,
        /// How many names it has.
        count: usize,
    },
    /// A name is too long.
    #[error("{member} has a name of {length} bytes; at most {MAX_NAME_LENGTH} are read")]
    TooLong {
        /// Which list.
        member: &'static str,
        /// Its length.
        length: usize,
    },
}

/// A profile that was read from `profile.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The profile.
    pub profile: Profile,
    /// Members that this version does not know: they are passed over, and should be logged once.
    pub unknown: Vec<String>,
}

impl Profile {
    /// Reads `profile.json`. `curves` counts as `groups` where there are none.
    ///
    /// # Errors
    /// What is wrong with it. A file that cannot be read is never a reason to serve something else.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, Invalid> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| Invalid::Json(error.to_string()))?;
        let Value::Object(members) = value else { return Err(wrong("profile", "an object", &value)) };
        let known = ["ciphers", "minTLSVersion", "groups", "curves"];
        let unknown = members.keys().filter(|member| !known.contains(&member.as_str())).cloned().collect();
        Ok(Parsed { profile: Self::from_members(&members)?, unknown })
    }

    /// Reads the members of a profile, of `profile.json` or of `custom`.
    pub(crate) fn from_members(members: &Map<String, Value>) -> Result<Self, Invalid> {
        let min_version = match members.get("minTLSVersion") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) if name.is_empty() => None,
            Some(Value::String(name)) => {
                Some(Version::from_name(name).ok_or_else(|| Invalid::UnknownVersion(shortened(name)))?)
            }
            Some(other) => return Err(wrong("minTLSVersion", "a text", other)),
        };
        let groups = match names(members, "groups")? {
            None => names(members, "curves")?,
            groups => groups,
        };
        Ok(Self { ciphers: names(members, "ciphers")?, min_version, groups })
    }

    /// The bytes of `profile.json`: compact JSON, members by name, `groups` left out when there are none, escaped as Go's
    /// encoder does. Profiles without groups are byte for byte what kubernetes-nmstate writes.
    pub fn canonical(&self) -> String {
        let list = |names: &[String]| {
            let texts: Vec<String> = names.iter().map(|name| json_text(name)).collect();
            format!("[{}]", texts.join(","))
        };
        let ciphers = self.ciphers.as_deref().map_or_else(|| "null".to_owned(), list);
        let groups = match self.groups.as_deref() {
            None | Some([]) => String::new(),
            Some(groups) => format!(",\"groups\":{}", list(groups)),
        };
        let version = self.min_version.map_or("", Version::name);
        format!("{{\"ciphers\":{ciphers}{groups},\"minTLSVersion\":\"{version}\"}}")
    }

    /// SHA-256 of [`Profile::canonical`], 64 lower-case hexadecimal digits: the value of the hash annotation.
    pub fn hash(&self) -> String {
        hex_sha256(self.canonical().as_bytes())
    }

    /// What is served where nobody asks for anything: Intermediate of the newest generation.
    pub fn baseline() -> Self {
        Named::Intermediate.profile(Generation::C)
    }

    /// The bytes of `profile.json` for kubernetes-nmstate, byte for byte as its own operator writes them: groups are called
    /// `curves`, behind the version. The second value names the groups that it has no word for: they are left out. The hash of
    /// such a file is the hash of these bytes ([`hex_sha256`]).
    pub fn canonical_for_nmstate(&self) -> (String, Vec<String>) {
        let plain = Self { groups: None, ..self.clone() };
        let unspeakable = |name: &&String| {
            matches!(Group::from_name(name), None | Some(Group::Secp256r1MlKem768 | Group::Secp384r1MlKem1024))
        };
        let (left_out, groups): (Vec<_>, Vec<_>) = self.groups.iter().flatten().partition(unspeakable);
        let mut text = plain.canonical();
        if !groups.is_empty() {
            let curves: Vec<String> = groups.into_iter().map(|name| json_text(name)).collect();
            text.truncate(text.len().saturating_sub(1));
            text.push_str(&format!(",\"curves\":[{}]}}", curves.join(",")));
        }
        (text, left_out.into_iter().cloned().collect())
    }

    /// The listed suites that are known, each once, in the order of the list; and the names that are not.
    pub(crate) fn suites(&self) -> (Vec<Suite>, Vec<String>) {
        sorted_out(self.ciphers.as_deref().unwrap_or_default(), Suite::from_name)
    }

    /// The same for groups. `None`: there is no list.
    pub(crate) fn known_groups(&self) -> Option<(Vec<Group>, Vec<String>)> {
        self.groups.as_deref().filter(|groups| !groups.is_empty()).map(|groups| sorted_out(groups, Group::from_name))
    }
}

/// SHA-256 as 64 lower-case hexadecimal digits: how the hashes of files and decisions are written.
pub fn hex_sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sorted_out<T: PartialEq>(names: &[String], read: impl Fn(&str) -> Option<T>) -> (Vec<T>, Vec<String>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        match read(name) {
            Some(one) if !known.contains(&one) => known.push(one),
            Some(_) => {}
            None if !unknown.contains(name) => unknown.push(name.clone()),
            None => {}
        }
    }
    (known, unknown)
}

/// A list of names; `null` counts as absent.
fn names(members: &Map<String, Value>, member: &'static str) -> Result<Option<Vec<String>>, Invalid> {
    let list = match members.get(member) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong(member, "a list of texts", other)),
    };
    if list.len() > MAX_NAMES {
        return Err(Invalid::TooMany { member, count: list.len() });
    }
    let text = |(index, value): (usize, &Value)| match value {
        Value::String(name) if name.len() > MAX_NAME_LENGTH => Err(Invalid::TooLong { member, length: name.len() }),
        Value::String(name) => Ok(name.clone()),
        other => Err(wrong(&format!("{member}[{index}]"), "a text", other)),
    };
    list.iter().enumerate().map(text).collect::<Result<_, _>>().map(Some)
}

pub(crate) fn wrong(member: &str, expected: &'static str, found: &Value) -> Invalid {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Invalid::Type { member: member.to_owned(), expected, found }
}

/// What an error shows of foreign text.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(MAX_NAME_LENGTH).collect()
}

/// A JSON text as Go's `encoding/json` writes it: what HTML and JavaScript would trip over is escaped too.
fn json_text(text: &str) -> String {
    Value::from(text)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Generation, Named};

    fn custom(ciphers: Option<&[&str]>, min_version: Option<Version>) -> Profile {
        let ciphers = ciphers.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Profile { ciphers, min_version, groups: None }
    }

    /// Computed with Go's encoder from the same values.
    #[test]
    fn hashes_are_those_of_gos_encoder() {
        let of = |named: Named, generation| named.profile(generation).hash();
        use Generation::{B, C};
        let hashes = [
            of(Named::Old, B),
            of(Named::Intermediate, B),
            of(Named::Modern, B),
            of(Named::Old, C),
            of(Named::Intermediate, C),
            of(Named::Modern, C),
            custom(None, Some(Version::Tls13)).hash(),
            custom(Some(&[]), Some(Version::Tls13)).hash(),
            custom(None, None).hash(),
            custom(Some(&["a<b>&c"]), Some(Version::Tls12)).hash(),
        ];
        assert_eq!(
            hashes,
            [
                "26a2aaa44267f2359636efb4f11c96e75be7a9e1151a0ca97a05672dbf4563c1",
                "8e18e9c1df590707f8d9330d550a10a52607437739a3ed2be8a1714030ebb409",
                "dd4cb6be8424d332748b863a7f6bb20e6937c1f849cb2a792c7d40a0eb29945a",
                "4fc92c394c25e913dffb468652df2face82d845fd4f1b7cf0bc3a58b4633a93c",
                "b631edab2429a99af299880f5282d9bbe97b08e05a15a721a4c58bfcc9eb890c",
                "a0b86319014a855c049bdb2aaae6b80a996c625eeffd4c7987104cfd850e1007",
                "5b31e89e72f77447178a3b222b41a7d29ebc186ccfddd72214f0f967ccbd9b0c",
                "cdb5e552945c1af0e6f7b1ac9df05d4f8ed01c822319dc93f5c6294222fded9e",
                "6b58f1be606f9d5a8815d086917d2a87a8d91ab141f88492fb9d2cba36000209",
                "46e7848f42cbe00b4ec74f6c0e697b0c0710ccb557e200a71ff2f2cdab4a5d55",
            ]
        );
    }

    #[test]
    fn nmstate_gets_the_bytes_that_its_own_operator_writes() {
        let profile = Profile {
            groups: Some(["X25519", "SecP256r1MLKEM768", "P-256"].map(str::to_owned).to_vec()),
            ..custom(Some(&["a"]), Some(Version::Tls12))
        };
        let (text, left_out) = profile.canonical_for_nmstate();
        assert_eq!(text, r#"{"ciphers":["a"],"minTLSVersion":"VersionTLS12","curves":["X25519","P-256"]}"#);
        assert_eq!(left_out, ["SecP256r1MLKEM768"]);
        let plain = custom(Some(&["a"]), None);
        assert_eq!(plain.canonical_for_nmstate(), (plain.canonical(), vec![]));
    }

    #[test]
    fn tls_d06_curves_count_where_there_are_no_groups() {
        let groups = |text: &str| Profile::parse(text.as_bytes()).unwrap().profile.groups;
        assert_eq!(groups(r#"{"curves":["X25519"]}"#), Some(vec!["X25519".to_owned()]));
        assert_eq!(groups(r#"{"groups":["secp256r1"],"curves":["X25519"]}"#), Some(vec!["secp256r1".to_owned()]));
    }

    #[test]
    fn unknown_members_are_passed_over_and_named() {
        let parsed = Profile::parse(br#"{"ciphers":null,"later":1,"minTLSVersion":""}"#).unwrap();
        assert_eq!((parsed.profile, parsed.unknown), (Profile::default(), vec!["later".to_owned()]));
    }

    #[test]
    fn tls_f09_wrong_json_types_are_named() {
        let error = |text: &str| Profile::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("[]"), "profile is a list, where an object is expected");
        assert_eq!(error(r#"{"ciphers":"a"}"#), "ciphers is a text, where a list of texts is expected");
        assert_eq!(error(r#"{"ciphers":["a",1]}"#), "ciphers[1] is a number, where a text is expected");
        assert_eq!(error(r#"{"minTLSVersion":12}"#), "minTLSVersion is a number, where a text is expected");
        assert_eq!(
            error(r#"{"minTLSVersion":"TLS12"}"#),
            "minTLSVersion \"TLS12\" is no version: use VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13"
        );
    }

    #[test]
    fn tls_f10_lists_and_names_are_bounded() {
        let many = serde_json::json!({"ciphers": vec!["a"; MAX_NAMES + 1]}).to_string();
        let long = serde_json::json!({"groups": ["a".repeat(MAX_NAME_LENGTH + 1)]}).to_string();
        let errors = [many, long].map(|text| Profile::parse(text.as_bytes()).unwrap_err());
        assert_eq!(
            errors,
            [
                Invalid::TooMany { member: "ciphers", count: MAX_NAMES + 1 },
                Invalid::TooLong { member: "groups", length: MAX_NAME_LENGTH + 1 },
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Profile::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(
            ciphers in proptest::option::of(proptest::collection::vec(".{0,20}", 0..5)),
            groups in proptest::option::of(proptest::collection::vec(".{0,20}", 1..4)),
            version in 0..5_usize,
        ) {
            let profile = Profile { ciphers, groups, min_version: Version::ALL.get(version).copied() };
            let parsed = Profile::parse(profile.canonical().as_bytes()).unwrap().profile;
            prop_assert_eq!(parsed.hash(), profile.hash());
            prop_assert_eq!(parsed, profile);
        }
    }
}
