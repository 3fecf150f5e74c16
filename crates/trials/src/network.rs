//! Who reaches whom under a set of network policies, as the NetworkPolicy API defines it: so that connectivity is tested
//! without a network. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(End);

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Pod { namespace: String, labels: BTreeMap<String, String> },
    Address(IpAddr),
    Node,
}

impl Endpoint {
    /// A pod without labels, in a namespace whose only label is its name.
    pub fn pod(namespace: &str) -> Self {
        Self(End::Pod { namespace: namespace.to_owned(), labels: BTreeMap::new() })
    }

    /// The pod with this label besides.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        if let End::Pod { labels, .. } = &mut self.0 {
            labels.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// Something outside of the cluster.
    ///
    /// # Panics
    /// When the text is no address.
    pub fn address(text: &str) -> Self {
        Self(End::Address(text.parse().expect("an address")))
    }

    /// The node that the other end runs on: policies never keep it out.
    pub const fn node() -> Self {
        Self(End::Node)
    }
}

/// Whether `from` may open a connection to `port` of `to`: its own side lets it out, and the other lets it in.
pub fn allowed(policies: &[NetworkPolicy], from: &Endpoint, to: &Endpoint, port: u16, protocol: &str) -> bool {
    lets(policies, from, to, (port, protocol), Way::Out) && lets(policies, to, from, (port, protocol), Way::In)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Whether the policies that select `here` let it talk to `there` this way. A pod that none selects is free.
fn lets(policies: &[NetworkPolicy], here: &Endpoint, there: &Endpoint, port: (u16, &str), way: Way) -> bool {
    let End::Pod { namespace, labels } = &here.0 else { return true };
    if there.0 == End::Node {
        return true;
    }
    let mut selected = false;
    for policy in policies {
        let Some(spec) = &policy.spec else { continue };
        let home = policy.metadata.namespace.as_deref().unwrap_or_default();
        let types = match spec.policy_types.as_deref() {
            None | Some([]) if spec.egress.is_some() => vec!["Ingress", "Egress"],
            None | Some([]) => vec!["Ingress"],
            Some(types) => types.iter().map(String::as_str).collect(),
        };
        let this = if way == Way::In { "Ingress" } else { "Egress" };
        let everyone = LabelSelector::default();
        if home != namespace
            || !types.contains(&this)
            || !matches(spec.pod_selector.as_ref().unwrap_or(&everyone), labels)
        {
            continue;
        }
        selected = true;
        let rules: Vec<_> = match way {
            Way::In => spec.ingress.iter().flatten().map(|rule| (&rule.from, &rule.ports)).collect(),
            Way::Out => spec.egress.iter().flatten().map(|rule| (&rule.to, &rule.ports)).collect(),
        };
        if rules
            .into_iter()
            .any(|(peers, ports)| is_peer(peers.as_deref(), there, home) && is_port(ports.as_deref(), port))
        {
            return true;
        }
    }
    !selected
}

fn is_peer(peers: Option<&[NetworkPolicyPeer]>, end: &Endpoint, home: &str) -> bool {
    let (None | Some([])) = peers else {
        return peers.into_iter().flatten().any(|peer| fits(peer, end, home));
    };
    true
}

fn fits(peer: &NetworkPolicyPeer, end: &Endpoint, home: &str) -> bool {
    match (&end.0, &peer.ip_block) {
        (End::Address(address), Some(block)) => {
            let except = block.except.iter().flatten();
            contains(&block.cidr, *address) && !except.into_iter().any(|cidr| contains(cidr, *address))
        }
        (End::Pod { namespace, labels }, None) => {
            let of_namespace = [("kubernetes.io/metadata.name".to_owned(), namespace.clone())].into();
            let here = match &peer.namespace_selector {
                Some(selector) => matches(selector, &of_namespace),
                None => namespace == home,
            };
            here && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels))
        }
        // An address block is for what is outside; whether it holds for pods is each network's own affair.
        (End::Address(_) | End::Pod { .. } | End::Node, _) => false,
    }
}

