//! The embedded API server: where it listens, where it keeps things, what runs in it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::settings::value::Loops;
use crate::settings::{Default, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static EMBEDDED_ROWS: &[&Row] = &[
    &LISTEN.row,
    &DATA_DIR.row,
    &IN_MEMORY.row,
    &PKI_DIR.row,
    &KUBECONFIG_OUT.row,
    &AUDIT_LOG.row,
    &NO_CONTROLLERS.row,
    &LOOPS.row,
];

/// `--listen`
pub(crate) static LISTEN: Setting<SocketAddr> = Setting::new(
    "listen",
    &["PADDOCK_LISTEN"],
    "ADDR",
    Default::Is("127.0.0.1:6443"),
    "Where the embedded API server listens; port 0 takes a free one and prints it",
    &["up", "apiserver"],
);

/// `--data-dir`
pub(crate) static DATA_DIR: Setting<PathBuf> = Setting::new(
    "data-dir",
    &["PADDOCK_DATA_DIR"],
    "DIR",
    Default::Absent(
        "`up`: `paddock` in `XDG_DATA_HOME` or `~/.local/share`; `apiserver`: this or `--in-memory` is required",
    ),
    "Where the embedded API server keeps its objects, certificates and keys",
    &["up", "apiserver"],
);

/// `--in-memory`
pub(crate) static IN_MEMORY: Setting<bool> = Setting::new(
    "in-memory",
    &[],
    "",
    Default::Is("false"),
    "Keep nothing: objects live as long as the process",
    &["apiserver"],
);

/// `--pki-dir`
pub(crate) static PKI_DIR: Setting<PathBuf> = Setting::new(
    "pki-dir",
    &[],
    "DIR",
    Default::Absent("certificates and keys stay in memory"),
    "With --in-memory, where to keep the client CA (ca.crt, ca.key) so that other tools can sign with it",
    &["apiserver"],
);

/// `--kubeconfig-out`
pub(crate) static KUBECONFIG_OUT: Setting<PathBuf> = Setting::new(
    "kubeconfig-out",
    &["PADDOCK_KUBECONFIG_OUT"],
    "FILE",
    Default::Absent("`kubeconfig` in the data directory; required with `--in-memory`"),
    "Where to write the administrator's kubeconfig, readable by its owner alone",
    &["up", "apiserver"],
);

/// `--audit-log`
pub(crate) static AUDIT_LOG: Setting<PathBuf> = Setting::new(
    "audit-log",
    &["PADDOCK_AUDIT_LOG"],
    "FILE",
    Default::Absent("requests are not recorded"),
    "Where the embedded API server appends a line for each request (`audit.k8s.io/v1`, level `Metadata`); put aside at 100 MiB, ten such files are kept",
    &["up", "apiserver"],
);

/// `--no-controllers`
pub(crate) static NO_CONTROLLERS: Setting<bool> = Setting::new(
    "no-controllers",
    &[],
    "",
    Default::Is("false"),
    "Do not run any of the API server's own loops",
    &["apiserver"],
);

/// `--loops`
pub(crate) static LOOPS: Setting<Loops> = Setting::new(
    "loops",
    &[],
    "NAMES",
    Default::Is("all"),
    "Which of the API server's own loops run, separated by commas",
    &["apiserver"],
);
