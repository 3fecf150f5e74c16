//! Roles and bindings as authorisation reads them: decoded once, found by subject, kept up with the store by its revisions.
//! A request looks up its user and its groups; no role or binding of anybody else is touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::PolicyRule;
use crate::store::{EventKind, ListRequest, Object, Store};
use crate::user::User;

/// The stored resources that decide.
const RESOURCES: [&str; 4] = [
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/rolebindings",
];
const FIRST_BINDING: usize = 2;

/// Everything, as of `seen`.
#[derive(Default)]
pub(super) struct Index {
    /// The revision up to which each of [`RESOURCES`] was read; `None` before the first reading.
    seen: Option<[u64; 4]>,
    /// Rules by namespace (empty for ClusterRoles) and name.
    roles: HashMap<String, HashMap<String, Arc<[PolicyRule]>>>,
    /// Who is granted what by namespace of the binding, empty for ClusterRoleBindings.
    spaces: HashMap<String, Subjects>,
}

/// The grants of one namespace, or of the cluster.
#[derive(Default)]
struct Subjects {
    /// Users, service accounts by their user name among them.
    users: HashMap<String, Grants>,
    groups: HashMap<String, Grants>,
}

/// The roles of one subject, each with the bindings that grant it, by name: however many those are, a role is read once.
type Grants = BTreeMap<RoleRef, BTreeMap<String, Grant>>;

/// One way in which a subject has a role.
pub(super) struct Grant {
    binding: Arc<Binding>,
    /// Which of the binding's subjects it is.
    subject: usize,
}

#[derive(Deserialize)]
struct Binding {
    metadata: Metadata,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
    #[serde(rename = "roleRef")]
    role: RoleRef,
}

#[derive(Deserialize)]
struct Role {
    metadata: Metadata,
    #[serde(default)]
    rules: Option<Vec<PolicyRule>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

/// Which role.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoleRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

impl Grant {
    /// `RoleBinding "b/ns" of Role "r" to User "u"`.
    pub(super) fn describe(&self) -> String {
        let Binding { metadata: Metadata { name, namespace }, subjects, role } = &*self.binding;
        let (kind, shown) = if namespace.is_empty() {
            ("ClusterRoleBinding", name.clone())
        } else {
            ("RoleBinding", format!("{name}/{namespace}"))
        };
        let to = match subjects.as_deref().and_then(|subjects| subjects.get(self.subject)) {
            Some(subject) if subject.kind == "ServiceAccount" => {
                let home = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
                format!("ServiceAccount {:?}", format!("{}/{home}", subject.name))
            }
            Some(subject) => format!("{} {:?}", subject.kind, subject.name),
            None => String::new(),
        };
        format!("{kind} {shown:?} of {} {:?} to {to}", role.kind, role.name)
    }
}

/// A role that someone has.
pub(super) struct Granted<'a> {
    pub(super) role: &'a RoleRef,
    /// Its rules; `None`: there is no such role.
    pub(super) rules: Option<&'a Arc<[PolicyRule]>>,
    grants: &'a BTreeMap<String, Grant>,
}

impl Granted<'_> {
    /// One of the bindings that grant it.
    pub(super) fn describe(&self) -> String {
        self.grants.values().next().map(Grant::describe).unwrap_or_default()
    }
}

impl Index {
    /// Whether everything that the store shows now is in it. One short lock of the store.
    pub(super) fn is_current(&self, store: &Store) -> bool {
        self.seen.is_some_and(|seen| store.last_changes(RESOURCES).iter().zip(seen).all(|(last, seen)| *last <= seen))
    }

    /// Reads what changed; everything when the past is gone.
    pub(super) fn catch_up(&mut self, store: &Store) {
        if let Some(mut seen) = self.seen {
            let done = (0..RESOURCES.len()).all(|which| {
                let Ok(events) = store.changes_after(RESOURCES[which], seen[which]) else { return false };
                for event in events {
                    if let Some(previous) = &event.previous {
                        self.take(which, previous);
                    }
                    if event.kind != EventKind::Deleted {
                        self.put(which, &event.object);
                    }
                    seen[which] = event.revision;
                }
                true
            });
            if done {
                self.seen = Some(seen);
                return;
            }
        }
        *self = Self::default();
        let mut seen = [0; 4];
        for (which, resource) in RESOURCES.into_iter().enumerate() {
            // A list of the present is never too old.
            let Ok(listing) = store.list(&ListRequest::all(resource)) else { continue };
            seen[which] = listing.revision;
            for object in &listing.objects {
                self.put(which, object);
            }
        }
        self.seen = Some(seen);
    }

