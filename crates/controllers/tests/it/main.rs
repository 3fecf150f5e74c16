//! The controllers against an embedded API server: the rules that hold for every controller, and what users see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod data;
mod drift;
mod gateways;
mod life;
mod loops;
mod plan;
mod preflight;
mod removal;
mod resources;
mod role;
mod serving;
mod takeover;
mod tls_profile;
mod waves;
