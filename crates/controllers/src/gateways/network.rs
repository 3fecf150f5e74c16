//! Who may connect to whom: the network policies of one gateway and its sandboxes, and the operator's words for them. Pure.
//!
//! Selectors hold for both IP families. Kubelets reach their pods' probes whatever a policy says, so the health port is open
//! to nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paddock_api::labels;
use paddock_policy::tenant::TenantName;

use super::key::GatewayKey;
use super::names;
use super::render::{matching, meta};
use super::resource::Served;

/// The label that every namespace has with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Who may reach a gateway besides its own sandboxes, and whom it may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peers<'a> {
    /// Namespace of the control plane, whose pods reach the gateway's API.
    pub(super) control_plane: &'a str,
    /// The ingress controller, when gateways are exposed.
    pub(super) ingress: Option<&'a PodsOf>,
    /// The monitoring system, which may read the metrics.
    pub(super) monitoring: Option<&'a PodsOf>,
    /// Where the gateway may connect to, besides DNS; `None` for anywhere.
    pub(super) egress: Option<&'a Egress>,
}

/// Pods by their namespace and labels: `NAMESPACE` or `NAMESPACE/LABEL=VALUE,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsOf {
    namespace: TenantName,
    labels: BTreeMap<String, String>,
}

/// The text does not name pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodsError {
    /// The part before the slash.
    #[error("{0:?} cannot be a namespace: {1}")]
    Namespace(String, String),
    /// One of the labels.
    #[error("{0:?} is not a label LABEL=VALUE")]
    Label(String),
}

impl FromStr for PodsOf {
    type Err = PodsError;

    fn from_str(text: &str) -> Result<Self, PodsError> {
        // Keys of labels may hold a slash themselves: the first one ends the namespace.
        let (namespace, labels) = text.split_once('/').unwrap_or((text, ""));
        let bad = |error: &dyn fmt::Display| PodsError::Namespace(namespace.to_owned(), error.to_string());
        let parsed = namespace.parse::<TenantName>().map_err(|error| bad(&error))?;
        let pairs = labels.split(',').filter(|_| !labels.is_empty());
        let pairs = pairs.map(|pair| label(pair).ok_or_else(|| PodsError::Label(pair.to_owned())));
        Ok(Self { namespace: parsed, labels: pairs.collect::<Result<_, _>>()? })
    }
}

impl PodsOf {
    fn peer(&self) -> NetworkPolicyPeer {
        NetworkPolicyPeer {
            namespace_selector: in_namespace(self.namespace.as_str()),
            pod_selector: (!self.labels.is_empty()).then(|| matching(self.labels.clone())),
            ..NetworkPolicyPeer::default()
        }
    }
}

fn label(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.trim().split_once('=')?;
    is_label(key, value).then(|| (key.to_owned(), value.to_owned()))
}

/// Whether this can be a label of an object.
pub(super) fn is_label(key: &str, value: &str) -> bool {
    let word = |text: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        text.len() <= 63 && edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(inner)
    };
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefixed = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(word));
    prefixed && word(name) && (value.is_empty() || word(value))
}

/// Where gateways may connect to: networks, each with a port or all ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress(Vec<Network>);

/// `10.0.0.0/8`, `2001:db8::/32:5432`: a network and perhaps the only port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    cidr: String,
    port: Option<u16>,
}

/// The text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network such as 10.0.0.0/8, 192.0.2.7/32:5432 or 2001:db8::/32:443")]
pub struct EgressError(String);

impl FromStr for Egress {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let read = |part: &str| network(part.trim()).ok_or_else(|| EgressError(part.to_owned()));
        text.split(',').map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Option<Network> {
    let (address, rest) = text.split_once('/')?;
    let (bits, port) = rest.split_once(':').map_or((rest, None), |(bits, port)| (bits, Some(port)));
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then(|| Network { cidr: format!("{address}/{bits}"), port })
}

/// Nothing may connect to a sandbox: the gateway reaches it over the connection that the sandbox opened.
pub(super) fn sandbox_policy(key: &GatewayKey) -> NetworkPolicy {
    sandboxes_closed(meta(key, names::SANDBOX_POLICY))
}

/// The same in whichever namespace.
pub(super) fn sandboxes_closed(metadata: ObjectMeta) -> NetworkPolicy {
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(sandbox_pods()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// The gateway's own ports: its API from sandboxes, the control plane and the ingress controller, metrics from monitoring.
pub(super) fn gateway_policy(key: &GatewayKey, serves: Option<&Served>, peers: &Peers<'_>) -> NetworkPolicy {
    let mut callers = vec![
        NetworkPolicyPeer { pod_selector: Some(sandbox_pods()), ..NetworkPolicyPeer::default() },
        NetworkPolicyPeer {
            namespace_selector: in_namespace(peers.control_plane),
            pod_selector: Some(matching([(labels::NAME.to_owned(), labels::OPERATOR.to_owned())].into())),
            ..NetworkPolicyPeer::default()
        },
    ];
    callers.extend(serves.map(|served| NetworkPolicyPeer {
        namespace_selector: Some(matching(served.labels().clone())),
        pod_selector: Some(sandbox_pods()),
        ..NetworkPolicyPeer::default()
    }));
    callers.extend(peers.ingress.map(PodsOf::peer));
    let mut ingress =
        vec![NetworkPolicyIngressRule { from: Some(callers), ports: Some(vec![port("TCP", names::GRPC_PORT)]) }];
    ingress.extend(peers.monitoring.map(|monitoring| NetworkPolicyIngressRule {
        from: Some(vec![monitoring.peer()]),
        ports: Some(vec![port("TCP", names::METRICS_PORT)]),
    }));
    let mut types = vec!["Ingress".to_owned()];
    types.extend(peers.egress.map(|_| "Egress".to_owned()));
    NetworkPolicy {
        metadata: meta(key, names::GATEWAY_POLICY),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(key.pod_selector())),
            policy_types: Some(types),
            ingress: Some(ingress),
            egress: peers.egress.map(egress),
        }),
    }
}

