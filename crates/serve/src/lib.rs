//! Every listener of Paddock: one accept loop, one way to do TLS, one way to stop.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`mod@serve`] | accept, HTTP/1.1 and h2, limits, drain | sockets |
//! | [`tls`] | what a listener presents and whom it believes; swapped while serving | nothing: bytes in, configuration out |
//! | `traffic` | counters of connections | nothing |
//! | [`health`] | `/healthz`, `/livez`, `/readyz`, `/metrics` | nothing: it answers requests |
//!
//! A listener starts from what it is given and asks nobody: no API server is needed to bind a port.

pub mod health;
pub mod serve;
pub mod tls;
mod traffic;

pub use health::{Check, Health, Readiness};
pub use paddock_pki::crypto_provider;
pub use serve::{BoxError, Drained, Listener, Options, Peer, serve};
pub use tls::{Tls, TlsError, TlsSource};
pub use traffic::{Counts, Traffic};
