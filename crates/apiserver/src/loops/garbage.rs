//! Garbage collection by owner references: dependents whose owners are all gone are deleted; foreground deletion waits for the
//! dependents that block, orphaning lets them go.
//!
//! Only objects that name an owner, or that wait for their dependents, are remembered; owners are looked up in the store, which is
//! never behind. So an object that concerns nobody costs a look at its bytes and no memory.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::graph::{FOREGROUND, Graph, Node, ORPHAN, Owner};
use super::{Caller, path};
use crate::resource::Resource;
use crate::status::Status;
use crate::store::{Event, EventKind, Key, ListRequest};

/// Events on their way to the graph; a full queue holds the readers back, never a writer.
const QUEUE: usize = 1024;

/// How soon something that could not be settled is looked at again.
const RETRY: Duration = Duration::from_millis(250);

/// How often the served resources are compared with the watched ones.
const RESYNC: Duration = Duration::from_millis(500);

/// What a reader tells.
enum Change {
    /// An object that concerns others, as it is now.
    Node(Key, Node),
    /// One that concerned others does so no more.
    Plain(Key),
    /// An object is gone, and had this uid where that is known.
    Gone(Key, Option<Arc<str>>),
    /// Owners may have gone unseen.
    Gap,
}

pub(super) async fn run(caller: Caller) {
    let (sender, mut changes) = mpsc::channel(QUEUE);
    let mut collector =
        Collector { caller, graph: Graph::default(), watched: HashMap::new(), readers: JoinSet::new(), sender };
    let mut dirty = BTreeSet::new();
    let mut resync = tokio::time::interval(RESYNC);
    resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(change) = changes.recv() => {
                collector.note(change, &mut dirty);
                while let Ok(change) = changes.try_recv() {
                    collector.note(change, &mut dirty);
                }
            }
            _ = resync.tick() => collector.follow_registry(),
            () = tokio::time::sleep(RETRY), if !dirty.is_empty() => {}
        }
        for key in std::mem::take(&mut dirty) {
            if collector.settle(&key).await.is_err() {
                dirty.insert(key);
            }
        }
    }
}

struct Collector {
    caller: Caller,
    graph: Graph,
    /// Storage → the resource that is used to reach its objects.
    watched: HashMap<Arc<str>, Arc<Resource>>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<Change>,
}

impl Collector {
    /// Watches what is served and was not watched yet.
    fn follow_registry(&mut self) {
        let served = self.caller.api.registry.served();
        for resource in &served.resources {
            if !resource.verbs.contains(&"delete") || !resource.verbs.contains(&"watch") {
                continue;
            }
            // A definition that came back may have another scope: the newest one says how to reach its objects.
            if self.watched.insert(resource.storage.clone(), resource.clone()).is_none() {
                self.readers.spawn(read(self.caller.clone(), resource.storage.clone(), self.sender.clone()));
            }
        }
    }

    /// Takes a change into the graph and marks what it may concern.
    fn note(&mut self, change: Change, dirty: &mut BTreeSet<Key>) {
        match change {
            Change::Node(key, node) => {
                let before = self.graph.put(key.clone(), node);
                // A dependent that lets go of its owner may be what that one waits for.
                self.mark_owners(&key, before.as_ref(), dirty);
                dirty.insert(key);
            }
            Change::Plain(key) => {
                let before = self.graph.remove(&key);
                self.mark_owners(&key, before.as_ref(), dirty);
            }
            Change::Gone(key, uid) => {
                let before = self.graph.remove(&key);
                self.mark_owners(&key, before.as_ref(), dirty);
                if let Some(uid) = uid.or_else(|| before.map(|node| node.uid)) {
                    dirty.extend(self.graph.dependents(&uid));
                }
            }
            Change::Gap => dirty.extend(self.graph.all()),
        }
    }

    /// The owners that `dependent` had may wait for its end.
    fn mark_owners(&self, dependent: &Key, before: Option<&Node>, dirty: &mut BTreeSet<Key>) {
        for owner in before.into_iter().flat_map(|node| &node.owners) {
            if let Some((key, node)) = self.owner(dependent, owner)
                && node.terminating
            {
                dirty.insert(key);
            }
        }
    }

