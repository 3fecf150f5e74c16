//! The controller of single gateways: one key per gateway, snapshot and plan.
//!
//! The snapshot may read the API server; the plan touches nothing.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret, Service};
use paddock_api::{DriftPolicy, GatewayCondition, annotations, labels};
use paddock_reconcile::{
    Adopt, Context, Controller, Dependency, Desired, Error, Event, Kind, ObjectRef, OnDrift, Plan, Settings, Source,
    Verdict, object,
};
use serde_json::Value;

use super::claim::{self, Growth};
use super::intent::{Entry, ImageFrom, Intent};
use super::key::GatewayKey;
use super::memory::{Asked, Memory, Standing};
use super::metrics::GatewayMetrics;
use super::network::Peers;
use super::options::Options;
use super::platform::Database;
use super::preflight::{self, Preflight, Premises, Rights};
use super::probe::Probes;
use super::problem::Problem;
use super::removal::{self, Removal};
use super::report::{self, APPLY_FAILED, OVERRIDES, Report, has_ready, is_rolled_out, overrides};
use super::restart::Inputs;
use super::rollout::{self, Apply, Body, Found, Progress, Step, Wanted};
use super::selection::{Home, home, served_names};
use super::serving::{self, View};
use super::turn::{self, Surroundings};
use super::{drift, lookup, names, pki, render, resource, shared, sources};

/// `platform-config`.
pub const PLATFORM_CONFIG: &str = "platform-config";
/// Its key.
pub const NAMESPACES_KEY: &str = "namespaces";

/// The controller.
#[derive(Debug)]
pub struct Gateways {
    options: Options,
    memory: Memory,
    metrics: GatewayMetrics,
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
    /// What is wrong with `platform-config` as a whole, when that asks for it.
    pub(super) document: Option<Problem>,
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
    pub(super) life: Life,
    /// What the gateway depends on that is not ours to make.
    pub(super) premises: Premises,
}

/// What the plan depends on besides what is wanted: what was there before.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// The uid of the namespace.
    pub(super) namespace_uid: String,
    /// The claim of the volume, and whether that may grow.
    pub(super) claim: Option<(Arc<Value>, Growth)>,
    /// Fingerprint of the key of stored credentials that is there.
    pub(super) data_key: Option<String>,
    /// The object of this gateway while it is being deleted.
    pub(super) leaving: Option<Arc<Value>>,
    /// What is left of the gateway when nobody wants it any more.
    pub(super) removal: Option<Removal>,
}

