//! The rights that the controllers of the TLS profile need: no more and no less, which a test proves against the API server. Pure.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::policy;
use crate::gateways::rbac::rule;

/// The rules of the controllers' part of the operator's ClusterRole.
pub fn controller_rules() -> Vec<PolicyRule> {
    let see = ["list", "watch"];
    let read = ["get", "list", "watch"];
    vec![
        rule("", &["namespaces"], &see),
        rule("", &["configmaps"], &["get", "list", "watch", "create", "patch"]),
        // A pod that reloads by itself learns from its own annotation which profile was written for it.
        rule("", &["pods"], &["list", "watch", "patch"]),
        // Whatever follows: its template is written when it has to roll.
        rule("apps", &["deployments", "daemonsets", "statefulsets"], &["get", "list", "watch", "patch"]),
        rule("policy", &["poddisruptionbudgets"], &["get", "list", "create", "patch"]),
        rule(policy::KIND.group.as_ref(), &[policy::KIND.plural.as_ref()], &read),
        rule(policy::KIND.group.as_ref(), &[&format!("{}/status", policy::KIND.plural)], &["patch"]),
        rule("config.openshift.io", &["apiservers"], &read),
        rule("config.openshift.io", &["clusterversions"], &["get"]),
        rule("hypershift.openshift.io", &["hostedclusters"], &read),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], &see),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]
}
