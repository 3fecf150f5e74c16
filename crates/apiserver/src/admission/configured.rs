//! The stored webhook configurations and policies, read once per revision and looked at by every write without a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde_json::Value;

use super::webhooks::Webhook;
use crate::api::Api;
use crate::store::{ListRequest, Object};

/// Every resource that decides about admission is stored under this.
const GROUP: &str = "admissionregistration.k8s.io/";

/// One immutable state.
#[derive(Default)]
pub(crate) struct Configured {
    /// In the order of configuration names, then as listed.
    pub(crate) mutating: Vec<Arc<Webhook>>,
    pub(crate) validating: Vec<Arc<Webhook>>,
}

/// What the server keeps for admission.
#[derive(Default)]
pub(crate) struct Admission {
    configured: ArcSwap<Configured>,
    /// What each stored configuration made, by its revision.
    webhooks: Mutex<HashMap<u64, Vec<Arc<Webhook>>>>,
}

impl Admission {
    /// What is configured now.
    pub(crate) fn configured(&self) -> arc_swap::Guard<Arc<Configured>> {
        self.configured.load()
    }

    /// Whether a write of this resource changes what is configured.
    pub(crate) fn concerns(storage: &str) -> bool {
        storage.starts_with(GROUP)
    }

    /// Reads what is stored. Configurations of a revision that is known are kept, with their open connections.
    pub(crate) fn reload(&self, api: &Api) {
        // Held while reading, so that of two writers the later one's state is what counts in the end.
        let mut made = self.webhooks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = HashMap::new();
        let mut read = |kind: &str, mutating: bool| -> Vec<Arc<Webhook>> {
            let mut all = Vec::new();
            for object in stored(api, kind) {
                let webhooks = made.remove(&object.revision()).unwrap_or_else(|| {
                    object.decode().map(|value: Value| Webhook::of(&value, mutating)).unwrap_or_default()
                });
                all.extend(webhooks.iter().cloned());
                current.insert(object.revision(), webhooks);
            }
            all
        };
        let configured = Configured {
            mutating: read("mutatingwebhookconfigurations", true),
            validating: read("validatingwebhookconfigurations", false),
        };
        *made = current;
        self.configured.store(Arc::new(configured));
    }
}

fn stored(api: &Api, kind: &str) -> Vec<Object> {
    let storage = format!("{GROUP}{kind}");
    api.store.list(&ListRequest::all(&storage)).map(|listing| listing.objects).unwrap_or_default()
}
