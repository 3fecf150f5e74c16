//! Validation of containers, in the order of `validateContainers` and `validateContainerCommon`.

use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::{
    Errors, hold, named, non_negative, one_of, port_number, port_number_or_name, required, required_name,
    required_one_of,
};
use super::super::names;
use super::security;
use super::volumes::{descending, field_ref};
use crate::field::FieldError;
use crate::schema::quantity::{self, Quantity};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
/// Fields of the pod that an environment variable can take its value from.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Errors of all three lists of containers of a pod spec.
pub(super) fn validate(spec: &Value, volumes: &[&str], field: &str) -> Errors {
    let mut errors = Errors::new();
    let path = format!("{field}.containers");
    let regular = spec.list_at("/containers");
    if regular.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, container) in regular.iter().enumerate() {
        let path = format!("{path}[{index}]");
        errors.extend(common(container, volumes, &path));
        let name = container.str_at("/name");
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        seen.push(name);
        errors.extend(lifecycle(container, &path));
    }
    if !regular.is_empty() {
        errors.extend(host_port_conflicts(regular, &path));
    }
    for (index, container) in spec.list_at("/initContainers").iter().enumerate() {
        let path = format!("{field}.initContainers[{index}]");
        errors.extend(common(container, volumes, &path));
        let name = container.str_at("/name");
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        } else if !name.is_empty() {
            seen.push(name);
        }
        if container.str_at("/restartPolicy") == "Always" {
            errors.extend(lifecycle(container, &path));
        } else {
            for part in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.has(&format!("/{part}")) {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.push(FieldError::forbidden(format!("{path}.{part}"), detail));
                }
            }
        }
    }
    for (index, container) in spec.list_at("/ephemeralContainers").iter().enumerate() {
        let path = format!("{field}.ephemeralContainers[{index}]");
        errors.extend(common(container, volumes, &path));
        let name = container.str_at("/name");
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        seen.push(name);
        for part in ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
            if container.has(&format!("/{part}")) {
                let detail = "cannot be set for an Ephemeral Container";
                errors.push(FieldError::forbidden(format!("{path}.{part}"), detail));
            }
        }
    }
    errors
}