    /// The object of an owner reference, as it is stored. An owner counts only in the dependent's namespace or without one
    /// (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents>): elsewhere it is absent.
    fn owner(&self, dependent: &Key, owner: &Owner) -> Option<(Key, Node)> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let served = self.caller.api.registry.served();
        let resource = served.by_kind(group, version, &owner.kind).or_else(|| {
            // Another version of the same kind stores in the same place.
            served.resources.iter().find(|r| *r.group == *group && *r.kind == *owner.kind)
        })?;
        let namespace: Arc<str> = if resource.namespaced { dependent.namespace.clone() } else { "".into() };
        if resource.namespaced && namespace.is_empty() {
            return None;
        }
        let live = self.caller.api.store.get(&resource.storage, &namespace, &owner.name)?;
        let node = Node::read(&live).filter(|node| node.uid == owner.uid)?;
        Some((Key::new(resource.storage.clone(), namespace, owner.name.as_str()), node))
    }

    /// Does for one object what its owners, dependents and finalizers ask for. An error: try again.
    async fn settle(&mut self, key: &Key) -> Result<(), Status> {
        let Some(node) = self.graph.node(key).cloned() else { return Ok(()) };
        if node.terminating {
            if node.finalizers.iter().any(|f| f == ORPHAN) {
                return self.orphan(key, &node).await;
            }
            if node.finalizers.iter().any(|f| f == FOREGROUND) {
                return self.foreground(key, &node).await;
            }
            return Ok(());
        }
        if node.owners.is_empty() {
            return Ok(());
        }
        let (mut solid, mut absent, mut waiting) = (0, Vec::new(), 0);
        for owner in &node.owners {
            match self.owner(key, owner) {
                Some((_, live)) if live.waits_for(FOREGROUND) => waiting += 1,
                Some(_) => solid += 1,
                None => absent.push(owner.uid.clone()),
            }
        }
        if solid > 0 {
            return if absent.is_empty() && waiting == 0 {
                Ok(())
            } else {
                self.drop_owners(key, &node, &absent).await
            };
        }
        let policy =
            if waiting > 0 && !self.graph.dependents(&node.uid).is_empty() { "Foreground" } else { "Background" };
        self.delete(key, &node, policy).await
    }

    /// Dependents lose their reference, then the owner may go.
    async fn orphan(&self, key: &Key, node: &Node) -> Result<(), Status> {
        for dependent in self.graph.dependents(&node.uid) {
            if let Some(node_of) = self.graph.node(&dependent) {
                self.drop_owners(&dependent, node_of, std::slice::from_ref(&node.uid)).await?;
            }
        }
        self.remove_finalizer(key, node, ORPHAN).await
    }

    /// Dependents go; the owner when none is left that blocks it.
    async fn foreground(&self, key: &Key, node: &Node) -> Result<(), Status> {
        let mut blocked = false;
        for dependent in self.graph.dependents(&node.uid) {
            let Some(child) = self.graph.node(&dependent) else { continue };
            blocked |= child.owners.iter().any(|o| o.uid == node.uid && o.blocks);
            if child.terminating {
                continue;
            }
            let others: Vec<&Owner> = child.owners.iter().filter(|o| o.uid != node.uid).collect();
            if others.iter().any(|o| self.owner(&dependent, o).is_some()) {
                self.drop_owners(&dependent, child, std::slice::from_ref(&node.uid)).await?;
            } else {
                let policy = if self.graph.dependents(&child.uid).is_empty() { "Background" } else { "Foreground" };
                self.delete(&dependent, child, policy).await?;
            }
        }
        // What still blocks brings us back with its own end.
        if blocked { Ok(()) } else { self.remove_finalizer(key, node, FOREGROUND).await }
    }

    fn object_path(&self, key: &Key) -> Option<String> {
        self.watched.get(&key.resource).map(|resource| path(resource, &key.namespace, &key.name))
    }

    async fn delete(&self, key: &Key, node: &Node, policy: &str) -> Result<(), Status> {
        let Some(path) = self.object_path(key) else { return Ok(()) };
        let options = json!({"propagationPolicy": policy, "preconditions": {"uid": &*node.uid}});
        settled(self.caller.call(Method::DELETE, &path, "", Some(&options)).await)
    }

    /// Takes owner references out, by uid, of an object as it is now.
    async fn drop_owners(&self, key: &Key, node: &Node, uids: &[Arc<str>]) -> Result<(), Status> {
        if uids.is_empty() {
            return Ok(());
        }
        self.rewrite(key, node, |metadata| {
            let kept: Vec<Value> = metadata["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|o| !uids.iter().any(|u| o["uid"] == **u))
                .cloned()
                .collect();
            json!({"ownerReferences": kept})
        })
        .await
    }

    async fn remove_finalizer(&self, key: &Key, node: &Node, finalizer: &str) -> Result<(), Status> {
        self.rewrite(key, node, |metadata| {
            let kept: Vec<Value> =
                metadata["finalizers"].as_array().into_iter().flatten().filter(|f| *f != finalizer).cloned().collect();
            json!({"finalizers": kept})
        })
        .await
    }

    /// A merge patch of the metadata, bound to the object that was looked at.
    async fn rewrite(&self, key: &Key, node: &Node, change: impl FnOnce(&Value) -> Value) -> Result<(), Status> {
        let Some(path) = self.object_path(key) else { return Ok(()) };
        let Some(live) = self.caller.api.lookup(&key.resource, &key.namespace, &key.name) else { return Ok(()) };
        if live["metadata"]["uid"] != *node.uid {
            return Ok(());
        }
        let mut metadata = change(&live["metadata"]);
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        settled(self.caller.call(Method::PATCH, &path, "", Some(&json!({"metadata": metadata}))).await)
    }
}

