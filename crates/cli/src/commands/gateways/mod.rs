//! `paddock gateways`: what would be done for each gateway, and how each stands.
//!
//! | module | what it is for |
//! |---|---|
//! | [`plan`] | the controller's own passes as dry runs: differences and forecast |
//! | [`manifests`] | objects from files, in the place of a cluster |
//! | [`diff`] | pure: the difference of two objects as people read it |
//! | [`status`] | the table of gateways, once or as it changes |
//! | [`convert`] | `platform-config` as `OpenShellGateway` manifests |

pub(crate) mod convert;
mod diff;
mod manifests;
pub(crate) mod plan;
pub(crate) mod status;

use std::fs;
use std::io::Read;
use std::path::Path;

use kube::Client;
use paddock_controllers::gateways::{GatewayKey, PLATFORM_CONFIG, Problem, SourceFile};
use paddock_reconcile::client;

use crate::exit::{Failure, chain};
use crate::settings::{Effective, table};

/// A kubeconfig that was named, else as kubectl finds one.
async fn connect(settings: &Effective) -> Result<Client, Failure> {
    let found = match settings.find(&table::KUBECONFIG_INTERACTIVE) {
        Some(path) => client::from_kubeconfig(&path, None).await,
        None => client::inferred().await,
    };
    found.map_err(|error| Failure::usage(chain(&error)))
}

/// `platform-config` from a file; `-` is stdin.
fn read(path: &Path) -> Result<SourceFile, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text).map(drop),
        _ => fs::read_to_string(path).map(|content| text = content),
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    SourceFile::read(&text).map_err(|problem| Failure::usage(format!("{}: {problem}", path.display())))
}

/// A problem with the object or the file that it is in, if it is in one.
fn placed(
    settings: &Effective,
    file: Option<&SourceFile>,
    (object, problem): &(Option<GatewayKey>, Problem),
) -> String {
    match (settings.find(&table::PLAN_FILE), file) {
        _ if let Some(key) = object => format!("OpenShellGateway {key}: {problem}"),
        (Some(path), Some(file)) => format!("{}: {}", path.display(), file.locate(problem.clone())),
        _ => format!("{PLATFORM_CONFIG}: {problem}"),
    }
}
