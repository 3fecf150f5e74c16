//! Which nodes a daemon's pod belongs on. Pure.

use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint,
    Toleration,
};

use crate::names::name;

/// What every daemon puts up with: a node's troubles are its business.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Adds what every daemon tolerates.
pub(super) fn tolerate(spec: &mut PodSpec) {
    let network = ("node.kubernetes.io/network-unavailable", "NoSchedule");
    let network = (spec.host_network == Some(true)).then_some(network);
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
}

/// Ties a pod to a node, in place of what the template requires: that was looked at when the node was chosen.
pub(super) fn tie(spec: &mut PodSpec, node: &str) {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let of_nodes: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    of_nodes.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node that a pod is on, or tied to.
pub(super) fn of(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    let bound = spec.node_name.as_deref().filter(|node| !node.is_empty());
    bound.or_else(|| {
        let required = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &required.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let named = fields.filter(|f| f.key == "metadata.name" && f.operator == "In");
        named.filter_map(|f| f.values.as_ref()?.first()).next().map(String::as_str)
    })
}

/// What becomes of a daemon on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It belongs there.
    Run,
    /// It may go on, but none is started.
    Stay,
    /// It does not belong there.
    No,
}

/// `spec`: a pod's, with what every daemon tolerates.
pub(super) fn place(spec: &PodSpec, node: &Node) -> Place {
    let here = name(&node.metadata);
    if spec.node_name.as_deref().is_some_and(|named| !named.is_empty() && named != here) || !attracted(spec, node) {
        return Place::No;
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerated = |taint: &&Taint| spec.tolerations.iter().flatten().any(|t| tolerates(t, taint));
    let untolerated = |effect: &str| taints.iter().filter(|t| t.effect == effect).any(|taint| !tolerated(&taint));
    if untolerated("NoExecute") {
        Place::No
    } else if untolerated("NoSchedule") {
        Place::Stay
    } else {
        Place::Run
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |of: &Option<String>| of.clone().unwrap_or_default();
    let (effect, key) = (given(&toleration.effect), given(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match given(&toleration.operator).as_str() {
        "" | "Equal" => !key.is_empty() && given(&toleration.value) == given(&taint.value),
        "Exists" => true,
        _ => false,
    }
}

/// The node selector and what the affinity requires.
fn attracted(spec: &PodSpec, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    if !spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value)) {
        return false;
    }
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let Some(required) = required.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()) else {
        return true;
    };
    required.node_selector_terms.iter().any(|term| {
        let labels = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let field = |key: &str| (key == "metadata.name").then(|| name(&node.metadata));
        // A term that says nothing chooses nothing.
        !(labels.is_empty() && fields.is_empty())
            && labels.iter().all(|r| holds(r, label(&r.key)))
            && fields.iter().all(|r| holds(r, field(&r.key)))
    })
}

fn holds(requirement: &NodeSelectorRequirement, have: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_in = || have.is_some_and(|have| values.iter().any(|value| value == have));
    let numbers = || Some((have?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => is_in(),
        "NotIn" => !is_in(),
        "Exists" => have.is_some(),
        "DoesNotExist" => have.is_none(),
        "Gt" => numbers().is_some_and(|(have, than)| have > than),
        "Lt" => numbers().is_some_and(|(have, than)| have < than),
        _ => false,
    }
}
