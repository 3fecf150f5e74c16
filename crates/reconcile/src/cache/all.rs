//! All caches of a runtime: which of them answers for an object or a list. Pure.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::Sync;
use crate::controller::Selection;
use crate::object::{self, Kind, ObjectRef};
use crate::watch::Watch;

/// All caches of a runtime.
#[derive(Default)]
pub(crate) struct Caches(RwLock<Vec<Arc<Watch>>>);

/// What the caches know about an object.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// This is it.
    Present(Arc<Value>),
    /// It does not exist.
    Absent,
    /// Its kind is not served.
    NotServed,
    /// No cache covers it: ask the API server.
    Unknown,
}

impl Caches {
    pub(crate) fn add(&self, watch: Arc<Watch>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(watch);
    }

    /// Those that hold whole objects of the kind.
    pub(crate) fn of_kind(&self, kind: &Kind) -> Vec<Arc<Watch>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_of = |selection: &Selection| selection.kind == *kind && !selection.metadata_only;
        all.iter().filter(|watch| is_of(&watch.cache.selection)).cloned().collect()
    }

    pub(crate) fn get(&self, target: &ObjectRef) -> Known {
        let name = (target.namespace.clone(), target.name.clone());
        let mut known = Known::Unknown;
        for watch in self.of_kind(&target.kind) {
            let cache = &watch.cache;
            let state = cache.state();
            match state.sync {
                Sync::Synced => {
                    if let Some(object) = state.objects.get(&name) {
                        return Known::Present(object.stored.open());
                    }
                    if cache.covers(&name) {
                        known = Known::Absent;
                    }
                }
                Sync::Missing if known == Known::Unknown => known = Known::NotServed,
                Sync::Missing | Sync::Pending => {}
            }
        }
        known
    }

    /// `None` when no cache holds all of them.
    pub(crate) fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &[(&str, &str)],
    ) -> Option<Vec<Arc<Value>>> {
        self.select(kind, namespace, labels, |o| {
            labels.iter().all(|(key, value)| object::label(o, key) == Some(*value))
        })
    }

    /// What `wanted` chooses, which may be no more than what has these labels. `None` when no cache holds all of them.
    pub(crate) fn select(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &[(&str, &str)],
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Vec<Arc<Value>>> {
        let watches = self.of_kind(kind);
        let mut caches = watches.iter().map(|watch| &watch.cache);
        caches.find(|c| c.sync() == Sync::Synced && c.covers_list(namespace, labels)).map(|cache| {
            let state = cache.state();
            let start = (namespace.map(str::to_owned), String::new());
            let here = state.objects.range(start..);
            let here = here.take_while(|((ns, _), _)| namespace.is_none() || ns.as_deref() == namespace);
            here.map(|(_, object)| object.stored.open()).filter(|o| wanted(o)).collect()
        })
    }

    /// Whether some cache would have the object, were it there with these labels. When it has not, the object is new, or
    /// somebody else's, or lost its labels.
    pub(crate) fn would_hold<'a>(&self, target: &ObjectRef, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let name = (target.namespace.clone(), target.name.clone());
        let holds = |watch: &Arc<Watch>| watch.cache.sync() == Sync::Synced && watch.cache.would_hold(&name, &label);
        self.of_kind(&target.kind).iter().any(holds)
    }

    /// Whether some cache found the kind not served.
    pub(crate) fn is_missing(&self, kind: &Kind) -> bool {
        self.of_kind(kind).iter().any(|watch| watch.cache.sync() == Sync::Missing)
    }
}
