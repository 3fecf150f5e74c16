//! TaintNodesByCondition: nothing is placed on a new node before it says that it is ready.

use serde_json::{Value, json};

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;

pub(super) fn mutate(a: &mut Attributes<'_>) {
    if a.operation == Operation::Create && a.is("", "nodes") {
        taint(&mut a.object);
    }
}

fn taint(node: &mut Value) {
    const KEY: &str = "node.kubernetes.io/not-ready";
    let mut taints = node.list_at("/spec/taints").to_vec();
    if !taints.iter().any(|t| t.str_at("/key") == KEY && t.str_at("/effect") == "NoSchedule") {
        taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
        node.set_at("/spec/taints", taints);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_is_tainted_once() {
        let mut node = json!({"spec": {}});
        taint(&mut node);
        taint(&mut node);
        assert_eq!(node.at("/spec/taints"), &json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));
    }
}
