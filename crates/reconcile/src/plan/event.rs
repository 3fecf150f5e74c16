//! Events that a plan says. Touches nothing.

use crate::object::ObjectRef;

/// Severity of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Normal.
    Normal,
    /// Warning.
    Warning,
}

/// When an [`Event`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Only in a pass that wrote an object or a status: a settled world has no events. This survives restarts.
    #[default]
    Changed,
    /// Whenever the plan says it and the pass before (of this process) did not.
    Planned,
}

/// An event about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What it is about. The event lives in its namespace, or in `default` for cluster-scoped objects.
    pub regarding: ObjectRef,
    /// Its uid when known, so that `kubectl describe` finds the event.
    pub uid: Option<String>,
    /// The state of the object that it is about, when known.
    pub resource_version: Option<String>,
    /// Normal or warning.
    pub severity: Severity,
    /// CamelCase: why.
    pub reason: String,
    /// CamelCase: what was done.
    pub action: String,
    /// The sentence for people; cut at 1024 bytes.
    pub note: String,
    /// When it is written.
    pub when: When,
}

impl Event {
    /// A normal event, written in passes that change something.
    pub fn normal(regarding: ObjectRef, reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            regarding,
            uid: None,
            resource_version: None,
            severity: Severity::Normal,
            reason: reason.into(),
            action: "Reconcile".into(),
            note: note.into(),
            when: When::Changed,
        }
    }

    /// A warning, written when the pass before did not say it.
    pub fn warning(regarding: ObjectRef, reason: impl Into<String>, note: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, when: When::Planned, ..Self::normal(regarding, reason, note) }
    }
}
