//! Where the controllers work, and which of them run.

use std::path::PathBuf;

use crate::settings::value::Controllers;
use crate::settings::{Default, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static OPERATOR_ROWS: &[&Row] = &[&KUBECONFIG.row, &CONTROLLERS.row, &NAMESPACE.row];

/// `--kubeconfig`
pub(crate) static KUBECONFIG: Setting<PathBuf> = Setting::new(
    "kubeconfig",
    &[],
    "FILE",
    Default::Absent("the ServiceAccount of the pod"),
    "The cluster to work on",
    &["operator"],
);

/// `--controllers`
pub(crate) static CONTROLLERS: Setting<Controllers> = Setting::new(
    "controllers",
    &["PADDOCK_CONTROLLERS"],
    "NAMES",
    Default::Is("gateways,tls-profile"),
    "Which controllers run, separated by commas",
    &["up", "operator"],
);

/// The control plane's namespace.
pub(crate) static NAMESPACE: Setting<String> = Setting::new(
    "",
    &["CP_RUNTIME_NAMESPACE", "NAMESPACE"],
    "",
    Default::Absent("the namespace of the pod's ServiceAccount, else `paddock-system`"),
    "The control plane's own namespace, where `platform-config` lives",
    &["operator"],
);
