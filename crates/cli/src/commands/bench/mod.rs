//! `paddock bench`: Paddock's figures on this machine. The server is always a process of its own.
//!
//! | module | what it is for |
//! |---|---|
//! | [`figure`] | pure: figures, medians, how they are printed |
//! | [`machine`] | what the figures depend on: cores, the disk's fdatasync |
//! | [`server`] | starts `paddock` as a child process and stops it |
//! | [`wire`] | one HTTP client for every measurement, over HTTP/1.1 and over h2 |
//! | [`apiserver`], [`gateways`] | the measurements |

mod apiserver;
mod figure;
mod gateways;
mod machine;
mod server;
mod wire;

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

/// Takes the figures called `what`; `stop` ends it without the rest.
pub(crate) async fn run(settings: &Effective, what: &str, stop: CancellationToken) -> Outcome {
    let sizes = Sizes {
        objects: settings.get(&table::BENCH_OBJECTS),
        watchers: settings.get(&table::BENCH_WATCHERS),
        tenants: settings.get(&table::BENCH_TENANTS),
        seconds: settings.get(&table::BENCH_SECONDS),
    };
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
            apiserver::measure(&sizes, &report).await?;
        }
        if matches!(what, "all" | "gateways") {
            gateways::measure(&sizes, &report).await?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = all => outcome,
        () = stop.cancelled() => Ok(()),
    }
}
