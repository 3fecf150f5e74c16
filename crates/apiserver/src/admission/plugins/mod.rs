//! The built-in admission plugins that kube-apiserver runs by default, in its order. Each is a function of the attributes;
//! a plugin looks first whether the write concerns it, so that others cost nothing.
//!
//! The order (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>): NamespaceLifecycle,
//! LimitRanger, ServiceAccount, TaintNodesByCondition, PodSecurity, Priority, DefaultTolerationSeconds, DefaultStorageClass,
//! StorageObjectInUseProtection, PersistentVolumeClaimResize, RuntimeClass, certificates, DefaultIngressClass; then policies and
//! webhooks; then ResourceQuota.

mod certificates;
mod ingress_class;
mod limit_ranger;
mod namespace;
mod nodes;
mod pod_security;
mod priority;
pub(crate) mod quota;
pub(crate) mod resources;
mod runtime_class;
mod service_account;
mod storage;
mod tolerations;

use super::Attributes;
use crate::status::Status;

/// Plugins that may change the object. They run again when a webhook changed it.
pub(super) async fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    namespace::lifecycle(a)?;
    limit_ranger::mutate(a)?;
    service_account::mutate(a).await?;
    nodes::mutate(a);
    priority::mutate(a)?;
    tolerations::mutate(a);
    storage::default_class(a);
    storage::protect(a);
    runtime_class::mutate(a)?;
    ingress_class::mutate(a);
    Ok(())
}

/// Plugins that look at the object as it is to be stored, before policies and webhooks.
pub(super) async fn validate(a: &mut Attributes<'_>) -> Result<(), Status> {
    limit_ranger::validate(a)?;
    service_account::validate(a).await?;
    pod_security::validate(a)?;
    priority::validate(a)?;
    storage::resize(a)?;
    runtime_class::validate(a)?;
    certificates::validate(a)
}

/// What runs after the webhooks, when nobody else can refuse any more: quota.
pub(super) async fn last(a: &mut Attributes<'_>) -> Result<(), Status> {
    quota::charge(a).await
}
