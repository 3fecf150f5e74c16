//! A Kubernetes API server in a library.
//!
//! Real HTTPS, real watch semantics, durable when asked, ready in milliseconds, nothing to download. It knows the built-in
//! kinds and CustomResourceDefinitions and nothing of any product's own kinds, so any kube-rs project can use it.
//!
//! The rooms, from the wire inwards:
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | `server` | builder, start, stop, kubeconfig | everything |
//! | `http` | request line → [`request`], body limits, responses, watch streams | hyper |
//! | `handlers` | one function per verb: decode → admit → validate → store | the rooms below |
//! | `registry` | which resources are served; built-in and from CRDs | `schema`, `kinds` |
//! | `kinds` | defaults, validation and life-cycle rules of the built-in kinds | pure |
//! | `schema` | OpenAPI schemas: decoding, pruning, defaulting, validation, documents | pure |
//! | `patch` | JSON, merge, strategic merge patches and server-side apply | pure |
//! | `selector` | label and field selectors | pure |
//! | `store` | one log of revisions, an index in memory, a file | disk |
//! | `fault`, `log`, `clock` | what tests hold in their hands | nothing |
//! | `loops` | namespace life cycle, ServiceAccounts, garbage collection | the API, as any client |

pub mod clock;
pub mod field;
pub mod kinds;
pub mod patch;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod store;
pub mod table;
