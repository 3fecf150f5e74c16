//! Ingress, IngressClass and NetworkPolicy.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, immutable, label_selector, named, one_of, port_number, required};
use super::names;
use super::rules::Rules;
use super::tables::networking as tables;
use crate::field::FieldError;

pub(super) const INGRESS: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
        obj.default_at("/status/loadBalancer", json!({}));
    },
    validate_create: |obj, _| ingress(obj.at("/spec")),
    validate_update: |new, _, _, _| ingress(new.at("/spec")),
    warnings: |new, old| {
        const CLASS: &str = "/metadata/annotations/kubernetes.io~1ingress.class";
        let text =
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
        if new.has(CLASS) && !old.is_some_and(|old| old.has(CLASS)) { vec![text.to_owned()] } else { Vec::new() }
    },
    columns: || tables::columns(tables::INGRESS),
    cells: tables::ingress,
    ..Rules::PLAIN
};

pub(super) const INGRESS_CLASS: Rules = Rules {
    generation: true,
    validate_update: |new, old, _, _| {
        immutable("spec.controller", new.at("/spec/controller"), old.at("/spec/controller")).into_iter().collect()
    },
    columns: || tables::columns(tables::INGRESS_CLASS),
    cells: tables::ingress_class,
    ..Rules::PLAIN
};

pub(super) const POLICY: Rules = Rules {
    generation: true,
    default: |obj| {
        for direction in ["/spec/ingress", "/spec/egress"] {
            for port in obj.list_mut_at(direction).iter_mut().flat_map(|rule| rule.list_mut_at("/ports")) {
                port.default_at("/protocol", "TCP");
            }
        }
        obj.default_at("/spec", json!({}));
        obj.default_at("/spec/podSelector", json!({}));
        if obj.list_at("/spec/policyTypes").is_empty() {
            let out = !obj.list_at("/spec/egress").is_empty();
            obj.set_at("/spec/policyTypes", if out { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
        }
    },
    validate_create: |obj, _| policy(obj.at("/spec")),
    validate_update: |new, _, _, _| policy(new.at("/spec")),
    columns: || tables::columns(tables::POLICY),
    cells: tables::policy,
    ..Rules::PLAIN
};

fn ingress(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let rules = spec.list_at("/rules");
    if rules.is_empty() && !spec.has("/defaultBackend") {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", &Value::Null, detail));
    }
    if spec.has("/defaultBackend") {
        errors.extend(backend(spec.at("/defaultBackend"), "spec.defaultBackend"));
    }
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        errors.extend(host(&format!("{field}.host"), rule.str_at("/host")));
        let Some(http) = rule.map_at("/http") else { continue };
        let paths = http.get("paths").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if paths.is_empty() {
            errors.push(FieldError::required(format!("{field}.http.paths"), ""));
        }
        for (number, path) in paths.iter().enumerate() {
            errors.extend(http_path(path, &format!("{field}.http.paths[{number}]")));
        }
    }
    for (index, tls) in spec.list_at("/tls").iter().enumerate() {
        for (number, name) in tls.list_at("/hosts").iter().enumerate() {
            errors.extend(host(&format!("spec.tls[{index}].hosts[{number}]"), name.as_str().unwrap_or_default()));
        }
    }
    let class = spec.str_at("/ingressClassName");
    if !class.is_empty() {
        errors.extend(named("spec.ingressClassName", class, names::dns_subdomain));
    }
    errors
}

fn host(field: &str, host: &str) -> Errors {
    if host.is_empty() {
        Errors::new()
    } else if host.parse::<std::net::IpAddr>().is_ok() {
        vec![FieldError::invalid(field, &json!(host), "must be a DNS name, not an IP address")]
    } else if host.contains('*') {
        named(field, host, names::wildcard_subdomain)
    } else {
        named(field, host, names::dns_subdomain)
    }
}

fn http_path(path: &Value, field: &str) -> Errors {
    const TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
    if !path.has("/pathType") {
        return vec![FieldError::required(format!("{field}.pathType"), "pathType must be specified")];
    }
    let mut errors = Errors::new();
    let (kind, text) = (path.str_at("/pathType"), path.str_at("/path"));
    let at = format!("{field}.path");
    let must_be_absolute = matches!(kind, "Exact" | "Prefix") || !text.is_empty();
    if !TYPES.contains(&kind) {
        errors.extend(one_of(&format!("{field}.pathType"), kind, TYPES));
    } else if must_be_absolute && !text.starts_with('/') {
        errors.push(FieldError::invalid(&at, &json!(text), "must be an absolute path"));
    }
    if matches!(kind, "Exact" | "Prefix") && text.starts_with('/') {
        for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
            if text.contains(sequence) {
                let detail = format!("must not contain '{sequence}'");
                errors.push(FieldError::invalid(&at, &json!(text), &detail));
            }
        }
        for suffix in ["/..", "/."] {
            if text.ends_with(suffix) {
                errors.push(FieldError::invalid(&at, &json!(text), &format!("cannot end with '{suffix}'")));
            }
        }
    }
    errors.extend(backend(path.at("/backend"), &format!("{field}.backend")));
    errors
}

