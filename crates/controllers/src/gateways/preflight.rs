//! What a gateway needs that is not ours to make: rights, the Sandbox kind, storage, a cluster that is new enough. What is
//! missing is told exactly.
//!
//! [`judge`] and [`missing`] are pure; [`Preflight`] looks, and asks the API server for rights only when a gateway is new or its
//! objects could not be written: a settled world asks nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, PostParams};
use paddock_reconcile::{Context, Dependency, Error, Kind};
use serde_json::Value;

use super::key::GatewayKey;
use super::platform::{ClusterVersion, Database};
use super::rbac;
use super::report::{APPLY_FAILED, is_rolled_out};
use super::version::GatewayVersion;

/// The oldest cluster that Paddock is made for.
const OLDEST_CLUSTER: ClusterVersion = ClusterVersion::minor(33);
/// From this release on the gateway speaks v1beta1 of the Sandbox kind, too.
const BOTH_SANDBOX_VERSIONS: GatewayVersion = GatewayVersion::patch(72);
/// The label by which a namespace chooses its Pod Security Standard.
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";
/// More rights than this are counted.
const NAMED: usize = 8;

/// What a snapshot saw around a gateway.
#[derive(Debug, Clone, Default)]
pub(super) struct Premises {
    pub(super) cluster: Option<ClusterVersion>,
    /// See [`Facts::default_storage`].
    pub(super) default_storage: Option<bool>,
    /// The tenant's namespace.
    pub(super) namespace: Option<Arc<Value>>,
    /// See [`Facts::rights`].
    pub(super) rights: Arc<Vec<String>>,
}

impl Premises {
    /// Judges them. `lacks_database`: see [`Facts::lacks_database`].
    pub(super) fn judge(&self, version: GatewayVersion, sandbox_versions: &str, lacks_database: bool) -> Findings {
        judge(&Facts {
            version,
            cluster: self.cluster,
            sandbox_versions,
            lacks_database,
            default_storage: self.default_storage,
            namespace: self.namespace.as_deref().unwrap_or(&Value::Null),
            rights: &self.rights,
        })
    }
}

/// What was found of a gateway, by which it is decided what to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) cluster: Option<ClusterVersion>,
    pub(super) namespace: Option<&'a Arc<Value>>,
    pub(super) anchor: Option<&'a Value>,
    pub(super) workload: Option<&'a Value>,
}

/// Looks at what gateways depend on.
#[derive(Debug)]
pub(super) struct Preflight {
    rights: Rights,
    required: Vec<PolicyRule>,
}

impl Preflight {
    pub(super) fn new(rights: Rights) -> Self {
        Self { rights, required: rbac::controller_rules() }
    }

    /// Looks at what one gateway depends on.
    pub(super) async fn look(
        &self,
        cx: &Context,
        key: &GatewayKey,
        database: &Database,
        found: Found<'_>,
    ) -> Result<Premises, Error> {
        let failed =
            |anchor: &Value| anchor["data"]["conditions"].as_str().is_some_and(|text| text.contains(APPLY_FAILED));
        let rights = if found.anchor.is_none_or(failed) {
            self.rights.ask(cx, &self.required, key.namespace()).await
        } else {
            self.rights.forget(key.namespace());
            Arc::default()
        };
        let runs = found.workload.is_some_and(is_rolled_out);
        let default_storage = match database {
            // A volume that is there needs no class any more.
            Database::Sqlite if !runs => match cx.list(&Kind::of::<StorageClass>(), None, &[]).await {
                Ok(classes) => Some(has_default(&classes)),
                Err(Error::Waiting { .. }) => None,
                Err(error) => return Err(error),
            },
            Database::Sqlite | Database::Postgres { .. } => None,
        };
        Ok(Premises { cluster: found.cluster, default_storage, namespace: found.namespace.cloned(), rights })
    }
}

/// Whether one of these StorageClasses is the default one.
fn has_default(classes: &[Arc<Value>]) -> bool {
    let default = "storageclass.kubernetes.io/is-default-class";
    classes.iter().any(|class| paddock_reconcile::object::annotation(class, default) == Some("true"))
}

/// The sentence about rights that are missing.
pub(super) fn may_not(rights: &[String]) -> String {
    let more = rights.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the control plane may not: {}{more}", rights.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; "))
}

/// The reason of missing rights.
pub(super) const PERMISSIONS_MISSING: &str = "PermissionsMissing";

/// What the judgement depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) version: GatewayVersion,
    pub(super) cluster: Option<ClusterVersion>,
    /// Served versions of the Sandbox kind, separated by commas; empty when its definition does not exist.
    pub(super) sandbox_versions: &'a str,
    /// Whether the Secret with the address of an external database is missing.
    pub(super) lacks_database: bool,
    /// Whether a claim without a class gets one; `None` when it needs none, or nobody may look.
    pub(super) default_storage: Option<bool>,
    /// The tenant's namespace.
    pub(super) namespace: &'a Value,
    /// Rights that the control plane lacks, as [`missing`] tells them.
    pub(super) rights: &'a [String],
}

