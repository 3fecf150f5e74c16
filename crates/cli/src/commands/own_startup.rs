//! The start-up directory that `paddock up` and `paddock demo` keep for their own listeners where none is mounted: what its controllers decide is put there,
//! and the listeners follow it like any other. So a start before anything is decided begins with what was decided last. Touches two
//! directories below the data directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use paddock_serve::{Overrides, Startup, StartupOptions, TlsMetrics, place};
use paddock_tls_profile::{Contract, KeyKind, files};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Outcome};

/// How long after a write that failed the next one is tried.
const AGAIN: Duration = Duration::from_secs(10);

/// The two directories.
#[derive(Debug)]
pub(super) struct OwnStartup(PathBuf);

impl OwnStartup {
    /// Below the data directory `data`.
    pub(super) fn below(data: &Path) -> Self {
        Self(data.join("tls"))
    }

    /// Where the listeners read.
    fn directory(&self) -> PathBuf {
        self.0.join("startup")
    }

    fn cache(&self) -> PathBuf {
        self.0.join("last-good")
    }

    /// The start-up data in there, for a listener that makes its own certificate. The last good profile is kept in `cache`, if one is named,
    /// else beside them. Reads nothing yet.
    pub(super) fn startup(&self, overrides: Overrides, cache: Option<PathBuf>, metrics: TlsMetrics) -> Startup {
        let options = StartupOptions {
            cache: Some(cache.unwrap_or_else(|| self.cache())),
            overrides,
            own_key: Some(KeyKind::Ecdsa),
            ..StartupOptions::new(self.directory())
        };
        Startup::new(options, metrics)
    }

    /// Makes both where they are missing. Before the first decision nobody asks for anything: the built-in profile is served. What is
    /// there stays, and be it damaged: the last good profile stands in for it.
    pub(super) fn seed(&self) -> Outcome {
        let failed = |error: std::io::Error| Failure::usage(format!("--data-dir: {}: {error}", self.0.display()));
        let directory = self.directory();
        if std::fs::symlink_metadata(directory.join("..data")).is_err() {
            let contract = Contract::baseline("apiserver").canonical();
            place(&directory, &[(files::CONTRACT.to_owned(), contract)].into()).map_err(failed)?;
        }
        std::fs::create_dir_all(self.cache()).map_err(failed)
    }

    /// Puts every decision there until `stop`.
    pub(super) async fn follow(self, mut decided: watch::Receiver<BTreeMap<String, String>>, stop: CancellationToken) {
        let directory = self.directory();
        loop {
            let files = decided.borrow_and_update().clone();
            let again = if files.is_empty() { Ok(false) } else { place(&directory, &files) };
            let pause = match again {
                Ok(_) => None,
                Err(error) => {
                    tracing::warn!(dir = %directory.display(), %error, "cannot hand the TLS profile to the own listeners");
                    Some(AGAIN)
                }
            };
            let retry = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = retry => {}
                changed = decided.changed() => if changed.is_err() { return },
            }
        }
    }
}
