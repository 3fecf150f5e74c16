//! Roles and their bindings.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, label_selector, one_of, required, shown};
use super::names;
use super::rules::Rules;
use super::tables::{cluster, rbac as tables};
use crate::field::{FieldError, Kind, go_value};
use crate::resource::NameRule;
use crate::selector::LabelSelector;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) const ROLE: Rules = Rules {
    name: NameRule::PathSegment,
    create_on_update: true,
    default: no_rules_is_null,
    validate_create: |obj, _| rules(obj, true),
    validate_update: |new, _, _, _| rules(new, true),
    columns: || cluster::columns(tables::ROLE),
    cells: tables::role,
    ..Rules::PLAIN
};

pub(super) const CLUSTER_ROLE: Rules =
    Rules { validate_create: |obj, _| rules(obj, false), validate_update: |new, _, _, _| rules(new, false), ..ROLE };

pub(super) const ROLE_BINDING: Rules = Rules {
    name: NameRule::PathSegment,
    create_on_update: true,
    default: |obj| {
        obj.default_at("/roleRef/apiGroup", GROUP);
        for subject in obj.list_mut_at("/subjects") {
            if matches!(subject.str_at("/kind"), "User" | "Group") {
                subject.default_at("/apiGroup", GROUP);
            }
        }
    },
    validate_create: |obj, _| binding(obj, true),
    validate_update: |new, old, _, _| binding_update(new, old, true),
    columns: || cluster::columns(tables::BINDING),
    cells: tables::binding,
    ..Rules::PLAIN
};

pub(super) const CLUSTER_ROLE_BINDING: Rules = Rules {
    validate_create: |obj, _| binding(obj, false),
    validate_update: |new, old, _, _| binding_update(new, old, false),
    ..ROLE_BINDING
};

/// `rules` is always there, `null` when there are none.
fn no_rules_is_null(obj: &mut Value) {
    if obj.list_at("/rules").is_empty() {
        obj.set_at("/rules", Value::Null);
    }
}

fn rules(obj: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    for (index, rule) in obj.list_at("/rules").iter().enumerate() {
        let at = |name: &str| format!("rules[{index}].{name}");
        let empty = |name: &str| rule.list_at(&format!("/{name}")).is_empty();
        if empty("verbs") {
            errors.push(FieldError::required(at("verbs"), "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            let urls = rule.at("/nonResourceURLs");
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(at("nonResourceURLs"), urls, detail));
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(at("nonResourceURLs"), urls, detail));
            }
            continue;
        }
        if empty("apiGroups") {
            errors.push(FieldError::required(at("apiGroups"), "resource rules must supply at least one api group"));
        }
        if empty("resources") {
            errors.push(FieldError::required(at("resources"), "resource rules must supply at least one resource"));
        }
    }
    if obj.has("/aggregationRule") && obj.list_at("/aggregationRule/clusterRoleSelectors").is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required("aggregationRule.clusterRoleSelectors", detail));
    }
    for (index, selector) in obj.list_at("/aggregationRule/clusterRoleSelectors").iter().enumerate() {
        let field = format!("aggregationRule.clusterRoleSelectors[{index}]");
        errors.extend(label_selector(&field, selector));
        if let Err(error) = LabelSelector::from_object(selector) {
            let detail = format!("invalid label selector: {error}");
            errors.push(FieldError::invalid(field, &Value::Null, &detail));
        }
    }
    errors
}

fn binding(obj: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    errors.extend(one_of("roleRef.apiGroup", obj.str_at("/roleRef/apiGroup"), &[GROUP]));
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    errors.extend(one_of("roleRef.kind", obj.str_at("/roleRef/kind"), kinds));
    let name = obj.str_at("/roleRef/name");
    match required("roleRef.name", name) {
        Some(error) => errors.push(error),
        None => {
            let wrong = names::path_segment(name);
            errors.extend(wrong.iter().map(|text| FieldError::invalid("roleRef.name", &json!(name), text)));
        }
    }
    for (index, subject) in obj.list_at("/subjects").iter().enumerate() {
        let at = |name: &str| format!("subjects[{index}].{name}");
        let [kind, name, group] = ["/kind", "/name", "/apiGroup"].map(|field| subject.str_at(field));
        errors.extend(required(&at("name"), name));
        match kind {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errors.extend(super::checks::named(&at("name"), name, names::dns_subdomain));
                }
                errors.extend(one_of(&at("apiGroup"), group, &[""]));
                if !namespaced {
                    errors.extend(required(&at("namespace"), subject.str_at("/namespace")));
                }
            }
            "User" | "Group" => errors.extend(one_of(&at("apiGroup"), group, &[GROUP])),
            _ => errors.extend(one_of(&at("kind"), kind, &["ServiceAccount", "User", "Group"])),
        }
    }
    errors
}

fn binding_update(new: &Value, old: &Value, namespaced: bool) -> Errors {
    let mut errors = binding(new, namespaced);
    let role = new.at("/roleRef");
    if role != old.at("/roleRef") {
        let field = |name: &str| go_value(&json!(role.str_at(name)));
        let value =
            format!(r#"{{"APIGroup":{},"Kind":{},"Name":{}}}"#, field("/apiGroup"), field("/kind"), field("/name"));
        errors.push(shown(Kind::Invalid, "roleRef", value, "cannot change roleRef"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_of_a_binding_cannot_change() {
        let of = |name: &str| json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name}});
        let errors = binding_update(&of("b"), &of("a"), true);
        assert_eq!(
            errors[0].message,
            r#"Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef"#
        );
    }

    #[test]
    fn an_aggregation_rule_selects_by_sound_selectors() {
        let of = |selectors: Value| rules(&json!({"aggregationRule": {"clusterRoleSelectors": selectors}}), false);
        let unsound = json!([{"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}]);
        let fields: Vec<String> = [of(json!([])), of(unsound)].concat().into_iter().map(|error| error.field).collect();
        let at = "aggregationRule.clusterRoleSelectors";
        let expected = [at, &format!("{at}[0].matchExpressions[0].values"), &format!("{at}[0]")];
        assert_eq!(fields, expected);
    }

    #[test]
    fn an_account_needs_its_namespace_in_a_cluster_role_binding() {
        let object = json!({"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "s"}]});
        assert_eq!([binding(&object, true).len(), binding(&object, false).len()], [0, 1]);
    }
}
