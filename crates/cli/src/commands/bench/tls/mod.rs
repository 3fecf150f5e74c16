//! The figures of TLS: `paddock-serve` beside a bare rustls acceptor, idle connections under a swap, and the start-up contract.
//!
//! | module | what it is for |
//! |---|---|
//! | [`listener`] | the two servers that are compared, each a process of its own |
//! | [`client`] | the client of both |
//! | [`instructions`] | what they cost in instructions |
//! | [`components`] | edits and starts of Paddock's components |
//! | [`sources`] | edits of the profile's source |
//! | [`mounted`] | the start-up directory of all of them |

mod client;
mod components;
mod instructions;
mod listener;
mod mounted;
mod sources;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use paddock_tls_profile::Named;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use self::client::{Client, Stream, Until, get};
pub(crate) use self::listener::run as run_listener;
use self::mounted::Mounted;
use super::Sizes;
use super::figure::{Report, Wanted};
use super::load::Load;
use super::server::{Process, failed, resident};
use crate::exit::{Failure, Outcome};
use crate::output;

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Bare,
}

/// What a server is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Handshakes,
    Downloads,
}

/// Connections that a throughput figure uses.
const CONNECTIONS: usize = 8;
/// Idle connections that a swap must not disturb.
const IDLE: usize = 10_000;
/// Descriptors that a process needs besides its connections.
const RESERVE: usize = 200;
/// Connections that are opened, or asked something, at the same time.
const AT_ONCE: usize = 64;
/// How many percent more instructions than the bare acceptor `paddock-serve` may need.
const OVERHEAD: f64 = 3.0;

pub(crate) async fn measure(sizes: &Sizes, report: &Report) -> Outcome {
    components::starts(report).await?;
    components::edits(report).await?;
    sources::edits(report).await?;
    let mounted = Mounted::asking_for(Named::Intermediate)?;
    side_by_side(sizes, report, mounted.path()).await?;
    counted(report, mounted.path()).await?;
    idle(report, mounted).await
}

/// One of the two servers as a process.
struct Listening {
    process: Process,
    addr: std::net::SocketAddr,
}

impl Listening {
    async fn start(kind: Kind, dir: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed)?;
        let mut process = Process::of(program.as_os_str(), &listener::command(kind, dir), Stdio::piped())?;
        let addr = listener::address(&process.line().await?)?;
        Ok(Self { process, addr })
    }
}

/// A load, and the processor time that a server needed for one round of it.
async fn loaded(kind: Kind, dir: &Path, work: Work, time: Duration) -> Result<(Load, Duration), Failure> {
    let server = Listening::start(kind, dir).await?;
    let client = Client::new(server.addr, rustls::ALL_VERSIONS)?;
    let (began, before) = (Instant::now(), server.process.cpu().unwrap_or_default());
    let load = match work {
        Work::Handshakes => client.handshakes(CONNECTIONS, Until::Over(time)).await?,
        Work::Downloads => client.downloads(CONNECTIONS, Until::Over(time)).await?,
    };
    let rounds = load.rate * began.elapsed().as_secs_f64();
    let spent = server.process.cpu().unwrap_or_default().saturating_sub(before);
    server.process.stop().await?;
    Ok((load, if rounds > 0.0 { spent.div_f64(rounds) } else { Duration::ZERO }))
}

async fn side_by_side(sizes: &Sizes, report: &Report, dir: &Path) -> Outcome {
    let (ours, our_time) = loaded(Kind::Ours, dir, Work::Handshakes, sizes.time()).await?;
    let (bare, bare_time) = loaded(Kind::Bare, dir, Work::Handshakes, sizes.time()).await?;
    report.load("full handshakes, one thread, against a bare rustls acceptor", &ours, Some(&bare), None)?;
    report.times("full handshake, processor time of the server", our_time, Some(bare_time), Wanted::Nothing)?;
    let (ours, our_time) = loaded(Kind::Ours, dir, Work::Downloads, sizes.time()).await?;
    let (bare, bare_time) = loaded(Kind::Bare, dir, Work::Downloads, sizes.time()).await?;
    // Each answer is 1 MiB.
    report.compare(
        "bytes sent, one thread, against bare rustls",
        ours.rate,
        Some(bare.rate),
        "MiB/s",
        Wanted::Nothing,
    )?;
    report.times("1 MiB sent, processor time of the server", our_time, Some(bare_time), Wanted::Nothing)
}

