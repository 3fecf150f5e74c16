//! The gateway's parser as far as it is known: every table denies unknown fields, values have their types, and a version
//! knows the keys of its time. Written from the list of keys and first versions, apart from `schema.rs`: only for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// Reads a file as a gateway `0.0.patch` would.
pub(super) fn parse(patch: u16, text: &str) -> Result<(), String> {
    let _: File = toml_edit::de::from_str(text).map_err(|error| error.to_string())?;
    let value: Value = toml_edit::de::from_str(text).map_err(|error| error.to_string())?;
    for (path, since) in SINCE {
        if *since > patch && value.pointer(path).is_some() {
            return Err(format!("{path} is unknown before 0.0.{since}"));
        }
    }
    let kubernetes = &value["openshell"]["drivers"]["kubernetes"];
    driver(kubernetes)?;
    let middleware = value["openshell"]["supervisor"]["middleware"].as_array();
    for timeout in middleware.into_iter().flatten().filter_map(|one| one["timeout"].as_str()) {
        let (number, most) = match timeout.strip_suffix("ms") {
            Some(number) => (number, 10..=30_000),
            None => (timeout.strip_suffix('s').unwrap_or_default(), 1..=30),
        };
        if !number.parse::<u64>().is_ok_and(|number| most.contains(&number)) {
            return Err(format!("timeout {timeout}"));
        }
    }
    if value.pointer("/openshell/gateway/otlp/endpoint").is_some_and(|endpoint| endpoint == "") {
        return Err("no endpoint".to_owned());
    }
    if value.pointer("/openshell/gateway/database_url").is_some() {
        return Err("database_url is not allowed in the file".to_owned());
    }
    Ok(())
}

/// What the driver refuses when it starts.
fn driver(table: &Value) -> Result<(), String> {
    let text = |key: &str| table[key].as_str();
    for uid in [&table["sandbox_uid"], &table["sandbox_gid"], &table["sidecar"]["proxy_uid"]] {
        if uid.as_u64().is_some_and(|uid| !(1000..=2_000_000_000).contains(&uid)) {
            return Err(format!("uid {uid}"));
        }
    }
    if let Some(path) = text("provider_spiffe_workload_api_socket_path").filter(|path| !path.trim().is_empty()) {
        let path = std::path::Path::new(path);
        if !path.is_absolute() || path.parent().is_none_or(|parent| parent == std::path::Path::new("/")) {
            return Err(format!("socket {}", path.display()));
        }
    }
    if let Some(url) = text("https_proxy") {
        let url: http::Uri = url.parse().map_err(|error| format!("https_proxy: {error}"))?;
        let sound = url.scheme_str() == Some("http") && url.port().is_some() && matches!(url.path(), "" | "/");
        if !sound || url.authority().is_some_and(|it| it.as_str().contains('@')) || url.query().is_some() {
            return Err(format!("https_proxy {url}"));
        }
    }
    let (name, key) = (text("proxy_auth_secret_name"), text("proxy_auth_secret_key"));
    let proxy = text("https_proxy").is_some();
    if name.is_some() != key.is_some() || (name.is_some() && !proxy) {
        return Err("half a proxy's credentials".to_owned());
    }
    if (name.is_some()) != (table["proxy_auth_allow_insecure"] == true) {
        return Err("credentials in clear text".to_owned());
    }
    if !proxy && (text("no_proxy").is_some() || !table["proxy_connect_by_hostname"].is_null()) {
        return Err("no proxy".to_owned());
    }
    match text("no_proxy") {
        Some(list) if list.trim().is_empty() => Err("no_proxy is empty".to_owned()),
        _ => Ok(()),
    }
}

