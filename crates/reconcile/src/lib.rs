//! The one controller engine: snapshot → plan → execute.
//!
//! A controller implements [`Controller`]: which objects it watches, what it reads, and a pure function from what it read
//! to a [`Plan`]. Everything else is here, once. This crate knows no product: names, labels and annotations are parameters.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`controller`], [`plan`], [`act`], [`object`], [`error`] | the vocabulary of controllers | nothing |
//! | [`drift`] | what others changed of what we own, and who it was | nothing |
//! | [`context`] | what a snapshot may use | caches, API server |
//! | `cache`, `stored` | what watches told us, with our own writes laid over it | nothing |
//! | `execute` | carries a plan out: comparison, apply, immutable fields, deletion by record, explicit writes, status, events | API server |
//! | [`pass`] | one pass: snapshot, plan, execute | what those touch |
//! | [`rehearsal`] | what a controller would do: the same passes as dry runs | API server, reading |
//! | [`queue`] | which key runs when | nothing |
//! | `worker`, `watch`, [`runtime`] | tasks around the queue and the caches; readiness, leadership, the end | API server |
//! | [`lease`], [`health`], [`metrics`] | leader election; what readiness and metrics say | one Lease; nothing |
//! | [`client`], `requests` | the one way to make a client; what is asked of the API server, counted | kubeconfig, network |
//! | [`clock`] | time and chance, owned by tests | the system's clock |

pub mod act;
mod cache;
pub mod client;
pub mod clock;
pub mod context;
pub mod controller;
pub mod drift;
pub mod error;
mod execute;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod object;
pub mod pass;
pub mod plan;
pub mod queue;
pub mod rehearsal;
mod requests;
pub mod runtime;
mod stored;
mod watch;
mod worker;

pub use act::{Act, Outcome, Strategy, Verb};
pub use clock::{Chance, Clock};
pub use context::{AuditSink, Context, EventApi, Identity};
pub use controller::{Change, Controller, Key, Selection, Settings, Source};
pub use drift::{Drift, Drifted, OnDrift};
pub use error::{Dependency, Error};
pub use execute::{Said, Writes};
pub use health::Readiness;
pub use lease::LeaseConfig;
pub use metrics::Metrics;
pub use object::{Kind, ObjectRef};
pub use pass::{Passed, run_pass};
pub use plan::{
    Adopt, AuditRecord, Desired, Event, Gate, OnImmutable, Plan, Prune, Recorded, Report, Severity, StatusPatch,
    Verdict, When,
};
pub use rehearsal::{Foreseen, Rehearsal, Rehearsed};
pub use runtime::Runtime;
