//! How much the benchmarks do.

use std::path::PathBuf;

use crate::settings::{Default, Row, Setting};

/// Every row of this page, in the order of the reference.
pub(super) static BENCH_ROWS: &[&Row] =
    &[&BENCH_OBJECTS.row, &BENCH_WATCHERS.row, &BENCH_TENANTS.row, &BENCH_SECONDS.row, &BENCH_AGAINST.row];

/// `--objects` of the benchmark.
pub(crate) static BENCH_OBJECTS: Setting<u32> =
    Setting::new("objects", &[], "N", Default::Is("10000"), "How many ConfigMaps the list figure lists", &["bench"]);

/// `--watchers` of the benchmark.
pub(crate) static BENCH_WATCHERS: Setting<u32> =
    Setting::new("watchers", &[], "N", Default::Is("100"), "How many watchers the fan-out figure has", &["bench"]);

/// `--tenants` of the benchmark.
pub(crate) static BENCH_TENANTS: Setting<u32> =
    Setting::new("tenants", &[], "N", Default::Is("1000"), "How many tenants the gateways figures have", &["bench"]);

/// `--seconds` of the benchmark.
pub(crate) static BENCH_SECONDS: Setting<u32> =
    Setting::new("seconds", &[], "N", Default::Is("3"), "How long each throughput figure is measured", &["bench"]);

/// `--against` of the benchmark.
pub(crate) static BENCH_AGAINST: Setting<PathBuf> = Setting::new(
    "against",
    &[],
    "KUBECONFIG",
    Default::Absent("no other server is measured"),
    "A cluster that the API server's figures are taken from as well, side by side; ConfigMaps are written there, in namespaces \
     of the benchmark's own that are deleted afterwards",
    &["bench"],
);
