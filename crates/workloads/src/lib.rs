//! kube-controller-manager's controllers as snapshots and plans: what a Kubernetes API needs to run workloads.
//!
//! Each controller implements [`Controller`](paddock_reconcile::Controller) and behaves as the one of kube-controller-manager
//! 1.36: the same writes, status, conditions and events, under the same accounts. They know the engine and the built-in types
//! and no server: they run against any Kubernetes API.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`deployment`] | ReplicaSets for each template, rolled from one to the next | caches |
//! | [`job`], [`ttl`] | Pods that run to their end, counted once; finished Jobs that go by themselves | caches |
//! | [`replicaset`] | as many Pods of a template as asked for | caches |
//! | [`statefulset`] | pods with a name, an order and claims of their own | caches |
//! | [`daemonset`] | a pod on every node that it belongs on | caches |
//! | [`endpoints`] | which pods serve a Service | caches |
//! | [`disruption`] | how many pods may be evicted | caches; scales of other kinds |
//! | [`volumes`] | claims get their volumes; what is in use stays | caches |
//! | [`accounts`], [`tokens`] | what every namespace has; tokens in Secrets | caches |
//! | [`aggregation`] | ClusterRoles that are made of others | caches |
//! | `revisions`, `amounts` | the history of a template; percentages and quantities | nothing |
//! | `owner`, `selector`, `names` | whose an object is, adoption and release, keys | nothing |
//! | `pods`, `template`, `events` | what a Pod's status means; templates' hashes; events in the usual words | nothing |
//! | `snapshots` | typed reads | caches |

pub mod accounts;
pub mod aggregation;
mod amounts;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
mod events;
#[cfg(test)]
mod fixtures;
pub mod job;
mod names;
mod owner;
mod pods;
pub mod replicaset;
mod revisions;
mod selector;
mod snapshots;
pub mod statefulset;
mod template;
pub mod tokens;
pub mod ttl;
pub mod volumes;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use paddock_reconcile::{Identity, Kind, Runtime, Settings};

pub use names::Name;

/// A controller of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Rolls a Deployment's ReplicaSets from one template to the next.
    Deployments,
    /// Runs a Job's Pods to their end.
    Jobs,
    /// Deletes finished Jobs whose time is over.
    TtlAfterFinished,
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
    /// How many pods may be evicted; evictions that came to nothing.
    Disruptions,
    /// Gives claims their volumes.
    Volumes,
    /// Keeps claims that pods use.
    ClaimProtection,
    /// Keeps volumes that are bound.
    VolumeProtection,
    /// Gives each namespace its ServiceAccount `default`.
    ServiceAccounts,
    /// Publishes the cluster's CA in each namespace.
    RootCa,
    /// Fills Secrets of the type `kubernetes.io/service-account-token`.
    TokenSecrets,
    /// Fills the rules of aggregated ClusterRoles.
    ClusterRoleAggregation,
}

