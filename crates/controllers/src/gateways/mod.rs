//! Gateways: OpenShell agent gateways in tenants' namespaces, as `platform-config` and `OpenShellGateway` objects ask for them.
//!
//! | module | what it is for | touches |
//! |---|---|---|
//! | `key` | which gateway: namespace and name, and the names of its objects | nothing |
//! | `document`, `intent`, `policies`, [`Problem`] | `platform-config` to one judged intent per gateway | nothing |
//! | `resource`, [`definition`] | `OpenShellGateway` objects to the same intents, and their schema | nothing |
//! | `conversion` | entries of `platform-config` as `OpenShellGateway` objects | nothing |
//! | `sources` | what is watched, and whom a change concerns | nothing |
//! | `memory` | what was asked for by either, judged and remembered, and which gateways exist | API server, asking what the cluster is |
//! | `toml`, `schema`, `grammar`, [`GatewayVersion`] | the gateway's own file, by gateway version, and texts in it | nothing |
//! | `embedded` | from a place in the gateway's file to its place in `platform-config` | nothing |
//! | `platform` | what else rendering depends on: cluster version, database | nothing |
//! | `render`, [`names`], [`rbac`] | the manifest set as typed objects | nothing |
//! | `shared` | what a gateway for many namespaces needs in each | nothing |
//! | `network` | who may connect to whom, as network policies | nothing |
//! | `options` | what the operator decides | nothing |
//! | `selection` | which namespaces may be touched, and how they stand | API server, by the engine |
//! | `restart` | what a gateway reads only at its start | nothing |
//! | `forecast`, [`Foretold`] | what would be done, and whether a gateway would restart and why | nothing |
//! | `overview` | how all gateways stand, from what was written down | nothing |
//! | `preflight` | what a gateway needs that is not ours to make, and what of it is missing | API server, asking |
//! | [`SourceFile`] | `platform-config` as people keep it in a file | nothing |
//! | `pki` | what exists of certificates and keys is judged, what is missing is made | randomness |
//! | [`probe`] | what gateways say of themselves, over mutual TLS | the gateways |
//! | `serving` | what that means for the conditions | nothing |
//! | `pods`, `rollout` | the revisions of one gateway: which to apply, whether it came up, back to the last good one | nothing |
//! | `turn` | what a rollout depends on besides the gateway's own objects | API server, by the engine |
//! | `waves` | which gateways may take a change of the platform now | nothing |
//! | `condition`, `report` | conditions, phase and the one-line summary; what of them is said where | nothing |
//! | `teardown`, `claim`, `drift` | what goes in which order and what stays; the volume's claim; what others changed | nothing |
//! | `lookup` | what a snapshot asks by rules of its own | API server, reading |
//! | `removal` | a gateway that nobody wants any more: what is left of it, and its plan | API server, reading |
//! | [`Gateways`] | one gateway: snapshot and plan | API server, by the engine |
//! | [`GatewayFleet`] | `platform-config-rollout`: whose turn it is | API server, by the engine |
//! | [`GatewayMetrics`] | what is counted per tenant | nothing |
//! | [`GatewayStatus`] | `platform-config-status` and metrics | API server, by the engine |

mod claim;
mod condition;
mod controller;
mod conversion;
pub mod definition;
mod document;
mod drift;
mod embedded;
mod fleet;
mod forecast;
mod foretold;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod grammar;
mod intent;
mod key;
mod lookup;
mod memory;
mod metrics;
pub mod names;
mod network;
mod options;
mod overview;
mod pki;
mod platform;
mod pods;
mod policies;
mod preflight;
pub mod probe;
mod problem;
pub mod rbac;
mod removal;
mod render;
mod report;
mod resource;
mod restart;
mod rollout;
mod schema;
mod selection;
mod serving;
mod shared;
mod source_file;
mod sources;
mod status;
mod teardown;
mod toml;
mod turn;
mod version;
mod waves;

pub use controller::{Gateways, NAMESPACES_KEY, PLATFORM_CONFIG, Snapshot};
pub use conversion::convert;
pub use fleet::{FleetSnapshot, GatewayFleet, ROLLOUT, Wave};
pub use forecast::Forecast;
pub use foretold::{Action, Foretold, ObjectChange};
pub use intent::{DEFAULT_SANDBOX_IMAGE, Entry, ImageFrom, Intent, Intents, MAX_REMOVALS, Origin, Rules};
pub use key::GatewayKey;
pub use metrics::{GatewayMetrics, OfPhase, OfTenant};
pub use network::{Egress, EgressError, PodsError, PodsOf};
pub use options::{Options, OptionsError};
pub use overview::{Line, overview};
pub use paddock_policy::tenant::ReservedNames;
pub use platform::{ClusterVersion, ClusterVersionError, Database, DatabaseError};
pub use policies::{Policies, Rollout};
pub use problem::{Position, Problem};
pub use resource::Served;
pub use selection::{Namespaces, NamespacesError};
pub use source_file::SourceFile;
pub use status::{GatewayStatus, Report, STATUS, StatusSnapshot};
pub use version::GatewayVersion;
pub use waves::{RolloutPolicy, Share, ShareError};

/// The three controllers: one keeps the gateways right, one reports, one decides whose turn it is when the platform
/// changes. They share what was asked for and judged.
pub fn controllers(options: Options, metrics: GatewayMetrics) -> (Gateways, GatewayStatus, GatewayFleet) {
    let (memory, rights) = (memory::Memory::new(options.rules.clone()), preflight::Rights::default());
    let (namespace, rules) = (options.namespace.clone(), options.rules.clone());
    let status = GatewayStatus::new(namespace, rules, memory.clone(), metrics.clone(), rights.clone());
    let fleet = GatewayFleet::new(&options, memory.clone());
    (Gateways::new(options, memory, metrics, rights), status, fleet)
}
