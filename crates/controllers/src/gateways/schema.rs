//! The keys of `gateway.toml` by gateway version. The gateway refuses to start on a key that it does not know, so this
//! table is what keeps a tenant's file from becoming a crash loop. Touches nothing.
//!
//! Measured upstream over the tagged sources from 0.0.60 to 0.0.111 (`docs/gateways.md` has the table).

use super::grammar::Grammar;
use super::version::GatewayVersion;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in this range.
    Number(i64, i64),
    /// True or false.
    Flag,
    /// A list of texts.
    Texts,
    /// A container image, held to the image policy.
    Image,
    /// A table with keys of its own.
    Table(&'static [Key]),
    /// A list of tables with keys of their own.
    Tables(&'static [Key]),
    /// A table of texts by free names, such as a selector.
    Map,
    /// A text with a grammar.
    Of(Grammar),
    /// A list of these words.
    Words(&'static [&'static str]),
    /// A table whose content is the gateway's affair.
    FreeTable,
    /// Anything: of a key that no tenant may set.
    Free,
}

/// Who decides about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The tenant may set it.
    Tenant,
    /// The control plane: another value would break the gateway or open it. A tenant may only repeat what we render.
    ControlPlane,
}

/// One key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Another spelling that the gateway accepts too.
    pub(super) alias: Option<&'static str>,
    pub(super) since: GatewayVersion,
    pub(super) shape: Shape,
    pub(super) owner: Owner,
}

const fn tenant(name: &'static str, since: u16, shape: Shape) -> Key {
    Key { name, alias: None, since: GatewayVersion::patch(since), shape, owner: Owner::Tenant }
}

const fn ours(name: &'static str, since: u16, shape: Shape) -> Key {
    Key { name, alias: None, since: GatewayVersion::patch(since), shape, owner: Owner::ControlPlane }
}

/// The key that lets everyone in. With it on, whoever holds a client certificate acts as an administrator.
pub(super) const UNAUTHENTICATED: &str = "allow_unauthenticated_users";

const COUNT: Shape = Shape::Number(0, i64::MAX);
const SIZE: Shape = Shape::Number(0, 4_294_967_295);
/// Who sandboxes and their proxies may be: no release takes root, and only later ones take what is not in this range.
const ID: Shape = Shape::Number(1000, 2_000_000_000);
const PULL_POLICY: Shape = Shape::Word(&["Always", "IfNotPresent", "Never"]);

/// The whole file.
pub(super) const FILE: &[Key] = &[tenant("openshell", 0, Shape::Table(OPENSHELL))];

const OPENSHELL: &[Key] = &[
    tenant("version", 0, Shape::Number(1, 1)),
    tenant("gateway", 0, Shape::Table(GATEWAY)),
    tenant("drivers", 0, Shape::Table(&[tenant("kubernetes", 0, Shape::Table(KUBERNETES))])),
    tenant("supervisor", 86, Shape::Table(&[tenant("middleware", 86, Shape::Tables(MIDDLEWARE))])),
    tenant("credential_drivers", 100, Shape::FreeTable),
];

