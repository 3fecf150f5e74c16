//! Whether a gateway serves: asked of itself, with its own health RPC over h2 and mutual TLS. May touch the network.
//!
//! | part | what it is for | touches |
//! |---|---|---|
//! | `message` | the bytes of the call | nothing |
//! | [`Caller`], [`Session`] | one connection: TLS by what sandboxes are given, then calls | the gateway |
//! | [`Probes`] | who is asked when, and who is woken | the gateway, by [`Caller`] |
//!
//! What is asked for is TLS and the process, no more: the RPC needs no database and no rights.

mod message;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, TE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use paddock_pki::{crypto_provider, sha256_hex};
use paddock_reconcile::Clock;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

pub use message::{Health, Malformed};
pub use watch::{Endpoint, Looks, Probes, Resolver, Target};

/// For fuzzers: whether bytes read as an answer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn reads(answer: &[u8]) -> bool {
    message::read(answer).is_ok()
}

/// The longest one look may take, from the first packet to the last.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What a look at a gateway came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No connection: nobody listens there, or no route leads there.
    Unreachable(String),
    /// There is no end of it within [`DEADLINE`].
    Deadline,
    /// The peer ended the handshake or speaks something else: it does not believe our certificate, or is not what we look for.
    Refused(String),
    /// The peer's certificate is not one that sandboxes would believe: another authority, other names, out of its time.
    WrongCertificate(String),
    /// TLS stands, with the certificate of this SHA-256; the call came to this.
    Answered {
        /// SHA-256 of the leaf, as [`CertificateInfo::fingerprint`](paddock_pki::CertificateInfo::fingerprint).
        fingerprint: String,
        /// What the RPC said.
        health: Result<Health, CallError>,
    },
}

/// Why a call over a standing connection gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection broke, or the peer spoke no HTTP/2.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Not an answer of a gRPC server.
    #[error("the answer is HTTP status {0}, not gRPC")]
    NotGrpc(u16),
    /// A gRPC status other than OK.
    #[error("gRPC status {code}: {message}")]
    Status {
        /// The number, such as 12 for an RPC that the gateway does not know.
        code: u32,
        /// The peer's words, cut at 200 characters.
        message: String,
    },
    /// Bytes that are no `HealthResponse`.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// Connects as a sandbox does: believes what its `ca.crt` says and shows its certificate. Holds a private key, so it does not
/// print.
#[derive(Clone)]
pub struct Caller {
    config: Arc<ClientConfig>,
    clock: Clock,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// Why a client's certificate, key or authorities cannot be used. Never carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the client's certificate cannot be used: {0}")]
pub struct CallerError(String);

impl Caller {
    /// From the three texts of a client's Secret. Certificates are judged by `clock`.
    ///
    /// # Errors
    /// When a text is unreadable or the key does not fit the certificate.
    pub fn new(ca: &str, certificate: &str, key: &str, clock: Clock) -> Result<Self, CallerError> {
        let failed = |what: &str, why: &dyn fmt::Display| CallerError(format!("{what}: {why}"));
        let read = |what: &'static str, text: &str| {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            found.map_err(|error| failed(what, &error))
        };
        let mut roots = RootCertStore::empty();
        for authority in read("ca.crt", ca)? {
            roots.add(authority).map_err(|error| failed("ca.crt", &error))?;
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| failed("tls.key", &error))?;
        let time: Arc<dyn TimeProvider> = Arc::new(Time(clock.clone()));
        let mut config = ClientConfig::builder_with_details(crypto_provider(), time)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed("TLS", &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(read("tls.crt", certificate)?, key)
            .map_err(|error| failed("tls.crt", &error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session shows the certificate of the first one: every look shall see what is served now.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), clock })
    }

    /// Connects and calls once, within [`DEADLINE`].
    pub async fn look(&self, address: SocketAddr, name: &str) -> Seen {
        let look = async {
            match self.connect(address, name).await {
                Ok(mut session) => {
                    let health = session.health().await;
                    match health {
                        // In TLS 1.3 the server judges our certificate after the handshake ended for us.
                        Err(CallError::Broken(why)) if why.contains("alert") => Seen::Refused(why),
                        health => Seen::Answered { fingerprint: session.fingerprint, health },
                    }
                }
                Err(seen) => seen,
            }
        };
        tokio::select! {
            seen = look => seen,
            () = self.clock.sleep(DEADLINE) => Seen::Deadline,
        }
    }

