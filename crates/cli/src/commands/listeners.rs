//! What this process serves over TLS, and by which profile: settings in, listeners out. Touches files and sockets; never waits for the
//! API server.

use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use paddock_pki::{CertificateAuthority, LeafRequest, Usage};
use paddock_serve::{
    Certificate, Gate, KubeReviewer, NothingValid, Overrides, Protected, Startup, StartupOptions, TlsMetrics, serve,
};
use paddock_tls_profile::KeyKind;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::controllers::{bind, hostname};
use crate::exit::{Failure, Outcome, chain};
use crate::settings::{Effective, OptionalAddr, table};

/// Where Kubernetes looks for a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// How long a certificate of our own making is good for; the process is restarted more often than that.
const OWN_CERTIFICATE: SignedDuration = SignedDuration::from_hours(365 * 24);

fn overrides(settings: &Effective) -> Overrides {
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
    match options(settings, None) {
        Some(options) => Ok(Startup::new(options, metrics)),
        None => builtin("operator", settings, metrics),
    }
}

/// The start-up data of the embedded API server, loaded and followed until `stop`; `None` when the settings say nothing of TLS. The
/// certificate is the server's own.
pub(super) async fn embedded(settings: &Effective, stop: &CancellationToken) -> Result<Option<Startup>, Failure> {
    let Some(options) = options(settings, Some(KeyKind::Ecdsa)) else {
        return match overrides(settings).is_empty() {
            true => Ok(None),
            false => builtin("apiserver", settings, TlsMetrics::default()).map(Some),
        };
    };
    let startup = Startup::new(options, TlsMetrics::default());
    tokio::select! {
        loaded = startup.load() => loaded.map_err(|error| nothing_valid(&error))?,
        () = stop.cancelled() => return Err(Failure::undetermined("stopped while waiting for start-up data")),
    }
    tokio::spawn(follow(startup.clone(), stop.clone()));
    Ok(Some(startup))
}

fn builtin(component: &str, settings: &Effective, metrics: TlsMetrics) -> Result<Startup, Failure> {
    Startup::builtin(component, KeyKind::Ecdsa, &overrides(settings), metrics)
        .map_err(|error| Failure::usage(format!("--tls-min-version, --tls-cipher-suites, --tls-groups: {error}")))
}

async fn follow(startup: Startup, stop: CancellationToken) {
    startup.watch(stop).await;
}

/// There is nothing to serve: said to whoever looks at the pod, too.
fn nothing_valid(error: &NothingValid) -> Failure {
    let failure = Failure::startup(format!("--tls-startup-dir: {error}"));
    if std::path::Path::new(TERMINATION_LOG).exists()
        && let Err(error) = std::fs::write(TERMINATION_LOG, failure.message())
    {
        tracing::debug!(%error, "cannot write {TERMINATION_LOG}");
    }
    failure
}

/// The metrics listener.
pub(super) struct Metrics {
    pub(super) startup: Startup,
    pub(super) registry: Arc<Registry>,
    /// Reviews tokens.
    pub(super) client: Client,
}

impl Metrics {
    /// Serves until `stop`. The start-up data are waited for here, while everything else of the process runs.
    pub(super) async fn serve(self, addr: OptionalAddr, stop: CancellationToken) -> Outcome {
        let loaded = tokio::select! {
            loaded = self.startup.load() => loaded,
            () = stop.cancelled() => return Ok(()),
        };
        loaded.map_err(|error| nothing_valid(&error))?;
        tokio::spawn(follow(self.startup.clone(), stop.clone()));
        let OptionalAddr(Some(addr)) = addr else { return Ok(()) };
        let source = match self.startup.source() {
            Some(source) => source,
            None => self.startup.with_certificate(own_certificate()?).map_err(|error| Failure::usage(chain(&error)))?,
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

/// A certificate that nobody vouches for, where none is mounted: scrapes are encrypted, and not verified.
fn own_certificate() -> Result<Certificate, Failure> {
    let now = Timestamp::now();
    let bug = |error: paddock_pki::PkiError| Failure::undetermined(format!("cannot make a certificate: {error}"));
    let authority = CertificateAuthority::generate("paddock", now, OWN_CERTIFICATE).map_err(bug)?;
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
    let leaf = authority.issue(&request).map_err(bug)?;
    Certificate::from_pem(leaf.certificate_pem.as_bytes(), leaf.key_pem.expose().as_bytes(), None)
        .map_err(|error| Failure::undetermined(chain(&error)))
}
