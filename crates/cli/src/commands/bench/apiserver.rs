//! The figures of the embedded API server; beside those of another server where one is given.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Sizes;
use super::figure::{Report, Wanted, median};
use super::load::{self, Load, NUMBER, Next, Protocol, Template};
use super::server::{Server, directory, failed};
use super::watches;
use super::wire::Dial;
use crate::exit::{Failure, Outcome};

const STARTS: usize = 7;
const LISTS: usize = 9;
/// Objects that gets and applies go round.
const OBJECTS: u64 = 1000;
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

/// A server that is measured, through a namespace of the benchmark's own.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) dial: Dial,
    namespace: String,
}

impl Side {
    async fn of(kubeconfig: &Path) -> Result<Self, Failure> {
        Self::in_namespace(Dial::of(kubeconfig).await?, "objects").await
    }

    /// The same server, through another namespace.
    async fn fresh(&self, what: &str) -> Result<Self, Failure> {
        Self::in_namespace(self.dial.clone(), what).await
    }

    async fn in_namespace(dial: Dial, what: &str) -> Result<Self, Failure> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("paddock-bench-{}-{what}-{number}", std::process::id());
        let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{namespace}"}}}}"#);
        let side = Self { dial, namespace };
        side.once(&side.dial.request("POST", "/api/v1/namespaces", JSON, &body)).await?;
        Ok(side)
    }

    async fn once(&self, request: &[u8]) -> Result<usize, Failure> {
        self.dial.connect().await?.exchange(request).await
    }

    async fn leave(self) -> Outcome {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.once(&self.dial.request("DELETE", &path, JSON, "")).await?;
        Ok(())
    }

    /// The path of ConfigMaps.
    pub(super) fn maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// A request that creates a ConfigMap.
    pub(super) fn create(&self, prefix: &str, labels: &str) -> Template {
        let body = config_map(prefix, labels);
        Template::new(self.dial.request("POST", &format!("{}?fieldManager=bench", self.maps()), JSON, &body))
    }

    /// Makes so many ConfigMaps.
    async fn fill(&self, prefix: &str, objects: u64) -> Outcome {
        load::run(&self.dial, Protocol::Http1, vec![self.create(prefix, ""); 16], count(objects)).await.map(drop)
    }

    async fn creates(&self, (protocol, workers): Workers, time: Duration) -> Result<Load, Failure> {
        load::run(&self.dial, protocol, vec![self.create("c", ""); workers], for_time(time, u64::MAX)).await
    }

    async fn gets(&self, (protocol, workers): Workers, time: Duration) -> Result<Load, Failure> {
        let template = Template::new(self.dial.get(&format!("{}/o-{NUMBER}", self.maps())));
        load::run(&self.dial, protocol, vec![template; workers], for_time(time, OBJECTS)).await
    }

    async fn applies(&self, (protocol, workers): Workers, time: Duration) -> Result<Load, Failure> {
        let path = format!("{}/o-{NUMBER}?fieldManager=bench-apply&force=true", self.maps());
        let request = |number: u64| {
            let digits = format!("{number:08}");
            let body = config_map("o", "").replace(NUMBER, &digits);
            Template::new(self.dial.request("PATCH", &path.replace(NUMBER, &digits), APPLY, &body))
        };
        let templates: Vec<Template> = (0..workers as u64).map(request).collect();
        // Once to own the fields; after that nothing changes.
        let first = count(u64::from(u16::MAX).min(workers as u64 * 4));
        load::run(&self.dial, protocol, templates.clone(), first).await?;
        load::run(&self.dial, protocol, templates, for_time(time, 1)).await
    }

    async fn list(&self) -> Result<Duration, Failure> {
        let mut connection = self.dial.connect().await?;
        let request = self.dial.get(&self.maps());
        let mut times = Vec::new();
        for _ in 0..LISTS {
            let began = Instant::now();
            connection.exchange(&request).await?;
            times.push(began.elapsed());
        }
        Ok(median(times))
    }
}

/// How requests travel, and how many at once.
type Workers = (Protocol, usize);

const ONE: Workers = (Protocol::Http1, 1);
const MANY: Workers = (Protocol::Http1, 32);
const STREAMS: Workers = (Protocol::H2, 32);

fn told(workers: Workers) -> String {
    match workers {
        (Protocol::Http1, 1) => "1 connection".to_owned(),
        (Protocol::Http1, workers) => format!("{workers} connections"),
        (Protocol::H2, workers) => format!("1 h2 connection with {workers} streams"),
    }
}

fn config_map(prefix: &str, labels: &str) -> String {
    let padding = "x".repeat(100);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{prefix}-{NUMBER}","labels":{{{labels}}}}},"data":{{"key":"value","other":"{padding}"}}}}"#
    )
}

/// Numbers below `round`, again and again, until the time is over.
fn for_time(time: Duration, round: u64) -> Next {
    let (at, end) = (AtomicU64::new(0), Instant::now() + time);
    Arc::new(move || (Instant::now() < end).then(|| at.fetch_add(1, Ordering::Relaxed) % round))
}

/// The numbers below `count`, once.
fn count(count: u64) -> Next {
    let at = AtomicU64::new(0);
    Arc::new(move || Some(at.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count))
}

