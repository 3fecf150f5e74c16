//! One offer over one connection: connect, send, read the answer, each within a deadline. No more connections at a time than
//! allowed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::{Answer, Nonsense, Offer, Reader};

/// How hard a server may be asked, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one handshake may take, from the first packet on. Default: 5 seconds.
    pub handshake: Duration,
    /// How long a whole scan may take. Default: 2 minutes.
    pub whole: Duration,
    /// How many connections may be open at once. Default: 4.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(5), whole: Duration::from_secs(120), connections: 4 }
    }
}

/// Why it could not be determined what a server accepts.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    /// No answer in time; what is refused is answered.
    #[error("{0} did not answer a ClientHello within {1:?}")]
    Silent(SocketAddr, Duration),
    /// The scan took too long.
    #[error("{0} could not be scanned within {1:?}")]
    Slow(SocketAddr, Duration),
    /// What it answers is no TLS.
    #[error("{0}: {1}")]
    Nonsense(SocketAddr, #[source] Nonsense),
    /// Every offer was refused.
    #[error(
        "{0} refuses every version of TLS with every cipher suite: it may want another server name, or a client of its own kind"
    )]
    Nothing(SocketAddr),
}

/// A server to ask, and how.
#[derive(Debug)]
pub struct Dialer {
    address: SocketAddr,
    server_name: Option<String>,
    limits: Limits,
    permits: Semaphore,
}

impl Dialer {
    /// Asks the server at `address` under a name, or under none: names are for servers that have several certificates.
    pub fn new(address: SocketAddr, server_name: Option<String>, limits: Limits) -> Self {
        Self { address, server_name, limits, permits: Semaphore::new(limits.connections.max(1)) }
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// A place among the connections that may be open at once.
    pub(crate) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.permits.acquire().await.ok()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes an offer and reads the answer.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or none that is TLS. A refusal is an answer.
    pub async fn ask(&self, offer: &Offer) -> Result<Answer, Trouble> {
        let _permit = self.permit().await;
        let hello = Offer { server_name: self.server_name.clone(), ..offer.clone() }.encode(rand::random());
        match timeout(self.limits.handshake, self.exchange(&hello)).await {
            Ok(answer) => answer,
            Err(_) => Err(Trouble::Silent(self.address, self.limits.handshake)),
        }
    }

    async fn exchange(&self, hello: &[u8]) -> Result<Answer, Trouble> {
        let unreachable = |error| Trouble::Unreachable(self.address, error);
        let mut stream = TcpStream::connect(self.address).await.map_err(unreachable)?;
        let mut reader = Reader::new();
        match stream.write_all(hello).await {
            Err(error) if is_closed(&error) => {} // what it said before may still be there to read
            Err(error) => return Err(unreachable(error)),
            Ok(()) => {}
        }
        let mut buffer = [0; 4096];
        loop {
            let count = match stream.read(&mut buffer).await {
                Ok(0) => return Ok(reader.end()),
                Ok(count) => count,
                Err(error) if is_closed(&error) => return Ok(reader.end()),
                Err(error) => return Err(unreachable(error)),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if let Some(answer) = reader.feed(bytes).map_err(|nonsense| self.nonsense(nonsense))? {
                return Ok(answer);
            }
        }
    }

    pub(crate) fn nonsense(&self, nonsense: Nonsense) -> Trouble {
        Trouble::Nonsense(self.address, nonsense)
    }
}

/// Servers also refuse by ending the connection.
fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}
