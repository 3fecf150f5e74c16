//! Who may write what the operator hands over: a ValidatingAdmissionPolicy for whoever installs the operator. Pure.
//!
//! Whoever may write ConfigMaps in a namespace could write a weaker profile into the one that a workload there mounts. The operator puts
//! that right in seconds; with this policy it does not happen at all.

use paddock_api::labels;
use serde_json::{Value, json};

use super::decider::MARK;
use super::follower::FOLLOW;
use super::handover::HANDED;
use super::policy;

/// What policy and binding are called.
const NAME: &str = "paddock-tls-profile-writers";

/// The policy and its binding. ConfigMaps with a profile are written by `account` (a ServiceAccount of `namespace`), by those who may
/// change the ServingPolicy, which says the same, and by the cluster's own controllers, which clean up.
pub fn writers(namespace: &str, account: &str) -> [Value; 2] {
    let metadata = json!({ "name": NAME, "labels": { labels::MANAGED_BY: labels::MANAGED_BY_PADDOCK } });
    let may_change = format!(
        "authorizer.group('{}').resource('{}').name('{}').check('update').allowed()",
        policy::KIND.group,
        policy::KIND.plural,
        policy::NAME
    );
    let condition = |name: &str, expression: String| json!({ "name": name, "expression": expression });
    let operator = format!("system:serviceaccount:{namespace}:{account}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                // Also of what is there already: nobody takes the label off first.
                "objectSelector": {
                    "matchExpressions": [{ "key": FOLLOW, "operator": "In", "values": [HANDED, MARK] }],
                },
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                }],
            },
            "matchConditions": [
                condition("is-not-the-operator", format!("request.userInfo.username != '{operator}'")),
                condition(
                    "is-no-controller-of-the-cluster",
                    "!('system:serviceaccounts:kube-system' in request.userInfo.groups) && request.userInfo.username != \
                     'system:kube-controller-manager'"
                        .to_owned(),
                ),
                condition("may-not-change-the-policy", format!("!{may_change}")),
            ],
            "validations": [{
                "expression": "false",
                "reason": "Forbidden",
                "message": format!(
                    "this ConfigMap holds a TLS profile that the Paddock operator hands over: who needs another one asks whoever may change \
                     the {} {}",
                    policy::KIND.kind, policy::NAME
                ),
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    });
    [policy, binding]
}
