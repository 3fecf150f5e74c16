//! Garbage collection by owner references: dependents whose owners are all gone are deleted; foreground deletion waits for the
//! dependents that block, orphaning lets them go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::graph::{Graph, Node, Owner};
use super::{Caller, path};
use crate::resource::{Lookup, Resource};
use crate::status::Status;
use crate::store::{EventKind, Key};

/// Finalizer of a deletion that waits for dependents.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of a deletion that lets dependents go.
const ORPHAN: &str = "orphan";

/// Events on their way to the graph; a full queue holds the readers back, never a writer.
const QUEUE: usize = 1024;

/// How soon something that could not be settled is looked at again.
const RETRY: Duration = Duration::from_millis(250);

/// How often the served resources are compared with the watched ones.
const RESYNC: Duration = Duration::from_millis(500);

/// One change of one object.
struct Change {
    key: Key,
    node: Option<Node>,
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
        match change.node {
            Some(node) => {
                // A dependent that goes may be what its owner waits for; so may one that lets go of it.
                let before = self.graph.node(&change.key).map(|n| n.owners.clone()).unwrap_or_default();
                self.mark_owners(&change.key, &before, dirty);
                dirty.insert(change.key.clone());
                self.graph.put(change.key, node);
            }
            None => {
                if let Some(gone) = self.graph.remove(&change.key) {
                    dirty.extend(self.graph.dependents(&gone.uid));
                    self.mark_owners(&change.key, &gone.owners, dirty);
                }
            }
        }
    }

    fn mark_owners(&self, dependent: &Key, owners: &[Owner], dirty: &mut BTreeSet<Key>) {
        for owner in owners {
            if let Some((key, node)) = self.graph.owner(dependent, owner)
                && node.terminating
            {
                dirty.insert(key.clone());
            }
        }
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
            match self.graph.owner(key, owner) {
                Some((_, live)) if live.terminating && live.finalizers.iter().any(|f| f == FOREGROUND) => waiting += 1,
                Some(_) => solid += 1,
                None if self.is_really_absent(key, owner) => absent.push(owner.uid.clone()),
                None => return Err(Status::internal("an owner is not in the graph yet")),
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

    /// The graph lags behind the store: only what the store has not either is absent.
    fn is_really_absent(&self, dependent: &Key, owner: &Owner) -> bool {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let served = self.caller.api.registry.served();
        let resource = served.by_kind(group, version, &owner.kind).or_else(|| {
            // Another version of the same kind stores in the same place.
            served.resources.iter().find(|r| *r.group == *group && *r.kind == *owner.kind)
        });
        let Some(resource) = resource else { return true };
        let namespace = if resource.namespaced { &*dependent.namespace } else { "" };
        if resource.namespaced && namespace.is_empty() {
            return true;
        }
        let live = self.caller.api.lookup(&resource.storage, namespace, &owner.name);
        live.and_then(|o| o["metadata"]["uid"].as_str().map(str::to_owned)).as_deref() != Some(&*owner.uid)
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
            if others.iter().any(|o| self.graph.owner(&dependent, o).is_some()) {
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

/// Sends every object of a resource, then every change. After a gap it sends all again.
async fn read(caller: Caller, storage: Arc<str>, sender: mpsc::Sender<Change>) {
    let mut known: BTreeSet<Key> = BTreeSet::new();
    while caller.api.store.is_open() {
        let from = caller.api.store.revision();
        let Ok(mut watch) = caller.api.store.watch(&storage, from) else { continue };
        let mut present = BTreeSet::new();
        for object in Lookup::list(&caller.api, &storage, "") {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let key = Key::new(storage.clone(), text("namespace"), text("name"));
            present.insert(key.clone());
            if sender.send(Change { key, node: Node::of(&object) }).await.is_err() {
                return;
            }
        }
        for key in known.difference(&present) {
            if sender.send(Change { key: key.clone(), node: None }).await.is_err() {
                return;
            }
        }
        known = present;
        while let Ok(events) = watch.next().await {
            for event in &events {
                let node = match event.kind {
                    EventKind::Deleted => None,
                    _ => Node::read(&event.object),
                };
                match node {
                    Some(_) => known.insert(event.key.clone()),
                    None => known.remove(&event.key),
                };
                if sender.send(Change { key: event.key.clone(), node }).await.is_err() {
                    return;
                }
            }
        }
    }
}
