//! Service, with its cluster IPs and node ports.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use rand::Rng;
use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, hold, named, one_of, port_number, port_number_or_name, required, required_one_of, shown};
use super::endpoints::special_ip;
use super::rules::Rules;
use super::tables::networking as tables;
use super::{meta, names};
use crate::field::{FieldError, Kind};
use crate::resource::{Cx, NameRule, Part};
use crate::status::Status;

/// First address of the service range, 10.96.0.0/16.
const RANGE: u32 = 0x0a60_0000;
const RANGE_TEXT: &str = "10.96.0.0/16";
/// Offsets that are given out; the low ones are left to those who ask for one.
const OFFSETS: std::ops::Range<u32> = 257..0xffff;
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

pub(super) const SERVICE: Rules = Rules {
    name: NameRule::Label,
    default: service_defaults,
    prepare_create: |obj, cx| {
        allocate(obj, cx);
        Ok(())
    },
    prepare_update: service_update,
    validate_create: |obj, cx| {
        let mut errors = service(obj.at("/spec"));
        if errors.is_empty() {
            errors.extend(conflicts(obj, None, cx));
        }
        errors
    },
    validate_update: |new, old, part, cx| {
        if part == Part::Status {
            return Errors::new();
        }
        let mut errors: Errors = ip_change(new.at("/spec"), old.at("/spec")).into_iter().collect();
        errors.extend(service(new.at("/spec")));
        if errors.is_empty() {
            errors.extend(conflicts(new, Some(old), cx));
        }
        errors
    },
    fields: &["spec.clusterIP", "spec.type"],
    unselectable: |field| format!("field label not supported: {field}"),
    columns: || tables::columns(tables::SERVICE),
    cells: tables::service,
    ..Rules::PLAIN
};

