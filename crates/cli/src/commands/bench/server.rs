//! `paddock` as a child process: started, measured, stopped. Ends only what it started.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::exit::Failure;

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) kubeconfig: PathBuf,
}

/// A directory for one measurement, removed with it.
pub(crate) fn directory() -> Result<TempDir, Failure> {
    tempfile::Builder::new().prefix("paddock-bench-").tempdir().map_err(failed)
}

pub(crate) fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::undetermined(format!("benchmark: {error}"))
}

impl Server {
    /// Starts `paddock COMMAND…` on a free port and waits until it says where it listens.
    pub(crate) async fn start(dir: &Path, command: &[&str]) -> Result<Self, Failure> {
        let kubeconfig = dir.join("kubeconfig");
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(command)
            .args(["--listen", "127.0.0.1:0", "--log-level", "error", "--kubeconfig-out"])
            .arg(&kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take();
        let server = Self { child: Some(child), kubeconfig };
        let stdout = stdout.ok_or_else(|| failed("no pipe to the server"))?;
        let first = spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = first.await.map_err(failed)?.map_err(failed)?;
        if line.contains("https://") { Ok(server) } else { Err(failed("the server did not start")) }
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kb| kb / 1024.0)
    }

    /// Stops it in order, and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        spawn_blocking(move || {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
            child.wait()
        })
        .await
        .map_err(failed)?
        .map_err(failed)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
