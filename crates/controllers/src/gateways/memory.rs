//! What was asked for, judged and remembered, from both front ends, so that a mistake in a later document or object hides
//! nothing; and which gateways exist. Holds memory, and asks the API server what the cluster is. All of it is found again after a restart: what was
//! asked for by reading it, the gateways by their anchors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use paddock_api::annotations;
use paddock_reconcile::{Change, Context, Error, object};
use serde_json::{Value, json};

use super::condition::{Row, Summary};
use super::controller::{NAMESPACES_KEY, PLATFORM_CONFIG};
use super::fleet;
use super::intent::{Entry, Intents, Origin, Rules};
use super::key::GatewayKey;
use super::platform::{ClusterVersion, Database, Facts};
use super::problem::Problem;
use super::rollout::{self, Record};
use super::waves::Member;
use super::{names, removal, resource, teardown};

/// The judged `platform-config` and the judged `OpenShellGateway` objects. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    rules: Rules,
    /// The namespace of `platform-config`.
    home: String,
    /// `None` until the first document was seen.
    text: Option<Option<String>>,
    intents: Arc<Intents>,
    resources: BTreeMap<GatewayKey, Resource>,
    /// When the cluster was asked what it is.
    asked: Option<Timestamp>,
    /// The platform's revision, with the versions of the Sandbox kind that it holds for.
    wave: Option<(String, Arc<str>)>,
    /// The document for which the circuit breaker is lifted, by the digest that an annotation names.
    acknowledged: Option<String>,
    /// The gateways that have an anchor.
    anchors: BTreeMap<GatewayKey, Anchor>,
    /// How the rollout of each gateway stands.
    records: BTreeMap<GatewayKey, Arc<Record>>,
}

/// What is remembered of an anchor.
#[derive(Debug, Clone)]
struct Anchor {
    /// Who asked for the gateway last.
    origin: Origin,
    /// Whether its removal has begun.
    leaves: bool,
    told: Told,
}

/// What the status tells of an anchor. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The entries that are about the gateway as a whole, as an anchor with nothing else on it.
    pub(super) anchor: Arc<Value>,
    /// The summary among them, read.
    pub(super) row: Option<Arc<Row>>,
}

impl Told {
    pub(super) fn of(anchor: &Value) -> Self {
        let entries = TOLD.iter().filter_map(|name| Some((*name, removal::entry(anchor, name)?)));
        let data: BTreeMap<&str, &str> = entries.collect();
        let row = removal::entry(anchor, "summary").and_then(Summary::read).map(Row::of);
        Self { anchor: Arc::new(json!({ "data": data })), row }
    }
}

/// The entries of an anchor that the status tells. Those about all of its objects and conditions are ten times as long.
const TOLD: [&str; 3] = ["summary", removal::REMOVAL, removal::ORPHANS];

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
    /// What is wrong with `platform-config` as a whole, when no object asks.
    pub(super) document: Option<Problem>,
}

/// How a gateway stands with those who could want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Somebody wants it, or something is wrong with what he says about it.
    Wanted,
    /// Nobody can tell: what asked for it is missing or cannot be read as a whole. What runs is kept as it is.
    Unknown,
    /// Nobody wants it.
    Removed(Removals),
}

/// The gateways that are to go at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Removals {
    /// How many have not begun to go.
    pub(super) pending: usize,
    /// How many may without anybody's word.
    pub(super) limit: usize,
    /// Whether somebody said that it is meant.
    pub(super) acknowledged: bool,
    /// How to say so.
    pub(super) how: String,
}

impl Removals {
    pub(super) fn may_go(&self) -> bool {
        teardown::may_go(self.pending, self.limit, self.acknowledged)
    }

    /// What to say when they may not.
    pub(super) fn refusal(&self) -> String {
        let Self { pending, limit, how, .. } = self;
        format!(
            "{pending} gateways would go at once, {limit} may; nothing is deleted. If this is meant: kubectl annotate --overwrite {how}"
        )
    }
}

impl Memory {
    pub(super) fn new(rules: Rules) -> Self {
        let held = Held {
            rules,
            home: String::new(),
            text: None,
            intents: Arc::default(),
            resources: BTreeMap::new(),
            asked: None,
            wave: None,
            acknowledged: None,
            anchors: BTreeMap::new(),
            records: BTreeMap::new(),
        };
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
        let word = config_map.and_then(|map| object::annotation(map, annotations::ACKNOWLEDGE_REMOVALS));
        let mut held = self.held();
        if let Some(home) = config_map.and_then(|map| map["metadata"]["namespace"].as_str())
            && held.home != home
        {
            home.clone_into(&mut held.home);
        }
        if held.acknowledged.as_deref() != word {
            held.acknowledged = word.map(str::to_owned);
        }
        if held.text.as_ref().map(Option::as_deref) != Some(text) {
            held.intents = Arc::new(held.intents.next(text, &held.rules));
            held.text = Some(text.map(str::to_owned));
        }
        Arc::clone(&held.intents)
    }

