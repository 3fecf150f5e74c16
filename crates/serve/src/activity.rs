//! What goes on on one connection: which requests run, which answers are streams, and whether the peer takes what it is sent. Tells
//! a connection that nobody uses, and one whose peer only makes others hold memory, from one that waits for news. Touches the
//! connection's bytes on their way through.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Counters of one connection. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// Requests that began, ever.
    begun: AtomicUsize,
    /// Requests whose answer is not handed over yet.
    open: AtomicUsize,
    /// Those of them whose answer may have no end: watches, logs, sessions. A body that has an upper bound ends, however long it is.
    streams: AtomicUsize,
}

impl Activity {
    /// Requests that began until now.
    pub(crate) fn begun(&self) -> usize {
        self.0.begun.load(Relaxed)
    }

    /// Whether no request runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.open.load(Relaxed) == 0
    }

    /// A request begins.
    pub(crate) fn begin(&self) -> Open {
        self.0.begun.fetch_add(1, Relaxed);
        self.0.open.fetch_add(1, Relaxed);
        Open { activity: self.clone(), stream: false }
    }
}

/// A request that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    activity: Activity,
    stream: bool,
}

impl Open {
    fn streams(&mut self) {
        self.stream = true;
        self.activity.0.streams.fetch_add(1, Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Counters { open, streams, .. } = &*self.activity.0;
        open.fetch_sub(1, Relaxed);
        if self.stream {
            streams.fetch_sub(1, Relaxed);
        }
    }
}

pin_project! {
    /// A service's future; its answer carries the request's [`Open`].
    pub(crate) struct Answer<F> {
        #[pin]
        future: F,
        open: Option<Open>,
    }
}

impl<F> Answer<F> {
    pub(crate) fn new(future: F, open: Open) -> Self {
        Self { future, open: Some(open) }
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<Answered<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let mut open = this.open.take();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // From here on the connection is one stream, until it is closed.
            if let Some(mut open) = open.take() {
                open.streams();
                std::mem::forget(open);
            }
        } else if response.body().size_hint().upper().is_none() {
            open.iter_mut().for_each(Open::streams);
        }
        Poll::Ready(Ok(response.map(|body| Answered { body, _open: open })))
    }
}

pin_project! {
    /// The body of an answer, open until it is dropped.
    pub(crate) struct Answered<B> {
        #[pin]
        body: B,
        _open: Option<Open>,
    }
}

impl<B: Body> Body for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose peer must take what it is sent: when it takes not a byte for `limit` and no stream is open, writing fails with
/// `TimedOut`. A stream may wait for as long as its reader likes: it holds no more than its own bound.
#[derive(Debug)]
pub(crate) struct Taken<I> {
    io: I,
    activity: Activity,
    limit: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> Taken<I> {
    pub(crate) fn new(io: I, activity: Activity, limit: Duration) -> Self {
        Self { io, activity, limit, stalled: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        if self.activity.0.streams.load(Relaxed) > 0 {
            // Asked again when that has changed or another limit has passed.
            stalled.as_mut().reset(tokio::time::Instant::now() + limit);
            let _ = stalled.as_mut().poll(cx);
            return Poll::Pending;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not take what it is sent")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Taken<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Taken<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use http_body_util::{Full, Limited, StreamBody};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn answered<B: Body>(activity: &Activity, body: B) -> Answered<B> {
        let ready = std::future::ready(Ok::<_, io::Error>(Response::new(body)));
        Answer::new(ready, activity.begin()).await.unwrap().into_body()
    }

    fn endless() -> impl Body<Data = Bytes, Error = io::Error> {
        StreamBody::new(stream::pending::<Result<Frame<Bytes>, io::Error>>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let mut taken = Taken::new(ours, Activity::default(), LIMIT);
        let error = taken.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_waited_for_as_long_as_it_takes_something() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut taken = Taken::new(ours, Activity::default(), LIMIT);
        let slow = async {
            for _ in 0..9 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                theirs.read_exact(&mut [0; 8]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(taken.write_all(&[0; 72]), slow);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_of_a_stream_may_pause() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let activity = Activity::default();
        let _watch = answered(&activity, endless()).await;
        let mut taken = Taken::new(ours, activity, LIMIT);
        let paused = async {
            sleep(10 * LIMIT).await;
            theirs.read_exact(&mut [0; 9]).await.unwrap();
        };
        let (written, ()) = tokio::join!(taken.write_all(&[0; 9]), paused);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_of_what_has_an_end_may_not_pause() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let activity = Activity::default();
        // Its length is not known, only that it has one.
        let _list = answered(&activity, Limited::new(endless(), 1000)).await;
        let mut taken = Taken::new(ours, activity, LIMIT);
        let written = tokio::time::timeout(2 * LIMIT, taken.write_all(&[0; 9])).await.expect("it is given up in time");
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_when_its_last_stream_ends() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let activity = Activity::default();
        let watch = answered(&activity, endless()).await;
        let mut taken = Taken::new(ours, activity, LIMIT);
        let end = async {
            sleep(2 * LIMIT).await;
            drop(watch);
        };
        let (written, ()) = tokio::join!(taken.write_all(&[0; 9]), end);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_every_answer_is_handed_over() {
        let activity = Activity::default();
        let body = answered(&activity, Full::new(Bytes::from_static(b"a"))).await;
        let before = activity.is_idle();
        drop(body);
        assert_eq!((before, activity.is_idle(), activity.begun()), (false, true, 1));
    }

    #[tokio::test]
    async fn a_switched_connection_stays_a_stream() {
        let activity = Activity::default();
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        drop(Answer::new(std::future::ready(Ok::<_, io::Error>(response)), activity.begin()).await);
        assert_eq!((activity.is_idle(), activity.0.streams.load(Relaxed)), (false, 1));
    }
}
