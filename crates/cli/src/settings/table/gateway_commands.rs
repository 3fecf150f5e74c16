//! What `gateways plan`, `gateways status` and `gateways convert` ask, of whom.

use std::path::PathBuf;

use crate::settings::{Default, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static GATEWAY_COMMANDS_ROWS: &[&Row] = &[
    &KUBECONFIG_INTERACTIVE.row,
    &CONTROL_NAMESPACE.row,
    &PLAN_FILE.row,
    &PLAN_OFFLINE.row,
    &PLAN_AGAINST.row,
    &KUBERNETES_VERSION.row,
    &PLAN_TENANT.row,
    &WATCH.row,
];

/// `--kubeconfig` of the commands that people run.
pub(crate) static KUBECONFIG_INTERACTIVE: Setting<PathBuf> = Setting::new(
    "kubeconfig",
    &[],
    "FILE",
    Default::Absent("as kubectl: `KUBECONFIG`, then `~/.kube/config`"),
    "The cluster to ask",
    &["gateways plan", "gateways status", "gateways convert"],
);

/// `--namespace` of the commands that people run.
pub(crate) static CONTROL_NAMESPACE: Setting<String> = Setting::new(
    "namespace",
    &["CP_RUNTIME_NAMESPACE"],
    "NAME",
    Default::Is("paddock-system"),
    "The control plane's own namespace, where `platform-config` lives",
    &["gateways plan", "gateways status", "gateways convert"],
);

/// `--file`
pub(crate) static PLAN_FILE: Setting<PathBuf> = Setting::new(
    "file",
    &[],
    "FILE",
    Default::Absent("the `platform-config` of the cluster"),
    "Take this `platform-config`, a manifest or the bare list; `-` reads it from stdin",
    &["gateways plan", "gateways convert"],
);

/// `--offline`
pub(crate) static PLAN_OFFLINE: Setting<bool> = Setting::new(
    "offline",
    &[],
    "",
    Default::Is("false"),
    "Ask no cluster: compare with nothing, or with --against",
    &["gateways plan"],
);

/// `--against`
pub(crate) static PLAN_AGAINST: Setting<PathBuf> = Setting::new(
    "against",
    &[],
    "PATH",
    Default::Absent("nothing exists"),
    "With --offline: the objects that exist, as a file or a directory of manifests",
    &["gateways plan"],
);

/// `--kubernetes-version`
pub(crate) static KUBERNETES_VERSION: Setting<String> = Setting::new(
    "kubernetes-version",
    &[],
    "VERSION",
    Default::Absent("unknown: what works on every cluster"),
    "Without a cluster: its version, such as `v1.35.0`",
    &["gateways plan", "gateways convert"],
);

/// `--tenant`
pub(crate) static PLAN_TENANT: Setting<String> = Setting::new(
    "tenant",
    &[],
    "NAME",
    Default::Absent("every tenant"),
    "Take this tenant alone",
    &["gateways plan", "gateways convert"],
);

/// `--watch`
pub(crate) static WATCH: Setting<bool> = Setting::new(
    "watch",
    &[],
    "",
    Default::Is("false"),
    "Go on: in place on a terminal, else a line for every change",
    &["gateways status"],
);