fn common(container: &Value, volumes: &[&str], path: &str) -> Errors {
    let at = |name: &str| format!("{path}.{name}");
    let mut errors = required_name(&at("name"), container.str_at("/name"), names::dns_label);
    let image = container.str_at("/image");
    if image.is_empty() {
        errors.push(FieldError::required(at("image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(at("image"), &json!(image), detail));
    }
    errors.extend(required_one_of(
        &at("terminationMessagePolicy"),
        container.str_at("/terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
    ));
    errors.extend(ports(container, &at("ports")));
    for (index, variable) in container.list_at("/env").iter().enumerate() {
        errors.extend(environment(variable, &at(&format!("env[{index}]"))));
    }
    for (index, source) in container.list_at("/envFrom").iter().enumerate() {
        errors.extend(environment_from(source, &at(&format!("envFrom[{index}]"))));
    }
    errors.extend(mounts(container, volumes, &at("volumeMounts")));
    errors.extend(required_one_of(
        &at("imagePullPolicy"),
        container.str_at("/imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    ));
    errors.extend(resources(container.at("/resources"), &at("resources")));
    errors.extend(security::validate_container(container.at("/securityContext"), &at("securityContext")));
    errors
}

fn ports(container: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in container.list_at("/ports").iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let name = port.str_at("/name");
        if !name.is_empty() {
            let wrong = named(&at("name"), name, names::port_name);
            if wrong.is_empty() && seen.contains(&name) {
                errors.push(FieldError::duplicate(at("name"), &json!(name)));
            } else if wrong.is_empty() {
                seen.push(name);
            }
            errors.extend(wrong);
        }
        match port.int_at("/containerPort").unwrap_or(0) {
            0 => errors.push(FieldError::required(at("containerPort"), "")),
            _ => errors.extend(port_number(&at("containerPort"), port.at("/containerPort"))),
        }
        if port.int_at("/hostPort").unwrap_or(0) != 0 {
            errors.extend(port_number(&at("hostPort"), port.at("/hostPort")));
        }
        errors.extend(required_one_of(&at("protocol"), port.str_at("/protocol"), PROTOCOLS));
    }
    errors
}

fn host_port_conflicts(containers: &[Value], path: &str) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for (number, port) in container.list_at("/ports").iter().enumerate() {
            let Some(host) = port.int_at("/hostPort").filter(|host| *host != 0) else { continue };
            let taken = format!("{}/{}/{host}", port.str_at("/protocol"), port.str_at("/hostIP"));
            if seen.contains(&taken) {
                errors.push(FieldError::duplicate(format!("{path}[{index}].ports[{number}].hostPort"), &json!(taken)));
            }
            seen.push(taken);
        }
    }
    errors
}

fn environment(variable: &Value, path: &str) -> Errors {
    const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let mut errors = required_name(&format!("{path}.name"), variable.str_at("/name"), names::env_name);
    let Some(from) = variable.map_at("/valueFrom") else { return errors };
    let from = &Value::Object(from.clone());
    let path = format!("{path}.valueFrom");
    let given: Vec<_> = SOURCES.iter().filter(|source| from.has(&format!("/{source}"))).collect();
    for source in &given {
        let (value, path) = (from.at(&format!("/{source}")), format!("{path}.{source}"));
        match **source {
            "fieldRef" => errors.extend(field_ref(value, ENV_FIELDS, &path)),
            "resourceFieldRef" => errors.extend(required(&format!("{path}.resource"), value.str_at("/resource"))),
            "fileKeyRef" => {}
            _ => {
                errors.extend(required(&format!("{path}.name"), value.str_at("/name")));
                errors.extend(required_name(&format!("{path}.key"), value.str_at("/key"), names::config_key));
            }
        }
    }
    let detail = match (given.len(), variable.str_at("/value").is_empty()) {
        (0, _) => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        (_, false) => "may not be specified when `value` is not empty",
        (1, true) => return errors,
        (_, true) => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, &json!(""), detail));
    errors
}

fn environment_from(source: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let prefix = source.str_at("/prefix");
    if !prefix.is_empty() {
        errors.extend(named(&format!("{path}.prefix"), prefix, names::env_name));
    }
    let given: Vec<_> =
        ["configMapRef", "secretRef"].into_iter().filter(|name| source.has(&format!("/{name}"))).collect();
    for name in &given {
        let object = source.str_at(&format!("/{name}/name"));
        errors.extend(required_name(&format!("{path}.{name}.name"), object, names::dns_subdomain));
    }
    let detail = match given.len() {
        0 => "must specify one of: `configMapRef` or `secretRef`",
        1 => return errors,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, &json!(""), detail));
    errors
}

fn mounts(container: &Value, volumes: &[&str], path: &str) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, mount) in container.list_at("/volumeMounts").iter().enumerate() {
        let at = |name: &str| format!("{path}[{index}].{name}");
        let [name, mount_path, sub_path, sub_expr] =
            ["/name", "/mountPath", "/subPath", "/subPathExpr"].map(|field| mount.str_at(field));
        errors.extend(required(&at("name"), name));
        if !volumes.contains(&name) {
            errors.push(FieldError::not_found(at("name"), &json!(name)));
        }
        errors.extend(required(&at("mountPath"), mount_path));
        errors.extend(hold(!seen.contains(&mount_path), &at("mountPath"), &json!(mount_path), "must be unique"));
        seen.push(mount_path);
        if !sub_path.is_empty() {
            errors.extend(descending(&format!("{path}.subPath"), sub_path));
        }
        if !sub_expr.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.extend(hold(sub_path.is_empty(), &at("subPathExpr"), &json!(sub_expr), detail));
            errors.extend(descending(&format!("{path}.subPathExpr"), sub_expr));
        }
        let propagation = mount.str_at("/mountPropagation");
        if !propagation.is_empty() {
            let supported = &["Bidirectional", "HostToContainer", "None"];
            errors.extend(one_of(&at("mountPropagation"), propagation, supported));
        }
    }
    for (index, device) in container.list_at("/volumeDevices").iter().enumerate() {
        let at = |name: &str| format!("{}Devices[{index}].{name}", path.trim_end_matches("Mounts"));
        let name = device.str_at("/name");
        errors.extend(required(&at("name"), name));
        if !volumes.contains(&name) {
            errors.push(FieldError::not_found(at("name"), &json!(name)));
        }
        errors.extend(required(&at("devicePath"), device.str_at("/devicePath")));
    }
    errors
}

/// `ValidateResourceRequirements` for a container.
pub(in super::super) fn resources(requirements: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let limits = requirements.at("/limits");
    for (list, compare) in [("limits", false), ("requests", true)] {
        for (name, value) in requirements.map_at(&format!("/{list}")).into_iter().flatten() {
            errors.extend(resource_name(name, &format!("{path}.{list}[{name}]")));
            errors.extend(resource_quantity(name, value, &format!("{path}.{list}[{name}]")));
            let Some(limit) = limits.get(name).filter(|_| compare) else {
                if compare && !overcommits(name) {
                    let detail = "Limit must be set for non overcommitable resources";
                    errors.push(FieldError::required(format!("{path}.limits"), detail));
                }
                continue;
            };
            let parse = |value: &Value| Quantity::parse(value.as_str().unwrap_or_default());
            let (asked, most) = (parse(value), parse(limit));
            let limit = quantity::canonical_or_same(limit.as_str().unwrap_or_default());
            let detail = if asked != most && !overcommits(name) {
                format!("must be equal to {name} limit of {limit}")
            } else if asked > most {
                format!("must be less than or equal to {name} limit of {limit}")
            } else {
                continue;
            };
            errors.push(FieldError::invalid(format!("{path}.requests"), &shown_quantity(value), &detail));
        }
    }
    errors
}

