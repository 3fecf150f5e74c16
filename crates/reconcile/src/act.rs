//! Explicit writes: for controllers that keep many objects whose names the server chooses, as workload controllers do with
//! Pods. Everything else is better applied ([`Plan::apply`](crate::Plan::apply)). Touches nothing.

use std::fmt;
use std::sync::Arc;

use kube::api::PropagationPolicy;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::object::{Kind, ObjectRef};
use crate::plan::Event;

/// One explicit write.
///
/// It is sent as it is, nothing is compared first: a plan holds an act only when there is something to do. What the server
/// answers is laid over the caches, so the next pass sees it even before its watch event. What a Secret holds is not printed.
#[derive(Clone)]
pub struct Act {
    pub(crate) target: ObjectRef,
    pub(crate) verb: Verb,
    pub(crate) report: Option<Report>,
    /// Of a creation: see [`Act::unless_there`].
    pub(crate) unless_there: bool,
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Act");
        out.field("target", &self.target);
        if self.target.kind.kind != "Secret" {
            out.field("verb", &self.verb);
        }
        out.finish_non_exhaustive()
    }
}

/// What an [`Act`] does.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// `POST` of this object; with `generateName` the server chooses its name.
    Create(Value),
    /// `PUT` of this object, or of one part of it. Its `resourceVersion` makes a conflict of a change unseen.
    Update {
        /// The whole object.
        body: Value,
        /// The part, such as `status`.
        subresource: Option<&'static str>,
    },
    /// `PATCH` with this body. A `metadata.uid` in it makes a conflict of a namesake.
    Patch {
        /// The patch.
        body: Value,
        /// How the server reads it.
        strategy: Strategy,
        /// The part, such as `status`.
        subresource: Option<&'static str>,
    },
    /// `DELETE` of exactly this object; a namesake made meanwhile stays. That it is gone already is a success.
    Delete {
        /// Its uid.
        uid: String,
        /// Only while it is in this state.
        resource_version: Option<String>,
        /// Seconds; `None` for the object's own.
        grace: Option<u32>,
        /// What becomes of its dependents; `None` for the kind's default.
        propagation: Option<PropagationPolicy>,
    },
}

/// How a patch is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// RFC 7396.
    Merge,
    /// Kubernetes' own: lists are merged by their keys.
    Strategic,
    /// Server-side apply as the identity's field manager, who takes fields over from others.
    Apply,
}

