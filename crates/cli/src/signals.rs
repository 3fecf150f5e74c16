//! SIGTERM and SIGINT: the first asks to drain, a second SIGINT ends the process at once; what has nothing to drain ends with
//! the first.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::STOPPED;
use crate::output;

/// The exit code of a process that SIGINT ended, as shells report it.
const ENDED_BY_SIGINT: i32 = 130;

/// A token that is cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub(crate) fn stop_token() -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        tracing::info!("stopping: running requests may end; interrupt again to stop at once");
        token.cancel();
        interrupt.recv().await;
        end_at_once(ENDED_BY_SIGINT);
    });
    Ok(stop)
}

/// Ends the process when it is to stop, whatever it reads or computes: for commands that only read.
pub(crate) fn end_when_stopped(stop: CancellationToken) {
    tokio::spawn(async move {
        stop.cancelled().await;
        output::complain("stopped");
        end_at_once(STOPPED);
    });
}

#[expect(clippy::exit, reason = "there is nothing to clean up, or whoever interrupts twice wants no more of it")]
fn end_at_once(code: i32) {
    std::process::exit(code);
}
