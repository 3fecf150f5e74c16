//! Whether rules are all held by someone: `k8s.io/component-helpers/auth/rbac/validation.Covers`. Pure, and bounded: a rule of
//! many groups, resources, verbs and names stands for their product.

use std::collections::{BTreeMap, BTreeSet};

use super::PolicyRule;
use super::rule::{has, url_matches};

/// Most comparisons of one right with one rule: about a second.
const MOST_COMPARISONS: usize = 20_000_000;
/// Most rights that rules may stand for.
const MOST_RIGHTS: usize = 200_000;

/// The rules stand for more rights than are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// One verb on one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right<'a> {
    Resource { verb: &'a str, group: &'a str, resource: &'a str, name: Option<&'a str> },
    Path { verb: &'a str, url: &'a str },
}

/// The rights that `wanted` has and `held` does not, as Kubernetes prints them, sorted; none when `held` covers `wanted`.
pub(crate) fn missing<'a>(
    held: impl Iterator<Item = &'a PolicyRule>,
    wanted: &'a [PolicyRule],
) -> Result<Vec<String>, TooMany> {
    let held: Vec<&PolicyRule> = held.collect();
    let rights = wanted.iter().map(size).fold(0, usize::saturating_add);
    if rights > MOST_RIGHTS || rights.saturating_mul(held.len().max(1)) > MOST_COMPARISONS {
        return Err(TooMany);
    }
    let lacking = wanted.iter().flat_map(breakdown).filter(|right| !held.iter().any(|rule| right.is_held(rule)));
    Ok(compact(lacking))
}

/// Whether the rules hold all that one rule allows.
pub(crate) fn covered(held: &[PolicyRule], wanted: &PolicyRule) -> bool {
    missing(held.iter(), std::slice::from_ref(wanted)).is_ok_and(|missing| missing.is_empty())
}

/// How many rights a rule stands for.
fn size(rule: &PolicyRule) -> usize {
    let product = |lists: &[usize]| lists.iter().fold(1, |all: usize, one| all.saturating_mul(*one));
    let [groups, resources, verbs] = [&rule.api_groups, &rule.resources, &rule.verbs].map(Vec::len);
    product(&[groups, resources, verbs, rule.resource_names.len().max(1)])
        .saturating_add(product(&[rule.non_resource_urls.len(), verbs]))
}

fn breakdown(rule: &PolicyRule) -> impl Iterator<Item = Right<'_>> {
    let resources = rule.api_groups.iter().flat_map(move |group| {
        rule.resources.iter().flat_map(move |resource| {
            rule.verbs.iter().flat_map(move |verb| {
                let any = rule.resource_names.is_empty().then_some(None);
                let names = rule.resource_names.iter().map(|name| Some(name.as_str()));
                any.into_iter().chain(names).map(move |name| Right::Resource { verb, group, resource, name })
            })
        })
    });
    let urls = &rule.non_resource_urls;
    resources.chain(urls.iter().flat_map(move |url| rule.verbs.iter().map(move |verb| Right::Path { verb, url })))
}

impl Right<'_> {
    fn is_held(&self, rule: &PolicyRule) -> bool {
        match *self {
            Self::Resource { verb, group, resource, name } => {
                has(&rule.verbs, verb)
                    && has(&rule.api_groups, group)
                    && covers_resource(&rule.resources, resource)
                    && (rule.resource_names.is_empty()
                        || name.is_some_and(|name| rule.resource_names.iter().any(|n| n == name)))
            }
            Self::Path { verb, url } => {
                has(&rule.verbs, verb)
                    && rule.resource_names.is_empty()
                    && rule.non_resource_urls.iter().any(|held| url_matches(held, url))
            }
        }
    }
}

fn covers_resource(held: &[String], wanted: &str) -> bool {
    let any = wanted.split_once('/').map(|(_, subresource)| subresource);
    has(held, wanted) || any.is_some_and(|sub| held.iter().any(|h| h.strip_prefix("*/") == Some(sub)))
}

