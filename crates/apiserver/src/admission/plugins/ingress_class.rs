//! DefaultIngressClass: an Ingress that names no class gets the default one.

use serde_json::Value;

use super::storage::newest;
use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::resource::Lookup;

pub(super) fn mutate(a: &mut Attributes<'_>) {
    let named = |ingress: &Value| {
        ingress.has("/spec/ingressClassName") || ingress.has("/metadata/annotations/kubernetes.io~1ingress.class")
    };
    if a.operation != Operation::Create || !a.is("networking.k8s.io", "ingresses") || named(&a.object) {
        return;
    }
    let is_default =
        |class: &Value| class.str_at("/metadata/annotations/ingressclass.kubernetes.io~1is-default-class") == "true";
    if let Some(class) = newest(a.api.list("networking.k8s.io/ingressclasses", ""), is_default) {
        a.object.set_at("/spec/ingressClassName", class.at("/metadata/name").clone());
    }
}
