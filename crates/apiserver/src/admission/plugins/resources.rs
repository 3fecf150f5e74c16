//! What a pod asks for and may use as a whole (`component-helpers/resource`): the sum of its containers, but at least what
//! starting it takes. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::at::At;
use crate::schema::quantity::Amount;

/// Amounts by resource name: `cpu`, `requests.memory`, `count/secrets`, …
pub(crate) type Amounts = BTreeMap<String, Amount>;

/// Which half of `resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Requests,
    Limits,
}

impl Half {
    fn pointer(self) -> &'static str {
        match self {
            Self::Requests => "/requests",
            Self::Limits => "/limits",
        }
    }

    /// This half of the `resources` of a container or pod spec.
    pub(crate) fn of(self, holder: &Value) -> Amounts {
        amounts(holder.at("/resources").at(self.pointer()))
    }
}

/// A map of quantities; what is no quantity is left out, validation tells of it.
pub(crate) fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Amount::parse(value.as_str()?)?))).collect()
}

/// Adds `more` to `total`, name by name.
pub(crate) fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| before.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

/// Raises `total` to `other` where that is more.
pub(crate) fn raise(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let most = total.get(name).map_or(*amount, |before| before.max(*amount));
        total.insert(name.clone(), most);
    }
}

/// The sum over a pod, its overhead left out. `of` says what one container counts for.
///
/// Init containers run one after the other before the others, so only the greatest counts; those that are restarted (sidecars)
/// run on beside all that come later. What the pod as a whole states wins over its containers.
pub(crate) fn of_pod(spec: &Value, half: Half, of: impl Fn(&Value) -> Amounts) -> Amounts {
    let mut total = Amounts::new();
    for container in spec.list_at("/containers") {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in spec.list_at("/initContainers") {
        let mut own = of(container);
        let is_sidecar = container.str_at("/restartPolicy") == "Always";
        if is_sidecar {
            add(&mut total, &own);
        }
        for (name, amount) in &mut own {
            if let Some(beside) = sidecars.get(name) {
                *amount = amount.plus(*beside);
            }
        }
        // What earlier sidecars hold was raised to when they started.
        raise(&mut starting, &own);
        if is_sidecar {
            sidecars.extend(own);
        }
    }
    raise(&mut total, &starting);
    for (name, amount) in half.of(spec) {
        if is_pod_level(&name) {
            total.insert(name, amount);
        }
    }
    total
}

/// Resources that a pod can state for all its containers together.
pub(crate) fn is_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn requests(spec: &Value) -> String {
        of_pod(spec, Half::Requests, |c| Half::Requests.of(c))
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_add_up() {
        assert_eq!(requests(&json!({"containers": [container("100m"), container("1")]})), "cpu=1100m");
    }

    #[test]
    fn only_the_greatest_init_container_counts() {
        let spec = json!({"containers": [container("1")], "initContainers": [container("3"), container("2")]});
        assert_eq!(requests(&spec), "cpu=3");
    }

    #[test]
    fn sidecars_run_beside_what_comes_later() {
        let of = |init: Value| requests(&json!({"containers": [container("1")], "initContainers": init}));
        assert_eq!(
            [
                of(json!([sidecar("1"), container("1")])),
                of(json!([sidecar("1"), container("3")])),
                of(json!([container("3"), sidecar("1")])),
            ],
            ["cpu=2", "cpu=4", "cpu=3"]
        );
    }

    #[test]
    fn what_the_pod_states_wins() {
        let spec = json!({"resources": {"requests": {"cpu": "5", "x/y": "1"}}, "containers": [container("1")]});
        assert_eq!(requests(&spec), "cpu=5");
    }
}
