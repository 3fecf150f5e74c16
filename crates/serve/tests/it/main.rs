//! Real sockets, real handshakes: what a client of a Paddock listener sees.
#![expect(clippy::unwrap_used, reason = "test code: a panic is the report")]

mod generations;
mod health;
mod keys;
mod serving;
mod wire;
