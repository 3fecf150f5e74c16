//! Development only: what controllers are tried with.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`tap`] | a client that records requests and fails on order | the client it wraps |
//! | [`process`] | a controller process without tasks and time: deterministic passes, crashes included | the API server |
//! | [`invariants`] | the six rules that hold for every controller, one function each | the API server |
//! | [`role`] | whether a shipped role is just what its controller needs | the API server |
//! | [`network`] | who reaches whom under a set of network policies | nothing |
//! | [`certificate`] | a serving certificate, and a client that trusts it alone | nothing |
//! | [`component`] | a listener of ours under a start-up directory | loopback, one directory |
//! | [`gateway`] | the network side of a gateway's pod: mutual TLS, h2, the health RPC | loopback |
//! | [`mount`] | a mounted volume as kubelet writes it: the swap, and its bad days | one directory |
//! | [`outage`] | API servers that are gone, silent, babbling or forbidding | loopback |
//! | [`startup_lint`] | whether manifests hand start-up data over so that an outage does not matter | nothing |
//! | [`kubelet`] | a scripted kubelet: pods become ready, crash or stay unschedulable as told | the API server |
//!
//! Everything works against any kube client: the embedded server's in-process one, or a real cluster's.

pub mod certificate;
pub mod component;
pub mod gateway;
pub mod invariants;
pub mod kubelet;
pub mod mount;
pub mod network;
pub mod outage;
pub mod process;
pub mod role;
mod startup_lint;
pub mod tap;

pub use invariants::{
    crash_after_every_write_converges, failed_parse_deletes_nothing, no_owner_across_namespaces,
    only_our_objects_are_touched, second_pass_writes_nothing, tenants_are_isolated,
};
pub use process::{Process, Subject};
pub use role::{Right, account_with, grant, proves_role};
pub use startup_lint::{Allowed, startup_lint};
pub use tap::{Request, Tap};

/// Where a trial takes place: a Kubernetes API of its own, with whatever the test put there.
pub trait World: Send + Sync {
    /// A client that may do everything.
    fn client(&self) -> kube::Client;
}

impl World for paddock_apiserver::Server {
    fn client(&self) -> kube::Client {
        Self::client(self)
    }
}

impl World for kube::Client {
    fn client(&self) -> kube::Client {
        self.clone()
    }
}