    /// Connects; the gateway's certificate must be believable for `name`.
    ///
    /// # Errors
    /// Every outcome but [`Seen::Answered`] and [`Seen::Deadline`].
    pub async fn connect(&self, address: SocketAddr, name: &str) -> Result<Session, Seen> {
        let tcp = TcpStream::connect(address).await.map_err(|error| Seen::Unreachable(error.kind().to_string()))?;
        let server =
            ServerName::try_from(name.to_owned()).map_err(|error| Seen::WrongCertificate(error.to_string()))?;
        let tls = TlsConnector::from(Arc::clone(&self.config)).connect(server, tcp).await.map_err(refused)?;
        let session = tls.get_ref().1;
        let leaf = session.peer_certificates().and_then(|shown| shown.first());
        let fingerprint = leaf.map(|leaf| sha256_hex(leaf)).unwrap_or_default();
        let (requests, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(|error| Seen::Refused(chain(&error)))?;
        let driver =
            AbortOnDropHandle::new(tokio::spawn(async move { connection.await.map_err(|error| chain(&error)) }));
        Ok(Session { requests, driver, authority: name.to_owned(), fingerprint })
    }
}

/// An open connection to a gateway.
#[derive(Debug)]
pub struct Session {
    requests: SendRequest<Full<Bytes>>,
    driver: AbortOnDropHandle<Result<(), String>>,
    authority: String,
    /// SHA-256 of the leaf that was served when it was opened.
    pub fingerprint: String,
}

impl Session {
    /// Calls the health RPC.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn health(&mut self) -> Result<Health, CallError> {
        let request = Request::post(format!("https://{}{}", self.authority, message::PATH))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header("grpc-timeout", "5S")
            .body(Full::new(Bytes::from_static(message::REQUEST)))
            .map_err(|error| CallError::Broken(error.to_string()))?;
        let answer = match self.requests.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.broken(&error).await),
        };
        let (head, body) = answer.into_parts();
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if head.status != 200 || !kind.starts_with("application/grpc") {
            return Err(CallError::NotGrpc(head.status.as_u16()));
        }
        let body = Limited::new(body, message::MAX_ANSWER).collect().await;
        let body = body.map_err(|error| CallError::Broken(chain(&*error)))?;
        let text = |name: &str| {
            let trailers = body.trailers().and_then(|trailers| trailers.get(name));
            trailers.or_else(|| head.headers.get(name)).and_then(|value| value.to_str().ok())
        };
        match text("grpc-status").map(str::parse::<u32>) {
            Some(Ok(0)) => {}
            Some(Ok(code)) => {
                let message = text("grpc-message").unwrap_or_default().chars().take(200).collect();
                return Err(CallError::Status { code, message });
            }
            // What gRPC calls UNKNOWN: the call ended without saying how.
            Some(Err(_)) | None => return Err(CallError::Status { code: 2, message: "no grpc-status".to_owned() }),
        }
        Ok(message::read(&body.to_bytes())?)
    }

    /// Why a request failed: the connection knows it better, when it has ended.
    async fn broken(&mut self, error: &hyper::Error) -> CallError {
        let ended = tokio::time::timeout(Duration::from_millis(100), &mut self.driver).await;
        match ended {
            Ok(Ok(Err(why))) => CallError::Broken(why),
            _ => CallError::Broken(chain(error)),
        }
    }
}

/// Which side of the handshake did not like the other.
fn refused(error: std::io::Error) -> Seen {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => Seen::WrongCertificate(why.to_string()),
        Some(why) => Seen::Refused(why.to_string()),
        // The peer closed the connection in the middle of the handshake.
        None => Seen::Refused(error.kind().to_string()),
    }
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

/// The controllers' clock, for the lives of certificates.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
