//! What a pod is as an endpoint: addresses, ports, conditions. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, ForNode, ForZone};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names::{name, namespace};
use crate::pods::{is_finished, is_ready};

/// Whether it may be an endpoint: it has an address and has not ended.
pub(super) fn is_candidate(pod: &Pod) -> bool {
    !is_finished(pod) && !addresses(pod).is_empty()
}

fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).filter(|ip| !ip.is_empty()).collect();
    if all.is_empty() {
        return status.pod_ip.as_deref().filter(|ip| !ip.is_empty()).into_iter().collect();
    }
    all
}

/// The addresses of a family, `IPv4` or `IPv6`.
pub(super) fn addresses_of<'a>(pod: &'a Pod, family: &str) -> Vec<&'a str> {
    let is = |ip: &&str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"));
    addresses(pod).into_iter().filter(is).collect()
}

pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// The number of the port that a Service's port leads to; a name is looked for in the pod's containers and sidecars.
pub(super) fn port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let named = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(named)) => named,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let fits = |p: &&k8s_openapi::api::core::v1::ContainerPort| {
        p.name.as_deref() == Some(named) && p.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.into_iter().find(fits).map(|p| p.container_port)
}

/// The pod as a reference.
pub(super) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The pod's name in DNS below the Service, when it asked for one there.
pub(super) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let here = spec.subdomain.as_deref() == Some(name(&service.metadata))
        && namespace(&pod.metadata) == namespace(&service.metadata);
    spec.hostname.clone().filter(|hostname| here && !hostname.is_empty())
}

pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The endpoint of a pod in a family; `None` when it has no address there.
pub(super) fn endpoint(pod: &Pod, node: Option<&Node>, service: &Service, family: &str) -> Option<Endpoint> {
    let addresses: Vec<String> = addresses_of(pod, family).into_iter().map(str::to_owned).collect();
    if addresses.is_empty() {
        return None;
    }
    let (serving, terminating) = (is_ready(pod), pod.metadata.deletion_timestamp.is_some());
    let ready = publishes_not_ready(service) || (serving && !terminating);
    let zone = node.and_then(|n| n.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone")).cloned();
    let node_name = node_of(pod).map(str::to_owned);
    Some(Endpoint {
        hints: hints(service, ready, zone.as_ref(), node_name.as_ref()),
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        node_name,
        target_ref: Some(reference(pod)),
        zone: zone.filter(|zone| !zone.is_empty()),
        deprecated_topology: None,
    })
}

/// From where traffic is preferred, when the Service wants it kept close.
fn hints(service: &Service, ready: bool, zone: Option<&String>, node: Option<&String>) -> Option<EndpointHints> {
    let wanted = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref())?;
    let (zones, nodes) = match wanted {
        "PreferClose" | "PreferSameZone" => (true, false),
        "PreferSameNode" => (true, true),
        _ => return None,
    };
    let for_zones = zone.filter(|_| zones).map(|zone| vec![ForZone { name: zone.clone() }]);
    let for_nodes = node.filter(|_| nodes).map(|node| vec![ForNode { name: node.clone() }]);
    (ready && (for_zones.is_some() || for_nodes.is_some())).then_some(EndpointHints { for_nodes, for_zones })
}
