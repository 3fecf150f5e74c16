//! What `tls scan` and `tls explain` ask, and by what they judge.

use std::path::PathBuf;

use paddock_tls_profile::{Generation, KeyKind, Tls13Policy};

use crate::settings::{Default, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static TLS_COMMANDS_ROWS: &[&Row] = &[
    &TLS_PROFILE.row,
    &TLS_ALLOW_REDUCED.row,
    &TLS_SERVER_NAME.row,
    &TLS_TIMEOUT.row,
    &TLS_GENERATION.row,
    &TLS_13_POLICY.row,
    &TLS_KEY.row,
    &TLS_FIPS.row,
];

/// `--profile`
pub(crate) static TLS_PROFILE: Setting<PathBuf> = Setting::new(
    "profile",
    &[],
    "FILE",
    Default::Absent("nothing is judged"),
    "Compare with this profile: a `profile.json` or the directory of one, an object or manifest that holds one, `-` for stdin, or `Old`, `Intermediate`, `Modern`",
    &["tls scan"],
);

/// `--allow-reduced`
pub(crate) static TLS_ALLOW_REDUCED: Setting<bool> = Setting::new(
    "allow-reduced",
    &[],
    "",
    Default::Is("false"),
    "Count as no difference what Paddock's TLS library cannot serve of the profile, such as TLS 1.0 and CBC suites",
    &["tls scan"],
);

/// `--server-name`
pub(crate) static TLS_SERVER_NAME: Setting<String> = Setting::new(
    "server-name",
    &[],
    "NAME",
    Default::Absent("the host, unless it is an address"),
    "The name to ask the server for, where it has several certificates",
    &["tls scan"],
);

/// `--timeout`
pub(crate) static TLS_TIMEOUT: Setting<u32> =
    Setting::new("timeout", &[], "SECONDS", Default::Is("5"), "How long each handshake may take", &["tls scan"]);

/// `--generation`
pub(crate) static TLS_GENERATION: Setting<Generation> = Setting::new(
    "generation",
    &[],
    "NAME",
    Default::Is("C"),
    "What named profiles mean: A as in OpenShift up to 4.21, B as in 4.22, C as in 4.23 and newer",
    &["tls scan", "tls explain"],
);

/// `--tls13-policy`
pub(crate) static TLS_13_POLICY: Setting<Tls13Policy> = Setting::new(
    "tls13-policy",
    &[],
    "POLICY",
    Default::Is("Platform"),
    "What a list without suites of TLS 1.3 means: Platform that all are on, Strict that none is",
    &["tls scan", "tls explain"],
);

/// `--key`
pub(crate) static TLS_KEY: Setting<KeyKind> = Setting::new(
    "key",
    &[],
    "KIND",
    Default::Absent("`tls scan`: as the server's certificates show; `tls explain`: either"),
    "The kind of the serving key, RSA or ECDSA: suites of TLS 1.2 need one or the other",
    &["tls scan", "tls explain"],
);

/// `--fips`
pub(crate) static TLS_FIPS: Setting<bool> =
    Setting::new("fips", &[], "", Default::Is("false"), "Serve only what is approved for FIPS 140", &["tls explain"]);
