//! The invariants of every controller, tried with these, in worlds where nothing else happens.

mod invariants;
mod stand;
