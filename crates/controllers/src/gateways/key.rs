//! One gateway among all of a cluster, and the names of its objects. Touches nothing.
//!
//! The gateway called [`names::GATEWAY`] has the names that OpenShell and earlier provisioners gave. Those of another one
//! are its own name and, behind a dot, what they are: `team` has the Service `team` and the ConfigMap `team.config`. No
//! gateway's name has a dot or is one of the default's, so no two gateways of a namespace ever meet in a name.

use std::collections::BTreeMap;
use std::fmt;

use paddock_api::labels;
use paddock_policy::tenant::{GatewayName, TenantName};
use serde_json::Value;

use super::names;

/// A gateway: its namespace and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayKey {
    /// The tenant, which is also the namespace.
    pub namespace: TenantName,
    /// The gateway's name; `None` is `openshell-gateway`, which a tenant of `platform-config` has.
    gateway: Option<GatewayName>,
}

impl GatewayKey {
    /// The gateway `gateway` in `namespace`.
    pub fn new(namespace: TenantName, gateway: GatewayName) -> Self {
        Self { namespace, gateway: (gateway.as_str() != names::GATEWAY).then_some(gateway) }
    }

    /// The one gateway of a tenant of `platform-config`.
    pub const fn default_of(namespace: TenantName) -> Self {
        Self { namespace, gateway: None }
    }

    /// The gateway to which an object of ours belongs, by its labels.
    pub(super) fn of_object(object: &Value) -> Option<Self> {
        let label = |name: &str| object["metadata"]["labels"][name].as_str();
        let namespace = label(labels::TENANT)?.parse().ok()?;
        Some(match label(labels::GATEWAY) {
            Some(gateway) => Self::new(namespace, gateway.parse().ok()?),
            None => Self::default_of(namespace),
        })
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let (namespace, gateway) = text.split_once('/')?;
        Some(Self::new(namespace.parse().ok()?, gateway.parse().ok()?))
    }

    /// The namespace as text.
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// The gateway's name: that of its Service, StatefulSet, ServiceAccount and NetworkPolicy.
    pub fn gateway(&self) -> &str {
        self.gateway.as_ref().map_or(names::GATEWAY, GatewayName::as_str)
    }

    /// How people call it: by its namespace, and by its name as well unless that is the one which an entry has.
    pub fn called(&self) -> String {
        if self.is_default() { self.namespace().to_owned() } else { self.to_string() }
    }

    /// Whether it has the name that a tenant of `platform-config` gets.
    pub const fn is_default(&self) -> bool {
        self.gateway.is_none()
    }

    /// The name of an object of this gateway: `default` for the gateway of that name, else what `default` says behind the
    /// gateway's own name.
    pub fn name_of(&self, default: &str) -> String {
        match &self.gateway {
            None => default.to_owned(),
            Some(_) if default == names::GATEWAY => self.gateway().to_owned(),
            Some(gateway) => {
                let part = default.strip_prefix("openshell-gateway-").or_else(|| default.strip_prefix("openshell-"));
                format!("{gateway}.{}", part.unwrap_or(default))
            }
        }
    }

    /// How the gateway calls itself towards sandboxes and in its tokens. No two gateways that could meet share it: those of
    /// a namespace have different names, and a gateway that serves other namespaces (`shared`) has an identifier that is its
    /// own in the whole cluster. A DNS label, because it becomes the value of one.
    pub fn gateway_id(&self, shared: bool) -> String {
        match &self.gateway {
            None if !shared => names::GATEWAY_ID.to_owned(),
            _ => format!("{}-{}", self.gateway(), digest(&self.to_string())),
        }
    }

    /// The ServiceAccount of the sandboxes of this gateway, in whichever namespace.
    pub(super) fn sandbox_account(&self, shared: bool) -> String {
        if shared { format!("{}.sandbox", self.gateway_id(shared)) } else { self.name_of(names::SANDBOX_ACCOUNT) }
    }

    /// The Secret that sandboxes of this gateway mount, in whichever namespace.
    pub(super) fn clients_secret(&self, shared: bool) -> String {
        if shared { format!("{}.client-tls", self.gateway_id(shared)) } else { self.name_of(names::CLIENT_TLS) }
    }

    /// The gateway's own binding to the static ClusterRole [`names::NODE_READER`].
    pub fn node_reader_binding(&self) -> String {
        self.outside(names::NODE_READER)
    }

    /// The Secret in the control plane's namespace with the gateway's authority: `openshell-ca-<namespace>`, or when that
    /// would be too long for a name that others may turn into a label (63 characters), its start and a digest of the whole.
    pub fn ca_secret(&self) -> String {
        bounded(&self.outside("openshell-ca"))
    }

    /// A name outside its namespace.
    fn outside(&self, prefix: &str) -> String {
        match &self.gateway {
            None => format!("{prefix}-{}", self.namespace),
            Some(gateway) => format!("{prefix}-{}.{gateway}", self.namespace),
        }
    }

