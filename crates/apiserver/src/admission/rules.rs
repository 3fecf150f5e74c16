//! Which writes a webhook or policy is about: operations, resources, scope, selectors. Pure but for the look-up of namespaces.
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates` and `plugin/policy/matching`.

use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Operation};
use crate::kinds::at::At;
use crate::resource::Resource;
use crate::selector::LabelSelector;
use crate::status::Status;

/// One of `rules` or `resourceRules`.
#[derive(Debug)]
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    /// Policies only; empty: any name.
    names: Vec<String>,
    scope: Scope,
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    All,
    Namespaced,
    Cluster,
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    value.list_at(pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// Every rule of a list.
    pub(crate) fn all(rules: &[Value]) -> Vec<Self> {
        rules.iter().map(Self::of).collect()
    }

    fn of(rule: &Value) -> Self {
        Self {
            operations: texts(rule, "/operations"),
            groups: texts(rule, "/apiGroups"),
            versions: texts(rule, "/apiVersions"),
            resources: texts(rule, "/resources"),
            names: texts(rule, "/resourceNames"),
            scope: match rule.str_at("/scope") {
                "Namespaced" => Scope::Namespaced,
                "Cluster" => Scope::Cluster,
                _ => Scope::All,
            },
        }
    }

    fn matches(&self, a: &Attributes<'_>, resource: &Resource) -> bool {
        let clustered = a.namespace.is_empty() || is_namespace(resource);
        let scoped = match self.scope {
            Scope::All => true,
            Scope::Namespaced => !clustered,
            Scope::Cluster => clustered,
        };
        let part = |wanted: &String| {
            let (plural, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            (plural == "*" || *plural == *resource.plural) && (subresource == "*" || subresource == a.subresource)
        };
        scoped
            && has(&self.operations, a.operation.as_str())
            && has(&self.groups, &resource.group)
            && has(&self.versions, &resource.version)
            && self.resources.iter().any(part)
            && (self.names.is_empty() || self.names.iter().any(|name| name == a.name))
    }
}

fn is_namespace(resource: &Resource) -> bool {
    !resource.custom && *resource.group == *"" && *resource.plural == *"namespaces"
}

/// The resource under which a write matches one of `rules`: its own, or, unless only an exact match counts, another version
/// (or group) of the same stored resource.
pub(crate) fn matched(rules: &[Rule], exact: bool, a: &Attributes<'_>) -> Option<Arc<Resource>> {
    if rules.iter().any(|rule| rule.matches(a, &a.resource)) {
        return Some(a.resource.clone());
    }
    if exact || rules.is_empty() {
        return None;
    }
    rules.iter().find_map(|rule| a.equivalents().iter().find(|other| rule.matches(a, other)).cloned())
}

/// `namespaceSelector` and `objectSelector`.
#[derive(Debug)]
pub(crate) struct Selectors {
    namespace: Result<LabelSelector, String>,
    object: Result<LabelSelector, String>,
}

impl Selectors {
    pub(crate) fn of(holder: &Value) -> Self {
        let selector = |pointer| LabelSelector::from_object(holder.at(pointer)).map_err(|error| error.to_string());
        Self { namespace: selector("/namespaceSelector"), object: selector("/objectSelector") }
    }

    /// Whether both select the write.
    ///
    /// # Errors
    /// 404 when the namespace is not there; 500 for a selector that was stored but means nothing.
    pub(crate) fn match_write(&self, a: &Attributes<'_>) -> Result<bool, Status> {
        let internal = |error: &String| Status::internal(error.clone());
        let object = self.object.as_ref().map_err(internal)?;
        let selects = |value: &Value| value.is_object() && object.matches_object(value);
        if !object.is_empty() && !selects(&a.object) && !selects(a.old) {
            return Ok(false);
        }
        let about_namespaces = *a.resource.plural == *"namespaces";
        if a.namespace.is_empty() && !about_namespaces {
            return Ok(true);
        }
        let namespace = self.namespace.as_ref().map_err(internal)?;
        if namespace.is_empty() {
            return Ok(true);
        }
        // A namespace that is being written is judged by what it will be.
        let itself = about_namespaces && a.subresource.is_empty();
        if itself && matches!(a.operation, Operation::Create | Operation::Update) {
            return Ok(namespace.matches_object(&a.object));
        }
        match a.api.lookup("/namespaces", "", a.namespace) {
            Some(stored) => Ok(namespace.matches_object(&stored)),
            None => Err(Status::not_found("", "namespaces", a.namespace)),
        }
    }
}

/// `matchConstraints` of a policy, `matchResources` of a binding.
#[derive(Debug)]
pub(crate) struct MatchResources {
    selectors: Selectors,
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    exact: bool,
}

impl MatchResources {
    pub(crate) fn of(resources: &Value) -> Self {
        Self {
            selectors: Selectors::of(resources),
            rules: Rule::all(resources.list_at("/resourceRules")),
            excluded: Rule::all(resources.list_at("/excludeResourceRules")),
            exact: resources.str_at("/matchPolicy") == "Exact",
        }
    }

    /// The resource under which the write matches; no rules match everything that is not excluded.
    ///
    /// # Errors
    /// As [`Selectors::match_write`].
    pub(crate) fn matched(&self, a: &Attributes<'_>) -> Result<Option<Arc<Resource>>, Status> {
        if matched(&self.excluded, self.exact, a).is_some() {
            return Ok(None);
        }
        let resource =
            if self.rules.is_empty() { Some(a.resource.clone()) } else { matched(&self.rules, self.exact, a) };
        let Some(resource) = resource else { return Ok(None) };
        Ok(self.selectors.match_write(a)?.then_some(resource))
    }
}

/// Whether a write is about configurations of webhooks or policies themselves: nobody may lock out their own repair.
pub(crate) fn is_exempt(a: &Attributes<'_>) -> bool {
    !a.resource.custom && *a.resource.group == *"admissionregistration.k8s.io"
}
