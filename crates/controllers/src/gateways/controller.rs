//! The controller of single gateways: one key per gateway, snapshot and plan.
//!
//! The snapshot may read the API server; the plan touches nothing.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use paddock_api::{GatewayCondition, annotations, labels};
use paddock_policy::image::{ImageError, ImagePolicy, ImageReference};
use paddock_reconcile::{
    Change, Context, Controller, Dependency, Desired, Error, Event, Kind, ObjectRef, Plan, Source, Verdict,
};
use serde_json::Value;

use super::condition::{Conditions, PROGRESSING, Summary};
use super::intent::{Entry, Intent, Intents, Origin, Rules};
use super::key::GatewayKey;
use super::network::{Egress, Peers, PodsOf};
use super::platform::{ClusterVersion, Database};
use super::probe::Probes;
use super::problem::Problem;
use super::render;
use super::restart::Inputs;
use super::serving::{self, View};
use super::version::GatewayVersion;
use super::{names, pki};

/// What the operator decides for all gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The control plane's namespace: `platform-config`, its status and the authorities live there.
    pub namespace: String,
    /// The rules that entries are judged by.
    pub rules: Rules,
    /// The ingress controller's pods, which may reach gateways.
    pub ingress: Option<PodsOf>,
    /// The monitoring system's pods, which may read gateways' metrics.
    pub monitoring: Option<PodsOf>,
    /// Where gateways may connect to; `None` for anywhere.
    pub egress: Option<Egress>,
    /// Whether what an earlier provisioner left (`managed-by: agent-control-plane`), and Secrets that OpenShell's own generator
    /// made, become ours.
    pub adopt: bool,
    /// Whether gateways are asked if they serve; `false` where this process cannot reach their Services.
    pub probe: bool,
}

impl Options {
    /// The defaults for a control plane in `namespace`: every fully qualified image is allowed, `image` (else the gateway
    /// release that this build knows best) serves entries that name none, nobody else reaches the gateways.
    ///
    /// # Errors
    /// When `image` is no image reference, is not fully qualified, or does not tell its version.
    pub fn new(namespace: impl Into<String>, image: Option<&str>) -> Result<Self, OptionsError> {
        let release = || format!("ghcr.io/nvidia/openshell/gateway:{}", GatewayVersion::DEFAULT);
        let text = image.map_or_else(release, str::to_owned);
        let default_image: ImageReference = text.parse()?;
        ImagePolicy::default().check(&default_image)?;
        if default_image.tag().and_then(|tag| tag.parse::<GatewayVersion>().ok()).is_none() {
            return Err(OptionsError::Version(text));
        }
        Ok(Self {
            namespace: namespace.into(),
            rules: Rules::new(default_image),
            ingress: None,
            monitoring: None,
            egress: None,
            adopt: false,
            probe: true,
        })
    }
}

/// Why [`Options`] cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The image is none, or may not run.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image's tag is no version, so nobody knows what its gateway understands.
    #[error("the gateway's version cannot be told from {0}; use a version tag")]
    Version(String),
}

/// `platform-config`.
pub const PLATFORM_CONFIG: &str = "platform-config";
/// Its key.
pub const NAMESPACES_KEY: &str = "namespaces";

/// The judged `platform-config`, remembered so that a mistake in a later one hides nothing. Clones share it.
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
}

impl Memory {
    pub(super) fn new(rules: Rules) -> Self {
        Self { held: Arc::new(Mutex::new(Held { rules, text: None, intents: Arc::default() })) }
    }

    /// Judges by this version of the cluster from now on.
    fn learn(&self, cluster: Option<ClusterVersion>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.rules.cluster != cluster {
            held.rules.cluster = cluster;
            held.text = None;
        }
    }

    /// Judges the document of `config_map`, once per text.
    pub(super) fn observe(&self, config_map: Option<&Value>) -> Arc<Intents> {
        let text = config_map.and_then(|map| map["data"][NAMESPACES_KEY].as_str());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.text.as_ref().map(Option::as_deref) != Some(text) {
            held.intents = Arc::new(held.intents.next(text, &held.rules));
            held.text = Some(text.map(str::to_owned));
        }
        Arc::clone(&held.intents)
    }

    fn problems(&self) -> Vec<Problem> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).intents.problems().cloned().collect()
    }

    /// The gateways known now.
    pub(super) fn keys(&self) -> Vec<GatewayKey> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).intents.keys().collect()
    }

    /// The gateways known now in the namespace of that name.
    pub(super) fn keys_in(&self, namespace: &str) -> Vec<GatewayKey> {
        let mut keys = self.keys();
        keys.retain(|key| key.namespace() == namespace);
        keys
    }
}

