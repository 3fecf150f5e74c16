//! Instructions that a server needs, counted by valgrind's callgrind: unlike times they do not depend on who else uses the machine. A
//! server runs twice, with few and with many rounds; the difference is what the rounds cost, without the start.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use super::super::server::{Process, directory, failed};
use super::client::{Client, Until};
use super::{Kind, Work, listener};
use crate::exit::Failure;

/// Rounds of a short run and of a long one.
const ROUNDS: (u32, u32) = (50, 250);

/// Whether this machine has valgrind.
pub(super) async fn can_be_counted() -> bool {
    let asked = spawn_blocking(|| {
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
    });
    matches!(asked.await, Ok(Ok(status)) if status.success())
}

/// Millions of instructions per round of this work.
pub(super) async fn per_round(kind: Kind, dir: &Path, work: Work) -> Result<f64, Failure> {
    let few = run(kind, dir, work, ROUNDS.0).await?;
    let many = run(kind, dir, work, ROUNDS.1).await?;
    #[expect(clippy::cast_precision_loss, reason = "10^15 instructions are far below 2^52")]
    let spent = many.saturating_sub(few) as f64;
    Ok(spent / f64::from(ROUNDS.1 - ROUNDS.0) / 1e6)
}

async fn run(kind: Kind, dir: &Path, work: Work, rounds: u32) -> Result<u64, Failure> {
    let home = directory()?;
    let out = home.path().join("callgrind.out");
    let mut arguments: Vec<OsString> = ["-q", "--tool=callgrind"].map(OsString::from).into();
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(&out);
    arguments.push(file);
    arguments.push(std::env::current_exe().map_err(failed)?.into());
    arguments.extend(listener::command(kind, dir));
    let mut process = Process::of("valgrind".as_ref(), &arguments, Stdio::piped())?;
    let client = Client::new(listener::address(&process.line().await?)?, rustls::ALL_VERSIONS)?;
    match work {
        Work::Handshakes => client.handshakes(1, Until::Rounds(rounds)).await?,
        Work::Downloads => client.downloads(1, Until::Rounds(rounds)).await?,
    };
    process.stop().await?;
    total(&std::fs::read_to_string(out).map_err(failed)?).ok_or_else(|| failed("callgrind counted nothing"))
}

/// The sum that callgrind writes into its file.
fn total(file: &str) -> Option<u64> {
    file.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_read_from_callgrinds_file() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1) main\n+3 12\ntotals: 4711\n"), Some(4711));
        assert_eq!(total("version: 1\n"), None);
    }
}
