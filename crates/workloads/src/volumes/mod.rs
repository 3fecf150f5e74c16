//! Claims and volumes: which claim gets which volume, and finalizers that keep what is in use. Reads through the engine's
//! context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/volume/persistentvolume`, `pvcprotection` and `pvprotection`.

mod bind;
mod claim;
pub mod directories;
mod matching;
mod protection;
#[cfg(test)]
mod tests;
mod volume;

pub use bind::{Binder, Key, Snapshot};
pub use protection::{ClaimProtection, ClaimUse, VolumeProtection};
