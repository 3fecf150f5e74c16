//! Health, metrics, and what TLS listeners serve: `--health-listen`, `--metrics-listen`, `--tls-*` of processes that serve.

use std::path::PathBuf;

use crate::settings::value::TlsVersion;
use crate::settings::{Default, OptionalAddr, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static LISTENERS_ROWS: &[&Row] = &[
    &HEALTH_LISTEN.row,
    &HEALTH_LISTEN_UP.row,
    &METRICS_LISTEN.row,
    &TLS_STARTUP_DIR.row,
    &TLS_CACHE_DIR.row,
    &TERMINATION_LOG.row,
    &TLS_MIN_VERSION.row,
    &TLS_CIPHER_SUITES.row,
    &TLS_GROUPS.row,
    &TLS_SELF_SIGNED.row,
    &TLS_INJECTED_CONFIG.row,
];

/// `--health-listen` of a component in a pod.
pub(crate) static HEALTH_LISTEN: Setting<OptionalAddr> = Setting::new(
    "health-listen",
    &["PADDOCK_HEALTH_LISTEN"],
    "ADDR",
    Default::Is("0.0.0.0:8081"),
    "Where /healthz, /livez and /readyz answer over plain HTTP; /metrics answers there to clients on the same machine alone",
    &["operator"],
);

/// `--health-listen` of a process that has the API server in it.
pub(crate) static HEALTH_LISTEN_UP: Setting<OptionalAddr> = Setting::new(
    "health-listen",
    &["PADDOCK_HEALTH_LISTEN"],
    "ADDR",
    Default::Is("off"),
    "Where /healthz, /livez, /readyz and /metrics answer over plain HTTP, from the first moment on; of the controllers in `up`, of \
     the API server in `apiserver`",
    &["up", "apiserver"],
);

/// `--metrics-listen`
pub(crate) static METRICS_LISTEN: Setting<OptionalAddr> = Setting::new(
    "metrics-listen",
    &["PADDOCK_METRICS_LISTEN"],
    "ADDR",
    Default::Is("0.0.0.0:8443"),
    "Where /metrics and /tlsz answer over TLS to those whom TokenReview and SubjectAccessReview let in",
    &["operator"],
);

/// Commands that listen with TLS.
const LISTENS: &[&str] = &["up", "apiserver", "operator"];

/// `--tls-startup-dir`
pub(crate) static TLS_STARTUP_DIR: Setting<PathBuf> = Setting::new(
    "tls-startup-dir",
    &["PADDOCK_TLS_STARTUP_DIR"],
    "DIR",
    Default::Absent("`up`: one of its own in the data directory; else the built-in profile, Intermediate"),
    "The mounted start-up directory (`contract.json`, `profile.json`; for `operator` also `tls.crt` and `tls.key`), followed while serving",
    LISTENS,
);

/// `--tls-cache-dir`
pub(crate) static TLS_CACHE_DIR: Setting<PathBuf> = Setting::new(
    "tls-cache-dir",
    &["PADDOCK_TLS_CACHE_DIR"],
    "DIR",
    Default::Absent("the last good profile is not kept over restarts"),
    "Where the last good TLS profile is kept for a start with a bad one, such as an `emptyDir`",
    LISTENS,
);

/// `--termination-log`
pub(crate) static TERMINATION_LOG: Setting<PathBuf> = Setting::new(
    "termination-log",
    &["PADDOCK_TERMINATION_LOG"],
    "FILE",
    Default::Is("/dev/termination-log"),
    "Where Kubernetes looks for a container's last words (`terminationMessagePath`); written when there never were valid start-up \
     data, if the file is there",
    LISTENS,
);

/// `--tls-min-version`
pub(crate) static TLS_MIN_VERSION: Setting<TlsVersion> = Setting::new(
    "tls-min-version",
    &["PADDOCK_TLS_MIN_VERSION"],
    "VERSION",
    Default::Absent("as the profile says"),
    "The oldest TLS version to serve, such as `VersionTLS13`; comes before the profile",
    LISTENS,
);

/// `--tls-cipher-suites`
pub(crate) static TLS_CIPHER_SUITES: Setting<String> = Setting::new(
    "tls-cipher-suites",
    &["PADDOCK_TLS_CIPHER_SUITES"],
    "NAMES",
    Default::Absent("as the profile says"),
    "Cipher suites by OpenSSL's or IANA's names, separated by commas; comes before the profile",
    LISTENS,
);

/// `--tls-groups`
pub(crate) static TLS_GROUPS: Setting<String> = Setting::new(
    "tls-groups",
    &["PADDOCK_TLS_GROUPS"],
    "NAMES",
    Default::Absent("as the profile says"),
    "Key exchange groups, separated by commas; comes before the profile",
    LISTENS,
);

/// `--tls-self-signed`
pub(crate) static TLS_SELF_SIGNED: Setting<bool> = Setting::new(
    "tls-self-signed",
    &["PADDOCK_TLS_SELF_SIGNED"],
    "",
    Default::Is("false"),
    "Make a certificate that nobody vouches for, instead of reading `tls.crt` and `tls.key` of --tls-startup-dir",
    &["operator"],
);

/// `--tls-injected-config`
pub(crate) static TLS_INJECTED_CONFIG: Setting<PathBuf> = Setting::new(
    "tls-injected-config",
    &["PADDOCK_TLS_INJECTED_CONFIG"],
    "FILE",
    Default::Absent("nothing is injected"),
    "A mounted file with `servingInfo.minTLSVersion` and `servingInfo.cipherSuites`, as OpenShift injects it: a source of the TLS profile",
    &["up", "operator"],
);
