//! Faults on order: what a test wants to go wrong, on which request, how often.
//!
//! ```
//! use paddock_apiserver::fault::{Action, Rule};
//! use paddock_apiserver::request::Verb;
//!
//! // The second create of a Secret in `tenant-a` answers 500.
//! let rule = Rule::new(Action::Status(500)).verb(Verb::Create).resource("secrets").namespace("tenant-a").nth(2);
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::request::{ResourcePath, Verb};

/// What happens to a request that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answers with this code and a `Status` that fits it; nothing is done.
    Status(u16),
    /// Waits first, then goes on as usual.
    Latency(Duration),
    /// Closes the connection without an answer; nothing is done.
    Drop,
    /// Does what was asked, then closes the connection without an answer: the lost response.
    DropAfter,
    /// 409 Conflict, as if another writer had been faster.
    Conflict,
    /// A watch ends after this many events, in the middle of the stream.
    CutWatch(usize),
    /// 410 Expired: the client must list again.
    Gone,
}

/// When an [`Action`] applies. Without a criterion every resource request matches.
#[derive(Clone, Debug)]
pub struct Rule {
    action: Action,
    verb: Option<Verb>,
    resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    skip: usize,
    times: usize,
}

impl Rule {
    /// A rule that matches everything, once.
    pub fn new(action: Action) -> Self {
        Self { action, verb: None, resource: None, namespace: None, name: None, skip: 0, times: 1 }
    }
    /// Only this verb.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }
    /// Only this resource, by plural name (`deployments`), subresources as `deployments/status`.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }
    /// Only in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }
    /// Only this object name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
    /// From the `nth` match on (1 is the first).
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }
    /// This many times in a row (default 1).
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
    /// From then on for ever.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    fn matches(&self, verb: Verb, path: &ResourcePath) -> bool {
        let resource = |wanted: &String| match wanted.split_once('/') {
            Some((resource, sub)) => path.resource == resource && path.subresource == sub,
            None => path.resource == *wanted && path.subresource.is_empty(),
        };
        self.verb.is_none_or(|v| v == verb)
            && self.resource.as_ref().is_none_or(resource)
            && self.namespace.as_ref().is_none_or(|n| *n == path.namespace)
            && self.name.as_ref().is_none_or(|n| *n == path.name)
    }
}

/// The rules in force. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    /// Adds a rule. Earlier rules are asked first.
    pub fn add(&self, rule: Rule) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Counts the request against every matching rule; the first whose turn it is decides.
    pub(crate) fn decide(&self, verb: Verb, path: &ResourcePath) -> Option<Action> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut decision = None;
        for rule in rules.iter_mut().filter(|r| r.matches(verb, path)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if decision.is_none() && rule.times > 0 {
                rule.times = if rule.times == usize::MAX { usize::MAX } else { rule.times - 1 };
                decision = Some(rule.action.clone());
            }
        }
        rules.retain(|r| r.times > 0);
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> ResourcePath {
        let segments = crate::request::segments(&format!("/api/v1/namespaces/a/secrets/{name}")).unwrap();
        ResourcePath::parse(&segments).unwrap()
    }

    #[test]
    fn a_rule_fires_on_the_nth_match_and_only_then() {
        let faults = Faults::default();
        faults.add(Rule::new(Action::Status(500)).resource("secrets").nth(2));
        let seen: Vec<bool> = (0..3).map(|_| faults.decide(Verb::Get, &secret("x")).is_some()).collect();
        assert_eq!(seen, [false, true, false]);
    }

    #[test]
    fn a_rule_for_another_name_does_not_count() {
        let faults = Faults::default();
        faults.add(Rule::new(Action::Drop).name("y"));
        assert_eq!(faults.decide(Verb::Get, &secret("x")), None);
    }

    #[test]
    fn a_subresource_is_not_its_parent() {
        let faults = Faults::default();
        faults.add(Rule::new(Action::Drop).resource("secrets/status"));
        assert_eq!(faults.decide(Verb::Get, &secret("x")), None);
    }
}
