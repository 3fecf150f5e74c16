//! The checks of the level `baseline`: what would let a pod out of its isolation. Pure.
//!
//! Texts and their order are those of `k8s.io/pod-security-admission`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Check, Finding, Pod, containers, plural, quoted, setters};
use crate::kinds::at::At;

/// By name: appArmorProfile, capabilities, hostNamespaces, hostPathVolumes, hostPorts, hostProbesAndHostLifecycle, privileged,
/// procMount, seLinuxOptions, seccompProfile, sysctls, windowsHostProcess.
pub(super) const CHECKS: &[Check] = &[
    Check::since(0, app_armor),
    Check::since(0, capabilities).replaced(22),
    Check::since(0, host_namespaces),
    Check::since(0, host_path_volumes).replaced(0),
    Check::since(0, host_ports),
    Check::since(34, probe_hosts),
    Check::since(0, privileged),
    Check::since(0, proc_mount).until(35),
    Check::since(35, proc_mount_unless_own_users).replaced(35),
    Check::since(0, |pod| selinux(pod, SELINUX_TYPES)).until(31),
    Check::since(31, |pod| selinux(pod, SELINUX_TYPES_1_31)),
    Check::since(0, seccomp_annotations).until(19).replaced(19),
    Check::since(19, seccomp).replaced(19),
    Check::since(0, |pod| sysctls(pod, 5)).until(27),
    Check::since(27, |pod| sysctls(pod, 6)).until(29),
    Check::since(29, |pod| sysctls(pod, 10)).until(32),
    Check::since(32, |pod| sysctls(pod, 12)),
    Check::since(0, host_process),
];

fn finding(reason: &'static str, detail: String) -> Option<Finding> {
    Some(Finding { reason, detail })
}

fn annotations<'a>(pod: Pod<'a>) -> impl Iterator<Item = (&'a String, &'a str)> {
    let all = pod.metadata.map_at("/annotations").into_iter().flatten();
    all.map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn app_armor(pod: Pod<'_>) -> Option<Finding> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let wrong = |context: &Value| {
        context.has("/appArmorProfile")
            && !matches!(context.str_at("/appArmorProfile/type"), "RuntimeDefault" | "Localhost")
    };
    let whole = pod.spec.at("/securityContext");
    let bad = pod.bad(|container| wrong(container.at("/securityContext")));
    let contexts = pod.containers().map(|container| container.at("/securityContext")).chain([whole]);
    let types: BTreeSet<&str> =
        contexts.filter(|context| wrong(context)).map(|context| context.str_at("/appArmorProfile/type")).collect();
    let mut values: Vec<String> = types.into_iter().map(str::to_owned).collect();
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let mut noted: Vec<String> = annotations(pod)
        .filter(|(key, value)| key.starts_with(ANNOTATION) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    noted.sort();
    let mut who: Vec<String> = setters(wrong(whole), &bad).into_iter().collect();
    if !noted.is_empty() {
        who.push(plural(noted.len(), "annotation", "annotations").to_owned());
        values.append(&mut noted);
    }
    if who.is_empty() {
        return None;
    }
    finding(
        plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values)),
    )
}

fn capabilities(pod: Pod<'_>) -> Option<Finding> {
    const ALLOWED: &[&str] = &[
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let (bad, added) = added_capabilities(pod, ALLOWED);
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted(added));
    finding("non-default capabilities", detail)
}

/// Containers that add other capabilities than the allowed ones, and which.
pub(super) fn added_capabilities<'a>(pod: Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    fn wrong<'a>(container: &'a Value, allowed: &[&str]) -> impl Iterator<Item = &'a str> {
        let added = container.list_at("/securityContext/capabilities/add").iter().filter_map(Value::as_str);
        added.filter(move |capability| !allowed.contains(capability))
    }
    let bad = pod.bad(|container| wrong(container, allowed).next().is_some());
    (bad, pod.containers().flat_map(|container| wrong(container, allowed)).collect())
}

fn host_namespaces(pod: Pod<'_>) -> Option<Finding> {
    let mut shared = vec!["hostIPC", "hostNetwork", "hostPID"];
    shared.retain(|field| pod.spec.true_at(&format!("/{field}")));
    if shared.is_empty() { None } else { finding("host namespaces", shared.join(", ")) }
}

fn host_path_volumes(pod: Pod<'_>) -> Option<Finding> {
    let volumes = pod.spec.list_at("/volumes").iter().filter(|volume| volume.has("/hostPath"));
    let names: Vec<&str> = volumes.map(|volume| volume.str_at("/name")).collect();
    if names.is_empty() {
        return None;
    }
    finding("hostPath volumes", format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(names)))
}

fn host_ports(pod: Pod<'_>) -> Option<Finding> {
    fn taken(container: &Value) -> impl Iterator<Item = i64> {
        container.list_at("/ports").iter().filter_map(|port| port.int_at("/hostPort")).filter(|port| *port != 0)
    }
    let bad = pod.bad(|container| taken(container).next().is_some());
    let ports: BTreeSet<String> = pod.containers().flat_map(taken).map(|port| port.to_string()).collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {}",
        containers(&bad),
        plural(bad.len(), "uses", "use"),
        plural(ports.len(), "hostPort", "hostPorts"),
        ports.into_iter().collect::<Vec<_>>().join(", "),
    );
    finding("hostPort", detail)
}