/// What controllers need to know of their cluster besides what its API tells.
#[derive(Clone)]
pub struct Cluster {
    /// The certificate of the API server's CA, PEM.
    pub root_ca: Arc<str>,
    /// Makes tokens of accounts.
    pub signer: Arc<dyn tokens::Signer>,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Deployments,
        Self::Jobs,
        Self::TtlAfterFinished,
        Self::ReplicaSets,
        Self::StatefulSets,
        Self::DaemonSets,
        Self::EndpointSlices,
        Self::Endpoints,
        Self::Disruptions,
        Self::Volumes,
        Self::ClaimProtection,
        Self::VolumeProtection,
        Self::ServiceAccounts,
        Self::RootCa,
        Self::TokenSecrets,
        Self::ClusterRoleAggregation,
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployments => "deployments",
            Self::Jobs => "jobs",
            Self::TtlAfterFinished => "ttl-after-finished",
            Self::ReplicaSets => "replicasets",
            Self::StatefulSets => "statefulsets",
            Self::DaemonSets => "daemonsets",
            Self::EndpointSlices => "endpointslices",
            Self::Endpoints => "endpoints",
            Self::Disruptions => "disruptions",
            Self::Volumes => "volumes",
            Self::ClaimProtection => "claim-protection",
            Self::VolumeProtection => "volume-protection",
            Self::ServiceAccounts => "service-accounts",
            Self::RootCa => "root-ca",
            Self::TokenSecrets => "service-account-tokens",
            Self::ClusterRoleAggregation => "clusterrole-aggregation",
        }
    }

    /// The service account in `kube-system` under which it acts; `None`: as `system:kube-controller-manager` itself, since what makes
    /// accounts usable needs none.
    pub fn account(self) -> Option<&'static str> {
        Some(match self {
            Self::TokenSecrets => return None,
            Self::Deployments => "deployment-controller",
            Self::Jobs => "job-controller",
            Self::TtlAfterFinished => "ttl-after-finished-controller",
            Self::ReplicaSets => "replicaset-controller",
            Self::StatefulSets => "statefulset-controller",
            Self::DaemonSets => "daemon-set-controller",
            Self::EndpointSlices => "endpointslice-controller",
            Self::Endpoints => "endpoint-controller",
            Self::Disruptions => "disruption-controller",
            Self::Volumes => "persistent-volume-binder",
            Self::ClaimProtection => "pvc-protection-controller",
            Self::VolumeProtection => "pv-protection-controller",
            Self::ServiceAccounts => "service-account-controller",
            Self::RootCa => "root-ca-cert-publisher",
            Self::ClusterRoleAggregation => "clusterrole-aggregation-controller",
        })
    }

    /// As whom it writes events: not always as its account.
    fn reporter(self) -> &'static str {
        match self {
            Self::DaemonSets => "daemonset-controller",
            Self::EndpointSlices => "endpoint-slice-controller",
            Self::Disruptions => "controllermanager",
            Self::Volumes => "persistentvolume-controller",
            other => other.account().unwrap_or("kube-controller-manager"),
        }
    }

    /// The kinds that it looks after: without an object of them there is nothing to do. None: there is always something.
    pub fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Deployments => vec![Kind::of::<Deployment>()],
            // Its Pods outlive a Job, and have to be let go.
            Self::Jobs => vec![Kind::of::<Job>(), Kind::of::<Pod>()],
            Self::TtlAfterFinished => vec![Kind::of::<Job>()],
            Self::ReplicaSets => vec![Kind::of::<ReplicaSet>()],
            Self::StatefulSets => vec![Kind::of::<StatefulSet>()],
            Self::DaemonSets => vec![Kind::of::<DaemonSet>()],
            Self::EndpointSlices | Self::Endpoints => vec![Kind::of::<Service>()],
            // Pods are evicted without a budget, too.
            Self::Disruptions => vec![Kind::of::<PodDisruptionBudget>(), Kind::of::<Pod>()],
            Self::Volumes => vec![Kind::of::<PersistentVolumeClaim>(), Kind::of::<PersistentVolume>()],
            Self::ClaimProtection => vec![Kind::of::<PersistentVolumeClaim>()],
            Self::VolumeProtection => vec![Kind::of::<PersistentVolume>()],
            Self::ServiceAccounts | Self::RootCa | Self::TokenSecrets | Self::ClusterRoleAggregation => Vec::new(),
        }
    }

    /// Adds it to a runtime. `client` acts as its [`Workload::account`].
    pub fn join(self, runtime: Runtime, client: kube::Client, cluster: &Cluster) -> Runtime {
        let mut identity = Identity::controller_manager(self.reporter());
        match self {
            Self::Deployments => runtime.with_controller_as(client, identity, deployment::Deployments::default()),
            Self::Jobs => runtime.with_controller_as(client, identity, job::Jobs::default()),
            Self::TtlAfterFinished => runtime.with_controller_as(client, identity, ttl::TtlAfterFinished),
            Self::ReplicaSets => runtime.with_controller_as(client, identity, replicaset::ReplicaSets::default()),
            Self::StatefulSets => runtime.with_controller_as(client, identity, statefulset::StatefulSets::default()),
            Self::DaemonSets => runtime.with_controller_as(client, identity, daemonset::DaemonSets::default()),
            Self::EndpointSlices => runtime.with_controller_as(client, identity, endpoints::EndpointSlices::default()),
            Self::Endpoints => runtime.with_controller_as(client, identity, endpoints::LegacyEndpoints::default()),
            Self::Disruptions => runtime
                .with_controller_as(client.clone(), identity.clone(), disruption::Disruptions::default())
                .with_controller_as(client, identity, disruption::StaleDisruptions),
            Self::Volumes => runtime.with_controller_as(client, identity, volumes::Binder::default()),
            Self::ClaimProtection => runtime.with_controller_as(client, identity, volumes::ClaimProtection),
            Self::VolumeProtection => runtime.with_controller_as(client, identity, volumes::VolumeProtection),
            Self::ServiceAccounts => runtime.with_controller_as(client, identity, accounts::DefaultAccounts),
            Self::RootCa => {
                runtime.with_controller_as(client, identity, accounts::RootCa::new(cluster.root_ca.clone()))
            }
            Self::TokenSecrets => {
                let secrets = tokens::TokenSecrets::new(cluster.signer.clone(), cluster.root_ca.clone());
                runtime.with_controller_as(client, identity, secrets)
            }
            Self::ClusterRoleAggregation => {
                // Its fields have an owner of their own.
                identity.field_manager = "clusterrole-aggregation-controller".to_owned();
                runtime.with_controller_as(client, identity, aggregation::Aggregation::default())
            }
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