/// The controller.
#[derive(Debug)]
pub struct Gateways {
    options: Options,
    memory: Memory,
    cluster: Mutex<Option<Asked>>,
    probes: Option<Probes>,
}

/// When the cluster was asked for its version, and what it said.
type Asked = (Timestamp, Option<ClusterVersion>);

/// How long that answer holds.
const CLUSTER_VERSION_HOLDS: SignedDuration = SignedDuration::from_mins(5);

/// Where a gateway's namespace stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Missing,
    Terminating,
    There,
}

/// What the plan for one gateway depends on.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) entry: Option<Entry>,
    pub(super) home: Home,
    pub(super) anchor: Option<Arc<Value>>,
    pub(super) workload: Option<Arc<Value>>,
    pub(super) material: Option<pki::Material>,
    /// Digest of the external database's connection string; `None` while its Secret does not have one.
    pub(super) database: Option<String>,
    /// Served versions of the Sandbox kind; empty when its definition does not exist.
    pub(super) sandbox_versions: String,
    pub(super) has_node: bool,
    /// What was seen of the gateway itself.
    pub(super) view: View,
}

impl Gateways {
    pub(super) fn new(options: Options, memory: Memory) -> Self {
        let probes = options.probe.then(Probes::default);
        Self { options, memory, cluster: Mutex::default(), probes }
    }

    /// Looks at gateways by `probes`, or not at all: then nothing is said of whether they serve.
    #[must_use]
    pub fn with_probes(mut self, probes: Option<Probes>) -> Self {
        self.probes = probes;
        self
    }

    /// What was seen of a gateway last; begins to look at it when it runs and ends when it does not. Never waits for it.
    async fn view(&self, cx: &Context, key: &GatewayKey, existing: &pki::Existing, runs: bool) -> Result<View, Error> {
        let Some(probes) = &self.probes else { return Ok(View::Off) };
        let gateway = key.to_string();
        if !runs {
            probes.forget(&gateway);
            return Ok(View::NotRunning);
        }
        let service = cx.get(&ObjectRef::of::<Service>(Some(key.namespace()), key.gateway())).await?;
        let target = match serving::target(key, existing, service.as_deref(), cx.clock()) {
            Ok(target) => target,
            Err(why) => {
                probes.forget(&gateway);
                return Ok(View::Unable(why));
            }
        };
        let wanted = target.fingerprint.clone();
        Ok(probes.look_at(cx, &gateway, target).map_or(View::NotYet, |seen| View::Last { seen, wanted }))
    }

    /// The cluster's version. `None` where it may not be asked for: that is the same on every pass.
    async fn cluster(&self, cx: &Context) -> Result<Option<ClusterVersion>, Error> {
        let now = cx.clock().now();
        let known = *self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, version)) = known
            && now.duration_since(asked) < CLUSTER_VERSION_HOLDS
        {
            return Ok(version);
        }
        let version = match (cx.client().apiserver_version().await, known) {
            (Ok(info), _) => info.git_version.parse().ok(),
            (Err(kube::Error::Api(status)), _) if matches!(status.code, 401 | 403 | 404) => None,
            // Clusters change their version rarely: what was true stays true until the opposite is known.
            (Err(_), Some((_, version))) => return Ok(version),
            (Err(error), None) => return Err(Error::transient(format!("the cluster's version: {error}"))),
        };
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, version));
        Ok(version)
    }

    /// What is wrong with `platform-config` as it was seen last.
    pub fn problems(&self) -> Vec<Problem> {
        self.memory.problems()
    }

    /// Whom problems and events of an intent are told.
    fn told(&self, origin: Origin) -> ObjectRef {
        match origin {
            Origin::PlatformConfig => self.platform_config(),
        }
    }

    fn platform_config(&self) -> ObjectRef {
        ObjectRef::of::<ConfigMap>(Some(&self.options.namespace), PLATFORM_CONFIG)
    }
}

