//! `paddock operator`: the controllers against a cluster.

use std::fs;

use kube::Client;
use paddock_reconcile::client;
use paddock_serve::TlsMetrics;
use tokio_util::sync::CancellationToken;

use super::controllers::{CONTROL_NAMESPACE, Options, Running};
use super::listeners::{self, Metrics};
use crate::exit::{Failure, Outcome, chain};
use crate::settings::{Effective, table};

/// Runs until `stop`. A cluster that is away or refuses makes the process not ready; it does not end it.
pub(crate) async fn run(settings: &Effective, stop: CancellationToken) -> Outcome {
    let client = connect(settings).await?;
    let options = Options::of(settings, namespace(settings), true)?;
    tracing::info!(namespace = options.namespace, "the control plane's own namespace");
    let tls = TlsMetrics::default();
    let startup = listeners::startup(settings, tls.clone())?;
    let mut controllers = Running::start(client.clone(), &options, &tls, stop.clone());
    let health =
        controllers.serve_health(settings.get(&table::HEALTH_LISTEN), Some(startup.clone()), stop.clone()).await?;
    let metrics = Metrics { settings, startup, registry: controllers.registry(), client }.serve(stop.clone());
    let (outcome, running) = tokio::select! {
        outcome = controllers.ended() => (outcome, false),
        Err(failure) = metrics => (Err(failure), true),
    };
    stop.cancel();
    if running {
        // The failure of the listener is what is told.
        let _ = controllers.ended().await;
    }
    if let Some(health) = health {
        // A panic of the health port was logged; there is nothing left to do about it.
        let _ = health.await;
    }
    outcome
}

/// A kubeconfig that was named, else the pod's ServiceAccount; nothing else is looked for.
async fn connect(settings: &Effective) -> Result<Client, Failure> {
    match settings.find(&table::KUBECONFIG) {
        Some(path) => client::from_kubeconfig(&path, None).await.map_err(|error| Failure::usage(chain(&error))),
        None => client::in_cluster()
            .map_err(|error| Failure::usage(format!("no --kubeconfig, and this is no pod: {}", chain(&error)))),
    }
}

fn namespace(settings: &Effective) -> String {
    settings
        .find(&table::NAMESPACE)
        .or_else(|| fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| CONTROL_NAMESPACE.to_owned())
}
