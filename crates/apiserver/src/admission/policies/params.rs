//! The objects that a binding hands to its policy as `params`. Reads the store.
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/policy/generic` (`CollectParams`).

use std::sync::Arc;

use serde_json::Value;

use super::stored::{ParamKind, ParamRef};
use crate::admission::Attributes;
use crate::api::Api;
use crate::resource::Resource;
use crate::store::ListRequest;

/// What `paramKind` names.
///
/// # Errors
/// It is not served.
pub(super) fn resource(a: &Attributes<'_>, kind: &ParamKind) -> Result<Arc<Resource>, String> {
    let served = a.api.registry.served();
    served.by_kind(&kind.group, &kind.version, &kind.kind).cloned().ok_or_else(|| {
        let ParamKind { group, version, kind } = kind;
        let version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        format!("failed to find resource referenced by paramKind: '{version}, Kind={kind}'")
    })
}

/// One `params` for each evaluation; `null` when the policy takes none or the binding names none.
///
/// # Errors
/// The binding does not fit, or nothing is found and it says to deny then.
pub(super) fn collect(
    a: &Attributes<'_>,
    resource: Option<&Resource>,
    wanted: Option<&ParamRef>,
) -> Result<Vec<Value>, String> {
    let (Some(resource), Some(wanted)) = (resource, wanted) else { return Ok(vec![Value::Null]) };
    let namespace = match (resource.namespaced, wanted.namespace.as_str(), a.namespace) {
        (false, "", _) => "",
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        (true, "", "") => {
            let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.to_owned());
        }
        (true, "", of_request) => of_request,
        (true, given, _) => given,
    };
    let found = match &wanted.selector {
        Some(selector) => {
            let selector = selector.as_ref().map_err(Clone::clone)?;
            let request = ListRequest { namespace: Some(namespace), ..ListRequest::all(&resource.storage) };
            let stored = a.api.store.list(&request).map(|listing| listing.objects).unwrap_or_default();
            let shown = stored.iter().filter_map(|object| Api::decode_stored(resource, object).ok());
            shown.filter(|object| selector.matches_object(object)).collect()
        }
        None => {
            let stored = a.api.store.get(&resource.storage, namespace, &wanted.name);
            let shown = stored.map(|object| Api::decode_stored(resource, &object)).transpose();
            Vec::from_iter(shown.map_err(|status| status.message)?)
        }
    };
    if found.is_empty() && wanted.required {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}
