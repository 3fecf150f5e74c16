//! What the objects of a namespace use of its quotas. Admission books what is made; this loop counts what is there: when a
//! quota is new or changed, and after objects came, changed or went.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Caller;
use crate::admission::plugins::quota::usage::{Counter, scopes};
use crate::admission::plugins::quota::{QUOTAS, same, to_json};
use crate::admission::plugins::resources::{Amounts, add, amounts};
use crate::api::{Api, CRDS};
use crate::kinds::at::At;
use crate::resource::Lookup;
use crate::schema::quantity::Amount;
use crate::store::ListRequest;

/// Namespaces on their way to being counted; a full queue holds the readers back, never a writer.
const QUEUE: usize = 1024;
/// How long changes gather before they are counted together.
const GATHER: Duration = Duration::from_millis(50);
/// How soon something that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How often everything is counted anew: pods stop to count as time goes by, without any event.
const RESYNC: Duration = Duration::from_secs(300);

pub(super) async fn run(caller: Caller) {
    let (sender, mut changes) = mpsc::channel(QUEUE);
    let mut readers = JoinSet::new();
    // A definition that comes makes names count that did not before.
    let mut watched: HashSet<Arc<str>> = [QUOTAS, CRDS].into_iter().map(Arc::from).collect();
    for storage in &watched {
        readers.spawn(read(caller.api.clone(), storage.clone(), sender.clone()));
    }
    let mut resync = tokio::time::interval(RESYNC);
    resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut dirty: BTreeSet<Arc<str>> = BTreeSet::new();
    loop {
        tokio::select! {
            Some(namespace) = changes.recv() => {
                dirty.insert(namespace);
            }
            _ = resync.tick() => dirty.extend(limited(&caller.api)),
            () = tokio::time::sleep(RETRY), if !dirty.is_empty() => {}
        }
        tokio::time::sleep(GATHER).await;
        while let Ok(namespace) = changes.try_recv() {
            dirty.insert(namespace);
        }
        for namespace in std::mem::take(&mut dirty) {
            for quota in Lookup::list(&caller.api, QUOTAS, &namespace) {
                for storage in storages(&caller.api, &quota) {
                    // From now on changes there are seen; what is there is counted below.
                    if watched.insert(storage.clone()) {
                        readers.spawn(read(caller.api.clone(), storage, sender.clone()));
                    }
                }
                if !settle(&caller, &quota).await {
                    dirty.insert(namespace.clone());
                }
            }
        }
    }
}

/// Namespaces that have quotas.
fn limited(api: &Api) -> BTreeSet<Arc<str>> {
    Lookup::list(api, QUOTAS, "").iter().map(|quota| quota.str_at("/metadata/namespace").into()).collect()
}

/// Tells the namespaces in which objects of a resource change.
async fn read(api: Api, storage: Arc<str>, sender: mpsc::Sender<Arc<str>>) {
    while api.store.is_open() {
        let Ok(mut watch) = api.store.watch(&storage, api.store.revision()) else { continue };
        // Whatever happened before is not told any more.
        for namespace in limited(&api) {
            if sender.send(namespace).await.is_err() {
                return;
            }
        }
        while let Ok(events) = watch.next().await {
            let mut namespaces: BTreeSet<Arc<str>> = events.iter().map(|event| event.key.namespace.clone()).collect();
            // What has no namespace concerns all.
            if namespaces.remove("") {
                namespaces.extend(limited(&api));
            }
            for namespace in namespaces {
                if sender.send(namespace).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Where the objects lie that a quota counts, and how they are counted.
fn counted<'q>(api: &Api, hard: &'q Amounts) -> Vec<(Counter<'q>, Arc<str>)> {
    let served = api.registry.served();
    let find = |counter: Counter<'q>| {
        let (group, plural) = counter.resource();
        let is_it = |r: &&Arc<crate::resource::Resource>| r.namespaced && *r.group == *group && *r.plural == *plural;
        served.resources.iter().find(is_it).map(|resource| (counter, resource.storage.clone()))
    };
    Counter::of_names(hard.keys().map(String::as_str)).into_iter().filter_map(find).collect()
}

fn storages(api: &Api, quota: &Value) -> Vec<Arc<str>> {
    let hard = amounts(quota.at("/spec/hard"));
    counted(api, &hard).into_iter().map(|(_, storage)| storage).collect()
}

/// The quota with what is used now; `None`: it says so already.
fn counted_anew(api: &Api, quota: &Value) -> Option<Value> {
    let hard = amounts(quota.at("/spec/hard"));
    let mut used = amounts(quota.at("/status/used"));
    used.extend(count(api, quota, &hard));
    used.retain(|name, _| hard.contains_key(name));
    let shown = |field: &str| amounts(quota.at("/status").at(field));
    if same(&shown("/hard"), &hard) && same(&shown("/used"), &used) {
        return None;
    }
    let mut new = quota.clone();
    new.set_at("/status", json!({"hard": to_json(&hard), "used": to_json(&used)}));
    Some(new)
}

/// Counts for one quota, and writes what changed. `false`: try again.
async fn settle(caller: &Caller, quota: &Value) -> bool {
    let api = &caller.api;
    if counted_anew(api, quota).is_none() {
        return true;
    }
    // It may be that a write is booked and not stored yet. Once all of them are, and nobody books, the count is the truth.
    let (namespace, name) = (quota.str_at("/metadata/namespace"), quota.str_at("/metadata/name"));
    let turn = api.bookings.turn().await;
    if !api.bookings.stored(namespace).await {
        return false;
    }
    let quotas = Lookup::list(api, QUOTAS, namespace);
    let Some(quota) = quotas.iter().find(|quota| quota.str_at("/metadata/name") == name) else { return true };
    let Some(new) = counted_anew(api, quota) else { return true };
    // Whoever books from here on changes the quota, and the write below conflicts: nobody waits for it, nor for what webhooks say.
    drop(turn);
    let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/{name}/status");
    match caller.call(Method::PUT, &path, "", Some(&new)).await {
        Ok(_) => true,
        Err(status) => status.code == 404,
    }
}

/// What is used of everything that the quota limits and this server knows to count.
fn count(api: &Api, quota: &Value, hard: &Amounts) -> Amounts {
    let namespace = quota.str_at("/metadata/namespace");
    let (scopes, now) = (scopes(quota), api.clock.now());
    let mut all = Amounts::new();
    for (counter, storage) in counted(api, hard) {
        let names = hard.keys().filter(|name| counter.counts(name));
        let mut used: Amounts = names.map(|name| (name.clone(), Amount::ZERO)).collect();
        if let Counter::Objects { .. } = counter {
            let request = ListRequest { namespace: Some(namespace), ..ListRequest::all(&storage) };
            let number = api.store.list(&request).map_or(0, |listing| listing.objects.len());
            let number = if scopes.is_empty() { number } else { 0 };
            used.values_mut().for_each(|amount| *amount = Amount::whole(number));
        } else {
            for object in Lookup::list(api, &storage, namespace) {
                if counter.is_in(&scopes, &object) {
                    add(&mut used, &counter.usage(&object, now));
                }
            }
        }
        all.extend(used.into_iter().filter(|(name, _)| hard.contains_key(name)));
    }
    all
}