fn contains(cidr: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = cidr.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let same =
        |a: u128, b: u128, width: u32| width.checked_sub(bits).is_some_and(|low| low == 128 || a >> low == b >> low);
    match (base, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

fn is_port(ports: Option<&[NetworkPolicyPort]>, (number, protocol): (u16, &str)) -> bool {
    let (None | Some([])) = ports else {
        return ports.into_iter().flatten().any(|port| {
            let last = port.end_port;
            port.protocol.as_deref().unwrap_or("TCP") == protocol
                && match &port.port {
                    None => true,
                    Some(IntOrString::Int(first)) => (*first..=last.unwrap_or(*first)).contains(&i32::from(number)),
                    // A name stands for the container's port, which is not known here.
                    Some(IntOrString::String(_)) => false,
                }
        });
    };
    true
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    selector.match_labels.iter().flatten().all(equal)
        && selector.match_expressions.iter().flatten().all(|term| {
            let value = labels.get(&term.key);
            let listed = value.is_some_and(|value| term.values.iter().flatten().any(|listed| listed == value));
            match term.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: serde_json::Value) -> Vec<NetworkPolicy> {
        let policy = json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": spec });
        vec![serde_json::from_value(policy).expect("a policy")]
    }

    #[test]
    fn a_pod_that_no_policy_selects_is_free() {
        let policies = policy(json!({ "podSelector": { "matchLabels": { "app": "x" } } }));
        let stranger = Endpoint::address("198.51.100.7");
        assert!(allowed(&policies, &stranger, &Endpoint::pod("n"), 80, "TCP"));
        assert!(!allowed(&policies, &stranger, &Endpoint::pod("n").label("app", "x"), 80, "TCP"));
    }

    #[test]
    fn an_empty_peer_list_is_everybody_and_a_missing_rule_nobody() {
        let open = policy(json!({ "podSelector": {}, "ingress": [{ "from": [], "ports": [{ "port": 80 }] }] }));
        let from = Endpoint::pod("other");
        assert!(allowed(&open, &from, &Endpoint::pod("n"), 80, "TCP"));
        assert!(!allowed(&open, &from, &Endpoint::pod("n"), 81, "TCP"));
        assert!(!allowed(&open, &from, &Endpoint::pod("n"), 80, "UDP"));
        assert!(!allowed(&policy(json!({ "podSelector": {} })), &from, &Endpoint::pod("n"), 80, "TCP"));
    }

    #[test]
    fn a_pod_selector_alone_means_the_policys_own_namespace() {
        let policies = policy(json!({ "podSelector": {}, "ingress": [{ "from": [{ "podSelector": {} }] }] }));
        assert!(allowed(&policies, &Endpoint::pod("n"), &Endpoint::pod("n"), 80, "TCP"));
        assert!(!allowed(&policies, &Endpoint::pod("m"), &Endpoint::pod("n"), 80, "TCP"));
    }

    #[test]
    fn an_address_block_holds_for_its_own_family() {
        let block = |cidr: &str| {
            policy(json!({ "podSelector": {}, "ingress": [{ "from": [{ "ipBlock": { "cidr": cidr } }] }] }))
        };
        let (v4, v6) = (Endpoint::address("198.51.100.7"), Endpoint::address("2001:db8::7"));
        let to = Endpoint::pod("n");
        assert!(
            allowed(&block("0.0.0.0/0"), &v4, &to, 80, "TCP") && !allowed(&block("0.0.0.0/0"), &v6, &to, 80, "TCP")
        );
        assert!(allowed(&block("::/0"), &v6, &to, 80, "TCP") && !allowed(&block("::/0"), &v4, &to, 80, "TCP"));
        assert!(!allowed(&block("198.51.100.8/30"), &v4, &to, 80, "TCP"));
    }
}
