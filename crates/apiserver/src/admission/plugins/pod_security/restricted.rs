//! The checks of the level `restricted`: what hardened pods must say of themselves. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{added_capabilities, is_bad_seccomp, proc_mount, seccomp};
use super::checks::{Check, Finding, Pod, containers, plural, quoted, setters};
use crate::kinds::at::At;

/// By name: allowPrivilegeEscalation, capabilities, procMount, restrictedVolumes, runAsNonRoot, runAsUser, seccompProfile.
/// From 1.25 on pods that say they are for Windows need not set what Windows lacks; from 1.35 on pods with a user namespace
/// of their own may be root in it.
pub(super) const CHECKS: &[Check] = &[
    Check::since(8, escalation).until(25),
    Check::since(25, |pod| linux(pod, escalation)),
    Check::since(22, capabilities).until(25),
    Check::since(25, |pod| linux(pod, capabilities)),
    Check::since(35, proc_mount),
    Check::since(0, volumes),
    Check::since(0, non_root).until(35),
    Check::since(35, |pod| host_users(pod, non_root)),
    Check::since(23, user).until(35),
    Check::since(35, |pod| host_users(pod, user)),
    Check::since(19, seccomp_set).until(25),
    Check::since(25, |pod| linux(pod, seccomp_set)),
];

fn linux(pod: Pod<'_>, check: fn(Pod<'_>) -> Option<Finding>) -> Option<Finding> {
    if pod.is_windows() { None } else { check(pod) }
}

fn host_users(pod: Pod<'_>, check: fn(Pod<'_>) -> Option<Finding>) -> Option<Finding> {
    if pod.has_own_users() { None } else { check(pod) }
}

fn escalation(pod: Pod<'_>) -> Option<Finding> {
    let bad = pod.bad(|c| c.at("/securityContext/allowPrivilegeEscalation") != &Value::Bool(false));
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    Some(Finding { reason: "allowPrivilegeEscalation != false", detail })
}

fn capabilities(pod: Pod<'_>) -> Option<Finding> {
    let keeps = pod.bad(|c| !c.list_at("/securityContext/capabilities/drop").iter().any(|name| name == "ALL"));
    let (adds, added) = added_capabilities(pod, &["NET_BIND_SERVICE"]);
    let mut what = Vec::new();
    if !keeps.is_empty() {
        what.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeps)));
    }
    if !adds.is_empty() {
        what.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adds),
            quoted(added)
        ));
    }
    if what.is_empty() {
        return None;
    }
    Some(Finding { reason: "unrestricted capabilities", detail: what.join("; ") })
}

fn volumes(pod: Pod<'_>) -> Option<Finding> {
    const ALLOWED: &[&str] =
        &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    const KNOWN: &[&str] = &[
        "hostPath",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "nfs",
        "iscsi",
        "glusterfs",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "fc",
        "azureFile",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "photonPersistentDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
    ];
    let has = |volume: &Value, kind: &str| volume.get(kind).is_some_and(|source| !source.is_null());
    let mut names = Vec::new();
    let mut kinds = BTreeSet::new();
    for volume in pod.spec.list_at("/volumes") {
        if !ALLOWED.iter().any(|kind| has(volume, kind)) {
            names.push(volume.str_at("/name"));
            kinds.insert(KNOWN.iter().copied().find(|kind| has(volume, kind)).unwrap_or("unknown"));
        }
    }
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {} {}",
        plural(names.len(), "volume", "volumes"),
        quoted(&names),
        plural(names.len(), "uses", "use"),
        plural(kinds.len(), "restricted volume type", "restricted volume types"),
        quoted(kinds),
    );
    Some(Finding { reason: "restricted volume types", detail })
}

fn non_root(pod: Pod<'_>) -> Option<Finding> {
    const FIELD: &str = "/securityContext/runAsNonRoot";
    const REASON: &str = "runAsNonRoot != true";
    let refuses = |holder: &Value| holder.at(FIELD) == &Value::Bool(false);
    if let Some(who) = setters(refuses(pod.spec), &pod.bad(refuses)) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Finding { reason: REASON, detail });
    }
    let silent = pod.bad(|container| !container.has(FIELD));
    if pod.spec.true_at(FIELD) || silent.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent));
    Some(Finding { reason: REASON, detail })
}

fn user(pod: Pod<'_>) -> Option<Finding> {
    let root = |holder: &Value| holder.int_at("/securityContext/runAsUser") == Some(0);
    let who = setters(root(pod.spec), &pod.bad(root))?;
    Some(Finding { reason: "runAsUser=0", detail: format!("{who} must not set runAsUser=0") })
}

fn seccomp_set(pod: Pod<'_>) -> Option<Finding> {
    if let Some(wrong) = seccomp(pod) {
        return Some(wrong);
    }
    const FIELD: &str = "/securityContext/seccompProfile";
    let whole = pod.spec.has(FIELD) && !is_bad_seccomp(pod.spec.at("/securityContext"));
    let silent = pod.bad(|container| !container.has(FIELD));
    if whole || silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&silent)
    );
    Some(Finding { reason: "seccompProfile", detail })
}
