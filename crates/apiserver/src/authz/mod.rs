//! Authorisation: may this user do that? Asked once for every request, and by whatever acts for a user (impersonation,
//! reviews, admission expressions, escalation checks). Reads the store, writes nothing.
//!
//! | module | what it is for |
//! |---|---|
//! | `rule` | what one rule allows |
//! | `index` | roles and bindings, decoded and found by subject, current with the store |
//! | `covers` | whether rules are all held by someone |
//! | `escalation` | who may write which roles and bindings |

mod covers;
mod escalation;
mod index;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

pub(crate) use self::covers::covered;
pub(crate) use self::index::RoleRef;
pub use self::rule::PolicyRule;
use crate::api::Api;
use crate::status::{Details, Status};
use crate::store::Store;
use crate::user::{MASTERS, User};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attributes<'a> {
    /// A request to a resource; empty strings as in `SubjectAccessReview`: a namespace of "" is the whole cluster, a name of ""
    /// any.
    Resource {
        verb: &'a str,
        group: &'a str,
        version: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// A request to any other path.
    Path { verb: &'a str, path: &'a str },
}

/// The answer, with the reason that reviews show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow(String),
    /// Nobody allowed it. The reason names what could not be looked at, and is usually empty.
    NoOpinion(String),
}

impl<'a> Attributes<'a> {
    pub(crate) fn verb(&self) -> &'a str {
        match self {
            Self::Resource { verb, .. } | Self::Path { verb, .. } => verb,
        }
    }

    /// The same with another verb.
    pub(crate) fn with_verb<'b>(&self, verb: &'b str) -> Attributes<'b>
    where
        'a: 'b,
    {
        match *self {
            Self::Resource { group, version, resource, subresource, namespace, name, .. } => {
                Attributes::Resource { verb, group, version, resource, subresource, namespace, name }
            }
            Self::Path { path, .. } => Attributes::Path { verb, path },
        }
    }

    /// The 403 for it, worded as kube-apiserver words it; an empty reason is left out.
    pub(crate) fn forbidden(&self, user: &User, reason: &str) -> Status {
        let who = &user.name;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        match *self {
            Self::Resource { verb, group, resource, subresource, namespace, name, .. } => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                let scope = if namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {namespace:?}")
                };
                let what = format!("{resource}{slash}{subresource}");
                let why = format!("User {who:?} cannot {verb} resource {what:?} in API group {group:?} {scope}");
                Status::forbidden(group, resource, name, &format!("{}{reason}", sanitized(&why)))
            }
            Self::Path { verb, path } => {
                let why = format!("User {who:?} cannot {verb} path {path:?}");
                Status::new(403, "Forbidden", format!("forbidden: {}{reason}", sanitized(&why)))
                    .with(Details::default())
            }
        }
    }
}

/// What a browser would take for markup is escaped.
fn sanitized(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What a user may do in a namespace.
#[derive(Debug, Default)]
pub(crate) struct RulesOf {
    /// The rules of each role that the user has, each role once.
    pub(crate) rules: Vec<Arc<[PolicyRule]>>,
    /// Which roles are missing; empty when none is.
    pub(crate) error: String,
}

impl RulesOf {
    /// All rules.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PolicyRule> {
        self.rules.iter().flat_map(|rules| rules.iter())
    }
}

/// Most missing roles that a reason names.
const MISSING_NAMED: usize = 32;

/// Decides by the stored roles and bindings, as they are at each question.
#[derive(Default)]
pub(crate) struct Authorizer(RwLock<index::Index>);

impl Authorizer {
    /// The index with everything that the store shows. A poisoned lock is taken as it is: see `Shared::index` of the store.
    fn current(&self, store: &Store) -> RwLockReadGuard<'_, index::Index> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if index.is_current(store) {
            return index;
        }
        drop(index);
        {
            let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have been here meanwhile.
            if !index.is_current(store) {
                index.catch_up(store);
            }
        }
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn authorize(&self, store: &Store, user: &User, asked: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) {
            return Decision::Allow(String::new());
        }
        let namespace = match *asked {
            Attributes::Resource { namespace, .. } => namespace,
            Attributes::Path { .. } => "",
        };
        let index = self.current(store);
        let mut missing = Missing::default();
        for granted in index.granted(user, namespace) {
            match granted.rules {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    return Decision::Allow(format!("RBAC: allowed by {}", granted.describe()));
                }
                Some(_) => {}
                None => missing.add(granted.role),
            }
        }
        let missing = missing.text();
        Decision::NoOpinion(if missing.is_empty() { missing } else { format!("RBAC: {missing}") })
    }

    /// All that the user may do in a namespace (empty: cluster-wide).
    pub(crate) fn rules_of(&self, store: &Store, user: &User, namespace: &str) -> RulesOf {
        let index = self.current(store);
        let (mut found, mut missing) = (RulesOf::default(), Missing::default());
        let mut known = HashSet::new();
        for granted in index.granted(user, namespace) {
            match granted.rules {
                Some(rules) if known.insert(Arc::as_ptr(rules)) => found.rules.push(rules.clone()),
                Some(_) => {}
                None => missing.add(granted.role),
            }
        }
        found.error = missing.text();
        found
    }

    /// The rules of a role that a binding in `namespace` names.
    pub(crate) fn role(&self, store: &Store, role: &RoleRef, namespace: &str) -> Option<Arc<[PolicyRule]>> {
        self.current(store).role(role, namespace).cloned()
    }
}

/// Roles that bindings name and nobody has written.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    fn add(&mut self, role: &RoleRef) {
        if self.0.len() < MISSING_NAMED {
            let text =
                format!("{}.rbac.authorization.k8s.io {:?} not found", role.kind.to_ascii_lowercase(), role.name);
            if !self.0.contains(&text) {
                self.0.push(text);
            }
        }
    }

    /// As Go's aggregate of errors prints.
    fn text(self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }
    }
}

impl Api {
    /// Decides from the rules as they are stored now.
    pub(crate) fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Decision {
        self.authorizer.authorize(&self.store, user, attributes)
    }

    /// The 403 of a request that nobody allows.
    pub(crate) fn require(&self, user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.authorize(user, attributes) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(attributes.forbidden(user, &reason)),
        }
    }
}
