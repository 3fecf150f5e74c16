//! The stored webhook configurations and policies, read once per revision and looked at by every write without a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde_json::Value;

use super::policies::{Binding, Bound, Policy};
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
    /// In the order of names.
    pub(crate) mutating_policies: Vec<Bound>,
    pub(crate) validating_policies: Vec<Bound>,
}

/// What the stored objects made, by their revisions: an object is read, and its expressions are compiled, once.
#[derive(Default)]
struct Made {
    webhooks: HashMap<u64, Vec<Arc<Webhook>>>,
    policies: HashMap<u64, Arc<Policy>>,
    bindings: HashMap<u64, Arc<Binding>>,
}

/// What the server keeps for admission.
#[derive(Default)]
pub(crate) struct Admission {
    configured: ArcSwap<Configured>,
    made: Mutex<Made>,
}

impl Configured {
    /// Whether nothing is: no webhook and no policy.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { mutating, validating, mutating_policies, validating_policies } = self;
        mutating.is_empty() && validating.is_empty() && mutating_policies.is_empty() && validating_policies.is_empty()
    }
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
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *made);
        let mut webhooks = |kind: &str, mutating: bool| -> Vec<Arc<Webhook>> {
            let of = |value: &Value| Webhook::of(value, mutating);
            keep(api, kind, &before.webhooks, &mut made.webhooks, of).into_iter().flatten().collect()
        };
        let mutating = webhooks("mutatingwebhookconfigurations", true);
        let validating = webhooks("validatingwebhookconfigurations", false);
        let mut policies = |prefix: &str, mutating: bool| -> Vec<Bound> {
            let of = |value: &Value| Arc::new(Policy::of(value, mutating));
            let kind = format!("{prefix}admissionpolicies");
            let policies = keep(api, &kind, &before.policies, &mut made.policies, of);
            let of = |value: &Value| Arc::new(Binding::of(value));
            let kind = format!("{prefix}admissionpolicybindings");
            let bindings = keep(api, &kind, &before.bindings, &mut made.bindings, of);
            let mut bound: HashMap<String, Vec<Arc<Binding>>> = HashMap::new();
            for binding in bindings {
                bound.entry(binding.policy.clone()).or_default().push(binding);
            }
            let with = |policy: Arc<Policy>| {
                let bindings = bound.remove(&policy.name).unwrap_or_default();
                Bound { policy, bindings }
            };
            // A policy that nothing binds is about nothing.
            policies.into_iter().map(with).filter(|bound| !bound.bindings.is_empty()).collect()
        };
        let mutating_policies = policies("mutating", true);
        let validating_policies = policies("validating", false);
        let configured = Configured { mutating, validating, mutating_policies, validating_policies };
        self.configured.store(Arc::new(configured));
    }
}

/// Everything of a kind, what is known by its revision as it was.
fn keep<T: Clone>(
    api: &Api,
    kind: &str,
    before: &HashMap<u64, T>,
    now: &mut HashMap<u64, T>,
    of: impl Fn(&Value) -> T,
) -> Vec<T> {
    let mut all = Vec::new();
    for object in stored(api, kind) {
        let known = before.get(&object.revision()).cloned();
        let Some(made) = known.or_else(|| object.decode().ok().map(|value: Value| of(&value))) else { continue };
        now.insert(object.revision(), made.clone());
        all.push(made);
    }
    all
}

fn stored(api: &Api, kind: &str) -> Vec<Object> {
    let storage = format!("{GROUP}{kind}");
    api.store.list(&ListRequest::all(&storage)).map(|listing| listing.objects).unwrap_or_default()
}
