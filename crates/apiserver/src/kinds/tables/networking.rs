//! Service, Endpoints, EndpointSlice, Ingress, IngressClass and NetworkPolicy.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::selector_text;
pub(in super::super) use super::columns;
use super::{created, joined, labels_text, name, or_none};

pub(in super::super) const SERVICE: &str = "Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector+";
pub(in super::super) const ENDPOINTS: &str = "Name|Endpoints|Age";
pub(in super::super) const SLICE: &str = "Name|AddressType|Ports|Endpoints|Age";
pub(in super::super) const INGRESS: &str = "Name|Class|Hosts|Address|Ports|Age";
pub(in super::super) const INGRESS_CLASS: &str = "Name|Controller|Parameters|Age";
pub(in super::super) const POLICY: &str = "Name|Pod-Selector|Age";

fn texts<'a>(list: &'a [Value], field: &str) -> Vec<&'a str> {
    list.iter().map(|item| item.str_at(field)).filter(|text| !text.is_empty()).collect()
}

fn balancer(obj: &Value) -> String {
    let points = obj.list_at("/status/loadBalancer/ingress");
    let address = |point: &Value| {
        let ip = point.str_at("/ip");
        if ip.is_empty() { point.str_at("/hostname").to_owned() } else { ip.to_owned() }
    };
    points.iter().map(address).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",")
}

pub(in super::super) fn service(obj: &Value, now: Timestamp) -> Vec<Value> {
    let kind = obj.str_at("/spec/type");
    let external_ips = joined(obj.list_at("/spec/externalIPs").iter().filter_map(Value::as_str));
    let external = match kind {
        "ExternalName" => obj.str_at("/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let all = joined([balancer(obj).as_str(), &external_ips].into_iter().filter(|text| !text.is_empty()));
            if all.is_empty() { "<pending>".to_owned() } else { all }
        }
        _ => or_none(&external_ips).to_owned(),
    };
    let port = |port: &Value| {
        let number = port.int_at("/port").unwrap_or(0);
        let node = port.int_at("/nodePort").filter(|n| *n > 0).map(|n| format!(":{n}")).unwrap_or_default();
        format!("{number}{node}/{}", port.str_at("/protocol"))
    };
    let ports: Vec<String> = obj.list_at("/spec/ports").iter().map(port).collect();
    vec![
        name(obj),
        json!(kind),
        json!(or_none(obj.str_at("/spec/clusterIP"))),
        json!(external),
        json!(or_none(&ports.join(","))),
        created(obj, now),
        json!(labels_text(obj.at("/spec/selector"))),
    ]
}

/// The first few of many, and how many more there are.
fn abridged(all: &[String], most: usize) -> String {
    let shown = all.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(",");
    match all.len().saturating_sub(most) {
        0 => or_none(&shown).to_owned(),
        more => format!("{shown} + {more} more..."),
    }
}

pub(in super::super) fn endpoints(obj: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in obj.list_at("/subsets") {
        let addresses = texts(subset.list_at("/addresses"), "/ip");
        let ports = subset.list_at("/ports");
        if ports.is_empty() {
            all.extend(addresses.iter().map(|&ip| ip.to_owned()));
        }
        for port in ports.iter().filter_map(|port| port.int_at("/port")) {
            all.extend(addresses.iter().map(|ip| format!("{ip}:{port}")));
        }
    }
    vec![name(obj), json!(abridged(&all, 3)), created(obj, now)]
}

pub(in super::super) fn slice(obj: &Value, now: Timestamp) -> Vec<Value> {
    let port = |port: &Value| port.int_at("/port").map_or("*".to_owned(), |port| port.to_string());
    let ports: Vec<String> = obj.list_at("/ports").iter().map(port).collect();
    let addresses = obj.list_at("/endpoints").iter().flat_map(|endpoint| endpoint.list_at("/addresses"));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    let text = |all: &[String]| if all.is_empty() { "<unset>".to_owned() } else { abridged(all, 3) };
    vec![name(obj), obj.at("/addressType").clone(), json!(text(&ports)), json!(text(&addresses)), created(obj, now)]
}

pub(in super::super) fn ingress(obj: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = texts(obj.list_at("/spec/rules"), "/host").into_iter().map(str::to_owned).collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { abridged(&hosts, 3) };
    let ports = if obj.list_at("/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        name(obj),
        json!(or_none(obj.str_at("/spec/ingressClassName"))),
        json!(hosts),
        json!(balancer(obj)),
        json!(ports),
        created(obj, now),
    ]
}

pub(in super::super) fn ingress_class(obj: &Value, now: Timestamp) -> Vec<Value> {
    let group = obj.str_at("/spec/parameters/apiGroup");
    let parameters = match (obj.has("/spec/parameters"), group) {
        (false, _) => "<none>".to_owned(),
        (true, "") => format!("{}/{}", obj.str_at("/spec/parameters/kind"), obj.str_at("/spec/parameters/name")),
        (true, group) => {
            format!("{}.{group}/{}", obj.str_at("/spec/parameters/kind"), obj.str_at("/spec/parameters/name"))
        }
    };
    vec![name(obj), json!(obj.str_at("/spec/controller")), json!(parameters), created(obj, now)]
}

pub(in super::super) fn policy(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), json!(selector_text(obj.at("/spec/podSelector"))), created(obj, now)]
}
