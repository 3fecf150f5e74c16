//! The file without a tenant's patch, by gateway version.

use serde_json::{Value, json};

use super::{Inputs, KEK_ENV};
use crate::gateways::names;
use crate::gateways::platform::Sideload;
use crate::gateways::version::GatewayVersion;

/// What we render. Only keys that the gateway of that version knows.
pub(super) fn defaults(inputs: Inputs<'_>) -> Value {
    let Inputs { key, serves, version, server_names, cluster, sandbox_image, .. } = inputs;
    let since = |patch| version >= GatewayVersion::patch(patch);
    let mut gateway = json!({
        "bind_address": format!("0.0.0.0:{}", names::GRPC_PORT),
        "health_bind_address": format!("0.0.0.0:{}", names::HEALTH_PORT),
        "metrics_bind_address": format!("0.0.0.0:{}", names::METRICS_PORT),
        "log_level": "info",
        "compute_drivers": ["kubernetes"],
        "sandbox_namespace": key.namespace(),
        "default_image": sandbox_image,
        "client_tls_secret_name": key.clients_secret(serves.is_some()),
        "enable_loopback_service_http": true,
        "server_sans": server_names,
        "tls": {
            "cert_path": format!("{}/tls.crt", names::SERVER_TLS_DIR),
            "key_path": format!("{}/tls.key", names::SERVER_TLS_DIR),
            "client_ca_path": format!("{}/ca.crt", names::CLIENT_CA_DIR),
        },
        // Anyone with a client certificate would otherwise act as an administrator, and every sandbox holds one.
        "auth": { "allow_unauthenticated_users": false },
        // Without it there is no authenticator at all, and the gateway takes everyone for the local developer.
        "gateway_jwt": {
            "signing_key_path": format!("{}/signing.pem", names::JWT_DIR),
            "public_key_path": format!("{}/public.pem", names::JWT_DIR),
            "kid_path": format!("{}/kid", names::JWT_DIR),
            "gateway_id": key.gateway_id(serves.is_some()),
            "ttl_secs": 3600,
        },
    });
    // `supervisor_image` is left out: the gateway then takes the supervisor that it was built with.
    let mut kubernetes = json!({
        "grpc_endpoint": format!("https://{}:{}", key.host(), names::GRPC_PORT),
        "service_account_name": key.sandbox_account(serves.is_some()),
        "supervisor_sideload_method": Sideload::of(cluster).word(),
        "sa_token_ttl_secs": 3600,
        "app_armor_profile": "Unconfined",
    });
    if since(82) {
        kubernetes["topology"] = "combined".into();
    }
    if since(97) {
        gateway["policy_validation_failure_mode"] = "fail_closed".into();
    }
    if since(100) {
        gateway["credential_storage"] = json!({ "key_encryption_key_env": KEK_ENV });
    }
    if since(107) {
        match serves {
            None => kubernetes["workspace_mode"] = "shared".into(),
            Some(served) => {
                kubernetes["workspace_mode"] = "operator".into();
                kubernetes["operator_namespace_label"] = served.selector().into();
            }
        }
        kubernetes["gateway_id"] = key.gateway_id(serves.is_some()).into();
        kubernetes["managed_ssh_ingress"] = json!({ "enabled": false });
    }
    json!({ "openshell": { "version": 1, "gateway": gateway, "drivers": { "kubernetes": kubernetes } } })
}

/// What we render otherwise because of what a tenant chose.
pub(super) fn adapt(file: &mut Value, patch: &Value) {
    // In one container the supervisor sets up the sandbox's confinement itself, which the runtime's profile forbids. As a
    // container of its own it needs no such freedom in the agent's.
    if patch.pointer("/openshell/drivers/kubernetes/topology").is_some_and(|topology| topology == "sidecar") {
        file["openshell"]["drivers"]["kubernetes"]["app_armor_profile"] = "RuntimeDefault".into();
    }
}
