//! Gateways: an OpenShell agent gateway in each tenant namespace that `platform-config` names.
//!
//! | module | what it is for | touches |
//! |---|---|---|
//! | `document`, `intent`, `problem` | `platform-config` to one judged intent per tenant | nothing |
//! | `toml`, `schema`, `version` | the gateway's own file, by gateway version | nothing |
//! | `names` | every fixed name | nothing |

mod document;
mod intent;
pub mod names;
mod pki;
mod problem;
mod render;
mod schema;
mod toml;
mod version;

pub use intent::{Entry, Intent, Intents, Rules};
pub use problem::{Position, Problem};
pub use render::Peers;
pub use version::GatewayVersion;
