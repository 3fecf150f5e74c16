//! The workload controllers against a server: the invariants of every controller, in worlds where nothing else happens, and life
//! with a scripted pod runner.

mod invariants;
mod life;
mod stand;
