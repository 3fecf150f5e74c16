//! The end of a namespace: everything in it is deleted, then its finalizer is taken off.

mod deletion;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};

use super::Caller;
use crate::handlers::is_terminating;
use crate::resource::Lookup;
use crate::store::Watch;

const NAMESPACES: &str = "/namespaces";

/// How soon a namespace that is not empty yet is looked at again.
const RETRY: Duration = Duration::from_millis(200);

/// How many namespaces are looked after at once: one whose webhooks are slow does not keep the others waiting.
const PARALLEL: usize = 16;

pub(super) async fn run(caller: Caller) {
    let caller = &caller;
    while caller.api.store.is_open() {
        let Ok(mut namespaces) = caller.api.store.watch(NAMESPACES, caller.api.store.revision()) else { continue };
        let (mut dirty, mut later): (BTreeSet<String>, BTreeSet<String>) = (all(caller), BTreeSet::new());
        let (mut busy, mut running) = (BTreeSet::new(), FuturesUnordered::new());
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Until a watch falls out of the history: then everything is looked at again.
        loop {
            let room = PARALLEL.saturating_sub(busy.len());
            let next: Vec<String> = dirty.difference(&busy).take(room).cloned().collect();
            for name in next {
                dirty.remove(&name);
                busy.insert(name.clone());
                running.push(async move {
                    let done = settle(caller, &name).await;
                    (name, done)
                });
            }
            let seen = tokio::select! {
                seen = touched(&mut namespaces) => seen,
                Some((name, done)) = running.next(), if !running.is_empty() => {
                    busy.remove(&name);
                    if !done {
                        later.insert(name);
                    }
                    continue;
                }
                _ = retry.tick(), if !later.is_empty() => Some(std::mem::take(&mut later)),
            };
            match seen {
                Some(seen) => dirty.extend(seen),
                None => break,
            }
        }
    }
}

fn all(caller: &Caller) -> BTreeSet<String> {
    let list = Lookup::list(&caller.api, NAMESPACES, "");
    list.iter().filter_map(|n| n["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

/// The namespaces that a batch of events is about; `None`: the watch is too far behind.
async fn touched(watch: &mut Watch) -> Option<BTreeSet<String>> {
    let events = watch.next().await.ok()?;
    Some(events.iter().map(|event| event.key.name.to_string()).collect())
}

/// Goes on with the end of a namespace, if it has come. `false`: look again soon.
async fn settle(caller: &Caller, name: &str) -> bool {
    match caller.api.lookup(NAMESPACES, "", name) {
        Some(namespace) if is_terminating(&namespace) => {
            deletion::empty(caller, name, namespace).await.unwrap_or(false)
        }
        _ => true,
    }
}
