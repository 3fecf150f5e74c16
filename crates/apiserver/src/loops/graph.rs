//! Who owns whom: the index that garbage collection decides by. Pure; fed by events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::store::{Key, Object};

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

/// All objects, and dependents by the uid of their owner.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<Key, Node>,
    by_uid: HashMap<Arc<str>, Key>,
    dependents: HashMap<Arc<str>, BTreeSet<Key>>,
}

impl Node {
    /// Reads what matters from an object; `None` if it has no uid.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let list = |field: &str| metadata.get(field).and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self {
            uid: metadata.get("uid")?.as_str()?.into(),
            owners: list("ownerReferences")
                .map(|owner| Owner {
                    uid: text(owner, "uid").into(),
                    api_version: text(owner, "apiVersion"),
                    kind: text(owner, "kind"),
                    name: text(owner, "name"),
                    blocks: owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false),
                })
                .collect(),
            terminating: metadata.get("deletionTimestamp").is_some_and(Value::is_string),
            finalizers: list("finalizers").filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
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
    /// As [`Node::of`], from a stored object, of which nothing else is decoded: every change of every object is read.
    pub(super) fn read(object: &Object) -> Option<Self> {
        let Stored { metadata } = serde_json::from_slice(object.bytes()).ok()?;
        let owner = |Reference { uid, api_version, kind, name, block_owner_deletion: blocks }| Owner {
            uid,
            api_version,
            kind,
            name,
            blocks,
        };
        Some(Self {
            uid: metadata.uid?,
            owners: metadata.owner_references.into_iter().map(owner).collect(),
            terminating: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers,
        })
    }
}

impl Graph {
    /// Remembers an object as it is now.
    pub(super) fn put(&mut self, key: Key, node: Node) {
        self.remove(&key);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        self.by_uid.insert(node.uid.clone(), key.clone());
        self.nodes.insert(key, node);
    }

    /// Forgets an object; answers what it was.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Node> {
        let node = self.nodes.remove(key)?;
        if self.by_uid.get(&node.uid) == Some(key) {
            self.by_uid.remove(&node.uid);
        }
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

    pub(super) fn node(&self, key: &Key) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Objects that name this uid as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Where the object of an owner reference is. An owner counts only in the dependent's namespace or without one
    /// (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents>): elsewhere it is absent.
    pub(super) fn owner(&self, dependent: &Key, owner: &Owner) -> Option<(&Key, &Node)> {
        let key = self.by_uid.get(&owner.uid)?;
        let near = key.namespace.is_empty() || key.namespace == dependent.namespace;
        (near && *key.name == *owner.name).then_some(key).and_then(|key| self.nodes.get_key_value(key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(uid: &str, owner: Option<(&str, &str)>) -> Node {
        let owners: Vec<Value> = owner
            .iter()
            .map(|(uid, name)| json!({"uid": uid, "name": name, "kind": "X", "apiVersion": "v1"}))
            .collect();
        Node::of(&json!({"metadata": {"uid": uid, "ownerReferences": owners}})).unwrap()
    }

    fn key(namespace: &str, name: &str) -> Key {
        Key::new("/configmaps", namespace, name)
    }

    #[test]
    fn an_owner_in_another_namespace_is_absent() {
        let mut graph = Graph::default();
        graph.put(key("a", "owner"), node("1", None));
        graph.put(key("b", "child"), node("2", Some(("1", "owner"))));
        let child = graph.node(&key("b", "child")).unwrap();
        assert!(graph.owner(&key("b", "child"), &child.owners[0]).is_none());
    }

    #[test]
    fn a_changed_owner_leaves_no_stale_dependent() {
        let mut graph = Graph::default();
        graph.put(key("a", "child"), node("2", Some(("1", "owner"))));
        graph.put(key("a", "child"), node("2", None));
        assert!(graph.dependents("1").is_empty());
    }

    #[test]
    fn a_recreated_object_is_not_the_old_owner() {
        let mut graph = Graph::default();
        graph.put(key("a", "owner"), node("1", None));
        graph.put(key("a", "owner"), node("9", None));
        graph.put(key("a", "child"), node("2", Some(("1", "owner"))));
        let child = graph.node(&key("a", "child")).unwrap();
        assert!(graph.owner(&key("a", "child"), &child.owners[0]).is_none());
    }
}
