//! `paddock up`: the Kubernetes API and the controllers in one process, durable.

use std::path::PathBuf;

use paddock_apiserver::Loop;
use paddock_serve::{Health, Startup, TlsMetrics};
use tokio_util::sync::CancellationToken;

use super::controllers::{CONTROL_NAMESPACE, Options, Running, account, install};
use super::embedded::{Embedded, Place};
use super::own_startup::OwnStartup;
use super::{listeners, storage_class};
use crate::exit::{Failure, Outcome};
use crate::settings::{Effective, table};

/// Runs until `stop`: then the controllers finish what they are at, and the server closes its store. The health port answers from the
/// first moment to the last.
pub(crate) async fn run(settings: &Effective, stop: CancellationToken) -> Outcome {
    let tls = TlsMetrics::default();
    let dir = match settings.find(&table::DATA_DIR) {
        Some(dir) => dir,
        None => default_dir(|name| std::env::var_os(name).map(PathBuf::from))?,
    };
    let startup = listeners::own(settings, &dir, tls.clone())?;
    let health = listeners::starting(&startup);
    listeners::beside_health(settings, &health, serve(settings, dir, startup, &tls, &health, stop)).await
}

async fn serve(
    settings: &Effective,
    dir: PathBuf,
    startup: Startup,
    tls: &TlsMetrics,
    health: &Health,
    stop: CancellationToken,
) -> Outcome {
    let kubeconfig = settings.find(&table::KUBECONFIG_OUT).unwrap_or_else(|| dir.join("kubeconfig"));
    let options = Options::of(settings, CONTROL_NAMESPACE.to_owned(), false)?;
    if !listeners::load(&startup, settings, &stop).await? {
        return Ok(());
    }
    let own = settings.find(&table::TLS_STARTUP_DIR).is_none().then(|| OwnStartup::below(&dir));
    let embedded = Embedded {
        listen: settings.get(&table::LISTEN),
        place: Place::Directory(dir),
        kubeconfig,
        audit_log: settings.find(&table::AUDIT_LOG),
        loops: Loop::all(),
        tls: Some(startup.clone()),
    };
    let server = embedded.start().await?;
    install(&server.client()).await?;
    storage_class::provide(&server.client()).await?;

    let quit = stop.child_token();
    if let Some(own) = own {
        tokio::spawn(own.follow(options.tls_profile.own.subscribe(), quit.clone()));
    }
    let mut controllers = Running::start(account(&server), &options, tls, quit.clone());
    health.complete(controllers.readiness(Some(startup)), controllers.registry());
    embedded.announce(&server)?;

    let (outcome, controllers_run) = tokio::select! {
        () = stop.cancelled() => (Ok(()), true),
        ended = controllers.ended() => (ended, false),
        why = server.failed() => (Err(Failure::undetermined(format!("the store can write no more: {why}"))), true),
    };
    quit.cancel();
    // The controllers first: what they finish now is still written.
    let ended = if controllers_run { controllers.ended().await } else { Ok(()) };
    server.shutdown().await;
    outcome.and(ended)
}

/// Where a person's data lives when no directory is named: the XDG base directories.
fn default_dir(env: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Failure> {
    let data = env("XDG_DATA_HOME").filter(|dir| dir.is_absolute());
    let data = data.or_else(|| env("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".local/share")));
    data.map(|dir| dir.join("paddock")).ok_or_else(|| Failure::usage("--data-dir is required: HOME is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_lives_where_the_user_keeps_data() {
        let xdg = |name: &str| (name == "XDG_DATA_HOME").then(|| PathBuf::from("/data"));
        assert_eq!(default_dir(xdg).unwrap(), PathBuf::from("/data/paddock"));
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/me"));
        assert_eq!(default_dir(home).unwrap(), PathBuf::from("/home/me/.local/share/paddock"));
        assert!(default_dir(|_| None).is_err());
    }
}
