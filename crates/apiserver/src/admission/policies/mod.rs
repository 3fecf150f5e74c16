//! Admission policies: expressions that refuse or change a write. Reads the store.
//!
//! | module | what it is for |
//! |---|---|
//! | `stored` | policies and bindings, compiled |
//! | `params` | what bindings hand to policies |
//! | `validating` | ValidatingAdmissionPolicy |
//! | `mutating` | MutatingAdmissionPolicy |
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/policy`.

mod mutating;
mod params;
mod stored;
mod validating;

use std::sync::Arc;

use serde_json::Value;

use super::Attributes;
use crate::resource::Resource;
use crate::status::Status;

pub(super) use mutating::mutate;
pub(crate) use stored::{Binding, Policy};
pub(super) use validating::validate;

/// A policy with its bindings.
pub(crate) struct Bound {
    pub(crate) policy: Arc<Policy>,
    pub(crate) bindings: Vec<Arc<Binding>>,
}

/// A policy, a binding of it and one of its params that are about a write.
struct Invocation<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    /// Under which the policy matches.
    resource: Arc<Resource>,
    params: Value,
}

/// A policy that cannot do its work for a write.
struct Misconfigured<'p> {
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    why: String,
}

/// What is about a write, and what cannot be.
fn invocations<'p>(a: &Attributes<'_>, bound: &'p [Bound]) -> (Vec<Invocation<'p>>, Vec<Misconfigured<'p>>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for Bound { policy, bindings } in bound {
        let mut misconfigured = |binding: Option<&'p Binding>, why: String| {
            let of = if binding.is_some() { "binding" } else { "policy" };
            wrong.push(Misconfigured { policy, binding, why: format!("failed to configure {of}: {why}") });
        };
        let resource = match policy.constraints.matched(a) {
            Ok(Some(resource)) => resource,
            Ok(None) => continue,
            Err(status) => {
                misconfigured(None, status.message);
                continue;
            }
        };
        let param = match policy.param_kind.as_ref().map(|kind| params::resource(a, kind)).transpose() {
            Ok(param) => param,
            Err(why) => {
                misconfigured(None, why);
                continue;
            }
        };
        for binding in bindings {
            match binding.resources.as_ref().map_or(Ok(true), |r| r.matched(a).map(|m| m.is_some())) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(status) => {
                    misconfigured(Some(binding), status.message);
                    continue;
                }
            }
            match params::collect(a, param.as_deref(), binding.params.as_ref()) {
                Ok(all) => found.extend(all.into_iter().map(|params| Invocation {
                    policy,
                    binding,
                    resource: resource.clone(),
                    params,
                })),
                Err(why) => misconfigured(Some(binding), why),
            }
        }
    }
    wrong.retain(|wrong| wrong.policy.fail_closed);
    (found, wrong)
}

/// `namespaceObject`: the namespace of the write without managed fields; `null` for cluster-scoped objects.
///
/// # Errors
/// 404 when it is not there.
fn namespace_object(a: &Attributes<'_>) -> Result<Value, Status> {
    if a.namespace.is_empty() || a.is_namespace() {
        return Ok(Value::Null);
    }
    let Some(mut namespace) = a.api.lookup("/namespaces", "", a.namespace) else {
        return Err(Status::not_found("", "namespaces", a.namespace));
    };
    if let Some(metadata) = namespace.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("ownerReferences");
    }
    Ok(namespace)
}