impl Controller for Gateways {
    type Key = GatewayKey;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "gateways"
    }

    fn sources(&self) -> Vec<Source<GatewayKey>> {
        let everyone = |memory: &Memory| {
            let memory = memory.clone();
            move |_: &Change<'_>| memory.keys()
        };
        let intent = {
            let memory = self.memory.clone();
            move |change: &Change<'_>| {
                let mut keys = memory.keys();
                memory.observe(change.after);
                keys.extend(memory.keys());
                keys.sort_unstable();
                keys.dedup();
                keys
            }
        };
        let namespaces = {
            let memory = self.memory.clone();
            move |change: &Change<'_>| {
                let name = change.object()["metadata"]["name"].as_str();
                name.map(|name| memory.keys_in(name)).unwrap_or_default()
            }
        };
        let nodes = {
            let memory = self.memory.clone();
            // Nodes report all the time; only their coming and going matters here.
            move |change: &Change<'_>| match (change.before, change.after) {
                (Some(_), Some(_)) => Vec::new(),
                _ => memory.keys(),
            }
        };
        let mut sources = vec![
            Source::of::<ConfigMap>(intent)
                .within(&self.options.namespace)
                .fields(format!("metadata.name={PLATFORM_CONFIG}")),
            Source::of::<Namespace>(namespaces),
            Source::of::<Node>(nodes),
            Source::of::<CustomResourceDefinition>(everyone(&self.memory))
                .fields(format!("metadata.name={}", names::SANDBOX_CRD)),
        ];
        if let Database::Postgres { secret } = &self.options.rules.database {
            let memory = self.memory.clone();
            let in_tenant = move |change: &Change<'_>| {
                let namespace = change.object()["metadata"]["namespace"].as_str();
                namespace.map(|name| memory.keys_in(name)).unwrap_or_default()
            };
            sources.push(Source::of::<Secret>(in_tenant).fields(format!("metadata.name={secret}")));
        }
        let children = [
            Kind::of::<ConfigMap>(),
            Kind::of::<Secret>(),
            Kind::of::<Service>(),
            Kind::of::<ServiceAccount>(),
            Kind::of::<StatefulSet>(),
            Kind::of::<Role>(),
            Kind::of::<RoleBinding>(),
            Kind::of::<ClusterRoleBinding>(),
            Kind::of::<NetworkPolicy>(),
        ];
        // A label that changed leads to the gateway that lost the object and to the one that got it.
        let owners = |change: &Change<'_>| -> Vec<GatewayKey> {
            let of = |object: Option<&Value>| object.and_then(GatewayKey::of_object);
            let (before, after) = (of(change.before), of(change.after));
            if before == after { after.into_iter().collect() } else { before.into_iter().chain(after).collect() }
        };
        sources.extend(children.map(|kind| Source::kind(kind, owners).labels(labels::TENANT)));
        sources
    }

    async fn snapshot(&self, cx: &Context, key: &GatewayKey) -> Result<Snapshot, Error> {
        let config = cx.get(&self.platform_config()).await?;
        self.memory.learn(self.cluster(cx).await?);
        let entry = self.memory.observe(config.as_deref()).entry(key).cloned();
        let mut snapshot = Snapshot {
            entry,
            home: Home::Missing,
            anchor: None,
            workload: None,
            material: None,
            database: None,
            sandbox_versions: String::new(),
            has_node: true,
            view: View::NotRunning,
        };
        let Some(intent) = snapshot.entry.as_ref().and_then(|entry| entry.intent.clone()) else { return Ok(snapshot) };
        snapshot.home = home(cx.get(&ObjectRef::of::<Namespace>(None, key.namespace())).await?.as_deref());
        if snapshot.home != Home::There {
            return Ok(snapshot);
        }
        snapshot.anchor = cx.get(&anchor_ref(key)).await?;
        snapshot.workload = cx.get(&workload_ref(key)).await?;
        let definition = ObjectRef::of::<CustomResourceDefinition>(None, names::SANDBOX_CRD);
        snapshot.sandbox_versions = cx.get(&definition).await?.as_deref().map(served_versions).unwrap_or_default();
        if snapshot.anchor.is_some() {
            let here = Some(key.namespace());
            let mut existing = pki::Existing {
                authority: cx.get_as::<Secret>(Some(&self.options.namespace), &key.ca_secret()).await?,
                server: cx.get_as::<Secret>(here, &key.name_of(names::SERVER_TLS)).await?,
                client: cx.get_as::<Secret>(here, &key.name_of(names::CLIENT_TLS)).await?,
                jwt: cx.get_as::<Secret>(here, &key.name_of(names::JWT_KEYS)).await?,
                kek: cx.get_as::<Secret>(here, &key.name_of(names::KEK)).await?,
                kek_in_use: snapshot.workload.as_deref().is_some_and(render::uses_kek),
                sandboxes: pki::Sandboxes::Unknown,
                served: None,
            };
            if pki::replaces_authority(existing.authority.as_ref()) {
                existing.sandboxes = sandboxes(cx, key).await;
            }
            let runs = snapshot.workload.as_deref().is_some_and(is_rolled_out);
            snapshot.view = self.view(cx, key, &existing, runs).await?;
            existing.served = snapshot.view.served();
            let material = pki::ensure(&existing, &intent, self.options.adopt, cx.clock().now());
            snapshot.material = Some(material.map_err(|error| Error::transient(format!("{key}: {error}")))?);
        }
        if let Database::Postgres { secret } = &intent.database {
            let secret = cx.get_as::<Secret>(Some(key.namespace()), secret).await?;
            let uri = secret.and_then(|secret| secret.data?.remove(names::DATABASE_KEY));
            snapshot.database = uri.map(|uri| paddock_pki::sha256_hex(&uri.0));
        }
        snapshot.has_node = !cx.list(&Kind::of::<Node>(), None, &[]).await?.is_empty();
        Ok(snapshot)
    }

    fn plan(&self, key: &GatewayKey, snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        // Taking a removed tenant down needs the guard against live sandboxes; until then nothing is deleted.
        let Some(entry) = &snapshot.entry else { return Ok(plan) };
        let invalid = entry.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if !invalid.is_empty() {
            let origin = entry.intent.as_ref().map_or(Origin::PlatformConfig, |intent| intent.origin);
            plan.event(Event::warning(self.told(origin), "InvalidEntry", invalid.clone()));
            plan.verdict = Verdict::Invalid { reason: "InvalidEntry", message: invalid.clone() };
        }
        let Some(intent) = &entry.intent else { return Ok(plan) };
        let namespace = ObjectRef::of::<Namespace>(None, key.namespace());
        match snapshot.home {
            Home::There => {}
            Home::Missing | Home::Terminating => {
                let state = if snapshot.home == Home::Missing { "does not exist" } else { "is terminating" };
                plan.verdict = Verdict::Waiting {
                    on: Dependency::Object(namespace),
                    message: format!("namespace {} {state}", key.namespace),
                };
                return Ok(plan);
            }
        }
        let peers = Peers {
            control_plane: &self.options.namespace,
            ingress: self.options.ingress.as_ref(),
            monitoring: self.options.monitoring.as_ref(),
            egress: self.options.egress.as_ref(),
        };
        let inputs = inputs(intent, snapshot);
        let hash = inputs.hash();
        let (authority, secrets) = match &snapshot.material {
            Some(material) => material.secrets(key, &self.options.namespace)?,
            None => (None, Vec::new()),
        };
        let mut objects = render::foundation(intent, &peers)?;
        objects.extend(authority);
        objects.extend(secrets);
        objects.extend(render::workload(intent, &inputs)?);
        let mut report = Report::new(snapshot, intent, &hash, &invalid, now);
        let anchor_uid = snapshot.anchor.as_deref().map(paddock_reconcile::object::uid).filter(|uid| !uid.is_empty());
        let (Some(uid), Some(material)) = (anchor_uid, &snapshot.material) else {
            // The owner comes first: without its uid nothing can be owned.
            plan.apply(report.anchor(key, &[])?);
            let message = "the anchor, which owns everything else, is made first".to_owned();
            plan.verdict = Verdict::Waiting { on: Dependency::Object(anchor_ref(key)), message };
            return Ok(plan);
        };
        let inventory: Vec<String> = objects.iter().map(|object| object.target().to_string()).collect();
        plan.apply(report.anchor(key, &inventory)?);
        let kek = key.name_of(names::KEK);
        for object in objects {
            // The key that encrypts stored credentials outlives everything but the data that it encrypts.
            let owned = object.target().namespace.as_deref() == Some(key.namespace()) && object.target().name != kek;
            plan.apply(if owned { object.owned_by(&anchor_ref(key), uid)? } else { object });
        }
        for made in &material.made {
            plan.event(Event::normal(anchor_ref(key), "Issued", format!("made the {made}")));
        }
        for loss in &material.losses {
            plan.event(Event::warning(anchor_ref(key), "TrustLost", loss.clone()));
        }
        if !matches!(snapshot.view, View::Off | View::NotRunning) {
            plan.listen = Some(Probes::dependency(&key.to_string()));
        }
        if let Some(running) = running_hash(snapshot).filter(|running| *running != hash) {
            let note = format!("the configuration changed (hash {running:.8} to {hash:.8}): the gateway restarts once");
            plan.event(Event::normal(anchor_ref(key), "Restarting", note));
        }
        if let Some(due) = material.renew_at {
            plan.look_again_at(due);
        }
        if plan.verdict == Verdict::Settled
            && let Some((for_workload, message)) = report.waits.clone()
        {
            let looking = plan.listen.clone().filter(|_| !for_workload);
            let on = looking.unwrap_or_else(|| Dependency::Object(workload_ref(key)));
            plan.verdict = Verdict::Waiting { on, message };
        }
        let key = key.clone();
        plan.on_error(move |error| {
            let mut report = report.clone();
            report.conditions.set(GatewayCondition::Applied, false, APPLY_FAILED, error.to_string());
            let mut plan = Plan::new();
            if let Ok(anchor) = report.anchor(&key, &inventory) {
                plan.apply(anchor);
            }
            plan.event(Event::warning(anchor_ref(&key), APPLY_FAILED, error.to_string()));
            plan
        });
        Ok(plan)
    }
}

