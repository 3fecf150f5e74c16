//! Writes per second of the store: durable and in memory, with one writer and with many that share commits. Compared, in the
//! same run, with what the disk can do: one fdatasync after another.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use paddock_apiserver::clock::Clock;
use paddock_apiserver::store::{Encoded, Expect, Key, ListRequest, Store, Write};
use serde_json::json;

type Failure = Box<dyn Error + Send + Sync>;

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(2);

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    println!("cores: {}", std::thread::available_parallelism()?);
    // First, while no freed memory can be used again.
    let before = resident();
    let store = Store::in_memory(Clock::system());
    for i in 0..10_000 {
        runtime.block_on(store.write(create(0, i)?))?;
    }
    println!("10,000 ConfigMaps: {} KiB resident above what was there", resident().saturating_sub(before));
    let started = Instant::now();
    let listed = store.list(&ListRequest::all("/configmaps"))?.objects.len();
    println!("list of {listed}: {:?}", started.elapsed());
    drop(store);
    println!("fdatasync after 4 KiB: {:.0} per second", fdatasync(dir.path())?);
    for writers in [1, 32] {
        let memory = Store::in_memory(Clock::system());
        println!(
            "in memory, {writers:>2} writers: {:.0} creates per second",
            runtime.block_on(creates(memory, writers))?
        );
        let data = dir.path().join(writers.to_string());
        let durable = Store::open(&data, Clock::system())?;
        println!(
            "durable,   {writers:>2} writers: {:.0} creates per second",
            runtime.block_on(creates(durable, writers))?
        );
    }
    Ok(())
}

fn create(writer: usize, i: u64) -> Result<Write, Failure> {
    let (namespace, name) = (format!("tenant-{writer}"), format!("settings-{i}"));
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "value"}, "metadata": {
        "name": name, "namespace": namespace, "uid": "9a3f1f1e-7f59-4c2a-9f6d-1f6d3f0f6a51",
        "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:key": {}}}, "manager": "bench", "operation": "Update",
        "time": "2026-01-01T00:00:00Z"}]}});
    let key = Key::new("/configmaps", namespace, name);
    Ok(Write { key, expect: Expect::Absent, value: Some(Encoded::new(&value)?) })
}

async fn creates(store: Store, writers: usize) -> Result<f64, Failure> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while started.elapsed() < TIME {
                    store.write(create(writer, done)?).await?;
                    done += 1;
                }
                Ok::<u64, Failure>(done)
            })
        })
        .collect();
    let mut total = 0_u64;
    for task in tasks {
        total += task.await??;
    }
    Ok(per_second(total, started.elapsed()))
}

fn fdatasync(dir: &Path) -> Result<f64, Failure> {
    let mut file = std::fs::File::create(dir.join("fdatasync"))?;
    let (started, mut done) = (Instant::now(), 0_u64);
    while started.elapsed() < TIME {
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        done += 1;
    }
    Ok(per_second(done, started.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// KiB of this process in memory; 0 where `/proc` has no answer.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
