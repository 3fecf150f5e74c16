//! The start-up directory of a component: load, validate, publish, watch. A component begins with what is mounted there and asks
//! nobody; when the files change it serves by them from the next connection on, without a restart.
//!
//! | module | what it is for | may touch |
//! |---|---|---|
//! | `directory` | reads all files of one moment | the directory, reading |
//! | `judge` | what to serve of them | nothing: decides |
//! | `cache` | the last that was good | one file of another directory |
//! | `place` | puts files there, where nobody mounts them | the directory |
//! | `watch` | notices changes | inotify |
//! | `report` | what is served and why, for `/tlsz` and metrics | nothing |
//!
//! What is mounted and wrong changes nothing: what was served goes on being served, and that it does is told.

mod cache;
mod directory;
mod judge;
mod place;
mod report;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use paddock_tls_profile::{Contract, Effective, KeyKind, Unservable};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::health::Check;
use crate::metrics::{Reload, TlsMetrics};
use crate::tls::{Certificate, Tls, TlsError, TlsSource};
use cache::Cache;
use directory::Bundle;
use judge::{Candidate, First, Next};
pub use judge::{Overrides, Rejected, Serving};
pub use place::place;
pub(crate) use report::Facts;
use watch::Watcher;

/// The longest that a contract may let connections of a wider profile go on.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);
/// How often a directory is looked at while nothing valid was ever there.
const IMPATIENT: Duration = Duration::from_millis(250);

/// Where a component's start-up data are, and how to read them.
#[derive(Clone, Debug)]
pub struct StartupOptions {
    /// The mounted directory.
    pub directory: PathBuf,
    /// Where the last good profile is kept over restarts, for instance an `emptyDir`. Default: nowhere.
    pub cache: Option<PathBuf>,
    /// Settings of this process, which come before those of the directory.
    pub overrides: Overrides,
    /// The kind of the serving key, when the component brings a certificate of its own and the directory has none. Default: the
    /// certificate is in the directory.
    pub own_key: Option<KeyKind>,
    /// How long to wait for a first valid set of files. Default 30 s.
    pub wait: Duration,
    /// How often to look without being told of a change. Default 10 s.
    pub poll: Duration,
}

impl StartupOptions {
    /// For a directory that holds everything, with the defaults.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cache: None,
            overrides: Overrides::default(),
            own_key: None,
            wait: Duration::from_secs(30),
            poll: Duration::from_secs(10),
        }
    }
}

/// Nothing valid was in the start-up directory, and nothing good was kept from before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid start-up data in {directory} after {} s: {why}", waited.as_secs())]
pub struct NothingValid {
    /// Where.
    pub directory: String,
    /// What was wrong the last time.
    pub why: Rejected,
    /// How long was waited.
    pub waited: Duration,
}

/// A component's start-up data, as they are served now. Clones are the same.
#[derive(Clone, Debug)]
pub struct Startup(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: there is no directory; the built-in profile is served.
    options: Option<StartupOptions>,
    metrics: TlsMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    served: Option<Served>,
    /// The listener whose certificate comes from the directory.
    source: Option<TlsSource>,
    /// Listeners that bring their own certificate.
    attached: Vec<TlsSource>,
    last: Option<Bundle>,
    /// Why what is mounted is not what is served.
    problem: Option<String>,
    expected: Option<String>,
    warned: Vec<String>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").finish_non_exhaustive()
    }
}

/// What is served.
#[derive(Clone, Debug)]
struct Served {
    candidate: Candidate,
    since: Timestamp,
}

impl State {
    fn is_stale(&self) -> bool {
        let served = self.served.as_ref().map(|served| served.candidate.hash.as_str());
        self.problem.is_some() || self.expected.as_deref().is_some_and(|expected| served != Some(expected))
    }
}

impl Startup {
    /// Start-up data of a directory. Nothing is read before [`Startup::load`].
    pub fn new(options: StartupOptions, metrics: TlsMetrics) -> Self {
        Self(Arc::new(Inner { options: Some(options), metrics, state: Mutex::default() }))
    }

