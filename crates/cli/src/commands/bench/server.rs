//! `paddock` as a child process: started, measured, stopped. Ends only what it started.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::exit::Failure;

/// A child process. Dropping it kills it.
pub(crate) struct Process(Option<Child>);

impl Process {
    /// Starts `paddock COMMAND…`, with its stdout on a pipe or nowhere.
    pub(crate) fn start(command: &[&OsStr], stdout: Stdio) -> Result<Self, Failure> {
        Self::of(std::env::current_exe().map_err(failed)?.as_os_str(), command, stdout)
    }

    /// Starts any program.
    pub(crate) fn of(program: &OsStr, arguments: &[impl AsRef<OsStr>], stdout: Stdio) -> Result<Self, Failure> {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(stdout).spawn();
        Ok(Self(Some(child.map_err(failed)?)))
    }

    /// The first line on its stdout, once; empty when it ended without one.
    pub(crate) async fn line(&mut self) -> Result<String, Failure> {
        let stdout = self.0.as_mut().and_then(|child| child.stdout.take());
        let stdout = stdout.ok_or_else(|| failed("no pipe to the process"))?;
        let first = spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        first.await.map_err(failed)?.map_err(failed)
    }

    /// The processor time that it had so far; the kernel counts in hundredths of a second.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_ref()?.id())).ok()?;
        // The program's name, in parentheses, may hold anything.
        let mut numbers = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (u64, u64) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        Some(Duration::from_millis(user.saturating_add(system).saturating_mul(10)))
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> Option<f64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in MB.
    pub(crate) fn peak(&self) -> Option<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, of: &str) -> Option<f64> {
        memory(&self.0.as_ref()?.id().to_string(), of)
    }

    /// Stops it in order, and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let Some(mut child) = self.0.take() else { return Ok(()) };
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

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Resident memory in MB of a process, by its id or `self`.
pub(crate) fn resident(process: &str) -> Option<f64> {
    memory(process, "VmRSS:")
}

fn memory(process: &str, of: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(of))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kb| kb / 1024.0)
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    pub(crate) kubeconfig: PathBuf,
    address: SocketAddr,
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
        let mut arguments: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
        let more = ["--listen", "127.0.0.1:0", "--log-level", "error", "--kubeconfig-out"];
        arguments.extend(more.map(OsStr::new).into_iter().chain([kubeconfig.as_os_str()]));
        let mut process = Process::start(&arguments, Stdio::piped())?;
        let line = process.line().await?;
        match line.split_once("https://") {
            Some((_, address)) => {
                let address = address.trim().parse().map_err(failed)?;
                Ok(Self { process, kubeconfig, address })
            }
            None => Err(failed("the server did not start")),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> Option<f64> {
        self.process.resident()
    }

    /// Stops it in order, and waits for its end.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.process.stop().await
    }
}
