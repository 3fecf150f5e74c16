//! The controller of single gateways: one key per gateway, snapshot and plan.
//!
//! The snapshot may read the API server; the plan touches nothing.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use paddock_api::{GatewayCondition, labels};
use paddock_reconcile::{
    Change, Context, Controller, Dependency, Error, Event, Kind, ObjectRef, Plan, Settings, Source, Verdict,
};
use serde_json::Value;

use super::fleet::{self, ROLLOUT};
use super::intent::{Entry, ImageFrom, Intent, Intents};
use super::key::GatewayKey;
use super::memory::{Asked, Memory};
use super::network::Peers;
use super::options::Options;
use super::platform::Database;
use super::preflight::{Found, Preflight, Premises, Rights};
use super::probe::Probes;
use super::problem::Problem;
use super::report::{APPLY_FAILED, OVERRIDES, Report, config_hash_of, is_rolled_out, overrides, running_hash};
use super::restart::Inputs;
use super::rollout::{self, Apply, Body, Step, Wanted};
use super::selection::{Home, home, served_names};
use super::serving::{self, View};
use super::turn::{self, Surroundings};
use super::{names, pki, pods, render, resource, shared};

/// `platform-config`.
pub const PLATFORM_CONFIG: &str = "platform-config";
/// Its key.
pub const NAMESPACES_KEY: &str = "namespaces";

/// The controller.
#[derive(Debug)]
pub struct Gateways {
    options: Options,
    memory: Memory,
    probes: Option<Probes>,
    /// Whether every gateway is planned as if it were its turn.
    foresees: bool,
    preflight: Preflight,
}

/// What the plan for one gateway depends on.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) entry: Option<Entry>,
    /// The object that asks for the gateway, when one does.
    pub(super) resource: Option<Arc<Value>>,
    /// Whether `platform-config` asks for it, too.
    pub(super) overridden: bool,
    /// The namespaces that a shared gateway serves.
    pub(super) served: Vec<String>,
    pub(super) home: Home,
    pub(super) anchor: Option<Arc<Value>>,
    pub(super) workload: Option<Arc<Value>>,
    /// What is remembered of its revisions.
    pub(super) revisions: Option<Arc<Value>>,
    pub(super) material: Option<pki::Material>,
    /// Digest of the external database's connection string; `None` while its Secret does not have one.
    pub(super) database: Option<String>,
    /// Served versions of the Sandbox kind; empty when its definition does not exist.
    pub(super) sandbox_versions: String,
    pub(super) has_node: bool,
    /// What was seen of the gateway itself.
    pub(super) view: View,
    pub(super) around: Surroundings,
    /// What the gateway depends on that is not ours to make.
    pub(super) premises: Premises,
}

impl Gateways {
    pub(super) fn new(options: Options, memory: Memory, rights: Rights) -> Self {
        let probes = options.probe.then(Probes::default);
        Self { options, memory, probes, foresees: false, preflight: Preflight::new(rights) }
    }

    /// Looks at gateways by `probes`, or not at all: then nothing is said of whether they serve.
    #[must_use]
    pub fn with_probes(mut self, probes: Option<Probes>) -> Self {
        self.probes = probes;
        self
    }

