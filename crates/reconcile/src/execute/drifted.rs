//! What others did to what we own: found, told, and by the plan's word left or put right. May touch the API server.

use serde_json::Value;

use super::Pass;
use crate::drift::{self, Drift, Drifted, OnDrift};
use crate::error::{self, Error};
use crate::object::{self, ObjectRef};
use crate::plan::{Desired, Event};

impl Pass<'_> {
    /// What others did to our objects: counted, and handed to the plan's own report. Returns the events that it wants.
    pub(super) async fn report_drift(&mut self) -> Vec<Event> {
        let drifts = std::mem::take(&mut self.drifts);
        let news = self.said.news(&drifts);
        if drifts.is_empty() {
            return Vec::new();
        }
        for drift in &drifts {
            tracing::info!(controller = self.controller, %drift, "drift");
        }
        self.cx.metrics.drift(self.controller, news);
        let Some(on_drift) = &self.plan.on_drift else { return Vec::new() };
        let report = on_drift.report(&drifts);
        for desired in &report.apply {
            if let Err(error) = self.apply(desired).await {
                tracing::warn!(controller = self.controller, %error, "drift could not be reported");
            }
        }
        report.events
    }

    /// The object from the API server, with everything that caches leave out.
    pub(super) async fn read_whole(&self, target: &ObjectRef) -> Result<Option<Value>, Error> {
        let api = target.kind.api(self.cx.client.clone(), target.namespace.as_deref());
        match api.get(&target.name).await {
            Ok(read) => serde_json::to_value(read).map(Some).map_err(|e| Error::transient(format!("{target}: {e}"))),
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(Error::from_kube(&error, target)),
        }
    }

    /// Finds out what others changed of an object that is not as we applied it, and takes it out of `body` when the plan lets
    /// them. Reads the object from the API server, for the caches do not hold who owns what.
    pub(super) async fn drift(&mut self, desired: &Desired, whole: &Value, body: &mut Value) -> Result<(), Error> {
        let target = desired.target();
        let wanted_so = self.said.wanted_so(target, whole);
        if wanted_so == Some(false) && desired.on_drift == OnDrift::Revert {
            return Ok(());
        }
        let Some(read) = self.read_whole(target).await? else { return Ok(()) };
        let mut found = drift::find(whole, &read, &self.cx.identity.field_manager);
        // Whether a missing field was taken away or is new in the plan only a process knows that saw it before.
        if wanted_so != Some(true) {
            found.retain(drift::Found::is_taken);
        }
        if found.is_empty() {
            return Ok(());
        }
        let reverted = desired.on_drift == OnDrift::Revert;
        if !reverted {
            drift::leave(body, &found);
        }
        let uid = object::uid(&read).to_owned();
        let what = Drifted::Changed(found.into_iter().map(|found| found.change).collect());
        self.drifts.push(Drift { target: target.clone(), uid, what, reverted });
        Ok(())
    }

    /// Somebody made the object unchangeable, which nothing but another object takes back: told as what others did to it.
    pub(super) async fn frozen(&mut self, desired: &Desired) -> Result<(), Error> {
        let target = desired.target();
        let Some(read) = self.read_whole(target).await? else { return Ok(()) };
        let what = Drifted::Changed(vec![drift::frozen(&read)]);
        let (uid, reverted) = (object::uid(&read).to_owned(), desired.on_drift == OnDrift::Revert);
        self.drifts.push(Drift { target: target.clone(), uid, what, reverted });
        Ok(())
    }
}
