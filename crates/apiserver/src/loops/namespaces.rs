//! The life of a namespace: at its start it gets the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`, at its end
//! everything in it is deleted, then its finalizer is taken off.

mod deletion;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;
use serde_json::{Value, json};

use super::Caller;
use crate::handlers::is_terminating;
use crate::resource::Lookup;
use crate::store::Watch;

const ROOT_CA: &str = "kube-root-ca.crt";
const SERVICE_ACCOUNT: &str = "default";

/// How soon a namespace that is not empty yet is looked at again.
const RETRY: Duration = Duration::from_millis(200);

/// How many namespaces are looked after at once: one whose webhooks are slow does not keep the others waiting.
const PARALLEL: usize = 16;

/// As whom each part is done: those that kube-controller-manager has for it.
pub(super) struct Callers {
    /// Empties namespaces.
    pub(super) life: Caller,
    /// Writes ServiceAccounts.
    pub(super) accounts: Caller,
    /// Writes ConfigMaps.
    pub(super) maps: Caller,
}

pub(super) async fn run(callers: Callers, root_ca: String) {
    let caller = &callers.life;
    let start = || {
        let from = caller.api.store.revision();
        ["/namespaces", "/serviceaccounts", "/configmaps"].map(|r| caller.api.store.watch(r, from))
    };
    while caller.api.store.is_open() {
        let [Ok(mut namespaces), Ok(mut accounts), Ok(mut maps)] = start() else { continue };
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
                let (callers, root_ca) = (&callers, &root_ca);
                running.push(async move {
                    let done = settle(callers, &name, root_ca).await;
                    (name, done)
                });
            }
            let seen = tokio::select! {
                seen = touched(&mut namespaces, |key| Some(key.name.to_string())) => seen,
                seen = touched(&mut accounts, |key| (*key.name == *SERVICE_ACCOUNT).then(|| key.namespace.to_string())) => seen,
                seen = touched(&mut maps, |key| (*key.name == *ROOT_CA).then(|| key.namespace.to_string())) => seen,
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
    let list = Lookup::list(&caller.api, "/namespaces", "");
    list.iter().filter_map(|n| n["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

/// The namespaces that a batch of events is about; `None`: the watch is too far behind.
async fn touched(watch: &mut Watch, of: impl Fn(&crate::store::Key) -> Option<String>) -> Option<BTreeSet<String>> {
    let events = watch.next().await.ok()?;
    Some(events.iter().filter_map(|event| of(&event.key)).collect())
}

/// Brings one namespace to where it should be. `false`: look again soon.
async fn settle(callers: &Callers, name: &str, root_ca: &str) -> bool {
    let caller = &callers.life;
    let Some(namespace) = caller.api.lookup("/namespaces", "", name) else { return true };
    if is_terminating(&namespace) {
        return deletion::empty(caller, name, namespace).await.unwrap_or(false);
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SERVICE_ACCOUNT}});
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": ROOT_CA, "annotations": {"kubernetes.io/description":
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
             service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}},
        "data": {"ca.crt": root_ca},
    });
    let accounts = ensure(&callers.accounts, "/serviceaccounts", name, &account, |_| true).await;
    let maps = ensure(&callers.maps, "/configmaps", name, &map, |live| live["data"] == map["data"]).await;
    accounts && maps
}

/// Creates what is missing and restores what differs.
async fn ensure(
    caller: &Caller,
    storage: &str,
    namespace: &str,
    wanted: &Value,
    right: impl Fn(&Value) -> bool,
) -> bool {
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let collection = format!("/api/v1/namespaces/{namespace}{storage}");
    let done = match caller.api.lookup(storage, namespace, name) {
        Some(live) if right(&live) => return true,
        Some(mut live) => {
            live["data"] = wanted["data"].clone();
            caller.call(Method::PUT, &format!("{collection}/{name}"), "", Some(&live)).await
        }
        None => caller.call(Method::POST, &collection, "", Some(wanted)).await,
    };
    match done {
        Ok(_) => true,
        // The namespace went, or someone was faster: the events of that bring us back.
        Err(status) => matches!(status.code, 403 | 404 | 409),
    }
}
