//! What a snapshot may use: cached and live reads, time and chance. It has no way to write.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use kube::api::ListParams;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cache::{self, Caches, Known};
use crate::clock::{Chance, Clock};
use crate::error::{self, Dependency, Error};
use crate::execute::Told;
use crate::metrics::Metrics;
use crate::object::{Kind, ObjectRef};
use crate::plan::AuditRecord;
use crate::requests;

/// Who we are to the API server. The engine knows no product: all names are parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Field manager of every write.
    pub field_manager: String,
    /// Value of `app.kubernetes.io/managed-by` on everything we apply.
    pub managed_by: String,
    /// An object with this annotation (any value but `false`) is never deleted by the engine.
    pub protect_annotation: String,
    /// Reporting controller of events, a qualified name.
    pub reporter: String,
    /// This process, as events and the lease name it: the pod's name.
    pub instance: String,
    /// Where events are written.
    pub events: EventApi,
    /// Whether caches leave out what controllers that only apply never read. Off for controllers that send objects back as
    /// they read them ([`Act::update`](crate::Act::update)).
    pub slim: bool,
}

/// Where events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventApi {
    /// `events.k8s.io/v1`: an event that repeats within six minutes has a series, which grows.
    #[default]
    EventsV1,
    /// `v1`, as kube-controller-manager does: with a source component and a count, which grows when an event repeats.
    CoreV1,
}

impl Identity {
    /// Everything derived from one product name and its domain: `Identity::new("paddock", "paddock.dev", hostname)`.
    pub fn new(name: &str, domain: &str, instance: impl Into<String>) -> Self {
        Self {
            field_manager: name.to_owned(),
            managed_by: name.to_owned(),
            protect_annotation: format!("{domain}/protect"),
            reporter: format!("{domain}/{name}"),
            instance: instance.into(),
            events: EventApi::EventsV1,
            slim: true,
        }
    }

    /// One of kube-controller-manager's controllers, such as `replicaset-controller`.
    pub fn controller_manager(component: &str) -> Self {
        Self {
            field_manager: "kube-controller-manager".to_owned(),
            managed_by: "kube-controller-manager".to_owned(),
            protect_annotation: String::new(),
            reporter: component.to_owned(),
            instance: String::new(),
            events: EventApi::CoreV1,
            slim: false,
        }
    }
}

/// Where audit records go. Called before the first write of a pass; a failure keeps the pass from writing.
pub trait AuditSink: Send + Sync {
    /// Writes one record down for good.
    fn record<'a>(&'a self, record: &'a AuditRecord) -> BoxFuture<'a, Result<(), Error>>;
}

/// The sink of a process that has no audit trail: a log line.
struct LogSink;

impl AuditSink for LogSink {
    fn record<'a>(&'a self, record: &'a AuditRecord) -> BoxFuture<'a, Result<(), Error>> {
        tracing::info!(action = %record.action, subject = %record.subject, details = %record.details, "audit");
        Box::pin(async { Ok(()) })
    }
}

type Waker = Arc<dyn Fn(&Dependency) + Send + Sync>;

