//! Who names whom as an owner: the index that garbage collection decides by. Pure; fed by events.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use crate::store::{Key, Object};

/// Finalizer of a deletion that waits for dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of a deletion that lets dependents go.
pub(super) const ORPHAN: &str = "orphan";

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: Arc<str>,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    /// `blockOwnerDeletion`: a foreground deletion of the owner waits for this dependent.
    pub(super) blocks: bool,
}

/// What is remembered of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) uid: Arc<str>,
    pub(super) owners: Vec<Owner>,
    pub(super) terminating: bool,
    pub(super) finalizers: Vec<String>,
}

/// The objects that concern others, and dependents by the uid of their owner.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Key, Node>,
    dependents: HashMap<Arc<str>, BTreeSet<Key>>,
}

/// The part of a stored object that makes its [`Node`].
#[derive(Deserialize)]
struct Stored {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Option<Arc<str>>,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    owner_references: Vec<Reference>,
    #[serde(default)]
    finalizers: Vec<String>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    uid: Arc<str>,
    api_version: String,
    kind: String,
    name: String,
    block_owner_deletion: bool,
}

impl Default for Reference {
    fn default() -> Self {
        let (api_version, kind, name) = Default::default();
        Self { uid: "".into(), api_version, kind, name, block_owner_deletion: false }
    }
}

impl Node {
    /// What matters of an object; `None` if it has no uid.
    pub(super) fn read(object: &Object) -> Option<Self> {
        Self::placed(object).map(|(_, _, node)| node)
    }

    /// The same with its namespace and name.
    pub(super) fn placed(object: &Object) -> Option<(String, String, Self)> {
        let Stored { metadata } = serde_json::from_slice(object.bytes()).ok()?;
        let owner = |Reference { uid, api_version, kind, name, block_owner_deletion: blocks }| Owner {
            uid,
            api_version,
            kind,
            name,
            blocks,
        };
        let node = Self {
            uid: metadata.uid?,
            owners: metadata.owner_references.into_iter().map(owner).collect(),
            terminating: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers,
        };
        Some((metadata.namespace, metadata.name, node))
    }

    /// Whether an object may concern others at all: a look at its bytes, since most do not.
    pub(super) fn is_any(object: &Object) -> bool {
        let says = |word: &[u8]| memchr::memmem::find(object.bytes(), word).is_some();
        says(br#""ownerReferences":"#) || says(br#""deletionTimestamp":"#)
    }

    /// It names owners, or waits for its dependents.
    pub(super) fn concerns_others(&self) -> bool {
        !self.owners.is_empty() || self.waits_for(FOREGROUND) || self.waits_for(ORPHAN)
    }

    /// It is on its way out and has that finalizer.
    pub(super) fn waits_for(&self, finalizer: &str) -> bool {
        self.terminating && self.finalizers.iter().any(|other| other == finalizer)
    }
}

impl Graph {
    /// Remembers an object as it is now; answers what it was.
    pub(super) fn put(&mut self, key: Key, node: Node) -> Option<Node> {
        let before = self.remove(&key);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        self.nodes.insert(key, node);
        before
    }

    /// Forgets an object; answers what it was.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Node> {
        let node = self.nodes.remove(key)?;
        for owner in &node.owners {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(key);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        Some(node)
    }

    /// All that are remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = Key> + '_ {
        self.nodes.keys().cloned()
    }

    pub(super) fn node(&self, key: &Key) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Objects that name this uid as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::{Encoded, EventKind};

    fn object(metadata: Value) -> Object {
        Encoded::new(&json!({"metadata": metadata})).unwrap().stored(EventKind::Added, 1, 1).1
    }

    fn node(uid: &str, owner: Option<(&str, &str)>) -> Node {
        let owners: Vec<Value> = owner
            .iter()
            .map(|(uid, name)| json!({"uid": uid, "name": name, "kind": "X", "apiVersion": "v1"}))
            .collect();
        Node::read(&object(json!({"uid": uid, "ownerReferences": owners}))).unwrap()
    }

    fn key(namespace: &str, name: &str) -> Key {
        Key::new("/configmaps", namespace, name)
    }

    #[test]
    fn dependents_are_found_by_the_uid_of_their_owner() {
        let mut graph = Graph::default();
        graph.put(key("a", "child"), node("2", Some(("1", "owner"))));
        assert_eq!(graph.dependents("1"), [key("a", "child")]);
    }

    #[test]
    fn a_changed_owner_leaves_no_stale_dependent() {
        let mut graph = Graph::default();
        graph.put(key("a", "child"), node("2", Some(("1", "owner"))));
        graph.put(key("a", "child"), node("2", None));
        assert!(graph.dependents("1").is_empty());
    }

    #[test]
    fn an_object_without_owners_concerns_nobody() {
        let plain = object(json!({"uid": "1", "finalizers": ["x/y"], "managedFields": [{"f:ownerReferences": {}}]}));
        assert!(!Node::is_any(&plain));
    }

    #[test]
    fn an_object_on_its_way_out_concerns_others_when_it_waits_for_them() {
        let going = |finalizer: &str| {
            let gone =
                object(json!({"uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]}));
            Node::is_any(&gone) && Node::read(&gone).unwrap().concerns_others()
        };
        assert_eq!([FOREGROUND, ORPHAN, "x/y"].map(going), [true, true, false]);
    }
}
