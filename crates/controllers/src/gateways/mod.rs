//! Gateways: an OpenShell agent gateway in each tenant namespace that `platform-config` names.
//!
//! | module | what it is for | touches |
//! |---|---|---|
//! | `key` | which gateway: namespace and name, and the names of its objects | nothing |
//! | `document`, `intent`, `policies`, [`Problem`] | `platform-config` to one judged intent per gateway | nothing |
//! | `toml`, `schema`, [`GatewayVersion`] | the gateway's own file, by gateway version | nothing |
//! | `embedded` | from a place in the gateway's file to its place in `platform-config` | nothing |
//! | `platform` | what else rendering depends on: cluster version, database | nothing |
//! | `render`, [`names`], [`rbac`] | the manifest set as typed objects | nothing |
//! | `network` | who may connect to whom, as network policies | nothing |
//! | `restart` | what a gateway reads only at its start | nothing |
//! | `forecast`, [`Foretold`] | what would be done, and whether a gateway would restart and why | nothing |
//! | `overview` | how all gateways stand, from what was written down | nothing |
//! | [`SourceFile`] | `platform-config` as people keep it in a file | nothing |
//! | `pki` | what exists of certificates and keys is judged, what is missing is made | randomness |
//! | [`probe`] | what gateways say of themselves, over mutual TLS | the gateways |
//! | `serving` | what that means for the conditions | nothing |
//! | `condition` | conditions, phase and the one-line summary | nothing |
//! | [`Gateways`] | one gateway: snapshot and plan | API server, by the engine |
//! | [`GatewayMetrics`] | what is counted per tenant | nothing |
//! | [`GatewayStatus`] | `platform-config-status` and metrics | API server, by the engine |

mod condition;
mod controller;
mod document;
mod embedded;
mod forecast;
mod foretold;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod intent;
mod key;
mod metrics;
pub mod names;
mod network;
mod overview;
mod pki;
mod platform;
mod policies;
pub mod probe;
mod problem;
pub mod rbac;
mod render;
mod restart;
mod schema;
mod serving;
mod source_file;
mod status;
mod toml;
mod version;

pub use controller::{Gateways, NAMESPACES_KEY, Options, OptionsError, PLATFORM_CONFIG, Snapshot};
pub use forecast::Forecast;
pub use foretold::{Action, Foretold, ObjectChange};
pub use intent::{Entry, Intent, Intents, Origin, Rules};
pub use key::GatewayKey;
pub use metrics::{GatewayMetrics, OfPhase, OfTenant};
pub use network::{Egress, EgressError, PodsError, PodsOf};
pub use overview::{Line, overview};
pub use platform::{ClusterVersion, ClusterVersionError, Database, DatabaseError};
pub use policies::{Policies, Rollout};
pub use problem::{Position, Problem};
pub use source_file::SourceFile;
pub use status::{GatewayStatus, Report, STATUS, StatusSnapshot};
pub use version::GatewayVersion;

/// The two controllers: one keeps the gateways right, the other reports. They share the judged `platform-config`.
pub fn controllers(options: Options, metrics: GatewayMetrics) -> (Gateways, GatewayStatus) {
    let memory = controller::Memory::new(options.rules.clone());
    let status = GatewayStatus::new(options.namespace.clone(), memory.clone(), metrics);
    (Gateways::new(options, memory), status)
}
