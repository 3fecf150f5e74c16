//! What every component serves is decided once, handed over as files, and followed up.
//!
//! | part | what it does |
//! |---|---|
//! | `policy`, `sources`, `platform` | what was said: by the administrator, by the sources, by discovery |
//! | `decision` | what is served from it; a bad word never means something wider |
//! | `components` | what single workloads are told otherwise |
//! | `decider` | keeps the decision in one ConfigMap and reports on the policy |
//! | `follower`, `format`, `sharing`, `handover` | what one workload gets, in which words, in whose ConfigMap, and when: files first, template last |
//! | `deliverer` | hands it over |
//! | `keys` | whether what a workload is about to get fits the keys of its pods |
//! | `verification`, `verifier` | looks with handshakes at what pods serve |
//! | `report` | the status of the policy |
//! | `admission`, `network`, `alerts` | what an administrator installs beside it |
//!
//! The decision is the single thing between the two controllers, and a ConfigMap, `paddock-tls-profile` of the control plane's namespace:
//! who restarts finds it there. While a process runs it believes only what it wrote there itself (`memory`).

mod admission;
mod alerts;
mod components;
mod decider;
mod decision;
mod deliverer;
mod follower;
mod format;
mod handover;
mod keys;
mod memory;
mod metrics;
mod network;
mod platform;
mod policy;
mod rbac;
mod reads;
mod report;
mod sharing;
mod sources;
mod verification;
mod verifier;

pub use admission::writers;
pub use alerts::alerts;
pub use decider::{DECISION, Decider, Options, OwnFiles, SourceWatch};
pub use deliverer::Deliverer;
pub use follower::{HASH, follow};
pub use metrics::ProfileMetrics;
pub use network::probes;
pub use policy::definition;
pub use rbac::controller_rules;
pub use sources::{ProfileFlags, Said, said_by};
pub use verifier::Verifier;

/// The controllers of this room. They share what only a running process knows.
#[derive(Clone, Debug)]
pub struct Controllers {
    /// Decides.
    pub decider: Decider,
    /// Watches what it decides by.
    pub sources: SourceWatch,
    /// Hands over.
    pub deliverer: Deliverer,
    /// Looks.
    pub verifier: Verifier,
}

/// Makes them.
pub fn controllers(options: Options) -> Controllers {
    let memory = memory::Memory::default();
    let deliverer = Deliverer::new(&options, memory.clone());
    let verifier = Verifier::new(&options, memory.clone());
    Controllers { decider: Decider::new(options, memory), sources: SourceWatch, deliverer, verifier }
}