/// What is missing: a reason in CamelCase and a sentence each, the most basic first; and what is worth knowing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) missing: Vec<(&'static str, String)>,
    pub(super) notes: Vec<String>,
}

/// Judges.
pub(super) fn judge(facts: &Facts<'_>) -> Findings {
    let mut findings = Findings::default();
    let mut lacks = |reason, message: String| findings.missing.push((reason, message));
    if !facts.rights.is_empty() {
        lacks(PERMISSIONS_MISSING, may_not(facts.rights));
    }
    if let Some(cluster) = facts.cluster.filter(|cluster| *cluster < OLDEST_CLUSTER) {
        lacks(
            "ClusterTooOld",
            format!("the cluster is {cluster}; Kubernetes {OLDEST_CLUSTER} is the oldest supported"),
        );
    }
    // Without it the gateway itself does not start: that comes before what its sandboxes lack.
    if facts.lacks_database {
        let key = super::names::DATABASE_KEY;
        lacks("DatabaseSecretMissing", format!("the Secret of the database has no key {key}, or does not exist"));
    }
    let served: Vec<&str> = facts.sandbox_versions.split(',').filter(|version| !version.is_empty()).collect();
    let both = facts.version >= BOTH_SANDBOX_VERSIONS;
    let common = served.contains(&"v1alpha1") || (both && served.contains(&"v1beta1"));
    if served.is_empty() {
        lacks(
            "SandboxKindMissing",
            format!("the CustomResourceDefinition {} does not exist", super::names::SANDBOX_CRD),
        );
    } else if !common {
        let needs = if both { "v1beta1 or v1alpha1" } else { "v1alpha1" };
        let message = format!(
            "gateway {} needs {needs} of {}; served: {}",
            facts.version,
            super::names::SANDBOX_CRD,
            facts.sandbox_versions
        );
        lacks("SandboxVersionMissing", message);
    }
    if facts.default_storage == Some(false) {
        let message = "no StorageClass is the default one, so the gateway's volume cannot be made";
        lacks("StorageClassMissing", message.to_owned());
    }
    let standard = facts.namespace["metadata"]["labels"][POD_SECURITY].as_str();
    if let Some(standard @ ("restricted" | "baseline")) = standard {
        // Exemptions cannot be seen from outside, so this is no verdict.
        findings.notes.push(format!(
            "the namespace enforces the Pod Security Standard {standard}: the gateway passes it, sandboxes need privileged"
        ));
    }
    findings
}

/// What of `required` the rules of a review do not hold, such as `create, patch secrets`.
pub(super) fn missing(required: &[PolicyRule], held: &[ResourceRule]) -> Vec<String> {
    let has = |list: Option<&[String]>, word: &str| {
        list.is_some_and(|list| list.iter().any(|item| item == word || item == "*"))
    };
    let mut lacking: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for rule in required {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let names = rule.resource_names.as_deref().unwrap_or_default();
                for verb in &rule.verbs {
                    let covers = |rule: &&ResourceRule| {
                        has(Some(&rule.verbs), verb)
                            && has(rule.api_groups.as_deref(), group)
                            && has(rule.resources.as_deref(), resource)
                    };
                    let mut covering =
                        held.iter().filter(covers).map(|rule| rule.resource_names.as_deref().unwrap_or_default());
                    let named = |held: &[String]| {
                        held.is_empty() || (!names.is_empty() && names.iter().all(|name| held.contains(name)))
                    };
                    if !covering.any(named) {
                        let dot = if group.is_empty() { "" } else { "." };
                        let of = if names.is_empty() { String::new() } else { format!(" {}", names.join(" ")) };
                        lacking.entry(format!("{resource}{dot}{group}{of}")).or_default().push(verb);
                    }
                }
            }
        }
    }
    lacking.into_iter().map(|(resource, verbs)| format!("{} {resource}", verbs.join(", "))).collect()
}

/// How long an answer about rights holds.
const RIGHTS_HOLD: SignedDuration = SignedDuration::from_mins(5);
/// No namespace has bindings under this name, so the answer for it is what holds in every namespace.
const NOWHERE: &str = "paddock-preflight";

/// When the API server was asked, and what is missing.
type Answer = (Timestamp, Arc<Vec<String>>);

/// Which of our rights are missing where. Clones share what is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights(Arc<Mutex<HashMap<String, Answer>>>);

impl Rights {
    /// Wakes who waits for news about rights.
    pub(super) fn news() -> Dependency {
        Dependency::Named("rights of the control plane".into())
    }