/// Keys that came after 0.0.60.
const SINCE: &[(&str, u16)] = &[
    ("/openshell/gateway/grpc_rate_limit_requests", 61),
    ("/openshell/gateway/grpc_rate_limit_window_seconds", 61),
    ("/openshell/drivers/kubernetes/provider_spiffe_workload_api_socket_path", 61),
    ("/openshell/drivers/kubernetes/sandbox_uid", 76),
    ("/openshell/drivers/kubernetes/sandbox_gid", 76),
    ("/openshell/drivers/kubernetes/topology", 82),
    ("/openshell/drivers/kubernetes/sidecar", 82),
    ("/openshell/gateway/interceptors", 84),
    ("/openshell/gateway/provider_profile_sources", 84),
    ("/openshell/supervisor", 86),
    ("/openshell/drivers/kubernetes/workspace_storage_class", 94),
    ("/openshell/gateway/otlp", 96),
    ("/openshell/gateway/policy_validation_failure_mode", 97),
    ("/openshell/gateway/credential_drivers", 100),
    ("/openshell/gateway/default_credential_driver", 100),
    ("/openshell/gateway/credential_storage", 100),
    ("/openshell/credential_drivers", 100),
    ("/openshell/gateway/tls/external_cert_path", 106),
    ("/openshell/drivers/kubernetes/workspace_mode", 107),
    ("/openshell/drivers/kubernetes/gateway_id", 107),
    ("/openshell/drivers/kubernetes/managed_ssh_ingress", 107),
    ("/openshell/drivers/kubernetes/https_proxy", 107),
    ("/openshell/drivers/kubernetes/no_proxy", 107),
    ("/openshell/drivers/kubernetes/proxy_auth_secret_name", 107),
    ("/openshell/drivers/kubernetes/proxy_auth_secret_key", 107),
    ("/openshell/drivers/kubernetes/proxy_auth_allow_insecure", 107),
    ("/openshell/drivers/kubernetes/proxy_connect_by_hostname", 107),
    ("/openshell/supervisor/middleware/0/tls_ca_cert_path", 107),
    ("/openshell/supervisor/middleware/0/audience", 107),
    ("/openshell/supervisor/middleware/0/allow_insecure_transport", 107),
    ("/openshell/supervisor/middleware/0/max_payload_bytes", 107),
];

