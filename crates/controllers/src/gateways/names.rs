//! Every fixed name of a gateway: objects, ports, paths. Compatible with what OpenShell and earlier provisioners use.
//! Touches nothing.

use std::collections::BTreeMap;

use paddock_api::labels;

/// Service, StatefulSet, ServiceAccount of the gateway.
pub const GATEWAY: &str = "openshell-gateway";
/// The gateway's own identifier in its tokens.
pub const GATEWAY_ID: &str = "openshell-gateway";
/// ServiceAccount of sandbox pods.
pub const SANDBOX_ACCOUNT: &str = "openshell-gateway-sandbox";
/// Role and RoleBinding of the gateway in its namespace.
pub const SANDBOX_ROLE: &str = "openshell-gateway-sandbox";
/// The static ClusterRole that every gateway is bound to; the binding has the namespace as suffix.
pub const NODE_READER: &str = "openshell-gateway-node-reader";
/// ConfigMap with `gateway.toml`.
pub const CONFIG: &str = "openshell-gateway-config";
/// Key of the file in [`CONFIG`].
pub const CONFIG_KEY: &str = "gateway.toml";
/// ConfigMap that owns the namespaced objects of a gateway, records which they are and carries the conditions.
pub const ANCHOR: &str = "openshell-gateway-anchor";
/// Secret with the server's certificate.
pub const SERVER_TLS: &str = "openshell-server-tls";
/// Secret with the clients' certificate, mounted into sandboxes.
pub const CLIENT_TLS: &str = "openshell-client-tls";
/// Secret with the token keys.
pub const JWT_KEYS: &str = "openshell-gateway-jwt-keys";
/// Secret with the key that encrypts stored credentials (from 0.0.100 on).
pub const KEK: &str = "openshell-gateway-credential-storage-key-encryption-key";
/// Key within [`KEK`].
pub const KEK_KEY: &str = "key-encryption-key";
/// Key with the connection string within the Secret of an external database.
pub const DATABASE_KEY: &str = "uri";
/// NetworkPolicy that lets nothing but the gateway reach sandboxes.
pub const SANDBOX_POLICY: &str = "openshell-gateway-sandbox";
/// NetworkPolicy of the gateway's own ports.
pub const GATEWAY_POLICY: &str = "openshell-gateway";
/// Label that the agent-sandbox controller puts on sandbox pods.
pub const SANDBOX_POD_LABEL: &str = "agents.x-k8s.io/sandbox-name-hash";
/// The CustomResourceDefinition that the gateway needs.
pub const SANDBOX_CRD: &str = "sandboxes.agents.x-k8s.io";

/// gRPC and HTTP.
pub const GRPC_PORT: u16 = 8080;
/// Probes; reachable in the pod only.
pub const HEALTH_PORT: u16 = 8081;
/// Prometheus.
pub const METRICS_PORT: u16 = 9090;

pub(super) const CONFIG_DIR: &str = "/etc/openshell";
pub(super) const SERVER_TLS_DIR: &str = "/etc/openshell-tls/server";
pub(super) const CLIENT_CA_DIR: &str = "/etc/openshell-tls/client-ca";
pub(super) const JWT_DIR: &str = "/etc/openshell-jwt";
pub(super) const DATA_DIR: &str = "/var/openshell";

/// Labels of every object of a tenant.
pub(super) fn object_labels(tenant: &str) -> BTreeMap<String, String> {
    let labels = [
        (labels::NAME, "openshell"),
        (labels::COMPONENT, "gateway"),
        (labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK),
        (labels::TENANT, tenant),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Labels that select the gateway's pods, and no other pod.
pub(super) fn pod_selector() -> BTreeMap<String, String> {
    [(labels::NAME, "openshell"), (labels::INSTANCE, GATEWAY)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The names under which sandboxes and the control plane reach the gateway; always in its certificate.
pub(super) fn mandatory_server_names(namespace: &str) -> [String; 7] {
    [
        GATEWAY.to_owned(),
        format!("{GATEWAY}.{namespace}"),
        format!("{GATEWAY}.{namespace}.svc"),
        format!("{GATEWAY}.{namespace}.svc.cluster.local"),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ]
}

/// The Secret in the control plane's namespace with a tenant's authority: `openshell-ca-<namespace>`, or when that would be
/// too long for a name that others may turn into a label (63 characters), its start and a digest of the whole.
pub fn ca_secret(namespace: &str) -> String {
    let name = format!("openshell-ca-{namespace}");
    if name.len() <= 63 {
        return name;
    }
    let digest = paddock_pki::sha256_hex(name.as_bytes());
    format!("{}-{}", name[..52].trim_end_matches('-'), &digest[..10])
}

#[cfg(test)]
mod tests {
    use super::ca_secret;

    #[test]
    fn long_namespaces_get_a_shortened_authority_name() {
        assert_eq!(ca_secret("tenant-a"), "openshell-ca-tenant-a");
        let (one, other) = (ca_secret(&format!("{}a", "x".repeat(62))), ca_secret(&format!("{}b", "x".repeat(62))));
        assert_eq!(one.len(), 63);
        assert_ne!(one, other);
    }
}
