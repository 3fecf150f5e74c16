//! The roles and bindings of a new cluster, and what a start does to those that are there: what is missing is added, nothing
//! is taken away, and what `rbac.authorization.kubernetes.io/autoupdate: "false"` protects is left alone. Pure.
//!
//! The data is `rbac.txt`; its head says how it is written.

use k8s_openapi::api::rbac::v1::ClusterRole;
use paddock_workloads::aggregation;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::authz::{PolicyRule, covered};

const DATA: &str = include_str!("rbac.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
const ROLES: &str = "rbac.authorization.k8s.io/roles";
const CLUSTER_ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/clusterrolebindings";
const ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// All of them: where each is stored, and the object without what the server gives it.
pub(super) fn objects() -> Vec<(&'static str, Value)> {
    let mut objects: Vec<(&'static str, Value)> = Vec::new();
    for line in DATA.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(' ') {
            if let (Some((_, role)), Some(rule)) = (objects.last_mut(), rule(line.trim()))
                && let Some(rules) = role["rules"].as_array_mut()
            {
                rules.push(rule);
            }
            continue;
        }
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        match (kind, words.as_slice()) {
            ("clusterrole", [name, rest @ ..]) => {
                objects.push((CLUSTER_ROLES, cluster_role(name, rest)));
            }
            ("controller", [name, ..]) => {
                let role = format!("system:controller:{name}");
                let subject = format!("ServiceAccount:kube-system/{name}");
                objects.push((CLUSTER_ROLE_BINDINGS, binding("", &role, "ClusterRole", &[&role, "to", &subject])));
                objects.push((CLUSTER_ROLES, cluster_role(&role, &[])));
            }
            ("role", [namespace, name, ..]) => {
                let mut role = cluster_role(name, &[]);
                role["kind"] = "Role".into();
                role["metadata"]["namespace"] = (*namespace).into();
                objects.push((ROLES, role));
            }
            ("bind", [role, ..]) => {
                objects.push((CLUSTER_ROLE_BINDINGS, binding("", role, "ClusterRole", &words)));
            }
            ("bind-in", [namespace, role, ..]) => {
                objects.push((ROLE_BINDINGS, binding(namespace, role, "Role", &words[1..])));
            }
            _ => {}
        }
    }
    collect(&mut objects);
    objects
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}, "annotations": {AUTOUPDATE: "true"}})
}

fn cluster_role(name: &str, words: &[&str]) -> Value {
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(name), "rules": [],
    });
    for pair in words.chunks_exact(2) {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{}", pair[1]);
        match pair[0] {
            "in" => role["metadata"]["labels"][label] = "true".into(),
            _ => role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}),
        }
    }
    role
}

/// `ROLE [as NAME] to SUBJECT…`
fn binding(namespace: &str, role: &str, role_kind: &str, words: &[&str]) -> Value {
    let name = words.iter().position(|word| *word == "as").and_then(|at| words.get(at + 1)).unwrap_or(&role);
    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    let subjects = words.iter().skip_while(|word| **word != "to").skip(1).filter_map(|word| word.split_once(':'));
    let subjects: Vec<Value> = subjects
        .map(|(kind, name)| match name.split_once('/') {
            Some((namespace, name)) => json!({"kind": kind, "name": name, "namespace": namespace}),
            None => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
        })
        .collect();
    if !subjects.is_empty() {
        object["subjects"] = subjects.into();
    }
    object
}

fn rule(line: &str) -> Option<Value> {
    if line == "events" {
        return rule("create patch update | core events.k8s.io | events");
    }
    let mut parts = line.split('|').map(|part| part.split_whitespace().collect::<Vec<_>>());
    let (verbs, groups, things, names) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    let mut verbs: Vec<&str> = verbs
        .into_iter()
        .flat_map(|verb| match verb {
            "read" => READ.to_vec(),
            "write" => WRITE.to_vec(),
            verb => vec![verb],
        })
        .collect();
    verbs.sort_unstable();
    if groups == ["url"] {
        return Some(json!({"nonResourceURLs": things, "verbs": verbs}));
    }
    let groups: Vec<&str> = groups.into_iter().map(|group| if group == "core" { "" } else { group }).collect();
    let mut rule = json!({"apiGroups": groups, "resources": things, "verbs": verbs});
    if let Some(names) = names {
        rule["resourceNames"] = names.into();
    }
    Some(rule)
}

