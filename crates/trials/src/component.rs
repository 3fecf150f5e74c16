//! A component as far as the network sees it: a listener of Paddock's own under a start-up directory, which it follows. Touches loopback
//! and reads the directory.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use paddock_serve::{Listener, Options, Startup, StartupOptions, TlsMetrics, serve};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Serves until it is dropped; to every request it answers nothing.
#[derive(Debug)]
pub struct Running {
    /// What it serves and why.
    pub startup: Startup,
    /// Where it listens.
    pub address: SocketAddr,
    _stop: DropGuard,
}

impl Running {
    /// Loads the directory and listens at `address`; port 0 is any.
    ///
    /// # Errors
    /// When nothing valid is in the directory in time, or the address cannot be had.
    pub async fn start(options: StartupOptions, address: SocketAddr) -> io::Result<Self> {
        let startup = Startup::new(options, TlsMetrics::default());
        startup.load().await.map_err(io::Error::other)?;
        let (listener, stop) = (Listener::bind(address).await?, CancellationToken::new());
        let address = listener.local_addr();
        let service = hyper::service::service_fn(async |_: http::Request<hyper::body::Incoming>| {
            Ok::<_, Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
        });
        tokio::spawn(serve(listener, startup.source(), service, Options::default(), stop.clone()));
        let (watching, until) = (startup.clone(), stop.clone());
        tokio::spawn(async move { watching.watch(until).await });
        Ok(Self { startup, address, _stop: stop.drop_guard() })
    }
}
