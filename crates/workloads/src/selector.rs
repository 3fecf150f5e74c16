//! Which labels a selector chooses, and which controllers' selectors choose an object that nobody owns. Pure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use paddock_reconcile::Change;
use serde::Deserialize as _;
use serde_json::Value;

use crate::names::Name;

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether a selector chooses these labels. An empty selector chooses nothing here: every workload controller takes it for
/// a mistake. What is no operator chooses nothing.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let equal = selector.match_labels.as_ref();
    let terms = selector.match_expressions.as_ref();
    if equal.is_none_or(BTreeMap::is_empty) && terms.is_none_or(Vec::is_empty) {
        return false;
    }
    matches_all(selector, labels)
}

/// The same, but an empty selector chooses everything.
pub(crate) fn matches_all(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, want)| value(key) == Some(want));
    equal
        && selector.match_expressions.iter().flatten().all(|term| {
            let (have, values) = (value(&term.key), term.values.as_deref().unwrap_or_default());
            match term.operator.as_str() {
                "In" => have.is_some_and(|have| values.contains(have)),
                "NotIn" => have.is_none_or(|have| !values.contains(have)),
                "Exists" => have.is_some(),
                "DoesNotExist" => have.is_none(),
                _ => false,
            }
        })
}

/// An object's labels, from its JSON.
pub(crate) fn labels(object: &Value) -> Labels {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// The selectors of all objects of one kind, kept up by its source. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors(Arc<Mutex<BTreeMap<Name, LabelSelector>>>);

impl Selectors {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Name, LabelSelector>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from a change of an object that has a selector at `/spec/selector`. Returns its name.
    pub(crate) fn learn(&self, change: &Change<'_>) -> Option<Name> {
        let name = Name::of(change.object())?;
        let selector = change.after.and_then(|o| o.pointer("/spec/selector"));
        match selector.and_then(|s| LabelSelector::deserialize(s).ok()) {
            Some(selector) => self.all().insert(name.clone(), selector),
            None => self.all().remove(&name),
        };
        Some(name)
    }

    /// All objects.
    pub(crate) fn names(&self) -> Vec<Name> {
        self.all().keys().cloned().collect()
    }

    /// The objects of a namespace that choose these labels.
    pub(crate) fn choosing(&self, namespace: &str, labels: &Labels) -> Vec<Name> {
        self.chosen_by(namespace, labels, matches)
    }

    /// The same, but an empty selector chooses everything.
    pub(crate) fn choosing_all(&self, namespace: &str, labels: &Labels) -> Vec<Name> {
        self.chosen_by(namespace, labels, matches_all)
    }

    fn chosen_by(
        &self,
        namespace: &str,
        labels: &Labels,
        matches: impl Fn(&LabelSelector, Option<&Labels>) -> bool,
    ) -> Vec<Name> {
        let from = Name::new(namespace, "");
        let all = self.all();
        let here = all.range(from..).take_while(|(name, _)| name.namespace == namespace);
        here.filter(|(_, selector)| matches(selector, Some(labels))).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chosen(selector: Value, labels: &[(&str, &str)]) -> bool {
        let selector = LabelSelector::deserialize(&selector).expect("a selector");
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        matches(&selector, Some(&labels))
    }

    #[test]
    fn all_terms_of_a_selector_hold() {
        let selector = json!({
            "matchLabels": {"app": "x"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "env", "operator": "NotIn", "values": ["test"]},
                {"key": "id", "operator": "Exists"},
            ],
        });
        assert!(chosen(selector.clone(), &[("app", "x"), ("tier", "b"), ("id", "")]));
        assert!(!chosen(selector.clone(), &[("app", "x"), ("tier", "c"), ("id", "")]));
        assert!(!chosen(selector, &[("app", "x"), ("tier", "b"), ("id", ""), ("env", "test")]));
    }

    #[test]
    fn empty_selector_chooses_nothing() {
        assert!(!chosen(json!({}), &[("app", "x")]));
    }
}
