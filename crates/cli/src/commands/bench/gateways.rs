//! The figures of the gateways controller: `paddock operator` beside `paddock apiserver`, as they are installed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Sizes;
use super::figure::{Report, Wanted};
use super::load::percentile;
use super::operator::{Done, Operator};
use super::tenants::{Child, Reaction, Tenants};
use crate::exit::{Failure, Outcome};

/// Edits that a percentile is taken of.
const EDITS: usize = 200;
/// Reads of single objects that an operator may need, whatever the number of tenants.
const GETS: f64 = 20.0;
/// How often gateways are looked at in the figures of settled ones, in seconds.
const RESYNC: u64 = 10;

pub(crate) async fn measure(sizes: &Sizes, report: &Report) -> Outcome {
    one(report).await?;
    many(sizes.tenants, report).await
}

/// A single tenant.
async fn one(report: &Report) -> Outcome {
    let tenants = Tenants::new(1).await?;
    tenants.configure("first.example.com").await?;
    let operator = Operator::start(&tenants.server, &[]).await?;
    operator.settled().await?;
    edits("1 tenant", &tenants, &operator, report).await?;
    operator.process.stop().await?;
    tenants.server.stop().await
}

async fn many(count: u32, report: &Report) -> Outcome {
    let of = format!("{count} tenants");
    let tenants = Tenants::new(count).await?;
    tenants.configure("first.example.com").await?;
    let began = Instant::now();
    let operator = Operator::start(&tenants.server, &[]).await?;
    let (ended, done) = operator.settled().await?;
    report.time(format!("{of}, cold start until all is applied"), ended - began, Wanted::Nothing)?;
    report.add(
        format!("{of}, cold start, peak memory"),
        operator.process.peak().unwrap_or_default(),
        "MB",
        Wanted::Nothing,
    )?;
    processor(&format!("{of}, cold start"), &operator, report)?;
    requests(&format!("{of}, cold start"), done, Wanted::AtMost(GETS), report)?;
    report.add(format!("{of}, cold start, writes"), f64::from(done.writes), "", Wanted::Nothing)?;
    operator.process.stop().await?;

    let began = Instant::now();
    let operator = Operator::start(&tenants.server, &["--gateways-resync", &RESYNC.to_string()]).await?;
    let (ended, done) = operator.settled().await?;
    report.time(format!("{of} settled, start until all were looked at"), ended - began, Wanted::Nothing)?;
    processor(&format!("{of} settled, start"), &operator, report)?;
    requests(&format!("{of} settled, start"), done, Wanted::AtMost(GETS), report)?;
    report.add(format!("{of} settled, start, writes"), f64::from(done.writes), "", Wanted::AtMost(0.0))?;
    tokio::time::sleep(Duration::from_secs(RESYNC * 2)).await;
    let later = operator.done().await?;
    let (passes, writes) = (later.passes - done.passes, later.writes - done.writes);
    report.add(
        format!("{of} settled, {passes} passes of resyncs, writes"),
        f64::from(writes),
        "",
        Wanted::AtMost(0.0),
    )?;
    report.add(
        format!("{of} settled, operator, resident"),
        operator.process.resident().unwrap_or_default(),
        "MB",
        Wanted::AtMost(120.0),
    )?;
    report.add(
        format!("{of} settled, API server, resident"),
        tenants.server.resident().unwrap_or_default(),
        "MB",
        Wanted::Nothing,
    )?;
    operator.process.stop().await?;

    let operator = Operator::start(&tenants.server, &[]).await?;
    operator.settled().await?;
    edits(&format!("1 of {of}"), &tenants, &operator, report).await?;
    operator.settled().await?;
    let before = tenants.children().await?;
    tenants.edits(1, "last").await?;
    operator.settled().await?;
    let foreign = foreign_writes(&before, &tenants.children().await?, tenants.first());
    report.add(format!("1 of {of} changed, writes to others"), f64::from(foreign), "", Wanted::AtMost(0.0))?;
    let (worst, deleted) = recoveries(&tenants).await?;
    report.time(format!("each of {deleted} objects deleted, back after, slowest"), worst, Wanted::AtMost(1000.0))?;
    operator.process.stop().await?;
    tenants.server.stop().await
}

async fn edits(of: &str, tenants: &Tenants, operator: &Operator, report: &Report) -> Outcome {
    let before = operator.process.cpu().unwrap_or_default();
    times(of, &tenants.edits(EDITS, "edit").await?, report)?;
    operator.settled().await?;
    let used = operator.process.cpu().unwrap_or_default().saturating_sub(before);
    let each = used / u32::try_from(EDITS).unwrap_or(u32::MAX);
    report.time(format!("{of}, edit, operator's processor time"), each, Wanted::Nothing)
}

fn times(of: &str, reactions: &[Reaction], report: &Report) -> Outcome {
    let each = |of: fn(&Reaction) -> Duration| {
        let mut times: Vec<_> = reactions.iter().map(of).collect();
        times.sort();
        times
    };
    let (first, last) = (each(|reaction| reaction.first), each(|reaction| reaction.last));
    report.time(format!("{of}, edit to first object applied, p99"), percentile(&first, 99), Wanted::AtMost(100.0))?;
    report.time(format!("{of}, edit to last object applied, p50"), percentile(&last, 50), Wanted::AtMost(50.0))?;
    report.time(format!("{of}, edit to last object applied, p99"), percentile(&last, 99), Wanted::AtMost(250.0))
}

fn processor(of: &str, operator: &Operator, report: &Report) -> Outcome {
    let used = operator.process.cpu().unwrap_or_default();
    report.time(format!("{of}, operator's processor time"), used, Wanted::Nothing)
}

fn requests(of: &str, done: Done, gets: Wanted, report: &Report) -> Outcome {
    report.add(format!("{of}, lists"), f64::from(done.lists), "", Wanted::Nothing)?;
    report.add(format!("{of}, reads of single objects"), f64::from(done.gets), "", gets)
}

/// Objects of other tenants that are not as they were.
fn foreign_writes(before: &BTreeMap<String, Child>, after: &BTreeMap<String, Child>, tenant: &str) -> u32 {
    let of_others = |child: &Child| child.tenant().is_some_and(|whose| whose != tenant);
    let same =
        |place: &String, child: &Child| before.get(place).is_some_and(|earlier| earlier.version() == child.version());
    let written = after.iter().filter(|(place, child)| of_others(child) && !same(place, child)).count();
    let gone = before.iter().filter(|(place, child)| of_others(child) && !after.contains_key(*place)).count();
    u32::try_from(written + gone).unwrap_or(u32::MAX)
}

/// Deletes each object of the first tenant's namespace, one after the other: the slowest return, and how many there were.
async fn recoveries(tenants: &Tenants) -> Result<(Duration, usize), Failure> {
    let (mut worst, mut count) = (Duration::ZERO, 0);
    for child in tenants.children().await?.values() {
        // The anchor owns all the others: without it the garbage collector deletes them, too, and then nothing is single.
        let anchor = child.object.metadata.owner_references.is_none() && child.object.metadata.namespace.is_some();
        if child.tenant() != Some(tenants.first()) || anchor {
            continue;
        }
        worst = worst.max(tenants.recovery(child).await?);
        count += 1;
    }
    Ok((worst, count))
}
