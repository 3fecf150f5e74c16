//! Logs: to stderr, in UTC; text on a terminal, JSON otherwise.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::exit::Failure;
use crate::settings::{Effective, LogFormat, table};

/// The client tells of each failed request without saying which; who asked tells of it with the object and the reason. A filter that
/// names this target has the last word.
const SAID_ELSEWHERE: &str = "kube_client::client::builder=off";

/// Starts logging as the settings say.
pub(crate) fn start(settings: &Effective) -> Result<(), Failure> {
    // Two rows, one flag: what is quiet by default for commands that people watch.
    let level = settings.get(&table::LOG_LEVEL);
    let filter = EnvFilter::try_new(format!("{SAID_ELSEWHERE},{level}"))
        .map_err(|error| Failure::usage(format!("--log-level: {level:?} is not a log filter: {error}")))?;
    let terminal = stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match (settings.get(&table::LOG_FORMAT), terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => builder.json().flatten_event(true).try_init(),
        (LogFormat::Text, _) | (LogFormat::Auto, true) => builder.with_ansi(terminal && colour_wanted()).try_init(),
    };
    started.map_err(|error| Failure::usage(format!("cannot start logging: {error}")))
}

/// Whether colours are welcome: <https://no-color.org>.
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}
