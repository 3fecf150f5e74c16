//! Endpoints and EndpointSlice.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use super::at::At;
use super::checks::{Errors, immutable, named, port_number, required_one_of};
use super::names;
use super::rules::Rules;
use super::tables::networking as tables;
use crate::field::FieldError;

pub(super) const ENDPOINTS: Rules = Rules {
    create_on_update: true,
    default: |obj| {
        for subset in obj.list_mut_at("/subsets") {
            for port in subset.list_mut_at("/ports") {
                port.default_at("/protocol", "TCP");
            }
        }
    },
    prepare_create: |obj, _| {
        repack(obj);
        Ok(())
    },
    prepare_update: |new, _, _, _| {
        repack(new);
        Ok(())
    },
    validate_create: |obj, _| endpoints(obj),
    validate_update: |new, _, _, _| endpoints(new),
    warnings: |_, _| vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()],
    columns: || tables::columns(tables::ENDPOINTS),
    cells: tables::endpoints,
    ..Rules::PLAIN
};

pub(super) const SLICE: Rules = Rules {
    generation: true,
    default: |obj| {
        for port in obj.list_mut_at("/ports") {
            port.default_at("/name", "");
            port.default_at("/protocol", "TCP");
        }
        for endpoint in obj.list_mut_at("/endpoints") {
            endpoint.default_at("/conditions", json!({}));
        }
        if obj.list_at("/endpoints").is_empty() {
            obj.set_at("/endpoints", Value::Null);
        }
        if obj.list_at("/ports").is_empty() {
            obj.set_at("/ports", Value::Null);
        }
    },
    validate_create: |obj, _| slice(obj, &Value::Null),
    validate_update: |new, old, _, _| {
        let mut errors = slice(new, old);
        errors.extend(immutable("addressType", new.at("/addressType"), old.at("/addressType")));
        errors
    },
    columns: || tables::columns(tables::SLICE),
    cells: tables::slice,
    ..Rules::PLAIN
};

/// `RepackSubsets`: addresses that have the same ports lie in one subset, each once and in order. What is malformed stays
/// as it is, for validation to name its place.
fn repack(obj: &mut Value) {
    if obj.list_at("/subsets").is_empty() || !endpoints(obj).is_empty() {
        return;
    }
    // Addresses in order, with the texts of their ports.
    let mut ports_of: BTreeMap<(String, String, &str), (Value, BTreeSet<String>)> = BTreeMap::new();
    for subset in obj.list_at("/subsets") {
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.list_at(&format!("/{list}")) {
                let key = (address.str_at("/ip").to_owned(), address.str_at("/targetRef/uid").to_owned(), list);
                let entry = ports_of.entry(key).or_insert_with(|| (address.clone(), BTreeSet::new()));
                entry.1.extend(subset.list_at("/ports").iter().map(Value::to_string));
            }
        }
    }
    let mut packed: BTreeMap<BTreeSet<String>, Map<String, Value>> = BTreeMap::new();
    for ((_, _, list), (address, ports)) in ports_of {
        let subset = packed.entry(ports).or_default();
        if let Value::Array(addresses) = subset.entry(list).or_insert_with(|| json!([])) {
            addresses.push(address);
        }
    }
    let subsets = packed.into_iter().map(|(ports, mut subset)| {
        let ports: Vec<Value> = ports.iter().filter_map(|port| serde_json::from_str(port).ok()).collect();
        if !ports.is_empty() {
            subset.insert("ports".to_owned(), ports.into());
        }
        Value::Object(subset)
    });
    let subsets: Vec<Value> = subsets.collect();
    obj.set_at("/subsets", subsets);
}

