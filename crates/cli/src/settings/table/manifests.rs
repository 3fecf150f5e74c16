//! What the printed manifests install.

use crate::settings::{Default, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static MANIFESTS_ROWS: &[&Row] = &[&IMAGE.row, &INSTALL_NAMESPACE.row, &METRICS_CERTIFICATE.row];

/// `--image` of the installed operator.
pub(crate) static IMAGE: Setting<String> = Setting::new(
    "image",
    &[],
    "IMAGE",
    Default::Is(concat!("ghcr.io/paddock/paddock:", env!("CARGO_PKG_VERSION"))),
    "The image of Paddock in the printed Deployment",
    &["manifests"],
);

/// `--namespace` of the installed operator.
pub(crate) static INSTALL_NAMESPACE: Setting<String> = Setting::new(
    "namespace",
    &[],
    "NAME",
    Default::Is("paddock-system"),
    "The namespace that the printed manifests install into",
    &["manifests"],
);

/// `--metrics-certificate` of the installed operator.
pub(crate) static METRICS_CERTIFICATE: Setting<String> = Setting::new(
    "metrics-certificate",
    &[],
    "SECRET",
    Default::Absent("one of its own making, which nobody vouches for"),
    "The Secret (`tls.crt`, `tls.key`) that the installed operator serves metrics with; OpenShift makes it for the printed Service",
    &["manifests"],
);