/// A missing object is as good as done.
fn settled(result: Result<Value, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

/// Sends every object of a resource that concerns others, then every change of such. After a gap it sends all again.
async fn read(caller: Caller, storage: Arc<str>, sender: mpsc::Sender<Change>) {
    let store = &caller.api.store;
    let mut known: HashSet<Key> = HashSet::new();
    let mut began = false;
    while store.is_open() {
        let Ok(mut watch) = store.watch(&storage, store.revision()) else { continue };
        let Ok(listing) = store.list(&ListRequest::all(&storage)) else { continue };
        let mut changes = Vec::new();
        let mut present = HashSet::new();
        for object in listing.objects.iter().filter(|object| Node::is_any(object)) {
            if let Some((namespace, name, node)) = Node::placed(object).filter(|(_, _, node)| node.concerns_others()) {
                let key = Key::new(storage.clone(), namespace, name);
                present.insert(key.clone());
                changes.push(Change::Node(key, node));
            }
        }
        drop(listing);
        changes.extend(known.difference(&present).map(|key| Change::Gone(key.clone(), None)));
        if std::mem::replace(&mut began, true) {
            changes.push(Change::Gap);
        }
        known = present;
        if !send(&sender, changes).await {
            return;
        }
        while let Ok(events) = watch.next().await {
            let changes: Vec<Change> = events.iter().filter_map(|event| change(event, &mut known)).collect();
            if !send(&sender, changes).await {
                return;
            }
        }
    }
}

async fn send(sender: &mpsc::Sender<Change>, changes: Vec<Change>) -> bool {
    for change in changes {
        if sender.send(change).await.is_err() {
            return false;
        }
    }
    true
}

/// What an event means to others; `known` are the objects that concerned them.
fn change(event: &Event, known: &mut HashSet<Key>) -> Option<Change> {
    if event.kind == EventKind::Deleted {
        known.remove(&event.key);
        return Some(Change::Gone(event.key.clone(), Node::read(&event.object).map(|node| node.uid)));
    }
    let node = if Node::is_any(&event.object) { Node::read(&event.object) } else { None };
    match node.filter(Node::concerns_others) {
        Some(node) => {
            known.insert(event.key.clone());
            Some(Change::Node(event.key.clone(), node))
        }
        None => known.remove(&event.key).then(|| Change::Plain(event.key.clone())),
    }
}
