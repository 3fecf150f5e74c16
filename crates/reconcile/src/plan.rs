//! A plan: everything one pass wants to be true. Built by a pure function, carried out by `execute`. Touches nothing.

mod event;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PropagationPolicy;
use serde::Serialize;
use serde_json::Value;

pub use event::{Event, Severity, When};

use crate::act::Act;
use crate::drift::{Drift, OnDrift};
use crate::error::{Dependency, Error};
use crate::object::{Kind, ObjectRef};

/// What one pass for one key wants. An empty plan wants nothing and deletes nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Objects to apply, in this order. The first failure or unready gate ends the pass for the rest.
    pub apply: Vec<Desired>,
    /// What may be deleted.
    pub prune: Prune,
    /// Explicit writes after that: steps in order, the acts of a step side by side. The first step that fails is the last.
    pub acts: Vec<Vec<Act>>,
    /// Status to report once the objects are as wanted; see `on_error` for when they are not.
    pub status: Vec<StatusPatch>,
    /// Events, after the status.
    pub events: Vec<Event>,
    /// What tells how things stand: comes last, see [`Report`].
    pub report: Report,
    /// Records that must be written before the first write of the pass; no write happens when one cannot be written.
    pub audit: Vec<AuditRecord>,
    /// When to look again though nothing changes, such as a certificate's renewal time.
    pub look_again: Option<Timestamp>,
    /// What starts the next pass though the key waits for nothing: news from outside the API, by [`Context::wake`].
    ///
    /// [`Context::wake`]: crate::Context::wake
    pub listen: Option<Dependency>,
    /// How things stand with the key once the plan is carried out.
    pub verdict: Verdict,
    /// What to report instead of `status` and `events` when applying or deleting fails or has to wait.
    pub on_error: Option<OnError>,
    /// What to report besides when others changed objects of ours; see [`Plan::on_drift`].
    pub on_drift: Option<OnDrifts>,
}

impl Plan {
    /// A plan that wants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an object after those already there.
    pub fn apply(&mut self, desired: Desired) -> &mut Self {
        self.apply.push(desired);
        self
    }

    /// Adds a step that deletes exactly the object with this uid, and its dependents after it: for what a controller looks
    /// after without having made it itself, such as a pod that stands in its workload's way. A namesake stays.
    pub fn delete(&mut self, target: ObjectRef, uid: impl Into<String>) -> &mut Self {
        self.step(vec![Act::delete(target, uid).propagating(PropagationPolicy::Background)])
    }

    /// Adds a step of explicit writes after those already there; an empty one is left out.
    pub fn step(&mut self, acts: Vec<Act>) -> &mut Self {
        if !acts.is_empty() {
            self.acts.push(acts);
        }
        self
    }

    /// Adds a status report.
    pub fn status(&mut self, patch: StatusPatch) -> &mut Self {
        self.status.push(patch);
        self
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) -> &mut Self {
        self.events.push(event);
        self
    }

    /// Says what to report when the objects cannot be made as wanted: a pure function from the error to a plan, of which the
    /// objects, the explicit writes, the status and the events are carried out and nothing else.
    pub fn on_error(&mut self, report: impl Fn(&Error) -> Self + Send + Sync + 'static) -> &mut Self {
        self.on_error = Some(OnError(Arc::new(report)));
        self
    }

    /// Says what to report when others changed or deleted objects of this plan: a pure function from what they did to a plan,
    /// of which the objects and the events are carried out and nothing else.
    pub fn on_drift(&mut self, report: impl Fn(&[Drift]) -> Self + Send + Sync + 'static) -> &mut Self {
        self.on_drift = Some(OnDrifts(Arc::new(report)));
        self
    }

    /// What is reported instead of the status when the objects cannot be made as wanted.
    pub fn reported(&self, error: &Error) -> Option<Self> {
        self.on_error.as_ref().map(|report| report.report(error))
    }

    /// Whether nothing is wanted and nothing is to be remembered: the key is forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.apply.is_empty()
            && self.acts.is_empty()
            && self.status.is_empty()
            && self.events.is_empty()
            && self.report.is_empty()
            && self.look_again.is_none()
    }

    /// Asks for a pass at `at` or earlier.
    pub fn look_again_at(&mut self, at: Timestamp) -> &mut Self {
        self.look_again = Some(self.look_again.map_or(at, |earlier| earlier.min(at)));
        self
    }
}

