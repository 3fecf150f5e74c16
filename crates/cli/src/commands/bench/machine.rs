//! What figures depend on: cores and the disk. Writes one small temporary file.

use std::io::{self, Write};
use std::time::Instant;

use serde::Serialize;

use super::figure::median;
use crate::version;

/// The machine that figures are taken on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) fdatasync_milliseconds: f64,
    pub(crate) version: &'static str,
}

/// Looks at the machine. The disk is the one of the temporary directory, where the durable figures keep their data.
pub(crate) fn look() -> io::Result<Machine> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::new();
    for _ in 0..32 {
        file.write_all(&[0; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let fdatasync_milliseconds = median(times).as_secs_f64() * 1000.0;
    Ok(Machine { cores, fdatasync_milliseconds, version: version::LONG })
}
