//! What a controller is: its sources, its snapshot, its plan. Touches nothing; the runtime calls it.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::ListParams;
use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::object::{self, Kind};
use crate::plan::Plan;

/// What a controller's work is divided by: a tenant, a run. Two keys never share an object.
pub trait Key: Clone + Eq + Hash + Ord + Debug + Display + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Ord + Debug + Display + Send + Sync + 'static> Key for T {}

/// A controller: three questions, of which only [`Controller::plan`] is interesting.
pub trait Controller: Send + Sync + 'static {
    /// What its work is divided by.
    type Key: Key;
    /// Everything a plan depends on.
    type Snapshot: Send + Sync;

    /// Its name in metrics, logs and readiness: lower case.
    fn name(&self) -> &'static str;

    /// What it watches, and which keys each change concerns.
    fn sources(&self) -> Vec<Source<Self::Key>>;

    /// Gathers what the plan depends on: I/O and no decisions. Reads from the context's caches where a source covers it.
    fn snapshot(&self, cx: &Context, key: &Self::Key) -> impl Future<Output = Result<Self::Snapshot, Error>> + Send;

    /// Decides. Pure: the same input gives the same plan.
    ///
    /// # Errors
    /// An error means that nothing is written, the status included; prefer [`Plan::verdict`] where something can be said.
    fn plan(&self, key: &Self::Key, snapshot: &Self::Snapshot, now: Timestamp) -> Result<Plan, Error>;

    /// How its keys are run.
    fn settings(&self) -> Settings {
        Settings::default()
    }
}

/// How a controller's keys are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Keys worked on at once.
    pub concurrency: usize,
    /// The longest one pass may take; then it is cancelled and counts as transient.
    pub timeout: Duration,
    /// First retry after a transient failure; it doubles with each further one.
    pub backoff_min: Duration,
    /// Longest wait between retries.
    pub backoff_max: Duration,
    /// How long a change waits for others before it is followed. For a key that reports what others do: it runs once they are
    /// done, and not beside them.
    pub delay: Duration,
    /// The shortest time between the end of a key's pass and its next one: a burst of changes becomes few passes.
    pub spacing: Duration,
    /// Every key is looked at this often (±10 %) even when nothing changes; from caches and, when settled, silent.
    pub resync: Duration,
}

impl Default for Settings {
    /// 8 at once, 60 s a pass, backoff 1 s to 5 min, no delay, no spacing, resync 10 min.
    fn default() -> Self {
        Self {
            concurrency: 8,
            timeout: Duration::from_secs(60),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            delay: Duration::ZERO,
            spacing: Duration::ZERO,
            resync: Duration::from_secs(600),
        }
    }
}

/// Which objects a watch covers. Equal selections share one watch and one cache, whichever controllers ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Their kind.
    pub kind: Kind,
    /// Their namespace; `None` for all.
    pub namespace: Option<String>,
    /// Label selector in kubectl's syntax, empty for all.
    pub labels: String,
    /// Field selector, empty for all.
    pub fields: String,
    /// Whether only their metadata is asked for and kept: who has to hear of changes need not hold what changed. Such a watch
    /// answers no reads.
    pub metadata_only: bool,
}

impl Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.kind, f)?;
        let only = if self.metadata_only { "metadata" } else { "" };
        for part in [self.namespace.as_deref().unwrap_or_default(), &self.labels, &self.fields, only] {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        Ok(())
    }
}

/// A change of one cached object. One of the two sides is always there.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// As it was; `None` when it is new.
    pub before: Option<&'a Value>,
    /// As it is; `None` when it is gone.
    pub after: Option<&'a Value>,
}

impl<'a> Change<'a> {
    /// The newest state known.
    pub fn object(&self) -> &'a Value {
        self.after.or(self.before).unwrap_or(&Value::Null)
    }
}

type Keys<K> = Arc<dyn Fn(&Change<'_>) -> Vec<K> + Send + Sync>;

/// A watch of a controller and the mapping from its changes to keys.
#[derive(Clone)]
pub struct Source<K> {
    pub(crate) selection: Selection,
    pub(crate) keys: Keys<K>,
}

impl<K: Key> Source<K> {
    /// The keys that a change concerns.
    pub fn keys_of(&self, change: &Change<'_>) -> Vec<K> {
        (self.keys)(change)
    }

    /// What it watches.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Everything the source would watch, asked of the API server: for tests and for commands that run without watches.
    ///
    /// # Errors
    /// Waiting when the kind is not served; otherwise as [`Error::from_kube`].
    pub async fn list(&self, cx: &Context) -> Result<Vec<Value>, Error> {
        let Selection { kind, namespace, labels, fields, metadata_only } = &self.selection;
        let target = kind.named(namespace.as_deref(), "");
        let mut params = ListParams::default().limit(500);
        params.label_selector = (!labels.is_empty()).then(|| labels.clone());
        params.field_selector = (!fields.is_empty()).then(|| fields.clone());
        let api = kind.api(cx.client().clone(), namespace.as_deref());
        let metadata = kind.metadata_api(cx.client().clone(), namespace.as_deref());
        let mut found = Vec::new();
        loop {
            let page = match metadata_only {
                true => metadata.list(&params).await.map(object::whole_list),
                false => api.list(&params).await,
            };
            let page = page.map_err(|e| Error::from_kube(&e, &target))?;
            for object in &page.items {
                found.push(cx.slimmed(object, &target)?);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// Watches a typed built-in kind everywhere. Every change is mapped to keys by `keys`.
    pub fn of<O>(keys: impl Fn(&Change<'_>) -> Vec<K> + Send + Sync + 'static) -> Self
    where
        O: k8s_openapi::Resource,
        O::Scope: 'static,
    {
        Self::kind(Kind::of::<O>(), keys)
    }

    /// Watches a kind everywhere. When it is not served the source waits for it and blocks nothing.
    pub fn kind(kind: Kind, keys: impl Fn(&Change<'_>) -> Vec<K> + Send + Sync + 'static) -> Self {
        let (labels, fields) = (String::new(), String::new());
        let selection = Selection { kind, namespace: None, labels, fields, metadata_only: false };
        Self { selection, keys: Arc::new(keys) }
    }

    /// Watches the objects that carry the label `label`, whose value parses as the key: the usual source for children.
    /// Any change that somebody else makes to one of them starts a pass, which puts it right.
    pub fn labelled(kind: Kind, label: &'static str) -> Self
    where
        K: std::str::FromStr,
    {
        let of = move |o: Option<&Value>| o.and_then(|o| object::label(o, label)).and_then(|v| v.parse().ok());
        Self::kind(kind, move |change| of(change.after).or_else(|| of(change.before)).into_iter().collect())
            .labels(label)
    }

    /// In one namespace only.
    #[must_use]
    pub fn within(mut self, namespace: impl Into<String>) -> Self {
        self.selection.namespace = Some(namespace.into());
        self
    }

    /// Only objects that this label selector chooses.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.selection.labels = selector.into();
        self
    }

    /// Only the metadata of the objects: changes are told, contents are neither asked for nor kept.
    #[must_use]
    pub fn metadata_only(mut self) -> Self {
        self.selection.metadata_only = true;
        self
    }

    /// Only objects that this field selector chooses, such as `metadata.name=platform-config`.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.selection.fields = selector.into();
        self
    }
}
