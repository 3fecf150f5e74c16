//! The figures of Paddock's own components: how soon an edit of the profile is on the wire, and how soon a component is there when the
//! API server is not.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use paddock_tls_profile::Named;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::figure::{Report, Wanted, median};
use super::super::server::{Process, Server, directory, failed};
use super::client::Client;
use super::mounted::Mounted;
use crate::exit::{Failure, Outcome};

/// Edits that a figure is taken of.
const EDITS: usize = 20;
/// How often somebody else makes a handshake meanwhile.
const EVERY: Duration = Duration::from_millis(5);
const STARTS: usize = 9;
/// When something is given up that should take milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A port that is free now. Another process may take it in between; then the component says so and the benchmark fails.
fn free() -> Result<SocketAddr, Failure> {
    StdListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(failed)
}

/// `paddock operator` with its two ports.
struct Operator {
    process: Process,
    health: SocketAddr,
    metrics: SocketAddr,
}

impl Operator {
    fn start(kubeconfig: &std::path::Path, mounted: &Mounted) -> Result<Self, Failure> {
        let (health, metrics) = (free()?, free()?);
        let (on, over) = (health.to_string(), metrics.to_string());
        let arguments = ["operator", "--log-level", "error", "--health-listen", &on, "--metrics-listen", &over];
        let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("--kubeconfig"), kubeconfig.as_os_str()]);
        arguments.extend([OsStr::new("--tls-startup-dir"), mounted.path().as_os_str()]);
        Ok(Self { process: Process::start(&arguments, Stdio::null())?, health, metrics })
    }
}

/// An edit of the mounted profile until the operator and the embedded API serve by it, while others go on connecting.
pub(super) async fn edits(report: &Report) -> Outcome {
    let mut mounted = Mounted::asking_for(Named::Intermediate)?;
    let dir = directory()?;
    let startup = mounted.path().to_string_lossy().into_owned();
    let server = Server::start(dir.path(), &["apiserver", "--in-memory", "--tls-startup-dir", &startup]).await?;
    let operator = Operator::start(&server.kubeconfig, &mounted)?;
    let listeners = [server.address(), operator.metrics];
    until_answers(operator.metrics).await?;

    let what = format!("edit of the mounted profile to every listener ({}) serving by it", listeners.len());
    until_followed(report, &what, &listeners, async |named| mounted.ask_for(named)).await?;
    operator.process.stop().await?;
    server.stop().await
}

/// Makes [`EDITS`] edits, each until every listener serves by it, while others go on connecting to all of them. Reports how long it took and
/// whether anybody was refused.
pub(super) async fn until_followed(
    report: &Report,
    what: &str,
    listeners: &[SocketAddr],
    mut edit: impl AsyncFnMut(Named) -> Outcome,
) -> Outcome {
    let stop = CancellationToken::new();
    let (made, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut others = JoinSet::new();
    for addr in listeners {
        let client = Client::new(*addr, &[&rustls::version::TLS13])?;
        others.spawn(connecting(client, made.clone(), refused.clone(), stop.clone()));
    }
    let mut times = Vec::new();
    for number in 0..EDITS {
        sleep(Duration::from_millis(100)).await;
        let named = if number % 2 == 0 { Named::Modern } else { Named::Intermediate };
        let began = Instant::now();
        edit(named).await?;
        let mut seen = JoinSet::new();
        for addr in listeners {
            seen.spawn(until_serves(*addr, named == Named::Intermediate));
        }
        while let Some(ended) = seen.join_next().await {
            ended.map_err(failed)??;
        }
        times.push(began.elapsed());
    }
    stop.cancel();
    while others.join_next().await.is_some() {}

    let worst = times.iter().max().copied().unwrap_or_default();
    report.time(format!("{what}, median of {EDITS}"), median(times), Wanted::Nothing)?;
    report.time(format!("{what}, slowest"), worst, Wanted::AtMost(250.0))?;
    let made = made.load(Ordering::Relaxed);
    let refused = f64::from(refused.load(Ordering::Relaxed));
    report.add(format!("… {made} handshakes meanwhile, one every 5 ms each; refused"), refused, "", Wanted::AtMost(0.0))
}

/// Makes a handshake every 5 ms and counts those that fail.
async fn connecting(client: Client, made: Arc<AtomicU32>, refused: Arc<AtomicU32>, stop: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = tick.tick() => {} }
        made.fetch_add(1, Ordering::Relaxed);
        if client.connect().await.is_err() {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits until TLS 1.2 is served, or refused.
pub(super) async fn until_serves(addr: SocketAddr, tls12: bool) -> Outcome {
    let client = Client::new(addr, &[&rustls::version::TLS12])?;
    let wait = async {
        while client.connect().await.is_ok() != tls12 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, wait).await.map_err(|_| failed("an edited profile was not followed"))
}

/// Waits for the first handshake that succeeds.
async fn until_answers(addr: SocketAddr) -> Outcome {
    let client = Client::new(addr, rustls::ALL_VERSIONS)?;
    let wait = async {
        while client.connect().await.is_err() {
            sleep(Duration::from_micros(200)).await;
        }
    };
    timeout(PATIENCE, wait).await.map_err(|_| failed("a component did not come up"))
}

/// The start of a component while packets to the API server vanish.
pub(super) async fn starts(report: &Report) -> Outcome {
    let mounted = Mounted::asking_for(Named::Intermediate)?;
    let hole = Blackhole::dig().await?;
    let home = directory()?;
    let kubeconfig = hole.kubeconfig(home.path())?;
    let (mut health, mut metrics) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        let operator = Operator::start(&kubeconfig, &mounted)?;
        timeout(PATIENCE, until_alive(operator.health)).await.map_err(|_| failed("health did not come up"))?;
        health.push(began.elapsed());
        until_answers(operator.metrics).await?;
        metrics.push(began.elapsed());
        operator.process.stop().await?;
    }
    let what = "operator, API server blackholed, exec to";
    report.time(format!("{what} health answered, median of {STARTS}"), median(health), Wanted::AtMost(50.0))?;
    report.time(format!("{what} TLS handshake on :8443, median of {STARTS}"), median(metrics), Wanted::AtMost(50.0))
}

async fn until_alive(addr: SocketAddr) {
    let alive = async || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        Ok(text.starts_with(b"HTTP/1.1 200 "))
    };
    while !matches!(alive().await, Ok(true)) {
        sleep(Duration::from_micros(200)).await;
    }
}

/// A port on loopback whose backlog is full: every further SYN is dropped. No packet goes anywhere else.
struct Blackhole {
    addr: SocketAddr,
    _listener: tokio::net::TcpListener,
    _held: Vec<TcpStream>,
}

impl Blackhole {
    async fn dig() -> Result<Self, Failure> {
        let socket = TcpSocket::new_v4().map_err(failed)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(failed)?;
        let listener = socket.listen(0).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let mut held = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
            held.push(stream.map_err(failed)?);
            if held.len() > 64 {
                return Err(failed("the backlog does not fill up"));
            }
        }
        Ok(Self { addr, _listener: listener, _held: held })
    }

    fn kubeconfig(&self, dir: &std::path::Path) -> Result<PathBuf, Failure> {
        let file = dir.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: \"http://{}\"}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nusers: [{{name: a, user: {{}}}}]\n",
            self.addr
        );
        std::fs::write(&file, text).map_err(failed)?;
        Ok(file)
    }
}