/// Rights on the same thing in one line, as `CompactRules` and `CompactString` make it.
fn compact<'a>(rights: impl Iterator<Item = Right<'a>>) -> Vec<String> {
    type Thing<'a> = (&'a str, &'a str, Option<&'a str>);
    let mut verbs_of: BTreeMap<Thing<'_>, (BTreeSet<&str>, Vec<&str>)> = BTreeMap::new();
    let mut lines = BTreeSet::new();
    for right in rights {
        match right {
            Right::Resource { verb, group, resource, name } => {
                let (seen, verbs) = verbs_of.entry((group, resource, name)).or_default();
                if seen.insert(verb) {
                    verbs.push(verb);
                }
            }
            Right::Path { verb, url } => {
                lines.insert(format!("{{NonResourceURLs:[{url:?}], Verbs:[{verb:?}]}}"));
            }
        }
    }
    for ((group, resource, name), (_, verbs)) in verbs_of {
        let names = name.map(|name| format!("ResourceNames:[{name:?}], ")).unwrap_or_default();
        let verbs = quoted(verbs.iter());
        lines.insert(format!("{{APIGroups:[{group:?}], Resources:[{resource:?}], {names}Verbs:{verbs}}}"));
    }
    lines.into_iter().collect()
}

/// A list as Go's `%q` prints it: `["a" "b"]`.
pub(super) fn quoted(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    let items: Vec<String> = items.map(|item| format!("{:?}", item.as_ref())).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::authz::Attributes;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        PolicyRule {
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            verbs: list(verbs),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn what_is_missing_is_told_by_resource() {
        let held = [rule(&["get"], &[""], &["pods"], &[])];
        let wanted = [rule(&["get", "list", "watch"], &["", "apps"], &["pods"], &[])];
        let lines = [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#,
            r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list" "watch"]}"#,
        ];
        assert_eq!(missing(held.iter(), &wanted), Ok(list(&lines)));
    }

    #[test]
    fn a_missing_right_on_one_object_names_it() {
        let wanted = [rule(&["get"], &[""], &["secrets"], &["a"])];
        let line = r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}"#;
        assert_eq!(missing([].iter(), &wanted), Ok(list(&[line])));
    }

    #[test]
    fn a_missing_path_is_told_by_verb() {
        let wanted = [PolicyRule { non_resource_urls: list(&["/x"]), verbs: list(&["get"]), ..PolicyRule::default() }];
        assert_eq!(missing([].iter(), &wanted), Ok(list(&[r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#])));
    }

    #[test]
    fn a_product_beyond_measure_is_refused() {
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let wanted = [PolicyRule {
            api_groups: many.clone(),
            resources: many.clone(),
            verbs: many.clone(),
            resource_names: many,
            ..PolicyRule::default()
        }];
        assert_eq!(missing([].iter(), &wanted), Err(TooMany));
    }

    fn some(items: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
        proptest::sample::subsequence(items, least..=items.len()).prop_map(|items| list(&items))
    }

    fn rules() -> impl Strategy<Value = Vec<PolicyRule>> {
        let resources = (
            some(&["get", "list", "*"], 1),
            some(&["", "apps", "*"], 1),
            some(&["pods", "pods/log", "*/log", "*"], 1),
            some(&["a", "b"], 0),
        );
        let resources = resources.prop_map(|(verbs, api_groups, resources, resource_names)| PolicyRule {
            verbs,
            api_groups,
            resources,
            resource_names,
            ..PolicyRule::default()
        });
        let paths = (some(&["get", "*"], 1), some(&["/a", "/a/*", "/a*", "*"], 1))
            .prop_map(|(verbs, urls)| PolicyRule { verbs, non_resource_urls: urls, ..PolicyRule::default() });
        proptest::collection::vec(prop_oneof![3 => resources, 1 => paths], 0..4)
    }

    /// Every request of a small world that has, in each dimension, something that no rule names.
    fn everything() -> Vec<Attributes<'static>> {
        let mut all = Vec::new();
        for verb in ["get", "list", "other"] {
            for group in ["", "apps", "other"] {
                for resource in ["pods", "other"] {
                    for subresource in ["", "log", "other"] {
                        for name in ["", "a", "b", "other"] {
                            let (version, namespace) = ("v1", "ns");
                            let place = (verb, group, resource, subresource, name);
                            let (verb, group, resource, subresource, name) = place;
                            all.push(Attributes::Resource {
                                verb,
                                group,
                                version,
                                resource,
                                subresource,
                                namespace,
                                name,
                            });
                        }
                    }
                }
            }
            all.extend(["/a", "/a/x", "/ax", "/x"].map(|path| Attributes::Path { verb, path }));
        }
        all
    }

    proptest! {
        #[test]
        fn covering_is_allowing_every_request(held in rules(), wanted in rules()) {
            let allowed = |rules: &[PolicyRule], asked: &Attributes<'_>| rules.iter().any(|rule| rule.allows(asked));
            let brute = everything().iter().all(|asked| !allowed(&wanted, asked) || allowed(&held, asked));
            prop_assert_eq!(missing(held.iter(), &wanted) == Ok(Vec::new()), brute);
        }
    }
}
