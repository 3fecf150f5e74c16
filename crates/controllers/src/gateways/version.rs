//! Versions of the OpenShell gateway, as far as they decide what we render. Touches nothing.

use std::fmt;
use std::str::FromStr;

/// A gateway release `major.minor.patch`; suffixes of downstream builds (`0.0.116-rhaiv.6`) are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayVersion(u16, u16, u16);

impl GatewayVersion {
    /// The oldest release whose keys were measured.
    pub const OLDEST: Self = Self::patch(60);
    /// The newest release whose keys were measured; newer ones are held to this one's keys.
    pub const NEWEST: Self = Self::patch(111);
    /// The first release that serves other namespaces than its own, and that tells its sandboxes from another gateway's.
    pub const OPERATOR_MODE: Self = Self::patch(107);
    /// The release that is provisioned when nobody says otherwise.
    pub const DEFAULT: Self = Self::patch(71);

    /// `0.0.patch`: every release so far.
    pub const fn patch(patch: u16) -> Self {
        Self(0, 0, patch)
    }
}

impl fmt::Display for GatewayVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The text is not `major.minor.patch`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a gateway version such as {default}", default = GatewayVersion::DEFAULT)]
pub struct VersionError(String);

impl FromStr for GatewayVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned());
        let core = text.strip_prefix('v').unwrap_or(text).split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(|part| {
            if part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse::<u16>().map_err(|_| error())
            } else {
                Err(error())
            }
        });
        let mut next = || numbers.next().ok_or_else(error).flatten();
        let version = Self(next()?, next()?, next()?);
        if numbers.next().is_some() { Err(error()) } else { Ok(version) }
    }
}

#[cfg(test)]
mod tests {
    use super::GatewayVersion;

    #[test]
    fn versions_are_read_from_tags() {
        for (tag, version) in [
            ("0.0.71", Some("0.0.71")),
            ("v0.0.111", Some("0.0.111")),
            ("0.0.116-rhaiv.6", Some("0.0.116")),
            ("latest", None),
            ("0.0", None),
            ("0.0.71.1", None),
            ("0.0.+1", None),
            ("", None),
            ("0.0.70000", None),
        ] {
            assert_eq!(tag.parse::<GatewayVersion>().ok().map(|v| v.to_string()).as_deref(), version, "{tag}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(GatewayVersion::patch(100) > GatewayVersion::patch(99));
    }
}
