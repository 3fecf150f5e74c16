//! `paddock operator` as a child process, and what its metrics say.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Process, Server, failed};
use crate::exit::Failure;

/// Who does nothing for this long has come to rest.
const REST: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(900);

/// A running operator.
pub(crate) struct Operator {
    pub(crate) process: Process,
    metrics: SocketAddr,
}

/// What an operator has done for gateways since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Requests that read one object. Left out are the Lease and questions for the kinds that are served: the clock asks those.
    pub(crate) gets: u32,
    /// Requests that read a page of a list.
    pub(crate) lists: u32,
    /// Creations, patches and deletions that the gateways asked for; not the Lease.
    pub(crate) writes: u32,
    /// Passes over gateways.
    pub(crate) passes: u32,
    busy: bool,
}

impl Operator {
    /// Starts it beside the server.
    pub(crate) async fn start(server: &Server, more: &[&str]) -> Result<Self, Failure> {
        // Another process may take the port in between; then the operator says so and the benchmark fails.
        let metrics = TcpListener::bind("127.0.0.1:0").await.and_then(|free| free.local_addr()).map_err(failed)?;
        let listen = metrics.to_string();
        let arguments = ["operator", "--log-level", "error", "--health-listen", &listen, "--kubeconfig"];
        let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        arguments.push(server.kubeconfig.as_os_str());
        arguments.extend(more.iter().map(OsStr::new));
        Ok(Self { process: Process::start(&arguments, Stdio::null())?, metrics })
    }

    /// What it has done so far.
    pub(crate) async fn done(&self) -> Result<Done, Failure> {
        let mut stream = TcpStream::connect(self.metrics).await.map_err(failed)?;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(failed)?;
        Ok(read(&text))
    }

    /// Waits until it has looked at something and come to rest; tells when the rest began and what was done.
    pub(crate) async fn settled(&self) -> Result<(Instant, Done), Failure> {
        let began = Instant::now();
        let (mut since, mut last) = (began, Done::default());
        loop {
            if began.elapsed() > PATIENCE {
                return Err(failed(format!("the operator has no rest in {} s: {last:?}", PATIENCE.as_secs())));
            }
            // It does not listen yet at the very start.
            let now = self.done().await.unwrap_or_default();
            if now != last || now.busy || now.passes == 0 {
                (since, last) = (Instant::now(), now);
            } else if since.elapsed() >= REST {
                return Ok((since, last));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Reads the metrics page.
fn read(text: &str) -> Done {
    let mut done = Done::default();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<u32>() else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let gateways = labels.contains(r#"controller="gateways""#);
        match name {
            // Asked for by the clock, not by gateways.
            "paddock_reconcile_requests_total"
                if labels.contains(r#"resource="leases""#) || labels.contains(r#"resource="""#) => {}
            "paddock_reconcile_requests_total" if labels.contains(r#"verb="get""#) => done.gets += value,
            "paddock_reconcile_requests_total" if labels.contains(r#"verb="list""#) => done.lists += value,
            "paddock_reconcile_writes_total" if gateways && !labels.contains("skipped") => done.writes += value,
            "paddock_reconcile_passes_total" if gateways => done.passes += value,
            "paddock_reconcile_queued_keys" | "paddock_reconcile_running_keys" => done.busy |= value > 0,
            _ => {}
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_is_read() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# HELP x\n\
            paddock_reconcile_requests_total{verb=\"get\",resource=\"secrets\",code=\"200\"} 2\n\
            paddock_reconcile_requests_total{verb=\"get\",resource=\"pods\",code=\"404\"} 1\n\
            paddock_reconcile_requests_total{verb=\"get\",resource=\"\",code=\"200\"} 9\n\
            paddock_reconcile_requests_total{verb=\"get\",resource=\"leases\",code=\"200\"} 70\n\
            paddock_reconcile_requests_total{verb=\"list\",code=\"200\"} 10\n\
            paddock_reconcile_requests_total{verb=\"patch\",code=\"200\"} 99\n\
            paddock_reconcile_writes_total{controller=\"gateways\",write=\"applied\"} 4\n\
            paddock_reconcile_writes_total{controller=\"gateways\",write=\"skipped\"} 50\n\
            paddock_reconcile_writes_total{controller=\"gateway-status\",write=\"applied\"} 7\n\
            paddock_reconcile_passes_total{controller=\"gateways\",outcome=\"settled\"} 6\n\
            paddock_reconcile_queued_keys{controller=\"gateways\"} 0\n\
            paddock_reconcile_running_keys{controller=\"gateways\"} 1\n# EOF\n";
        assert_eq!(read(text), Done { gets: 3, lists: 10, writes: 4, passes: 6, busy: true });
    }
}
