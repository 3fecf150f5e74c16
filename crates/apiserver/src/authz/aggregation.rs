//! A ClusterRole with an aggregation rule: its rules are those of the ClusterRoles that its selectors choose. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::PolicyRule;
use crate::kinds::checks::selects;

/// What aggregation looks at in a ClusterRole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterRole {
    metadata: Metadata,
    #[serde(default)]
    rules: Option<Vec<PolicyRule>>,
    #[serde(default)]
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregationRule {
    #[serde(default)]
    cluster_role_selectors: Option<Vec<Value>>,
}

impl ClusterRole {
    pub(crate) fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Its rules are collected from others.
    pub(crate) fn collects(&self) -> bool {
        self.aggregation_rule.is_some()
    }

    /// The rules as they stand.
    pub(crate) fn rules(&self) -> &[PolicyRule] {
        self.rules.as_deref().unwrap_or_default()
    }

    pub(crate) fn set_rules(&mut self, rules: Vec<PolicyRule>) {
        self.rules = Some(rules);
    }
}

/// The rules that an aggregated ClusterRole should have: by selector, then by name of the selected role, each rule once.
/// `None`: it is no aggregated role.
pub(crate) fn rules(name: &str, roles: &BTreeMap<String, ClusterRole>) -> Option<Vec<PolicyRule>> {
    let aggregation = roles.get(name)?.aggregation_rule.as_ref()?;
    let (mut seen, mut rules) = (HashSet::new(), Vec::new());
    for selector in aggregation.cluster_role_selectors.iter().flatten() {
        let selected = roles.iter().filter(|(other, role)| *other != name && selects(selector, &role.metadata.labels));
        for rule in selected.flat_map(|(_, role)| role.rules()) {
            if seen.insert(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(labels: Value, selector: Option<Value>, resources: &[&str]) -> ClusterRole {
        let rules: Vec<Value> =
            resources.iter().map(|r| json!({"apiGroups": [""], "resources": [r], "verbs": ["get"]})).collect();
        let mut role = json!({"metadata": {"labels": labels}, "rules": rules});
        if let Some(selector) = selector {
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": selector}]});
        }
        serde_json::from_value(role).unwrap()
    }

    fn collected(roles: &[(&str, ClusterRole)]) -> Vec<String> {
        let roles = roles.iter().map(|(name, role)| ((*name).to_owned(), role.clone())).collect();
        rules("all", &roles).unwrap().into_iter().flat_map(|rule| rule.resources).collect()
    }

    #[test]
    fn rules_come_in_the_order_of_names_and_once() {
        let of = |resources: &[&str]| role(json!({"in": "all"}), None, resources);
        let all = role(json!({}), Some(json!({"in": "all"})), &["stale"]);
        assert_eq!(collected(&[("all", all), ("b", of(&["pods", "nodes"])), ("a", of(&["pods"]))]), ["pods", "nodes"]);
    }

    #[test]
    fn a_role_does_not_collect_itself() {
        assert_eq!(collected(&[("all", role(json!({"in": "all"}), Some(json!({"in": "all"})), &["pods"]))]), [""; 0]);
    }

    #[test]
    fn without_an_aggregation_rule_nothing_is_collected() {
        assert_eq!(rules("a", &[("a".to_owned(), role(json!({}), None, &["pods"]))].into()), None);
    }
}
