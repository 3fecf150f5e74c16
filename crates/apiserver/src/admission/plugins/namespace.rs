//! NamespaceLifecycle: objects are made only in namespaces that are there to stay, and some namespaces stay for ever.

use crate::admission::{Attributes, Operation};
use crate::handlers::is_terminating;
use crate::status::{Details, Status};

/// Namespaces that the cluster cannot do without.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) fn lifecycle(a: &Attributes<'_>) -> Result<(), Status> {
    if !a.resource.custom && *a.resource.group == *"" && *a.resource.kind == *"Namespace" {
        if a.operation == Operation::Delete && IMMORTAL.contains(&a.name) {
            return Err(a.forbidden("this namespace may not be deleted"));
        }
        return Ok(());
    }
    // Whether a namespace is there is nothing that a question about rights may reveal.
    if a.namespace.is_empty() || a.operation == Operation::Delete || *a.resource.kind == *"LocalSubjectAccessReview" {
        return Ok(());
    }
    let Some(namespace) = a.api.store.get("/namespaces", "", a.namespace) else {
        return Err(Status::not_found("", "namespaces", a.namespace));
    };
    // Most namespaces are not on their way out, and say the word nowhere: they need not be decoded.
    let may_be = || memchr::memmem::find(namespace.bytes(), b"deletionTimestamp").is_some();
    if a.operation != Operation::Create || !may_be() || !namespace.decode().is_ok_and(|value| is_terminating(&value)) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {} because it is being terminated", a.namespace);
    let mut status = a.forbidden(&why);
    status.details.get_or_insert_with(|| Box::new(Details::default())).causes.push((
        "NamespaceTerminating".to_owned(),
        format!("namespace {} is being terminated", a.namespace),
        "metadata.namespace".to_owned(),
    ));
    Err(status)
}
