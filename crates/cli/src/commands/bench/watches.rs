//! Figures of watches: from a create to its event, and what a watch on which nothing happens costs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::task::{JoinSet, LocalSet, spawn_blocking};

use super::Sizes;
use super::apiserver::{Side, durable, undelivered};
use super::figure::{Report, Wanted};
use super::load::percentile;
use super::server::{Server, directory, failed};
use crate::exit::{Failure, Outcome};

/// Creates per second while deliveries are timed.
pub(super) const RATE: u32 = 500;
/// How long the last events may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands before the number of an object in its event.
const BEFORE: &[u8] = br#""name":"w-"#;
const DIGITS: usize = 8;
/// Idle watches that are opened: as many h2 streams, and as many connections of their own.
const IDLE: [u32; 2] = [5000, 1000];
/// Streams of one h2 connection.
const STREAMS: u32 = 250;

/// Times from before a create was sent until its event was there, over all watchers.
pub(super) struct Delivery {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Creates at a steady rate, seen by watchers of the namespace.
pub(super) async fn delivery(sizes: &Sizes, side: &Side) -> Result<Delivery, Failure> {
    let (side, watchers, writes) = (side.clone(), sizes.watchers, RATE * sizes.seconds);
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        LocalSet::new().block_on(&runtime, deliver(&side, watchers, writes))
    };
    spawn_blocking(thread).await.map_err(failed)?
}

async fn deliver(side: &Side, watchers: u32, writes: u32) -> Result<Delivery, Failure> {
    // When each create was sent.
    let sent: Rc<RefCell<Vec<Instant>>> = Rc::default();
    let mut watching = JoinSet::new();
    let request = side.dial.get(&format!("{}?watch=true", side.maps()));
    for _ in 0..watchers {
        let mut connection = side.dial.connect().await?;
        connection.watch(&request).await?;
        let sent = sent.clone();
        watching.spawn_local(async move {
            let mut times = Vec::with_capacity(writes as usize);
            while times.len() < writes as usize {
                let bytes = connection.read().await?;
                let now = Instant::now();
                let mut end = 0;
                for at in memchr::memmem::find_iter(bytes, BEFORE) {
                    let from = at + BEFORE.len();
                    let Some(digits) = bytes.get(from..from + DIGITS) else { break };
                    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
                    if let Some(sent) = number.and_then(|number| sent.borrow().get(number).copied()) {
                        times.push(now - sent);
                    }
                    end = from + DIGITS;
                }
                // What may be the beginning of a name stays.
                let keep = (bytes.len() - end).min(BEFORE.len() + DIGITS - 1);
                connection.consume(keep);
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut writing = JoinSet::new();
    let began = tokio::time::Instant::now();
    const WRITERS: u32 = 4;
    for writer in 0..WRITERS {
        let (mut connection, mut template) = (side.dial.connect().await?, side.create("w", ""));
        let sent = sent.clone();
        writing.spawn_local(async move {
            for turn in (writer..writes).step_by(WRITERS as usize) {
                tokio::time::sleep_until(began + Duration::from_secs(1) * turn / RATE).await;
                let number = {
                    let mut sent = sent.borrow_mut();
                    sent.push(Instant::now());
                    sent.len() as u64 - 1
                };
                connection.exchange(template.filled(number)).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(ended) = writing.join_next().await {
        ended.map_err(failed)??;
    }
    let mut times = Vec::new();
    while let Some(ended) = tokio::time::timeout(PATIENCE, watching.join_next()).await.map_err(|_| undelivered())? {
        times.extend(ended.map_err(failed)??);
    }
    times.sort_unstable();
    Ok(Delivery { p50: percentile(&times, 50), p99: percentile(&times, 99) })
}

/// The memory of watches that see nothing.
pub(super) async fn idle(sizes: &Sizes, report: &Report) -> Outcome {
    // Also the first of them costs: what it brings into memory is not a watch's.
    let [streams, connections] = IDLE.map(|idle| idle.max(sizes.watchers));
    let dir = directory()?;
    let (server, side) = durable(dir.path()).await?;
    let path = format!("{}?watch=true", side.maps());
    let before = resident(&server).await?;
    let mut open = Vec::new();
    for _ in 0..streams / STREAMS {
        let mut sender = side.dial.connect_h2().await?;
        for _ in 0..STREAMS {
            let mut body = side.dial.get_h2(&mut sender, &path).await?;
            let waits = tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
            open.push(tokio_util::task::AbortOnDropHandle::new(waits));
        }
    }
    let after = resident(&server).await?;
    let each = (after - before) * 1024.0 / f64::from(streams);
    report.add(format!("memory of an idle watch, {streams} over h2"), each, "kB", Wanted::Nothing)?;
    server.stop().await?;
    drop(open);

    let dir = directory()?;
    let (server, side) = durable(dir.path()).await?;
    let request = side.dial.get(&format!("{}?watch=true", side.maps()));
    let before = resident(&server).await?;
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut connection = side.dial.connect().await?;
        connection.watch(&request).await?;
        open.push(connection);
    }
    let after = resident(&server).await?;
    let each = (after - before) * 1024.0 / f64::from(connections);
    let what = format!("memory of an idle watch, {connections} on HTTPS connections of their own");
    report.add(what, each, "kB", Wanted::Nothing)?;
    server.stop().await
}

async fn resident(server: &Server) -> Result<f64, Failure> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.resident().ok_or_else(|| failed("the server's memory cannot be read"))
}
