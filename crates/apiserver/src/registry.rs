//! Which resources are served: the built-in ones and those of CustomResourceDefinitions. Read without locks on every request,
//! rebuilt as a whole when a CRD changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::resource::Resource;

/// API group and version.
type GroupVersion = (Arc<str>, Arc<str>);

/// One immutable state of the registry.
pub struct Served {
    /// All resources, built-in ones first, in discovery order.
    pub resources: Vec<Arc<Resource>>,
    /// Raised with each change; documents made from the registry are cached under it.
    pub generation: u64,
    index: HashMap<GroupVersion, HashMap<Arc<str>, Arc<Resource>>>,
}

impl Served {
    fn new(resources: Vec<Arc<Resource>>, generation: u64) -> Self {
        let mut index: HashMap<_, HashMap<_, _>> = HashMap::new();
        for resource in &resources {
            index
                .entry((resource.group.clone(), resource.version.clone()))
                .or_default()
                .insert(resource.plural.clone(), resource.clone());
        }
        Self { resources, generation, index }
    }

    /// The resource of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.index.get(&(Arc::from(group), Arc::from(version)))?.get(plural)
    }

    /// Whether a group and version are served at all.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.index.contains_key(&(Arc::from(group), Arc::from(version)))
    }

    /// Whether any version of a group is served.
    pub fn has_group(&self, group: &str) -> bool {
        self.index.keys().any(|(served, _)| **served == *group)
    }

    /// The resource of a kind, for owner references and typed bodies.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.index.get(&(Arc::from(group), Arc::from(version)))?.values().find(|r| *r.kind == *kind)
    }

    /// `(group, version)` of all that is served, sorted.
    pub fn versions(&self) -> BTreeSet<GroupVersion> {
        self.index.keys().cloned().collect()
    }
}

/// The registry. Cloning shares it.
#[derive(Clone)]
pub struct Registry {
    builtin: Arc<Vec<Arc<Resource>>>,
    served: Arc<ArcSwap<Served>>,
}

impl Registry {
    /// A registry of built-in resources.
    pub fn new(builtin: Vec<Resource>) -> Self {
        let builtin: Arc<Vec<_>> = Arc::new(builtin.into_iter().map(Arc::new).collect());
        let served = Arc::new(ArcSwap::from_pointee(Served::new(builtin.to_vec(), 1)));
        Self { builtin, served }
    }

    /// What is served now.
    pub fn served(&self) -> arc_swap::Guard<Arc<Served>> {
        self.served.load()
    }

    /// Replaces all resources that come from CRDs. Built-in groups cannot be taken over.
    pub fn set_custom(&self, custom: Vec<Resource>) {
        let mut resources = self.builtin.to_vec();
        let before = self.served.load();
        for resource in custom {
            if !self.builtin.iter().any(|b| b.group == resource.group && b.plural == resource.plural) {
                resources.push(Arc::new(resource));
            }
        }
        self.served.store(Arc::new(Served::new(resources, before.generation + 1)));
    }
}