/// A quantity as it is printed: canonical.
pub(in super::super) fn shown_quantity(value: &Value) -> Value {
    json!(quantity::canonical_or_same(value.as_str().unwrap_or_default()))
}

/// Whether more of a resource may be promised than there is: not of hugepages and extended resources.
pub(in super::super) fn overcommits(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.contains("kubernetes.io/"))
}

/// What is counted by number, so that a part of one makes no sense.
const WHOLE: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// `validateContainerResourceName`: what containers can ask for.
pub(in super::super) fn resource_name(name: &str, field: &str) -> Errors {
    let mut errors = any_resource_name(name, field);
    if !name.contains('/') {
        let container = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if names::qualified_name(name).is_empty() {
            errors.extend(hold(container, field, &json!(name), "must be a standard resource for containers"));
        }
    } else if !overcommits(name) && name.starts_with("requests.") {
        errors.push(FieldError::invalid(field, &json!(name), "doesn't follow extended resource name standard"));
    }
    errors
}

/// `ValidateResourceName`: what anything can be limited to.
pub(in super::super) fn any_resource_name(name: &str, field: &str) -> Errors {
    let mut errors = named(field, name, names::qualified_name);
    if errors.is_empty() && !name.contains('/') {
        let compute = ["", "requests.", "limits."]
            .iter()
            .filter_map(|prefix| name.strip_prefix(prefix))
            .any(|rest| matches!(rest, "cpu" | "memory" | "ephemeral-storage"));
        let pages = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
        let standard = compute || pages || matches!(name, "storage" | "requests.storage") || WHOLE.contains(&name);
        let detail = "must be a standard resource type or fully qualified";
        errors.extend(hold(standard, field, &json!(name), detail));
    }
    errors
}

/// `ValidateResourceQuantityValue`: not negative, and whole where a part of one makes no sense.
pub(in super::super) fn resource_quantity(name: &str, value: &Value, field: &str) -> Errors {
    let Some(parsed) = Quantity::parse(value.as_str().unwrap_or_default()) else { return Errors::new() };
    let mut errors = Errors::new();
    if parsed.is_negative() {
        errors.push(FieldError::invalid(field, &shown_quantity(value), "must be greater than or equal to 0"));
    }
    let counted = !overcommits(name) || WHOLE.contains(&name);
    if counted && !parsed.is_whole() {
        errors.push(FieldError::invalid(field, &shown_quantity(value), "must be an integer"));
    }
    errors
}

fn lifecycle(container: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = container.map_at(&format!("/lifecycle/{hook}")) {
            errors.extend(handlers(&Value::Object(handler.clone()), &format!("{path}.lifecycle.{hook}")));
        }
    }
    for (name, once) in [("livenessProbe", true), ("readinessProbe", false), ("startupProbe", true)] {
        let probe = container.at(&format!("/{name}"));
        if probe.is_null() {
            continue;
        }
        let path = format!("{path}.{name}");
        errors.extend(handlers(probe, &path));
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            errors.extend(non_negative(probe, &format!("/{field}"), &format!("{path}.{field}")));
        }
        if let Some(grace) = probe.int_at("/terminationGracePeriodSeconds") {
            let field = format!("{path}.terminationGracePeriodSeconds");
            if name == "readinessProbe" {
                errors.push(FieldError::invalid(field, &json!(grace), "must not be set for readinessProbes"));
            } else {
                errors.extend(hold(grace > 0, &field, &json!(grace), "must be greater than 0"));
            }
        }
        let successes = probe.int_at("/successThreshold").unwrap_or(1);
        errors.extend(hold(
            !once || successes == 1,
            &format!("{path}.successThreshold"),
            &json!(successes),
            "must be 1",
        ));
    }
    errors
}

/// `validateHandler`: exactly one way to act.
fn handlers(handler: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let mut given = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let value = handler.at(&format!("/{kind}"));
        if value.is_null() {
            continue;
        }
        let path = format!("{path}.{kind}");
        given += 1;
        if given > 1 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" if value.list_at("/command").is_empty() => {
                errors.push(FieldError::required(format!("{path}.command"), ""));
            }
            "httpGet" => {
                errors.extend(required(&format!("{path}.path"), value.str_at("/path")));
                errors.extend(port_number_or_name(&format!("{path}.port"), value.at("/port")));
                errors.extend(one_of(&format!("{path}.scheme"), value.str_at("/scheme"), &["HTTP", "HTTPS"]));
            }
            "tcpSocket" => errors.extend(port_number_or_name(&format!("{path}.port"), value.at("/port"))),
            "grpc" => errors.extend(port_number(&format!("{path}.port"), value.at("/port"))),
            _ => {}
        }
    }
    if given == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    errors
}
