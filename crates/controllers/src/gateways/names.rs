//! Every fixed name of a gateway: objects, ports, paths. Compatible with what OpenShell and earlier provisioners use.
//!
//! The names of objects are those of the gateway called [`GATEWAY`]; what another one's are called follows from
//! [`GatewayKey`](super::GatewayKey). Touches nothing.

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
/// The static ClusterRole that gateways of several namespaces are bound to instead.
pub const OPERATOR_ROLE: &str = "openshell-gateway-operator";
/// On an OpenShift: the RoleBinding that lets sandbox pods have what they need.
pub const PRIVILEGED_BINDING: &str = "openshell-sandbox-privileged-scc";
/// The ClusterRole of an OpenShift that it refers to.
pub const PRIVILEGED_SCC: &str = "system:openshift:scc:privileged";
/// ConfigMap with `gateway.toml`.
pub const CONFIG: &str = "openshell-gateway-config";
/// Key of the file in [`CONFIG`].
pub const CONFIG_KEY: &str = "gateway.toml";
/// ConfigMap that owns the namespaced objects of a gateway, records which they are and carries the conditions.
pub const ANCHOR: &str = "openshell-gateway-anchor";
/// ConfigMap with what is remembered of a gateway's revisions: the one decided on and the last one that proved good.
pub const REVISIONS: &str = "openshell-gateway-revisions";
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

/// `app.kubernetes.io/name` of everything of a gateway, its pods and the claims of its volumes.
pub const APPLICATION: &str = "openshell";
/// `app.kubernetes.io/managed-by` of what the earlier provisioner made.
pub const EARLIER_PROVISIONER: &str = "agent-control-plane";

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
