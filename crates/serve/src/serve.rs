//! The accept loop: bind, TLS per connection, HTTP/1.1 and h2, limits, drain. Touches sockets and nothing else.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Answer, Answered, Taken};
use crate::metrics::TlsMetrics;
use crate::tls::{Generation, Held, Tls, TlsSource};
use crate::traffic::Traffic;

/// Any error that a service or a body may give.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A bound TCP socket that does not answer yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
}

impl Listener {
    /// Binds `addr`. Port 0 asks the system for a free one; [`Listener::local_addr`] tells which.
    ///
    /// # Errors
    /// When the address is taken, not ours or forbidden.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(addr).await?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Who is at the other end of a connection. Every request carries it as an extension.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub addr: SocketAddr,
    /// The client's certificate chain, leaf first. Only a chain that an authority of the listener vouches for is here;
    /// empty when the client showed none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// Why the certificate that the client showed is not to be believed. A handler that authenticates answers 401 to it
    /// and does not treat the client as anonymous.
    pub rejected: Option<Arc<str>>,
    /// See [`Peer::memo`].
    memo: Memo,
}

/// One value that a handler keeps with a connection.
#[derive(Clone, Default)]
struct Memo(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}

impl Peer {
    /// A peer that showed no certificate.
    pub fn anonymous(addr: SocketAddr) -> Self {
        Self { addr, certificates: Arc::default(), rejected: None, memo: Memo::default() }
    }

    /// What a handler made of this connection's certificates: made once, at the first request, and kept as long as the
    /// connection. There is room for one type; another one is made anew each time.
    pub fn memo<T: Any + Send + Sync>(&self, make: impl Fn() -> T) -> Arc<T> {
        let kept = self.memo.0.get_or_init(|| Arc::new(make())).clone();
        kept.downcast().unwrap_or_else(|_| Arc::new(make()))
    }

    /// A peer whose chain was verified.
    fn verified(addr: SocketAddr, chain: &[CertificateDer<'static>]) -> Self {
        Self { certificates: chain.into(), ..Self::anonymous(addr) }
    }

    #[cfg(test)]
    pub(crate) fn with_certificate(leaf: CertificateDer<'static>) -> Self {
        Self::verified(SocketAddr::from(([127, 0, 0, 1], 1)), &[leaf])
    }

    fn judged(addr: SocketAddr, tls: &Tls, shown: Option<&[CertificateDer<'static>]>) -> Self {
        match shown {
            None | Some([]) => Self::anonymous(addr),
            Some(shown) => match tls.judge(shown) {
                Ok(()) => Self::verified(addr, shown),
                Err(why) => Self { rejected: Some(why.into()), ..Self::anonymous(addr) },
            },
        }
    }
}

/// The limits of a listener. The defaults suit an API server: generous to a good client, finite for a bad one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections open at once; further ones wait in the kernel's backlog. Default 4096.
    pub max_connections: usize,
    /// From accept to the end of the TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long an HTTP/1.1 connection may take over the head of a request, idle time included, and how long any new
    /// connection may take over its first request. Default 120 s: longer than the 90 s after which Go's and hyper's
    /// clients drop an idle connection, so that the side that would notice too late is never the client.
    pub head_timeout: Duration,
    /// How long an h2 connection stays open on which no request runs; it is told to go between one and two of these later. Default
    /// 120 s, for the reason above: a client that only answers pings holds a place no longer than one that says nothing.
    pub idle_timeout: Duration,
    /// How long a peer may take nothing of the answers that it is sent, unless one of them is a stream (a watch, a log). Default
    /// 60 s, which is what kube-apiserver gives a whole request.
    pub stall_timeout: Duration,
    /// Bytes of a request's head. Default 128 KiB: continue tokens and selectors travel in the request line.
    pub max_head_bytes: u32,
    /// Header fields of a request. Default 200.
    pub max_headers: usize,
    /// Requests at once on one h2 connection. Default 512: an informer holds one for every watch.
    pub max_concurrent_streams: u32,
    /// Streams that a client reset before they were accepted; above it the connection ends (CVE-2023-44487). Default 64.
    pub max_pending_accept_reset_streams: usize,
    /// After the stop signal, the time that running requests get to end by themselves. Default 5 s.
    pub drain: Duration,
    /// Where connections are counted.
    pub traffic: Traffic,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(60),
            max_head_bytes: 128 * 1024,
            max_headers: 200,
            max_concurrent_streams: 512,
            max_pending_accept_reset_streams: 64,
            drain: Duration::from_secs(5),
            traffic: Traffic::default(),
        }
    }
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the drain's time was up, and were cut.
    pub cut: usize,
}

