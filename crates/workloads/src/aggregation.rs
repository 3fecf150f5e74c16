//! ClusterRoles whose rules are those of others that their selectors choose. Reads through the engine's context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/clusterroleaggregation`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use paddock_reconcile::{Act, Change, Context, Controller, Error, ObjectRef, Plan, Settings, Source, Strategy};
use serde_json::{Value, json};

use crate::names::{name, uid};
use crate::selector::matches_all;
use crate::snapshots::everywhere;

/// The controller.
#[derive(Debug, Default)]
pub struct Aggregation {
    /// The roles that collect.
    collecting: Arc<Mutex<BTreeSet<String>>>,
}

impl Aggregation {
    /// A change of any role may concern each of those that collect.
    fn concerned(collecting: &Mutex<BTreeSet<String>>, change: &Change<'_>) -> Vec<String> {
        let mut all = collecting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = change.object().pointer("/metadata/name").and_then(Value::as_str) {
            let collects = change.after.is_some_and(|role| role.get("aggregationRule").is_some_and(Value::is_object));
            if collects {
                all.insert(name.to_owned());
            } else {
                all.remove(name);
            }
        }
        all.iter().cloned().collect()
    }
}

impl Controller for Aggregation {
    type Key = String;
    type Snapshot = Vec<ClusterRole>;

    fn name(&self) -> &'static str {
        "clusterrole-aggregation"
    }

    fn sources(&self) -> Vec<Source<String>> {
        let collecting = self.collecting.clone();
        vec![Source::of::<ClusterRole>(move |change| Self::concerned(&collecting, change))]
    }

    async fn snapshot(&self, cx: &Context, _: &String) -> Result<Self::Snapshot, Error> {
        everywhere::<ClusterRole>(cx, |_| true).await
    }

    fn plan(&self, key: &String, roles: &Self::Snapshot, _: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let Some(role) = roles.iter().find(|role| name(&role.metadata) == key) else { return Ok(plan) };
        if let Some(rules) = rules(role, roles).filter(|rules| *rules != role.rules.as_deref().unwrap_or_default()) {
            // With its uid, so that one that went meanwhile does not come back.
            let config = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": key, "uid": uid(&role.metadata)}, "rules": rules,
            });
            let target = ObjectRef::of::<ClusterRole>(None, key);
            plan.step(vec![Act::patch(target, Strategy::Apply, config)]);
        }
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// The rules that a role should have: by selector, then by name of the chosen role, each rule once. `None`: it collects none.
pub fn rules(role: &ClusterRole, all: &[ClusterRole]) -> Option<Vec<PolicyRule>> {
    let aggregation = role.aggregation_rule.as_ref()?;
    let by_name: BTreeMap<&str, &ClusterRole> = all.iter().map(|other| (name(&other.metadata), other)).collect();
    let mut rules: Vec<PolicyRule> = Vec::new();
    // As text, since rules have no order.
    let mut seen = BTreeSet::new();
    for selector in aggregation.cluster_role_selectors.iter().flatten() {
        let chosen = by_name.iter().filter(|(other, candidate)| {
            **other != name(&role.metadata) && matches_all(selector, candidate.metadata.labels.as_ref())
        });
        for rule in chosen.flat_map(|(_, other)| other.rules.iter().flatten()) {
            if seen.insert(json!(rule).to_string()) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use paddock_reconcile::Verb;

    use super::*;

    fn role(called: &str, labels: Value, selector: Option<Value>, resources: &[&str]) -> ClusterRole {
        let rules: Vec<Value> =
            resources.iter().map(|r| json!({"apiGroups": [""], "resources": [r], "verbs": ["get"]})).collect();
        let mut role = json!({"metadata": {"name": called, "uid": "u", "labels": labels}, "rules": rules});
        if let Some(selector) = selector {
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": selector}]});
        }
        serde_json::from_value(role).expect("a ClusterRole")
    }

    fn planned(roles: Vec<ClusterRole>) -> Option<Vec<Value>> {
        let plan = Aggregation::default().plan(&"all".to_owned(), &roles, Timestamp::UNIX_EPOCH).expect("a plan");
        let Verb::Patch { body, .. } = plan.acts.first()?.first()?.verb() else { panic!("no patch") };
        body["rules"].as_array().map(|rules| rules.iter().map(|rule| rule["resources"][0].clone()).collect())
    }

    #[test]
    fn rules_come_in_the_order_of_names_and_once() {
        let of = |called: &str, resources: &[&str]| role(called, json!({"in": "all"}), None, resources);
        let all = role("all", json!({}), Some(json!({"in": "all"})), &["stale"]);
        assert_eq!(
            planned(vec![all, of("b", &["pods", "nodes"]), of("a", &["pods"])]),
            Some(vec![json!("pods"), json!("nodes")])
        );
    }

    #[test]
    fn role_does_not_collect_itself() {
        assert_eq!(
            planned(vec![role("all", json!({"in": "all"}), Some(json!({"in": "all"})), &["pods"])]),
            Some(vec![])
        );
    }

    #[test]
    fn role_that_has_what_it_collects_is_left_alone() {
        let all = role("all", json!({}), Some(json!({"in": "all"})), &["pods"]);
        assert_eq!(planned(vec![all, role("a", json!({"in": "all"}), None, &["pods"])]), None);
    }

    #[test]
    fn without_an_aggregation_rule_nothing_is_collected() {
        assert_eq!(planned(vec![role("all", json!({}), None, &["pods"])]), None);
    }
}
