//! What a request cannot write, by kind and subresource: it is never owned by it. Pure; `GetResetFields` of the
//! registries' strategies.

use super::set::FieldSet;

/// What a request on the object or a subresource cannot write. `status` says whether the kind has that subresource.
pub fn reset_fields(group: &str, kind: &str, custom: bool, subresource: &str, status: bool) -> FieldSet {
    match (subresource, group, kind) {
        ("status", ..) if custom => FieldSet::of(&[&["metadata"], &["spec"]]),
        ("status", "apiextensions.k8s.io", "CustomResourceDefinition") => FieldSet::of(&[&["metadata"], &["spec"]]),
        ("status", "apps", "Deployment") => FieldSet::of(&[&["spec"], &["metadata", "labels"]]),
        ("status", "", "Pod") => {
            FieldSet::of(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
        }
        ("status", "certificates.k8s.io", _) => FieldSet::of(&[&["spec"], &["status", "conditions"]]),
        ("approval", "certificates.k8s.io", _) => FieldSet::of(&[&["spec"], &["status", "certificate"]]),
        ("status", ..) => FieldSet::of(&[&["spec"]]),
        ("scale", ..) => FieldSet::default(),
        _ if status => FieldSet::of(&[&["status"]]),
        _ => FieldSet::default(),
    }
}