/// Serves `service` on `listener` until `stop`, then drains: no new connections, running requests end, idle connections
/// close at once, and what is left after [`Options::drain`] is cut.
///
/// HTTP/1.1 and h2 are told apart per connection (by ALPN or by the client's first bytes), upgrades work on HTTP/1.1, and
/// each request carries a [`Peer`] extension. When `service` gives an error, no response is sent: the HTTP/1.1 connection
/// is closed, the h2 stream is reset. Streams without an end (watches) should end on the same `stop`, else they are cut.
///
/// Nothing that a client sends ends this function, and neither does a shortage of file descriptors: it waits and goes on.
pub async fn serve<S, B>(
    listener: Listener,
    tls: Option<TlsSource>,
    service: S,
    options: Options,
    stop: CancellationToken,
) -> Drained
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let drain = options.drain;
    let shared = Arc::new(Shared { http: http_builder(&options), options, stop: stop.clone(), cut: cut.clone() });

    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener.socket, &slots) => accepted,
        };
        match accepted {
            Ok((stream, addr, slot)) => {
                let (shared, service) = (shared.clone(), service.clone());
                let tls = tls.as_ref().map(|source| (source.current(), source.metrics().clone()));
                tasks.spawn(async move {
                    connection(&shared, stream, addr, tls, service).await;
                    drop(slot);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: going round at once would only burn the processor.
                tracing::warn!(%error, listener = %listener.local, "cannot accept a connection; trying again");
                tokio::select! { () = stop.cancelled() => break, () = sleep(Duration::from_millis(100)) => {} }
            }
        }
    }

    drop(listener);
    tasks.close();
    if timeout(drain, tasks.wait()).await.is_ok() {
        return Drained { cut: 0 };
    }
    let left = tasks.len();
    cut.cancel();
    tasks.wait().await;
    Drained { cut: left }
}

/// What all connections of a listener share.
struct Shared {
    http: auto::Builder<TokioExecutor>,
    options: Options,
    stop: CancellationToken,
    cut: CancellationToken,
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    // The permit comes first: a connection that we cannot serve stays in the backlog instead of in our memory.
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, addr) = socket.accept().await?;
    Ok((stream, addr, slot))
}

/// Errors of `accept` that concern the connection that went away, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn http_builder(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.max_head_bytes as usize)
        .max_headers(options.max_headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_pending_accept_reset_streams(options.max_pending_accept_reset_streams)
        .max_header_list_size(options.max_head_bytes)
        // Large enough that one upload does not wait for a window; the product with the connections is the memory at risk.
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        // A peer that vanished without a word must not hold its watches for ever.
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn connection<S, B>(
    shared: &Shared,
    stream: TcpStream,
    addr: SocketAddr,
    tls: Option<(Arc<Generation>, TlsMetrics)>,
    service: S,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let traffic = &shared.options.traffic;
    let _open = traffic.connection();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%addr, %error, "cannot set TCP_NODELAY");
    }
    let Some((generation, metrics)) = tls else {
        return http_connection(shared, stream, Peer::anonymous(addr), std::future::pending(), service).await;
    };
    let handshake = TlsAcceptor::from(generation.tls.config.clone()).accept(stream);
    let accepted = {
        let _counted = traffic.handshake();
        tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = timeout(shared.options.handshake_timeout, handshake) => accepted,
        }
    };
    match accepted {
        Ok(Ok(stream)) => {
            let connection = stream.get_ref().1;
            metrics.accepted(connection);
            let peer = Peer::judged(addr, &generation.tls, connection.peer_certificates());
            let stream = Held::new(stream, generation.clone());
            http_connection(shared, stream, peer, generation.left(), service).await;
        }
        Ok(Err(error)) => {
            traffic.handshake_failed();
            metrics.failed(&error);
            tracing::debug!(%addr, %error, "TLS handshake failed");
        }
        Err(_) => {
            traffic.handshake_late();
            metrics.timed_out();
            tracing::debug!(%addr, "TLS handshake timed out");
        }
    }
}

/// Serves HTTP until the client goes, the listener stops or `leave` says that the connection has to go: then the request that runs
/// ends and no other begins.
async fn http_connection<I, S, B>(shared: &Shared, io: I, peer: Peer, leave: impl Future<Output = ()>, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let addr = peer.addr;
    let Options { head_timeout, idle_timeout, stall_timeout, traffic, .. } = &shared.options;
    let activity = Activity::default();
    let io = TokioIo::new(Taken::new(io, activity.clone(), *stall_timeout));
    let service = Introduce { service, peer, activity: activity.clone() };
    let mut connection = std::pin::pin!(shared.http.serve_connection_with_upgrades(io, service));
    let mut look = std::pin::pin!(sleep(*head_timeout));
    let mut leave = std::pin::pin!(leave);
    let mut begun = 0;
    let mut draining = false;
    loop {
        tokio::select! {
            // In this order: a connection that has to go says so in the answer that it is about to write.
            biased;
            () = shared.cut.cancelled() => return,
            () = shared.stop.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = leave.as_mut(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    traffic.broken();
                    tracing::debug!(%addr, error, "connection ended");
                }
                return;
            }
            // hyper's own timer starts only once it knows the protocol, and h2 has none: this one covers a client that says nothing,
            // and one that only keeps the connection open.
            () = look.as_mut(), if !draining => {
                let now = activity.begun();
                if now == 0 {
                    traffic.silent();
                    return;
                }
                if now == begun && activity.is_idle() {
                    traffic.idle();
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                begun = now;
                look.as_mut().reset(Instant::now() + *idle_timeout);
            }
        }
    }
}

/// Puts the [`Peer`] into each request and counts it.
struct Introduce<S> {
    service: S,
    peer: Peer,
    activity: Activity,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Introduce<S>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    B: http_body::Body,
{
    type Response = Response<Answered<B>>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let open = self.activity.begin();
        request.extensions_mut().insert(self.peer.clone());
        Answer::new(self.service.call(request), open)
    }
}