fn service_defaults(obj: &mut Value) {
    obj.default_at("/spec", json!({}));
    obj.default_at("/spec/sessionAffinity", "None");
    obj.default_at("/spec/type", "ClusterIP");
    if obj.str_at("/spec/sessionAffinity") == "ClientIP"
        && !obj.has("/spec/sessionAffinityConfig/clientIP/timeoutSeconds")
    {
        obj.set_at("/spec/sessionAffinityConfig/clientIP/timeoutSeconds", 10800);
    }
    for port in obj.list_mut_at("/spec/ports") {
        port.default_at("/protocol", "TCP");
        if matches!(port.at("/targetPort"), Value::Null) || port.at("/targetPort") == 0 || port.at("/targetPort") == ""
        {
            let same = port.at("/port").clone();
            port.set_at("/targetPort", same);
        }
    }
    let kind = obj.str_at("/spec/type").to_owned();
    if matches!(&*kind, "NodePort" | "LoadBalancer") {
        obj.default_at("/spec/externalTrafficPolicy", "Cluster");
    }
    if matches!(&*kind, "ClusterIP" | "NodePort" | "LoadBalancer") {
        obj.default_at("/spec/internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        obj.default_at("/spec/allocateLoadBalancerNodePorts", true);
    }
    obj.default_at("/status", json!({}));
    obj.default_at("/status/loadBalancer", json!({}));
}

fn has_ip(spec: &Value) -> bool {
    matches!(spec.str_at("/type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &Value) -> bool {
    match spec.str_at("/type") {
        "NodePort" => true,
        "LoadBalancer" => spec.at("/allocateLoadBalancerNodePorts") != &json!(false),
        _ => false,
    }
}

/// Other services than this one.
fn others(obj: &Value, cx: &Cx<'_>) -> Vec<Value> {
    let id = |obj: &Value| (obj.str_at("/metadata/namespace").to_owned(), obj.str_at("/metadata/name").to_owned());
    let own = id(obj);
    cx.lookup.list("/services", "").into_iter().filter(|other| id(other) != own).collect()
}

fn used_ips(services: &[Value]) -> HashSet<&str> {
    services.iter().flat_map(|s| s.list_at("/spec/clusterIPs")).filter_map(Value::as_str).collect()
}

fn used_ports(services: &[Value]) -> HashSet<i64> {
    let ports = services.iter().flat_map(|s| s.list_at("/spec/ports"));
    ports.filter_map(|port| port.int_at("/nodePort")).filter(|port| *port != 0).collect()
}

/// Gives cluster IPs and node ports where the type needs them and none were asked for.
fn allocate(obj: &mut Value, cx: &Cx<'_>) {
    let spec = obj.at("/spec");
    if !has_ip(spec) {
        return;
    }
    let services = others(obj, cx);
    let asked = [spec.str_at("/clusterIP"), spec.list_at("/clusterIPs").first().and_then(Value::as_str).unwrap_or("")];
    let asked = asked.into_iter().find(|ip| !ip.is_empty()).map(str::to_owned);
    let headless = asked.as_deref() == Some("None");
    let selectorless = headless && spec.map_at("/selector").is_none_or(serde_json::Map::is_empty);
    let ip = asked.or_else(|| free_ip(&used_ips(&services)));
    let wants_ports = has_node_ports(spec);
    if let Some(ip) = ip {
        obj.default_at("/spec/clusterIPs", json!([ip]));
        obj.default_at("/spec/clusterIP", ip.clone());
        if obj.str_at("/spec/clusterIP").is_empty() {
            obj.set_at("/spec/clusterIP", ip.clone());
        }
        if obj.list_at("/spec/clusterIPs").is_empty() {
            obj.set_at("/spec/clusterIPs", json!([ip]));
        }
    }
    // A headless service without selector may have endpoints of either family.
    let both = selectorless && !obj.has("/spec/ipFamilies") && !obj.has("/spec/ipFamilyPolicy");
    obj.default_at("/spec/ipFamilyPolicy", if both { "RequireDualStack" } else { "SingleStack" });
    obj.default_at("/spec/ipFamilies", if both { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) });
    if wants_ports {
        let mut used = used_ports(&services);
        used.extend(obj.list_at("/spec/ports").iter().filter_map(|port| port.int_at("/nodePort")));
        for port in obj.list_mut_at("/spec/ports") {
            if port.int_at("/nodePort").unwrap_or(0) == 0
                && let Some(free) = free_port(&used)
            {
                used.insert(free);
                port.set_at("/nodePort", free);
            }
        }
    }
    let local_balancer =
        obj.str_at("/spec/type") == "LoadBalancer" && obj.str_at("/spec/externalTrafficPolicy") == "Local";
    if local_balancer && obj.int_at("/spec/healthCheckNodePort").unwrap_or(0) == 0 {
        let mut used = used_ports(&services);
        used.extend(obj.list_at("/spec/ports").iter().filter_map(|port| port.int_at("/nodePort")));
        used.extend(services.iter().filter_map(|s| s.int_at("/spec/healthCheckNodePort")));
        if let Some(free) = free_port(&used) {
            obj.set_at("/spec/healthCheckNodePort", free);
        }
    }
}

/// A free address, searched from a random start.
fn free_ip(used: &HashSet<&str>) -> Option<String> {
    let count = OFFSETS.len();
    let start = rand::rng().random_range(0..count);
    let offsets = OFFSETS.cycle().skip(start).take(count);
    offsets.map(|offset| Ipv4Addr::from(RANGE + offset).to_string()).find(|ip| !used.contains(&**ip))
}

fn free_port(used: &HashSet<i64>) -> Option<i64> {
    let count = usize::try_from(NODE_PORTS.end() - NODE_PORTS.start()).unwrap_or(0) + 1;
    let start = rand::rng().random_range(0..count);
    NODE_PORTS.cycle().skip(start).take(count).find(|port| !used.contains(port))
}

/// Asked-for addresses and ports that are taken or out of range.
fn conflicts(obj: &Value, old: Option<&Value>, cx: &Cx<'_>) -> Errors {
    let mut errors = missing_family(obj.at("/spec"));
    let kept = |ip: &str| old.is_some_and(|old| old.list_at("/spec/clusterIPs").iter().any(|o| o == ip));
    let asked =
        obj.list_at("/spec/clusterIPs").iter().filter_map(Value::as_str).filter(|ip| *ip != "None" && !kept(ip));
    let services = others(obj, cx);
    for ip in asked {
        let value = obj.at("/spec/clusterIPs");
        let inside = ip.parse::<Ipv4Addr>().is_ok_and(|ip| u32::from(ip) >> 16 == RANGE >> 16);
        let why = if !inside {
            format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {RANGE_TEXT}")
        } else if used_ips(&services).contains(ip) {
            "provided IP is already allocated".to_owned()
        } else {
            continue;
        };
        errors.push(FieldError::invalid("spec.clusterIPs", value, &format!("failed to allocate IP {ip}: {why}")));
    }
    let used = used_ports(&services);
    let mut own = HashSet::new();
    for (index, port) in obj.list_at("/spec/ports").iter().enumerate() {
        let Some(number) = port.int_at("/nodePort").filter(|number| *number != 0) else { continue };
        let was = |old: &Value| old.list_at("/spec/ports").iter().any(|o| o.int_at("/nodePort") == Some(number));
        let text = if !NODE_PORTS.contains(&number) {
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        } else if used.contains(&number) || !own.insert((number, port.str_at("/protocol"))) {
            "provided port is already allocated"
        } else {
            continue;
        };
        if !old.is_some_and(was) {
            errors.push(FieldError::invalid(format!("spec.ports[{index}].nodePort"), &json!(number), text));
        }
    }
    errors
}

fn service_update(new: &mut Value, old: &Value, part: Part, cx: &Cx<'_>) -> Result<(), Status> {
    if part != Part::Main {
        return Ok(());
    }
    let before = old.at("/spec");
    if has_ip(new.at("/spec")) && has_ip(before) {
        if new.str_at("/spec/clusterIP").is_empty() && new.list_at("/spec/clusterIPs").is_empty() {
            for field in ["clusterIP", "clusterIPs"] {
                new.set_at(&format!("/spec/{field}"), before.at(&format!("/{field}")).clone());
            }
        } else if new.has("/spec/clusterIP")
            && new.at("/spec/clusterIPs") == before.at("/clusterIPs")
            && new.at("/spec/clusterIP") != before.at("/clusterIP")
        {
            // Who changes one of the two means both.
            let ip = new.at("/spec/clusterIP").clone();
            new.set_at("/spec/clusterIPs", json!([ip]));
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            new.default_at(&format!("/spec/{field}"), before.at(&format!("/{field}")).clone());
        }
    }
    let node_ports = |spec: &Value| matches!(spec.str_at("/type"), "NodePort" | "LoadBalancer");
    if node_ports(new.at("/spec")) && node_ports(before) {
        let given: Vec<i64> = new.list_at("/spec/ports").iter().filter_map(|port| port.int_at("/nodePort")).collect();
        for port in new.list_mut_at("/spec/ports") {
            let same = |o: &&Value| o.at("/port") == port.at("/port") && o.at("/protocol") == port.at("/protocol");
            let was = before.list_at("/ports").iter().find(same).and_then(|o| o.int_at("/nodePort")).unwrap_or(0);
            if port.int_at("/nodePort").unwrap_or(0) == 0 && was != 0 && !given.contains(&was) {
                port.set_at("/nodePort", was);
            }
        }
        if before.has("/healthCheckNodePort") {
            new.default_at("/spec/healthCheckNodePort", before.at("/healthCheckNodePort").clone());
        }
    }
    drop_what_the_type_has_not(new, before);
    allocate(new, cx);
    Ok(())
}

/// `dropTypeDependentFields`: unchanged fields of the former type go with it.
fn drop_what_the_type_has_not(new: &mut Value, before: &Value) {
    let same = |new: &Value, field: &str| new.at(&format!("/spec/{field}")) == before.at(&format!("/{field}"));
    if has_ip(before) && !has_ip(new.at("/spec")) {
        if same(new, "clusterIPs") || !new.has("/spec/clusterIPs") {
            for field in ["clusterIP", "clusterIPs"] {
                new.remove_at(&format!("/spec/{field}"));
            }
        }
        for field in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if same(new, field) {
                new.remove_at(&format!("/spec/{field}"));
            }
        }
    }
    let node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if node_ports(before.str_at("/type")) && !node_ports(new.str_at("/spec/type")) {
        let ports =
            |spec: &Value| spec.list_at("/ports").iter().map(|port| port.int_at("/nodePort")).collect::<Vec<_>>();
        if ports(new.at("/spec")) == ports(before) {
            for port in new.list_mut_at("/spec/ports") {
                port.remove_at("/nodePort");
            }
        }
        for field in ["externalTrafficPolicy", "healthCheckNodePort"] {
            if same(new, field) {
                new.remove_at(&format!("/spec/{field}"));
            }
        }
    }
    if before.str_at("/type") == "LoadBalancer" && new.str_at("/spec/type") != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"] {
            if same(new, field) {
                new.remove_at(&format!("/spec/{field}"));
            }
        }
    }
}

