//! What a server serves of a profile. Never more than the profile asks for: what is left out is said, with the reason.

use serde_json::{Value, json};

use crate::{Authentication, ClientModel, Group, Profile, Suite, Version};

/// What a TLS library can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// How reports name it.
    pub name: &'static str,
    /// The oldest version that it speaks.
    pub lowest: Version,
    /// Whether the suites of TLS 1.3 are on whatever anybody says.
    pub tls13_fixed: bool,
    /// Numbers of the suites that it has.
    pub suites: &'static [u16],
    /// Groups that it has, preferred first. What is served where a profile names none are the first `default_groups`.
    pub groups: &'static [Group],
    /// How many of the groups are on by default.
    pub default_groups: usize,
}

/// The nine suites of rustls: it has no CBC, no RSA key exchange, no finite-field Diffie-Hellman, by design.
const RUSTLS_SUITES: &[u16] = &[0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8];

impl Backend {
    /// rustls on aws-lc-rs, with the post-quantum groups: what Paddock ships.
    pub const RUSTLS_AWS_LC: Self = Self {
        name: "rustls+aws-lc-rs",
        lowest: Version::Tls12,
        tls13_fixed: false,
        suites: RUSTLS_SUITES,
        groups: &[Group::X25519MlKem768, Group::X25519, Group::Secp256r1, Group::Secp384r1, Group::Secp256r1MlKem768],
        default_groups: 4,
    };
    /// rustls on ring: no post-quantum groups.
    pub const RUSTLS_RING: Self = Self {
        name: "rustls+ring",
        lowest: Version::Tls12,
        tls13_fixed: false,
        suites: RUSTLS_SUITES,
        groups: &[Group::X25519, Group::Secp256r1, Group::Secp384r1],
        default_groups: 3,
    };
    /// Go's own library, 1.26: what others' operators and operands serve with. Nothing of Paddock's does.
    pub const GO: Self = Self {
        name: "go",
        lowest: Version::Tls10,
        tls13_fixed: true,
        suites: &[
            0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC023, 0xC027, 0xC009, 0xC013,
            0xC00A, 0xC014, 0x009C, 0x009D, 0x003C, 0x002F, 0x0035, 0x000A, 0xC012,
        ],
        groups: &[
            Group::X25519MlKem768,
            Group::X25519,
            Group::Secp256r1,
            Group::Secp384r1,
            Group::Secp521r1,
            Group::Secp256r1MlKem768,
            Group::Secp384r1MlKem1024,
        ],
        default_groups: 7,
    };
}

/// The suites of TLS 1.3 where a profile lists none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls13Policy {
    /// All are served: the API says that they are always on.
    #[default]
    Platform,
    /// A list that names none means none.
    Strict,
}

impl Tls13Policy {
    /// `Platform` or `Strict`, the name in a contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "Platform",
            Self::Strict => "Strict",
        }
    }

    /// The policy of that name, spelled exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Platform, Self::Strict].into_iter().find(|policy| policy.name() == name)
    }
}

/// The kind of the serving key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// ECDSA on any curve.
    Ecdsa,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Rsa, Self::Ecdsa];

    /// `RSA` or `ECDSA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ecdsa => "ECDSA",
        }
    }
}

/// What else decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only what is approved for FIPS 140.
    pub fips: bool,
    /// See [`Tls13Policy`].
    pub tls13: Tls13Policy,
    /// The serving key, where it is known: suites of TLS 1.2 that it cannot serve are left out.
    pub key: Option<KeyKind>,
    /// A version that is not gone below, whatever the profile says. May tighten, never loosen.
    pub floor: Option<Version>,
}

/// What is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// In the order of the profile, those of TLS 1.3 first. Never empty.
    pub suites: Vec<Suite>,
    /// In the order of the profile. Never empty. The client's order decides; for the server they are a filter.
    pub groups: Vec<Group>,
}

impl Effective {
    /// Versions that are served: those that have a suite.
    pub fn versions(&self) -> Vec<Version> {
        let tls13 = |wanted: bool| self.suites.iter().any(|suite| suite.is_tls13() == wanted);
        [(Version::Tls12, tls13(false)), (Version::Tls13, tls13(true))]
            .into_iter()
            .filter_map(|(version, served)| served.then_some(version))
            .collect()
    }

    /// Whether everything of `other` is in this: going from this to `other` lets nobody in who was not.
    pub fn covers(&self, other: &Self) -> bool {
        other.suites.iter().all(|suite| self.suites.contains(suite))
            && other.groups.iter().all(|group| self.groups.contains(group))
    }
}

/// How what is served compares with what was asked for. More than was asked for is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The same.
    Exact,
    /// Less, which the API allows a component to do.
    Reduced,
    /// Nothing can be served.
    Unservable(Unservable),
}

