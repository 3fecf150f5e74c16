//! Nobody gives what he has not got: who writes a role needs all its rules or `escalate`, who writes a binding needs all the
//! rules of its role or `bind` (`k8s.io/kubernetes/pkg/registry/rbac/*/policybased`).

use serde_json::{Value, json};

use super::covers::{self, quoted};
use super::{Attributes, Decision, PolicyRule, RoleRef};
use crate::handlers::Call;
use crate::kinds::At;
use crate::status::Status;
use crate::user::MASTERS;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The rules of `cluster-admin`: who sets an aggregation rule may collect anything.
fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    [
        PolicyRule { api_groups: all(), resources: all(), verbs: all(), ..PolicyRule::default() },
        PolicyRule { non_resource_urls: all(), verbs: all(), ..PolicyRule::default() },
    ]
}

impl Call<'_> {
    /// Refuses a role or binding that grants what the user does not hold. `name` is the object's as it was sent.
    pub(crate) fn check_escalation(&self, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        if *self.resource.group != *GROUP || self.user.is_in(MASTERS) {
            return Ok(());
        }
        match &*self.resource.plural {
            "roles" | "clusterroles" => self.check_role(name, new, old),
            "rolebindings" | "clusterrolebindings" => self.check_binding(name, new, old),
            _ => Ok(()),
        }
    }

    fn check_role(&self, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let (resource, path) = (&*self.resource.plural, self.path);
        if self.is_allowed("escalate", resource, &path.namespace, &path.name) || old.is_some_and(|o| same(new, o)) {
            return Ok(());
        }
        let rules: Vec<PolicyRule> = serde_json::from_value(new.at("/rules").clone()).unwrap_or_default();
        self.confirm_held(&rules).map_err(|why| self.forbidden(name, &why))?;
        let aggregates = |role: &Value| role.has("/aggregationRule");
        if (aggregates(new) || old.is_some_and(aggregates)) && self.confirm_held(&everything()).is_err() {
            return Err(self.forbidden(name, "must have cluster-admin privileges to use the aggregationRule"));
        }
        Ok(())
    }

    fn check_binding(&self, name: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        if old.is_some_and(|old| same(new, old)) {
            return Ok(());
        }
        let text = |pointer: &str| new.str_at(pointer).to_owned();
        let role = RoleRef { kind: text("/roleRef/kind"), name: text("/roleRef/name") };
        let namespace = &*self.path.namespace;
        let resource = match role.kind.as_str() {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            other => return Err(Status::new(500, "", format!("unsupported role reference kind: {other:?}"))),
        };
        let group = new.str_at("/roleRef/apiGroup");
        let asked = resource_attributes("bind", group, resource, namespace, &role.name);
        if matches!(self.api.authorize(self.user, &asked), Decision::Allow(_)) {
            return Ok(());
        }
        // The storage names what is missing by the resource of the request.
        let rules =
            self.api.authorizer.role(&self.api.store, &role, namespace).ok_or_else(|| self.not_found(&role.name))?;
        self.confirm_held(&rules).map_err(|why| self.forbidden(name, &why))
    }

    fn is_allowed(&self, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let asked = resource_attributes(verb, GROUP, resource, namespace, name);
        matches!(self.api.authorize(self.user, &asked), Decision::Allow(_))
    }

    /// The error says which of the rules the user does not hold in the namespace of the request.
    fn confirm_held(&self, rules: &[PolicyRule]) -> Result<(), String> {
        let held = self.api.authorizer.rules_of(&self.api.store, self.user, &self.path.namespace);
        let missing = covers::missing(held.iter(), rules).map_err(|_| {
            "the rules stand for too many rights to be compared with those that the user holds".to_owned()
        })?;
        if missing.is_empty() {
            return Ok(());
        }
        let groups = quoted(self.user.groups.iter());
        let mut why = format!(
            "user {:?} (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{}",
            self.user.name,
            missing.join("\n")
        );
        if !held.error.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", held.error));
        }
        Err(why)
    }
}

fn resource_attributes<'a>(
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
) -> Attributes<'a> {
    Attributes::Resource { verb, group, version: "*", resource, subresource: "", namespace, name }
}

/// Whether an update changes nothing but what the garbage collector does: owners and finalizers.
fn same(new: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        // Absent and empty are the same to Go.
        if object["rules"] == json!([]) {
            object["rules"] = Value::Null;
        }
        object
    };
    rest(new) == rest(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_finalizers_are_the_garbage_collectors() {
        let old = json!({"metadata": {"name": "a", "finalizers": ["x"]}, "rules": null});
        let new = json!({"metadata": {"name": "a", "ownerReferences": []}, "rules": []});
        assert!(same(&new, &old));
    }

    #[test]
    fn a_label_is_a_change() {
        assert!(!same(&json!({"metadata": {"labels": {"a": "b"}}}), &json!({"metadata": {}})));
    }
}