const GATEWAY: &[Key] = &[
    ours("bind_address", 0, Shape::Text),
    ours("health_bind_address", 0, Shape::Text),
    ours("metrics_bind_address", 0, Shape::Text),
    tenant("log_level", 0, Shape::Text),
    ours("compute_drivers", 0, Shape::Texts),
    ours("sandbox_namespace", 0, Shape::Text),
    tenant("ssh_session_ttl_secs", 0, COUNT),
    ours("server_sans", 0, Shape::Texts),
    tenant("enable_loopback_service_http", 0, Shape::Flag),
    tenant("default_image", 0, Shape::Image),
    tenant("supervisor_image", 0, Shape::Image),
    ours("client_tls_secret_name", 0, Shape::Text),
    ours("service_account_name", 0, Shape::Text),
    tenant("host_gateway_ip", 0, Shape::Text),
    tenant("enable_user_namespaces", 0, Shape::Flag),
    tenant("sa_token_ttl_secs", 0, Shape::Number(600, 86_400)),
    ours("guest_tls_ca", 0, Shape::Text),
    ours("guest_tls_cert", 0, Shape::Text),
    ours("guest_tls_key", 0, Shape::Text),
    ours("disable_tls", 0, Shape::Flag),
    ours("database_url", 0, Shape::Text),
    ours("tls", 0, Shape::Table(TLS)),
    tenant("oidc", 0, Shape::Table(OIDC)),
    ours("auth", 0, Shape::Table(&[ours(UNAUTHENTICATED, 0, Shape::Flag)])),
    ours("mtls_auth", 0, Shape::Free),
    ours("gateway_jwt", 0, Shape::Table(GATEWAY_JWT)),
    tenant("grpc_rate_limit_requests", 61, COUNT),
    tenant("grpc_rate_limit_window_seconds", 61, COUNT),
    tenant("interceptors", 84, Shape::Tables(INTERCEPTOR)),
    tenant(
        "provider_profile_sources",
        84,
        Shape::Tables(&[
            tenant("type", 84, Shape::Word(&["builtin", "user", "interceptor"])),
            tenant("name", 84, Shape::Text),
        ]),
    ),
    tenant(
        "otlp",
        96,
        Shape::Table(&[tenant("endpoint", 96, Shape::Of(Grammar::Collector)), tenant("service_name", 96, Shape::Text)]),
    ),
    tenant("policy_validation_failure_mode", 97, Shape::Word(&["fail_closed", "retain_last_valid"])),
    tenant("credential_drivers", 100, Shape::Texts),
    tenant("default_credential_driver", 100, Shape::Text),
    ours("credential_storage", 100, Shape::Table(&[ours("key_encryption_key_env", 100, Shape::Text)])),
];

const FAILURE: Shape = Shape::Word(&["fail_closed", "fail_open"]);

const INTERCEPTOR: &[Key] = &[
    tenant("name", 84, Shape::Text),
    tenant("grpc_endpoint", 84, Shape::Text),
    tenant("order", 84, Shape::Number(-2_147_483_648, 2_147_483_647)),
    tenant("failure_policy", 84, FAILURE),
    tenant("timeout", 84, Shape::Of(Grammar::Timeout)),
    tenant("max_response_bytes", 84, SIZE),
    tenant("max_patches", 84, SIZE),
    tenant(
        "bindings",
        84,
        Shape::Tables(&[
            tenant("id", 84, Shape::Text),
            tenant("rpc", 84, Shape::Text),
            tenant("service", 84, Shape::Text),
            tenant("method", 84, Shape::Text),
            tenant("phases", 84, Shape::Words(&["modify_operation", "validate", "post_commit"])),
            tenant("disabled", 84, Shape::Flag),
            tenant("failure_policy", 84, FAILURE),
        ]),
    ),
    tenant("binding_policy", 107, Shape::Word(&["dynamic", "allowlist", "exact"])),
    tenant("tls_ca_cert_path", 107, Shape::Text),
    tenant("audience", 107, Shape::Text),
    tenant("allow_insecure_transport", 107, Shape::Flag),
];

const TLS: &[Key] = &[
    ours("cert_path", 0, Shape::Text),
    ours("key_path", 0, Shape::Text),
    ours("client_ca_path", 0, Shape::Text),
    ours("external_cert_path", 106, Shape::Text),
    ours("external_key_path", 106, Shape::Text),
    ours("external_server_names", 106, Shape::Texts),
];

const OIDC: &[Key] = &[
    tenant("issuer", 0, Shape::Text),
    tenant("audience", 0, Shape::Text),
    tenant("jwks_ttl_secs", 0, COUNT),
    tenant("roles_claim", 0, Shape::Text),
    tenant("admin_role", 0, Shape::Text),
    tenant("user_role", 0, Shape::Text),
    tenant("scopes_claim", 0, Shape::Text),
];

const GATEWAY_JWT: &[Key] = &[
    ours("signing_key_path", 0, Shape::Text),
    ours("public_key_path", 0, Shape::Text),
    ours("kid_path", 0, Shape::Text),
    ours("gateway_id", 0, Shape::Text),
    tenant("ttl_secs", 0, Shape::Number(60, 86_400)),
];