impl Gateways {
    pub(super) fn new(options: Options, memory: Memory, metrics: GatewayMetrics, rights: Rights) -> Self {
        let probes = options.probe.then(Probes::default);
        Self { options, memory, metrics, probes, foresees: false, preflight: Preflight::new(rights) }
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

    /// The gateway as its object asks for it, and as `platform-config` does, its object when that is being deleted, and whether
    /// objects can be seen at all.
    async fn asked(
        &self,
        cx: &Context,
        key: &GatewayKey,
        config: Option<&Value>,
    ) -> Result<(Asked, Option<Arc<Value>>, bool), Error> {
        self.memory.ask(cx).await?;
        self.memory.observe(config);
        let (leaving, seeing) = match cx.get(&resource::reference(key)).await {
            Ok(asking) => {
                self.memory.observe_resource(key, asking.as_deref());
                (asking.filter(|asking| object::is_terminating(asking)), true)
            }
            // Without the kind nobody can tell what objects say: what was known holds, and the other front end works.
            Err(Error::Waiting { .. }) => (None, false),
            Err(error) => return Err(error),
        };
        Ok((self.memory.asked(key), leaving, seeing))
    }

    /// What is left of a gateway that nobody wants any more; `None` for one that somebody wants, or may want.
    async fn left(
        &self,
        cx: &Context,
        key: &GatewayKey,
        leaving: Option<&Arc<Value>>,
        seeing: bool,
    ) -> Result<Option<Removal>, Error> {
        let Standing::Removed(removals) = self.memory.standing(key, leaving.map(|object| &**object), seeing) else {
            return Ok(None);
        };
        self.probes.iter().for_each(|probes| probes.forget(&key.to_string()));
        let rules = &self.options.rules;
        let policies = leaving.map_or_else(|| rules.policies.clone(), |object| resource::policies(object, rules));
        let leaving = leaving.cloned();
        let gone = removal::Gone { control_plane: &self.options.namespace, key, leaving, policies, removals };
        let home = home(cx.get(&ObjectRef::of::<Namespace>(None, key.namespace())).await?.as_deref(), rules);
        removal::look(cx, gone, home, &lookup::sandbox_versions(cx).await?).await.map(Some)
    }

    /// How an object meets what others do to it and made of its name. Secrets are always put right: what hangs on them (a
    /// lost one is made anew with other keys) must not depend on who looks when.
    fn by_policy(&self, object: Desired, intent: &Intent) -> Desired {
        let is_secret = &*object.target().kind.kind == "Secret";
        let object = match intent.policies.drift {
            DriftPolicy::Report if !is_secret => object.on_drift(OnDrift::Report),
            _ => object,
        };
        match self.options.adopt {
            true if !is_secret => object.adopt(Adopt::ManagedBy(names::EARLIER_PROVISIONER.to_owned())),
            _ => object,
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

    fn settings(&self) -> Settings {
        self.options.run.clone()
    }

    fn sources(&self) -> Vec<Source<GatewayKey>> {
        sources::all(&self.options, &self.memory)
    }

    async fn snapshot(&self, cx: &Context, key: &GatewayKey) -> Result<Snapshot, Error> {
        let config = cx.get(&self.platform_config()).await?;
        let (Asked { entry, resource, overridden, document }, leaving, seeing) =
            self.asked(cx, key, config.as_deref()).await?;
        let removal = self.left(cx, key, leaving.as_ref(), seeing).await?;
        let mut snapshot = Snapshot {
            entry,
            resource,
            overridden,
            document,
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
            life: Life { leaving, removal, ..Life::default() },
        };
        if snapshot.life.removal.is_some() {
            return Ok(snapshot);
        }
        if snapshot.entry.is_none() && snapshot.document.is_some() {
            snapshot.anchor = cx.get_labelled(&anchor_ref(key), &key.object_labels()).await?;
        }
        let Some(intent) = snapshot.entry.as_ref().and_then(|entry| entry.intent.clone()) else { return Ok(snapshot) };
        let namespace = cx.get(&ObjectRef::of::<Namespace>(None, key.namespace())).await?;
        snapshot.home = home(namespace.as_deref(), &self.options.rules);
        if snapshot.home != Home::There {
            return Ok(snapshot);
        }
        snapshot.life.namespace_uid = namespace.as_deref().map(object::uid).unwrap_or_default().to_owned();
        snapshot.life.claim = claim::look(cx, key).await?;
        let labels = key.object_labels();
        snapshot.anchor = cx.get_labelled(&anchor_ref(key), &labels).await?;
        snapshot.workload = match self.options.adopt {
            // The earlier provisioner's has other labels.
            true => cx.get(&workload_ref(key)).await?,
            false => cx.get_labelled(&workload_ref(key), &labels).await?,
        };
        snapshot.revisions = cx.get_labelled(&revisions_ref(key), &labels).await?;
        snapshot.sandbox_versions = lookup::sandbox_versions(cx).await?;
        let (control, workload) = (&self.options.namespace, snapshot.workload.as_deref());
        snapshot.around =
            Surroundings::see(cx, key, control, config.as_deref(), namespace.as_deref(), workload).await?;
        snapshot.around.wave = self.memory.wave(&snapshot.sandbox_versions);
        let found = preflight::Found {
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
            let kek_in_use = snapshot.workload.as_deref().is_some_and(render::uses_kek)
                || claim::key_is_on_record(key, snapshot.life.claim.as_ref(), snapshot.anchor.as_deref());
            // A gateway of a release without this key is not asked for one, pass after pass.
            let kek = if kek_in_use || render::needs_kek(intent.version) {
                lookup::secret(cx, key, names::KEK).await?
            } else {
                None
            };
            let mut existing = pki::Existing {
                authority: cx.get_as::<Secret>(Some(&self.options.namespace), &key.ca_secret()).await?,
                server: lookup::secret(cx, key, names::SERVER_TLS).await?,
                client: lookup::secret(cx, key, names::CLIENT_TLS).await?,
                jwt: lookup::secret(cx, key, names::JWT_KEYS).await?,
                kek,
                kek_in_use,
                sandboxes: pki::Sandboxes::Unknown,
                served: None,
            };
            // What an earlier namespace of this name trusted is over, unless its certificates came back with a backup.
            if existing.server.is_none() && existing.client.is_none() {
                existing.authority.take_if(|it| removal::is_of_another_namespace(it, &snapshot.life.namespace_uid));
            }
            snapshot.life.data_key = existing.kek.as_ref().and_then(claim::fingerprint_of);
            if pki::replaces_authority(existing.authority.as_ref()) {
                existing.sandboxes = lookup::sandboxes(cx, key, &intent, &snapshot.served).await;
            }
            // Of one that is scaled away nothing can be asked, though its rollout is complete.
            let runs = snapshot.workload.as_deref().is_some_and(|it| is_rolled_out(it) && has_ready(it));
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
        if let Some(removal) = &snapshot.life.removal {
            return removal::plan(key, removal, &self.platform_config(), now);
        }
        let mut plan = Plan::new();
        let Some(entry) = &snapshot.entry else {
            plan.status.extend(removal::undecided(key, snapshot.life.leaving.as_deref(), now));
            if let (Some(problem), Some(anchor)) = (&snapshot.document, &snapshot.anchor) {
                plan.apply.extend(removal::unreadable(key, anchor, problem, now)?);
            }
            return Ok(plan);
        };
        // The other front end wants the gateway: nothing has to be taken down before this object may go.
        plan.step(snapshot.life.leaving.as_deref().and_then(|it| resource::release(key, it)).into_iter().collect());
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
        objects.extend(authority.map(|it| it.annotated(annotations::NAMESPACE_UID, &snapshot.life.namespace_uid)));
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
        let untouched = [&config, &workload].map(|object| object.target().clone());
        match step.apply {
            Apply::Wanted | Apply::Kept(_) => objects.extend([config, service, workload]),
            Apply::Untouched => objects.push(service),
        }
        let mut report = Report::new(snapshot, intent, &step, &invalid, now);
        // Before anything is made: what asks for it must not go before it is gone.
        plan.step(snapshot.resource.as_deref().and_then(|it| resource::hold(key, it)).into_iter().collect());
        let anchor_uid =
            snapshot.anchor.as_deref().filter(|it| is_ours(it)).map(object::uid).filter(|uid| !uid.is_empty());
        if snapshot.anchor.is_some() {
            tell_failure(&mut plan, &report, key, snapshot.resource.as_ref());
        }
        let (Some(uid), Some(material)) = (anchor_uid, &snapshot.material) else {
            // The owner comes first: without its uid nothing can be owned.
            plan.apply(report.anchor(key, &[])?);
            report.tell(&mut plan, key, snapshot);
            let message = "the anchor, which owns everything else, is made first".to_owned();
            plan.verdict = Verdict::Waiting { on: Dependency::Object(anchor_ref(key)), message };
            return Ok(plan);
        };
        let elsewhere = shared::left(intent, snapshot, &self.options.namespace);
        let stays = elsewhere.len() > shared::MAX_DELETIONS && !resource::is_acknowledged(snapshot.resource.as_deref());
        if stays {
            let message = shared::too_many(key, elsewhere.len());
            report.conditions.set(GatewayCondition::Applied, false, "TooManyDeletions", message);
        }
        plan.report.apply.push(report.anchor(key, &[])?);
        plan.report.status.extend(report.status(key, snapshot.resource.as_deref()));
        plan.report.events.extend(report.transition(key));
        plan.prune = removal::pruned_while_wanted(key, &self.options.namespace).keeping(untouched);
        plan.prune = match stays {
            true => plan.prune.keeping(elsewhere),
            false => plan.prune.at_most(shared::MAX_DELETIONS.max(elsewhere.len())),
        };
        let lasting = [key.name_of(names::KEK), key.name_of(names::JWT_KEYS), key.ca_secret()];
        for object in objects {
            // What can never be made again as it was does not go with an anchor that somebody deletes: the key that encrypts
            // stored credentials, which outlives everything but the data, and those that sign tokens. The authority is the
            // control plane's, also when its namespace is the gateway's.
            let name = &object.target().name;
            let here = object.target().namespace.as_deref() == Some(key.namespace());
            let owned = here && !lasting.contains(name);
            let object = self.by_policy(object, intent);
            plan.apply(if owned { object.owned_by(&anchor_ref(key), uid)? } else { object });
        }
        if let Some((live, growth)) = &snapshot.life.claim {
            let used = render::needs_kek(intent.version).then_some(snapshot.life.data_key.as_deref()).flatten();
            plan.apply(claim::desired(key, live, claim::key_fingerprint(live).or(used), *growth)?);
            if *growth == Growth::Refused {
                let note = format!("{} is smaller than {} and cannot grow", claim::claim_ref(key), render::DATA_SIZE);
                plan.event(Event::warning(anchor_ref(key), "VolumeCannotGrow", note));
            }
        }
        if !material.made.is_empty() {
            let made: Vec<_> = material.made.iter().map(|made| format!("the {made}")).collect();
            plan.event(Event::normal(anchor_ref(key), "Issued", format!("made {}", made.join(", "))));
        }
        for loss in &material.losses {
            plan.event(Event::warning(anchor_ref(key), "TrustLost", loss.clone()));
        }
        if !matches!(snapshot.view, View::Off | View::NotRunning) {
            plan.listen = Some(Probes::dependency(&key.to_string()));
        }
        if let Some(why) = report::restarts(snapshot, &step, running) {
            plan.event(Event::normal(anchor_ref(key), "Restarting", format!("{why}: the gateway restarts once")));
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
        let (of, metrics, settled) = (key.clone(), self.metrics.clone(), report.clone());
        plan.on_drift(move |drifts| {
            let mut plan = Plan::new();
            let news = drift::news(&settled.drift, drifts);
            metrics.count_drifts(of.namespace(), news);
            if let Ok(anchor) = settled.clone().anchor(&of, drifts) {
                plan.apply(anchor);
            }
            for drift in drifts {
                plan.event(drift::event(drift, &anchor_ref(&of)));
            }
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
        let mut memory = snapshot.revisions.as_deref().map(rollout::Memory::read).unwrap_or_default();
        if memory.record.ran.is_none() {
            memory.record.ran = snapshot.anchor.as_deref().and_then(removal::ran);
        }
        // Without the Secret of its database no gateway starts: one that is there is left as it is until the Secret is back.
        let lacks_database = matches!(&intent.database, Database::Postgres { .. }) && snapshot.database.is_none();
        if let Some(workload) = snapshot.workload.as_deref().filter(|it| lacks_database && is_ours(it)) {
            let runs = is_rolled_out(workload) && has_ready(workload);
            return Step {
                apply: Apply::Untouched,
                revision: memory.record.applied.clone(),
                memory,
                progress: if runs { Progress::Done } else { Progress::Progressing },
                rolls_back: false,
                look_again: None,
            };
        }
        let own = own(intent, snapshot);
        let own_image = if intent.image_from == ImageFrom::Entry { body.image.as_str() } else { "" };
        let wanted = Wanted { revision, own: &own, own_image, body };
        let found = Found {
            objection: snapshot.view.objection(),
            ..snapshot.around.found(snapshot.workload.as_deref(), snapshot.has_node)
        };
        let mut turn = snapshot.around.turn(key, intent, revision, &self.options.rollout);
        turn.admitted |= self.foresees;
        rollout::decide(now, memory, wanted, found, turn)
    }
}

fn is_ours(object: &Value) -> bool {
    object::label(object, labels::MANAGED_BY) == Some(labels::MANAGED_BY_PADDOCK)
}

/// What is told when the objects cannot be made as wanted.
fn tell_failure(plan: &mut Plan, report: &Report, key: &GatewayKey, resource: Option<&Arc<Value>>) {
    let (report, key, resource) = (report.clone(), key.clone(), resource.cloned());
    plan.on_error(move |error| {
        let mut report = report.clone();
        report.conditions.set(GatewayCondition::Applied, false, APPLY_FAILED, error.to_string());
        let mut plan = Plan::new();
        plan.apply.extend(report.anchor(&key, &[]));
        plan.status.extend(report.status(&key, resource.as_deref()));
        plan.event(Event::warning(anchor_ref(&key), APPLY_FAILED, error.to_string()));
        plan
    });
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

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod tests;
