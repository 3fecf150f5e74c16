//! Whose an object is: controller references, adoption of orphans and release of what a selector no longer chooses, as
//! kube-controller-manager's reference manager does it. Pure.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use paddock_reconcile::{Act, Change, Kind, Strategy};
use serde_json::{Value, json};

use crate::names::{Name, name, namespace, uid};
use crate::selector::{Selectors, labels, matches};

/// The reference that makes `owner` the controller of what carries it.
pub(crate) fn reference<K>(owner: &K) -> OwnerReference
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
{
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: name(owner.metadata()).to_owned(),
        uid: uid(owner.metadata()).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The reference to an object's controller.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The same from JSON.
pub(crate) fn controller_in(object: &Value) -> Option<&Value> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    owners.iter().find(|owner| owner["controller"] == true)
}

/// Whether an object may concern `owner`: it is controlled by it, or by nobody.
pub(crate) fn concerns(object: &Value, owner: &ObjectMeta) -> bool {
    controller_in(object).is_none_or(|controller| controller["uid"] == uid(owner))
}

/// The keys that a change of a dependent concerns: its controllers of this kind, before and after; for an orphan, whoever
/// would choose it.
pub(crate) fn keys<K: k8s_openapi::Resource>(change: &Change<'_>, selectors: Option<&Selectors>) -> Vec<Name> {
    let mut keys = Vec::new();
    for object in [change.before, change.after].into_iter().flatten() {
        let Some(Name { namespace, .. }) = Name::of(object) else { continue };
        match (controller_in(object), selectors) {
            (Some(owner), _) => {
                let group = owner["apiVersion"].as_str().map(|v| v.split_once('/').map_or("", |(group, _)| group));
                if owner["kind"] == K::KIND && group == Some(K::GROUP) {
                    keys.extend(owner["name"].as_str().map(|name| Name::new(namespace, name)));
                }
            }
            (None, Some(selectors)) => keys.extend(selectors.choosing(&namespace, &labels(object))),
            (None, None) => {}
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

/// What a controller finds of its dependents.
#[derive(Debug)]
pub(crate) struct Claimed<T> {
    /// Those that are its own.
    pub(crate) owned: Vec<T>,
    /// The writes that make orphans its own and let go what its selector does not choose. Once they are done there is another
    /// pass.
    pub(crate) claims: Vec<Act>,
}

/// Divides dependents. `may_adopt` says which orphans are worth it. An owner that is going adopts and releases nothing.
pub(crate) fn claim<K, T>(
    owner: &K,
    selector: &LabelSelector,
    dependents: impl IntoIterator<Item = T>,
    may_adopt: impl Fn(&T) -> bool,
    finalizer: Option<&str>,
) -> Claimed<T>
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    T::Scope: 'static,
{
    let ends = owner.metadata().deletion_timestamp.is_some();
    let (mut owned, mut claims) = (Vec::new(), Vec::new());
    for dependent in dependents {
        let meta = dependent.metadata();
        let chosen = matches(selector, meta.labels.as_ref());
        match controller(meta) {
            Some(by) if by.uid != uid(owner.metadata()) => {}
            Some(_) if chosen => owned.push(dependent),
            Some(_) if !ends => claims.push(release(&dependent, uid(owner.metadata()), finalizer)),
            None if chosen && !ends && meta.deletion_timestamp.is_none() && may_adopt(&dependent) => {
                claims.push(adopt(owner, &dependent, finalizer));
            }
            _ => {}
        }
    }
    Claimed { owned, claims }
}

/// Makes an orphan the owner's.
pub(crate) fn adopt<K, T>(owner: &K, orphan: &T, finalizer: Option<&str>) -> Act
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    T::Scope: 'static,
{
    let mut metadata = json!({"uid": uid(orphan.metadata()), "ownerReferences": [reference(owner)]});
    if let Some(finalizer) = finalizer {
        metadata["finalizers"] = json!([finalizer]);
    }
    patch(orphan, &metadata)
}

/// Lets a dependent go, and takes the finalizer off that adoption put on.
pub(crate) fn release<T>(dependent: &T, owner_uid: &str, finalizer: Option<&str>) -> Act
where
    T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    T::Scope: 'static,
{
    let references = json!([{"$patch": "delete", "uid": owner_uid}]);
    let mut metadata = json!({"uid": uid(dependent.metadata()), "ownerReferences": references});
    if let Some(finalizer) = finalizer {
        metadata["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
    }
    patch(dependent, &metadata)
}

/// A strategic patch of an object's metadata.
pub(crate) fn patch<T>(object: &T, metadata: &Value) -> Act
where
    T: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    T::Scope: 'static,
{
    let meta = object.metadata();
    let target = Kind::of::<T>().named(Some(namespace(meta)), name(meta));
    Act::patch(target, Strategy::Strategic, json!({"metadata": metadata}))
}
