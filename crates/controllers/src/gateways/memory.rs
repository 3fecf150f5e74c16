//! What was asked for, judged and remembered, from both front ends: so that a mistake in a later document or object hides
//! nothing. Holds memory, and asks the API server what the cluster is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use paddock_reconcile::{Context, Error};
use serde_json::Value;

use super::controller::NAMESPACES_KEY;
use super::fleet;
use super::intent::{Entry, Intents, Rules};
use super::key::GatewayKey;
use super::platform::{ClusterVersion, Facts};
use super::problem::Problem;
use super::resource;

/// The judged `platform-config` and the judged `OpenShellGateway` objects. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    rules: Rules,
    /// `None` until the first document was seen.
    text: Option<Option<String>>,
    intents: Arc<Intents>,
    resources: BTreeMap<GatewayKey, Resource>,
    /// When the cluster was asked what it is.
    asked: Option<Timestamp>,
    /// The platform's revision, with the versions of the Sandbox kind that it holds for.
    wave: Option<(String, Arc<str>)>,
}

/// How long what the cluster says about itself holds.
const FACTS_HOLD: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug)]
struct Resource {
    object: Arc<Value>,
    /// What was judged, by rules that still hold.
    judged: bool,
    entry: Entry,
}

/// Who asks for a gateway, and what for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    /// What is asked for; `None` when nobody asks.
    pub(super) entry: Option<Entry>,
    /// The object that asks.
    pub(super) resource: Option<Arc<Value>>,
    /// Whether `platform-config` asks for the same gateway and is not heard.
    pub(super) overridden: bool,
}

impl Memory {
    pub(super) fn new(rules: Rules) -> Self {
        let (intents, resources) = (Arc::default(), BTreeMap::new());
        let held = Held { rules, text: None, intents, resources, asked: None, wave: None };
        Self { held: Arc::new(Mutex::new(held)) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges by what the cluster is from now on.
    pub(super) fn learn(&self, facts: Facts) {
        let mut held = self.held();
        if (held.rules.cluster, held.rules.openshift) != (facts.version, facts.openshift) {
            (held.rules.cluster, held.rules.openshift) = (facts.version, facts.openshift);
            held.text = None;
            held.wave = None;
            held.resources.values_mut().for_each(|resource| resource.judged = false);
        }
    }

    /// The cluster's version, as far as it is known.
    pub(super) fn cluster(&self) -> Option<ClusterVersion> {
        self.held().rules.cluster
    }

    /// Asks the cluster what it is, now and then. What it may not be asked for is unknown: that is the same on every pass.
    pub(super) async fn ask(&self, cx: &Context) -> Result<(), Error> {
        let now = cx.clock().now();
        let known = self.held().asked;
        if known.is_some_and(|asked| now.duration_since(asked) < FACTS_HOLD) {
            return Ok(());
        }
        let facts = match (Facts::ask(cx.client()).await, known) {
            (Ok(facts), _) => facts,
            // Clusters change rarely: what was true stays true until the opposite is known.
            (Err(_), Some(_)) => return Ok(()),
            (Err(error), None) => return Err(Error::transient(format!("what the cluster is: {error}"))),
        };
        self.learn(facts);
        self.held().asked = Some(now);
        Ok(())
    }

    /// The platform's revision, rendered once for what it depends on.
    pub(super) fn wave(&self, sandbox_versions: &str) -> Arc<str> {
        let mut held = self.held();
        if let Some((of, wave)) = &held.wave
            && of == sandbox_versions
        {
            return Arc::clone(wave);
        }
        let wave: Arc<str> = fleet::platform_revision(&held.rules, sandbox_versions).into();
        held.wave = Some((sandbox_versions.to_owned(), Arc::clone(&wave)));
        wave
    }

    /// Judges the document of `config_map`, once per text.
    pub(super) fn observe(&self, config_map: Option<&Value>) -> Arc<Intents> {
        let text = config_map.and_then(|map| map["data"][NAMESPACES_KEY].as_str());
        let mut held = self.held();
        if held.text.as_ref().map(Option::as_deref) != Some(text) {
            held.intents = Arc::new(held.intents.next(text, &held.rules));
            held.text = Some(text.map(str::to_owned));
        }
        Arc::clone(&held.intents)
    }

    /// Judges the object that asks for this gateway, once per spec; `None` when there is none. An object that is being
    /// deleted asks for nothing any more.
    pub(super) fn observe_resource(&self, key: &GatewayKey, object: Option<&Value>) {
        let mut held = self.held();
        let Some(object) = object.filter(|object| !paddock_reconcile::object::is_terminating(object)) else {
            held.resources.remove(key);
            return;
        };
        let known = held.resources.get(key);
        let judged = known.filter(|known| known.judged && known.object["spec"] == object["spec"]);
        let entry = match (judged, known) {
            (Some(judged), _) => judged.entry.clone(),
            (None, known) => {
                let mut entry = resource::compile(key, object, &held.rules);
                if entry.intent.is_none() {
                    let platform = || held.intents.entry(key).and_then(|entry| entry.intent.clone());
                    entry.intent = known.and_then(|known| known.entry.intent.clone()).or_else(platform);
                }
                entry
            }
        };
        held.resources.insert(key.clone(), Resource { object: Arc::new(object.clone()), judged: true, entry });
    }

    /// Who asks for this gateway. An object is heard before `platform-config`.
    pub(super) fn asked(&self, key: &GatewayKey) -> Asked {
        let held = self.held();
        let platform = held.intents.entry(key);
        match held.resources.get(key) {
            Some(resource) => Asked {
                entry: Some(resource.entry.clone()),
                resource: Some(Arc::clone(&resource.object)),
                overridden: platform.is_some(),
            },
            None => Asked { entry: platform.cloned(), ..Asked::default() },
        }
    }

    /// Whether an object asks for this gateway.
    pub(super) fn has_resource(&self, key: &GatewayKey) -> bool {
        self.held().resources.contains_key(key)
    }

    /// What is wrong with `platform-config` as it was seen last, and with the objects of these gateways.
    pub(super) fn problems(&self) -> Vec<(Option<GatewayKey>, Problem)> {
        let held = self.held();
        let of = |(key, resource): (&GatewayKey, &Resource)| {
            let problems = resource.entry.problems.iter().cloned();
            problems.map(|problem| (Some(key.clone()), problem)).collect::<Vec<_>>()
        };
        let document = held.intents.problems().map(|problem| (None, problem.clone()));
        document.chain(held.resources.iter().flat_map(of)).collect()
    }

    /// The gateways known now.
    pub(super) fn keys(&self) -> Vec<GatewayKey> {
        let held = self.held();
        let mut keys: Vec<_> = held.intents.keys().chain(held.resources.keys().cloned()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The gateways known now in the namespace of that name.
    pub(super) fn keys_in(&self, namespace: &str) -> Vec<GatewayKey> {
        let mut keys = self.keys();
        keys.retain(|key| key.namespace() == namespace);
        keys
    }

    /// The gateways known now that serve other namespaces.
    pub(super) fn shared(&self) -> Vec<GatewayKey> {
        let held = self.held();
        let serves = |entry: &Entry| entry.intent.as_ref().is_some_and(|intent| intent.serves.is_some());
        held.resources.iter().filter(|(_, resource)| serves(&resource.entry)).map(|(key, _)| key.clone()).collect()
    }
}
