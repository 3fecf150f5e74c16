//! kube-controller-manager's workload controllers as snapshots and plans: what a Kubernetes API needs to run workloads.
//!
//! Each controller implements [`Controller`](paddock_reconcile::Controller) and behaves as the one of kube-controller-manager
//! 1.36: the same writes, status, conditions and events, under the same accounts. They know the engine and the built-in types
//! and no server: they run against any Kubernetes API.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`replicaset`] | as many Pods of a template as asked for | caches |
//! | [`statefulset`] | pods with a name, an order and claims of their own | caches |
//! | [`daemonset`] | a pod on every node that it belongs on | caches |
//! | [`endpoints`] | which pods serve a Service | caches |
//! | [`disruption`] | how many pods may be evicted | caches; scales of other kinds |
//! | [`volumes`] | claims get their volumes; what is in use stays | caches |
//! | `revisions`, `amounts` | the history of a template; percentages and quantities | nothing |
//! | `owner`, `selector`, `names` | whose an object is, adoption and release, keys | nothing |
//! | `pods`, `events` | what a Pod's status means; events in the usual words | nothing |
//! | `snapshots` | typed reads | caches |

mod amounts;
pub mod daemonset;
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
    /// A pod on every node that it belongs on.
    DaemonSets,
    /// Which pods serve a Service.
    EndpointSlices,
    /// The same in the older form.
    Endpoints,
    /// How many pods may be evicted.
    Disruptions,
    /// Gives claims their volumes.
    Volumes,
    /// Keeps claims that pods use.
    ClaimProtection,
    /// Keeps volumes that are bound.
    VolumeProtection,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ReplicaSets,
        Self::StatefulSets,
        Self::DaemonSets,
        Self::EndpointSlices,
        Self::Endpoints,
        Self::Disruptions,
        Self::Volumes,
        Self::ClaimProtection,
        Self::VolumeProtection,
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplicaSets => "replicasets",
            Self::StatefulSets => "statefulsets",
            Self::DaemonSets => "daemonsets",
            Self::EndpointSlices => "endpointslices",
            Self::Endpoints => "endpoints",
            Self::Disruptions => "disruptions",
            Self::Volumes => "volumes",
            Self::ClaimProtection => "claim-protection",
            Self::VolumeProtection => "volume-protection",
        }
    }

    /// The service account in `kube-system` under which it acts.
    pub fn account(self) -> &'static str {
        match self {
            Self::ReplicaSets => "replicaset-controller",
            Self::StatefulSets => "statefulset-controller",
            Self::DaemonSets => "daemon-set-controller",
            Self::EndpointSlices => "endpointslice-controller",
            Self::Endpoints => "endpoint-controller",
            Self::Disruptions => "disruption-controller",
            Self::Volumes => "persistent-volume-binder",
            Self::ClaimProtection => "pvc-protection-controller",
            Self::VolumeProtection => "pv-protection-controller",
        }
    }

    /// As whom it writes events: not always as its account.
    fn reporter(self) -> &'static str {
        match self {
            Self::DaemonSets => "daemonset-controller",
            Self::EndpointSlices => "endpoint-slice-controller",
            Self::Disruptions => "controllermanager",
            Self::Volumes => "persistentvolume-controller",
            other => other.account(),
        }
    }

    /// Adds it to a runtime. `client` acts as its [`Workload::account`].
    pub fn join(self, runtime: Runtime, client: kube::Client) -> Runtime {
        let identity = Identity::controller_manager(self.reporter());
        match self {
            Self::ReplicaSets => runtime.with_controller_as(client, identity, replicaset::ReplicaSets::default()),
            Self::StatefulSets => runtime.with_controller_as(client, identity, statefulset::StatefulSets::default()),
            Self::DaemonSets => runtime.with_controller_as(client, identity, daemonset::DaemonSets::default()),
            Self::EndpointSlices => runtime.with_controller_as(client, identity, endpoints::EndpointSlices::default()),
            Self::Endpoints => runtime.with_controller_as(client, identity, endpoints::LegacyEndpoints::default()),
            Self::Disruptions => runtime.with_controller_as(client, identity, disruption::Disruptions::default()),
            Self::Volumes => runtime.with_controller_as(client, identity, volumes::Binder::default()),
            Self::ClaimProtection => runtime.with_controller_as(client, identity, volumes::ClaimProtection),
            Self::VolumeProtection => runtime.with_controller_as(client, identity, volumes::VolumeProtection),
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
