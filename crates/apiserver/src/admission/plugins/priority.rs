//! Priority: a pod's class becomes its number, and there is one default class at most.

use serde_json::{Value, json};

use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::resource::Lookup;
use crate::status::Status;

const STORAGE: &str = "scheduling.k8s.io/priorityclasses";

/// Resolves the class of a new pod; keeps what was resolved when a pod is updated without it.
pub(super) fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    if !a.is("", "pods") {
        return Ok(());
    }
    match a.operation {
        Operation::Create => {
            let name = a.object.str_at("/spec/priorityClassName").to_owned();
            let class = if name.is_empty() {
                default_class(&a.api.list(STORAGE, ""))
            } else {
                let found = a.api.lookup(STORAGE, "", &name);
                Some(found.ok_or_else(|| a.forbidden(&format!("no PriorityClass with name {name} was found")))?)
            };
            let resolved = resolve(&mut a.object, &class.unwrap_or_default());
            resolved.map_err(|why| a.forbidden(&why))
        }
        Operation::Update => {
            for field in ["/spec/priority", "/spec/preemptionPolicy"] {
                if a.old.has(field) && !a.object.has(field) {
                    a.object.set_at(field, a.old.at(field).clone());
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Refuses a second default class.
pub(super) fn validate(a: &Attributes<'_>) -> Result<(), Status> {
    let written = matches!(a.operation, Operation::Create | Operation::Update);
    if !written || !a.is("scheduling.k8s.io", "priorityclasses") || !a.object.true_at("/globalDefault") {
        return Ok(());
    }
    let Some(other) = default_class(&a.api.list(STORAGE, "")) else { return Ok(()) };
    let name = other.str_at("/metadata/name");
    if a.operation == Operation::Update && a.object.str_at("/metadata/name") == name {
        return Ok(());
    }
    let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
    Err(a.forbidden(&why))
}

/// Of several defaults, which only a race can make, the lowest counts.
fn default_class(classes: &[Value]) -> Option<Value> {
    let defaults = classes.iter().filter(|class| class.true_at("/globalDefault"));
    defaults.min_by_key(|class| class.int_at("/value").unwrap_or(0)).cloned()
}

/// Sets what the class says; `null` is the class of pods that name none.
fn resolve(pod: &mut Value, class: &Value) -> Result<(), String> {
    let value = class.int_at("/value").unwrap_or(0);
    if let Some(given) = pod.int_at("/spec/priority")
        && given != value
    {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        ));
    }
    let policy = class.at("/preemptionPolicy").as_str().unwrap_or("PreemptLowerPriority");
    if let Some(given) = pod.at("/spec/preemptionPolicy").as_str()
        && given != policy
    {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ));
    }
    if !class.is_null() {
        pod.set_at("/spec/priorityClassName", class.at("/metadata/name").clone());
    }
    pod.set_at("/spec/priority", value);
    pod.set_at("/spec/preemptionPolicy", json!(policy));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_the_number_of_its_class() {
        let mut pod = json!({"spec": {}});
        let class = json!({"metadata": {"name": "c"}, "value": 7, "preemptionPolicy": "Never"});
        assert_eq!(resolve(&mut pod, &class), Ok(()));
        let expected = json!({"priorityClassName": "c", "priority": 7, "preemptionPolicy": "Never"});
        assert_eq!(pod.at("/spec"), &expected);
    }

    #[test]
    fn a_pod_without_a_class_has_priority_zero() {
        let mut pod = json!({"spec": {}});
        assert_eq!(resolve(&mut pod, &Value::Null), Ok(()));
        assert_eq!(pod.at("/spec"), &json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}));
    }

    #[test]
    fn a_number_that_is_not_the_classs_is_refused() {
        let mut pod = json!({"spec": {"priority": 5}});
        let why = "the integer value of priority (5) must not be provided in pod spec; priority admission controller \
                   computed 0 from the given PriorityClass name";
        assert_eq!(resolve(&mut pod, &Value::Null), Err(why.to_owned()));
    }

    #[test]
    fn the_lowest_of_several_defaults_counts() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value, "globalDefault": true});
        let found = default_class(&[class("a", 5), class("b", 2), json!({"value": 1})]);
        assert_eq!(found.map(|class| class.str_at("/metadata/name").to_owned()), Some("b".to_owned()));
    }
}
