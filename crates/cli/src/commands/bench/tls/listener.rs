//! The servers of the figures, each a process of its own with one thread: `ours` is `paddock-serve` under a start-up directory, `bare`
//! is rustls with nothing around it. Both answer the same two requests. Touch the directory and a port on loopback.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use paddock_serve::{Listener, Options, Startup, StartupOptions, TlsMetrics, crypto_provider, serve};
use paddock_tls_profile::files;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::super::server::failed;
use super::Kind;
use super::mounted::data;
use crate::exit::{Failure, Outcome};
use crate::{output, signals};

/// Where the large answer is.
pub(super) const LARGE: &str = "/large";
/// Its size in bytes.
pub(super) const LARGE_SIZE: usize = 1024 * 1024;
/// Connections that `paddock-serve` may hold here.
const CONNECTIONS: usize = 65_536;
/// Longest head of a request that the bare server reads.
const HEAD: usize = 4096;

/// `paddock bench-listener ours|bare DIR`: prints where it listens, and serves until it is told to stop.
pub(crate) fn run(which: &str, dir: &Path) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let stop = signals::stop_token().map_err(failed)?;
        match which {
            "ours" => ours(dir, stop).await,
            _ => bare(dir, stop).await,
        }
    })
}

async fn ours(dir: &Path, stop: CancellationToken) -> Outcome {
    let startup = Startup::new(StartupOptions::new(dir), TlsMetrics::default());
    startup.load().await.map_err(failed)?;
    let source = startup.source();
    let watching = tokio::spawn({
        let stop = stop.clone();
        async move { startup.watch(stop).await }
    });
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(failed)?;
    output::line(&listener.local_addr().to_string())?;
    let large = Bytes::from(vec![b'x'; LARGE_SIZE]);
    let service = service_fn(move |request: Request<Incoming>| {
        let body = if request.uri().path() == LARGE { large.clone() } else { Bytes::from_static(b"ok") };
        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
    });
    let options = Options { max_connections: CONNECTIONS, ..Options::default() };
    serve(listener, source, service, options, stop).await;
    watching.await.map_err(failed)
}

async fn bare(dir: &Path, stop: CancellationToken) -> Outcome {
    let read = |name: &str| std::fs::read(data(dir).join(name)).map_err(failed);
    let chain = CertificateDer::pem_slice_iter(&read(files::CERTIFICATE)?).collect::<Result<_, _>>().map_err(failed)?;
    let key = PrivateKeyDer::from_pem_slice(&read(files::KEY)?).map_err(failed)?;
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    output::line(&listener.local_addr().map_err(failed)?.to_string())?;
    let body = Bytes::from(vec![b'x'; LARGE_SIZE]);
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted.map_err(failed)?.0,
        };
        let (acceptor, body) = (acceptor.clone(), body.clone());
        // What a client does wrong ends its connection and nothing else.
        tokio::spawn(async move { answer(&acceptor, stream, &body).await });
    }
}

/// Answers every request of one connection; only as much HTTP as the client of the figures needs.
async fn answer(acceptor: &TlsAcceptor, stream: TcpStream, large: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::with_capacity(HEAD);
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return stream.shutdown().await;
        }
        if memchr::memmem::find(&request, b"\r\n\r\n").is_none() {
            if request.len() > HEAD {
                return Ok(());
            }
            continue;
        }
        let body = if memchr::memmem::find(&request, LARGE.as_bytes()).is_some() { large } else { b"ok" };
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes()).await?;
        stream.write_all(body).await?;
        stream.flush().await?;
        request.clear();
    }
}

/// The arguments that start one of the two.
pub(super) fn command(kind: Kind, dir: &Path) -> [OsString; 3] {
    let which = match kind {
        Kind::Ours => "ours",
        Kind::Bare => "bare",
    };
    ["bench-listener".into(), which.into(), dir.into()]
}

/// Where a listener says that it is.
pub(super) fn address(line: &str) -> Result<SocketAddr, Failure> {
    line.trim().parse().map_err(|_| failed(format!("the listener did not start: {line:?}")))
}
