//! The kind `OpenShellGateway`, as its authors write it and as we report on it.
//!
//! What the types allow beyond the rules (names, images, the gateway's own file) is judged by the gateways controller; the
//! schema that a cluster holds is made there, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DataPolicy, DeletionPolicy, DriftPolicy};

/// The group of all kinds of ours.
pub const GROUP: &str = "paddock.dev";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// The kind.
pub const KIND: &str = "OpenShellGateway";
/// Its name in URLs.
pub const PLURAL: &str = "openshellgateways";

/// Keeps a deleted object until everything of its gateway is gone.
pub const FINALIZER: &str = "paddock.dev/gateway";

/// A gateway in the namespace of the object, called like the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenShellGatewaySpec {
    /// The gateway's image; absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The gateway's version, when the image's tag does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Names and addresses in the server's certificate besides the Service's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_dns_names: Vec<String>,
    /// What the gateway logs; absent: `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Who may log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// TOML, laid over what is rendered from everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Where the gateway keeps its state; absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSpec>,
    /// Whom the gateway serves.
    pub isolation: Isolation,
    /// The namespaces that a [`Isolation::SharedOperator`] gateway serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_namespaces: Option<ServedNamespaces>,
    /// What happens to live sandboxes when this object is deleted; absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What happens to the gateway's data then; absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_policy: Option<DataPolicy>,
    /// What happens when somebody else changes the gateway's objects; absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
}

/// An identity provider that speaks OpenID Connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Oidc {
    /// The issuer, letter for letter as its discovery document says it.
    pub issuer: String,
    /// The audience that tokens must have.
    pub audience: String,
    /// How long the issuer's keys are remembered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_ttl_seconds: Option<i64>,
    /// The claim with a user's roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
    /// The role of administrators; empty together with `userRole`: whoever has a token may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_role: Option<String>,
    /// The role of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_role: Option<String>,
    /// The claim with a token's scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_claim: Option<String>,
}

/// Where a gateway keeps its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseSpec {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: DatabaseKind,
    /// For Postgres: the Secret in the gateway's namespace whose key `uri` is the connection string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// Kinds of databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DatabaseKind {
    /// A file on a volume of the gateway's own.
    #[default]
    SQLite,
    /// A server elsewhere.
    Postgres,
}

/// Whom a gateway serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Isolation {
    /// Sandboxes in its own namespace.
    #[default]
    PerTenant,
    /// Sandboxes in every namespace that [`ServedNamespaces`] selects; a workspace is a namespace.
    SharedOperator,
}

/// Namespaces by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServedNamespaces {
    /// Every label that such a namespace has; at least one.
    pub match_labels: BTreeMap<String, String>,
}