/// What controllers share. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Context {
    pub(crate) client: kube::Client,
    pub(crate) identity: Arc<Identity>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) metrics: Metrics,
    wakers: Arc<RwLock<Vec<Waker>>>,
    term: Arc<AtomicU64>,
    pub(crate) told: Told,
    clock: Clock,
    chance: Chance,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Context {
    /// A context with the system's clock, without caches: every read asks the API server until a runtime adds watches.
    pub fn new(client: kube::Client, identity: Identity) -> Self {
        let metrics = Metrics::default();
        Self {
            client: requests::counted(client, &metrics),
            identity: Arc::new(identity),
            caches: Arc::default(),
            audit: Arc::new(LogSink),
            metrics,
            wakers: Arc::default(),
            term: Arc::default(),
            told: Told::default(),
            clock: Clock::system(),
            chance: Chance::system(),
        }
    }

    /// The same context for a controller with an account of its own: another client and identity over the same caches.
    #[must_use]
    pub fn acting_as(&self, client: kube::Client, identity: Identity) -> Self {
        let client = requests::counted(client, &self.metrics);
        Self { client, identity: Arc::new(identity), ..self.clone() }
    }

    /// Replaces the clock; tests give a manual one.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the source of chance; tests give a seeded one.
    #[must_use]
    pub fn with_chance(mut self, chance: Chance) -> Self {
        self.chance = chance;
        self
    }

    /// Replaces the audit trail; the default is a log line per record.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<dyn AuditSink>) -> Self {
        self.audit = audit;
        self
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The source of chance.
    pub fn chance(&self) -> &Chance {
        &self.chance
    }

    /// How many times this process has begun to write: it grows whenever the lease was taken, also after it was lost. What a controller
    /// remembers of an earlier term may have been overtaken by another process.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    /// Begins a term. The runtime does so when it has the lease; trials do it to stand for that.
    pub fn begin_term(&self) {
        self.term.fetch_add(1, Ordering::SeqCst);
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The engine's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The client, for reads that [`Context::get`] and [`Context::list`] do not express. Snapshots never write.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Reads an object: from a watch's cache where one covers it, else from the API server.
    ///
    /// # Errors
    /// Waiting when its kind is not served; otherwise as [`Error::from_kube`].
    pub async fn get(&self, target: &ObjectRef) -> Result<Option<Arc<Value>>, Error> {
        match self.caches.get(target) {
            Known::Present(object) => Ok(Some(object)),
            Known::Absent => Ok(None),
            Known::NotServed => {
                Err(Error::waiting(Dependency::Kind(target.kind.clone()), format!("{} is not served", target.kind)))
            }
            Known::Unknown => self.get_live(target).await,
        }
    }

    /// Reads an object that carries these labels when it is what is looked for: a cache that selects them and has it not is
    /// believed, so that a namesake of somebody else's may not be seen.
    ///
    /// # Errors
    /// As [`Context::get`].
    pub async fn get_labelled(
        &self,
        target: &ObjectRef,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<Arc<Value>>, Error> {
        let label = |key: &str| labels.get(key).map(String::as_str);
        match self.caches.get(target) {
            Known::Present(object) => Ok(Some(object)),
            Known::Unknown if self.caches.would_hold(target, label) => Ok(None),
            Known::Absent | Known::NotServed | Known::Unknown => self.get(target).await,
        }
    }

    /// Reads an object from the API server, whatever the caches say.
    ///
    /// # Errors
    /// As [`Error::from_kube`].
    pub async fn get_live(&self, target: &ObjectRef) -> Result<Option<Arc<Value>>, Error> {
        let api = target.kind.api(self.client.clone(), target.namespace.as_deref());
        match api.get(&target.name).await {
            Ok(object) => Ok(Some(Arc::new(self.slimmed(&object, target)?))),
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(Error::from_kube(&error, target)),
        }
    }

    /// Like [`Context::get`], as a type of k8s-openapi.
    ///
    /// # Errors
    /// As [`Context::get`]; transient when the object does not fit the type.
    pub async fn get_as<K>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, Error>
    where
        K: k8s_openapi::Resource + DeserializeOwned,
        K::Scope: 'static,
    {
        let target = ObjectRef::of::<K>(namespace, name);
        let Some(object) = self.get(&target).await? else { return Ok(None) };
        K::deserialize(&*object).map(Some).map_err(|e| Error::transient(format!("{target}: {e}")))
    }

    /// Lists the objects of a kind that carry all these labels, sorted by name when they come from a cache.
    ///
    /// # Errors
    /// Waiting when the kind is not served; otherwise as [`Error::from_kube`].
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &[(&str, &str)],
    ) -> Result<Vec<Arc<Value>>, Error> {
        if let Some(cached) = self.caches.list(kind, namespace, labels) {
            return Ok(cached);
        }
        let target = kind.named(namespace, "");
        if self.caches.is_missing(kind) {
            return Err(Error::waiting(Dependency::Kind(kind.clone()), format!("{kind} is not served")));
        }
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut params = ListParams::default().labels(&selector.join(",")).limit(500);
        let api = kind.api(self.client.clone(), namespace);
        let mut found = Vec::new();
        loop {
            let page = api.list(&params).await.map_err(|e| Error::from_kube(&e, &target))?;
            for object in &page.items {
                found.push(Arc::new(self.slimmed(object, &target)?));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// The objects of a kind that `wanted` chooses, as [`Context::list`]; for what labels do not express, such as an owner.
    ///
    /// # Errors
    /// As [`Context::list`].
    pub async fn select(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        wanted: impl Fn(&Value) -> bool + Send,
    ) -> Result<Vec<Arc<Value>>, Error> {
        if let Some(cached) = self.caches.select(kind, namespace, &[], &wanted) {
            return Ok(cached);
        }
        let mut listed = self.list(kind, namespace, &[]).await?;
        listed.retain(|object| wanted(object));
        Ok(listed)
    }

    /// Whether no watch found this kind missing.
    pub fn is_served(&self, kind: &Kind) -> bool {
        !self.caches.is_missing(kind)
    }

    /// Wakes every key that waits for this, such as `Dependency::Named("node".into())`.
    pub fn wake(&self, on: &Dependency) {
        self.wakers.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|waker| waker(on));
    }

    /// Has `waker` called with everything that is woken from now on: the runtime, and tests that run passes without one.
    pub fn on_wake(&self, waker: Waker) {
        self.wakers.write().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Lays a write's answer over the caches, and tells of it as its event would.
    pub(crate) fn note_written(&self, target: &ObjectRef, object: &Arc<Value>) {
        let name = (target.namespace.clone(), target.name.clone());
        for watch in self.caches.of_kind(&target.kind) {
            watch.change(self, |cache| cache.note_written(&name, object));
        }
    }

    /// Forgets an object that the API server said is gone, and tells of it as the event of its deletion would.
    pub(crate) fn note_deleted(&self, target: &ObjectRef, uid: &str) {
        let name = (target.namespace.clone(), target.name.clone());
        for watch in self.caches.of_kind(&target.kind) {
            watch.change(self, |cache| cache.note_deleted(&name, uid));
        }
    }

    /// An object as the engine keeps it: JSON, without what nobody reads.
    pub(crate) fn slimmed<T: serde::Serialize>(&self, object: &T, target: &ObjectRef) -> Result<Value, Error> {
        let mut value = serde_json::to_value(object).map_err(|e| Error::transient(format!("{target}: {e}")))?;
        cache::slim(&mut value, self.identity.slim.then_some(&*self.identity.field_manager));
        Ok(value)
    }
}