/// What tells how things stand, as the snapshot saw them. It is written only when everything else worked, so that it never says
/// by turns that things are well and, by [`Plan::on_error`], that they are not. A pass that changed something holds it back:
/// the next one follows at once and tells what came of it. Two passes in a row never do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Objects to apply. They are wanted, and not recorded: a report has no life of its own.
    pub apply: Vec<Desired>,
    /// Status patches after them.
    pub status: Vec<StatusPatch>,
    /// Events, when it is written.
    pub events: Vec<Event>,
}

impl Report {
    /// Whether there is nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.status.is_empty() && self.events.is_empty()
    }
}

/// See [`Plan::on_error`].
#[derive(Clone)]
pub struct OnError(Arc<dyn Fn(&Error) -> Plan + Send + Sync>);

impl OnError {
    pub(crate) fn report(&self, error: &Error) -> Plan {
        (self.0)(error)
    }
}

impl std::fmt::Debug for OnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnError")
    }
}

type Reaction = dyn Fn(&[Drift]) -> Plan + Send + Sync;

/// See [`Plan::on_drift`].
#[derive(Clone)]
pub struct OnDrifts(Arc<Reaction>);

impl OnDrifts {
    pub(crate) fn report(&self, drifts: &[Drift]) -> Plan {
        (self.0)(drifts)
    }
}

impl std::fmt::Debug for OnDrifts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDrifts")
    }
}

/// How things stand with a key when its plan is carried out without an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verdict {
    /// As the user wants it.
    #[default]
    Settled,
    /// What could be done is done; the rest waits for this, and its event starts the next pass.
    Waiting {
        /// What is waited for.
        on: Dependency,
        /// Why.
        message: String,
    },
    /// What could be done is done; the user must change something for the rest.
    Invalid {
        /// CamelCase, as in a condition.
        reason: &'static str,
        /// What to change.
        message: String,
    },
}

/// An object that must exist with these fields. It holds only fields that we own; everything else is left to others. What a Secret holds
/// is not printed.
#[derive(Clone)]
pub struct Desired {
    pub(crate) target: ObjectRef,
    pub(crate) body: Value,
    pub(crate) gate: Option<Gate>,
    pub(crate) adopt: Adopt,
    pub(crate) on_immutable: Option<OnImmutable>,
    pub(crate) on_drift: OnDrift,
}

impl std::fmt::Debug for Desired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Desired");
        out.field("target", &self.target);
        if self.target.kind.kind != "Secret" {
            out.field("body", &self.body);
        }
        out.finish_non_exhaustive()
    }
}

impl Desired {
    /// From a typed built-in object. Nulls are dropped: an absent field is one that we do not own.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the object has no name, lacks the namespace that its kind needs, or does not serialise: bugs.
    pub fn of<K>(object: &K) -> Result<Self, Error>
    where
        K: k8s_openapi::Resource + Serialize,
        K::Scope: 'static,
    {
        let body = serde_json::to_value(object).map_err(|e| Error::fatal(format!("{}: {e}", K::KIND)))?;
        Self::raw(Kind::of::<K>(), body)
    }