    /// What is known to be missing in a namespace.
    pub(super) fn known(&self, namespace: &str) -> Arc<Vec<String>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(namespace).map(|(_, missing)| Arc::clone(missing)).unwrap_or_default()
    }

    /// Asks what is missing in a namespace: once for all of them, and for the one alone when that does not suffice. What
    /// cannot be asked is not missing.
    pub(super) async fn ask(&self, cx: &Context, required: &[PolicyRule], namespace: &str) -> Arc<Vec<String>> {
        if self.review(cx, required, NOWHERE).await.is_empty() {
            self.forget(namespace);
            return Arc::default();
        }
        self.review(cx, required, namespace).await
    }

    /// Nothing failed here: what was missing is not any more.
    pub(super) fn forget(&self, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
    }

    async fn review(&self, cx: &Context, required: &[PolicyRule], namespace: &str) -> Arc<Vec<String>> {
        let now = cx.clock().now();
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, (asked, _)| now.duration_since(*asked) < RIGHTS_HOLD);
            if let Some((_, missing)) = known.get(namespace) {
                return Arc::clone(missing);
            }
        }
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let answer = Api::all(cx.client().clone()).create(&PostParams::default(), &review).await;
        let status = answer.ok().and_then(|review| review.status);
        // Some authorisers cannot list rules; then nothing is known to be missing.
        let lacking =
            status.filter(|status| !status.incomplete).map(|status| missing(required, &status.resource_rules));
        let lacking = Arc::new(lacking.unwrap_or_default());
        let answer = (now, Arc::clone(&lacking));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned(), answer);
        if namespace != NOWHERE {
            cx.wake(&Self::news());
        }
        lacking
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateways::rbac;

    fn facts(namespace: &Value) -> Facts<'_> {
        Facts {
            version: GatewayVersion::patch(111),
            cluster: Some(ClusterVersion::minor(36)),
            sandbox_versions: "v1alpha1,v1beta1",
            lacks_database: false,
            default_storage: Some(true),
            namespace,
            rights: &[],
        }
    }

    fn reasons(facts: &Facts<'_>) -> Vec<&'static str> {
        judge(facts).missing.into_iter().map(|(reason, _)| reason).collect()
    }

    #[test]
    fn gw_w11_each_missing_thing_is_told() {
        let namespace = json!({});
        let good = facts(&namespace);
        let rights = ["create secrets".to_owned()];
        for (facts, expected) in [
            (good, vec![]),
            (Facts { cluster: None, default_storage: None, ..good }, vec![]),
            (Facts { sandbox_versions: "", ..good }, vec!["SandboxKindMissing"]),
            (Facts { sandbox_versions: "v1beta1", ..good }, vec![]),
            (Facts { sandbox_versions: "v1", ..good }, vec!["SandboxVersionMissing"]),
            (
                Facts { version: GatewayVersion::patch(71), sandbox_versions: "v1beta1", ..good },
                vec!["SandboxVersionMissing"],
            ),
            (Facts { cluster: Some(ClusterVersion::minor(32)), ..good }, vec!["ClusterTooOld"]),
            (Facts { default_storage: Some(false), ..good }, vec!["StorageClassMissing"]),
            (
                Facts { lacks_database: true, sandbox_versions: "", ..good },
                vec!["DatabaseSecretMissing", "SandboxKindMissing"],
            ),
            (Facts { rights: &rights, sandbox_versions: "", ..good }, vec!["PermissionsMissing", "SandboxKindMissing"]),
        ] {
            assert_eq!(reasons(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn gw_a08_a_strict_pod_security_standard_is_told_and_its_label_is_left() {
        let namespace = json!({ "metadata": { "labels": { POD_SECURITY: "restricted" } } });
        let findings = judge(&facts(&namespace));
        assert_eq!((findings.missing.len(), findings.notes.len()), (0, 1));
    }

    fn held(rules: &[PolicyRule]) -> Vec<ResourceRule> {
        rules
            .iter()
            .map(|rule| ResourceRule {
                api_groups: rule.api_groups.clone(),
                resources: rule.resources.clone(),
                resource_names: rule.resource_names.clone(),
                verbs: rule.verbs.clone(),
            })
            .collect()
    }

    #[test]
    fn gw_w10_exactly_what_is_missing_is_listed() {
        let required = rbac::controller_rules();
        assert_eq!(missing(&required, &held(&required)), Vec::<String>::new());
        let everything = |verbs: &[&str]| ResourceRule {
            api_groups: Some(vec!["*".into()]),
            resources: Some(vec!["*".into()]),
            resource_names: None,
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        };
        assert_eq!(missing(&required, &[everything(&["*"])]), Vec::<String>::new());
        let mut some = held(&required);
        for rule in &mut some {
            if rule.resources.as_ref().is_some_and(|all| all.iter().any(|one| one == "secrets")) {
                rule.verbs.retain(|verb| verb != "create");
            }
        }
        some.retain(|rule| rule.resource_names.is_none());
        let lacking = missing(&required, &some);
        assert!(lacking.contains(&"create secrets".to_owned()), "{lacking:?}");
        assert!(
            lacking.iter().any(|lack| lack.starts_with("bind clusterroles.rbac.authorization.k8s.io ")),
            "{lacking:?}"
        );
    }

    #[test]
    fn gw_w10_a_right_on_other_objects_does_not_count() {
        let required = [PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["secrets".into()]),
            verbs: vec!["get".into()],
            ..PolicyRule::default()
        }];
        let named = ResourceRule { resource_names: Some(vec!["one".into()]), ..held(&required)[0].clone() };
        assert_eq!(missing(&required, &[named]), ["get secrets"]);
    }
}
