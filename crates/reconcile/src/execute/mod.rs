//! Carries a plan out: the one implementation for all controllers. May touch the API server through the context's client.
//!
//! Order: audit records before the first write; the inventory's intention; objects in the plan's order; deletions; the
//! inventory's result; explicit writes; the report; status; events. Every step but the explicit writes compares first and
//! sends nothing when nothing would change. A pass that changed something leaves the inventory's result and the report to
//! the next one.

mod act;
mod drifted;
mod event;
mod immutable;
pub(crate) mod owned;
mod prune;
mod takeover;
mod tell;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

pub use event::Said;
pub(crate) use event::Told;
pub(crate) use prune::parse as read_record;

use crate::cache::Known;
use crate::context::Context;
use crate::drift::{Drift, Drifted, OnDrift};
use crate::error::{self, Dependency, Error};
use crate::object::{self, Kind, ObjectRef};
use crate::plan::{Adopt, Desired, Event, OnImmutable, Plan, Report, StatusPatch};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A resource version that no object has: etcd's first revision is that of the empty store. An apply that carries it makes
/// what does not exist, and is a conflict (409) with everything that does.
const NO_OBJECTS_VERSION: &str = "1";

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Objects applied.
    pub applied: usize,
    /// Objects that were already as wanted: nothing was sent.
    pub skipped: usize,
    /// Objects made by an explicit write.
    pub created: usize,
    /// Objects changed by an explicit write.
    pub updated: usize,
    /// Objects deleted.
    pub deleted: usize,
    /// Status patches sent.
    pub status: usize,
    /// Events written.
    pub events: usize,
}

impl Writes {
    /// Requests that changed the world, events included.
    pub fn total(&self) -> usize {
        self.applied + self.created + self.updated + self.deleted + self.status + self.events
    }
}

/// Carries out `plan`. When objects cannot be applied, the plan's `on_error` says what to report instead.
pub(crate) async fn execute(
    cx: &Context,
    controller: &str,
    plan: &Plan,
    said: &mut Said,
) -> (Writes, Result<(), Error>) {
    let mut pass = Pass {
        cx,
        controller,
        plan,
        said,
        drifts: Vec::new(),
        audited: false,
        unsaved: false,
        bookkeeping: 0,
        writes: Writes::default(),
    };
    let mut result = pass.objects().await;
    if result.is_ok() {
        result = pass.acts(&plan.acts).await;
    }
    let held_back = result.is_ok() && (pass.unsaved || !plan.report.is_empty()) && pass.holds_back();
    pass.said.held_back(held_back);
    let mut reported = &Report::default();
    if result.is_ok() && !held_back {
        reported = &plan.report;
        result = pass.report(reported).await;
    }
    let fallback = match (&result, &plan.on_error) {
        // Nothing can be reported into a namespace that is ending, and nobody there wants to know.
        (Err(error), _) if namespace_is_ending(error) => None,
        (Err(error), Some(on_error)) => Some(on_error.report(error)),
        _ => None,
    };
    let drifted = pass.report_drift().await;
    let (status, events) = match (&result, &fallback) {
        (_, Some(instead)) => {
            for desired in &instead.apply {
                if let Err(error) = pass.apply(desired).await {
                    tracing::warn!(controller, %error, "the failure could not be reported");
                }
            }
            if let Err(error) = pass.acts(&instead.acts).await {
                tracing::warn!(controller, %error, "the failure could not be reported");
            }
            (&instead.status[..], &instead.events[..])
        }
        (Ok(()), None) => (&plan.status[..], &plan.events[..]),
        (Err(_), None) => (&[][..], &[][..]),
    };
    for patch in status {
        let reported = pass.status(patch).await;
        result = result.and(reported);
    }
    if result.is_ok() || fallback.is_some() || !drifted.is_empty() {
        let changed = pass.writes.total() > pass.bookkeeping;
        let events = [events, &reported.events, &drifted].concat();
        let chosen: Vec<&Event> = pass.said.choose(&events, changed);
        for event in chosen {
            pass.event(event).await;
        }
    }
    if result.is_ok() {
        pass.said.retain(plan.apply.iter().chain(&plan.report.apply).map(Desired::target));
    }
    (pass.writes, result)
}

