//! Runs the controllers of `paddock_workloads` in this process: one runtime, whose watches they share, and for each of them
//! a client under its own service account.

use paddock_reconcile::{Context, Identity, Runtime};
use paddock_workloads::Workload;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::http::in_process;
use crate::user::User;

pub(super) async fn run(api: Api, wanted: Vec<Workload>, closing: CancellationToken) {
    // As on a cluster, where kube-controller-manager's informers have its own name and its controllers have accounts.
    let watcher = in_process(&api, User::new("system:kube-controller-manager", [] as [&str; 0]));
    let cx =
        Context::new(watcher, Identity::controller_manager("kube-controller-manager")).with_clock(api.clock.clone());
    let mut runtime = Runtime::new(cx);
    for workload in wanted {
        let user = User::service_account("kube-system", workload.account());
        runtime = workload.join(runtime, in_process(&api, user));
    }
    if let Err(error) = runtime.run(closing).await {
        tracing::error!(%error, "the workload controllers ended");
    }
}
