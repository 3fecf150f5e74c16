//! The server as its users see it: over HTTPS or through a client in the same process.
#![expect(clippy::unwrap_used, reason = "test code: a panic is the report")]

mod audit;
mod crowds;
mod evictions;
mod expiry;
mod faults;
mod hostile;
mod impersonation;
mod life;
mod lists;
mod objects;
mod plugins;
mod policies;
mod puppet;
mod rbac;
mod selectors;
mod sets;
mod settled;
mod streams;
mod tokens;
mod webhooks;
mod wire;
