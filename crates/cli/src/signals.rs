//! SIGTERM and SIGINT: the first asks to drain, a second SIGINT ends the process at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
        end_at_once();
    });
    Ok(stop)
}

#[expect(clippy::exit, reason = "whoever interrupts twice wants no more cleaning up")]
fn end_at_once() {
    std::process::exit(ENDED_BY_SIGINT);
}
