//! Runs the controllers of `paddock_workloads` in this process: a runtime, whose watches they share, and for each of them
//! a client under its own service account. Those that have nothing to do without objects of some kinds start with the first such
//! object, in a runtime of their own, and on a new server the others with the first change of what they look after: who does not
//! use them does not pay for them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ServiceAccount;
use paddock_reconcile::{Context, Identity, Runtime};
use paddock_workloads::volumes::directories::Directories;
use paddock_workloads::{Cluster, Name, Workload, accounts, tokens};
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use crate::api::Api;
use crate::authn::Claims;
use crate::http::in_process;
use crate::store::{Event, ListRequest, Object};
use crate::user::User;

/// Returns once there is something to do.
async fn needed(api: &Api, wanted: &[Workload], settled_at: Option<u64>) {
    if wanted.iter().any(|workload| workload.kinds().is_empty()) {
        if let Some(from) = settled_at {
            let waits = LOOKED_AFTER.map(|storage| Box::pin(touched(api, storage, from)));
            futures::future::select_all(waits).await;
        }
        return;
    }
    let waits = wanted.iter().flat_map(|workload| workload.kinds()).map(|kind| {
        let storage =
            if kind.group.is_empty() { format!("/{}", kind.plural) } else { format!("{}/{}", kind.group, kind.plural) };
        Box::pin(first(api, storage))
    });
    futures::future::select_all(waits).await;
}

/// Where those that look after every cluster may have something to do.
const LOOKED_AFTER: [&str; 5] =
    ["/namespaces", "/serviceaccounts", "/configmaps", "/secrets", "rbac.authorization.k8s.io/clusterroles"];

/// Returns once something changed there that is theirs.
async fn touched(api: &Api, storage: &str, from: u64) {
    let theirs = |event: &Event| match storage {
        "/configmaps" => *event.key.name == *accounts::ROOT_CA,
        "/secrets" => memchr::memmem::find(event.object.bytes(), tokens::TYPE.as_bytes()).is_some(),
        _ => true,
    };
    let Ok(mut watch) = api.store.watch(storage, from) else { return };
    // A watch that falls out of the history has missed what it waits for, perhaps.
    while let Ok(events) = watch.next().await {
        if events.iter().any(|event| theirs(event)) {
            return;
        }
    }
}

/// Returns once there is an object in a storage that asks for work.
async fn first(api: &Api, storage: String) {
    while api.store.is_open() {
        // Watched before it is listed, so that nothing comes in between.
        let Ok(mut watch) = api.store.watch(&storage, api.store.revision()) else { continue };
        if api.store.list(&ListRequest::all(&storage)).is_ok_and(|listing| listing.objects.iter().any(is_work)) {
            return;
        }
        while let Ok(events) = watch.next().await {
            if events.iter().any(|event| is_work(&event.object)) {
                return;
            }
        }
    }
    std::future::pending::<()>().await;
}

/// A Service without a selector, as the one of the API itself, gets its endpoints from somebody else.
fn is_work(object: &Object) -> bool {
    object.decode().is_ok_and(|object| object["kind"] != "Service" || object.pointer("/spec/selector").is_some())
}

/// Signs as the server's own token endpoint does.
struct Signer(Api);

impl tokens::Signer for Signer {
    fn sign(&self, account: &ServiceAccount, secret: &Name) -> Result<String, String> {
        let text = |of: &Option<String>| of.clone().unwrap_or_default();
        let (name, uid) = (text(&account.metadata.name), text(&account.metadata.uid));
        let claims = Claims::in_secret(&secret.namespace, &name, &uid, &secret.name);
        self.0.tokens.sign(&claims).map_err(|error| error.to_string())
    }
}

/// As whom a controller acts.
pub(super) fn user(workload: Workload) -> User {
    match workload.account() {
        Some(account) => User::service_account("kube-system", account),
        None => manager(),
    }
}

fn manager() -> User {
    User::new("system:kube-controller-manager", [] as [&str; 0])
}

/// Runs these in one runtime, once there is something to do for one of them.
pub(super) async fn run(api: Api, wanted: Vec<Workload>, surroundings: Surroundings, closing: CancellationToken) {
    let Surroundings { root_ca, volumes, settled_at } = surroundings;
    tokio::select! {
        () = closing.cancelled() => return,
        () = needed(&api, &wanted, settled_at) => {}
    }
    // As on a cluster, where kube-controller-manager's informers have its own name and its controllers have accounts.
    let watcher = in_process(&api, manager());
    let cx =
        Context::new(watcher, Identity::controller_manager("kube-controller-manager")).with_clock(api.clock.clone());
    let cluster = Cluster { root_ca: root_ca.into(), signer: Arc::new(Signer(api.clone())) };
    let mut runtime = Runtime::new(cx);
    for workload in wanted {
        runtime = workload.join(runtime, in_process(&api, user(workload)), &cluster);
    }
    if let Some(root) = volumes {
        let identity = Identity::controller_manager("directories");
        let client = in_process(&api, user(Workload::Volumes));
        runtime = runtime.with_controller_as(client, identity, Directories::below(root));
    }
    if let Err(error) = runtime.run(closing).await {
        tracing::error!(%error, "the controllers ended");
    }
}
