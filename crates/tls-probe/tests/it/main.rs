//! The prober against real listeners.
#![expect(clippy::unwrap_used, reason = "test code: a panic is the report")]

mod listener;
mod matrix;
mod scanning;
mod verifying;
