//! Readiness that tells the truth. Written by the runtime, read by the health endpoint. Touches nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Readiness of everything a runtime does. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, State>>>);

/// How one part stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Ready,
    /// It works as far as it can; this is missing and is looked for. Does not make the process unready: a kind that is not
    /// installed must not stop what needs it not.
    Waiting(String),
    /// It does not work, and why: the first list is not complete, the API server is unreachable or refuses.
    NotReady(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ok"),
            Self::Waiting(why) => write!(f, "waiting: {why}"),
            Self::NotReady(why) => write!(f, "not ready: {why}"),
        }
    }
}

impl Readiness {
    fn parts(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every part and how it stands, sorted by name: the lines of `/readyz?verbose`.
    pub fn report(&self) -> Vec<(String, State)> {
        self.parts().iter().map(|(name, state)| (name.clone(), state.clone())).collect()
    }

    /// Whether every part works as far as it can. A runtime that has not started is not ready.
    pub fn is_ready(&self) -> bool {
        let parts = self.parts();
        !parts.is_empty() && parts.values().all(|state| !matches!(state, State::NotReady(_)))
    }

    /// Sets how a part stands.
    pub fn set(&self, part: &str, state: State) {
        self.parts().insert(part.to_owned(), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_kind_leaves_the_process_ready_and_a_refusal_does_not() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready(), "nothing has started");
        readiness.set("a", State::Ready);
        readiness.set("b", State::Waiting("kind Sandbox is not served".into()));
        assert!(readiness.is_ready());
        readiness.set("a", State::NotReady("403".into()));
        assert!(!readiness.is_ready());
    }
}
