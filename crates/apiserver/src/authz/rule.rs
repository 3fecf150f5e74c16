//! `PolicyRule`: what a role allows, and whether a request is among it. Pure; the rules are those of
//! `k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go`.

use serde::{Deserialize, Deserializer, Serialize};

use super::Attributes;

/// One rule of a Role or ClusterRole. `*` stands for everything in all lists but `resourceNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyRule {
    /// API groups, empty string for core.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    /// URL paths; a trailing `*` stands for any rest.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub non_resource_urls: Vec<String>,
    /// Object names; none: any.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    /// `get`, `list`, …
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
}

/// A list that may be `null`.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::<Vec<String>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

const ALL: &str = "*";

/// The string is in the list, or the list has `*`.
pub(super) fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

/// A path, against one with an optional `*` at its end.
pub(super) fn url_matches(pattern: &str, path: &str) -> bool {
    pattern == path || (pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*')))
}

impl PolicyRule {
    /// Whether the rule allows what is asked.
    pub(crate) fn allows(&self, asked: &Attributes<'_>) -> bool {
        match *asked {
            Attributes::Resource { verb, group, resource, subresource, name, .. } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self.resources.iter().any(|rule| resource_matches(rule, resource, subresource))
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name))
            }
            Attributes::Path { verb, path } => {
                has(&self.verbs, verb) && self.non_resource_urls.iter().any(|url| url_matches(url, path))
            }
        }
    }
}

/// `*` is everything, subresources included; `pods` is no subresource; `*/scale` is `scale` of any resource.
fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == ALL {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    match rule.split_once('/') {
        Some((of, sub)) => sub == subresource && (of == ALL || of == resource),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks<'a>(verb: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes::Resource { verb, group: "", version: "v1", resource, subresource, namespace: "ns", name }
    }

    fn rule(verbs: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        PolicyRule {
            api_groups: vec![String::new()],
            verbs: list(verbs),
            resources: list(resources),
            resource_names: list(names),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn a_resource_does_not_include_its_subresources() {
        assert!(!rule(&["*"], &["pods"], &[]).allows(&asks("get", "pods/log", "p")));
    }

    #[test]
    fn a_star_includes_subresources() {
        assert!(rule(&["get"], &["*"], &[]).allows(&asks("get", "pods/log", "p")));
    }

    #[test]
    fn a_star_before_the_slash_is_any_resource_with_that_subresource() {
        let rule = rule(&["get"], &["*/scale"], &[]);
        let asked =
            ["deployments/scale", "deployments/status", "deployments"].map(|r| rule.allows(&asks("get", r, "d")));
        assert_eq!(asked, [true, false, false]);
    }

    #[test]
    fn a_star_after_the_slash_is_no_pattern() {
        assert!(!rule(&["get"], &["pods/*"], &[]).allows(&asks("get", "pods/log", "p")));
    }

    #[test]
    fn names_exclude_requests_without_a_name() {
        let rule = rule(&["get", "create"], &["pods"], &["a"]);
        let asked =
            [("get", "a"), ("get", "b"), ("create", "")].map(|(verb, name)| rule.allows(&asks(verb, "pods", name)));
        assert_eq!(asked, [true, false, false]);
    }

    #[test]
    fn a_star_is_no_name() {
        assert!(!rule(&["get"], &["pods"], &["*"]).allows(&asks("get", "pods", "a")));
    }

    #[test]
    fn a_rule_for_all_resources_allows_no_path() {
        assert!(!rule(&["*"], &["*"], &[]).allows(&Attributes::Path { verb: "get", path: "/version" }));
    }

    #[test]
    fn a_url_ends_in_a_star_or_is_exact() {
        let rule = PolicyRule {
            non_resource_urls: vec!["/a/*".to_owned(), "/b".to_owned()],
            verbs: vec!["get".to_owned()],
            ..PolicyRule::default()
        };
        let asked =
            ["/a/b/c", "/a/", "/a", "/b", "/b/c"].map(|path| rule.allows(&Attributes::Path { verb: "get", path }));
        assert_eq!(asked, [true, true, false, true, false]);
    }

    #[test]
    fn null_lists_are_empty() {
        let rule: PolicyRule = serde_json::from_str(r#"{"verbs": null, "resources": null}"#).unwrap();
        assert_eq!(rule, PolicyRule::default());
    }
}
