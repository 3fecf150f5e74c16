//! A NetworkPolicy by which the operator reaches the pods that it asks, for namespaces that let nobody in by default. Pure.

use paddock_api::labels;
use serde_json::{Value, json};

use super::follower::{FOLLOW, FOLLOWS};

/// Lets the operator of `namespace` reach the pods with the label in the namespace where this is applied. It says nothing of other
/// ingress and nothing of egress; but where no other policy selects such a pod, nobody else reaches it any more.
pub fn probes(namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "paddock-tls-probes",
            "labels": { labels::MANAGED_BY: labels::MANAGED_BY_PADDOCK },
        },
        "spec": {
            "podSelector": { "matchLabels": { FOLLOW: FOLLOWS } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "podSelector": { "matchLabels": { labels::NAME: labels::OPERATOR } },
            }] }],
        },
    })
}
