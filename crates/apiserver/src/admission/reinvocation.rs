//! Who is asked a second time. After one round of mutating admission in which somebody changed the object, all built-in
//! plugins run again, and of webhooks and policies those with `reinvocationPolicy: IfNeeded` after which it was changed.

use std::collections::BTreeSet;

use serde_json::Value;

/// The state of one write over both rounds.
#[derive(Default)]
pub(crate) struct Reinvocation {
    /// The second round.
    pub(crate) again: bool,
    /// Somebody changed the object in the first.
    pub(crate) wanted: bool,
    pub(crate) webhooks: Invoked,
    pub(crate) policies: Invoked,
}

/// What one plugin remembers.
#[derive(Default)]
pub(crate) struct Invoked {
    /// Those that may be asked again, and were asked since the last change.
    reinvocable: BTreeSet<String>,
    /// Those to ask again.
    due: BTreeSet<String>,
    /// The object as the plugin left it.
    left: Option<Value>,
}

impl Invoked {
    /// Someone changed the object: whoever was asked before must see it.
    pub(crate) fn changed(&mut self) {
        self.due.append(&mut self.reinvocable);
    }

    /// Remembers one that may be asked again.
    pub(crate) fn asked(&mut self, id: &str) {
        self.reinvocable.insert(id.to_owned());
    }

    /// Whether the second round asks this one.
    pub(crate) fn is_due(&self, id: &str) -> bool {
        self.due.contains(id)
    }

    /// Starts the second round: what others changed since concerns everybody who was asked.
    pub(crate) fn resume(&mut self, object: &Value) {
        if self.left.as_ref() != Some(object) {
            self.changed();
        }
    }

    /// Ends a round. A round that asked nobody who could be asked again needs no copy.
    pub(crate) fn leave(&mut self, object: &Value) {
        self.left = (!self.reinvocable.is_empty() || !self.due.is_empty()).then(|| object.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Invoked;

    #[test]
    fn a_change_concerns_only_those_who_were_asked_before_it() {
        let mut invoked = Invoked::default();
        invoked.asked("first");
        invoked.changed();
        invoked.asked("second");
        assert!(invoked.is_due("first"));
        assert!(!invoked.is_due("second"));
    }

    #[test]
    fn a_change_by_others_between_the_rounds_concerns_all() {
        let mut invoked = Invoked::default();
        invoked.asked("a");
        invoked.leave(&json!({"x": 1}));
        invoked.resume(&json!({"x": 1}));
        assert!(!invoked.is_due("a"));
        invoked.resume(&json!({"x": 2}));
        assert!(invoked.is_due("a"));
    }
}