macro_rules! table {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only parsed")]
        struct $name { $($(#[$meta])* $field: $type),* }
    };
}

table!(File { openshell: Root });
table!(Root {
    version: Version,
    gateway: Gateway,
    drivers: Drivers,
    supervisor: Option<Supervisor>,
    credential_drivers: Option<BTreeMap<String, Value>>,
});
table!(Drivers { kubernetes: Kubernetes });
table!(Gateway {
    bind_address: SocketAddr,
    health_bind_address: SocketAddr,
    metrics_bind_address: SocketAddr,
    log_level: Option<String>,
    compute_drivers: Vec<String>,
    sandbox_namespace: String,
    ssh_session_ttl_secs: Option<u64>,
    server_sans: Vec<String>,
    enable_loopback_service_http: Option<bool>,
    default_image: Option<String>,
    supervisor_image: Option<String>,
    client_tls_secret_name: String,
    service_account_name: Option<String>,
    host_gateway_ip: Option<String>,
    enable_user_namespaces: Option<bool>,
    sa_token_ttl_secs: Option<i64>,
    disable_tls: Option<bool>,
    tls: Tls,
    oidc: Option<Oidc>,
    auth: Option<Auth>,
    gateway_jwt: Jwt,
    grpc_rate_limit_requests: Option<u64>,
    grpc_rate_limit_window_seconds: Option<u64>,
    interceptors: Option<Vec<Interceptor>>,
    provider_profile_sources: Option<Vec<ProfileSource>>,
    otlp: Option<Otlp>,
    policy_validation_failure_mode: Option<FailureMode>,
    credential_drivers: Option<Vec<String>>,
    default_credential_driver: Option<String>,
    credential_storage: Option<BTreeMap<String, String>>,
});
table!(Interceptor {
    name: String,
    grpc_endpoint: String,
    tls_ca_cert_path: Option<PathBuf>,
    audience: Option<String>,
    allow_insecure_transport: Option<bool>,
    order: Option<i32>,
    failure_policy: Option<FailurePolicy>,
    timeout: Option<String>,
    max_response_bytes: Option<usize>,
    max_patches: Option<usize>,
    binding_policy: Option<BindingPolicy>,
    bindings: Option<Vec<Binding>>,
});
table!(Binding {
    id: Option<String>,
    rpc: Option<String>,
    service: Option<String>,
    method: Option<String>,
    phases: Option<Vec<Phase>>,
    disabled: Option<bool>,
    failure_policy: Option<FailurePolicy>,
});
table!(Tls {
    cert_path: PathBuf,
    key_path: PathBuf,
    client_ca_path: PathBuf,
    external_cert_path: Option<PathBuf>,
    external_key_path: Option<PathBuf>,
    external_server_names: Option<Vec<String>>,
});
table!(Oidc {
    issuer: String,
    audience: String,
    jwks_ttl_secs: Option<u64>,
    roles_claim: Option<String>,
    admin_role: Option<String>,
    user_role: Option<String>,
    scopes_claim: Option<String>,
});
table!(Auth { allow_unauthenticated_users: bool });
table!(Jwt {
    signing_key_path: PathBuf,
    public_key_path: PathBuf,
    kid_path: PathBuf,
    gateway_id: String,
    ttl_secs: u64,
});
table!(Otlp { endpoint: String, service_name: Option<String> });
table!(Supervisor { middleware: Option<Vec<Middleware>> });
table!(Middleware {
    name: String,
    grpc_endpoint: String,
    #[serde(alias = "max_payload_bytes")]
    max_body_bytes: u64,
    timeout: Option<String>,
    tls_ca_cert_path: Option<PathBuf>,
    audience: Option<String>,
    allow_insecure_transport: Option<bool>,
});
table!(Kubernetes {
    namespace: Option<String>,
    grpc_endpoint: String,
    ssh_socket_path: Option<String>,
    supervisor_sideload_method: SideloadMethod,
    image_pull_policy: Option<String>,
    image_pull_secrets: Option<Vec<String>>,
    supervisor_image_pull_policy: Option<String>,
    app_armor_profile: Option<String>,
    workspace_default_storage_size: Option<String>,
    default_runtime_class_name: Option<String>,
    default_image: Option<String>,
    supervisor_image: Option<String>,
    client_tls_secret_name: Option<String>,
    service_account_name: String,
    host_gateway_ip: Option<String>,
    enable_user_namespaces: Option<bool>,
    sa_token_ttl_secs: Option<i64>,
    provider_spiffe_workload_api_socket_path: Option<String>,
    sandbox_uid: Option<u32>,
    sandbox_gid: Option<u32>,
    topology: Option<Topology>,
    sidecar: Option<Sidecar>,
    workspace_storage_class: Option<String>,
    workspace_mode: Option<WorkspaceMode>,
    gateway_id: Option<String>,
    operator_namespace_label: Option<String>,
    operator_namespace_file: Option<PathBuf>,
    managed_ssh_ingress: Option<SshIngress>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
    proxy_auth_secret_name: Option<String>,
    proxy_auth_secret_key: Option<String>,
    proxy_auth_allow_insecure: Option<bool>,
    proxy_connect_by_hostname: Option<bool>,
});
table!(Sidecar { proxy_uid: Option<u32>, process_binary_aware_network_policy: Option<bool> });
table!(SshIngress {
    enabled: bool,
    gateway_namespace: Option<String>,
    gateway_pod_selector: Option<BTreeMap<String, String>>,
});

/// The only schema version that these gateways accept.
struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format!("version {other}"))),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only parsed")]
enum ProfileSource {
    Builtin {},
    User {},
    Interceptor { name: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FailurePolicy {
    FailClosed,
    FailOpen,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum BindingPolicy {
    Dynamic,
    Allowlist,
    Exact,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    ModifyOperation,
    Validate,
    PostCommit,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FailureMode {
    FailClosed,
    RetainLastValid,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SideloadMethod {
    InitContainer,
    ImageVolume,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Topology {
    Combined,
    Sidecar,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WorkspaceMode {
    Shared,
    Managed,
    Operator,
}
