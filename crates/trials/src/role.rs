//! Whether a role that is shipped is exactly what its controller needs: the controller runs under it and nothing else, and the
//! server's request log shows no refusal and no right that was never used. May touch the API server.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use kube::api::{Api, ObjectMeta, PostParams};
use paddock_apiserver::log::Entry;
use paddock_apiserver::{Server, User};

/// One verb on one resource, or on one object of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group, empty for core.
    pub group: String,
    /// `pods` or `pods/log`.
    pub resource: String,
    /// `get`, …
    pub verb: String,
    /// The only object it is for.
    pub name: Option<String>,
}

/// `get pods`, `patch deployments/scale.apps`, `bind clusterroles.rbac.authorization.k8s.io view`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb, name } = self;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "{verb} {resource}{dot}{group}")?;
        name.iter().try_for_each(|name| write!(f, " {name}"))
    }
}

impl Right {
    /// All that rules stand for.
    ///
    /// # Panics
    /// When a rule is for paths: the request log knows resources only.
    pub fn all_of(rules: &[PolicyRule]) -> BTreeSet<Self> {
        let mut rights = BTreeSet::new();
        for rule in rules {
            assert_eq!(rule.non_resource_urls, None, "rules for paths cannot be proved");
            let names: Vec<Option<String>> = match rule.resource_names.as_deref() {
                None | Some([]) => vec![None],
                Some(names) => names.iter().cloned().map(Some).collect(),
            };
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    for verb in &rule.verbs {
                        rights.extend(names.iter().map(|name| Self {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
                        }));
                    }
                }
            }
        }
        rights
    }

    /// The rule that grants just this.
    pub fn rule(&self) -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec![self.group.clone()]),
            resources: Some(vec![self.resource.clone()]),
            resource_names: self.name.clone().map(|name| vec![name]),
            verbs: vec![self.verb.clone()],
            ..PolicyRule::default()
        }
    }

    /// Whether a request needed it. An apply or update that made a new object needed `create` besides.
    fn is_used_by(&self, entry: &Entry) -> bool {
        let slash = if entry.subresource.is_empty() { "" } else { "/" };
        self.group == entry.group
            && self.resource == format!("{}{slash}{}", entry.resource, entry.subresource)
            && (self.verb == entry.verb.as_str() || (self.verb == "create" && entry.code == 201))
            && self.name.as_ref().is_none_or(|name| *name == entry.name)
    }
}

const NAME: &str = "trial";

/// A service account bound to a ClusterRole of its own with exactly these rules. Returns who that is.
///
/// # Panics
/// When the server refuses it.
pub async fn account_with(server: &Server, rules: Vec<PolicyRule>) -> User {
    let namespace = "kube-system";
    grant(server, rules).await;
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        role_ref: RoleRef { kind: "ClusterRole".to_owned(), name: NAME.to_owned(), ..RoleRef::default() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: NAME.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]),
    };
    let made = Api::all(server.client()).create(&PostParams::default(), &binding).await;
    made.expect("the role is bound");
    User::service_account(namespace, NAME)
}

/// Gives the account of [`account_with`] other rules.
///
/// # Panics
/// When the server refuses it.
pub async fn grant(server: &Server, rules: Vec<PolicyRule>) {
    let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    let role = ClusterRole { metadata, rules: Some(rules), ..ClusterRole::default() };
    let made = Api::all(server.client()).replace(NAME, &PostParams::default(), &role).await;
    made.expect("the role is installed");
}

/// Asserts that the role was enough for these requests and not more: none was refused, and each right was used or is excused.
/// An excuse is a right as it prints and the reason why no request shows it; one that is not needed fails too.
///
/// # Panics
/// When the role is too small or too large, with every finding.
pub fn proves_role(rules: &[PolicyRule], requests: &[Entry], excused: &[(&str, &str)]) {
    let findings = findings(rules, requests, excused);
    assert!(findings.is_empty(), "the role is not what the controller needs:\n{}", findings.join("\n"));
}

fn findings(rules: &[PolicyRule], requests: &[Entry], excused: &[(&str, &str)]) -> Vec<String> {
    let mut findings: Vec<String> = requests
        .iter()
        .filter(|entry| entry.code == 403)
        .map(|entry| {
            let Entry { verb, group, resource, subresource, namespace, name, .. } = entry;
            let verb = verb.as_str();
            format!("refused: {verb} {group}/{resource} {subresource} namespace {namespace:?} name {name:?}")
        })
        .collect();
    let rights = Right::all_of(rules);
    let texts: BTreeSet<String> = rights.iter().map(Right::to_string).collect();
    for right in &rights {
        let (text, used) = (right.to_string(), requests.iter().any(|entry| right.is_used_by(entry)));
        match (used, excused.iter().any(|(excuse, _)| *excuse == text)) {
            (false, false) => findings.push(format!("never used: {text}")),
            (true, true) => findings.push(format!("excused and used: {text}")),
            _ => {}
        }
    }
    let unknown = excused.iter().filter(|(excuse, _)| !texts.contains(*excuse));
    findings.extend(unknown.map(|(excuse, _)| format!("excused and not in the role: {excuse}")));
    findings
}

#[cfg(test)]
mod tests {
    use paddock_apiserver::request::Verb;

    use super::*;

    fn request(verb: Verb, resource: &str, name: &str, code: u16) -> Entry {
        let text = str::to_owned;
        Entry {
            verb,
            group: String::new(),
            resource: text(resource),
            subresource: String::new(),
            namespace: text("n"),
            name: text(name),
            user: text("u"),
            field_manager: String::new(),
            code,
            dry_run: false,
        }
    }

    fn rule(resource: &str, verbs: &[&str], name: Option<&str>) -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![resource.to_owned()]),
            resource_names: name.map(|name| vec![name.to_owned()]),
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn a_role_that_fits_has_no_findings() {
        let requests = [request(Verb::Get, "pods", "p", 404), request(Verb::List, "pods", "", 200)];
        proves_role(&[rule("pods", &["get", "list"], None)], &requests, &[]);
    }

    #[test]
    fn a_refusal_is_a_finding() {
        let found = findings(&[], &[request(Verb::Get, "pods", "p", 403)], &[]);
        assert_eq!(found, [r#"refused: get /pods  namespace "n" name "p""#]);
    }

    #[test]
    fn a_right_that_nobody_used_is_a_finding() {
        let rules = [rule("pods", &["get", "delete"], None)];
        assert_eq!(findings(&rules, &[request(Verb::Get, "pods", "p", 200)], &[]), ["never used: delete pods"]);
    }

    #[test]
    fn a_right_on_another_object_is_not_used() {
        let rules = [rule("pods", &["get"], Some("q"))];
        assert_eq!(findings(&rules, &[request(Verb::Get, "pods", "p", 200)], &[]), ["never used: get pods q"]);
    }

    #[test]
    fn an_apply_that_creates_uses_create() {
        proves_role(&[rule("pods", &["create", "patch"], None)], &[request(Verb::Patch, "pods", "p", 201)], &[]);
    }

    #[test]
    fn an_excuse_that_is_not_needed_is_a_finding() {
        let rules = [rule("pods", &["get"], None)];
        let excused = [("get pods", "why"), ("get nodes", "why")];
        assert_eq!(
            findings(&rules, &[request(Verb::Get, "pods", "p", 200)], &excused),
            ["excused and used: get pods", "excused and not in the role: get nodes"]
        );
    }
}
