//! When what changed endpoints happened, for those who measure how long that takes. Pure but for its memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};

use crate::names::{Name, name};
use crate::pods;

/// The annotation that tells it.
pub(super) const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What was seen of each Service. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Triggers(Arc<Mutex<BTreeMap<Name, Seen>>>);

#[derive(Clone, Debug, Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: BTreeMap<String, Timestamp>,
}

impl Triggers {
    /// The first of what happened since the last call: the Service itself when it is new, else pods that got ready or not.
    pub(super) fn since_last(&self, key: &Name, service: &Service, selected: &[Pod]) -> Option<Timestamp> {
        let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let ready = |pod: &Pod| {
            let at = pods::condition(pod, "Ready")?.last_transition_time.as_ref()?.0;
            Some((name(&pod.metadata).to_owned(), at))
        };
        let now = Seen { service: created, pods: selected.iter().filter_map(ready).collect() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = all.insert(key.clone(), now.clone()) else { return created };
        let changed = now.pods.iter().filter(|(name, at)| before.pods.get(*name).is_none_or(|was| was < at));
        let renewed = created.filter(|created| before.service.is_none_or(|was| was < *created));
        changed.map(|(_, at)| *at).chain(renewed).min()
    }

    /// The Service is gone.
    pub(super) fn forget(&self, key: &Name) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// As annotations have it.
pub(super) fn text(at: Timestamp) -> String {
    at.to_string()
}