const APPLY_FAILED: &str = "ApplyFailed";

/// Everything the anchor says, computed from what was seen before this pass wrote anything.
#[derive(Clone)]
struct Report {
    conditions: Conditions,
    /// What is waited for: the workload, else what is seen of the gateway.
    waits: Option<(bool, String)>,
    image: String,
    hash: String,
    not_after: String,
}

impl Report {
    fn new(snapshot: &Snapshot, intent: &Intent, wanted: &str, invalid: &str, now: Timestamp) -> Self {
        use GatewayCondition::{Applied, ConfigValid, NamespaceReady, PkiReady, Prerequisites, RolledOut, Serving};
        let before = snapshot.anchor.as_deref().and_then(|anchor| anchor["data"]["conditions"].as_str());
        let mut conditions = Conditions::since(Conditions::read(before.unwrap_or_default()), now);
        match invalid {
            "" => conditions.set(ConfigValid, true, "Valid", ""),
            _ => conditions.set(ConfigValid, false, "InvalidEntry", invalid),
        }
        conditions.set(NamespaceReady, true, "NamespaceExists", "");
        match snapshot.sandbox_versions.as_str() {
            "" => {
                let message = format!("the CustomResourceDefinition {} does not exist", names::SANDBOX_CRD);
                conditions.set(Prerequisites, false, "SandboxKindMissing", message);
            }
            _ if matches!(&intent.database, Database::Postgres { .. }) && snapshot.database.is_none() => {
                let message =
                    format!("the Secret of the database has no key {}, or does not exist", names::DATABASE_KEY);
                conditions.set(Prerequisites, false, "DatabaseSecretMissing", message);
            }
            versions => conditions.set(Prerequisites, true, "SandboxKindServed", format!("served: {versions}")),
        }
        let material = snapshot.material.as_ref();
        match material.map(|material| &material.trouble) {
            None => conditions.set(PkiReady, false, PROGRESSING, "certificates are being made"),
            Some(Some((reason, message))) => conditions.set(PkiReady, false, reason, message),
            Some(None) => match (snapshot.view.certificate(), material.and_then(|material| material.note.as_ref())) {
                (Some((reason, message)), _) => conditions.set(PkiReady, false, reason, message),
                (None, Some((reason, message))) => conditions.set(PkiReady, true, reason, message),
                (None, None) => conditions.set(PkiReady, true, "Complete", ""),
            },
        }
        let workload = snapshot.workload.as_deref();
        let applied = running_hash(snapshot) == Some(wanted)
            && workload.and_then(|live| live.pointer("/spec/template/spec/containers/0/image")).and_then(Value::as_str)
                == Some(&intent.image.to_string());
        let failed = conditions.before(Applied).filter(|before| before.reason == APPLY_FAILED).cloned();
        match failed {
            _ if applied => conditions.set(Applied, true, "Applied", ""),
            // It failed the last time: that stays true until it is seen to be done.
            Some(failed) => conditions.set(Applied, false, APPLY_FAILED, failed.message),
            None => conditions.set(Applied, false, PROGRESSING, "objects are being applied"),
        }
        let mut waits = None;
        if applied && workload.is_some_and(is_rolled_out) {
            conditions.set(RolledOut, true, "RolledOut", "");
        } else {
            let (reason, message) = match snapshot.has_node {
                false => ("NoNode", "the cluster has no node that could run the gateway"),
                true => (PROGRESSING, "the gateway is not ready yet"),
            };
            conditions.set(RolledOut, false, reason, message);
            waits = Some((true, format!("{reason}: {message}")));
        }
        if let Some((holds, reason, message)) = snapshot.view.serving() {
            if !holds && waits.is_none() {
                waits = Some((false, format!("{reason}: {message}")));
            }
            conditions.set(Serving, holds, reason, message);
        }
        // What this pass makes may never be stored: only what was found is reported, or a failing pass would never rest.
        let stored = snapshot.material.as_ref().filter(|material| material.made.is_empty());
        let not_after = stored.and_then(|material| material.not_after).map_or_else(String::new, |end| end.to_string());
        let hash = running_hash(snapshot).unwrap_or_default();
        Self { conditions, waits, image: intent.image.to_string(), hash: hash.to_owned(), not_after }
    }