fn backend(backend: &Value, field: &str) -> Errors {
    let (service, resource) = (backend.at("/service"), backend.at("/resource"));
    match (service.is_null(), resource.is_null()) {
        (false, false) => {
            let detail = "cannot set both resource and service backends";
            return vec![FieldError::invalid(field, &json!(""), detail)];
        }
        (true, true) => {
            return vec![FieldError::invalid(field, &json!(""), "resource or service backend is required")];
        }
        (true, false) => return Errors::new(),
        (false, true) => {}
    }
    let mut errors = Errors::new();
    let name = service.str_at("/name");
    match required(&format!("{field}.service.name"), name) {
        Some(error) => errors.push(error),
        None => errors.extend(named(&format!("{field}.service.name"), name, names::dns_label)),
    }
    let (port, number) = (service.str_at("/port/name"), service.int_at("/port/number").unwrap_or(0));
    match (port.is_empty(), number) {
        (false, 0) => errors.extend(named(&format!("{field}.service.port.name"), port, names::port_name)),
        (false, _) => {
            errors.push(FieldError::invalid(field, &json!(""), "cannot set both port name & port number"));
        }
        (true, 0) => errors.push(FieldError::required(field, "port name or number is required")),
        (true, _) => {
            errors.extend(port_number(&format!("{field}.service.port.number"), service.at("/port/number")));
        }
    }
    errors
}

fn policy(spec: &Value) -> Errors {
    let mut errors = label_selector("spec.podSelector", spec.at("/podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec.list_at(&format!("/{direction}")).iter().enumerate() {
            let field = format!("spec.{direction}[{index}]");
            for (number, port) in rule.list_at("/ports").iter().enumerate() {
                let field = format!("{field}.ports[{number}]");
                let protocol = port.str_at("/protocol");
                errors.extend(one_of(&format!("{field}.protocol"), protocol, &["SCTP", "TCP", "UDP"]));
                if port.has("/port") {
                    errors.extend(super::checks::port_number_or_name(&format!("{field}.port"), port.at("/port")));
                }
            }
            for (number, peer) in rule.list_at(&format!("/{peers}")).iter().enumerate() {
                errors.extend(network_peer(peer, &format!("{field}.{peers}[{number}]")));
            }
        }
    }
    for (index, kind) in spec.list_at("/policyTypes").iter().enumerate() {
        let kind = kind.as_str().unwrap_or_default();
        errors.extend(one_of(&format!("spec.policyTypes[{index}]"), kind, &["Egress", "Ingress"]));
    }
    errors
}

fn network_peer(peer: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    let mut given = 0;
    for selector in ["podSelector", "namespaceSelector"] {
        if peer.has(&format!("/{selector}")) {
            given += 1;
            errors.extend(label_selector(&format!("{field}.{selector}"), peer.at(&format!("/{selector}"))));
        }
    }
    if peer.has("/ipBlock") {
        if given > 0 {
            let detail = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(field, detail));
        }
        given += 1;
        let cidr = peer.str_at("/ipBlock/cidr");
        let block = cidr.split_once('/').is_some_and(|(ip, bits)| {
            let most = match ip.parse::<std::net::IpAddr>() {
                Ok(ip) => {
                    if ip.is_ipv4() {
                        32
                    } else {
                        128
                    }
                }
                Err(_) => return false,
            };
            bits.parse::<u8>().is_ok_and(|bits| bits <= most)
        });
        if cidr.is_empty() {
            errors.push(FieldError::required(format!("{field}.ipBlock.cidr"), ""));
        } else if !block {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(format!("{field}.ipBlock.cidr"), &json!(cidr), detail));
        }
    }
    if given == 0 {
        errors.push(FieldError::required(field, "must specify a peer"));
    }
    errors
}