/// Whether this answer to an apply with [`NO_OBJECTS_VERSION`] says nothing against the object: one is there, or the server makes
/// nothing that carries a version, as kube-apiserver 1.20 with Services ("resourceVersion should not be set on objects to be created").
fn is_to_be_looked_at(status: &kube::core::Status) -> bool {
    status.code == 409 || status.message.contains("resourceVersion")
}

fn namespace_is_ending(error: &Error) -> bool {
    let Error::Waiting { on, .. } = error else { return false };
    matches!(&**on, Dependency::Object(on) if on.kind == Kind::of::<Namespace>())
}

struct Pass<'a> {
    cx: &'a Context,
    controller: &'a str,
    plan: &'a Plan,
    said: &'a mut Said,
    drifts: Vec<Drift>,
    audited: bool,
    /// Whether the inventory's result has yet to be written down.
    unsaved: bool,
    /// Writes that only keep the inventory.
    bookkeeping: usize,
    writes: Writes,
}

impl Pass<'_> {
    async fn objects(&mut self) -> Result<(), Error> {
        let mut record = prune::Record::open(self.cx, &self.plan.prune).await?;
        if let Some(record) = &mut record {
            record.intend(self, &self.plan.apply).await?;
            record.wants(&self.plan.report.apply);
        }
        let mut held = Ok(());
        for desired in &self.plan.apply {
            let seen = record.as_ref().and_then(|record| record.seen(desired.target()));
            let Some(live) = self.keep_or_apply(desired, seen).await? else { continue };
            if let Some(record) = &mut record {
                record.confirm(desired.target(), object::uid(&live));
            }
            if let Some(gate) = &desired.gate
                && !(gate.passes)(&live)
            {
                let on = Dependency::Object(desired.target().clone());
                held = Err(Error::waiting(on, format!("{} has yet to {}", desired.target(), gate.describe)));
                break;
            }
        }
        // What nobody wants any more goes also while a gate is closed: what waits behind it is wanted.
        match record {
            Some(record) => record.prune(self).await.and(held),
            None => held,
        }
    }

    /// Whether what tells how things stand is left to the next pass.
    fn holds_back(&self) -> bool {
        self.writes.total() > 0 && self.said.may_hold_back()
    }

    async fn report(&mut self, report: &Report) -> Result<(), Error> {
        for desired in &report.apply {
            self.apply(desired).await?;
        }
        for patch in &report.status {
            self.status(patch).await?;
        }
        Ok(())
    }

    /// Audit records come before the first write, and only when there is a write.
    async fn about_to_write(&mut self) -> Result<(), Error> {
        if !self.audited {
            for record in &self.plan.audit {
                self.cx.audit.record(record).await?;
            }
            self.audited = true;
        }
        Ok(())
    }

    /// Makes one object as wanted, and returns it as it is then; `None` when others deleted it and the plan lets them.
    /// `seen`: the uid that it had in an earlier pass.
    async fn keep_or_apply(&mut self, desired: &Desired, seen: Option<&str>) -> Result<Option<Arc<Value>>, Error> {
        let target = desired.target();
        let known = self.cx.caches.get(target);
        if let Some(uid) = seen
            && !matches!(known, Known::Present(_))
            && self.live(target).await?.is_none()
        {
            let reverted = desired.on_drift == OnDrift::Revert;
            let (target, uid) = (target.clone(), uid.to_owned());
            self.drifts.push(Drift { target, uid, what: Drifted::Deleted, reverted });
            if !reverted {
                return Ok(None);
            }
        }
        self.apply_over(desired, known).await.map(Some)
    }

    /// Makes one object as wanted, and returns it as it is then.
    async fn apply(&mut self, desired: &Desired) -> Result<Arc<Value>, Error> {
        let known = self.cx.caches.get(desired.target());
        self.apply_over(desired, known).await
    }

    /// The same, where this is what the caches know of it.
    async fn apply_over(&mut self, desired: &Desired, known: Known) -> Result<Arc<Value>, Error> {
        let cx = self.cx;
        let identity = &cx.identity;
        let target = desired.target();
        let mut body = desired.body.clone();
        stamp(&mut body, &identity.managed_by, target)?;
        let whole = body.clone();
        let mut exists = false;
        let live = match known {
            Known::Present(live) => Some(live),
            Known::NotServed => cx.get(target).await?,
            Known::Absent | Known::Unknown => match self.create(target, &body).await? {
                Some(made) => return Ok(made),
                None => cx.get_live(target).await?,
            },
        };
        if let Some(live) = live {
            if object::is_terminating(&live) {
                return Err(Error::waiting(Dependency::Object(target.clone()), format!("{target} is being deleted")));
            }
            self.may_take(desired, &live)?;
            if matches!(desired.adopt, Adopt::ManagedBy(_)) && !self.is_ours(&live) {
                self.take_over(target, takeover::managed_fields).await?;
            }
            if let Some((fields, rule)) = immutable::changed(&target.kind, &body, &live, &identity.field_manager) {
                let frozen = immutable::is_frozen(&whole, &live);
                if frozen {
                    self.frozen(desired).await?;
                }
                match desired.on_immutable.unwrap_or(rule) {
                    _ if frozen && desired.on_drift == OnDrift::Report => immutable::leave_out(&mut body, &fields),
                    OnImmutable::Keep => immutable::leave_out(&mut body, &fields),
                    OnImmutable::Invalid => {
                        let what = format!("{target}: {} cannot change", fields.join(", "));
                        return Err(Error::invalid("ImmutableField", what));
                    }
                    OnImmutable::Recreate => self.replace(target, &live, PropagationPolicy::Background).await?,
                    OnImmutable::RecreateOrphaning => self.replace(target, &live, PropagationPolicy::Orphan).await?,
                }
            }
            let mut holds = owned::holds(&body, &live, &identity.field_manager);
            exists = true;
            if !holds
                && owned::applied_by(&live, &identity.field_manager)
                && !takeover::is_half_done(&live, &identity.field_manager)
            {
                self.drift(desired, &whole, &mut body).await?;
                holds = owned::holds(&body, &live, &identity.field_manager);
            }
            if holds {
                self.count("skipped");
                self.writes.skipped += 1;
                self.said.is_wanted_so(target, &whole);
                return Ok(live);
            }
        }
        self.about_to_write().await?;
        let api = target.kind.api(cx.client.clone(), target.namespace.as_deref());
        let params = PatchParams::apply(&identity.field_manager).force().validation_strict();
        let mut answer = api.patch(&target.name, &params, &Patch::Apply(&body)).await;
        // What others put there may not go with what we want.
        let may_be_theirs = exists
            && desired.adopt != Adopt::Always
            && desired.on_drift == OnDrift::Revert
            && self.said.wanted_so(target, &whole) != Some(false);
        if may_be_theirs
            && matches!(&answer, Err(kube::Error::Api(status)) if status.code == 422)
            && self.take_over(target, takeover::others_fields).await?
        {
            answer = api.patch(&target.name, &params, &Patch::Apply(&body)).await;
        }
        let answer = answer.map_err(|e| Error::from_kube(&e, target))?;
        self.applied(target, &whole, &answer)
    }

    /// Makes an object that is most likely new, without a look at what may be there: the request holds for no object that
    /// exists, whoever made it. `None` when it has to be looked at.
    async fn create(&mut self, target: &ObjectRef, body: &Value) -> Result<Option<Arc<Value>>, Error> {
        if !self.cx.caches.would_hold(target, |key| object::label(body, key)) || self.said.is_taken(target) {
            return Ok(None);
        }
        self.about_to_write().await?;
        let mut first = body.clone();
        first["metadata"]["resourceVersion"] = NO_OBJECTS_VERSION.into();
        let api = target.kind.api(self.cx.client.clone(), target.namespace.as_deref());
        let params = PatchParams::apply(&self.cx.identity.field_manager).force().validation_strict();
        match api.patch(&target.name, &params, &Patch::Apply(&first)).await {
            Ok(answer) => self.applied(target, body, &answer).map(Some),
            Err(kube::Error::Api(status)) if is_to_be_looked_at(&status) => {
                self.said.takes(target);
                Ok(None)
            }
            Err(error) => Err(Error::from_kube(&error, target)),
        }
    }

    /// An object was applied as `whole`.
    fn applied(&mut self, target: &ObjectRef, whole: &Value, answer: &DynamicObject) -> Result<Arc<Value>, Error> {
        self.count("applied");
        self.writes.applied += 1;
        tracing::debug!(controller = self.controller, %target, "applied");
        self.said.is_wanted_so(target, whole);
        self.noted(target, answer)
    }

    /// Makes others' record of `spec` ours, so that the apply that follows leaves nothing of it. Returns whether there was any.
    async fn take_over(
        &mut self,
        target: &ObjectRef,
        entries: fn(&Value, &str) -> Option<Vec<Value>>,
    ) -> Result<bool, Error> {
        let Some(read) = self.read_whole(target).await? else { return Ok(false) };
        let Some(entries) = entries(&read, &self.cx.identity.field_manager) else { return Ok(false) };
        self.about_to_write().await?;
        let metadata = json!({
            "managedFields": entries, "resourceVersion": read["metadata"]["resourceVersion"], "uid": object::uid(&read),
        });
        let api = target.kind.api(self.cx.client.clone(), target.namespace.as_deref());
        let manager = Some(self.cx.identity.field_manager.clone());
        let params = PatchParams { field_manager: manager, ..Default::default() }.validation_strict();
        let patched = api.patch(&target.name, &params, &Patch::Merge(&json!({"metadata": metadata}))).await;
        patched.map_err(|e| Error::from_kube(&e, target))?;
        self.count("applied");
        self.writes.applied += 1;
        tracing::info!(controller = self.controller, %target, "taken over");
        Ok(true)
    }

    /// The live object: from a cache that has it, else from the API server. A cache's word that an object is absent is not
    /// enough to apply over whatever may be there.
    async fn live(&self, target: &ObjectRef) -> Result<Option<Arc<Value>>, Error> {
        match self.cx.caches.get(target) {
            Known::Present(object) => Ok(Some(object)),
            Known::NotServed => self.cx.get(target).await,
            Known::Absent | Known::Unknown => self.cx.get_live(target).await,
        }
    }

    fn is_ours(&self, live: &Value) -> bool {
        let identity = &self.cx.identity;
        object::label(live, MANAGED_BY) == Some(&identity.managed_by)
            || owned::applied_by(live, &identity.field_manager)
    }

    fn may_take(&self, desired: &Desired, live: &Value) -> Result<(), Error> {
        let owner = object::label(live, MANAGED_BY);
        let adopted = match &desired.adopt {
            Adopt::Always => true,
            Adopt::ManagedBy(predecessor) => owner == Some(predecessor),
            Adopt::Never => false,
        };
        if adopted || self.is_ours(live) {
            return Ok(());
        }
        let whose = owner.map_or_else(|| "nobody we know".to_owned(), |owner| format!("{owner:?}"));
        let target = desired.target();
        Err(Error::invalid("NotOurs", format!("{target} exists and is managed by {whose}; it is left alone")))
    }

    /// Deletes an object that is to be made anew. When something still holds it, its end starts the next pass.
    async fn replace(&mut self, target: &ObjectRef, live: &Value, how: PropagationPolicy) -> Result<(), Error> {
        self.delete(target, object::uid(live), how).await?;
        match self.cx.get_live(target).await? {
            None => Ok(()),
            Some(_) => {
                let what = format!("{target} is deleted to be made anew");
                Err(Error::waiting(Dependency::Object(target.clone()), what))
            }
        }
    }

    /// Deletes exactly this object: a namesake made meanwhile stays.
    async fn delete(&mut self, target: &ObjectRef, uid: &str, how: PropagationPolicy) -> Result<(), Error> {
        self.about_to_write().await?;
        let api = target.kind.api(self.cx.client.clone(), target.namespace.as_deref());
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params =
            DeleteParams { propagation_policy: Some(how), preconditions: Some(preconditions), ..Default::default() };
        match api.delete(&target.name, &params).await {
            Ok(answer) => {
                self.count("deleted");
                self.writes.deleted += 1;
                tracing::info!(controller = self.controller, %target, "deleted");
                match answer.left() {
                    Some(lingering) if lingering.metadata.deletion_timestamp.is_some() => {
                        self.noted(target, &lingering)?;
                    }
                    _ => self.cx.note_deleted(target, uid),
                }
                Ok(())
            }
            Err(error) if error::is_absent(&error) => {
                self.cx.note_deleted(target, uid);
                Ok(())
            }
            Err(error) => Err(Error::from_kube(&error, target)),
        }
    }

    async fn status(&mut self, patch: &StatusPatch) -> Result<(), Error> {
        let target = &patch.target;
        let Some(live) = self.cx.get(target).await? else { return Ok(()) };
        let current = live.get("status").cloned().unwrap_or(Value::Null);
        let mut wanted = if current.is_object() { current.clone() } else { json!({}) };
        merge(&mut wanted, &patch.status, MERGE_DEPTH);
        if wanted == current || (current.is_null() && wanted == json!({})) {
            return Ok(());
        }
        self.about_to_write().await?;
        let api = target.kind.api(self.cx.client.clone(), target.namespace.as_deref());
        // Not strict: of a status that an older CustomResourceDefinition does not know whole, the rest is told all the same.
        let params = PatchParams { field_manager: Some(self.cx.identity.field_manager.clone()), ..Default::default() };
        let body = json!({"status": patch.status});
        match api.patch_status(&target.name, &params, &Patch::Merge(&body)).await {
            Ok(answer) => {
                self.count("status");
                self.writes.status += 1;
                self.noted(target, &answer).map(drop)
            }
            Err(error) if error::is_absent(&error) => Ok(()),
            Err(error) => Err(Error::from_kube(&error, target)),
        }
    }

    /// Lays a write's answer over the caches.
    fn noted(&self, target: &ObjectRef, answer: &DynamicObject) -> Result<Arc<Value>, Error> {
        let object = Arc::new(self.cx.slimmed(answer, target)?);
        self.cx.note_written(target, &object);
        Ok(object)
    }

    fn count(&self, write: &str) {
        self.cx.metrics.write(self.controller, write);
    }
}