/// Gives the aggregated roles their rules, as their controller would do later.
fn collect(objects: &mut [(&'static str, Value)]) {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    // Most roles have to do with none of it, and every start pays for what is read here.
    let takes_part = |object: &Value| {
        object["aggregationRule"].is_object() || object["metadata"]["labels"].as_object().is_some_and(|l| l.len() > 1)
    };
    let is_role = |object: &Value| object["kind"] == "ClusterRole" && takes_part(object);
    let mut roles: Vec<ClusterRole> = objects
        .iter()
        .filter(|(_, object)| is_role(object))
        .filter_map(|(_, o)| ClusterRole::deserialize(o).ok())
        .collect();
    // What collects comes after what it collects.
    for wanted in ["view", "edit", "admin"] {
        let Some(at) = roles.iter().position(|role| role.metadata.name.as_deref() == Some(wanted)) else { continue };
        let Some(rules) = aggregation::rules(&roles[at], &roles) else { continue };
        if let Some((_, object)) = objects.iter_mut().find(|(_, o)| o["kind"] == "ClusterRole" && name(o) == wanted) {
            object["rules"] = json!(rules);
        }
        roles[at].rules = Some(rules);
    }
}

/// What a start makes of an object that is there.
#[derive(Debug, PartialEq)]
pub(super) enum Reconciled {
    /// Nothing is missing, or it is protected.
    Right,
    /// The object with what was missing.
    Changed(Value),
    /// It refers to another role, which cannot be changed: to be deleted and written anew.
    Replaced,
}

/// Adds what `wanted` has and `live` has not.
pub(super) fn reconcile(live: &Value, wanted: &Value) -> Reconciled {
    if live["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Reconciled::Right;
    }
    if live["roleRef"] != wanted["roleRef"] {
        return Reconciled::Replaced;
    }
    let mut new = live.clone();
    for field in ["labels", "annotations"] {
        let slot = &mut new["metadata"][field];
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            if let Some(map) = slot.as_object_mut() {
                map.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(selectors) = wanted.pointer("/aggregationRule/clusterRoleSelectors") {
        add(&mut new["aggregationRule"]["clusterRoleSelectors"], selectors);
    } else if let Some(rules) = wanted["rules"].as_array()
        && live["rules"] != wanted["rules"]
    {
        let held: Vec<PolicyRule> = serde_json::from_value(live["rules"].clone()).unwrap_or_default();
        let lacking = rules.iter().filter(|rule| {
            serde_json::from_value::<PolicyRule>((*rule).clone()).is_ok_and(|rule| !covered(&held, &rule))
        });
        let lacking: Vec<Value> = lacking.cloned().collect();
        if !lacking.is_empty() {
            add(&mut new["rules"], &lacking.into());
        }
    }
    if wanted["subjects"].is_array() {
        add(&mut new["subjects"], &wanted["subjects"]);
    }
    if new == *live { Reconciled::Right } else { Reconciled::Changed(new) }
}

/// Appends the items that are not in the list yet.
fn add(list: &mut Value, items: &Value) {
    if list.is_null() {
        *list = json!([]);
    }
    for item in items.as_array().into_iter().flatten() {
        if let Some(list) = list.as_array_mut()
            && !list.contains(item)
        {
            list.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: &str, name: &str) -> Value {
        let found = objects().into_iter().find(|(_, o)| o["kind"] == kind && o["metadata"]["name"] == name);
        found.unwrap().1
    }

    #[test]
    fn every_line_of_the_data_is_read() {
        let lines = DATA.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (rules, heads): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with(' '));
        assert!(rules.iter().all(|line| rule(line.trim()).is_some()));
        let controllers = heads.iter().filter(|line| line.starts_with("controller ")).count();
        assert_eq!(objects().len(), heads.len() + controllers);
    }

    #[test]
    fn every_binding_refers_to_a_role_that_is_there() {
        let objects = objects();
        for (_, binding) in objects.iter().filter(|(_, o)| o["roleRef"].is_object()) {
            let role = &binding["roleRef"];
            let here = |o: &Value| {
                o["kind"] == role["kind"]
                    && o["metadata"]["name"] == role["name"]
                    && (role["kind"] == "ClusterRole" || o["metadata"]["namespace"] == binding["metadata"]["namespace"])
            };
            assert!(objects.iter().any(|(_, o)| here(o)), "{role}");
        }
    }

    #[test]
    fn lists_of_rules_are_sorted() {
        for (_, object) in objects() {
            for rule in object["rules"].as_array().into_iter().flatten() {
                for (field, list) in rule.as_object().unwrap() {
                    let items: Vec<&str> = list.as_array().unwrap().iter().filter_map(Value::as_str).collect();
                    assert!(items.is_sorted(), "{} {field}", object["metadata"]["name"]);
                }
            }
        }
    }

    #[test]
    fn edit_has_what_view_has() {
        let [edit, view] = ["edit", "view"].map(|name| named("ClusterRole", name)["rules"].as_array().unwrap().clone());
        assert!(view.iter().all(|rule| edit.contains(rule)));
    }

    #[test]
    fn a_rule_that_was_taken_away_comes_back() {
        let wanted = named("ClusterRole", "system:basic-user");
        let mut live = wanted.clone();
        live["rules"].as_array_mut().unwrap().pop();
        assert_eq!(reconcile(&live, &wanted), Reconciled::Changed(wanted));
    }

    #[test]
    fn what_was_added_stays() {
        let wanted = named("ClusterRoleBinding", "system:monitoring");
        let mut live = wanted.clone();
        live["subjects"].as_array_mut().unwrap().push(json!({"kind": "User", "name": "x"}));
        assert_eq!(reconcile(&live, &wanted), Reconciled::Right);
    }

    #[test]
    fn without_autoupdate_nothing_is_changed() {
        let wanted = named("ClusterRole", "system:basic-user");
        let mut live = wanted.clone();
        live["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        live["rules"] = json!([]);
        assert_eq!(reconcile(&live, &wanted), Reconciled::Right);
    }

    #[test]
    fn a_binding_to_another_role_is_replaced() {
        let wanted = named("ClusterRoleBinding", "system:monitoring");
        let mut live = wanted.clone();
        live["roleRef"]["name"] = "other".into();
        assert_eq!(reconcile(&live, &wanted), Reconciled::Replaced);
    }
}
