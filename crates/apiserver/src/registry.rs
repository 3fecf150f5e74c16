//! Which resources are served: the built-in ones and those of CustomResourceDefinitions. Read without locks on every request,
//! rebuilt as a whole when a CRD changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::crd::Names;
use crate::resource::Resource;
use crate::store::Object;

/// API group and version.
type GroupVersion = (Arc<str>, Arc<str>);
/// Resources of one group and version by their plural names.
type ByName = HashMap<Arc<str>, Arc<Resource>>;

/// One immutable state of the registry.
pub struct Served {
    /// All resources, built-in ones first, in discovery order.
    pub resources: Vec<Arc<Resource>>,
    /// Raised with each change; documents made from the registry are cached under it.
    pub generation: u64,
    /// By group and version.
    index: HashMap<Arc<str>, HashMap<Arc<str>, ByName>>,
    /// What CRDs are called, by their group.
    names: HashMap<String, Vec<Arc<Names>>>,
}

impl Served {
    fn new(resources: Vec<Arc<Resource>>, names: HashMap<String, Vec<Arc<Names>>>, generation: u64) -> Self {
        let mut index: HashMap<_, HashMap<_, ByName>> = HashMap::new();
        for resource in &resources {
            let versions = index.entry(resource.group.clone()).or_default();
            let resources = versions.entry(resource.version.clone()).or_default();
            resources.insert(resource.plural.clone(), resource.clone());
        }
        Self { resources, generation, index, names }
    }

    /// The names that the CRDs of a group have got.
    pub(crate) fn names_of_group(&self, group: &str) -> &[Arc<Names>] {
        self.names.get(group).map(Vec::as_slice).unwrap_or_default()
    }

    /// The resource of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.index.get(group)?.get(version)?.get(plural)
    }

    /// Whether a group and version are served at all.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.index.get(group).is_some_and(|versions| versions.contains_key(version))
    }

    /// Whether any version of a group is served.
    pub fn has_group(&self, group: &str) -> bool {
        self.index.contains_key(group)
    }

    /// The resource of a kind, for owner references and typed bodies.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.index.get(group)?.get(version)?.values().find(|r| *r.kind == *kind)
    }

    /// `(group, version)` of all that is served, sorted.
    pub fn versions(&self) -> BTreeSet<GroupVersion> {
        let of_group = |(group, versions): (&Arc<str>, &HashMap<Arc<str>, ByName>)| {
            let group = group.clone();
            versions.keys().map(move |version| (group.clone(), version.clone())).collect::<Vec<_>>()
        };
        self.index.iter().flat_map(of_group).collect()
    }
}

/// The registry. Cloning shares it.
#[derive(Clone)]
pub struct Registry {
    builtin: Arc<Vec<Arc<Resource>>>,
    served: Arc<ArcSwap<Served>>,
    /// What each stored CRD makes, by its revision.
    made: Arc<Mutex<HashMap<u64, Made>>>,
}

/// What one CRD makes.
#[derive(Default)]
struct Made {
    resources: Vec<Arc<Resource>>,
    names: Arc<Names>,
}

impl Registry {
    /// A registry of built-in resources.
    pub fn new(builtin: Vec<Resource>) -> Self {
        let builtin: Arc<Vec<_>> = Arc::new(builtin.into_iter().map(Arc::new).collect());
        let served = Arc::new(ArcSwap::from_pointee(Served::new(builtin.to_vec(), HashMap::new(), 1)));
        Self { builtin, served, made: Arc::default() }
    }

    /// What is served now.
    pub fn served(&self) -> arc_swap::Guard<Arc<Served>> {
        self.served.load()
    }

    /// Serves exactly what the stored CRDs make. Built-in groups cannot be taken over. A CRD is read once per revision:
    /// large ones are many, and each write of one comes here.
    pub(crate) fn reload_custom(&self, stored: impl FnOnce() -> Vec<Object>) {
        // Held while the CRDs are read, so that of two writers the later one's state is what is served in the end.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut resources = self.builtin.to_vec();
        let mut names: HashMap<String, Vec<Arc<Names>>> = HashMap::new();
        let mut current = HashMap::new();
        for object in stored() {
            let read = || {
                let crd = object.decode().ok()?;
                let resources = crate::crd::resources(&crd).ok()?;
                let resources = resources.into_iter().map(Arc::new).collect();
                Some(Made { resources, names: Arc::new(Names::of(&crd)) })
            };
            let custom = made.remove(&object.revision()).or_else(read).unwrap_or_default();
            let free = |r: &&Arc<Resource>| !self.builtin.iter().any(|b| b.group == r.group && b.plural == r.plural);
            resources.extend(custom.resources.iter().filter(free).cloned());
            names.entry(custom.names.group.clone()).or_default().push(custom.names.clone());
            current.insert(object.revision(), custom);
        }
        *made = current;
        let before = self.served.load();
        self.served.store(Arc::new(Served::new(resources, names, before.generation + 1)));
    }
}