    /// From JSON. `apiVersion` and `kind` are set from `kind`.
    ///
    /// # Errors
    /// [`Error::Fatal`] for what only a bug can produce: no name, a namespace that does not fit the scope, `generateName`,
    /// `status` or `managedFields`, a Secret's write-only `stringData`, or `ownerReferences` (see [`Desired::owned_by`]).
    pub fn raw(kind: Kind, mut body: Value) -> Result<Self, Error> {
        strip_nulls(&mut body);
        let bug = |what: &str| Error::fatal(format!("bug: a planned {kind} {what}"));
        let Some(object) = body.as_object_mut() else { return Err(bug("is not an object")) };
        object.insert("apiVersion".into(), kind.api_version().into());
        object.insert("kind".into(), kind.kind.as_ref().into());
        if object.remove("status").is_some_and(|s| s.as_object().is_none_or(|s| !s.is_empty())) {
            return Err(bug("carries a status; status is reported by a StatusPatch"));
        }
        if kind.group.is_empty() && kind.kind == "Secret" && object.contains_key("stringData") {
            return Err(bug("carries stringData, which cannot be owned; use data"));
        }
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(bug("has no metadata"));
        };
        for foreign in ["managedFields", "generateName", "resourceVersion", "uid", "creationTimestamp"] {
            if metadata.contains_key(foreign) {
                return Err(bug(&format!("carries metadata.{foreign}")));
            }
        }
        if metadata.contains_key("ownerReferences") {
            return Err(bug("carries ownerReferences; use Desired::owned_by, which knows where the owner lives"));
        }
        let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|n| !n.is_empty()).map(str::to_owned)
        else {
            return Err(bug("has no name"));
        };
        let namespace = metadata.get("namespace").and_then(Value::as_str).map(str::to_owned);
        if namespace.is_some() != kind.namespaced {
            return Err(bug(if kind.namespaced {
                "has no namespace"
            } else {
                "has a namespace but its kind has none"
            }));
        }
        Ok(Self {
            target: ObjectRef { kind, namespace, name },
            body,
            gate: None,
            adopt: Adopt::Never,
            on_immutable: None,
            on_drift: OnDrift::default(),
        })
    }

    /// Names the object.
    pub fn target(&self) -> &ObjectRef {
        &self.target
    }

    /// The fields we want, as JSON.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Makes `owner` the controlling owner: deleting it deletes this object.
    ///
    /// # Errors
    /// [`Error::Fatal`] when a namespaced owner does not live in this object's namespace: the garbage collector treats such
    /// an owner as absent and deletes the dependent.
    pub fn owned_by(mut self, owner: &ObjectRef, uid: &str) -> Result<Self, Error> {
        if owner.namespace.is_some() && owner.namespace != self.target.namespace {
            return Err(Error::fatal(format!("bug: {} cannot be owned by {owner}", self.target)));
        }
        let reference = serde_json::json!({
            "apiVersion": owner.kind.api_version(), "kind": owner.kind.kind, "name": owner.name, "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        });
        self.body["metadata"]["ownerReferences"] = Value::Array(vec![reference]);
        Ok(self)
    }

    /// Makes all of `owners`, each with its uid, owners of it, none of them the controlling one: it goes with the last of them.
    ///
    /// # Errors
    /// As [`Desired::owned_by`].
    pub fn owned_together(mut self, owners: &[(ObjectRef, String)]) -> Result<Self, Error> {
        if let Some((owner, _)) =
            owners.iter().find(|(owner, _)| owner.namespace.is_some() && owner.namespace != self.target.namespace)
        {
            return Err(Error::fatal(format!("bug: {} cannot be owned by {owner}", self.target)));
        }
        let reference = |(owner, uid): &(ObjectRef, String)| {
            serde_json::json!({
                "apiVersion": owner.kind.api_version(), "kind": owner.kind.kind, "name": owner.name, "uid": uid,
            })
        };
        self.body["metadata"]["ownerReferences"] = owners.iter().map(reference).collect();
        Ok(self)
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.body["metadata"]["annotations"][key] = value.into();
        self
    }

    /// Later objects wait until the live object passes `gate`.
    #[must_use]
    pub fn then_wait_for(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// What to do when an object of this name exists that is not ours. The default is to refuse.
    #[must_use]
    pub fn adopt(mut self, adopt: Adopt) -> Self {
        self.adopt = adopt;
        self
    }

    /// Overrides the per-kind rule for changed immutable fields.
    #[must_use]
    pub fn on_immutable(mut self, rule: OnImmutable) -> Self {
        self.on_immutable = Some(rule);
        self
    }

    /// What to do when somebody else changes or deletes the object. The default is to put it right.
    #[must_use]
    pub fn on_drift(mut self, rule: OnDrift) -> Self {
        self.on_drift = rule;
        self
    }
}

/// A test of a live object that later objects of the plan wait for.
#[derive(Clone)]
pub struct Gate {
    pub(crate) describe: &'static str,
    pub(crate) passes: Arc<dyn Fn(&Value) -> bool + Send + Sync>,
}

impl Gate {
    /// A test of one's own; `describe` ends the sentence "waiting for it to …".
    pub fn new(describe: &'static str, passes: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Self {
        Self { describe, passes: Arc::new(passes) }
    }

    /// The condition of this type is `True`.
    pub fn condition(condition: &'static str) -> Self {
        Self::new(condition, move |live| {
            let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == condition && c["status"] == "True"))
        })
    }

    /// A Deployment's or StatefulSet's controller has seen the newest template and all its replicas are updated and ready.
    pub fn rolled_out() -> Self {
        Self::new("roll out", |live| {
            let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
            let want = number("/spec/replicas").unwrap_or(1);
            number("/status/observedGeneration") >= number("/metadata/generation")
                && number("/status/updatedReplicas").unwrap_or(0) >= want
                && number("/status/readyReplicas").unwrap_or(0) >= want
        })
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({})", self.describe)
    }
}

