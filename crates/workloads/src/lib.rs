//! kube-controller-manager's workload controllers as snapshots and plans: what a Kubernetes API needs to run workloads.
//!
//! Each controller implements [`Controller`](paddock_reconcile::Controller) and behaves as the one of kube-controller-manager
//! 1.36: the same writes, status, conditions and events, under the same accounts. They know the engine and the built-in types
//! and no server: they run against any Kubernetes API.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`replicaset`] | as many Pods of a template as asked for | caches |
//! | `owner`, `selector`, `names` | whose an object is, adoption and release, keys | nothing |
//! | `pods`, `events` | what a Pod's status means; events in the usual words | nothing |
//! | `snapshots` | typed reads | caches |

mod amounts;
pub mod disruption;
pub mod endpoints;
mod events;
mod names;
mod owner;
mod pods;
pub mod replicaset;
mod revisions;
mod selector;
mod snapshots;
pub mod statefulset;
pub mod volumes;

use std::time::Duration;

use paddock_reconcile::{Identity, Runtime, Settings};

pub use names::Name;

/// A controller of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Keeps as many Pods of a template as a ReplicaSet asks for.
    ReplicaSets,
    /// Pods with a name, an order and claims of their own.
    StatefulSets,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ReplicaSets, Self::StatefulSets];

    /// The service account in `kube-system` under which it acts.
    pub fn account(self) -> &'static str {
        match self {
            Self::ReplicaSets => "replicaset-controller",
            Self::StatefulSets => "statefulset-controller",
        }
    }

    /// Adds it to a runtime. `client` acts as its [`Workload::account`].
    pub fn join(self, runtime: Runtime, client: kube::Client) -> Runtime {
        let identity = Identity::controller_manager(self.account());
        match self {
            Self::ReplicaSets => runtime.with_controller_as(client, identity, replicaset::ReplicaSets::default()),
            Self::StatefulSets => runtime.with_controller_as(client, identity, statefulset::StatefulSets::default()),
        }
    }
}

/// How kube-controller-manager runs its queues: 5 workers, retries from 5 ms on.
pub(crate) fn settings() -> Settings {
    Settings {
        concurrency: 5,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_secs(1000),
        ..Settings::default()
    }
}