/// Names must resolve; everything else is by the operator's list.
fn egress(allowed: &Egress) -> Vec<NetworkPolicyEgressRule> {
    let dns = NetworkPolicyEgressRule { to: None, ports: Some(vec![port("UDP", 53), port("TCP", 53)]) };
    let networks = allowed.0.iter().map(|network| NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            ip_block: Some(IPBlock { cidr: network.cidr.clone(), except: None }),
            ..NetworkPolicyPeer::default()
        }]),
        ports: network.port.map(|only| vec![port("TCP", only)]),
    });
    [dns].into_iter().chain(networks).collect()
}

fn port(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port.into())),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}

fn in_namespace(name: &str) -> Option<LabelSelector> {
    Some(matching([(NAMESPACE_NAME.to_owned(), name.to_owned())].into()))
}

fn sandbox_pods() -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: names::SANDBOX_POD_LABEL.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
        ..LabelSelector::default()
    }
}

#[cfg(test)]
mod tests {
    use paddock_trials::network::{Endpoint, allowed};

    use super::*;

    const TENANT: &str = "tenant-a";
    const CONTROL: &str = "paddock-system";

    fn policies(ingress: Option<&str>, monitoring: Option<&str>, egress: Option<&str>) -> Vec<NetworkPolicy> {
        let pods = |text: Option<&str>| text.map(|text| text.parse::<PodsOf>().unwrap());
        let (ingress, monitoring) = (pods(ingress), pods(monitoring));
        let egress = egress.map(|text| text.parse::<Egress>().unwrap());
        let peers = Peers {
            control_plane: CONTROL,
            ingress: ingress.as_ref(),
            monitoring: monitoring.as_ref(),
            egress: egress.as_ref(),
        };
        vec![sandbox_policy(&key(TENANT)), gateway_policy(&key(TENANT), None, &peers)]
    }

    fn key(namespace: &str) -> GatewayKey {
        GatewayKey::default_of(namespace.parse().unwrap())
    }

    fn gateway(namespace: &str) -> Endpoint {
        let key = key(namespace);
        let mut labels = key.object_labels();
        labels.extend(key.pod_selector());
        labels.into_iter().fold(Endpoint::pod(namespace), |pod, (key, value)| pod.label(&key, &value))
    }

    fn sandbox(namespace: &str) -> Endpoint {
        Endpoint::pod(namespace).label(names::SANDBOX_POD_LABEL, "1a2b3c")
    }

    fn operator() -> Endpoint {
        Endpoint::pod(CONTROL).label(labels::NAME, labels::OPERATOR)
    }

    fn reaches(policies: &[NetworkPolicy], from: &Endpoint, to: &Endpoint, port: u16) -> bool {
        allowed(policies, from, to, port, "TCP")
    }

    #[test]
    fn gw_l10_whoever_needs_the_gateway_reaches_it() {
        let policies =
            policies(Some("ingress-nginx/app.kubernetes.io/name=ingress-nginx"), Some("monitoring/app=prom"), None);
        let ingress = Endpoint::pod("ingress-nginx").label("app.kubernetes.io/name", "ingress-nginx");
        let prometheus = Endpoint::pod("monitoring").label("app", "prom");
        for (who, from, port) in [
            ("a sandbox", sandbox(TENANT), names::GRPC_PORT),
            ("the control plane", operator(), names::GRPC_PORT),
            ("the ingress controller", ingress, names::GRPC_PORT),
            ("monitoring", prometheus, names::METRICS_PORT),
            ("the kubelet", Endpoint::node(), names::HEALTH_PORT),
        ] {
            assert!(reaches(&policies, &from, &gateway(TENANT), port), "{who}");
        }
    }

