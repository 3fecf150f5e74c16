//! The request log: every request to a resource, in the order in which they were answered. Bounded; for tests to assert on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::request::Verb;

/// How many requests are remembered; the oldest go first.
const CAPACITY: usize = 100_000;

/// One answered request to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was asked.
    pub verb: Verb,
    /// API group, empty for core.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Subresource, empty for the object itself.
    pub subresource: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Object name, empty for a collection.
    pub name: String,
    /// Name of the user who asked.
    pub user: String,
    /// `fieldManager`, empty when none was given.
    pub field_manager: String,
    /// HTTP code of the answer; 0 when a fault dropped it.
    pub code: u16,
    /// The request asked for a dry run.
    pub dry_run: bool,
}

impl Entry {
    /// Whether the request changed or would have changed something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// The log. Cloning shares it. Off unless switched on: a long-running server pays nothing for it.
#[derive(Clone, Debug, Default)]
pub struct Log(Option<Arc<Mutex<VecDeque<Entry>>>>);

impl Log {
    /// A log that remembers.
    pub fn on() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn push(&self, entry: impl FnOnce() -> Entry) {
        if let Some(entries) = &self.0 {
            let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() == CAPACITY {
                entries.pop_front();
            }
            entries.push_back(entry());
        }
    }

    /// What was asked since the last [`Log::clear`].
    pub fn entries(&self) -> Vec<Entry> {
        self.0
            .as_ref()
            .map(|e| e.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The writes among them.
    pub fn writes(&self) -> Vec<Entry> {
        self.entries().into_iter().filter(Entry::is_write).collect()
    }

    /// Forgets everything so far.
    pub fn clear(&self) {
        if let Some(entries) = &self.0 {
            entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}
