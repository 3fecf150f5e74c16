//! The `AdmissionRequest` of a write: what webhooks are asked with and expressions call `request`. Pure.

use serde_json::{Map, Value, json};

use super::{Attributes, kind_of};
use crate::resource::Resource;

/// The request without uid and objects. `resource` is the one that the rules matched.
pub(super) fn request(a: &Attributes<'_>, resource: &Resource) -> Value {
    let kind = |resource: &Resource| {
        let (group, version, kind) = kind_of(resource, a.subresource);
        json!({"group": group, "version": version, "kind": kind})
    };
    let named = |r: &Resource| json!({"group": &*r.group, "version": &*r.version, "resource": &*r.plural});
    let mut user = Map::new();
    for (field, text) in [("username", &a.user.name), ("uid", &a.user.uid)] {
        if !text.is_empty() {
            user.insert(field.to_owned(), text.as_str().into());
        }
    }
    if !a.user.groups.is_empty() {
        user.insert("groups".to_owned(), json!(a.user.groups));
    }
    if !a.user.extra.is_empty() {
        user.insert("extra".to_owned(), json!(a.user.extra));
    }
    let mut request = json!({
        "kind": kind(resource),
        "resource": named(resource),
        "requestKind": kind(&a.resource),
        "requestResource": named(&a.resource),
        "operation": a.operation.as_str(),
        "userInfo": user,
        "dryRun": a.dry_run,
        "options": a.options.shown(),
    });
    for (field, text) in [
        ("subResource", a.subresource),
        ("requestSubResource", a.subresource),
        ("name", a.name),
        ("namespace", a.namespace),
    ] {
        if !text.is_empty() {
            request[field] = text.into();
        }
    }
    request
}