    /// Labels of every object of the gateway.
    pub(super) fn object_labels(&self) -> BTreeMap<String, String> {
        let labels = [
            (labels::NAME, names::APPLICATION),
            (labels::COMPONENT, "gateway"),
            (labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK),
            (labels::TENANT, self.namespace()),
        ];
        let of_its_own = self.gateway.as_ref().map(|gateway| (labels::GATEWAY, gateway.as_str()));
        labels.into_iter().chain(of_its_own).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The labels by which an object is told to be this gateway's.
    pub(super) fn own_labels(&self) -> BTreeMap<String, String> {
        let mut own = self.object_labels();
        own.retain(|label, _| matches!(label.as_str(), labels::TENANT | labels::GATEWAY));
        own
    }

    /// Labels that select the gateway's pods, and no other pod.
    pub(super) fn pod_selector(&self) -> BTreeMap<String, String> {
        [(labels::NAME, names::APPLICATION), (labels::INSTANCE, self.gateway())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// The name under which sandboxes reach the gateway.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.gateway(), self.namespace)
    }

    /// The names under which sandboxes and the control plane reach the gateway; always in its certificate.
    pub(super) fn mandatory_server_names(&self) -> [String; 7] {
        let (gateway, namespace) = (self.gateway(), self.namespace());
        [
            gateway.to_owned(),
            format!("{gateway}.{namespace}"),
            format!("{gateway}.{namespace}.svc"),
            self.host(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ]
    }
}

/// `namespace/gateway`, as logs and metrics have it.
impl fmt::Display for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.gateway())
    }
}

/// The name, or when it has more than 63 characters its start and a digest of the whole.
fn bounded(name: &str) -> String {
    if name.len() <= 63 {
        return name.to_owned();
    }
    let start = name.get(..52).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{start}-{}", digest(name))
}

fn digest(text: &str) -> String {
    let mut digest = paddock_pki::sha256_hex(text.as_bytes());
    digest.truncate(10);
    digest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, gateway: &str) -> GatewayKey {
        GatewayKey::new(namespace.parse().unwrap(), gateway.parse().unwrap())
    }

    /// Every name of an object of a gateway.
    const ALL: [&str; 8] = [
        names::GATEWAY,
        names::SANDBOX_ACCOUNT,
        names::CONFIG,
        names::ANCHOR,
        names::SERVER_TLS,
        names::CLIENT_TLS,
        names::JWT_KEYS,
        names::KEK,
    ];

    #[test]
    fn gw_w15_names_derive_from_the_gateway() {
        let team = key("tenant-a", "team");
        assert_eq!(
            ALL.map(|name| team.name_of(name)),
            [
                "team",
                "team.sandbox",
                "team.config",
                "team.anchor",
                "team.server-tls",
                "team.client-tls",
                "team.jwt-keys",
                "team.credential-storage-key-encryption-key",
            ]
        );
        assert_eq!(team.gateway_id(false), format!("team-{}", digest("tenant-a/team")));
        assert_eq!(team.node_reader_binding(), "openshell-gateway-node-reader-tenant-a.team");
        assert_eq!(team.ca_secret(), "openshell-ca-tenant-a.team");
    }

    #[test]
    fn gw_w15_the_default_gateway_has_the_names_of_earlier_provisioners() {
        let default = key("tenant-a", "openshell-gateway");
        assert_eq!(default, GatewayKey::default_of("tenant-a".parse().unwrap()));
        assert_eq!(ALL.map(|name| default.name_of(name)), ALL);
        assert_eq!(default.ca_secret(), "openshell-ca-tenant-a");
        assert_eq!(default.gateway_id(false), "openshell-gateway");
        assert_eq!(default.node_reader_binding(), "openshell-gateway-node-reader-tenant-a");
    }

    /// Two gateways whose names were chosen to meet, in one namespace and across two.
    #[test]
    fn gw_w15_no_two_gateways_share_a_name() {
        let keys = [
            key("a", "openshell-gateway"),
            key("a", "openshell"),
            key("a", "openshell-gateway-a"),
            key("a", "x"),
            key("a", "x-sandbox"),
            key("a-x", "openshell-gateway"),
            key("a-x", "b"),
        ];
        for name in &ALL[1..] {
            assert!(name.parse::<GatewayName>().is_err(), "{name}");
        }
        let within = keys.iter().flat_map(|key| ALL.map(|name| (key.namespace().to_owned(), key.name_of(name))));
        assert_eq!(within.collect::<BTreeSet<_>>().len(), keys.len() * ALL.len());
        let outside: BTreeSet<_> = keys.iter().flat_map(|key| [key.ca_secret(), key.node_reader_binding()]).collect();
        assert_eq!(outside.len(), keys.len() * 2);
    }

    #[test]
    fn gw_w15_long_names_are_shortened_with_a_digest() {
        let of = |last: &str| GatewayKey::default_of(format!("{}{last}", "x".repeat(62)).parse().unwrap()).ca_secret();
        assert_eq!(of("a").len(), 63);
        assert_ne!(of("a"), of("b"));
        let longest = key(&"x".repeat(63), &"y".repeat(52));
        assert_eq!((longest.ca_secret().len(), longest.gateway_id(true).len()), (63, 63));
        assert!(longest.node_reader_binding().len() <= 253);
    }

    #[test]
    fn gw_l09_labels_lead_back_to_the_gateway() {
        for key in [key("tenant-a", "team"), key("tenant-a", "openshell-gateway")] {
            let object = serde_json::json!({ "metadata": { "labels": key.object_labels() } });
            assert_eq!(GatewayKey::of_object(&object), Some(key));
        }
        assert_eq!(GatewayKey::of_object(&serde_json::json!({ "metadata": { "labels": { "a": "b" } } })), None);
    }

    proptest! {
        #[test]
        fn shortened_names_end_like_names(namespace in "[a-z][a-z0-9-]{40,61}[a-z]", gateway in "[a-z][a-z0-9-]{0,50}[a-z]") {
            let key = key(&namespace, &gateway);
            for name in [key.ca_secret(), key.gateway_id(true)] {
                prop_assert!(name.len() <= 63 && name.ends_with(|c: char| c.is_ascii_alphanumeric()), "{}", name);
            }
        }
    }
}
