//! The network side of a gateway's pod: a listener on loopback with the certificate that is mounted, which asks clients for theirs
//! by the mounted authorities, reloads both when the kubelet hands on new ones, and answers the health RPC as told.
//! May touch loopback.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use paddock_pki::crypto_provider;
use paddock_reconcile::Clock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What the health RPC answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// `SERVICE_STATUS_HEALTHY`.
    #[default]
    Healthy,
    /// `SERVICE_STATUS_DEGRADED`.
    Degraded,
    /// `SERVICE_STATUS_UNHEALTHY`.
    Unhealthy,
    /// This gRPC status.
    Status(u32),
    /// A web page.
    NotGrpc,
    /// Bytes that are no answer.
    Garbage,
    /// Nothing, ever.
    Silent,
}

/// What a pod mounts, as PEM. Does not print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mounted {
    /// The server's certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// The authorities of clients.
    pub client_authorities: Vec<u8>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted").finish_non_exhaustive()
    }
}

impl Mounted {
    fn config(&self, clock: &Clock) -> io::Result<ServerConfig> {
        let read = |pem: &[u8]| -> io::Result<Vec<CertificateDer<'static>>> {
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(io::Error::other)
        };
        let mut roots = RootCertStore::empty();
        for authority in read(&self.client_authorities)? {
            roots.add(authority).map_err(io::Error::other)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider());
        let time: Arc<dyn TimeProvider> = Arc::new(Time(clock.clone()));
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_details(crypto_provider(), time)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            .with_single_cert(read(&self.certificate)?, key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    answer: Answer,
    calls: usize,
}

/// A listening gateway. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    clock: Clock,
    _task: AbortOnDropHandle<()>,
}

impl Gateway {
    /// Listens on a free port of loopback. Certificates of clients are judged by `clock`.
    ///
    /// # Errors
    /// When what is mounted cannot be served: a real gateway does not start then either.
    pub async fn start(mounted: &Mounted, clock: Clock) -> io::Result<Self> {
        let config = Arc::new(mounted.config(&clock)?);
        let state = Arc::new(Mutex::new(State { config, answer: Answer::default(), calls: 0 }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, Arc::clone(&state))));
        Ok(Self { address, state, clock, _task: task })
    }

    /// Serves this from the next connection on; what cannot be served changes nothing, as a real gateway keeps what it had.
    pub fn reload(&self, mounted: &Mounted) {
        if let Ok(config) = mounted.config(&self.clock) {
            lock(&self.state).config = Arc::new(config);
        }
    }

    /// Answers like this from the next call on.
    pub fn set(&self, answer: Answer) {
        lock(&self.state).answer = answer;
    }

    /// How many calls came.
    pub fn calls(&self) -> usize {
        lock(&self.state).calls
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Dropped with this task, and with them every connection.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let acceptor = TlsAcceptor::from(Arc::clone(&lock(&state).config));
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&request, &state).await) }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(server.serve_connection(TokioIo::new(tls), service).await);
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(request: &Request<Incoming>, state: &Mutex<State>) -> Response<Body> {
    let answer = {
        let mut state = lock(state);
        state.calls += 1;
        state.answer
    };
    if request.uri().path() != "/openshell.v1.OpenShell/Health" || request.method() != http::Method::POST {
        return grpc(Vec::new(), 12);
    }
    let health = |status: u8| grpc(vec![0, 0, 0, 0, 7, 0x08, status, 0x12, 3, b'0', b'.', b'1'], 0);
    match answer {
        Answer::Healthy => health(1),
        Answer::Degraded => health(2),
        Answer::Unhealthy => health(3),
        Answer::Status(code) => grpc(Vec::new(), code),
        Answer::NotGrpc => Response::new(Full::new(Bytes::from_static(b"<html>")).boxed()),
        Answer::Garbage => grpc(vec![0, 0, 0, 0, 1, 0xff], 0),
        Answer::Silent => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            grpc(Vec::new(), 4)
        }
    }
}

fn grpc(body: Vec<u8>, status: u32) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status));
    let body = Full::new(Bytes::from(body)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The trial's clock, for the lives of certificates.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
