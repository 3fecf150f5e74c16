//! The plugins of storage: DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize.

use serde_json::{Value, json};

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::resource::Lookup;
use crate::schema::quantity::Quantity;
use crate::status::Status;

const CLASSES: &str = "storage.k8s.io/storageclasses";

/// Claims that name no class get the default one; an empty name is a name.
pub(super) fn default_class(a: &mut Attributes<'_>) {
    if a.operation != Operation::Create || !a.is("", "persistentvolumeclaims") || class_of(&a.object).is_some() {
        return;
    }
    let is_default = |class: &Value| {
        ["storageclass.kubernetes.io~1is-default-class", "storageclass.beta.kubernetes.io~1is-default-class"]
            .iter()
            .any(|annotation| class.str_at(&format!("/metadata/annotations/{annotation}")) == "true")
    };
    if let Some(class) = newest(a.api.list(CLASSES, ""), is_default) {
        a.object.set_at("/spec/storageClassName", class.at("/metadata/name").clone());
    }
}

/// The newest object that a test finds; of several the first by name.
pub(super) fn newest(objects: Vec<Value>, test: impl Fn(&Value) -> bool) -> Option<Value> {
    objects.into_iter().filter(|object| test(object)).max_by(|a, b| {
        let created = |object: &Value| object.str_at("/metadata/creationTimestamp").to_owned();
        created(a).cmp(&created(b)).then_with(|| b.str_at("/metadata/name").cmp(a.str_at("/metadata/name")))
    })
}

/// The class that a claim names, if it names any: the annotation of old times first.
fn class_of(claim: &Value) -> Option<&str> {
    let annotation = claim.at("/metadata/annotations/volume.beta.kubernetes.io~1storage-class").as_str();
    annotation.or_else(|| claim.at("/spec/storageClassName").as_str())
}

/// What pods or claims may use stays until nobody does.
pub(super) fn protect(a: &mut Attributes<'_>) {
    if a.operation != Operation::Create {
        return;
    }
    let finalizer = if a.is("", "persistentvolumes") {
        "kubernetes.io/pv-protection"
    } else if a.is("", "persistentvolumeclaims") {
        "kubernetes.io/pvc-protection"
    } else if a.is("storage.k8s.io", "volumeattributesclasses") {
        "kubernetes.io/vac-protection"
    } else {
        return;
    };
    let mut finalizers = a.object.list_at("/metadata/finalizers").to_vec();
    if !finalizers.iter().any(|f| f == finalizer) {
        finalizers.push(json!(finalizer));
        a.object.set_at("/metadata/finalizers", finalizers);
    }
}

/// Only a bound claim can grow, and only where its class allows it.
pub(super) fn resize(a: &Attributes<'_>) -> Result<(), Status> {
    if a.operation != Operation::Update || !a.is("", "persistentvolumeclaims") {
        return Ok(());
    }
    let class = class_of(&a.object).filter(|class| !class.is_empty() && class_of(a.old) == Some(*class));
    let class = class.and_then(|class| a.api.lookup(CLASSES, "", class)).unwrap_or_default();
    may_grow(&a.object, a.old, &class).map_err(|why| a.forbidden(why))
}

fn may_grow(new: &Value, old: &Value, class: &Value) -> Result<(), &'static str> {
    let size = |claim: &Value| Quantity::parse(claim.str_at("/spec/resources/requests/storage"));
    if size(new) <= size(old) {
        return Ok(());
    }
    if old.str_at("/status/phase") != "Bound" {
        return Err("Only bound persistent volume claims can be expanded");
    }
    if class.true_at("/allowVolumeExpansion") {
        return Ok(());
    }
    Err(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_class_is_named_too() {
        assert_eq!(class_of(&json!({"spec": {"storageClassName": ""}})), Some(""));
        assert_eq!(class_of(&json!({"spec": {}})), None);
    }

    #[test]
    fn the_newest_default_counts_and_of_equals_the_first_by_name() {
        let class = |name: &str, created: &str| json!({"metadata": {"name": name, "creationTimestamp": created}});
        let all = vec![class("b", "2020"), class("a", "2020"), class("z", "2019")];
        let found = newest(all, |_| true);
        assert_eq!(found.map(|class| class.str_at("/metadata/name").to_owned()), Some("a".to_owned()));
    }

    #[test]
    fn claims_grow_when_bound_and_allowed() {
        let claim = |size: &str, phase: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}, "status": {"phase": phase}});
        let (yes, no) = (json!({"allowVolumeExpansion": true}), json!({}));
        let of =
            |size: &str, phase: &str, class: &Value| may_grow(&claim(size, phase), &claim("1Gi", phase), class).is_ok();
        assert_eq!(
            [of("2Gi", "Bound", &yes), of("2Gi", "Bound", &no), of("2Gi", "Pending", &yes), of("1Gi", "Pending", &no)],
            [true, false, false, true]
        );
    }
}
