//! The client of the TLS figures. It makes full handshakes only, and believes every certificate: what verifying one costs is not what
//! is measured, and would slow down what is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paddock_serve::crypto_provider;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::load::{Load, percentile};
use super::super::server::failed;
use super::listener::{LARGE, LARGE_SIZE};
use crate::exit::Failure;

/// Longer than any answer takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After this time.
    Over(Duration),
    /// After this many rounds of each connection.
    Rounds(u32),
}

/// Connects to one listener with one set of versions.
#[derive(Clone)]
pub(super) struct Client {
    addr: SocketAddr,
    connector: TlsConnector,
}

/// An open connection.
pub(super) type Stream = TlsStream<TcpStream>;

impl Client {
    pub(super) fn new(addr: SocketAddr, versions: &[&'static SupportedProtocolVersion]) -> Result<Self, Failure> {
        let mut config = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(versions)
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believing))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { addr, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// A full handshake.
    pub(super) async fn connect(&self) -> std::io::Result<Stream> {
        let stream = TcpStream::connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let shaken = tokio::time::timeout(PATIENCE, self.connector.connect(name, stream));
        shaken.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
    }

    /// A handshake, and an end in order on both sides.
    pub(super) async fn shake(&self) -> std::io::Result<()> {
        let mut stream = self.connect().await?;
        stream.shutdown().await?;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await? > 0 {}
        Ok(())
    }

    /// Handshakes, from as many tasks of one thread.
    pub(super) async fn handshakes(&self, tasks: usize, until: Until) -> Result<Load, Failure> {
        let client = self.clone();
        on_a_thread(tasks, move || {
            let client = client.clone();
            async move {
                let (began, mut times) = (Instant::now(), Vec::new());
                while until.goes_on(began, times.len()) {
                    let sent = Instant::now();
                    client.shake().await.map_err(failed)?;
                    times.push(sent.elapsed());
                }
                Ok(times)
            }
        })
        .await
    }

    /// Large answers, over as many connections; `rate` counts answers.
    pub(super) async fn downloads(&self, connections: usize, until: Until) -> Result<Load, Failure> {
        let client = self.clone();
        on_a_thread(connections, move || {
            let client = client.clone();
            async move {
                let mut stream = client.connect().await.map_err(failed)?;
                let mut buffer = vec![0; LARGE_SIZE + 1024];
                let (began, mut times) = (Instant::now(), Vec::new());
                while until.goes_on(began, times.len()) {
                    let sent = Instant::now();
                    get(&mut stream, LARGE, LARGE_SIZE, &mut buffer).await?;
                    times.push(sent.elapsed());
                }
                stream.shutdown().await.map_err(failed)?;
                Ok(times)
            }
        })
        .await
    }
}

impl Until {
    fn goes_on(self, began: Instant, rounds: usize) -> bool {
        match self {
            Self::Over(time) => began.elapsed() < time,
            Self::Rounds(count) => rounds < count as usize,
        }
    }
}

/// Asks for something that has `size` bytes and reads all of it into `buffer`.
pub(super) async fn get(stream: &mut Stream, path: &str, size: usize, buffer: &mut [u8]) -> Result<(), Failure> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let (mut have, mut want) = (0, None);
    loop {
        let room = buffer.get_mut(have..).filter(|room| !room.is_empty()).ok_or_else(|| failed("a long head"))?;
        let read = stream.read(room).await.map_err(failed)?;
        if read == 0 {
            return Err(failed("the listener closed the connection"));
        }
        have += read;
        if want.is_none() {
            let head = buffer.get(..have).and_then(|bytes| memchr::memmem::find(bytes, b"\r\n\r\n"));
            want = head.map(|end| end + 4 + size);
        }
        if want.is_some_and(|want| have >= want) {
            return Ok(());
        }
    }
}

/// Runs `count` of these on one thread of their own; each tells how long its rounds took.
async fn on_a_thread<F>(count: usize, work: impl Fn() -> F + Send + 'static) -> Result<Load, Failure>
where
    F: Future<Output = Result<Vec<Duration>, Failure>> + Send + 'static,
{
    let all = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let began = Instant::now();
            let mut workers: JoinSet<_> = (0..count).map(|_| work()).collect();
            let mut times = Vec::new();
            while let Some(ended) = workers.join_next().await {
                times.extend(ended.map_err(failed)??);
            }
            #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
            let rate = times.len() as f64 / began.elapsed().as_secs_f64();
            times.sort_unstable();
            Ok(Load { rate, p50: percentile(&times, 50), p99: percentile(&times, 99) })
        })
    };
    spawn_blocking(all).await.map_err(failed)?
}

/// Believes every certificate and every signature.
#[derive(Debug)]
struct Believing;

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}
