//! The figures of the embedded API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Sizes;
use super::figure::{Report, median};
use super::server::{Server, directory, failed};
use super::wire::{Dial, Protocol};
use crate::exit::{Failure, Outcome};

const STARTS: usize = 7;
const ROUNDS: usize = 20;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::H2];

pub(crate) async fn measure(sizes: &Sizes, report: &Report) -> Outcome {
    start(report).await?;
    for (name, durable) in [("in memory", false), ("durable", true)] {
        for protocol in PROTOCOLS {
            for connections in [1, 32] {
                let rate = creates(durable, protocol, connections, sizes.seconds).await?;
                report.add(
                    format!("ConfigMap creates, {name}, {protocol}, {connections} connections"),
                    rate,
                    "per second",
                    None,
                )?;
            }
        }
    }
    list(sizes, report).await?;
    fan_out(sizes, report).await
}

async fn start(report: &Report) -> Outcome {
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..STARTS {
        let dir = directory()?;
        let data = dir.path().join("data");
        let began = Instant::now();
        let server = Server::start(dir.path(), &["apiserver", "--data-dir", &data.to_string_lossy()]).await?;
        Dial::to(&server)?.connect(Protocol::Http1).await?.get("/readyz").await?;
        times.push(began.elapsed());
        // Idle means that its own loops have come to rest.
        tokio::time::sleep(Duration::from_millis(500)).await;
        memory = server.resident().unwrap_or_default();
        server.stop().await?;
    }
    report.time("API server, process start to /readyz, median", median(times), Some(150.0))?;
    report.add("API server, resident memory, idle", memory, "MB", Some(40.0))
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value", "other": "x".repeat(100)}})
}

async fn serve(dir: &std::path::Path, durable: bool) -> Result<Server, Failure> {
    if durable {
        let data = dir.join("data");
        Server::start(dir, &["apiserver", "--data-dir", &data.to_string_lossy()]).await
    } else {
        Server::start(dir, &["apiserver", "--in-memory"]).await
    }
}

async fn creates(durable: bool, protocol: Protocol, connections: u32, seconds: u32) -> Result<f64, Failure> {
    let dir = directory()?;
    let server = serve(dir.path(), durable).await?;
    let dial = Dial::to(&server)?;
    let (count, next) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(dial.connect(protocol).await?);
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(u64::from(seconds));
    let mut workers = JoinSet::new();
    for mut connection in open {
        let (count, next) = (count.clone(), next.clone());
        workers.spawn(async move {
            while Instant::now() < end {
                let name = format!("c-{}", next.fetch_add(1, Ordering::Relaxed));
                connection.post(CONFIG_MAPS, &config_map(&name)).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(failed)??;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
    let rate = count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    server.stop().await?;
    Ok(rate)
}

async fn list(sizes: &Sizes, report: &Report) -> Outcome {
    let dir = directory()?;
    let server = serve(dir.path(), false).await?;
    let dial = Dial::to(&server)?;
    let mut workers = JoinSet::new();
    let objects = sizes.objects;
    for worker in 0..16 {
        let mut connection = dial.connect(Protocol::Http1).await?;
        workers.spawn(async move {
            for at in (worker..objects).step_by(16) {
                connection.post(CONFIG_MAPS, &config_map(&format!("c-{at}"))).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(failed)??;
    }
    for protocol in PROTOCOLS {
        let mut connection = dial.connect(protocol).await?;
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..5 {
            let began = Instant::now();
            bytes = connection.get(CONFIG_MAPS).await?;
            times.push(began.elapsed());
        }
        let kilobytes = bytes / 1000;
        report.time(
            format!("list of {objects} ConfigMaps ({kilobytes} kB), {protocol}, median"),
            median(times),
            None,
        )?;
    }
    server.stop().await
}

/// From a create to the event at the last of the watchers.
async fn fan_out(sizes: &Sizes, report: &Report) -> Outcome {
    let dir = directory()?;
    let server = serve(dir.path(), false).await?;
    let dial = Dial::to(&server)?;
    let (seen, mut arrivals) = tokio::sync::mpsc::channel(sizes.watchers as usize);
    let mut watchers = JoinSet::new();
    let path = format!("{CONFIG_MAPS}?watch=true&labelSelector=bench%3Dfan-out");
    for _ in 0..sizes.watchers {
        let (connection, mut body) = dial.connect(Protocol::Http1).await?.open(&path).await?;
        let seen = seen.clone();
        watchers.spawn(async move {
            let _connection = connection;
            while let Some(Ok(frame)) = body.frame().await {
                let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
                for _ in 0..lines {
                    if seen.send(()).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
    let mut writer = dial.connect(Protocol::Http1).await?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let mut object = config_map(&format!("f-{round}"));
        object["metadata"]["labels"] = json!({"bench": "fan-out"});
        let began = Instant::now();
        writer.post(CONFIG_MAPS, &object).await?;
        for _ in 0..sizes.watchers {
            tokio::time::timeout(Duration::from_secs(10), arrivals.recv())
                .await
                .map_err(|_| failed("a watcher did not see the event within 10 s"))?;
        }
        times.push(began.elapsed());
    }
    watchers.abort_all();
    report.time(format!("create to event at the last of {} watchers, median", sizes.watchers), median(times), None)?;
    server.stop().await
}