async fn counted(report: &Report, dir: &Path) -> Outcome {
    if !instructions::can_be_counted().await {
        output::remark("note: valgrind is not installed; instructions are not counted");
        return Ok(());
    }
    for (work, name) in [(Work::Handshakes, "full handshake"), (Work::Downloads, "1 MiB sent")] {
        let ours = instructions::per_round(Kind::Ours, dir, work).await?;
        let bare = instructions::per_round(Kind::Bare, dir, work).await?;
        report.compare(format!("{name}, instructions"), ours, Some(bare), "million", Wanted::Nothing)?;
        let over = if bare > 0.0 { (ours / bare - 1.0) * 100.0 } else { f64::INFINITY };
        report.add(format!("{name}, instructions over the bare acceptor's"), over, "%", Wanted::AtMost(OVERHEAD))?;
    }
    Ok(())
}

/// Idle connections through a swap that lets them stay, and through one that does not. They are of TLS 1.2: Modern would not have let
/// them in.
async fn idle(report: &Report, mut mounted: Mounted) -> Outcome {
    let count = open_files().map_or(IDLE, |limit| IDLE.min(limit.saturating_sub(RESERVE)));
    if count < IDLE {
        output::remark(&format!("note: only {count} connections can be opened here: `ulimit -Hn` is too low"));
    }
    let server = Listening::start(Kind::Ours, mounted.path()).await?;
    let memory = || server.process.resident().unwrap_or_default();
    let ours = || resident("self").unwrap_or_default();
    let client = Client::new(server.addr, &[&rustls::version::TLS12])?;
    let (before, ours_before) = (memory(), ours());
    let began = Instant::now();
    let mut open =
        for_all((0..count).map(|_| client.clone()), async |client: Client| client.connect().await.map_err(failed))
            .await?;
    open = for_all(open.into_iter(), ask).await?;
    report.time(format!("{count} idle connections, opened and asked once"), began.elapsed(), Wanted::Nothing)?;
    report.add(format!("{count} idle connections, memory of the server"), memory(), "MB", Wanted::Nothing)?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let each = |grown: f64| grown * 1024.0 / count as f64;
    let what = format!("{count} idle connections, memory of each at the");
    report.add(format!("{what} server"), each(memory() - before), "KB", Wanted::Nothing)?;
    report.add(format!("{what} client"), each(ours() - ours_before), "KB", Wanted::Nothing)?;

    let presented = certificate(&client).await?;
    let began = Instant::now();
    mounted.renew()?;
    while certificate(&client).await? == presented {}
    report.time(
        format!("{count} idle connections, certificate and profile swapped"),
        began.elapsed(),
        Wanted::Nothing,
    )?;
    let what = format!("{count} idle connections, memory of the server after the swap");
    report.add(what, memory(), "MB", Wanted::Nothing)?;
    open = for_all(open.into_iter(), ask).await?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let lost = (count - open.len()) as f64;
    report.add(format!("{count} idle connections, lost by the swap"), lost, "", Wanted::AtMost(0.0))?;

    let began = Instant::now();
    mounted.ask_for(Named::Modern)?;
    for_all(open.into_iter(), until_closed).await?;
    report.time(
        format!("{count} idle connections, all closed by a tighter profile"),
        began.elapsed(),
        Wanted::Nothing,
    )?;
    report.add("… and memory of the server after that", memory(), "MB", Wanted::Nothing)?;
    server.process.stop().await
}

/// Does something with each, not all at the same time, and gives what came of it.
async fn for_all<T, R, F>(each: impl Iterator<Item = T>, work: impl Fn(T) -> F) -> Result<Vec<R>, Failure>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Future<Output = Result<R, Failure>> + Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for one in each {
        if running.len() >= AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            done.push(ended.map_err(failed)??);
        }
        running.spawn(work(one));
    }
    while let Some(ended) = running.join_next().await {
        done.push(ended.map_err(failed)??);
    }
    Ok(done)
}

async fn ask(mut stream: Stream) -> Result<Stream, Failure> {
    get(&mut stream, "/", 2, &mut [0; 1024]).await?;
    Ok(stream)
}

async fn until_closed(mut stream: Stream) -> Outcome {
    let mut rest = [0; 64];
    // An end without a farewell is an end, too.
    while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
    Ok(())
}

/// What a new connection is shown.
async fn certificate(client: &Client) -> Result<Vec<u8>, Failure> {
    let stream = client.connect().await.map_err(failed)?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    shown.map(|leaf| leaf.to_vec()).ok_or_else(|| failed("no certificate was shown"))
}

/// How many files this process and those that it starts may have open, once as many are asked for as there may be; `None`: any number.
fn open_files() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where that is refused, what there is has to do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