    /// For a component without a start-up directory: the built-in profile with this process's settings over it.
    ///
    /// # Errors
    /// When nothing can be served of that.
    pub fn builtin(
        component: &str,
        key: KeyKind,
        overrides: &Overrides,
        metrics: TlsMetrics,
    ) -> Result<Self, Unservable> {
        let candidate = judge::without_directory(component, key, overrides)?;
        let state = State { served: Some(Served { candidate, since: Timestamp::now() }), ..State::default() };
        let startup = Self(Arc::new(Inner { options: None, metrics, state: Mutex::new(state) }));
        startup.tell(&startup.state());
        Ok(startup)
    }

    /// Reads the directory until it is valid. The last good profile stands in at once for one that is not; without it the files
    /// are waited for.
    ///
    /// # Errors
    /// When nothing valid was there in time: then there is nothing to serve, and nothing is made up.
    pub async fn load(&self) -> Result<(), NothingValid> {
        let Some(options) = &self.0.options else { return Ok(()) };
        let began = Instant::now();
        let mut watcher = Watcher::new(&options.directory, options.poll.min(IMPATIENT));
        watcher.arm();
        let mut told = None;
        loop {
            let why = match self.begin(options) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            let waited = began.elapsed();
            if waited >= options.wait {
                let directory = options.directory.display().to_string();
                return Err(NothingValid { directory, why, waited });
            }
            self.state().problem = Some(why.to_string());
            if told.as_ref() != Some(&why) {
                let seconds = options.wait.as_secs();
                tracing::warn!(dir = %options.directory.display(), %why, seconds, "waiting for valid start-up data");
                told = Some(why);
            }
            // A timeout here is only the end of the waiting: the directory is looked at once more.
            let _ = tokio::time::timeout(options.wait.saturating_sub(waited), watcher.changed()).await;
        }
    }

    /// One attempt to have something to serve.
    fn begin(&self, options: &StartupOptions) -> Result<(), Rejected> {
        let bundle = match read(&options.directory) {
            // With a certificate of its own and a last good profile the component needs nothing of it.
            Err(Rejected::Unreadable(why)) if options.own_key.is_some() => {
                Bundle { unreadable: Some(why), ..Bundle::default() }
            }
            other => other?,
        };
        let (certificate, key) = certificate_of(&bundle, options.own_key)?;
        let mounted = judge::candidate(&bundle, key, &options.overrides);
        let cache = Cache::new(options.cache.as_deref());
        let last = cache.read().and_then(|kept| judge::candidate(&kept, key, &options.overrides).ok());
        let (candidate, problem) = match judge::first(mounted, last, bundle.expected.as_deref())? {
            First::Mounted(candidate) => (candidate, None),
            First::LastGood(mut candidate, why) => {
                candidate.serving = Serving::LastKnownGood;
                tracing::warn!(dir = %options.directory.display(), why, "the last good TLS profile is served");
                (candidate, Some(why))
            }
        };
        let mut state = self.state();
        state.problem = problem;
        state.expected.clone_from(&bundle.expected);
        publish(&mut state, &self.0.metrics, candidate, certificate)
            .map_err(|e| Rejected::Certificate(e.to_string()))?;
        self.keep(&state, &cache, &bundle);
        state.last = Some(bundle);
        self.0.metrics.reloaded(Reload::Published);
        self.tell(&state);
        Ok(())
    }

