//! Admission: what may change or refuse a write between decoding and storing it. Reads the store, writes nothing itself
//! (quota books its usage through the API).
//!
//! The order is kube-apiserver's: a write is decoded, defaulted and its fields are given to their manager; then [`mutate`];
//! then the kind's `prepare` and validation; then [`validate`]; then the store. A delete has no object, only an old one, and
//! runs both at once. What admission changes belongs to no field manager.

mod conditions;
mod configured;
pub(crate) mod expressions;
pub(crate) mod plugins;
mod policies;
mod reinvocation;
mod request;
mod rules;
mod webhooks;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::webhooks::read_any;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

pub(crate) use self::configured::Admission;
use self::plugins::quota::Booking;
use self::reinvocation::Reinvocation;
use crate::api::Api;
use crate::handlers::Options;
use crate::patch::managed;
use crate::resource::Resource;
use crate::schema::{self, Typed, decode};
use crate::status::Status;
use crate::user::User;

/// What is done to the object, as webhook and policy rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// `exec`, `attach`, `portforward`, `proxy`: the object is the options of the connection.
    Connect,
}

impl Operation {
    /// `CREATE`, …
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Everything that admission may know of a write. Only `object` changes, and only in [`mutate`].
pub(crate) struct Attributes<'a> {
    /// Other objects, the clock, authorisation.
    pub(crate) api: &'a Api,
    pub(crate) operation: Operation,
    /// The resource of the path. The kind of `object` may be a subresource's own: [`kind_of`].
    pub(crate) resource: Arc<Resource>,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// Empty for cluster-scoped objects; a Namespace's own name once it has one, as kube-apiserver fills it.
    pub(crate) namespace: &'a str,
    /// Empty while `metadata.generateName` has not been used, and for deletions of collections.
    pub(crate) name: &'a str,
    /// The new object, defaulted; `null` in deletions.
    pub(crate) object: Value,
    /// The stored object; `null` in creations.
    pub(crate) old: &'a Value,
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions`.
    pub(crate) options: &'a Options<'a>,
    pub(crate) dry_run: bool,
    /// Who asks.
    pub(crate) user: &'a User,
    pub(crate) now: Timestamp,
    /// What was booked in quotas for the write.
    pub(crate) booking: Option<Booking>,
    /// When the request as a whole must be answered.
    pub(crate) deadline: Instant,
    /// Behind a lock because validating webhooks run side by side.
    warnings: Mutex<Vec<String>>,
    /// Other versions of the resource, looked up when the first rule does not name this one.
    equivalents: OnceLock<Vec<Arc<Resource>>>,
}

/// The part of [`Attributes`] that differs from write to write.
pub(crate) struct Subject<'a> {
    pub(crate) operation: Operation,
    pub(crate) name: &'a str,
    pub(crate) object: Value,
    pub(crate) old: &'a Value,
    pub(crate) options: &'a Options<'a>,
    pub(crate) dry_run: bool,
    pub(crate) deadline: Instant,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(
        api: &'a Api,
        resource: Arc<Resource>,
        place: (&'a str, &'a str),
        user: &'a User,
        now: Timestamp,
        subject: Subject<'a>,
    ) -> Self {
        let (namespace, subresource) = place;
        let Subject { operation, name, object, old, options, dry_run, deadline } = subject;
        let (warnings, equivalents, booking) = Default::default();
        Self {
            api,
            operation,
            resource,
            subresource,
            namespace,
            name,
            object,
            old,
            options,
            dry_run,
            user,
            now,
            booking,
            deadline,
            warnings,
            equivalents,
        }
    }

    /// Other versions (or groups) under which the same stored resource is served.
    fn equivalents(&self) -> &[Arc<Resource>] {
        self.equivalents.get_or_init(|| {
            let served = self.api.registry.served();
            let same = |r: &&Arc<Resource>| r.storage == self.resource.storage && !Arc::ptr_eq(r, &self.resource);
            served.resources.iter().filter(same).cloned().collect()
        })
    }

    /// Whether the resource is that of namespaces.
    pub(crate) fn is_namespace(&self) -> bool {
        !self.resource.custom && *self.resource.group == *"" && *self.resource.plural == *"namespaces"
    }

    /// Whether this is the object itself (no subresource) of a built-in resource of that group and plural name.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.is_part(group, plural, "")
    }

    /// Whether this is that subresource of a built-in resource of that group and plural name.
    pub(crate) fn is_part(&self, group: &str, plural: &str, subresource: &str) -> bool {
        let resource = &*self.resource;
        !resource.custom && *resource.group == *group && *resource.plural == *plural && self.subresource == subresource
    }

    /// Adds a `Warning` header to the answer; the same text only once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// What came up, when admission is over.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(self.warnings.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// 403 as most plugins answer it: `RESOURCE "NAME" is forbidden: WHY`.
    pub(crate) fn forbidden(&self, why: &str) -> Status {
        // An object that is still to be named is refused by what its name will start with.
        let metadata = |field: &str| self.object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str);
        let named = [self.name, metadata("name").unwrap_or_default()].into_iter().find(|name| !name.is_empty());
        let name = named.or_else(|| metadata("generateName").filter(|base| !base.is_empty())).unwrap_or("Unknown!");
        let name = name.to_owned();
        Status::forbidden(&self.resource.group, &self.resource.plural, &name, why)
    }

    /// Takes the object as a webhook or policy changed it, in the version of `resource`: decodes it, drops what its kind
    /// does not have, sets defaults. Whether it differs from what was there.
    ///
    /// # Errors
    /// What is wrong, when it is no object of the kind any more.
    pub(crate) fn accept(&mut self, changed: Value, resource: &Resource) -> Result<bool, String> {
        let (group, version, kind) = kind_of(&self.resource, self.subresource);
        let mut object = if kind == &*self.resource.kind && group == &*self.resource.group {
            let own = converted(changed, resource, &self.resource);
            let mut object = decode::of_resource(&self.resource, own)?.value;
            self.resource.strategy.default(&mut object);
            object
        } else {
            let (definitions, schema) = schema::builtin(group, version, kind);
            decode::decode(Typed::new(&definitions, &schema), changed, kind)?.value
        };
        for field in ["apiVersion", "kind"] {
            object[field] = self.object[field].clone();
        }
        let differs = object != self.object;
        self.object = object;
        Ok(differs)
    }
}

/// Group, version and kind of what goes over the wire for a resource and subresource (`Scale`, `Eviction`).
pub(crate) fn kind_of<'a>(resource: &'a Resource, subresource: &str) -> (&'a str, &'a str, &'a str) {
    let own = resource.subresource(subresource).and_then(|s| s.kind);
    own.unwrap_or((&resource.group, &resource.version, &resource.kind))
}

/// An object of the write as another version of its resource shows it; `null` stays.
fn convert(a: &Attributes<'_>, object: &Value, to: &Resource) -> Value {
    let has_own_kind = a.resource.subresource(a.subresource).is_some_and(|s| s.kind.is_some());
    if object.is_null() || has_own_kind { object.clone() } else { converted(object.clone(), &a.resource, to) }
}

fn converted(mut object: Value, from: &Resource, to: &Resource) -> Value {
    let version = to.api_version();
    if from.api_version() == version {
        return object;
    }
    from.strategy.to_storage(&mut object);
    to.strategy.served_from_storage(&mut object);
    object["apiVersion"] = version.into();
    object["kind"] = (&*to.kind).into();
    object
}

/// May change the object: built-in plugins in kube-apiserver's order, then policies, then webhooks; once more when one of
/// the latter two changed it.
///
/// # Errors
/// The answer to the request.
pub(crate) async fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    plugins::mutate(a).await?;
    let configured = a.api.admission.configured();
    let nothing = configured.mutating.is_empty() && configured.mutating_policies.is_empty();
    if nothing || rules::is_exempt(a) {
        return Ok(());
    }
    // A write goes on with what it found, whatever is configured meanwhile; and no guard is held while it waits.
    let configured = Arc::clone(&configured);
    let fields = a.object.pointer("/metadata/managedFields").cloned();
    let mut round = Reinvocation::default();
    policies::mutate(a, &configured.mutating_policies, &mut round)?;
    webhooks::mutate(a, &configured.mutating, &mut round).await?;
    if round.wanted {
        round.again = true;
        plugins::mutate(a).await?;
        policies::mutate(a, &configured.mutating_policies, &mut round)?;
        webhooks::mutate(a, &configured.mutating, &mut round).await?;
        keep_fields(a, fields);
    }
    Ok(())
}

/// Managed fields that somebody broke are put back.
fn keep_fields(a: &mut Attributes<'_>, before: Option<Value>) {
    let Some(metadata) = a.object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let after = metadata.get("managedFields");
    if after == before.as_ref() {
        return;
    }
    let Err(error) = managed::check_entries(after.unwrap_or(&Value::Null)) else { return };
    match before {
        Some(fields) => metadata.insert("managedFields".to_owned(), fields),
        None => metadata.remove("managedFields"),
    };
    a.warn(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating \
         admission controller; please fix your requests: {error}"
    ));
}

/// May refuse the object as it is to be stored, and never changes it: built-in plugins, policies, webhooks, and
/// quota last.
///
/// # Errors
/// The answer to the request.
pub(crate) async fn validate(a: &mut Attributes<'_>) -> Result<(), Status> {
    plugins::validate(a).await?;
    let configured = a.api.admission.configured();
    let nothing = configured.validating.is_empty() && configured.validating_policies.is_empty();
    if !nothing && !rules::is_exempt(a) {
        let configured = Arc::clone(&configured);
        policies::validate(a, &configured.validating_policies)?;
        webhooks::validate(a, &configured.validating).await?;
    }
    plugins::last(a).await
}