    /// Plans what will come of it in the end: every gateway as if it were its turn. For plans that nobody carries out.
    #[must_use]
    pub fn foreseeing(mut self) -> Self {
        self.foresees = true;
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

    /// What is wrong with `platform-config` as it was seen last, and with the `OpenShellGateway` objects of these gateways.
    pub fn problems(&self) -> Vec<(Option<GatewayKey>, Problem)> {
        self.memory.problems()
    }

    /// The gateway as its object asks for it, and as `platform-config` does.
    async fn asked(&self, cx: &Context, key: &GatewayKey, config: Option<&Value>) -> Result<Asked, Error> {
        self.memory.ask(cx).await?;
        self.memory.observe(config);
        match cx.get(&resource::reference(key)).await {
            Ok(object) => self.memory.observe_resource(key, object.as_deref()),
            // Without the kind nobody can tell what objects say: what was known holds, and the other front end works.
            Err(Error::Waiting { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(self.memory.asked(key))
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

    fn settings(&self) -> Settings {
        self.options.run.clone()
    }

    fn sources(&self) -> Vec<Source<GatewayKey>> {
        let everyone = |memory: &Memory| {
            let memory = memory.clone();
            move |_: &Change<'_>| memory.keys()
        };
        let intent = {
            let memory = self.memory.clone();
            // The other controller may have judged the document first, so what was seen last is remembered here.
            let seen = Mutex::<Arc<Intents>>::default();
            move |change: &Change<'_>| {
                let now = memory.observe(change.after);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let before = std::mem::replace(&mut *seen, Arc::clone(&now));
                now.changed_since(&before)
            }
        };
        let namespaces = {
            let memory = self.memory.clone();
            move |change: &Change<'_>| {
                let name = change.object()["metadata"]["name"].as_str();
                let mut keys = name.map(|name| memory.keys_in(name)).unwrap_or_default();
                keys.extend(memory.shared());
                keys
            }
        };
        let resources = {
            let memory = self.memory.clone();
            move |change: &Change<'_>| {
                let key = resource::key_of(change.object());
                if let Some(key) = &key {
                    memory.observe_resource(key, change.after);
                }
                key.into_iter().collect()
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
            // Whose turn it is wakes those whom it concerns.
            Source::of::<ConfigMap>(fleet::concerned)
                .within(&self.options.namespace)
                .fields(format!("metadata.name={ROLLOUT}")),
            Source::of::<Pod>(|change| match pods::differ(change.before, change.after) {
                true => GatewayKey::of_object(change.object()).into_iter().collect(),
                false => Vec::new(),
            })
            .labels(labels::TENANT),
            Source::kind(resource::kind(), resources),
            Source::of::<Namespace>(namespaces),
            Source::of::<Node>(nodes),
            Source::of::<CustomResourceDefinition>(everyone(&self.memory))
                .fields(format!("metadata.name={}", names::SANDBOX_CRD)),
            Source::of::<StorageClass>(everyone(&self.memory)),
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
        let Asked { entry, resource, overridden } = self.asked(cx, key, config.as_deref()).await?;
        let mut snapshot = Snapshot {
            entry,
            resource,
            overridden,
            served: Vec::new(),
            home: Home::Missing,
            anchor: None,
            workload: None,
            revisions: None,
            material: None,
            database: None,
            sandbox_versions: String::new(),
            has_node: true,
            view: View::NotRunning,
            around: Surroundings::default(),
            premises: Premises::default(),
        };
        let Some(intent) = snapshot.entry.as_ref().and_then(|entry| entry.intent.clone()) else { return Ok(snapshot) };
        let namespace = cx.get(&ObjectRef::of::<Namespace>(None, key.namespace())).await?;
        snapshot.home = home(namespace.as_deref(), &self.options.rules);
        if snapshot.home != Home::There {
            return Ok(snapshot);
        }
        snapshot.anchor = cx.get(&anchor_ref(key)).await?;
        snapshot.workload = cx.get(&workload_ref(key)).await?;
        snapshot.revisions = cx.get(&revisions_ref(key)).await?;
        snapshot.sandbox_versions = sandbox_versions(cx).await?;
        let (control, workload) = (&self.options.namespace, snapshot.workload.as_deref());
        snapshot.around =
            Surroundings::see(cx, key, control, config.as_deref(), namespace.as_deref(), workload).await?;
        snapshot.around.wave = self.memory.wave(&snapshot.sandbox_versions);
        let found = Found {
            cluster: self.memory.cluster(),
            namespace: namespace.as_ref(),
            anchor: snapshot.anchor.as_deref(),
            workload,
        };
        snapshot.premises = self.preflight.look(cx, key, &intent.database, found).await?;
        if let Some(served) = &intent.serves {
            let all = cx.list(&Kind::of::<Namespace>(), None, &[]).await?;
            snapshot.served = served_names(served, &self.options.rules, &all);
        }
        if snapshot.anchor.is_some() {
            let here = Some(key.namespace());
            let kek_in_use = snapshot.workload.as_deref().is_some_and(render::uses_kek);
            // A gateway of a release without this key is not asked for one, pass after pass.
            let kek = if kek_in_use || render::needs_kek(intent.version) {
                cx.get_as::<Secret>(here, &key.name_of(names::KEK)).await?
            } else {
                None
            };
            let mut existing = pki::Existing {
                authority: cx.get_as::<Secret>(Some(&self.options.namespace), &key.ca_secret()).await?,
                server: cx.get_as::<Secret>(here, &key.name_of(names::SERVER_TLS)).await?,
                client: cx.get_as::<Secret>(here, &key.name_of(names::CLIENT_TLS)).await?,
                jwt: cx.get_as::<Secret>(here, &key.name_of(names::JWT_KEYS)).await?,
                kek,
                kek_in_use,
                sandboxes: pki::Sandboxes::Unknown,
                served: None,
            };
            if pki::replaces_authority(existing.authority.as_ref()) {
                existing.sandboxes = sandboxes(cx, key, &intent, &snapshot.served).await;
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
        let told = match &snapshot.resource {
            Some(_) => resource::reference(key),
            None => self.platform_config(),
        };
        if !invalid.is_empty() {
            plan.event(Event::warning(told.clone(), "InvalidEntry", invalid.clone()));
            plan.verdict = Verdict::Invalid { reason: "InvalidEntry", message: invalid.clone() };
        }
        if snapshot.overridden {
            for told in [&told, &self.platform_config()] {
                plan.event(Event::warning(told.clone(), OVERRIDES, overrides(key)));
            }
        }
        let Some(intent) = &entry.intent else {
            Report::unusable(snapshot, &invalid, now).tell(&mut plan, key, snapshot);
            return Ok(plan);
        };
        if let Some((reason, message)) = snapshot.home.obstacle(key.namespace()) {
            let mut report = Report::unusable(snapshot, &invalid, now);
            report.conditions.set(GatewayCondition::NamespaceReady, false, reason, message.as_str());
            report.image = intent.image.to_string();
            report.image_from = intent.image_from.as_str();
            report.tell(&mut plan, key, snapshot);
            if snapshot.home == Home::NotSelected {
                plan.event(Event::warning(told, reason, message.clone()));
            }
            let on = Dependency::Object(ObjectRef::of::<Namespace>(None, key.namespace()));
            plan.verdict = Verdict::Waiting { on, message };
            return Ok(plan);
        }
        let peers = Peers {
            control_plane: &self.options.namespace,
            ingress: self.options.ingress.as_ref(),
            monitoring: self.options.monitoring.as_ref(),
            egress: self.options.egress.as_ref(),
        };
        let inputs = inputs(intent, snapshot);
        let (authority, secrets) = match &snapshot.material {
            Some(material) => material.secrets(key, &self.options.namespace)?,
            None => (None, Vec::new()),
        };
        let mut objects = render::foundation(intent, &peers)?;
        objects.extend(authority);
        objects.extend(secrets);
        if let Some(material) = &snapshot.material {
            objects.extend(shared::objects(intent, &snapshot.served, material.clients_elsewhere.as_ref())?);
        }
        let (revision, body) = render::revision(intent, &inputs)?;
        let step = self.step(key, intent, snapshot, &revision, &body, now);
        let running = match &step.apply {
            Apply::Kept(kept) => kept,
            Apply::Wanted | Apply::Untouched => &body,
        };
        let [config, workload] = render::workload(key, running)?;
        let service = render::exposure(intent)?;
        // After the keys and before the workload: what is remembered was not made up in a pass that came to nothing, and a
        // process that dies before the workload is written knows what it decided.
        objects.push(render::revisions(key, &step.memory)?);
        let mut inventory: Vec<String> = objects.iter().map(|object| object.target().to_string()).collect();
        inventory.extend([&config, &service, &workload].map(|object| object.target().to_string()));
        match step.apply {
            Apply::Wanted | Apply::Kept(_) => objects.extend([config, service, workload]),
            Apply::Untouched => objects.push(service),
        }
        let mut report = Report::new(snapshot, intent, &step, &invalid, now);
        let anchor_uid = snapshot.anchor.as_deref().map(paddock_reconcile::object::uid).filter(|uid| !uid.is_empty());
        let (Some(uid), Some(material)) = (anchor_uid, &snapshot.material) else {
            // The owner comes first: without its uid nothing can be owned.
            plan.apply(report.anchor(key, &[])?);
            report.tell(&mut plan, key, snapshot);
            let message = "the anchor, which owns everything else, is made first".to_owned();
            plan.verdict = Verdict::Waiting { on: Dependency::Object(anchor_ref(key)), message };
            return Ok(plan);
        };
        plan.apply(report.anchor(key, &inventory)?);
        plan.events.extend(report.transition(key));
        report.tell(&mut plan, key, snapshot);
        let (kek, authority_name) = (key.name_of(names::KEK), key.ca_secret());
        for object in objects {
            // The key that encrypts stored credentials outlives everything but the data that it encrypts; the authority is
            // the control plane's, also when its namespace is the gateway's.
            let name = &object.target().name;
            let here = object.target().namespace.as_deref() == Some(key.namespace());
            let owned = here && *name != kek && *name != authority_name;
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
        let hash = config_hash_of(&running.workload).unwrap_or_default();
        if step.apply != Apply::Untouched
            && let Some(running) = running_hash(snapshot).filter(|running| *running != hash)
        {
            let note = format!("the configuration changed (hash {running:.8} to {hash:.8}): the gateway restarts once");
            plan.event(Event::normal(anchor_ref(key), "Restarting", note));
        }
        for due in [material.renew_at, step.look_again].into_iter().flatten() {
            plan.look_again_at(due);
        }
        turn::clear_the_way(key, &snapshot.around.pods, &step, &mut plan);
        if plan.verdict == Verdict::Settled
            && let Some((for_workload, message)) = report.waits.clone()
        {
            let looking = plan.listen.clone().filter(|_| !for_workload);
            let on = looking.unwrap_or_else(|| Dependency::Object(workload_ref(key)));
            plan.verdict = Verdict::Waiting { on, message };
        }
        let (key, resource) = (key.clone(), snapshot.resource.clone());
        plan.on_error(move |error| {
            let mut report = report.clone();
            report.conditions.set(GatewayCondition::Applied, false, APPLY_FAILED, error.to_string());
            let mut plan = Plan::new();
            if let Ok(anchor) = report.anchor(&key, &inventory) {
                plan.apply(anchor);
            }
            plan.status.extend(report.status(&key, resource.as_deref()));
            plan.event(Event::warning(anchor_ref(&key), APPLY_FAILED, error.to_string()));
            plan
        });
        Ok(plan)
    }
}

impl Gateways {
    /// Which revision this gateway gets.
    fn step(
        &self,
        key: &GatewayKey,
        intent: &Intent,
        snapshot: &Snapshot,
        revision: &str,
        body: &Body,
        now: Timestamp,
    ) -> Step {
        let memory = snapshot.revisions.as_deref().map(rollout::Memory::read).unwrap_or_default();
        let own = own(intent, snapshot);
        let own_image = if intent.image_from == ImageFrom::Entry { body.image.as_str() } else { "" };
        let wanted = Wanted { revision, own: &own, own_image, body };
        let found = snapshot.around.found(snapshot.workload.as_deref(), snapshot.has_node);
        let mut turn = snapshot.around.turn(key, intent, revision, &self.options.rollout);
        turn.admitted |= self.foresees;
        rollout::decide(now, memory, wanted, found, turn)
    }
}

/// The digest of what is this gateway's own doing: its author's edits, and its own keys and credentials. Nobody else's gateway
/// changes with it, so it takes effect at once.
fn own(intent: &Intent, snapshot: &Snapshot) -> String {
    let token = snapshot.material.as_ref().map_or("", |material| material.restart_token.as_str());
    rollout::short(&[&intent.own, token, snapshot.database.as_deref().unwrap_or_default()].join("\0"))
}

pub(super) fn anchor_ref(key: &GatewayKey) -> ObjectRef {
    ObjectRef::of::<ConfigMap>(Some(key.namespace()), &key.name_of(names::ANCHOR))
}

pub(super) fn revisions_ref(key: &GatewayKey) -> ObjectRef {
    ObjectRef::of::<ConfigMap>(Some(key.namespace()), &key.name_of(names::REVISIONS))
}

pub(super) fn workload_ref(key: &GatewayKey) -> ObjectRef {
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
async fn sandboxes(cx: &Context, key: &GatewayKey, intent: &Intent, served: &[String]) -> pki::Sandboxes {
    let api: Api<Pod> = match &intent.serves {
        Some(_) => Api::all(cx.client().clone()),
        None => Api::namespaced(cx.client().clone(), key.namespace()),
    };
    let may_hold = |namespace: &str| namespace == key.namespace() || served.iter().any(|name| name == namespace);
    let mut params = ListParams::default().labels(names::SANDBOX_POD_LABEL).limit(500);
    params.field_selector = Some("status.phase!=Succeeded,status.phase!=Failed".to_owned());
    let mut created = Vec::new();
    loop {
        let Ok(page) = api.list_metadata(&params).await else { return pki::Sandboxes::Unknown };
        // One without a time of its creation could be as old as any.
        let here = page.items.iter().filter(|pod| pod.metadata.namespace.as_deref().is_some_and(may_hold));
        let times = here.map(|pod| pod.metadata.creation_timestamp.as_ref());
        created.extend(times.map(|time| time.map_or(Timestamp::MIN, |time| time.0)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return pki::Sandboxes::Created(created),
        }
    }
}

/// Served versions of the Sandbox kind; empty when its definition does not exist.
pub(super) async fn sandbox_versions(cx: &Context) -> Result<String, Error> {
    let definition = ObjectRef::of::<CustomResourceDefinition>(None, names::SANDBOX_CRD);
    Ok(cx.get(&definition).await?.as_deref().map(served_versions).unwrap_or_default())
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
