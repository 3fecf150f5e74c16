//! Writes Events. May touch the API server.

use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::Value;

use super::{Pass, event};
use crate::error::{self, Error};
use crate::object;
use crate::plan::Event;

impl Pass<'_> {
    /// An event that cannot be written fails nothing: it is a courtesy.
    pub(super) async fn event(&mut self, event: &Event) {
        let now = self.cx.clock().now();
        let mut body = event::object(event, &self.cx.identity, now, self.cx.chance().unit());
        let namespace = object::text(&body, "/metadata/namespace").to_owned();
        let api = event::kind(&self.cx.identity).api(self.cx.client.clone(), Some(&namespace));
        let failed = |error: kube::Error| Error::from_kube(&error, &event.regarding);
        if let Some(patch) = self.cx.told.repeat(&mut body, now) {
            let manager = Some(self.cx.identity.field_manager.clone());
            let params = PatchParams { field_manager: manager, ..Default::default() }.validation_strict();
            match api.patch(object::text(&body, "/metadata/name"), &params, &Patch::Merge(patch)).await {
                // It is gone, as events go after a while: written again, with its count.
                Err(error) if error::is_absent(&error) => {}
                answer => return self.wrote_event(event, &body, now, answer.map(drop).map_err(failed)),
            }
        }
        let params = PostParams { field_manager: Some(self.cx.identity.field_manager.clone()), ..Default::default() };
        let created = match serde_json::from_value::<DynamicObject>(body.clone()) {
            Ok(object) => api.create(&params, &object).await.map(drop).map_err(failed),
            Err(error) => Err(Error::transient(error.to_string())),
        };
        self.wrote_event(event, &body, now, created);
    }

    fn wrote_event(&mut self, event: &Event, body: &Value, now: Timestamp, written: Result<(), Error>) {
        match written {
            Ok(()) => {
                self.cx.told.wrote(body, now);
                self.count("event");
                self.writes.events += 1;
            }
            Err(error) => {
                tracing::debug!(controller = self.controller, %error, reason = event.reason, "event not written");
            }
        }
    }
}