/// Everything we apply says who manages it.
fn stamp(body: &mut Value, managed_by: &str, target: &ObjectRef) -> Result<(), Error> {
    match object::label(body, MANAGED_BY) {
        Some(stated) if stated != managed_by => {
            return Err(Error::fatal(format!("bug: {target} is planned with {MANAGED_BY}={stated}")));
        }
        Some(_) => {}
        None => body["metadata"]["labels"][MANAGED_BY] = managed_by.into(),
    }
    Ok(())
}

const MERGE_DEPTH: usize = 64;

/// RFC 7396. Below `depth` levels the patch replaces.
fn merge(target: &mut Value, patch: &Value, depth: usize) {
    match (patch, depth.checked_sub(1)) {
        (Value::Object(patch), Some(depth)) => {
            if !target.is_object() {
                *target = json!({});
            }
            let Value::Object(target) = target else { return };
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value, depth);
                }
            }
        }
        _ => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_follows_rfc_7396() {
        let mut status = json!({"a": 1, "b": {"c": 2, "d": 3}, "l": [1]});
        merge(&mut status, &json!({"b": {"c": null, "e": {"f": null}}, "l": [2]}), MERGE_DEPTH);
        assert_eq!(status, json!({"a": 1, "b": {"d": 3, "e": {}}, "l": [2]}));
    }

    #[test]
    fn object_is_looked_at_when_the_server_makes_nothing_that_carries_a_version() {
        let answer = |code, message| kube::core::Status::failure(message, "").with_code(code);
        let refused = answer(500, "resourceVersion should not be set on objects to be created");
        let broken = answer(500, "etcdserver: request timed out");
        assert_eq!([is_to_be_looked_at(&refused), is_to_be_looked_at(&broken)], [true, false]);
    }

    #[test]
    fn planned_object_of_another_manager_is_a_bug() {
        let target = ObjectRef::of::<k8s_openapi::api::core::v1::Secret>(Some("n"), "a");
        let mut body = json!({"metadata": {"labels": {MANAGED_BY: "helm"}}});
        assert_eq!(stamp(&mut body, "paddock", &target).map_err(|e| e.class()), Err("fatal"));
    }
}
