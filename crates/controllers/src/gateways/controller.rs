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
use paddock_api::{GatewayCondition, labels};
use paddock_reconcile::{
    Change, Context, Controller, Dependency, Error, Event, Kind, ObjectRef, Plan, Source, Verdict,
};
use serde_json::Value;

use super::intent::{Entry, Intent};
use super::key::GatewayKey;
use super::memory::{Memory, Wanted};
use super::network::Peers;
use super::options::Options;
use super::platform::{ClusterVersion, Database};
use super::probe::Probes;
use super::problem::Problem;
use super::report::{APPLY_FAILED, OVERRIDES, Report, is_rolled_out, overrides, running_hash};
use super::restart::Inputs;
use super::selection::{Home, home, served_names};
use super::serving::{self, View};
use super::{names, pki, render, resource, shared};

/// `platform-config`.
pub const PLATFORM_CONFIG: &str = "platform-config";
/// Its key.
pub const NAMESPACES_KEY: &str = "namespaces";

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

    /// What is wrong with `platform-config` as it was seen last, and with the `OpenShellGateway` objects of these gateways.
    pub fn problems(&self) -> Vec<(Option<GatewayKey>, Problem)> {
        self.memory.problems()
    }

    /// The gateway as its object asks for it, and as `platform-config` does.
    async fn asked(&self, cx: &Context, key: &GatewayKey) -> Result<Wanted, Error> {
        let config = cx.get(&self.platform_config()).await?;
        self.memory.learn(self.cluster(cx).await?);
        self.memory.observe(config.as_deref());
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
            Source::kind(resource::kind(), resources),
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
        let Wanted { entry, resource, overridden } = self.asked(cx, key).await?;
        let mut snapshot = Snapshot {
            entry,
            resource,
            overridden,
            served: Vec::new(),
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
        let namespace = cx.get(&ObjectRef::of::<Namespace>(None, key.namespace())).await?;
        snapshot.home = home(namespace.as_deref(), &self.options.rules);
        if snapshot.home != Home::There {
            return Ok(snapshot);
        }
        snapshot.anchor = cx.get(&anchor_ref(key)).await?;
        snapshot.workload = cx.get(&workload_ref(key)).await?;
        let definition = ObjectRef::of::<CustomResourceDefinition>(None, names::SANDBOX_CRD);
        snapshot.sandbox_versions = cx.get(&definition).await?.as_deref().map(served_versions).unwrap_or_default();
        if let Some(served) = &intent.serves {
            let all = cx.list(&Kind::of::<Namespace>(), None, &[]).await?;
            snapshot.served = served_names(served, &self.options.rules, &all);
        }
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
        let hash = inputs.hash();
        let (authority, secrets) = match &snapshot.material {
            Some(material) => material.secrets(key, &self.options.namespace)?,
            None => (None, Vec::new()),
        };
        let mut objects = render::foundation(intent, &peers)?;
        objects.extend(authority);
        objects.extend(secrets);
        objects.extend(render::workload(intent, &inputs)?);
        if let Some(material) = &snapshot.material {
            objects.extend(shared::objects(intent, &snapshot.served, material.clients_elsewhere.as_ref())?);
        }
        let mut report = Report::new(snapshot, intent, &hash, &invalid, now);
        let anchor_uid = snapshot.anchor.as_deref().map(paddock_reconcile::object::uid).filter(|uid| !uid.is_empty());
        let (Some(uid), Some(material)) = (anchor_uid, &snapshot.material) else {
            // The owner comes first: without its uid nothing can be owned.
            plan.apply(report.anchor(key, &[])?);
            report.tell(&mut plan, key, snapshot);
            let message = "the anchor, which owns everything else, is made first".to_owned();
            plan.verdict = Verdict::Waiting { on: Dependency::Object(anchor_ref(key)), message };
            return Ok(plan);
        };
        let inventory: Vec<String> = objects.iter().map(|object| object.target().to_string()).collect();
        plan.apply(report.anchor(key, &inventory)?);
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
