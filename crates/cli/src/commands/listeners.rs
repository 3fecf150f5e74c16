//! What this process serves over TLS, and by which profile: settings in, listeners out. Touches files and sockets; never waits for the
//! API server.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use paddock_pki::{CertificateAuthority, LeafRequest, Usage};
use paddock_serve::{
    Certificate, Drained, Gate, Health, KubeReviewer, NothingValid, Overrides, Protected, Startup, StartupOptions,
    TlsMetrics, TlsSource, keep_renewed, serve,
};
use paddock_tls_profile::KeyKind;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::controllers::{bind, hostname};
use super::own_startup::OwnStartup;
use crate::exit::{Failure, Outcome, chain};
use crate::settings::{Effective, OptionalAddr, table};

/// How long a certificate of our own making is good for. It is made anew when two thirds of that are over.
const OWN_CERTIFICATE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The profile of this process's own flags.
pub(super) fn overrides(settings: &Effective) -> Overrides {
    let names = |text: String| text.split(',').map(|name| name.trim().to_owned()).collect();
    Overrides {
        min_version: settings.find(&table::TLS_MIN_VERSION).map(|version| version.0),
        ciphers: settings.find(&table::TLS_CIPHER_SUITES).map(names),
        groups: settings.find(&table::TLS_GROUPS).map(names),
    }
}

fn options(settings: &Effective, own_key: Option<KeyKind>) -> Option<StartupOptions> {
    let directory = settings.find(&table::TLS_STARTUP_DIR)?;
    let cache = settings.find(&table::TLS_CACHE_DIR);
    Some(StartupOptions { cache, overrides: overrides(settings), own_key, ..StartupOptions::new(directory) })
}

/// The start-up data of a component whose certificate is mounted, or made here where no directory was named. Reads nothing yet.
pub(super) fn startup(settings: &Effective, metrics: TlsMetrics) -> Result<Startup, Failure> {
    let own_key = settings.get(&table::TLS_SELF_SIGNED).then_some(KeyKind::Ecdsa);
    match options(settings, own_key) {
        Some(options) => Ok(Startup::new(options, metrics)),
        None => builtin("operator", settings, metrics),
    }
}

/// The start-up data of `up`: of the directory that was named, else of the one that it keeps itself below `data`, which is made with the
/// built-in profile where it is missing. Reads nothing of it yet.
pub(super) fn own(settings: &Effective, data: &Path, metrics: TlsMetrics) -> Result<Startup, Failure> {
    if settings.find(&table::TLS_STARTUP_DIR).is_some() {
        return embedded(settings, metrics);
    }
    // Flags that leave nothing to serve are wrong whatever is decided.
    builtin("apiserver", settings, TlsMetrics::default())?;
    let own = OwnStartup::below(data);
    own.seed()?;
    Ok(own.startup(overrides(settings), settings.find(&table::TLS_CACHE_DIR), metrics))
}

/// The start-up data of the embedded API server, which brings its own certificate. Reads nothing yet.
pub(super) fn embedded(settings: &Effective, metrics: TlsMetrics) -> Result<Startup, Failure> {
    match options(settings, Some(KeyKind::Ecdsa)) {
        Some(options) => Ok(Startup::new(options, metrics)),
        None => builtin("apiserver", settings, metrics),
    }
}

/// Loads the start-up data and follows them until `stop`; false when that came first.
pub(super) async fn load(startup: &Startup, settings: &Effective, stop: &CancellationToken) -> Result<bool, Failure> {
    tokio::select! {
        loaded = startup.load() => loaded.map_err(|error| nothing_valid(&error, settings))?,
        () = stop.cancelled() => return Ok(false),
    }
    tokio::spawn(follow(startup.clone(), stop.clone()));
    Ok(true)
}

/// What the health port says before there is more to say.
pub(super) fn starting(startup: &Startup) -> Health {
    let startup = startup.clone();
    Health::starting(move || vec![startup.check()])
}

/// Serves with a health port beside it, if one is wanted, which answers from the first moment to the last: also while there is nothing
/// to serve by yet, and while running requests end.
pub(super) async fn beside_health(
    settings: &Effective,
    health: &Health,
    serving: impl Future<Output = Outcome>,
) -> Outcome {
    let over = CancellationToken::new();
    let port = open_health(settings.get(&table::HEALTH_LISTEN_UP), health.clone(), over.clone()).await?;
    let outcome = serving.await;
    over.cancel();
    if let Some(port) = port {
        // A panic of the health port was logged; there is nothing left to do about it.
        let _ = port.await;
    }
    outcome
}

