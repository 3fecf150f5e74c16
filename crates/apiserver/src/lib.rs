//! A Kubernetes API server in a library.
//!
//! Real HTTPS, real watch semantics, durable when asked, ready in milliseconds, nothing to download. It knows the built-in
//! kinds and CustomResourceDefinitions and nothing of any product's own kinds, so any kube-rs project can use it.
//!
//! The rooms, from the wire inwards:
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | [`server`] | builder, start, stop, client, kubeconfig | everything |
//! | `identity` | CA, serving certificate, key of tokens, who a client certificate names | the PKI directory |
//! | `http`, `incoming` | sockets and in-process clients → `api`; bodies, headers, streams | hyper |
//! | `api` | one request in, one answer out: faults, log, dispatch | the rooms below |
//! | `audit` | the audit log | its file |
//! | [`request`] | path, query and Accept → what is asked | pure |
//! | `user`, `authn`, `authz` | who asks, as whom, and what they may do | the store |
//! | `admission` | built-in plugins, policies and webhooks: who may change or refuse a write | the store |
//! | `handlers` | one function per verb: decode → admit → validate → store | the rooms below |
//! | [`node`], `streaming` | where a node plugs in; exec, attach and port-forward on the wire | the socket they are given |
//! | `documents`, `discovery`, `openapi` | health, discovery, OpenAPI | the registry |
//! | [`registry`] | which resources are served; built-in and from CRDs | `schema`, `kinds` |
//! | `crd` | what a CustomResourceDefinition makes | pure |
//! | `kinds` | defaults, validation and life-cycle rules of the built-in kinds | pure |
//! | `schema` | OpenAPI schemas: decoding, pruning, defaulting, validation, documents | pure |
//! | `patch` | JSON, merge, strategic merge patches and server-side apply | pure |
//! | `protobuf` | request bodies as kubectl's typed clients send them | pure |
//! | `selector` | label and field selectors | pure |
//! | `store` | one log of revisions, an index in memory, a file | disk |
//! | [`fault`], [`log`], [`clock`] | what tests hold in their hands | nothing |
//! | `loops` | namespace life cycle, ServiceAccounts, garbage collection | the API, as any client |

mod admission;
mod api;
mod audit;
mod authn;
mod authz;
mod bootstrap;
pub mod clock;
mod crd;
mod discovery;
mod documents;
pub mod fault;
pub mod field;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handlers;
mod http;
mod identity;
mod incoming;
pub mod kinds;
pub mod log;
mod loops;
mod metrics;
pub mod node;
mod openapi;
pub mod patch;
mod protobuf;
pub mod registry;
pub mod request;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod server;
pub mod status;
pub mod store;
mod streaming;
mod table;
mod user;

pub use authz::PolicyRule;
pub use loops::Loop;
pub use paddock_workloads::Workload;
pub use paddock_workloads::volumes::directories::PROVISIONER as DIRECTORY_PROVISIONER;
pub use server::{Builder, Server, StartError};
pub use user::User;
