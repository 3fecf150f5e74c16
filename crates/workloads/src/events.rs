//! Events in the words of kube-controller-manager. Pure.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Act, Event, Kind, Outcome};
use serde_json::Value;

use crate::names::{name, namespace};

/// What events are about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    event: Event,
}

impl About {
    pub(crate) fn new<K>(object: &K) -> Self
    where
        K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
        K::Scope: 'static,
    {
        let meta = object.metadata();
        let mut event = Event::normal(Kind::of::<K>().named(Some(namespace(meta)), name(meta)), "", "");
        event.uid.clone_from(&meta.uid);
        event.resource_version.clone_from(&meta.resource_version);
        Self { event }
    }

    pub(crate) fn normal(&self, reason: &str, note: impl Into<String>) -> Event {
        Event { reason: reason.to_owned(), note: note.into(), ..self.event.clone() }
    }

    pub(crate) fn warning(&self, reason: &str, note: impl Into<String>) -> Event {
        let Event { severity, when, .. } = Event::warning(self.event.regarding.clone(), "", "");
        Event { severity, when, ..self.normal(reason, note) }
    }

    /// A creation that is told: `SuccessfulCreate` or `FailedCreate`. `what` is the kind in lower case, such as `pod`.
    pub(crate) fn creation(&self, what: &'static str, act: Act) -> Act {
        let about = self.clone();
        act.reporting(move |outcome| {
            Some(match outcome {
                Outcome::Done(made) => {
                    let name = made.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                    about.normal("SuccessfulCreate", format!("Created {what}: {name}"))
                }
                Outcome::Failed(why) => about.warning("FailedCreate", format!("Error creating: {why}")),
            })
        })
    }

    /// A deletion that is told: `SuccessfulDelete` or `FailedDelete`.
    pub(crate) fn deletion(&self, what: &'static str, act: Act) -> Act {
        let (about, name) = (self.clone(), act.target().name.clone());
        act.reporting(move |outcome| {
            Some(match outcome {
                Outcome::Done(_) => about.normal("SuccessfulDelete", format!("Deleted {what}: {name}")),
                Outcome::Failed(why) => about.warning("FailedDelete", format!("Error deleting: {why}")),
            })
        })
    }
}
