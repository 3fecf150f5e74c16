//! What a tenant and its gateways may be called, and which namespaces no tenant may have.

use std::fmt;
use std::str::FromStr;

use crate::dns::{NameError, check_label};

/// A tenant's name, which is also its namespace: one RFC 1123 label of 1 to 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(String);

impl TenantName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TenantName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = TenantError;

    fn from_str(text: &str) -> Result<Self, TenantError> {
        match check_label(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(NameError::LabelLength(_)) => Err(TenantError::Length(text.len())),
            Err(_) => Err(TenantError::Characters(text.to_owned())),
        }
    }
}

/// A gateway's name: its Service, its workload and the label that selects its pods are called so. 1 to 52 characters, of
/// which the first is a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayName(String);

impl GatewayName {
    /// The most characters: Kubernetes appends a hyphen and a digest of 10 characters to a workload's name and makes a
    /// label of the whole, which holds 63.
    pub const MAX: usize = 52;

    /// Names of objects of the gateway `openshell-gateway`, which no other gateway may have.
    pub const RESERVED: [&str; 6] = [
        "openshell-gateway-sandbox",
        "openshell-gateway-config",
        "openshell-gateway-anchor",
        "openshell-gateway-jwt-keys",
        "openshell-server-tls",
        "openshell-client-tls",
    ];

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GatewayName {
    type Err = GatewayNameError;

    fn from_str(text: &str) -> Result<Self, GatewayNameError> {
        match check_label(text) {
            Ok(()) if text.len() > Self::MAX => Err(GatewayNameError::Length(text.len())),
            Ok(()) if Self::RESERVED.contains(&text) => Err(GatewayNameError::Reserved(text.to_owned())),
            Ok(()) if text.starts_with(|first: char| first.is_ascii_lowercase()) => Ok(Self(text.to_owned())),
            Err(NameError::LabelLength(_)) => Err(GatewayNameError::Length(text.len())),
            _ => Err(GatewayNameError::Characters(text.to_owned())),
        }
    }
}

/// Why a name cannot be a gateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayNameError {
    /// Empty or longer than [`GatewayName::MAX`].
    #[error("a gateway's name has 1 to {max} characters, this one has {0}", max = GatewayName::MAX)]
    Length(usize),
    /// An object of the default gateway is called so.
    #[error("{0:?} names an object of the gateway openshell-gateway")]
    Reserved(String),
    /// Not a label of RFC 1035, as Services need it.
    #[error(
        "{0:?} must consist of lower-case letters, digits and inner hyphens and start with a letter, because it names a Service"
    )]
    Characters(String),
}

/// Why a name cannot be a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Empty or longer than 63 characters.
    #[error("a tenant name has 1 to 63 characters, this one has {0}")]
    Length(usize),
    /// Not a DNS label.
    #[error("{0:?} must consist of lower-case letters, digits and inner hyphens, because it names a namespace")]
    Characters(String),
    /// A namespace of the cluster itself.
    #[error("namespace {name} is reserved by the rule {rule:?}")]
    Reserved {
        /// The name.
        name: String,
        /// The entry of the deny list that matches.
        rule: String,
    },
}

/// The namespaces that no tenant may have: whole names, or a prefix that ends with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedNames(Vec<String>);

impl Default for ReservedNames {
    /// The cluster's own namespaces. The control plane's namespace is not among them: it may be a tenant.
    fn default() -> Self {
        let names = ["kube-system", "kube-public", "kube-node-lease", "kube-*", "default", "openshift", "openshift-*"];
        Self(names.map(str::to_owned).to_vec())
    }
}

impl ReservedNames {
    /// A list of one's own, replacing the default.
    pub fn new(rules: impl IntoIterator<Item = String>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// Refuses a reserved name.
    ///
    /// # Errors
    /// [`TenantError::Reserved`] naming the rule that matches.
    pub fn check(&self, name: &TenantName) -> Result<(), TenantError> {
        let matches = |rule: &&String| {
            rule.strip_suffix('*').map_or(rule.as_str() == name.as_str(), |prefix| name.as_str().starts_with(prefix))
        };
        match self.0.iter().find(matches) {
            Some(rule) => Err(TenantError::Reserved { name: name.0.clone(), rule: rule.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gw_a05_tenant_names_are_labels() {
        for (name, accepted) in [
            ("tenant-a", true),
            ("1", true),
            (&"a".repeat(63)[..], true),
            (&"a".repeat(64)[..], false),
            ("", false),
            ("a.b", false),
            ("Tenant", false),
            ("a/b", false),
            ("-a", false),
            ("NAMESPACE_PLACEHOLDER", false),
        ] {
            assert_eq!(name.parse::<TenantName>().is_ok(), accepted, "{name}");
        }
    }

    #[test]
    fn gw_a05_cluster_namespaces_are_reserved() {
        let reserved = ReservedNames::default();
        for (name, free) in [
            ("kube-system", false),
            ("kube-anything", false),
            ("default", false),
            ("openshift", false),
            ("openshift-ingress", false),
            ("default-tenant", true),
            ("openshifty", true),
            ("paddock-system", true),
        ] {
            assert_eq!(reserved.check(&name.parse().unwrap()).is_ok(), free, "{name}");
        }
    }

    #[test]
    fn gateway_names_are_those_of_services_that_leave_room_for_a_digest() {
        for (name, accepted) in [
            ("openshell-gateway", true),
            ("g", true),
            (&"a".repeat(52)[..], true),
            (&"a".repeat(53)[..], false),
            (&"a".repeat(64)[..], false),
            ("", false),
            ("1a", false),
            ("a.b", false),
            ("a-", false),
            ("A", false),
            ("openshell", true),
            ("openshell-gateway-sandbox", false),
        ] {
            assert_eq!(name.parse::<GatewayName>().is_ok(), accepted, "{name}");
        }
    }

    proptest! {
        #[test]
        fn accepted_names_round_trip(text in "\\PC{0,70}|[a-z0-9-]{0,70}") {
            if let Ok(name) = text.parse::<TenantName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