const BALANCERS_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

/// What only load balancers have.
fn balancer(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let is_balancer = spec.str_at("/type") == "LoadBalancer";
    if !is_balancer && !spec.list_at("/loadBalancerSourceRanges").is_empty() {
        // The path is spelled like the Go field.
        errors.push(FieldError::forbidden("spec.LoadBalancerSourceRanges", BALANCERS_ONLY));
    }
    if !is_balancer && spec.has("/allocateLoadBalancerNodePorts") {
        errors.push(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", BALANCERS_ONLY));
    }
    if spec.has("/loadBalancerClass") {
        let class = spec.str_at("/loadBalancerClass");
        if is_balancer {
            errors.extend(named("spec.loadBalancerClass", class, names::qualified_name));
        } else {
            errors.push(FieldError::forbidden("spec.loadBalancerClass", BALANCERS_ONLY));
        }
    }
    errors
}

/// Families and their policy, by themselves.
fn families(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, family) in spec.list_at("/ipFamilies").iter().filter_map(Value::as_str).enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        errors.extend(one_of(&field, family, &["IPv4", "IPv6"]));
        if seen.contains(&family) {
            errors.push(FieldError::duplicate(field, &json!(family)));
        }
        seen.push(family);
    }
    if spec.has("/ipFamilyPolicy") {
        let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
        errors.extend(one_of("spec.ipFamilyPolicy", spec.str_at("/ipFamilyPolicy"), policies));
    }
    let ips = spec.list_at("/clusterIPs");
    if ips.first().is_some_and(|ip| ip == "None") && ips.len() > 1 {
        let detail = "'None' must be the first and only value";
        errors.push(FieldError::invalid("spec.clusterIPs", spec.at("/clusterIPs"), detail));
    }
    if ips.len() > 2 {
        let detail = "may only hold up to 2 values";
        errors.push(FieldError::invalid("spec.clusterIPs", spec.at("/clusterIPs"), detail));
    }
    errors
}