    fn anchor(&mut self, key: &GatewayKey, inventory: &[String]) -> Result<Desired, Error> {
        let phase = self.conditions.conclude();
        let (reason, message) = self.conditions.obstacle().unwrap_or_else(|| ("Ready".to_owned(), String::new()));
        let summary = Summary {
            phase,
            ready: phase == paddock_api::GatewayPhase::Running,
            reason,
            message,
            image: self.image.clone(),
            config_hash: self.hash.clone(),
            not_after: self.not_after.clone(),
        };
        let data = [
            ("conditions", self.conditions.to_json()),
            ("inventory", inventory.join("\n")),
            ("summary", summary.to_json()),
        ];
        Desired::of(&ConfigMap {
            metadata: render::meta(key, names::ANCHOR),
            data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
            ..ConfigMap::default()
        })
    }
}

pub(super) fn home(namespace: Option<&Value>) -> Home {
    match namespace {
        None => Home::Missing,
        Some(namespace) if paddock_reconcile::object::is_terminating(namespace) => Home::Terminating,
        Some(_) => Home::There,
    }
}

pub(super) fn anchor_ref(key: &GatewayKey) -> ObjectRef {
    ObjectRef::of::<ConfigMap>(Some(key.namespace()), &key.name_of(names::ANCHOR))
}

