//! The built-in admission plugins that kube-apiserver runs by default, in its order. Each is a function of the attributes;
//! a plugin looks first whether the write concerns it, so that others cost nothing.
//!
//! The order (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>): NamespaceLifecycle,
//! LimitRanger, ServiceAccount, TaintNodesByCondition, PodSecurity, Priority, DefaultTolerationSeconds, DefaultStorageClass,
//! StorageObjectInUseProtection, PersistentVolumeClaimResize, RuntimeClass, certificates, DefaultIngressClass; then policies and
//! webhooks; then ResourceQuota.

mod namespace;
mod pod;

use super::Attributes;
use crate::status::Status;

/// Plugins that may change the object. They run again when a webhook changed it.
#[expect(clippy::unused_async, reason = "plugins that write through the API join here")]
pub(super) async fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    namespace::lifecycle(a)?;
    pod::mutate(a)?;
    Ok(())
}

/// Plugins that look at the object as it is to be stored, before policies and webhooks.
#[expect(clippy::unused_async, reason = "plugins that write through the API join here")]
pub(super) async fn validate(_: &mut Attributes<'_>) -> Result<(), Status> {
    Ok(())
}

/// What runs after the webhooks, when nobody else can refuse any more: quota.
#[expect(clippy::unused_async, reason = "quota writes through the API")]
pub(super) async fn last(_: &mut Attributes<'_>) -> Result<(), Status> {
    Ok(())
}