    #[test]
    fn gw_w09_strangers_do_not_reach_the_gateway() {
        let policies = policies(Some("ingress-nginx/app=nginx"), Some("monitoring/app=prom"), None);
        let grpc = names::GRPC_PORT;
        for (who, from, port) in [
            ("a sandbox of another tenant", sandbox("tenant-b"), grpc),
            ("another tenant's gateway", gateway("tenant-b"), grpc),
            ("a pod of the tenant", Endpoint::pod(TENANT).label("app", "web"), grpc),
            ("another pod of the control plane's namespace", Endpoint::pod(CONTROL).label("app", "web"), grpc),
            ("the operator's label elsewhere", Endpoint::pod("x").label(labels::NAME, labels::OPERATOR), grpc),
            ("another pod beside the ingress controller", Endpoint::pod("ingress-nginx"), grpc),
            ("the internet, v4", Endpoint::address("198.51.100.7"), grpc),
            ("the internet, v6", Endpoint::address("2001:db8::7"), grpc),
            ("a sandbox, metrics", sandbox(TENANT), names::METRICS_PORT),
            ("the control plane, metrics", operator(), names::METRICS_PORT),
            ("monitoring, the API", Endpoint::pod("monitoring").label("app", "prom"), grpc),
            ("a sandbox, health", sandbox(TENANT), names::HEALTH_PORT),
        ] {
            assert!(!reaches(&policies, &from, &gateway(TENANT), port), "{who}");
        }
    }

    #[test]
    fn gw_a06_nothing_connects_to_a_sandbox() {
        let policies = policies(Some("ingress-nginx"), Some("monitoring"), None);
        for from in
            [gateway(TENANT), sandbox(TENANT), operator(), Endpoint::pod(TENANT), Endpoint::address("2001:db8::7")]
        {
            for port in [22, 80, 2222, names::GRPC_PORT] {
                assert!(!reaches(&policies, &from, &sandbox(TENANT), port), "{from:?}");
            }
        }
    }

    #[test]
    fn gw_w09_other_pods_of_the_namespace_are_left_as_they_are() {
        let policies = policies(None, None, Some("10.0.0.0/8"));
        let web = Endpoint::pod(TENANT).label("app", "web");
        assert!(reaches(&policies, &Endpoint::address("198.51.100.7"), &web, 80));
        assert!(reaches(&policies, &web, &Endpoint::address("198.51.100.7"), 80));
    }

    #[test]
    fn gw_w09_nobody_but_those_named_is_let_in_by_default() {
        let policies = policies(None, None, None);
        for namespace in ["ingress-nginx", "monitoring", "kube-system"] {
            for port in [names::GRPC_PORT, names::METRICS_PORT] {
                assert!(!reaches(&policies, &Endpoint::pod(namespace), &gateway(TENANT), port), "{namespace} {port}");
            }
        }
    }

    #[test]
    fn gw_w09_egress_is_what_the_operator_lists_and_dns() {
        let policies = policies(None, None, Some("10.96.0.1/32:443, 2001:db8::/32:5432"));
        let from = gateway(TENANT);
        let to = |address: &str, port| reaches(&policies, &from, &Endpoint::address(address), port);
        assert!(to("10.96.0.1", 443) && to("2001:db8::5", 5432) && to("198.51.100.7", 53));
        assert!(!to("10.96.0.1", 80) && !to("10.96.0.2", 443) && !to("2001:db9::5", 5432) && !to("198.51.100.7", 443));
        assert!(allowed(&policies, &from, &Endpoint::pod("kube-system"), 53, "UDP"));
    }

    #[test]
    fn gw_w09_without_a_list_the_gateway_connects_anywhere() {
        assert!(reaches(&policies(None, None, None), &gateway(TENANT), &Endpoint::address("198.51.100.7"), 443));
    }

    #[test]
    fn pods_are_told_by_namespace_and_labels() {
        for (text, good) in [
            ("monitoring", true),
            ("monitoring/app=prometheus", true),
            ("monitoring/app.kubernetes.io/name=prometheus,tier=", true),
            ("", false),
            ("Monitoring", false),
            ("monitoring/app", false),
            ("monitoring/=x", false),
            ("monitoring/a=b=c", false),
            ("monitoring/a=$(x)", false),
            ("monitoring/a=b,", false),
        ] {
            assert_eq!(text.parse::<PodsOf>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn networks_are_told_by_prefix_and_perhaps_a_port() {
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("0.0.0.0/0,::/0", true),
            ("2001:db8::/32:443", true),
            ("10.0.0.0", false),
            ("10.0.0.0/33", false),
            ("::/129", false),
            ("10.0.0.0/8:0", false),
            ("10.0.0.0/8:65536", false),
            ("10.0.0.0/8,", false),
            ("x/8", false),
        ] {
            assert_eq!(text.parse::<Egress>().is_ok(), good, "{text}");
        }
    }
}