/// What a cluster of one family, IPv4, cannot give. A headless service without selector is not looked at: who writes its
/// endpoints knows.
fn missing_family(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let selectorless = spec.map_at("/selector").is_none_or(serde_json::Map::is_empty);
    if !has_ip(spec) || spec.str_at("/clusterIP") == "None" && selectorless {
        return errors;
    }
    for (index, family) in spec.list_at("/ipFamilies").iter().enumerate().filter(|(_, family)| *family == "IPv6") {
        let detail = "not configured on this cluster";
        errors.push(FieldError::invalid(format!("spec.ipFamilies[{index}]"), family, detail));
    }
    if spec.str_at("/ipFamilyPolicy") == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", spec.at("/ipFamilyPolicy"), detail));
    }
    errors
}

/// `ValidateService`.
fn service(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let kind = spec.str_at("/type");
    let ports = spec.list_at("/ports");
    let headless = spec.str_at("/clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if kind == "LoadBalancer" {
        let kubelet = ports.iter().enumerate().filter(|(_, port)| port.int_at("/port") == Some(10250));
        let detail = "may not expose port 10250 externally since it is used by kubelet";
        errors.extend(kubelet.map(|(at, _)| FieldError::invalid(format!("spec.ports[{at}]"), &json!(10250), detail)));
    }
    match kind {
        "NodePort" | "LoadBalancer" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!("None"), &detail));
        }
        "ExternalName" => {
            if !spec.list_at("/clusterIPs").is_empty() || !matches!(spec.str_at("/clusterIP"), "" | "None") {
                errors.push(FieldError::forbidden("spec.clusterIPs", "may not be set for ExternalName services"));
            }
            let name = spec.str_at("/externalName");
            match required("spec.externalName", name) {
                Some(error) => errors.push(error),
                None => {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    errors.extend(named("spec.externalName", name, names::dns_subdomain));
                }
            }
        }
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |name: &str| format!("spec.ports[{index}].{name}");
        let name = port.str_at("/name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(at("name"), ""));
            }
        } else {
            errors.extend(named(&at("name"), name, names::dns_label));
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(at("name"), &json!(name)));
            }
            seen.push(name);
        }
        errors.extend(port_number(&at("port"), port.at("/port")));
        errors.extend(required_one_of(&at("protocol"), port.str_at("/protocol"), &["SCTP", "TCP", "UDP"]));
        errors.extend(port_number_or_name(&at("targetPort"), port.at("/targetPort")));
        let protocol = port.str_at("/appProtocol");
        if !protocol.is_empty() {
            errors.extend(named(&at("appProtocol"), protocol, names::qualified_name));
        }
    }
    errors.extend(meta::labels("spec.selector", spec.at("/selector")));
    errors.extend(required_one_of("spec.sessionAffinity", spec.str_at("/sessionAffinity"), &["ClientIP", "None"]));
    let timeout = spec.at("/sessionAffinityConfig/clientIP/timeoutSeconds");
    if spec.str_at("/sessionAffinity") == "None" {
        if spec.has("/sessionAffinityConfig") {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden("spec.sessionAffinityConfig", detail));
        }
    } else if let Some(seconds) = timeout.as_i64() {
        let right = seconds > 0 && seconds <= 86400;
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        errors.extend(hold(right, field, timeout, "must be greater than 0 and less than or equal to 86400"));
    }
    errors.extend(families(spec));
    for (index, ip) in spec.list_at("/clusterIPs").iter().filter_map(Value::as_str).enumerate() {
        if ip != "None" {
            errors.extend(named(&format!("spec.clusterIPs[{index}]"), ip, names::ip));
        }
    }
    for (index, ip) in spec.list_at("/externalIPs").iter().filter_map(Value::as_str).enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        errors.extend(named(&field, ip, names::ip));
        errors.extend(special_ip(&field, ip));
    }
    let kinds = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    errors.extend(required_one_of("spec.type", kind, kinds));
    errors.extend(repeated_ports(ports));
    if kind == "ClusterIP" {
        for (index, port) in ports.iter().enumerate() {
            if port.int_at("/nodePort").unwrap_or(0) != 0 {
                let detail = "may not be used when `type` is 'ClusterIP'";
                errors.push(FieldError::forbidden(format!("spec.ports[{index}].nodePort"), detail));
            }
        }
    }
    errors.extend(balancer(spec));
    let external = spec.str_at("/externalTrafficPolicy");
    if !external.is_empty() {
        if matches!(kind, "NodePort" | "LoadBalancer") || !spec.list_at("/externalIPs").is_empty() {
            errors.extend(one_of("spec.externalTrafficPolicy", external, &["Cluster", "Local"]));
        } else {
            let detail = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid("spec.externalTrafficPolicy", &json!(external), detail));
        }
    }
    let check_port = spec.int_at("/healthCheckNodePort").unwrap_or(0);
    if check_port != 0 && !(kind == "LoadBalancer" && external == "Local") {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid("spec.healthCheckNodePort", &json!(check_port), detail));
    }
    let internal = spec.str_at("/internalTrafficPolicy");
    if !internal.is_empty() {
        errors.extend(one_of("spec.internalTrafficPolicy", internal, &["Cluster", "Local"]));
    }
    if spec.has("/trafficDistribution") {
        let known = &["PreferClose", "PreferSameNode", "PreferSameZone"];
        errors.extend(one_of("spec.trafficDistribution", spec.str_at("/trafficDistribution"), known));
    }
    errors
}

