//! What the operator or a gateway's author decides about its life, as opposed to what it is. Touches nothing.

use paddock_api::{DataPolicy, DeletionPolicy, DriftPolicy};

/// The policies of one gateway. The default of each is what loses nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// What happens to live sandboxes when the gateway's intent is gone.
    pub deletion: DeletionPolicy,
    /// What happens to its data then.
    pub data: DataPolicy,
    /// What happens when somebody else changes its objects.
    pub drift: DriftPolicy,
    /// How changes of its pods are rolled out.
    pub rollout: Rollout,
}

/// How changes of a gateway's pods are rolled out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rollout {}