/// Whether an object that is not recorded as ours may be taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// Refuse and report it: the default.
    #[default]
    Never,
    /// Take it over when its `app.kubernetes.io/managed-by` label has this value, such as a predecessor's.
    ManagedBy(String),
    /// Take it over whoever made it, such as the namespace's default ServiceAccount. Only our fields change.
    Always,
}

/// What to do when an immutable field must change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnImmutable {
    /// Leave the field as it is and apply the rest.
    Keep,
    /// Delete the object, its dependents with it, and create it anew.
    Recreate,
    /// Delete the object alone, leaving its dependents (a StatefulSet's pods and claims), and create it anew.
    RecreateOrphaning,
    /// Report it: nothing is written.
    Invalid,
}

/// What the engine may delete for this key. Deletion is only ever by record, never by a sweep over labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prune {
    /// Nothing is ever deleted.
    #[default]
    Nothing,
    /// Whatever the record names and the plan no longer wants. The engine keeps the record: it writes the names down before
    /// it creates anything and removes them after they are gone.
    Recorded(Box<Recorded>),
}

/// See [`Prune::Recorded`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The ConfigMap that holds the record; it may hold several keys' records under different entries. When the plan applies
    /// it too, it is not recorded in itself.
    pub record: ObjectRef,
    /// The entry of this key, a valid ConfigMap key.
    pub entry: String,
    /// More deletions than this in one pass delete nothing and report `TooManyDeletions`.
    pub limit: usize,
    /// What is recorded, not wanted and not deleted all the same, such as data that is retained. It stays recorded.
    pub keep: Vec<ObjectRef>,
    /// Only what carries all these labels is deleted: of a record that others may write this bounds what it can name.
    pub labels: Vec<(String, String)>,
    /// What goes one after the other, each when the one before is gone. The default is empty: the newest first, all at once.
    pub order: Vec<ObjectRef>,
}

impl Prune {
    /// Recorded in a ConfigMap, at most 50 deletions in one pass.
    pub fn recorded_in(namespace: &str, config_map: &str, entry: impl Into<String>) -> Self {
        let record = ObjectRef::of::<ConfigMap>(Some(namespace), config_map);
        let entry = entry.into();
        let (keep, labels, order) = (Vec::new(), Vec::new(), Vec::new());
        Self::Recorded(Box::new(Recorded { record, entry, limit: 50, keep, labels, order }))
    }

    /// Deletes only what carries this label besides those already named.
    #[must_use]
    pub fn only_labelled(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        if let Self::Recorded(recorded) = &mut self {
            recorded.labels.push((key.into(), value.into()));
        }
        self
    }

    /// Deletes at most so many objects in one pass.
    #[must_use]
    pub fn at_most(mut self, limit: usize) -> Self {
        if let Self::Recorded(recorded) = &mut self {
            recorded.limit = limit;
        }
        self
    }

    /// Keeps these though they are recorded and not wanted.
    #[must_use]
    pub fn keeping(mut self, objects: impl IntoIterator<Item = ObjectRef>) -> Self {
        if let Self::Recorded(recorded) = &mut self {
            recorded.keep.extend(objects);
        }
        self
    }

    /// Deletes in this order, each object when the one before is gone; what is not named here goes first.
    #[must_use]
    pub fn in_order(mut self, objects: impl IntoIterator<Item = ObjectRef>) -> Self {
        if let Self::Recorded(recorded) = &mut self {
            recorded.order.extend(objects);
        }
        self
    }

    /// Reads a record as the engine writes it: objects in the order in which they were recorded, each with its uid, which is
    /// empty while nobody saw it exist. `None` for anything else.
    pub fn read_record(text: &str) -> Option<Vec<(ObjectRef, String)>> {
        crate::execute::read_record(text)
    }
}

/// A merge patch of an object's `status`. No request is sent when the live status already says so.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusPatch {
    /// The object; its kind must have a status subresource.
    pub target: ObjectRef,
    /// The content below `status`, by the rules of RFC 7396: null removes, lists are replaced.
    pub status: Value,
}

/// A record for the audit trail, handed to the context's sink before the pass's first write.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// What is about to be done, CamelCase.
    pub action: String,
    /// To what.
    pub subject: ObjectRef,
    /// Further facts.
    pub details: Value,
}

/// Removes nulls below objects, and `null` members of lists stay: a list's length is meaning.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_secret_holds_is_not_printed() {
        let body = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"password": "aHVudGVyMg=="}});
        let printed = format!("{:?}", Desired::raw(Kind::of::<Secret>(), body).unwrap());
        assert!(printed.contains("\"s\"") && !printed.contains("aHVudGVy"), "{printed}");
    }
}
