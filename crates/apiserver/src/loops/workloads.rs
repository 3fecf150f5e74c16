//! Runs the controllers of `paddock_workloads` in this process: one runtime, whose watches they share, and for each of them
//! a client under its own service account. They start with the first object that one of them looks after: a server without
//! workloads does not pay for them.

use std::path::PathBuf;

use paddock_reconcile::{Context, Identity, Runtime};
use paddock_workloads::Workload;
use paddock_workloads::volumes::directories::Directories;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::http::in_process;
use crate::store::{ListRequest, Object};
use crate::user::User;

/// Returns once there is something to do.
async fn needed(api: &Api, wanted: &[Workload]) {
    let waits = wanted.iter().flat_map(|workload| workload.kinds()).map(|kind| {
        let storage =
            if kind.group.is_empty() { format!("/{}", kind.plural) } else { format!("{}/{}", kind.group, kind.plural) };
        Box::pin(first(api, storage))
    });
    futures::future::select_all(waits).await;
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

pub(super) async fn run(api: Api, wanted: Vec<Workload>, volumes: Option<PathBuf>, closing: CancellationToken) {
    tokio::select! {
        () = closing.cancelled() => return,
        () = needed(&api, &wanted) => {}
    }
    // As on a cluster, where kube-controller-manager's informers have its own name and its controllers have accounts.
    let watcher = in_process(&api, User::new("system:kube-controller-manager", [] as [&str; 0]));
    let cx =
        Context::new(watcher, Identity::controller_manager("kube-controller-manager")).with_clock(api.clock.clone());
    let mut runtime = Runtime::new(cx);
    for workload in wanted {
        let user = User::service_account("kube-system", workload.account());
        runtime = workload.join(runtime, in_process(&api, user));
    }
    if let Some(root) = volumes {
        let user = User::service_account("kube-system", Workload::Volumes.account());
        let identity = Identity::controller_manager("directories");
        runtime = runtime.with_controller_as(in_process(&api, user), identity, Directories::below(root));
    }
    if let Err(error) = runtime.run(closing).await {
        tracing::error!(%error, "the workload controllers ended");
    }
}
