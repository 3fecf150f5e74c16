//! What the rendering depends on besides a tenant's entry: the cluster's version and the operator's choice of a database.
//! Touches nothing.

use std::fmt;
use std::str::FromStr;

/// Version `major.minor` of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterVersion {
    major: u16,
    minor: u16,
}

impl ClusterVersion {
    /// `1.minor`.
    pub const fn minor(minor: u16) -> Self {
        Self { major: 1, minor }
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not a Kubernetes version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Kubernetes version such as v1.36.2")]
pub struct ClusterVersionError(String);

impl FromStr for ClusterVersion {
    type Err = ClusterVersionError;

    /// Reads `gitVersion` of `/version`: `v1.36.2`, also with what distributions add (`v1.35.1+k3s1`, `v1.34.0-eks-1`).
    fn from_str(text: &str) -> Result<Self, ClusterVersionError> {
        let number = |part: Option<&str>| {
            let part = part?;
            let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
            digits.parse::<u16>().ok()
        };
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        match (number(parts.next()), number(parts.next())) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(ClusterVersionError(text.to_owned())),
        }
    }
}

/// What a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// `None` while nobody could tell.
    pub(super) version: Option<ClusterVersion>,
    /// Whether it is an OpenShift: it chooses users and groups of pods itself.
    pub(super) openshift: bool,
}

/// The API group that only an OpenShift serves.
const OPENSHIFT_GROUP: &str = "route.openshift.io";

impl Facts {
    /// Asks the cluster. What it does not let be asked is unknown, which is no error.
    pub(super) async fn ask(client: &kube::Client) -> Result<Self, kube::Error> {
        let unknown = |error: &kube::Error| matches!(error, kube::Error::Api(s) if matches!(s.code, 401 | 403 | 404));
        let version = match client.apiserver_version().await {
            Ok(info) => info.git_version.parse().ok(),
            Err(error) if unknown(&error) => None,
            Err(error) => return Err(error),
        };
        let openshift = match client.list_api_groups().await {
            Ok(groups) => groups.groups.iter().any(|group| group.name == OPENSHIFT_GROUP),
            Err(error) if unknown(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(Self { version, openshift })
    }
}

/// How the supervisor gets into sandbox pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sideload {
    /// Copied by an init container: works on every cluster.
    InitContainer,
    /// Mounted as an image.
    ImageVolume,
}

impl Sideload {
    /// What serves by default: image volumes are on without a feature gate from 1.35 on. An unknown cluster gets what works
    /// everywhere.
    pub(super) fn of(cluster: Option<ClusterVersion>) -> Self {
        if cluster >= Some(ClusterVersion::minor(35)) { Self::ImageVolume } else { Self::InitContainer }
    }

    /// Whether a cluster can have image volumes at all: in 1.33 and 1.34 behind a feature gate, which its owner knows about.
    pub(super) fn images_possible(cluster: Option<ClusterVersion>) -> bool {
        cluster >= Some(ClusterVersion::minor(33))
    }

    /// The gateway's word for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::InitContainer => "init-container",
            Self::ImageVolume => "image-volume",
        }
    }
}

/// Where gateways keep their state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Database {
    /// A file on the gateway's own volume.
    #[default]
    Sqlite,
    /// A server elsewhere, by the key `uri` of a Secret in the tenant's namespace.
    Postgres {
        /// The Secret's name.
        secret: String,
    },
}

impl Database {
    /// Postgres by a Secret of this name.
    ///
    /// # Errors
    /// When the text cannot be a Secret's name.
    pub fn postgres(secret: &str) -> Result<Self, DatabaseError> {
        let label = |label: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        };
        if secret.len() <= 253 && secret.split('.').all(label) {
            Ok(Self::Postgres { secret: secret.to_owned() })
        } else {
            Err(DatabaseError(secret.to_owned()))
        }
    }
}

/// The text cannot be a Secret's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a Secret: lower-case letters, digits, '-' and '.', at most 253")]
pub struct DatabaseError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_versions_are_read_as_distributions_write_them() {
        for (text, version) in [
            ("v1.36.2", Some("1.36")),
            ("v1.35.1+k3s1", Some("1.35")),
            ("1.34+", Some("1.34")),
            ("v1", None),
            ("", None),
            ("vx.y", None),
            ("v1.99999999", None),
        ] {
            assert_eq!(text.parse::<ClusterVersion>().ok().map(|v| v.to_string()).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn sideload_method_follows_the_cluster() {
        let word = |minor| Sideload::of(Some(ClusterVersion::minor(minor))).word();
        assert_eq!((word(34), word(35)), ("init-container", "image-volume"));
        assert_eq!(Sideload::of(None), Sideload::InitContainer);
    }

    #[test]
    fn database_secrets_have_names_of_objects() {
        for (name, good) in [("db", true), ("a.b-c", true), ("", false), ("A", false), ("a..b", false), ("$(x)", false)]
        {
            assert_eq!(Database::postgres(name).is_ok(), good, "{name}");
        }
    }
}
