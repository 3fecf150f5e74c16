//! What a listener serves, one set after the other: each published set is a generation, and every connection belongs to the one
//! that let it in. A generation that let in more than the newest one would is left: its connections are asked to go and then cut.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use paddock_tls_profile::{DRAIN_SECONDS, Effective};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Certificate, Tls, TlsError};
use crate::metrics::TlsMetrics;

/// The TLS material of a listener, replaceable while it serves. Every new connection reads it once; connections that are
/// already open keep what they were made with, unless the new material would not have let them in.
#[derive(Clone, Debug)]
pub struct TlsSource(Arc<Source>);

pub(crate) struct Source {
    current: ArcSwap<Generation>,
    /// Every generation that still has connections, oldest first, the current one last. Also the lock of those who publish.
    live: Mutex<Vec<Weak<Generation>>>,
    metrics: TlsMetrics,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("current", &self.current.load().number).finish_non_exhaustive()
    }
}

/// One published set, and the connections that it let in.
#[derive(Debug)]
pub(crate) struct Generation {
    number: u64,
    pub(crate) tls: Tls,
    connections: AtomicUsize,
    /// Set before `leave` is cancelled: read on every read and write, where the token's lock would cost too much.
    leaving: AtomicBool,
    leave: CancellationToken,
    drain: OnceLock<Duration>,
}

/// The connections of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    /// Counts what a listener published since it started, from 1.
    pub generation: u64,
    /// Connections that are open.
    pub connections: usize,
    /// Whether they have been asked to go.
    pub leaving: bool,
}

impl TlsSource {
    /// A source that serves `tls` until something else is put in.
    pub fn new(tls: Tls) -> Self {
        Self::counted(tls, TlsMetrics::default())
    }

    /// The same, counting its handshakes and connections in `metrics`.
    pub fn counted(tls: Tls, metrics: TlsMetrics) -> Self {
        let first = Arc::new(Generation::new(1, tls));
        let live = Mutex::new(vec![Arc::downgrade(&first)]);
        let source = Self(Arc::new(Source { current: ArcSwap::new(first), live, metrics }));
        source.0.metrics.observe(Arc::downgrade(&source.0));
        source
    }

    /// Serves `tls` from the next connection on, certificate and profile together. Session tickets of the old material are void.
    /// Connections that `tls` would not have let in are asked to go at once, and are cut after [`DRAIN_SECONDS`].
    pub fn replace(&self, tls: Tls) {
        self.publish(tls, Duration::from_secs(u64::from(DRAIN_SECONDS)));
    }

    /// As [`TlsSource::replace`], with another deadline for connections that have to go. Returns the new generation's number.
    pub fn publish(&self, tls: Tls, drain: Duration) -> u64 {
        self.publish_under(&mut self.live(), tls, drain)
    }

    /// Serves another profile with the certificate that is presented now.
    ///
    /// # Errors
    /// As [`Tls::new`]; what was served goes on being served.
    pub fn set_profile(&self, effective: Effective, drain: Duration) -> Result<u64, TlsError> {
        let mut live = self.live();
        let tls = Tls::new(self.0.current.load().tls.certificate().clone(), effective)?;
        Ok(self.publish_under(&mut live, tls, drain))
    }

    /// Presents another certificate with the profile that is served now.
    ///
    /// # Errors
    /// As [`Tls::new`]; what was served goes on being served.
    pub fn set_certificate(&self, certificate: Certificate) -> Result<u64, TlsError> {
        let mut live = self.live();
        let tls = Tls::new(certificate, self.0.current.load().tls.effective().clone())?;
        Ok(self.publish_under(&mut live, tls, Duration::from_secs(u64::from(DRAIN_SECONDS))))
    }

    fn publish_under(&self, live: &mut Vec<Weak<Generation>>, tls: Tls, drain: Duration) -> u64 {
        let number = self.0.current.load().number.saturating_add(1);
        let newest = Arc::new(Generation::new(number, tls));
        self.0.current.store(newest.clone());
        live.retain(|generation| {
            let Some(generation) = generation.upgrade() else { return false };
            if !newest.tls.admits_all_of(&generation.tls) {
                generation.retire(drain);
            }
            true
        });
        live.push(Arc::downgrade(&newest));
        number
    }

    /// How many connections each generation has, oldest first; the last one is served to new connections.
    pub fn population(&self) -> Vec<Population> {
        self.0.population()
    }

    /// What is served to the next connection.
    pub fn served(&self) -> Tls {
        self.0.current.load().tls.clone()
    }

    /// Whether just this is served already.
    pub(crate) fn serves(&self, certificate: &Certificate, effective: &Effective) -> bool {
        let current = self.0.current.load();
        current.tls.certificate().is_same(certificate) && current.tls.effective() == effective
    }

    /// The number of what is served to the next connection.
    pub fn generation(&self) -> u64 {
        self.0.current.load().number
    }

    pub(crate) fn current(&self) -> Arc<Generation> {
        self.0.current.load_full()
    }

    pub(crate) fn metrics(&self) -> &TlsMetrics {
        &self.0.metrics
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Generation>>> {
        self.0.live()
    }
}

impl Source {
    pub(crate) fn population(&self) -> Vec<Population> {
        let mut live = self.live();
        live.retain(|generation| generation.strong_count() > 0);
        let count = |generation: Arc<Generation>| Population {
            generation: generation.number,
            connections: generation.connections.load(Ordering::Relaxed),
            leaving: generation.leaving.load(Ordering::Relaxed),
        };
        live.iter().filter_map(Weak::upgrade).map(count).collect()
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Generation>>> {
        // Every change under this lock is complete at each step; a panic leaves nothing half done.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    fn new(number: u64, tls: Tls) -> Self {
        Self {
            number,
            tls,
            connections: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
            leave: CancellationToken::new(),
            drain: OnceLock::new(),
        }
    }

    fn retire(&self, drain: Duration) {
        // The first deadline holds: a second tightening does not give more time.
        let _ = self.drain.set(drain);
        self.leaving.store(true, Ordering::Relaxed);
        self.leave.cancel();
    }

    /// Resolves when the connections of this generation have to go.
    pub(crate) async fn left(&self) {
        self.leave.cancelled().await;
    }
}

/// A connection that its generation holds: it counts, and it is cut when the generation's time is up, also when it was upgraded
/// to something else than HTTP.
pub(crate) struct Held<I> {
    io: I,
    generation: Arc<Generation>,
    leave: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: Option<Pin<Box<Sleep>>>,
}

impl<I> Held<I> {
    pub(crate) fn new(io: I, generation: Arc<Generation>) -> Self {
        generation.connections.fetch_add(1, Ordering::Relaxed);
        let leave = Box::pin(generation.leave.clone().cancelled_owned());
        Self { io, generation, leave, cut: None }
    }

    /// Ready when the connection is to be cut.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.cut {
                Some(cut) => return cut.as_mut().poll(cx),
                None => {
                    ready!(self.leave.as_mut().poll(cx));
                    self.cut = Some(Box::pin(sleep(self.generation.drain.get().copied().unwrap_or_default())));
                }
            }
        }
    }

    /// Whether a busy connection's time is up. Costs one load as long as the generation is not left.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.generation.leaving.load(Ordering::Relaxed) && self.poll_cut(cx).is_ready()
    }
}

impl<I> Drop for Held<I> {
    fn drop(&mut self) {
        self.generation.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the TLS profile no longer lets this connection in")
}

impl<I: AsyncRead + Unpin> AsyncRead for Held<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(over()));
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        // Whoever waits for the client waits for the deadline too.
        if read.is_pending() && self.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(over()));
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Held<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_over(cx) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