fn repeated_ports(ports: &[Value]) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let key = (port.str_at("/protocol"), port.int_at("/port").unwrap_or(0));
        if seen.contains(&key) {
            let value = format!(
                r#"{{"Name":"","Protocol":{:?},"AppProtocol":null,"Port":{},"TargetPort":0,"NodePort":0}}"#,
                key.0, key.1
            );
            errors.push(shown(Kind::Duplicate, &format!("spec.ports[{index}]"), value, ""));
        }
        seen.push(key);
    }
    errors
}

fn ip_change(new: &Value, old: &Value) -> Option<FieldError> {
    let first = |spec: &Value| spec.list_at("/clusterIPs").first().cloned();
    let (now, before) = (first(new)?, first(old)?);
    (has_ip(new) && has_ip(old) && now != before)
        .then(|| FieldError::invalid("spec.clusterIPs[0]", new.at("/clusterIPs"), "may not change once set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_none_of_the_used() {
        let all: Vec<String> = OFFSETS.map(|offset| Ipv4Addr::from(RANGE + offset).to_string()).collect();
        let used: HashSet<&str> = all.iter().map(String::as_str).filter(|ip| *ip != "10.96.77.7").collect();
        assert_eq!(free_ip(&used).as_deref(), Some("10.96.77.7"));
    }

    #[test]
    fn target_ports_follow_ports() {
        let mut object = json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "http"}]}});
        service_defaults(&mut object);
        assert_eq!(
            [object.at("/spec/ports/0/targetPort"), object.at("/spec/ports/1/targetPort")],
            [&json!(80), &json!("http")]
        );
    }

    #[test]
    fn two_ports_need_names() {
        let spec = json!({"type": "ClusterIP", "sessionAffinity": "None", "ports": [
            {"port": 1, "protocol": "TCP", "targetPort": 1}, {"port": 2, "protocol": "TCP", "targetPort": 2}]});
        let fields: Vec<String> = service(&spec).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["spec.ports[0].name", "spec.ports[1].name"]);
    }
}