/// Why nothing can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unservable {
    /// Suites are listed and not one of them is known.
    #[error("none of the listed cipher suites is known: check their spelling")]
    NoSuiteKnown,
    /// No suite is left.
    #[error("no cipher suite of the profile can be served")]
    NoSuite,
    /// Groups are listed and none can be served.
    #[error("no key exchange group of the profile can be served")]
    NoGroup,
}

/// Why a name was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// No suite or group has this name.
    #[error("unknown name")]
    Unknown,
    /// The TLS library does not have it.
    #[error("not supported by this server's TLS library")]
    Unsupported,
    /// Not approved in FIPS mode.
    #[error("not approved in FIPS mode")]
    NotFips,
    /// The serving key is of the other kind.
    #[error("the serving key is of another kind")]
    Key,
    /// A version without suites: the profile lists none of it.
    #[error("the profile lists no cipher suite of it")]
    NoSuiteListed,
    /// Every group that is left works with TLS 1.3 alone.
    #[error("no group that is left works with TLS 1.2")]
    NoTls12Group,
}

/// A name that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// As the profile spells it; OpenSSL's name for a suite that no list named.
    pub name: String,
    /// Why.
    pub reason: Reason,
}

/// What an administrator should know of a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// An older version was asked for than is ever served.
    #[error("asked for {asked} and newer, {served} and newer is served")]
    Raised {
        /// The profile's minimum.
        asked: Version,
        /// What it became.
        served: Version,
    },
    /// The profile allows TLS 1.2, but no suite of it is left.
    #[error("no cipher suite of TLS 1.2 is left: TLS 1.3 alone is served")]
    Tls12Off,
    /// The list names no suite of TLS 1.3 and the policy is strict, or none that it names is left.
    #[error("no cipher suite of TLS 1.3 is served")]
    Tls13Off,
    /// The list names no suite of TLS 1.3; they are on nevertheless.
    #[error("the list names no cipher suite of TLS 1.3: they are always on (tls13Policy: strict turns them off)")]
    Tls13Unlisted,
}

/// What became of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// What to serve; `None` when that is nothing.
    pub effective: Option<Effective>,
    /// How it compares.
    pub outcome: Outcome,
    /// What was left out.
    pub dropped: Vec<Dropped>,
    /// What else to know.
    pub notes: Vec<Note>,
}

impl Outcome {
    /// `Exact`, `Reduced` or `Unservable`, as reports and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::Reduced => "Reduced",
            Self::Unservable(_) => "Unservable",
        }
    }
}

impl Resolution {
    /// The resolution as reports show it: `outcome`, `reason`, `minTLSVersion`, `versions`, `suites`, `groups`, `dropped`,
    /// `notes` and `clientsShutOut`. Suites have OpenSSL's names.
    pub fn report(&self) -> Value {
        let effective = self.effective.as_ref();
        let reason = match self.outcome {
            Outcome::Unservable(why) => Some(why.to_string()),
            Outcome::Exact | Outcome::Reduced => None,
        };
        let versions: Vec<_> =
            effective.map(Effective::versions).unwrap_or_default().iter().map(|v| v.name()).collect();
        let suites: Vec<_> = effective.iter().flat_map(|e| &e.suites).map(|suite| suite.openssl()).collect();
        let groups: Vec<_> = effective.iter().flat_map(|e| &e.groups).map(|group| group.name()).collect();
        let dropped: Vec<_> =
            self.dropped.iter().map(|d| json!({"name": d.name, "reason": d.reason.to_string()})).collect();
        let notes: Vec<_> = self.notes.iter().map(ToString::to_string).collect();
        let shut_out: Vec<_> = ClientModel::ALL
            .iter()
            .filter(|client| effective.is_some_and(|effective| !client.speaks(effective)))
            .map(|client| client.name)
            .collect();
        json!({
            "clientsShutOut": shut_out,
            "dropped": dropped,
            "groups": groups,
            "minTLSVersion": versions.first(),
            "notes": notes,
            "outcome": self.outcome.name(),
            "reason": reason,
            "suites": suites,
            "versions": versions,
        })
    }
}

/// Says what a server serves of a profile.
pub fn resolve(profile: &Profile, backend: &Backend, options: &Options) -> Resolution {
    let mut work = Work { backend, options, dropped: Vec::new(), notes: Vec::new() };
    let (effective, outcome) = match work.run(profile) {
        Ok((effective, exact)) => (Some(effective), if exact { Outcome::Exact } else { Outcome::Reduced }),
        Err(why) => (None, Outcome::Unservable(why)),
    };
    Resolution { effective, outcome, dropped: work.dropped, notes: work.notes }
}

struct Work<'a> {
    backend: &'a Backend,
    options: &'a Options,
    dropped: Vec<Dropped>,
    notes: Vec<Note>,
}

