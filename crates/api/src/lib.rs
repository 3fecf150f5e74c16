//! Names in the Kubernetes API that Paddock writes and others read: labels, annotations, condition types, phases.
//!
//! This room holds constants and small enums; it knows no client and no rule.

use std::fmt;

pub mod gateway;

/// Labels on objects that we write.
pub mod labels {
    /// Who manages the object; see [`MANAGED_BY_PADDOCK`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`] on everything of ours.
    pub const MANAGED_BY_PADDOCK: &str = "paddock";
    /// The application: `openshell` on gateways.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// The value of [`NAME`] on the pods of the control plane's operator, by which gateways let them in.
    pub const OPERATOR: &str = "paddock-operator";
    /// The instance of the application; selects a gateway's pods.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// The role within the application.
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// On a namespace: with the value `canary`, its gateways go first when the platform changes.
    pub const ROLLOUT: &str = "paddock.dev/rollout";
    /// The tenant to which the object belongs, also outside its namespace.
    pub const TENANT: &str = "paddock.dev/tenant";
    /// The gateway within the tenant's namespace to which the object belongs; absent on those of `openshell-gateway`, the
    /// gateway that a tenant of `platform-config` has.
    pub const GATEWAY: &str = "paddock.dev/gateway";
}

/// Annotations on objects that we write or obey.
pub mod annotations {
    /// SHA-256 of everything that a pod reads only at its start. A new value is a restart; an equal one is none.
    pub const CONFIG_HASH: &str = "paddock.dev/config-hash";
    /// On a workload: digests of what its config hash is made of, which tell why it restarts. Not on its pods.
    pub const RESTART_INPUTS: &str = "paddock.dev/restart-inputs";
    /// On pods: the revision of the gateway that they were made for.
    pub const REVISION: &str = "paddock.dev/revision";
    /// On `platform-config`: go on with a paused rollout, `<revision>/<number of failures>`.
    pub const RESUME_ROLLOUT: &str = "paddock.dev/resume-rollout";
    /// On `platform-config` or a namespace: gateways may go back to this version although a newer one ran.
    pub const ALLOW_DOWNGRADE: &str = "paddock.dev/allow-downgrade";
    /// On an object of ours: never delete it (any value but `false`).
    pub const PROTECT: &str = "paddock.dev/protect";
    /// On the Secret of a gateway's authority (or, where there is none yet, of its server certificate): asks for another
    /// authority. A value that was not seen before is a request; running sandboxes keep their trust.
    pub const ROTATE_AUTHORITY: &str = "paddock.dev/rotate-authority";
    /// On the claim of a gateway's volume: the fingerprint of the key with which credentials in it are encrypted.
    pub const DATA_KEY: &str = "paddock.dev/data-key";
    /// On an authority: the uid of the namespace that it was made for. A namespace made anew gets another authority.
    pub const NAMESPACE_UID: &str = "paddock.dev/namespace-uid";
    /// On the control plane's namespace of `paddock up`: the default StorageClass was seen to, and nothing more is made of it.
    pub const DEFAULT_STORAGE_CLASS: &str = "paddock.dev/default-storage-class";
    /// On `platform-config`: lets more gateways go at once than the circuit breaker allows, for the document whose digest it
    /// names and no other.
    pub const ACKNOWLEDGE_REMOVALS: &str = "paddock.dev/acknowledge-removals";
}

/// Condition types of a gateway, in the order in which they become true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayCondition {
    /// The tenant's entry is valid.
    ConfigValid,
    /// The tenant's namespace exists and is not terminating.
    NamespaceReady,
    /// The cluster serves what the gateway needs.
    Prerequisites,
    /// The Secrets with certificates and keys are complete.
    PkiReady,
    /// Every object was applied.
    Applied,
    /// The workload runs the newest template.
    RolledOut,
    /// The gateway answers over mutual TLS that it is well. Says nothing of its database or of sandboxes.
    Serving,
    /// The summary of all others.
    Ready,
}

impl GatewayCondition {
    /// All of them in order.
    pub const ALL: [Self; 8] = [
        Self::ConfigValid,
        Self::NamespaceReady,
        Self::Prerequisites,
        Self::PkiReady,
        Self::Applied,
        Self::RolledOut,
        Self::Serving,
        Self::Ready,
    ];

    /// The `type` of the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigValid => "ConfigValid",
            Self::NamespaceReady => "NamespaceReady",
            Self::Prerequisites => "Prerequisites",
            Self::PkiReady => "PkiReady",
            Self::Applied => "Applied",
            Self::RolledOut => "RolledOut",
            Self::Serving => "Serving",
            Self::Ready => "Ready",
        }
    }
}

impl fmt::Display for GatewayCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to a gateway whose intent is gone while sandboxes live in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DeletionPolicy {
    /// It stays until the last sandbox is gone.
    #[default]
    Block,
    /// No new sandboxes; it goes when the last one is gone.
    Drain,
    /// It goes at once, and the sandboxes lose it.
    Force,
}

/// What happens to a gateway's data (its volume and the key of its stored credentials) when the gateway goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DataPolicy {
    /// Both stay.
    #[default]
    Retain,
    /// Both go.
    Delete,
}

/// What happens when somebody else changes an object of a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum DriftPolicy {
    /// It is put right and reported.
    #[default]
    Revert,
    /// It is reported.
    Report,
}

/// Where a gateway stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum GatewayPhase {
    /// Nothing can be done yet: something it depends on is missing.
    Pending,
    /// Objects are applied, the workload is not ready yet.
    Provisioning,
    /// Ready.
    Running,
    /// It was set up, but is not as it should be.
    Degraded,
    /// The user must change something.
    Failed,
    /// Nobody wants it any more: it is being taken down, or waits for leave to go.
    Deleting,
}

impl GatewayPhase {
    /// All of them; a metric per phase has this many series.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Provisioning, Self::Running, Self::Degraded, Self::Failed, Self::Deleting];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Provisioning => "Provisioning",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }
}

impl fmt::Display for GatewayPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
