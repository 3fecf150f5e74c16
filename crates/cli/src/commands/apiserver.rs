//! `paddock apiserver`: the embedded Kubernetes API alone, until it is told to stop.

use std::sync::Arc;

use paddock_serve::{Check, Health, Startup, TlsMetrics};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::embedded::{Embedded, Place};
use super::listeners;
use crate::exit::{Failure, Outcome};
use crate::settings::{Effective, table};

/// Serves until `stop`, then lets running requests end. The health port, if one is wanted, answers from the first moment to the last.
pub(crate) async fn run(settings: &Effective, stop: CancellationToken) -> Outcome {
    let embedded = what(settings)?;
    let startup = listeners::embedded(settings, TlsMetrics::default())?;
    let health = listeners::starting(&startup);
    listeners::beside_health(settings, &health, serve(settings, embedded, startup, &health, stop)).await
}

async fn serve(
    settings: &Effective,
    mut embedded: Embedded,
    startup: Startup,
    health: &Health,
    stop: CancellationToken,
) -> Outcome {
    if !listeners::load(&startup, settings, &stop).await? {
        return Ok(());
    }
    embedded.tls = Some(startup.clone());
    let server = embedded.start().await?;
    let mut registry = Registry::with_prefix("paddock");
    startup.metrics().register(&mut registry);
    health.complete(move || vec![Check::ok("api-server"), startup.check()], Arc::new(registry));
    embedded.announce(&server)?;
    tokio::select! {
        () = stop.cancelled() => {}
        why = server.failed() => {
            tracing::error!(%why, "the store can write no more");
            return Err(Failure::undetermined(format!("the store can write no more: {why}")));
        }
    }
    server.shutdown().await;
    Ok(())
}

fn what(settings: &Effective) -> Result<Embedded, Failure> {
    let (dir, kubeconfig) = (settings.find(&table::DATA_DIR), settings.find(&table::KUBECONFIG_OUT));
    let pki = settings.find(&table::PKI_DIR);
    let (place, kubeconfig) = match (dir, settings.get(&table::IN_MEMORY), kubeconfig) {
        (Some(_), true, _) => return Err(Failure::usage("--data-dir and --in-memory exclude each other")),
        (None, false, _) => return Err(Failure::usage("one of --data-dir and --in-memory is required")),
        (Some(_), false, _) if pki.is_some() => {
            return Err(Failure::usage("--pki-dir goes with --in-memory; a data directory keeps its keys in DIR/pki"));
        }
        (None, true, None) => return Err(Failure::usage("--kubeconfig-out is required with --in-memory")),
        (Some(dir), false, None) => {
            let kubeconfig = dir.join("kubeconfig");
            (Place::Directory(dir), kubeconfig)
        }
        (Some(dir), false, Some(kubeconfig)) => (Place::Directory(dir), kubeconfig),
        (None, true, Some(kubeconfig)) => (Place::Memory { pki }, kubeconfig),
    };
    let loops = if settings.get(&table::NO_CONTROLLERS) { Vec::new() } else { settings.get(&table::LOOPS).0 };
    let audit_log = settings.find(&table::AUDIT_LOG);
    Ok(Embedded { listen: settings.get(&table::LISTEN), place, kubeconfig, audit_log, loops, tls: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments;

    fn settle(line: &[&str]) -> Result<Embedded, String> {
        let matches = arguments::command().try_get_matches_from([&["paddock", "apiserver"], line].concat()).unwrap();
        let settings = Effective::resolve("apiserver", matches.subcommand().unwrap().1, |_| None).unwrap();
        what(&settings).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn it_must_be_told_where_to_keep_things() {
        assert_eq!(settle(&[]).unwrap_err(), "one of --data-dir and --in-memory is required");
        assert_eq!(
            settle(&["--data-dir", "d", "--in-memory"]).unwrap_err(),
            "--data-dir and --in-memory exclude each other"
        );
    }

    #[test]
    fn the_kubeconfig_lies_in_the_data_directory_unless_told_otherwise() {
        assert_eq!(settle(&["--data-dir", "d"]).unwrap().kubeconfig, std::path::Path::new("d/kubeconfig"));
        assert_eq!(settle(&["--in-memory"]).unwrap_err(), "--kubeconfig-out is required with --in-memory");
    }

    #[test]
    fn no_controllers_switches_the_loops_off() {
        assert_eq!(settle(&["--data-dir", "d", "--no-controllers"]).unwrap().loops, []);
    }

    #[test]
    fn loops_are_chosen_by_name() {
        let chosen = settle(&["--data-dir", "d", "--loops", "namespaces"]).unwrap().loops;
        assert_eq!(chosen, [paddock_apiserver::Loop::Namespaces]);
    }
}