fn workload_ref(key: &GatewayKey) -> ObjectRef {
    ObjectRef::of::<StatefulSet>(Some(key.namespace()), key.gateway())
}

fn inputs<'a>(intent: &'a Intent, snapshot: &'a Snapshot) -> Inputs<'a> {
    Inputs {
        file: &intent.config,
        tokens: snapshot.material.as_ref().map_or("", |material| &material.restart_token),
        sandboxes: &snapshot.sandbox_versions,
        database: snapshot.database.as_deref(),
    }
}

/// When the gateway's sandboxes were created. Asked for only while an authority is replaced; what cannot be asked is unknown.
async fn sandboxes(cx: &Context, key: &GatewayKey) -> pki::Sandboxes {
    let api: Api<Pod> = Api::namespaced(cx.client().clone(), key.namespace());
    let mut params = ListParams::default().labels(names::SANDBOX_POD_LABEL).limit(500);
    params.field_selector = Some("status.phase!=Succeeded,status.phase!=Failed".to_owned());
    let mut created = Vec::new();
    loop {
        let Ok(page) = api.list_metadata(&params).await else { return pki::Sandboxes::Unknown };
        // One without a time of its creation could be as old as any.
        let times = page.items.iter().map(|pod| pod.metadata.creation_timestamp.as_ref());
        created.extend(times.map(|time| time.map_or(Timestamp::MIN, |time| time.0)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return pki::Sandboxes::Created(created),
        }
    }
}

fn running_hash(snapshot: &Snapshot) -> Option<&str> {
    let annotations = snapshot.workload.as_deref()?.pointer("/spec/template/metadata/annotations")?;
    annotations.get(annotations::CONFIG_HASH)?.as_str()
}

fn is_rolled_out(live: &Value) -> bool {
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
    let want = number("/spec/replicas").unwrap_or(1);
    number("/status/observedGeneration").unwrap_or(0) >= number("/metadata/generation").unwrap_or(1)
        && number("/status/updatedReplicas").unwrap_or(0) >= want
        && number("/status/readyReplicas").unwrap_or(0) >= want
}

/// `v1alpha1,v1beta1`.
fn served_versions(definition: &Value) -> String {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] == true).filter_map(|version| version["name"].as_str());
    let mut served: Vec<&str> = served.collect();
    served.sort_unstable();
    served.join(",")
}

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;
