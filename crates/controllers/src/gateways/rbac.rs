//! The rights that the gateways controller needs and hands on, as objects for the installation. Pure.
//!
//! No `escalate`, and `bind` on exactly two ClusterRoles: what gateways may do in the whole cluster, installed once and bound per
//! tenant, and what an OpenShift asks of sandboxes. What they may do in their namespace the controller holds itself, as Kubernetes demands.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::{gateway, labels};

use super::names;
pub(crate) use super::render::rule;
use super::render::sandbox_rules;

/// The rules of the controller's own ClusterRole: no more and no less than it uses, which a test proves against the API server.
pub fn controller_rules() -> Vec<PolicyRule> {
    let see = ["list", "watch"];
    // Deleted is only what is on record for a gateway that nobody wants any more, and what cannot be changed in place.
    let keep = ["get", "list", "watch", "create", "patch", "delete"];
    let mut rules = vec![
        rule("", &["namespaces", "nodes"], &see),
        rule("", &["configmaps", "secrets", "services", "serviceaccounts"], &keep),
        // Claims are made by others: they are labelled, grown and, by policy, deleted.
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "patch", "delete"]),
        // To count sandboxes before a gateway goes and while its authority is replaced, to see why a gateway does not come up, and
        // to delete a pod of its own that stands in its way.
        rule("", &["pods"], &["list", "watch", "delete"]),
        rule("apps", &["statefulsets"], &keep),
        rule("networking.k8s.io", &["networkpolicies"], &keep),
        rule("rbac.authorization.k8s.io", &["roles", "rolebindings", "clusterrolebindings"], &keep),
        PolicyRule {
            resource_names: Some(
                [names::NODE_READER, names::OPERATOR_ROLE, names::PRIVILEGED_SCC].map(str::to_owned).into(),
            ),
            ..rule("rbac.authorization.k8s.io", &["clusterroles"], &["bind"])
        },
        rule(gateway::GROUP, &[gateway::PLURAL], &["list", "watch", "patch"]),
        rule(gateway::GROUP, &[&format!("{}/status", gateway::PLURAL)], &["patch"]),
        rule("storage.k8s.io", &["storageclasses"], &see),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], &see),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ];
    rules.extend(sandbox_rules());
    rules
}

pub use super::shared::operator_role;

/// The static ClusterRole to which every gateway's account is bound.
pub fn node_reader() -> ClusterRole {
    let labels = [(labels::NAME, "openshell"), (labels::MANAGED_BY, labels::MANAGED_BY_PADDOCK)];
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(names::NODE_READER.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        rules: Some(vec![
            rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
            rule("", &["nodes"], &["get", "list", "watch"]),
            rule("", &["namespaces"], &["get"]),
        ]),
        ..ClusterRole::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(rules: &[PolicyRule], resource: &str, verb: &str) -> bool {
        let has = |list: &Vec<String>, word: &str| list.iter().any(|item| item == word);
        rules.iter().any(|rule| rule.resources.as_ref().is_some_and(|all| has(all, resource)) && has(&rule.verbs, verb))
    }

    #[test]
    fn gw_a04_nothing_escalates_and_binding_is_by_name() {
        let rules = controller_rules();
        assert!(rules.iter().all(|rule| !rule.verbs.iter().any(|verb| verb == "escalate" || verb == "*")));
        let binding = rules.iter().filter(|rule| rule.verbs.iter().any(|verb| verb == "bind"));
        assert!(binding.clone().count() == 1 && binding.into_iter().all(|rule| rule.resource_names.is_some()));
    }

    #[test]
    fn gw_l23_the_privileged_constraint_is_bound_and_never_used() {
        let rules = controller_rules();
        let named = |rule: &&PolicyRule| {
            rule.resource_names.iter().flatten().any(|name| name == names::PRIVILEGED_SCC) && rule.verbs == ["bind"]
        };
        assert_eq!(rules.iter().filter(named).count(), 1);
        assert!(rules.iter().all(|rule| rule.verbs.iter().all(|verb| verb != "use")));
    }

    #[test]
    fn gw_a09_nothing_may_delete_a_namespace() {
        for rules in [controller_rules(), sandbox_rules(), node_reader().rules.unwrap()] {
            for verb in ["delete", "deletecollection", "update", "patch", "*"] {
                assert!(!grants(&rules, "namespaces", verb) && !grants(&rules, "*", verb), "{verb}");
            }
        }
    }

    #[test]
    fn gateways_never_get_to_patch_pods() {
        for verb in ["patch", "update", "create", "delete", "*"] {
            assert!(!grants(&sandbox_rules(), "pods", verb));
        }
    }

    #[test]
    fn controller_holds_what_it_hands_on() {
        for rule in sandbox_rules() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    assert!(grants(&controller_rules(), resource, verb), "{resource} {verb}");
                }
            }
        }
    }
}
