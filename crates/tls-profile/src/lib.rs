//! TLS security profiles, as OpenShift's API and Mozilla's guidelines have them: what a platform asks its servers to serve, and
//! what a server can serve of it.
//!
//! This room computes and never does I/O. It knows no TLS library: what one can do is a [`Backend`], a value.
//!
//! - A [`Request`] is what somebody wrote (`spec.tlsSecurityProfile`); [`Request::profile`] makes it a [`Profile`] by the tables
//!   of a [`Generation`].
//! - A [`Profile`] is the shape that is handed to components as `profile.json`; its [`Profile::canonical`] bytes have one
//!   [`Profile::hash`].
//! - [`resolve`] says what a server serves of a profile: never more than was asked for, and why each thing that is left out is.
//! - [`Adherence`] says what to do when that is nothing.
//! - A [`Contract`] is what a component is told before it begins, besides the profile: `contract.json`.
//! - A [`ClientModel`] tells whether the clients that matter can talk to what is served.

mod adherence;
mod client;
mod contract;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod group;
mod named;
mod profile;
mod request;
mod resolve;
mod suite;
mod version;

pub use adherence::{Adherence, Verdict};
pub use client::ClientModel;
pub use contract::{
    Client, Contract, DRAIN_SECONDS, Decision, Known, MetricsAuth, ParsedContract, Schema, Source, files,
};
pub use group::Group;
pub use named::{Generation, Named};
pub use profile::{Invalid, MAX_NAME_LENGTH, MAX_NAMES, Parsed, Profile, hex_sha256};
pub use request::Request;
pub use resolve::{
    Backend, Dropped, Effective, KeyKind, Note, Options, Outcome, Reason, Resolution, Tls13Policy, Unservable, resolve,
};
pub use suite::{Authentication, Suite};
pub use version::Version;
