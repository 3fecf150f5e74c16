//! Every listener of Paddock: one accept loop, one way to do TLS, one way to stop.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`mod@serve`] | accept, HTTP/1.1 and h2, limits, drain | sockets |
//! | [`tls`] | what a listener presents, lets in and believes; swapped while serving | nothing: bytes in, configuration out |
//! | [`startup`] | the mounted start-up directory: load, validate, publish, watch | that directory |
//! | `activity` | what goes on on one connection: idle, stalled or streaming | its bytes, on their way through |
//! | `traffic` | counters of connections | nothing |
//! | [`health`] | `/healthz`, `/livez`, `/readyz`, `/metrics` for this machine | nothing: it answers requests |
//! | [`access`] | who may read the metrics: TokenReview, SubjectAccessReview, client certificates | the Kubernetes API |
//! | [`protected`] | `/metrics` and `/tlsz` for those who may | nothing: it answers requests |
//! | [`metrics`] | what is counted of TLS | nothing |
//!
//! A listener starts from what it is given and asks nobody: no API server is needed to bind a port.

pub mod access;
mod activity;
pub mod health;
pub mod metrics;
pub mod protected;
pub mod serve;
pub mod startup;
pub mod tls;
mod traffic;

pub use access::{Gate, KubeReviewer};
pub use health::{Check, Health, Readiness};
pub use metrics::TlsMetrics;
pub use paddock_pki::crypto_provider;
pub use protected::Protected;
pub use serve::{BoxError, Drained, Listener, Options, Peer, serve};
pub use startup::{NothingValid, Overrides, Startup, StartupOptions, place};
pub use tls::{Certificate, Tls, TlsError, TlsSource, keep_renewed};
pub use traffic::{Counts, Traffic};
