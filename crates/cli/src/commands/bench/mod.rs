//! `paddock bench`: Paddock's figures on this machine. Servers and controllers are processes of their own.
//!
//! | module | what it is for |
//! |---|---|
//! | [`figure`] | pure: figures, medians, how they are printed |
//! | [`machine`] | what the figures depend on: cores, the disk's fdatasync |
//! | [`server`], [`operator`] | start `paddock` as child processes, look at them, stop them |
//! | [`wire`] | the HTTP client of the measurements |
//! | [`load`] | many connections that each send as fast as they are answered |
//! | [`tenants`] | an API server with tenants, for the gateways' figures |
//! | [`apiserver`], [`watches`], [`gateways`], [`tls`] | the measurements |

mod apiserver;
mod figure;
mod gateways;
mod load;
mod machine;
mod operator;
mod server;
mod tenants;
pub(crate) mod tls;
mod watches;
mod wire;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::figure::Report;
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::settings::{Effective, table};

/// What to measure, and how much of it.
pub(crate) struct Sizes {
    objects: u32,
    watchers: u32,
    tenants: u32,
    seconds: u32,
}

impl Sizes {
    /// How long one throughput figure is measured.
    fn time(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }
}

/// Takes the figures called `what`; `stop` ends it without the rest.
pub(crate) async fn run(settings: &Effective, what: &str, stop: CancellationToken) -> Outcome {
    let sizes = Sizes {
        objects: settings.get(&table::BENCH_OBJECTS),
        watchers: settings.get(&table::BENCH_WATCHERS),
        tenants: settings.get(&table::BENCH_TENANTS),
        seconds: settings.get(&table::BENCH_SECONDS),
    };
    let against = settings.find(&table::BENCH_AGAINST);
    let machine =
        machine::look().map_err(|error| Failure::undetermined(format!("cannot measure the disk: {error}")))?;
    let report = Report::new(settings.get(&table::JSON), machine);
    output::data(&report.head())?;
    if cfg!(debug_assertions) && !settings.get(&table::JSON) {
        output::remark(
            "note: this is a debug build; figures that count come from `cargo run --release -p paddock -- bench`",
        );
    }
    let all = async {
        if matches!(what, "all" | "apiserver") {
            apiserver::measure(&sizes, &report, against.as_deref()).await?;
        }
        if matches!(what, "all" | "gateways") {
            gateways::measure(&sizes, &report).await?;
        }
        if matches!(what, "all" | "tls") {
            tls::measure(&sizes, &report).await?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = all => outcome,
        () = stop.cancelled() => Ok(()),
    }
}
