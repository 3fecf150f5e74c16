//! Validation of security contexts.

use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::{Errors, hold, one_of, required, shown};
use crate::field::{FieldError, Kind, go_value};

/// Fields of a container's security context in the order of the internal Go struct, which errors print.
const CONTEXT: &[(&str, &str)] = &[
    ("Capabilities", "capabilities"),
    ("Privileged", "privileged"),
    ("SELinuxOptions", "seLinuxOptions"),
    ("WindowsOptions", "windowsOptions"),
    ("RunAsUser", "runAsUser"),
    ("RunAsGroup", "runAsGroup"),
    ("RunAsNonRoot", "runAsNonRoot"),
    ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
    ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
    ("ProcMount", "procMount"),
    ("SeccompProfile", "seccompProfile"),
    ("AppArmorProfile", "appArmorProfile"),
];

/// `ValidateSecurityContext` of a container.
pub(super) fn validate_container(context: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    if context.is_null() {
        return errors;
    }
    let privileged = context.true_at("/privileged");
    if privileged {
        errors.push(FieldError::forbidden(format!("{path}.privileged"), "disallowed by cluster policy"));
    }
    for id in ["runAsUser", "runAsGroup"] {
        errors.extend(identity(context.at(&format!("/{id}")), &format!("{path}.{id}")));
    }
    let proc_mount = context.str_at("/procMount");
    if !proc_mount.is_empty() {
        errors.extend(one_of(&format!("{path}.procMount"), proc_mount, &["Default", "Unmasked"]));
    }
    errors.extend(profile(context.at("/seccompProfile"), &format!("{path}.seccompProfile"), "seccomp"));
    if context.at("/allowPrivilegeEscalation") == &json!(false) {
        let added = context.list_at("/capabilities/add").iter().any(|c| c == "CAP_SYS_ADMIN");
        for (wrong, what) in [(privileged, "`privileged` to true"), (added, "`capabilities.Add` CAP_SYS_ADMIN")] {
            if wrong {
                let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
                errors.push(shown(Kind::Invalid, path, internal(context), &detail));
            }
        }
    }
    errors.extend(profile(context.at("/appArmorProfile"), &format!("{path}.appArmorProfile"), "AppArmor"));
    errors
}

/// The context as errors print it: Go's internal struct, with every field.
fn internal(context: &Value) -> String {
    let fields = CONTEXT.iter().map(|(go, json)| {
        let value = context.at(&format!("/{json}"));
        let text = match *json {
            "capabilities" if !value.is_null() => {
                format!(r#"{{"Add":{},"Drop":{}}}"#, value.at("/add"), value.at("/drop"))
            }
            "seccompProfile" | "appArmorProfile" if !value.is_null() => {
                format!(r#"{{"Type":{},"LocalhostProfile":{}}}"#, value.at("/type"), value.at("/localhostProfile"))
            }
            _ => go_value(value),
        };
        format!("{go:?}:{text}")
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// `validatePodSpecSecurityContext`.
pub(super) fn validate_pod(spec: &Value, path: &str) -> Errors {
    let context = spec.at("/securityContext");
    let mut errors = Errors::new();
    for id in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.extend(identity(context.at(&format!("/{id}")), &format!("{path}.{id}")));
    }
    for (index, group) in context.list_at("/supplementalGroups").iter().enumerate() {
        errors.extend(identity(group, &format!("{path}.supplementalGroups[{index}]")));
    }
    if spec.true_at("/shareProcessNamespace") && spec.true_at("/hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(format!("{path}.shareProcessNamespace"), &json!(true), detail));
    }
    let mut seen = Vec::new();
    for (index, sysctl) in context.list_at("/sysctls").iter().enumerate() {
        let field = format!("{path}.sysctls[{index}].name");
        let name = sysctl.str_at("/name");
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if !is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(field, &json!(name), detail));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(field, &json!(name)));
        }
        seen.push(name);
    }
    if context.has("/fsGroupChangePolicy") {
        let policy = context.str_at("/fsGroupChangePolicy");
        errors.extend(one_of(&format!("{path}.fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]));
    }
    errors.extend(profile(context.at("/seccompProfile"), &format!("{path}.seccompProfile"), "seccomp"));
    if context.has("/supplementalGroupsPolicy") {
        let policy = context.str_at("/supplementalGroupsPolicy");
        errors.extend(one_of(&format!("{path}.supplementalGroupsPolicy"), policy, &["Merge", "Strict"]));
    }
    errors.extend(profile(context.at("/appArmorProfile"), &format!("{path}.appArmorProfile"), "AppArmor"));
    errors
}

fn identity(id: &Value, field: &str) -> Option<FieldError> {
    let number = id.as_i64()?;
    hold((0..=i64::from(i32::MAX)).contains(&number), field, id, "must be between 0 and 2147483647, inclusive")
}

fn is_sysctl(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 253
        && name
            .split(['.', '/'])
            .map(str::as_bytes)
            .all(|part| outer(part.first()) && outer(part.last()) && part.iter().copied().all(inner))
}

/// A seccomp or AppArmor profile.
fn profile(profile: &Value, path: &str, what: &str) -> Errors {
    let mut errors = Errors::new();
    if profile.is_null() {
        return errors;
    }
    let (kind, field) = (profile.str_at("/type"), format!("{path}.type"));
    let localhost = format!("{path}.localhostProfile");
    if kind.is_empty() {
        let detail = if what == "seccomp" {
            "type is required when seccompProfile is set"
        } else {
            "type is required when appArmorProfile is set"
        };
        errors.push(FieldError::required(field, detail));
        return errors;
    }
    if kind == "Localhost" {
        if required(&localhost, profile.str_at("/localhostProfile")).is_some() {
            errors.push(FieldError::required(localhost, &format!("must be set when {what} type is Localhost")));
        }
    } else if profile.has("/localhostProfile") {
        let detail = format!("can only be set when {what} type is Localhost");
        errors.push(FieldError::invalid(localhost, profile.at("/localhostProfile"), &detail));
    }
    errors.extend(one_of(&field, kind, &["Localhost", "RuntimeDefault", "Unconfined"]));
    errors
}
