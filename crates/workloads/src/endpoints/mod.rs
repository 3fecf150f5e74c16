//! Which pods serve a Service: EndpointSlices, and the older Endpoints. Reads through the engine's context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/endpointslice` and `pkg/controller/endpoint`.

mod legacy;
mod packing;
mod pods;
mod slices;
#[cfg(test)]
mod tests;
mod triggers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Pod, Service};
use paddock_reconcile::{Change, Context, Error};
use serde_json::Value;

use crate::names::Name;
use crate::selector::{Labels, labels};
use crate::snapshots::select;

pub use legacy::{LegacyEndpoints, LegacyKnown};
pub use slices::{EndpointSlices, SlicesKnown};

/// What Services select, kept up by their source. Clones share it.
#[derive(Clone, Debug, Default)]
struct Selecting(Arc<Mutex<BTreeMap<Name, Labels>>>);

impl Selecting {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Name, Labels>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from a change of a Service. Returns its name.
    fn learn(&self, change: &Change<'_>) -> Option<Name> {
        let name = Name::of(change.object())?;
        let selector = change.after.and_then(|o| o.pointer("/spec/selector")).and_then(Value::as_object);
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let selector: Labels = selector.into_iter().flatten().filter_map(text).collect();
        if selector.is_empty() {
            self.all().remove(&name);
        } else {
            self.all().insert(name.clone(), selector);
        }
        Some(name)
    }

    /// The Services that a change of a pod concerns: those that select it, before or after, when what they tell changes.
    fn of_pod(&self, change: &Change<'_>) -> Vec<Name> {
        let (before, after) = (change.before, change.after);
        if let (Some(before), Some(after)) = (before, after)
            && told(before) == told(after)
        {
            return Vec::new();
        }
        let mut found = BTreeSet::new();
        for pod in [before, after].into_iter().flatten() {
            let Some(Name { namespace, .. }) = Name::of(pod) else { continue };
            let (labels, all) = (labels(pod), self.all());
            let here = all.range(Name::new(namespace.as_str(), "")..).take_while(|(n, _)| n.namespace == namespace);
            found.extend(here.filter(|(_, wants)| chooses(wants, &labels)).map(|(name, _)| name.clone()));
        }
        found.into_iter().collect()
    }

    /// All Services that select pods.
    fn names(&self) -> Vec<Name> {
        self.all().keys().cloned().collect()
    }
}

fn chooses(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// What endpoints tell of a pod.
fn told(pod: &Value) -> [Option<&Value>; 8] {
    let ready = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = ready.and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
    let at = |pointer| pod.pointer(pointer);
    [
        at("/metadata/labels"),
        at("/metadata/deletionTimestamp"),
        at("/metadata/uid"),
        at("/spec"),
        at("/status/podIPs"),
        at("/status/podIP"),
        at("/status/phase"),
        ready,
    ]
}

/// The pods that a Service selects; `None` when it selects nothing and others make its endpoints.
async fn selected(cx: &Context, service: &Service) -> Result<Option<Vec<Pod>>, Error> {
    let spec = service.spec.as_ref();
    let selector = spec.and_then(|spec| spec.selector.clone()).unwrap_or_default();
    if selector.is_empty() || spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Ok(None);
    }
    let namespace = crate::names::namespace(&service.metadata);
    select::<Pod>(cx, namespace, |pod| chooses(&selector, &labels(pod))).await.map(Some)
}