    /// Follows the directory until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let Some(options) = &self.0.options else { return stop.cancelled().await };
        let mut watcher = Watcher::new(&options.directory, options.poll);
        watcher.arm();
        loop {
            // Once before the first wait: what changed between the loading and the watch is not missed.
            self.look(options);
            tokio::select! {
                () = stop.cancelled() => return,
                () = watcher.changed() => {}
            }
        }
    }

    /// Reads the directory and serves by it, if it changed and is good.
    fn look(&self, options: &StartupOptions) {
        let bundle = match read(&options.directory) {
            Ok(bundle) => bundle,
            Err(why) => {
                let mut state = self.state();
                // What is there when it can be read again is looked at, also when it is the same as before.
                state.last = None;
                if state.problem.as_deref() != Some(&why.to_string()) {
                    tracing::warn!(%why, "what is served goes on being served");
                    state.problem = Some(why.to_string());
                    self.0.metrics.reloaded(Reload::Rejected);
                    self.tell(&state);
                }
                return;
            }
        };
        let mut state = self.state();
        if state.last.as_ref() == Some(&bundle) {
            return;
        }
        state.expected.clone_from(&bundle.expected);
        let how = self.take(&mut state, options, &bundle);
        state.last = Some(bundle);
        self.0.metrics.reloaded(how);
        self.tell(&state);
    }

    fn take(&self, state: &mut State, options: &StartupOptions, bundle: &Bundle) -> Reload {
        let (certificate, key) = match certificate_of(bundle, options.own_key) {
            Ok(found) => found,
            Err(why) => return rejected(state, &why),
        };
        let judged = judge::candidate(bundle, key, &options.overrides);
        let served = state.served.as_ref().map(|served| &served.candidate);
        let next = judged.map(|candidate| {
            let next = judge::next(&candidate, state.expected.as_deref(), served.map(|served| &served.effective));
            (candidate, next)
        });
        let (how, why) = match next {
            Ok((candidate, Next::Publish { .. })) => {
                return match publish(state, &self.0.metrics, candidate, certificate) {
                    Ok(()) => {
                        state.problem = None;
                        self.keep(state, &Cache::new(options.cache.as_deref()), bundle);
                        Reload::Published
                    }
                    Err(error) => rejected(state, &Rejected::Certificate(error.to_string())),
                };
            }
            Ok((_, Next::Hold(why))) => (Reload::Held, why.to_owned()),
            Err(why) => (Reload::Rejected, why.to_string()),
        };
        tracing::warn!(why, "the mounted TLS profile is not served; what is served goes on being served");
        // A certificate that was renewed is followed all the same: an expired one would help nobody.
        if let Some(same) = served.and_then(|served| served.rekeyed(key))
            && let Err(error) = publish(state, &self.0.metrics, same, certificate)
        {
            tracing::warn!(%error, "the mounted certificate is not served either");
        }
        state.problem = Some(why);
        how
    }

    /// Keeps what is served for the next start, if the operator stands by it.
    fn keep(&self, state: &State, cache: &Cache, bundle: &Bundle) {
        let good = state
            .served
            .as_ref()
            .is_some_and(|served| matches!(served.candidate.serving, Serving::Profile | Serving::Builtin));
        if good
            && !state.is_stale()
            && let Err(error) = cache.write(bundle)
        {
            tracing::warn!(%error, "cannot keep the TLS profile for the next start");
        }
    }

    /// Logs what is new and hands the facts to the metrics.
    fn tell(&self, state: &State) {
        if let Some(facts) = Facts::of(state) {
            self.0.metrics.set_facts(facts);
        }
    }

    /// The listener's material, when its certificate is in the directory; `None` before [`Startup::load`] succeeded.
    pub fn source(&self) -> Option<TlsSource> {
        self.state().source.clone()
    }

    /// Material for a listener that brings its own certificate: it follows the profile from now on, and the certificate can be
    /// replaced with [`TlsSource::set_certificate`].
    ///
    /// # Errors
    /// When this certificate cannot be served with the profile.
    pub fn with_certificate(&self, certificate: Certificate) -> Result<TlsSource, TlsError> {
        let mut state = self.state();
        let tls = match &state.served {
            Some(served) => Tls::new(certificate, served.candidate.effective.clone())?,
            None => Tls::baseline(certificate)?,
        };
        let source = TlsSource::counted(tls, self.0.metrics.clone());
        state.attached.push(source.clone());
        Ok(source)
    }

    /// Where the listeners of these data are counted.
    pub fn metrics(&self) -> &TlsMetrics {
        &self.0.metrics
    }

    /// The contract that holds now. Before anything was loaded, the one that trusts nobody with anything.
    pub fn contract(&self) -> Contract {
        let state = self.state();
        state.served.as_ref().map_or_else(|| Contract::baseline(""), |served| served.candidate.contract.clone())
    }

    /// What is served; `None` before [`Startup::load`] succeeded.
    pub fn effective(&self) -> Option<Effective> {
        self.state().served.as_ref().map(|served| served.candidate.effective.clone())
    }

    /// For `/readyz`: fails as long as there is nothing to serve. What is stale is served, and is not unready.
    pub fn check(&self) -> Check {
        let state = self.state();
        match (&state.served, &state.problem) {
            (Some(_), _) => Check::ok("tls-profile"),
            (None, Some(why)) => Check::failed("tls-profile", format!("waiting for valid start-up data: {why}")),
            (None, None) => Check::failed("tls-profile", "the start-up data were not read yet"),
        }
    }

    /// What is served and why, the answer of `/tlsz`; see `docs/tls-profile.md`.
    pub fn report(&self) -> serde_json::Value {
        report::report(&self.state())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Fields are replaced whole; a panic in between leaves each of them good.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(dir: &Path) -> Result<Bundle, Rejected> {
    directory::read(dir).map_err(|error| Rejected::Unreadable(error.to_string()))
}

fn rejected(state: &mut State, why: &Rejected) -> Reload {
    tracing::warn!(%why, "what is mounted is not served; what is served goes on being served");
    state.problem = Some(why.to_string());
    Reload::Rejected
}

/// The certificate of the directory, unless the component brings its own; and the kind of the key.
fn certificate_of(bundle: &Bundle, own: Option<KeyKind>) -> Result<(Option<Certificate>, KeyKind), Rejected> {
    if let Some(kind) = own {
        return Ok((None, kind));
    }
    let chain = bundle.certificate.as_deref().ok_or(Rejected::Missing("tls.crt"))?;
    let key = bundle.key.as_ref().ok_or(Rejected::Missing("tls.key"))?;
    let certificate = Certificate::from_pem(chain, key.expose(), bundle.client_ca.as_deref())
        .map_err(|error| Rejected::Certificate(error.to_string()))?;
    let kind = certificate.key_kind();
    Ok((Some(certificate), kind))
}

/// Serves a candidate everywhere. Nothing changes when it cannot be served.
fn publish(
    state: &mut State,
    metrics: &TlsMetrics,
    candidate: Candidate,
    certificate: Option<Certificate>,
) -> Result<(), TlsError> {
    let drain = Duration::from_secs(u64::from(candidate.contract.drain_seconds)).min(LONGEST_DRAIN);
    if let Some(certificate) = certificate {
        match &state.source {
            // Sessions go on being resumed where nothing changed but words.
            Some(source) if source.serves(&certificate, &candidate.effective) => {}
            Some(source) => {
                source.publish(Tls::new(certificate, candidate.effective.clone())?, drain);
            }
            None => {
                let tls = Tls::new(certificate, candidate.effective.clone())?;
                state.source = Some(TlsSource::counted(tls, metrics.clone()));
            }
        }
    }
    for source in &state.attached {
        if *source.served().effective() != candidate.effective {
            source.set_profile(candidate.effective.clone(), drain)?;
        }
    }
    for unknown in &candidate.unknown {
        if !state.warned.contains(unknown) && state.warned.len() < 64 {
            tracing::info!(member = unknown, "the start-up data have a member that this version does not know");
            state.warned.push(unknown.clone());
        }
    }
    let since = Timestamp::now();
    let same = state.served.as_ref().filter(|served| served.candidate == candidate).map(|served| served.since);
    if same.is_none() {
        tracing::info!(
            hash = candidate.hash,
            outcome = candidate.resolution.outcome.name(),
            serving = candidate.serving.name(),
            "the TLS profile is served"
        );
        for dropped in &candidate.resolution.dropped {
            tracing::info!(name = dropped.name, why = %dropped.reason, "left out of the TLS profile");
        }
    }
    state.served = Some(Served { candidate, since: same.unwrap_or(since) });
    Ok(())
}
