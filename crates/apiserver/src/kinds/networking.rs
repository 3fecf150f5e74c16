//! Ingress, IngressClass and NetworkPolicy.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, domain_prefixed_path, immutable, label_selector, named, one_of, port_number, required};
use super::names;
use super::rules::Rules;
use super::tables::networking as tables;
use crate::field::FieldError;
use crate::resource::Part;

/// Names the class where no `ingressClassName` does.
const CLASS: &str = "/metadata/annotations/kubernetes.io~1ingress.class";

pub(super) const INGRESS: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/status", json!({}));
        obj.default_at("/status/loadBalancer", json!({}));
    },
    validate_create: |obj, _| {
        let mut errors = ingress(obj.at("/spec"));
        let (annotated, class) = (obj.at(CLASS), obj.at("/spec/ingressClassName"));
        if !annotated.is_null() && !class.is_null() && annotated != class {
            let detail = "must match `ingressClassName` when both are specified";
            errors.push(FieldError::invalid("annotations.kubernetes.io/ingress.class", annotated, detail));
        }
        errors
    },
    validate_update: |new, _, part, _| {
        if part == Part::Status { Errors::new() } else { ingress(new.at("/spec")) }
    },
    warnings: |new, old| {
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
    default: |obj| {
        obj.default_at("/spec", json!({}));
        if obj.has("/spec/parameters") {
            obj.default_at("/spec/parameters/scope", "Cluster");
        }
    },
    validate_create: |obj, _| ingress_class(obj.at("/spec")),
    validate_update: |new, old, _, _| {
        let mut errors = class_parameters(new.at("/spec/parameters"));
        errors.extend(immutable("spec.controller", new.at("/spec/controller"), old.at("/spec/controller")));
        errors
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
        let secret = tls.str_at("/secretName");
        if !secret.is_empty() {
            errors.extend(named(&format!("spec.tls[{index}].secretName"), secret, names::dns_subdomain));
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
        (true, false) => return typed_reference(resource, &format!("{field}.resource")),
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

/// `validateIngressTypedLocalObjectReference`.
fn typed_reference(reference: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    let group = reference.str_at("/apiGroup");
    if !group.is_empty() {
        errors.extend(named(&format!("{field}.apiGroup"), group, names::dns_subdomain));
    }
    for part in ["kind", "name"] {
        let (path, text) = (format!("{field}.{part}"), reference.str_at(&format!("/{part}")));
        match required(&path, text) {
            Some(error) => errors.push(error),
            None => errors.extend(named(&path, text, names::path_segment)),
        }
    }
    errors
}

fn ingress_class(spec: &Value) -> Errors {
    let mut errors = domain_prefixed_path("spec.controller", spec.str_at("/controller"));
    errors.extend(class_parameters(spec.at("/parameters")));
    errors
}

fn class_parameters(parameters: &Value) -> Errors {
    const FIELD: &str = "spec.parameters";
    if parameters.is_null() {
        return Errors::new();
    }
    let mut errors = typed_reference(parameters, FIELD);
    let namespace = parameters.str_at("/namespace");
    let field = format!("{FIELD}.namespace");
    match parameters.str_at("/scope") {
        "Namespace" if namespace.is_empty() => {
            errors.push(FieldError::required(field, "`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => errors.extend(named(&field, namespace, names::dns_label)),
        "Cluster" if parameters.has("/namespace") => {
            errors.push(FieldError::forbidden(field, "`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        other => errors.extend(one_of(&format!("{FIELD}.scope"), other, &["Cluster", "Namespace"])),
    }
    errors
}

/// `ValidateNetworkPolicyPort`, but for its protocol.
fn policy_port(port: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    let (first, last) = (port.at("/port"), port.int_at("/endPort"));
    let end = format!("{field}.endPort");
    match (first, last) {
        (Value::Null, Some(last)) => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(end, &json!(last), detail));
        }
        (Value::Null, None) => {}
        (Value::String(name), last) => {
            if let Some(last) = last {
                let detail = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(end, &json!(last), detail));
            }
            errors.extend(named(&format!("{field}.port"), name, names::port_name));
        }
        (number, last) => {
            errors.extend(port_number(&format!("{field}.port"), number));
            if let Some(last) = last {
                if last < number.as_i64().unwrap_or(0) {
                    let detail = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(&end, number, detail));
                }
                errors.extend(port_number(&end, &json!(last)));
            }
        }
    }
    errors
}

/// `ValidateIPBlock`.
fn ip_block(block: &Value, field: &str) -> Errors {
    let cidr = block.str_at("/cidr");
    if cidr.is_empty() {
        return vec![FieldError::required(format!("{field}.cidr"), "")];
    }
    let mut errors = named(&format!("{field}.cidr"), cidr, names::cidr);
    let whole = names::parse_cidr(cidr);
    for (index, except) in block.list_at("/except").iter().filter_map(Value::as_str).enumerate() {
        let path = format!("{field}.except[{index}]");
        let wrong = named(&path, except, names::cidr);
        if wrong.is_empty()
            && let (Some(whole), Some(part)) = (whole, names::parse_cidr(except))
            && !(whole.1 < part.1 && prefix(whole.0, whole.1) == prefix(part.0, whole.1))
        {
            errors.push(FieldError::invalid(&path, &json!(except), "must be a strict subset of `cidr`"));
        }
        errors.extend(wrong);
    }
    errors
}

/// The leading bits of an address, told apart by family.
fn prefix(ip: std::net::IpAddr, bits: u8) -> (bool, u128) {
    let (whole, width) = match ip {
        std::net::IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        std::net::IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let dropped = u32::from(u8::saturating_sub(width, bits));
    (ip.is_ipv4(), whole.checked_shr(dropped).unwrap_or(0))
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
                errors.extend(policy_port(port, &field));
            }
            for (number, peer) in rule.list_at(&format!("/{peers}")).iter().enumerate() {
                errors.extend(network_peer(peer, &format!("{field}.{peers}[{number}]")));
            }
        }
    }
    let types = spec.list_at("/policyTypes");
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid("spec.policyTypes", spec.at("/policyTypes"), detail));
        return errors;
    }
    for (index, kind) in types.iter().enumerate() {
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
        errors.extend(ip_block(peer.at("/ipBlock"), &format!("{field}.ipBlock")));
    }
    if given == 0 {
        errors.push(FieldError::required(field, "must specify a peer"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    #[test]
    fn an_exception_lies_within_its_block() {
        let of = |except: &str| ip_block(&json!({"cidr": "10.0.0.0/8", "except": [except]}), "b").len();
        assert_eq!(["10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/16", "x", "fe80::/64"].map(of), [0, 1, 1, 1, 1]);
    }

    #[test]
    fn a_range_of_ports_has_a_number_to_begin_with() {
        let of = |port: Value| policy_port(&port, "p").len();
        assert_eq!(
            [
                json!({"port": 80, "endPort": 90}),
                json!({"port": 80, "endPort": 70}),
                json!({"endPort": 70}),
                json!({"port": "web", "endPort": 70})
            ]
            .map(of),
            [0, 1, 1, 1]
        );
    }

    #[test]
    fn a_class_of_one_namespace_names_it() {
        let parameters = json!({"kind": "K", "name": "n", "scope": "Namespace"});
        assert_eq!(
            fields(&class_parameters(&parameters)),
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]
        );
    }
}