    fn put(&mut self, which: usize, object: &Object) {
        if which < FIRST_BINDING {
            let Some(role) = read::<Role>(object) else { return };
            let rules = role.rules.unwrap_or_default().into();
            self.roles.entry(role.metadata.namespace).or_default().insert(role.metadata.name, rules);
            return;
        }
        let Some(binding) = read::<Binding>(object).map(Arc::new) else { return };
        let space = self.spaces.entry(binding.metadata.namespace.clone()).or_default();
        for (subject, (group, name)) in binding.keys() {
            let subjects = if group { &mut space.groups } else { &mut space.users };
            let grants = subjects.entry(name).or_default().entry(binding.role.clone()).or_default();
            grants.entry(binding.metadata.name.clone()).or_insert_with(|| Grant { binding: binding.clone(), subject });
        }
    }

    fn take(&mut self, which: usize, object: &Object) {
        if which < FIRST_BINDING {
            let Some(Role { metadata: Metadata { name, namespace }, .. }) = read(object) else { return };
            if let Some(space) = self.roles.get_mut(&namespace) {
                space.remove(&name);
                if space.is_empty() {
                    self.roles.remove(&namespace);
                }
            }
            return;
        }
        let Some(binding) = read::<Binding>(object) else { return };
        let Some(space) = self.spaces.get_mut(&binding.metadata.namespace) else { return };
        for (_, (group, name)) in binding.keys() {
            let subjects = if group { &mut space.groups } else { &mut space.users };
            let Some(roles) = subjects.get_mut(&name) else { continue };
            if let Some(grants) = roles.get_mut(&binding.role) {
                grants.remove(&binding.metadata.name);
                if grants.is_empty() {
                    roles.remove(&binding.role);
                }
            }
            if roles.is_empty() {
                subjects.remove(&name);
            }
        }
        if space.users.is_empty() && space.groups.is_empty() {
            self.spaces.remove(&binding.metadata.namespace);
        }
    }

    /// The rules of a role that a binding in `namespace` refers to.
    pub(super) fn role(&self, role: &RoleRef, namespace: &str) -> Option<&Arc<[PolicyRule]>> {
        let home = if role.kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(home)?.get(&role.name)
    }

    /// The roles that the user has in a namespace (empty: cluster-wide), through the cluster first. A role comes once for the
    /// user and once for each group that has it.
    pub(super) fn granted<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = Granted<'a>> {
        let spaces = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())].into_iter().flatten();
        spaces.flat_map(move |home| {
            self.spaces.get(home).into_iter().flat_map(move |space| {
                let users = space.users.get(&user.name).into_iter();
                let groups = user.groups.iter().filter_map(|group| space.groups.get(group));
                users.chain(groups).flatten().map(move |(role, grants)| Granted {
                    role,
                    rules: self.role(role, home),
                    grants,
                })
            })
        })
    }
}

impl Binding {
    /// Where its subjects are found: whether in the groups, and under which name.
    fn keys(&self) -> impl Iterator<Item = (usize, (bool, String))> {
        self.subjects.iter().flatten().enumerate().filter_map(|(at, subject)| match subject.kind.as_str() {
            "User" => Some((at, (false, subject.name.clone()))),
            "Group" => Some((at, (true, subject.name.clone()))),
            "ServiceAccount" => {
                let home = if subject.namespace.is_empty() { &self.metadata.namespace } else { &subject.namespace };
                (!home.is_empty()).then(|| (at, (false, format!("system:serviceaccount:{home}:{}", subject.name))))
            }
            _ => None,
        })
    }
}

/// Stored objects have passed their schema, so this fails on a damaged file only.
fn read<'a, T: Deserialize<'a>>(object: &'a Object) -> Option<T> {
    serde_json::from_slice(object.bytes())
        .inspect_err(|error| tracing::error!(%error, "a stored role or binding cannot be read: it grants nothing"))
        .ok()
}
