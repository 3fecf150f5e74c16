//! The engine and its harness, tried on a sample controller against the embedded API server.

mod invariants;
mod leader;
mod passes;
mod running;
mod sample;
mod stand;
mod startup;