/// `ValidateNonSpecialIP`.
pub(super) fn special_ip(field: &str, ip: &str) -> Errors {
    let Ok(parsed) = ip.parse::<std::net::IpAddr>() else { return Errors::new() };
    let (link_local, link_local_multicast) = match parsed {
        std::net::IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let wrong = [
        (parsed.is_unspecified(), format!("may not be unspecified ({ip})")),
        (parsed.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    let value = json!(ip);
    wrong.iter().filter(|(is, _)| *is).map(|(_, text)| FieldError::invalid(field, &value, text)).collect()
}

fn endpoints(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    for (index, subset) in obj.list_at("/subsets").iter().enumerate() {
        let path = format!("subsets[{index}]");
        let [ready, unready] = ["addresses", "notReadyAddresses"].map(|name| subset.list_at(&format!("/{name}")));
        if ready.is_empty() && unready.is_empty() {
            errors.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for (name, list) in [("addresses", ready), ("notReadyAddresses", unready)] {
            for (number, address) in list.iter().enumerate() {
                let field = format!("{path}.{name}[{number}].ip");
                errors.extend(named(&field, address.str_at("/ip"), names::ip));
                errors.extend(special_ip(&field, address.str_at("/ip")));
            }
        }
        let ports = subset.list_at("/ports");
        for (number, port) in ports.iter().enumerate() {
            let at = |name: &str| format!("{path}.ports[{number}].{name}");
            let name = port.str_at("/name");
            if !name.is_empty() {
                errors.extend(named(&at("name"), name, names::dns_label));
            } else if ports.len() > 1 {
                errors.push(FieldError::required(at("name"), ""));
            }
            errors.extend(port_number(&at("port"), port.at("/port")));
            errors.extend(required_one_of(&at("protocol"), port.str_at("/protocol"), &["SCTP", "TCP", "UDP"]));
        }
    }
    errors
}

/// A slice of endpoints; addresses that it had before are taken as they are.
fn slice(obj: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let kept: HashSet<&str> = old
        .list_at("/endpoints")
        .iter()
        .flat_map(|endpoint| endpoint.list_at("/addresses"))
        .filter_map(Value::as_str)
        .collect();
    let kind = obj.str_at("/addressType");
    errors.extend(required_one_of("addressType", kind, &["FQDN", "IPv4", "IPv6"]));
    for (index, endpoint) in obj.list_at("/endpoints").iter().enumerate() {
        let host = endpoint.str_at("/hostname");
        let host = (!host.is_empty()).then(|| named(&format!("endpoints[{index}].hostname"), host, names::dns_label));
        let field = format!("endpoints[{index}].addresses");
        let addresses = endpoint.list_at("/addresses");
        if addresses.is_empty() {
            errors.push(FieldError::required(&field, "must contain at least 1 address"));
        } else if addresses.len() > 100 {
            errors.push(FieldError::too_many(&field, addresses.len(), 100));
        }
        for (number, address) in addresses.iter().enumerate() {
            let (field, text) = (format!("{field}[{number}]"), address.as_str().unwrap_or_default());
            if kept.contains(text) {
                continue;
            }
            match kind {
                "FQDN" => errors.extend(named(&field, text, names::dns_subdomain)),
                "IPv4" | "IPv6" => {
                    errors.extend(named(&field, text, names::ip));
                    let ip = text.parse::<std::net::IpAddr>().ok();
                    if ip.is_some_and(|ip| ip.is_ipv4() != (kind == "IPv4")) {
                        let detail = format!("must be an {kind} address");
                        errors.push(FieldError::invalid(&field, &json!(text), &detail));
                    }
                    errors.extend(special_ip(&field, text));
                }
                _ => {}
            }
        }
        errors.extend(host.into_iter().flatten());
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in obj.list_at("/ports").iter().enumerate() {
        let at = |name: &str| format!("ports[{index}].{name}");
        let name = port.str_at("/name");
        if !name.is_empty() {
            errors.extend(named(&at("name"), name, names::dns_label));
        }
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(at("name"), &json!(name)));
        }
        seen.push(name);
        errors.extend(required_one_of(&at("protocol"), port.str_at("/protocol"), &["SCTP", "TCP", "UDP"]));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_the_same_ports_lie_together() {
        let port = |number: i64| json!({"port": number, "protocol": "TCP"});
        let mut obj = json!({"subsets": [
            {"addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}], "ports": [port(80)]},
            {"addresses": [{"ip": "10.0.0.3"}], "ports": [port(80)]},
        ]});
        repack(&mut obj);
        let ips = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}]);
        assert_eq!(obj["subsets"], json!([{"addresses": ips, "ports": [port(80)]}]));
    }

    #[test]
    fn an_address_of_a_slice_is_of_its_family_unless_it_was_there() {
        let slice_of = |kind: &str| json!({"addressType": kind, "endpoints": [{"addresses": ["1.2.3.4"]}]});
        let (v4, v6) = (slice_of("IPv4"), slice_of("IPv6"));
        assert_eq!([slice(&v4, &Value::Null).len(), slice(&v6, &Value::Null).len(), slice(&v6, &v4).len()], [0, 1, 0]);
    }

    #[test]
    fn loopback_is_no_endpoint() {
        assert_eq!(["127.0.0.1", "169.254.1.1", "::1", "10.0.0.1"].map(|ip| special_ip("f", ip).len()), [1, 1, 1, 0]);
    }
}
