//! `paddock gateways`: what would be done for each gateway, and how each stands.
//!
//! | module | what it is for |
//! |---|---|
//! | [`plan`] | the controller's own passes as dry runs: differences and forecast |
//! | [`manifests`] | objects from files, in the place of a cluster |
//! | [`diff`] | pure: the difference of two objects as people read it |
//! | [`status`] | the table of gateways, once or as it changes |

mod diff;
mod manifests;
pub(crate) mod plan;
pub(crate) mod status;

use kube::Client;
use paddock_reconcile::client;

use crate::exit::{Failure, chain};
use crate::output::colours;
use crate::settings::{Effective, table};

/// A kubeconfig that was named, else as kubectl finds one.
async fn connect(settings: &Effective) -> Result<Client, Failure> {
    let found = match settings.find(&table::KUBECONFIG_INTERACTIVE) {
        Some(path) => client::from_kubeconfig(&path, None).await,
        None => client::inferred().await,
    };
    found.map_err(|error| Failure::usage(chain(&error)))
}