const KUBERNETES: &[Key] = &[
    ours("namespace", 0, Shape::Text),
    ours("grpc_endpoint", 0, Shape::Text),
    tenant("ssh_socket_path", 0, Shape::Text),
    tenant("supervisor_sideload_method", 0, Shape::Word(&["init-container", "image-volume"])),
    tenant("image_pull_policy", 0, PULL_POLICY),
    tenant("image_pull_secrets", 0, Shape::Texts),
    tenant("supervisor_image_pull_policy", 0, PULL_POLICY),
    tenant("app_armor_profile", 0, Shape::Of(Grammar::AppArmor)),
    tenant("workspace_default_storage_size", 0, Shape::Text),
    tenant("default_runtime_class_name", 0, Shape::Text),
    // Inherited from the gateway table and accepted here too.
    tenant("default_image", 0, Shape::Image),
    tenant("supervisor_image", 0, Shape::Image),
    ours("client_tls_secret_name", 0, Shape::Text),
    ours("service_account_name", 0, Shape::Text),
    tenant("host_gateway_ip", 0, Shape::Text),
    tenant("enable_user_namespaces", 0, Shape::Flag),
    tenant("sa_token_ttl_secs", 0, Shape::Number(600, 86_400)),
    tenant("provider_spiffe_workload_api_socket_path", 61, Shape::Of(Grammar::SocketPath)),
    tenant("sandbox_uid", 76, ID),
    tenant("sandbox_gid", 76, ID),
    tenant("topology", 82, Shape::Word(&["combined", "sidecar"])),
    tenant(
        "sidecar",
        82,
        Shape::Table(&[tenant("proxy_uid", 82, ID), tenant("process_binary_aware_network_policy", 82, Shape::Flag)]),
    ),
    tenant("workspace_storage_class", 94, Shape::Text),
    ours("workspace_mode", 107, Shape::Word(&["shared", "managed", "operator"])),
    ours("gateway_id", 107, Shape::Text),
    ours("operator_namespace_label", 107, Shape::Text),
    ours("operator_namespace_file", 107, Shape::Text),
    ours(
        "managed_ssh_ingress",
        107,
        Shape::Table(&[
            ours("enabled", 107, Shape::Flag),
            ours("gateway_namespace", 107, Shape::Text),
            ours("gateway_pod_selector", 107, Shape::Map),
        ]),
    ),
    tenant("https_proxy", 107, Shape::Of(Grammar::Proxy)),
    tenant("no_proxy", 107, Shape::Text),
    tenant("proxy_auth_secret_name", 107, Shape::Text),
    tenant("proxy_auth_secret_key", 107, Shape::Text),
    tenant("proxy_auth_allow_insecure", 107, Shape::Flag),
    tenant("proxy_connect_by_hostname", 107, Shape::Flag),
];

const MIDDLEWARE: &[Key] = &[
    tenant("name", 86, Shape::Text),
    tenant("grpc_endpoint", 86, Shape::Text),
    Key {
        name: "max_body_bytes",
        alias: Some("max_payload_bytes"),
        since: GatewayVersion::patch(86),
        shape: COUNT,
        owner: Owner::Tenant,
    },
    tenant("timeout", 86, Shape::Of(Grammar::CallTimeout)),
    tenant("tls_ca_cert_path", 107, Shape::Text),
    tenant("audience", 107, Shape::Text),
    tenant("allow_insecure_transport", 107, Shape::Flag),
];

/// A key of `table` as `version` knows it.
pub(super) enum Lookup {
    Known(&'static Key),
    /// A later gateway knows it.
    Since(GatewayVersion),
    Unknown,
}

pub(super) fn lookup(table: &'static [Key], name: &str, version: GatewayVersion) -> Lookup {
    match table.iter().find(|key| key.name == name || key.alias == Some(name)) {
        // The alias is the newer spelling of its key.
        Some(key) if key.alias == Some(name) && version < GatewayVersion::patch(107) => {
            Lookup::Since(GatewayVersion::patch(107))
        }
        Some(key) if key.since <= version => Lookup::Known(key),
        Some(key) => Lookup::Since(key.since),
        None => Lookup::Unknown,
    }
}