/// What became of an [`Act`].
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Done; the object as the server answered. For a deletion: as it was last known, or null.
    Done(&'a Value),
    /// Refused or lost, with the server's words.
    Failed(&'a str),
}

/// See [`Act::reporting`].
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(Outcome<'_>) -> Option<Event> + Send + Sync>);

impl Report {
    pub(crate) fn of(&self, outcome: Outcome<'_>) -> Option<Event> {
        (self.0)(outcome)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

impl Act {
    /// Creates a typed object. Its name, or `generateName`, and its namespace are in its metadata.
    ///
    /// # Errors
    /// [`Error::Fatal`] when it cannot be written as JSON: a bug.
    pub fn create<K>(object: &K) -> Result<Self, Error>
    where
        K: k8s_openapi::Resource + Serialize,
        K::Scope: 'static,
    {
        let (target, body) = read(object)?;
        Ok(Self::new(target, Verb::Create(body)))
    }

    /// Replaces a typed object as it was read, with changes: its `resourceVersion` is the condition. Of the context's
    /// identity [`Identity::slim`](crate::Identity) must be off, or annotations that caches leave out would be removed.
    ///
    /// # Errors
    /// As [`Act::create`].
    pub fn update<K>(object: &K) -> Result<Self, Error>
    where
        K: k8s_openapi::Resource + Serialize,
        K::Scope: 'static,
    {
        let (target, body) = read(object)?;
        Ok(Self::new(target, Verb::Update { body, subresource: None }))
    }

    /// Replaces the status of a typed object as it was read.
    ///
    /// # Errors
    /// As [`Act::create`].
    pub fn update_status<K>(object: &K) -> Result<Self, Error>
    where
        K: k8s_openapi::Resource + Serialize,
        K::Scope: 'static,
    {
        let (target, body) = read(object)?;
        Ok(Self::new(target, Verb::Update { body, subresource: Some("status") }))
    }

    /// Patches an object.
    pub fn patch(target: ObjectRef, strategy: Strategy, body: Value) -> Self {
        Self::new(target, Verb::Patch { body, strategy, subresource: None })
    }

    /// Deletes exactly this object, with its own grace period and its kind's default for dependents.
    pub fn delete(target: ObjectRef, uid: impl Into<String>) -> Self {
        let uid = uid.into();
        Self::new(target, Verb::Delete { uid, resource_version: None, grace: None, propagation: None })
    }

    /// Of a creation: that others made an object of this name meanwhile is a success, whatever it says. Its event starts the
    /// next pass, if the controller watches the kind.
    #[must_use]
    pub fn unless_there(mut self) -> Self {
        self.unless_there = true;
        self
    }

    /// Of a deletion: what becomes of its dependents.
    #[must_use]
    pub fn propagating(mut self, how: PropagationPolicy) -> Self {
        if let Verb::Delete { propagation, .. } = &mut self.verb {
            *propagation = Some(how);
        }
        self
    }

    /// Of a deletion: the grace period in seconds.
    #[must_use]
    pub fn with_grace(mut self, seconds: u32) -> Self {
        if let Verb::Delete { grace, .. } = &mut self.verb {
            *grace = Some(seconds);
        }
        self
    }

    /// Of a deletion: only while the object is in this state.
    #[must_use]
    pub fn at_version(mut self, version: impl Into<String>) -> Self {
        if let Verb::Delete { resource_version, .. } = &mut self.verb {
            *resource_version = Some(version.into());
        }
        self
    }

    /// The event that tells what became of it: a pure function, for names that the server chooses are not known before.
    /// A refusal because the namespace is ending is not reported.
    #[must_use]
    pub fn reporting(mut self, report: impl Fn(Outcome<'_>) -> Option<Event> + Send + Sync + 'static) -> Self {
        self.report = Some(Report(Arc::new(report)));
        self
    }

    /// The object it is about. Its name is empty when the server is to choose it.
    pub fn target(&self) -> &ObjectRef {
        &self.target
    }

    /// What it does.
    pub fn verb(&self) -> &Verb {
        &self.verb
    }

    /// The event for an outcome.
    pub fn report(&self, outcome: Outcome<'_>) -> Option<Event> {
        self.report.as_ref().and_then(|report| report.of(outcome))
    }

    fn new(target: ObjectRef, verb: Verb) -> Self {
        Self { target, verb, report: None, unless_there: false }
    }
}

fn read<K>(object: &K) -> Result<(ObjectRef, Value), Error>
where
    K: k8s_openapi::Resource + Serialize,
    K::Scope: 'static,
{
    let kind = Kind::of::<K>();
    let mut body = serde_json::to_value(object).map_err(|e| Error::fatal(format!("bug: a planned {kind}: {e}")))?;
    let text = |pointer| crate::object::text(&body, pointer);
    let target = kind.named(Some(text("/metadata/namespace")), text("/metadata/name"));
    if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
        // Without it an update leaves the server's own record alone.
        metadata.remove("managedFields");
    }
    Ok((target, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn object_to_be_named_by_the_server_has_no_name() {
        let pod = json!({"metadata": {"generateName": "a-", "namespace": "n"}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let act = Act::create(&pod).expect("an act");
        assert_eq!((act.target().name.as_str(), act.target().namespace.as_deref()), ("", Some("n")));
    }

    #[test]
    fn update_leaves_the_record_of_managers_to_the_server() {
        let pod = json!({"metadata": {"name": "a", "managedFields": [{"manager": "me"}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let act = Act::update(&pod).expect("an act");
        let Verb::Update { body, .. } = act.verb() else { panic!("no update") };
        assert_eq!(body["metadata"], json!({"name": "a"}));
    }
}
