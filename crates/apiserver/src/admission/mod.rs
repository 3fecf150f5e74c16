//! Admission: what may change or refuse a write between decoding and storing it. Reads the store, writes nothing itself
//! (quota books its usage through the API).
//!
//! The order is kube-apiserver's: a write is decoded, defaulted and its fields are given to their manager; then [`mutate`];
//! then the kind's `prepare` and validation; then [`validate`]; then the store. A delete has no object, only an old one, and
//! runs both at once. What admission changes belongs to no field manager.

pub(crate) mod plugins;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::api::Api;
use crate::resource::Resource;
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
    /// The resource of the path. The kind of `object` is [`Attributes::kind`]: a subresource may have its own.
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
    pub(crate) options: &'a Value,
    pub(crate) dry_run: bool,
    /// Who asks.
    pub(crate) user: &'a User,
    pub(crate) now: Timestamp,
    /// Behind a lock because validating webhooks run side by side.
    warnings: Mutex<Vec<String>>,
}

/// The part of [`Attributes`] that differs from write to write.
pub(crate) struct Subject<'a> {
    pub(crate) operation: Operation,
    pub(crate) name: &'a str,
    pub(crate) object: Value,
    pub(crate) old: &'a Value,
    pub(crate) options: &'a Value,
    pub(crate) dry_run: bool,
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
        let Subject { operation, name, object, old, options, dry_run } = subject;
        let warnings = Mutex::default();
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
            warnings,
        }
    }

    /// Group, version and kind of the object: the resource's, or the subresource's where it has its own (`Scale`, `Eviction`).
    pub(crate) fn kind(&self) -> (&str, &str, &str) {
        let own = self.resource.subresource(self.subresource).and_then(|s| s.kind);
        own.unwrap_or((&self.resource.group, &self.resource.version, &self.resource.kind))
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
        let name = match (named, metadata("generateName").unwrap_or_default()) {
            (Some(name), _) => name.to_owned(),
            (None, base) => base.to_owned(),
        };
        Status::forbidden(&self.resource.group, &self.resource.plural, &name, why)
    }

    /// Defaults the object anew after a plugin changed it.
    pub(crate) fn redefault(&mut self) {
        if self.subresource.is_empty() || self.resource.subresource(self.subresource).is_some_and(|s| s.kind.is_none())
        {
            self.resource.strategy.default(&mut self.object);
        }
    }
}

/// May change the object: built-in plugins in kube-apiserver's order.
///
/// # Errors
/// The answer to the request.
pub(crate) async fn mutate(attributes: &mut Attributes<'_>) -> Result<(), Status> {
    plugins::mutate(attributes).await
}

/// May refuse the object as it is to be stored, and never changes it: built-in plugins, and quota last.
///
/// # Errors
/// The answer to the request.
pub(crate) async fn validate(attributes: &mut Attributes<'_>) -> Result<(), Status> {
    plugins::validate(attributes).await?;
    plugins::last(attributes).await
}
