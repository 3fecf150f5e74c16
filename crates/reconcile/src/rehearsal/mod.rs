//! What a controller would do, without doing it: the very same passes, over a client that turns every write into a dry run.
//!
//! Reads see what the writes would have left, so that a plan which needs several passes (an owner first, then what it
//! owns) is followed to its end. Without a server the same is done against objects that were given, or against nothing.
//! May read the API server and send it dry runs.

mod desk;
mod place;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::clock::Clock;
use crate::context::{Context, Identity};
use crate::controller::{Change, Controller};
use crate::error::Error;
use crate::execute::Said;
use crate::object;
use crate::pass::run_pass;
use crate::plan::Verdict;
use crate::watch::Watch;
use desk::Desk;

/// One object that a controller would write. Debug output names it and holds nothing of it: it may be a Secret.
#[derive(Clone, PartialEq)]
pub struct Foreseen {
    /// As it is; `None` when it does not exist.
    pub before: Option<Value>,
    /// As it would be; `None` when it would be deleted.
    pub after: Option<Value>,
}

impl fmt::Debug for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.after.as_ref().or(self.before.as_ref()).unwrap_or(&Value::Null);
        let text = |pointer| object::text(object, pointer);
        let name = format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        f.debug_tuple("Foreseen").field(&name).finish()
    }
}

/// What the passes of one key would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsed {
    /// Every object that would be written, in the order of the first write.
    pub objects: Vec<Foreseen>,
    /// The notes of the events that would be written.
    pub notes: Vec<String>,
    /// How things would stand then, or what went wrong.
    pub result: Result<Verdict, Error>,
}

/// A controller that rehearses.
#[derive(Debug)]
pub struct Rehearsal<C> {
    controller: C,
    cx: Context,
    desk: Arc<Desk>,
}

/// More passes than this are no convergence.
const PASSES: usize = 8;

impl<C: Controller> Rehearsal<C> {
    /// Against a cluster: reads and dry runs.
    pub fn against(client: kube::Client, identity: Identity, controller: C) -> Self {
        Self::on(Desk::over(client), identity, controller)
    }

    /// Against nothing but what [`Rehearsal::assume`] puts there. `version` is the version that the cluster would have.
    pub fn offline(version: Option<String>, identity: Identity, controller: C) -> Self {
        Self::on(Desk::empty(version), identity, controller)
    }

    fn on(desk: Desk, identity: Identity, controller: C) -> Self {
        let desk = Arc::new(desk);
        let cx = Context::new(Arc::clone(&desk).client(), identity);
        Self { controller, cx, desk }
    }

    /// Replaces the clock; tests give a manual one.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { cx: self.cx.with_clock(clock), ..self }
    }

    /// The controller, with the memory it has gathered.
    pub fn controller(&self) -> &C {
        &self.controller
    }

    /// Reads see this object from now on, in the place of what the cluster has. `plural` is its kind's name in URLs.
    ///
    /// # Errors
    /// Says what is missing when the object does not tell where it belongs.
    pub fn assume(&self, plural: &str, object: Value) -> Result<(), String> {
        self.desk.assume(plural, object)
    }

    /// Lists what the controller's sources select, once each, and returns the keys concerned.
    ///
    /// # Errors
    /// When a source cannot be listed. A kind that is not served is empty.
    pub async fn gather(&self) -> Result<BTreeSet<C::Key>, Error> {
        let mut keys = BTreeSet::new();
        let mut held = HashSet::new();
        for source in self.controller.sources() {
            // Nobody listens here.
            let watch = Watch::new(source.selection.clone());
            let cache = &watch.cache;
            match source.list(&self.cx).await {
                Ok(listed) => {
                    cache.begin_list();
                    for object in listed {
                        keys.extend(source.keys_of(&Change { before: None, after: Some(&object) }));
                        cache.list_item(object);
                    }
                    cache.take_list();
                }
                Err(Error::Waiting { .. }) => cache.mark_missing(),
                Err(error) => return Err(error),
            }
            if held.insert(source.selection) {
                self.cx.caches.add(Arc::new(watch));
            }
        }
        Ok(keys)
    }

    /// Follows the passes of one key to their end.
    pub async fn rehearse(&self, key: &C::Key) -> Rehearsed {
        self.desk.begin();
        let mut said = Said::default();
        let mut result = Ok(Verdict::Settled);
        for _ in 0..PASSES {
            let before = self.desk.changes();
            result = run_pass(&self.controller, &self.cx, key, &mut said).await.result;
            if self.desk.changes() == before {
                break;
            }
        }
        let (objects, notes) = self.desk.end();
        Rehearsed { objects, notes, result }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secret_that_would_be_written_is_not_printed() {
        let secret = json!({
            "kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, "data": {"key": "aGlkZGVu"},
        });
        let foreseen = Foreseen { before: Some(secret.clone()), after: Some(secret) };
        assert_eq!(format!("{foreseen:?}"), r#"Foreseen("Secret n/a")"#);
    }
}