    /// Judges the object that asks for this gateway, once per spec; `None` when there is none. An object that is being
    /// deleted asks for nothing any more.
    pub(super) fn observe_resource(&self, key: &GatewayKey, asking: Option<&Value>) {
        let mut held = self.held();
        let Some(object) = asking.filter(|asking| !object::is_terminating(asking)) else {
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
                document: None,
            },
            None => {
                let document = held.intents.document.clone().filter(|_| key.is_default());
                Asked { entry: platform.cloned(), document, ..Asked::default() }
            }
        }
    }

    /// A ConfigMap of ours changed: it may be an anchor. Returns whether one is gone.
    pub(super) fn see_anchor(&self, change: &Change<'_>) -> bool {
        let anchor = change.object();
        let Some(key) = GatewayKey::of_object(anchor) else { return false };
        let is_anchor = anchor["metadata"]["name"].as_str() == Some(&key.name_of(names::ANCHOR))
            && anchor["metadata"]["namespace"].as_str() == Some(key.namespace());
        if !is_anchor {
            return false;
        }
        match change.after {
            Some(anchor) => {
                let leaves = removal::entry(anchor, removal::REMOVAL).is_some();
                let origin = removal::entry(anchor, removal::ORIGIN).and_then(Origin::read).unwrap_or_default();
                let told = Told::of(anchor);
                self.held().anchors.insert(key, Anchor { origin, leaves, told });
            }
            None => {
                self.held().anchors.remove(&key);
            }
        }
        change.after.is_none()
    }

    /// What the status tells of this gateway's anchor; `None` when there is none.
    pub(super) fn anchor(&self, key: &GatewayKey) -> Option<Told> {
        self.held().anchors.get(key).map(|anchor| anchor.told.clone())
    }

    /// A ConfigMap of ours changed: it may hold how a rollout stands. Returns whether it does and waves are concerned.
    pub(super) fn see_record(&self, change: &Change<'_>) -> bool {
        let said = |map: Option<&'_ Value>| {
            map.and_then(|map| map["data"][rollout::Memory::RECORD].as_str().map(str::to_owned))
        };
        if said(change.before) == said(change.after) && change.before.is_some() {
            return false;
        }
        let object = change.object();
        let Some(key) = GatewayKey::of_object(object) else { return false };
        let is_record = object["metadata"]["name"].as_str() == Some(&key.name_of(names::REVISIONS))
            && object["metadata"]["namespace"].as_str() == Some(key.namespace());
        if !is_record {
            return false;
        }
        let mut held = self.held();
        let before = held.records.remove(&key);
        let Some(map) = change.after else { return before.is_some() };
        let record = Record::read(map);
        let member = |record: &Record| Member::of("", record);
        let concerned = before.is_none_or(|before| member(&before) != member(&record));
        held.records.insert(key, Arc::new(record));
        concerned
    }

    /// How the rollout of this gateway stands, as far as anything is remembered.
    pub(super) fn record(&self, key: &GatewayKey) -> Option<Arc<Record>> {
        self.held().records.get(key).map(Arc::clone)
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

    /// The gateways that somebody wants or that exist.
    pub(super) fn keys(&self) -> Vec<GatewayKey> {
        let held = self.held();
        let mut keys: Vec<_> =
            held.intents.keys().chain(held.resources.keys().cloned()).chain(held.anchors.keys().cloned()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The gateways that somebody wants.
    pub(super) fn wanted(&self) -> Vec<GatewayKey> {
        let mut keys = self.keys();
        let held = self.held();
        keys.retain(|key| held.wants(key));
        keys
    }

    /// The gateways that somebody wants or that exist in the namespace of that name.
    pub(super) fn keys_in(&self, namespace: &str) -> Vec<GatewayKey> {
        let Ok(namespace) = namespace.parse() else { return Vec::new() };
        let first = GatewayKey::default_of(namespace);
        let held = self.held();
        let resources = held.resources.range(&first..).map(|(key, _)| key);
        let anchors = held.anchors.range(&first..).map(|(key, _)| key);
        let mut keys: Vec<_> = resources.take_while(|key| key.namespace == first.namespace).cloned().collect();
        keys.extend(anchors.take_while(|key| key.namespace == first.namespace).cloned());
        if held.intents.entry(&first).is_some() {
            keys.push(first.clone());
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The gateways known now that serve other namespaces.
    pub(super) fn shared(&self) -> Vec<GatewayKey> {
        let held = self.held();
        let serves = |entry: &Entry| entry.intent.as_ref().is_some_and(|intent| intent.serves.is_some());
        held.resources.iter().filter(|(_, resource)| serves(&resource.entry)).map(|(key, _)| key.clone()).collect()
    }

    /// The gateways that somebody asks for no more and that are not gone as far as they go.
    pub(super) fn leaving(&self) -> Vec<GatewayKey> {
        let held = self.held();
        let is_done = |anchor: &Anchor| removal::entry(&anchor.told.anchor, removal::REMOVAL) == Some(removal::DONE);
        let leaves = |(key, anchor): &(&GatewayKey, &Anchor)| !held.wants(key) && !is_done(anchor);
        held.anchors.iter().filter(leaves).map(|(key, _)| key.clone()).collect()
    }

    /// The gateways of a namespace whose database is told by the Secret of that name.
    pub(super) fn with_database(&self, namespace: &str, name: &str) -> Vec<GatewayKey> {
        let mut keys = self.keys_in(namespace);
        let held = self.held();
        keys.retain(|key| {
            let platform = || held.intents.entry(key);
            let entry = held.resources.get(key).map_or_else(platform, |resource| Some(&resource.entry));
            let database = entry.and_then(|entry| entry.intent.as_ref()).map(|intent| &intent.database);
            matches!(database, Some(Database::Postgres { secret }) if secret == name)
        });
        keys
    }

    /// The gateways that exist though nobody asks for them, with who did last.
    pub(super) fn leftovers(&self) -> Vec<(GatewayKey, Origin)> {
        let held = self.held();
        held.anchors.iter().filter(|(key, _)| !held.wants(key)).map(|(key, is)| (key.clone(), is.origin)).collect()
    }

    /// How a gateway stands. `leaving`: its object, when that is being deleted. `seeing`: whether objects can be seen at all.
    pub(super) fn standing(&self, key: &GatewayKey, leaving: Option<&Value>, seeing: bool) -> Standing {
        let held = self.held();
        if held.wants(key) {
            return Standing::Wanted;
        }
        let last = held.anchors.get(key).map(|anchor| anchor.origin);
        let origin = match leaving {
            Some(_) => Origin::Resource,
            None if !key.is_default() => Origin::Resource,
            None => last.unwrap_or_default(),
        };
        let text = held.text.as_ref().and_then(Option::as_deref);
        // An entry may name a default gateway, also where its author mistyped.
        let sure = match (origin, text) {
            (_, Some(_)) => !key.is_default() || held.intents.tells_who_is_gone(),
            (Origin::PlatformConfig, None) => false,
            // Before the first document was seen nothing is known; one that does not exist names nobody.
            (Origin::Resource, None) => held.text.is_some(),
        };
        if !sure || (origin == Origin::Resource && leaving.is_none() && !seeing) {
            return Standing::Unknown;
        }
        let is_pending =
            |(key, anchor): &(&GatewayKey, &Anchor)| anchor.origin == origin && !anchor.leaves && !held.wants(key);
        let pending = held.anchors.iter().filter(is_pending).count();
        let (acknowledged, how) = match (origin, leaving) {
            (Origin::PlatformConfig, _) => {
                let digest = paddock_pki::sha256_hex(text.unwrap_or_default().as_bytes());
                let digest = digest.get(..12).unwrap_or_default();
                let how = format!(
                    "--namespace {} configmap {PLATFORM_CONFIG} {}={digest}",
                    held.home,
                    annotations::ACKNOWLEDGE_REMOVALS
                );
                (held.acknowledged.as_deref() == Some(digest), how)
            }
            (Origin::Resource, Some(object)) => {
                let how = resource::acknowledgement(key);
                (resource::is_acknowledged(Some(object)), how)
            }
            // Whoever took the finalizer away knew what he did.
            (Origin::Resource, None) => (true, String::new()),
        };
        Standing::Removed(Removals { pending, limit: held.rules.max_removals, acknowledged, how })
    }
}

impl Held {
    /// Whether somebody wants this gateway, or something is wrong with what he says about it.
    fn wants(&self, key: &GatewayKey) -> bool {
        self.resources.contains_key(key) || self.intents.entry(key).is_some()
    }
}

#[cfg(test)]
mod tests;
