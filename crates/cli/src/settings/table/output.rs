//! How commands log and print.

use crate::settings::{Default, LogFormat, Row, Setting};

const LOGGING: &[&str] = &[
    "demo",
    "up",
    "apiserver",
    "operator",
    "gateways plan",
    "gateways status",
    "gateways convert",
    "tls scan",
    "bench",
];

/// Every row of this page, in the order of the reference.
pub(super) static OUTPUT_ROWS: &[&Row] = &[&JSON.row, &KEEP.row, &LOG_LEVEL.row, &LOG_LEVEL_QUIET.row, &LOG_FORMAT.row];

/// `--log-level`
pub(crate) static LOG_LEVEL: Setting<String> = Setting::new(
    "log-level",
    &["PADDOCK_LOG"],
    "FILTER",
    Default::Is("info"),
    "What to log: error, warn, info, debug, trace, or a filter such as `info,paddock_reconcile=debug`",
    &["up", "apiserver", "operator"],
);

/// `--log-level` of the commands whose output is for people to watch.
pub(crate) static LOG_LEVEL_QUIET: Setting<String> = Setting::new(
    "log-level",
    &["PADDOCK_LOG"],
    "FILTER",
    Default::Is("error"),
    "What to log: error, warn, info, debug, trace, or a filter such as `info,paddock_reconcile=debug`",
    &["demo", "gateways plan", "gateways status", "gateways convert", "tls scan", "bench"],
);

/// `--log-format`
pub(crate) static LOG_FORMAT: Setting<LogFormat> = Setting::new(
    "log-format",
    &["PADDOCK_LOG_FORMAT"],
    "FORMAT",
    Default::Is("auto"),
    "How to log to stderr; `auto` is text on a terminal and JSON otherwise",
    LOGGING,
);

/// `--json`
pub(crate) static JSON: Setting<bool> = Setting::new(
    "json",
    &[],
    "",
    Default::Is("false"),
    "Print one JSON object per line instead of text",
    &["demo", "gateways plan", "gateways status", "gateways convert", "tls scan", "tls explain", "bench"],
);

/// `--keep`
pub(crate) static KEEP: Setting<bool> = Setting::new(
    "keep",
    &[],
    "",
    Default::Is("false"),
    "Leave everything running afterwards and print how to use kubectl against it",
    &["demo"],
);
