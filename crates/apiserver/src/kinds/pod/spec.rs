//! Validation of pod specs, in the order of `ValidatePodSpec`.

use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::{Errors, hold, label_selector, named, one_of, required};
use super::super::{meta, names};
use super::{affinity, containers, security, volumes};
use crate::field::FieldError;

/// Errors of a pod template at `field`.
pub(in super::super) fn validate_template(template: &Value, field: &str) -> Errors {
    let mut errors = meta::labels(&format!("{field}.labels"), template.at("/metadata/labels"));
    errors.extend(meta::annotations(&format!("{field}.annotations"), template.at("/metadata/annotations")));
    errors.extend(validate(template.at("/spec"), template.at("/metadata"), &format!("{field}.spec")));
    if !template.list_at("/spec/ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(
            format!("{field}.spec.ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
    errors
}

/// Errors of a pod spec at `field`.
pub(in super::super) fn validate(spec: &Value, _metadata: &Value, field: &str) -> Errors {
    let at = |name: &str| format!("{field}.{name}");
    let (volume_names, mut errors) = volumes::validate(spec.list_at("/volumes"), &at("volumes"));
    errors.extend(containers::validate(spec, &volume_names, field));
    errors.extend(one_of(&at("restartPolicy"), spec.str_at("/restartPolicy"), &["Always", "OnFailure", "Never"]));
    errors.extend(one_of(
        &at("dnsPolicy"),
        spec.str_at("/dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    ));
    errors.extend(meta::labels(&at("nodeSelector"), spec.at("/nodeSelector")));
    errors.extend(security::validate_pod(spec, &at("securityContext")));
    for (index, secret) in spec.list_at("/imagePullSecrets").iter().enumerate() {
        let field = at(&format!("imagePullSecrets[{index}].name"));
        errors.extend(required(&field, secret.str_at("/name")));
    }
    errors.extend(affinity::validate(spec.at("/affinity"), &at("affinity")));
    errors.extend(dns_config(spec, &at("dnsConfig")));
    for (list, key) in [("readinessGates", "/conditionType"), ("schedulingGates", "/name")] {
        let mut seen = Vec::new();
        for (index, gate) in spec.list_at(&format!("/{list}")).iter().enumerate() {
            let name = gate.str_at(key);
            let field = at(&format!("{list}[{index}]{}", if list == "readinessGates" { ".conditionType" } else { "" }));
            errors.extend(named(&field, name, names::qualified_name));
            if list == "schedulingGates" && seen.contains(&name) {
                errors.push(FieldError::duplicate(at(&format!("{list}[{index}]")), &json!(name)));
            }
            seen.push(name);
        }
    }
    errors.extend(topology_spread(spec, &at("topologySpreadConstraints")));
    for (name, rule) in [
        ("serviceAccountName", names::dns_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::dns_subdomain),
        ("activeDeadlineSeconds", names::dns_label),
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
    ] {
        let value = spec.at(&format!("/{name}"));
        match value {
            Value::String(text) if !text.is_empty() => errors.extend(named(&at(name), text, rule)),
            Value::Number(number) if name == "activeDeadlineSeconds" => errors.extend(hold(
                number.as_i64().is_some_and(|n| (1..=i64::from(i32::MAX)).contains(&n)),
                &at(name),
                value,
                "must be between 1 and 2147483647, inclusive",
            )),
            _ => {}
        }
    }
    errors.extend(tolerations(spec.list_at("/tolerations"), &at("tolerations")));
    for (index, alias) in spec.list_at("/hostAliases").iter().enumerate() {
        let field = at(&format!("hostAliases[{index}]"));
        errors.extend(named(&format!("{field}.ip"), alias.str_at("/ip"), names::ip));
        for hostname in alias.list_at("/hostnames") {
            let name = hostname.as_str().unwrap_or_default();
            errors.extend(named(&format!("{field}.hostnames"), name, names::dns_subdomain));
        }
    }
    for name in ["priorityClassName", "runtimeClassName"] {
        let value = spec.str_at(&format!("/{name}"));
        if !value.is_empty() {
            errors.extend(named(&at(name), value, names::dns_subdomain));
        }
    }
    if spec.has("/preemptionPolicy") {
        let policy = spec.str_at("/preemptionPolicy");
        errors.extend(one_of(&at("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]));
    }
    if spec.has("/os") {
        match spec.str_at("/os/name") {
            "" => errors.push(FieldError::required(at("os.name"), "cannot be empty")),
            name => errors.extend(one_of(&at("os"), name, &["linux", "windows"])),
        }
    }
    errors
}

fn dns_config(spec: &Value, field: &str) -> Errors {
    let config = spec.at("/dnsConfig");
    let servers = config.list_at("/nameservers");
    let mut errors = Errors::new();
    if spec.str_at("/dnsPolicy") == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            return vec![FieldError::required(field, detail)];
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return vec![FieldError::required(format!("{field}.nameservers"), detail)];
        }
    }
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(format!("{field}.nameservers"), config.at("/nameservers"), detail));
    }
    for (index, server) in servers.iter().enumerate() {
        errors.extend(named(&format!("{field}.nameservers[{index}]"), server.as_str().unwrap_or_default(), names::ip));
    }
    for (index, option) in config.list_at("/options").iter().enumerate() {
        if option.str_at("/name").is_empty() {
            errors.push(FieldError::required(format!("{field}.options[{index}]"), "must not be empty"));
        }
    }
    errors
}

fn topology_spread(spec: &Value, field: &str) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, constraint) in spec.list_at("/topologySpreadConstraints").iter().enumerate() {
        let at = |name: &str| format!("{field}[{index}].{name}");
        let skew = constraint.int_at("/maxSkew").unwrap_or(0);
        errors.extend(hold(skew > 0, &at("maxSkew"), &json!(skew), "must be greater than zero"));
        let (key, action) = (constraint.str_at("/topologyKey"), constraint.str_at("/whenUnsatisfiable"));
        if key.is_empty() {
            errors.push(FieldError::required(at("topologyKey"), "can not be empty"));
        } else {
            errors.extend(named(&at("topologyKey"), key, names::qualified_name));
        }
        errors.extend(one_of(&at("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]));
        if seen.contains(&(key, action)) {
            let value = json!(format!("{{{key}, {action}}}"));
            errors.push(FieldError::duplicate(at("{topologyKey, whenUnsatisfiable}"), &value));
        }
        seen.push((key, action));
        if let Some(domains) = constraint.int_at("/minDomains") {
            let value = json!(domains);
            errors.extend(hold(domains > 0, &at("minDomains"), &value, "must be greater than zero"));
            if action != "DoNotSchedule" {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ";
                errors.push(FieldError::invalid(at("minDomains"), &value, &format!("{detail}{action}")));
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let value = constraint.str_at(&format!("/{policy}"));
            if !value.is_empty() {
                errors.extend(one_of(&at(policy), value, &["Honor", "Ignore"]));
            }
        }
        if constraint.has("/labelSelector") {
            errors.extend(label_selector(&at("labelSelector"), constraint.at("/labelSelector")));
        }
    }
    errors
}

/// `ValidateTolerations`.
pub(in super::super) fn tolerations(tolerations: &[Value], field: &str) -> Errors {
    let mut errors = Errors::new();
    for (index, toleration) in tolerations.iter().enumerate() {
        let at = |name: &str| format!("{field}[{index}].{name}");
        let [key, operator, value, effect] =
            ["/key", "/operator", "/value", "/effect"].map(|field| toleration.str_at(field));
        if !key.is_empty() {
            errors.extend(named(&at("key"), key, names::qualified_name));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(at("operator"), &json!(operator), detail));
        }
        if toleration.has("/tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(at("effect"), &json!(effect), detail));
        }
        match operator {
            "" | "Equal" => errors.extend(named(&at("operator"), value, names::label_value)),
            "Exists" => errors.extend(hold(
                value.is_empty(),
                &at("operator"),
                &json!(value),
                "value must be empty when `operator` is 'Exists'",
            )),
            _ => errors.push(FieldError::not_supported(at("operator"), &json!(operator), &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            errors.extend(one_of(&at("effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]));
        }
    }
    errors
}

/// What `GetWarningsForPod` says of a spec, in its order.
pub(in super::super) fn warnings(spec: &Value, field: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for key in spec.map_at("/nodeSelector").into_iter().flatten().map(|(key, _)| key) {
        if let Some(text) = deprecated_node_label(key) {
            warnings.push(format!("{field}.nodeSelector[{key}]: {text}"));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec.list_at(&format!("/{list}")).iter().enumerate() {
            let mut seen = Vec::new();
            for (number, variable) in container.list_at("/env").iter().enumerate() {
                let name = variable.str_at("/name");
                if seen.contains(&name) && !variable.str_at("/value").contains(&format!("$({name})")) {
                    let at = format!("{field}.{list}[{index}].env[{number}]");
                    warnings.push(format!(
                        "{at}: hides previous definition of {name:?}, which may be dropped when using apply"
                    ));
                }
                seen.push(name);
            }
        }
    }
    warnings
}

fn deprecated_node_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        _ => return None,
    })
}