/// Hosts that probes and hooks reach for: a way to have the node ask anyone.
fn probe_hosts(pod: Pod<'_>) -> Option<Finding> {
    const HANDLERS: &[&str] =
        &["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    fn asked(container: &Value) -> impl Iterator<Item = &str> {
        let handlers = HANDLERS.iter().map(|handler| container.at(handler));
        let hosts = handlers.flat_map(|handler| ["/httpGet/host", "/tcpSocket/host"].map(|host| handler.str_at(host)));
        hosts.filter(|host| !host.is_empty())
    }
    let bad: BTreeSet<&str> = pod.bad(|container| asked(container).next().is_some()).into_iter().collect();
    let bad: Vec<&str> = bad.into_iter().collect();
    let hosts: BTreeSet<&str> = pod.containers().flat_map(asked).collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {}",
        containers(&bad),
        plural(bad.len(), "uses", "use"),
        plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts"),
        quoted(hosts),
    );
    finding("probe or lifecycle host", detail)
}

fn privileged(pod: Pod<'_>) -> Option<Finding> {
    let bad = pod.bad(|container| container.true_at("/securityContext/privileged"));
    if bad.is_empty() {
        return None;
    }
    finding("privileged", format!("{} must not set securityContext.privileged=true", containers(&bad)))
}

fn proc_mount_unless_own_users(pod: Pod<'_>) -> Option<Finding> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Finding> {
    const FIELD: &str = "/securityContext/procMount";
    let wrong = |container: &Value| container.has(FIELD) && container.str_at(FIELD) != "Default";
    let bad = pod.bad(wrong);
    if bad.is_empty() {
        return None;
    }
    let kinds: BTreeSet<&str> = pod.containers().filter(|c| wrong(c)).map(|c| c.str_at(FIELD)).collect();
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(kinds));
    finding("procMount", detail)
}

const SELINUX_TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t"];
const SELINUX_TYPES_1_31: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

fn selinux(pod: Pod<'_>, allowed: &[&str]) -> Option<Finding> {
    let field = |context: &Value, name: &str| context.str_at(&format!("/seLinuxOptions/{name}")).to_owned();
    let bad_type = |context: &Value| !allowed.contains(&field(context, "type").as_str());
    let set = |context: &Value, name: &str| !field(context, name).is_empty();
    let wrong = |context: &Value| bad_type(context) || set(context, "user") || set(context, "role");
    let whole = pod.spec.at("/securityContext");
    let who = setters(wrong(whole), &pod.bad(|container| wrong(container.at("/securityContext"))))?;
    let contexts: Vec<&Value> = pod.containers().map(|c| c.at("/securityContext")).chain([whole]).collect();
    let types: BTreeSet<String> = contexts.iter().filter(|c| bad_type(c)).map(|c| field(c, "type")).collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural(types.len(), "type", "types"), quoted(types)));
    }
    let also = ["user", "role"].into_iter().filter(|name| contexts.iter().any(|c| set(c, name)));
    what.extend(also.map(|name| format!("{name} may not be set")));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    finding("seLinuxOptions", detail)
}

/// Before 1.19 seccomp profiles were annotations.
fn seccomp_annotations(pod: Pod<'_>) -> Option<Finding> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let keys: BTreeSet<String> =
        pod.containers().map(|c| format!("{CONTAINER}{}", c.str_at("/name"))).chain([POD.to_owned()]).collect();
    let allowed = |v: &str| v == "runtime/default" || v == "docker/default" || v.starts_with("localhost/");
    let wrong: BTreeSet<String> = annotations(pod)
        .filter(|(key, value)| keys.contains(*key) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if wrong.is_empty() {
        return None;
    }
    let count = plural(wrong.len(), "annotation", "annotations");
    let detail = format!("forbidden {count} {}", wrong.into_iter().collect::<Vec<_>>().join(", "));
    finding("seccompProfile", detail)
}

/// Whether a security context asks for another seccomp profile than the two allowed ones.
pub(super) fn is_bad_seccomp(context: &Value) -> bool {
    context.has("/seccompProfile") && !matches!(context.str_at("/seccompProfile/type"), "RuntimeDefault" | "Localhost")
}

pub(super) fn seccomp(pod: Pod<'_>) -> Option<Finding> {
    let whole = pod.spec.at("/securityContext");
    let bad = pod.bad(|container| is_bad_seccomp(container.at("/securityContext")));
    let who = setters(is_bad_seccomp(whole), &bad)?;
    let contexts = pod.containers().map(|c| c.at("/securityContext")).chain([whole]);
    let types: BTreeSet<&str> =
        contexts.filter(|c| is_bad_seccomp(c)).map(|c| c.str_at("/seccompProfile/type")).collect();
    finding("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(types)))
}

/// Sysctls that touch the pod alone, in the order releases came to allow them.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn sysctls(pod: Pod<'_>, known: usize) -> Option<Finding> {
    let set = pod.spec.list_at("/securityContext/sysctls").iter().map(|sysctl| sysctl.str_at("/name"));
    let wrong: Vec<&str> = set.filter(|name| !SYSCTLS.iter().take(known).any(|safe| safe == name)).collect();
    if wrong.is_empty() { None } else { finding("forbidden sysctls", wrong.join(", ")) }
}

fn host_process(pod: Pod<'_>) -> Option<Finding> {
    let set = |holder: &Value| holder.true_at("/securityContext/windowsOptions/hostProcess");
    let who = setters(set(pod.spec), &pod.bad(set))?;
    finding("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}
