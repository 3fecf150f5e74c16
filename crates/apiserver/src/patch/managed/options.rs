//! `fieldManager` and `force`: their checks and the manager's name when none is given. Pure.

use serde_json::Value;

use crate::field::{FieldError, Kind, is_print};
use crate::status::Status;

use super::super::PatchType;

/// Longest field manager, in bytes.
const MAX_MANAGER: usize = 128;

/// What is wrong with a `fieldManager`. Callers wrap it into `CreateOptions` or `UpdateOptions` of `meta.k8s.io`.
pub fn manager_errors(manager: &str) -> Vec<FieldError> {
    let mut out = Vec::new();
    if manager.len() > MAX_MANAGER {
        out.push(FieldError::too_long("fieldManager", MAX_MANAGER));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| !is_print(*c)) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        out.push(FieldError::invalid("fieldManager", &Value::String(manager.to_owned()), &detail));
    }
    out
}

/// 422 for options that a patch of this type may not or must have.
pub fn check_patch_options(kind: PatchType, manager: &str, force: Option<bool>) -> Result<(), Status> {
    let mut errors = Vec::new();
    if kind == PatchType::Apply {
        if manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
    } else if force.is_some() {
        errors.push(FieldError::with(Kind::Forbidden, "force", None, "may not be specified for non-apply patch"));
    }
    errors.extend(manager_errors(manager));
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors)) }
}

/// The manager of a write: the one asked for, else the user agent up to its first `/`.
pub fn manager_name(asked: &str, user_agent: &str) -> String {
    if !asked.is_empty() {
        return asked.to_owned();
    }
    let mut out = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars().filter(|c| is_print(*c)) {
        if out.len() + c.len_utf8() > MAX_MANAGER {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{check_patch_options, manager_name};
    use crate::patch::PatchType;

    #[test]
    fn apply_needs_a_field_manager() {
        let error = check_patch_options(PatchType::Apply, "", None).unwrap_err();
        let text =
            r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#;
        assert_eq!(error.message, text);
    }

    #[test]
    fn force_is_for_apply_only() {
        assert_eq!(check_patch_options(PatchType::Apply, "me", Some(true)), Ok(()));
        let error = check_patch_options(PatchType::Json, "", Some(true)).unwrap_err();
        let text =
            r#"PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#;
        assert_eq!(error.message, text);
    }

    #[test]
    fn a_field_manager_is_128_printable_bytes_at_most() {
        let error = check_patch_options(PatchType::Apply, "a\nb", None).unwrap_err();
        assert!(
            error.message.ends_with(r#"Invalid value: "a\nb": invalid character U+000A (at position 1)"#),
            "{error}"
        );
        let error = check_patch_options(PatchType::Apply, &"x".repeat(129), None).unwrap_err();
        assert!(error.message.ends_with("fieldManager: Too long: may not be more than 128 bytes"), "{error}");
    }

    #[test]
    fn the_user_agent_names_the_manager_else() {
        assert_eq!(manager_name("me", "kubectl/v1"), "me");
        assert_eq!(manager_name("", "kubectl/v1.32 (linux)"), "kubectl");
        assert_eq!(manager_name("", &"ü".repeat(100)).len(), 128);
    }
}
