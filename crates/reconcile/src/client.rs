//! The one way to make a client. May touch the kubeconfig, the service account's files and the network.
//!
//! kube's own stack is used (it knows exec plugins, token files and the rotation of the in-cluster CA) without its retry
//! layer, which would repeat writes and hide failures from the engine's error classes. Its TLS takes the process's default
//! crypto provider and offers no way to pass one; with the features this workspace chooses that can only be aws-lc-rs.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::Error;

/// Longer than the longest silence of a healthy watch: 290 s asked of the server and 5 s of grace.
const READ_TIMEOUT: Duration = Duration::from_secs(310);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client for a kubeconfig file's current context, or the one named. Nothing is sent.
///
/// # Errors
/// [`Error::Fatal`] when the file cannot be read or understood: bad local input.
pub async fn from_kubeconfig(path: &Path, context: Option<&str>) -> Result<Client, Error> {
    let bad = |e: &dyn std::error::Error| Error::fatal(format!("kubeconfig {}: {e}", path.display()));
    let kubeconfig = Kubeconfig::read_from(path).map_err(|e| bad(&e))?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| bad(&e))?;
    from_config(config)
}

/// A client for the cluster that this pod runs in. Nothing is sent.
///
/// # Errors
/// [`Error::Fatal`] when this is no pod with a service account.
pub fn in_cluster() -> Result<Client, Error> {
    from_config(Config::incluster().map_err(|e| Error::fatal(e.to_string()))?)
}

/// A client by kubectl's rules, for interactive commands: `$KUBECONFIG`, `~/.kube/config`, the service account.
///
/// # Errors
/// [`Error::Fatal`] when none of them is usable.
pub async fn inferred() -> Result<Client, Error> {
    from_config(Config::infer().await.map_err(|e| Error::fatal(e.to_string()))?)
}

/// A client for a configuration, with this module's timeouts and without hidden retries.
///
/// # Errors
/// [`Error::Fatal`] when its certificates, keys or addresses are unusable.
pub fn from_config(mut config: Config) -> Result<Client, Error> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|e| Error::fatal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unreadable_kubeconfig_is_fatal_and_names_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        std::fs::write(&path, "clusters: [").expect("a file");
        for path in [path, dir.path().join("absent")] {
            let Err(Error::Fatal { message }) = from_kubeconfig(&path, None).await.map(drop) else {
                panic!("{} is accepted", path.display())
            };
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }
}