pub(crate) async fn measure(sizes: &Sizes, report: &Report, against: Option<&Path>) -> Outcome {
    start(report).await?;
    in_memory(sizes, report).await?;
    let theirs = match against {
        Some(kubeconfig) => Some(Side::of(kubeconfig).await?),
        None => None,
    };
    let outcome = side_by_side(sizes, report, theirs.as_ref()).await;
    if let Some(theirs) = theirs {
        theirs.leave().await?;
    }
    outcome?;
    watches::idle(sizes, report).await
}

/// A server of ours that keeps what it is told, and the way to it.
pub(super) async fn durable(dir: &Path) -> Result<(Server, Side), Failure> {
    let data = dir.join("data");
    let server = Server::start(dir, &["apiserver", "--data-dir", &data.to_string_lossy()]).await?;
    let side = Side::of(&server.kubeconfig).await?;
    Ok((server, side))
}

async fn start(report: &Report) -> Outcome {
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..STARTS {
        let dir = directory()?;
        let data = dir.path().join("data");
        let began = Instant::now();
        let server = Server::start(dir.path(), &["apiserver", "--data-dir", &data.to_string_lossy()]).await?;
        let dial = Dial::of(&server.kubeconfig).await?;
        dial.connect().await?.exchange(&dial.get("/readyz")).await?;
        times.push(began.elapsed());
        // Idle means that its own loops have come to rest.
        tokio::time::sleep(Duration::from_millis(500)).await;
        memory = server.resident().unwrap_or_default();
        server.stop().await?;
    }
    report.time("API server, process start to /readyz, median", median(times), Wanted::AtMost(100.0))?;
    report.add("API server, resident memory, idle", memory, "MB", Wanted::AtMost(30.0))
}

async fn in_memory(sizes: &Sizes, report: &Report) -> Outcome {
    for workers in [ONE, MANY] {
        let dir = directory()?;
        let server = Server::start(dir.path(), &["apiserver", "--in-memory"]).await?;
        let load = Side::of(&server.kubeconfig).await?.creates(workers, sizes.time()).await?;
        server.stop().await?;
        report.load(&format!("creates, in memory, {}", told(workers)), &load, None, None)?;
    }
    Ok(())
}

async fn side_by_side(sizes: &Sizes, report: &Report, theirs: Option<&Side>) -> Outcome {
    let time = sizes.time();
    for (workers, wanted) in [(ONE, None), (MANY, Some((12_000.0, 8.0))), (STREAMS, None)] {
        let dir = directory()?;
        let (server, ours) = durable(dir.path()).await?;
        let load = ours.creates(workers, time).await?;
        server.stop().await?;
        let other = match theirs {
            Some(theirs) => {
                let fresh = theirs.fresh("creates").await?;
                let load = fresh.creates(workers, time).await?;
                fresh.leave().await?;
                Some(load)
            }
            None => None,
        };
        report.load(&format!("creates, durable, {}", told(workers)), &load, other.as_ref(), wanted)?;
    }

    let dir = directory()?;
    let (server, ours) = durable(dir.path()).await?;
    let sides: Vec<&Side> = std::iter::once(&ours).chain(theirs).collect();
    for side in &sides {
        side.fill("o", OBJECTS).await?;
    }
    for (workers, bounds) in [(MANY, Some((30_000.0, 12_000.0))), (STREAMS, None)] {
        let mut loads = Vec::new();
        for side in &sides {
            loads.push((side.gets(workers, time).await?, side.applies(workers, time).await?));
        }
        if let [(gets, applies), rest @ ..] = loads.as_slice() {
            let (other_gets, other_applies) = rest.first().map(|(gets, applies)| (gets, applies)).unzip();
            let (wanted_gets, wanted_applies) = bounds.unzip();
            let how = told(workers);
            let any = |rate| (rate, f64::INFINITY);
            report.load(&format!("gets, {how}"), gets, other_gets, wanted_gets.map(any))?;
            let what = format!("applies that change nothing, {how}");
            report.load(&what, applies, other_applies, wanted_applies.map(any))?;
        }
    }
    server.stop().await?;

    let dir = directory()?;
    let (server, ours) = durable(dir.path()).await?;
    let objects = u64::from(sizes.objects);
    ours.fill("c", objects).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let memory = server.resident().unwrap_or_default();
    report.add(
        format!("API server, resident memory with {objects} small ConfigMaps"),
        memory,
        "MB",
        Wanted::AtMost(60.0),
    )?;
    let list = ours.list().await?;
    let other = match theirs {
        Some(theirs) => {
            let fresh = theirs.fresh("list").await?;
            fresh.fill("c", objects).await?;
            let took = fresh.list().await?;
            fresh.leave().await?;
            Some(took)
        }
        None => None,
    };
    report.times(format!("list of {objects} ConfigMaps, median"), list, other, Wanted::AtMost(10.0))?;
    server.stop().await?;

    let dir = directory()?;
    let (server, ours) = durable(dir.path()).await?;
    let delivery = watches::delivery(sizes, &ours).await?;
    server.stop().await?;
    let other = match theirs {
        Some(theirs) => Some(watches::delivery(sizes, theirs).await?),
        None => None,
    };
    let what = format!("{} watchers, {} creates/s: create sent to event seen", sizes.watchers, watches::RATE);
    report.times(format!("{what}, p50"), delivery.p50, other.as_ref().map(|o| o.p50), Wanted::Nothing)?;
    report.times(format!("{what}, p99"), delivery.p99, other.as_ref().map(|o| o.p99), Wanted::AtMost(20.0))
}

pub(super) fn undelivered() -> Failure {
    failed("an event did not come within 10 s")
}