impl Work<'_> {
    fn run(&mut self, profile: &Profile) -> Result<(Effective, bool), Unservable> {
        let asked = profile.min_version.unwrap_or(Version::Tls12);
        let lowest = asked.max(self.backend.lowest).max(self.options.floor.unwrap_or(Version::Tls10));
        if lowest > asked {
            self.notes.push(Note::Raised { asked, served: lowest });
        }
        let groups = self.groups(profile)?;
        let (listed, unknown) = profile.suites();
        if listed.is_empty() && !unknown.is_empty() && lowest < Version::Tls13 {
            self.drop_all(unknown, Reason::Unknown);
            return Err(Unservable::NoSuiteKnown);
        }
        let nothing_listed = listed.is_empty() && unknown.is_empty();
        self.drop_all(unknown, Reason::Unknown);
        let mut suites = self.tls13(&listed, nothing_listed);
        let no_tls13 = suites.is_empty();
        if lowest < Version::Tls13 {
            let old = self.tls12(&listed, &groups);
            if old.is_empty() && !no_tls13 {
                self.notes.push(Note::Tls12Off);
            }
            suites.extend(old);
        }
        if suites.is_empty() {
            return Err(Unservable::NoSuite);
        }
        if no_tls13 {
            self.notes.push(Note::Tls13Off);
        }
        let whole = self.dropped.is_empty() && self.notes.iter().all(|note| *note == Note::Tls13Unlisted);
        Ok((Effective { suites, groups }, whole))
    }

    /// The listed groups that can be served; what is on by default where none is listed.
    fn groups(&mut self, profile: &Profile) -> Result<Vec<Group>, Unservable> {
        let fips = self.options.fips;
        let Some((listed, unknown)) = profile.known_groups() else {
            let on = self.backend.groups.iter().take(self.backend.default_groups).copied();
            return Ok(on.filter(|group| !fips || group.is_fips()).collect());
        };
        self.drop_all(unknown, Reason::Unknown);
        let mut served = Vec::new();
        for group in listed {
            if !self.backend.groups.contains(&group) {
                self.drop(group.name(), Reason::Unsupported);
            } else if fips && !group.is_fips() {
                self.drop(group.name(), Reason::NotFips);
            } else {
                served.push(group);
            }
        }
        if served.is_empty() { Err(Unservable::NoGroup) } else { Ok(served) }
    }

    /// The suites of TLS 1.3: exactly those that are listed, all where none is.
    fn tls13(&mut self, listed: &[Suite], nothing_listed: bool) -> Vec<Suite> {
        let mut wanted: Vec<Suite> = listed.iter().copied().filter(|suite| suite.is_tls13()).collect();
        if wanted.is_empty() && (nothing_listed || self.options.tls13 == Tls13Policy::Platform) {
            wanted = Suite::all().iter().copied().filter(|suite| suite.is_tls13()).collect();
            if !nothing_listed {
                self.notes.push(Note::Tls13Unlisted);
            }
        }
        self.supported(wanted)
    }

    /// The listed suites of TLS 1.2 that library, key and groups can serve.
    fn tls12(&mut self, listed: &[Suite], groups: &[Group]) -> Vec<Suite> {
        let wanted = listed.iter().copied().filter(|suite| !suite.is_tls13()).collect();
        let usable = groups.iter().any(|group| group.serves_tls12());
        let mut served = Vec::new();
        for suite in self.supported(wanted) {
            let fits = match self.options.key {
                Some(KeyKind::Rsa) => suite.authentication() != Authentication::Ecdsa,
                Some(KeyKind::Ecdsa) => suite.authentication() != Authentication::Rsa,
                None => true,
            };
            if !usable {
                self.drop(suite.openssl(), Reason::NoTls12Group);
            } else if !fits {
                self.drop(suite.openssl(), Reason::Key);
            } else {
                served.push(suite);
            }
        }
        served
    }

    fn supported(&mut self, wanted: Vec<Suite>) -> Vec<Suite> {
        let mut served = Vec::new();
        for suite in wanted {
            if !self.backend.suites.contains(&suite.code()) {
                self.drop(suite.openssl(), Reason::Unsupported);
            } else if self.options.fips && !suite.is_fips() {
                self.drop(suite.openssl(), Reason::NotFips);
            } else {
                served.push(suite);
            }
        }
        served
    }

    fn drop(&mut self, name: &str, reason: Reason) {
        self.dropped.push(Dropped { name: name.to_owned(), reason });
    }

    fn drop_all(&mut self, names: Vec<String>, reason: Reason) {
        self.dropped.extend(names.into_iter().map(|name| Dropped { name, reason }));
    }
}

#[cfg(test)]
mod tests;