/// Opens the health port, if one is wanted.
pub(super) async fn open_health(
    addr: OptionalAddr,
    health: Health,
    stop: CancellationToken,
) -> Result<Option<JoinHandle<Drained>>, Failure> {
    let OptionalAddr(Some(addr)) = addr else { return Ok(None) };
    let listener = bind("--health-listen", addr).await?;
    tracing::info!(address = %listener.local_addr(), "health is served");
    Ok(Some(tokio::spawn(serve(listener, None, health, paddock_serve::Options::default(), stop))))
}

fn builtin(component: &str, settings: &Effective, metrics: TlsMetrics) -> Result<Startup, Failure> {
    Startup::builtin(component, KeyKind::Ecdsa, &overrides(settings), metrics)
        .map_err(|error| Failure::usage(format!("--tls-min-version, --tls-cipher-suites, --tls-groups: {error}")))
}

async fn follow(startup: Startup, stop: CancellationToken) {
    startup.watch(stop).await;
}

/// There is nothing to serve: said to whoever looks at the pod, too.
fn nothing_valid(error: &NothingValid, settings: &Effective) -> Failure {
    let failure = Failure::startup(format!("--tls-startup-dir: {error}"));
    let log = settings.get(&table::TERMINATION_LOG);
    // Kubelet makes the file. Where it is not, nobody looks.
    if log.exists()
        && let Err(error) = std::fs::write(&log, failure.message())
    {
        tracing::debug!(%error, file = %log.display(), "cannot write the termination message");
    }
    failure
}

/// The metrics listener.
pub(super) struct Metrics<'a> {
    pub(super) settings: &'a Effective,
    pub(super) startup: Startup,
    pub(super) registry: Arc<Registry>,
    /// Reviews tokens.
    pub(super) client: Client,
}

impl Metrics<'_> {
    /// Serves until `stop`. The start-up data are waited for here, while everything else of the process runs.
    pub(super) async fn serve(self, stop: CancellationToken) -> Outcome {
        if !load(&self.startup, self.settings, &stop).await? {
            return Ok(());
        }
        let OptionalAddr(Some(addr)) = self.settings.get(&table::METRICS_LISTEN) else { return Ok(()) };
        let source = match self.startup.source() {
            Some(source) => source,
            None => own_source(&self.startup, stop.clone())?,
        };
        let listener = bind("--metrics-listen", addr).await?;
        tracing::info!(address = %listener.local_addr(), "metrics are served");
        let contract = {
            let startup = self.startup.clone();
            move || startup.contract()
        };
        let gate = Gate::new(contract, Some(Arc::new(KubeReviewer::new(self.client))));
        let service = Protected::new(gate, self.registry, self.startup);
        serve(listener, Some(source), service, paddock_serve::Options::default(), stop).await;
        Ok(())
    }
}

/// A listener's material with a certificate of our own, renewed until `stop`.
fn own_source(startup: &Startup, stop: CancellationToken) -> Result<TlsSource, Failure> {
    let (certificate, due) = own_certificate(Timestamp::now())
        .map_err(|error| Failure::undetermined(format!("cannot make a certificate: {error}")))?;
    let source = startup.with_certificate(certificate).map_err(|error| Failure::usage(chain(&error)))?;
    tokio::spawn(keep_renewed(source.clone(), due, Timestamp::now, own_certificate, stop));
    Ok(source)
}

/// A certificate that nobody vouches for, where none is mounted: scrapes are encrypted, and not verified. And when to make the next.
fn own_certificate(now: Timestamp) -> io::Result<(Certificate, Timestamp)> {
    let authority = CertificateAuthority::generate("paddock", now, OWN_CERTIFICATE).map_err(io::Error::other)?;
    let host = hostname();
    let request = LeafRequest {
        common_name: host.clone(),
        organization: None,
        organizational_unit: None,
        names: ["localhost".into(), std::net::IpAddr::from(Ipv4Addr::LOCALHOST).into(), host.as_str().into()].into(),
        usage: Usage::Server,
        now,
        not_after: now.checked_add(OWN_CERTIFICATE).unwrap_or(Timestamp::MAX),
    };
    let leaf = authority.issue(&request).map_err(io::Error::other)?;
    let due = paddock_pki::inspect(&leaf.certificate_pem).map_err(io::Error::other)?.renew_at();
    let certificate = Certificate::from_pem(leaf.certificate_pem.as_bytes(), leaf.key_pem.expose().as_bytes(), None);
    Ok((certificate.map_err(io::Error::other)?, due))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_our_own_is_due_before_it_ends() {
        let now = Timestamp::now();
        let (certificate, due) = own_certificate(now).unwrap();
        let end = certificate.info().unwrap().not_after;
        assert!(now < due && due < end - SignedDuration::from_hours(100 * 24), "{due} {end}");
    }
}
