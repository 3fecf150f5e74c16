//! DefaultTolerationSeconds: pods stay five minutes on a node that is gone, unless they say otherwise.

use serde_json::{Value, json};

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;

const SECONDS: i64 = 300;

pub(super) fn mutate(a: &mut Attributes<'_>) {
    if a.is("", "pods") && matches!(a.operation, Operation::Create | Operation::Update) {
        tolerate(&mut a.object);
    }
}

fn tolerate(pod: &mut Value) {
    let given = pod.list_at("/spec/tolerations");
    let mut tolerations = given.to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated =
            |t: &Value| ["", key].contains(&t.str_at("/key")) && ["", "NoExecute"].contains(&t.str_at("/effect"));
        if !given.iter().any(tolerated) {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}));
        }
    }
    if tolerations.len() > given.len() {
        pod.set_at("/spec/tolerations", tolerations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_taints_are_tolerated_for_a_while() {
        let mut pod = json!({"spec": {}});
        tolerate(&mut pod);
        let keys: Vec<_> = pod.list_at("/spec/tolerations").iter().map(|t| t.str_at("/key")).collect();
        assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    }

    #[test]
    fn what_a_pod_says_itself_stands() {
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        let before = pod.clone();
        tolerate(&mut pod);
        assert_eq!(pod, before);
    }

    #[test]
    fn another_effect_says_nothing_of_eviction() {
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}});
        tolerate(&mut pod);
        assert_eq!(pod.list_at("/spec/tolerations").len(), 3);
    }
}
