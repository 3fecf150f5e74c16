//! The body of a request: read when the request is known to be allowed, so that who may not ask holds no memory. Bounded in
//! size and time, and all of them together in size.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::{Details, Status};

/// Largest body that is read, as in kube-apiserver (`MaxRequestBodyBytes`).
const LIMIT: usize = 3 * 1024 * 1024;
/// How long a body may take to arrive.
const TIME: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants is waited for, so that the connection can be used again: as Go's server does.
const DISCARD_LIMIT: usize = 256 * 1024;
/// And how long.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Bytes of all bodies that are held at once: twenty of the largest.
const TOGETHER: usize = 64 * 1024 * 1024;

/// Room for the bodies of requests. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    size: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(TOGETHER)
    }
}

impl Room {
    fn of(size: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(size)), size }
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.size - self.free.available_permits()
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Status> {
        let full = || {
            let text = "the bodies of other requests fill the room that there is for them, please try again later";
            let details = Details { retry_after: Some(1), ..Details::default() };
            Status::new(429, "TooManyRequests", text).with(details)
        };
        let bytes = u32::try_from(bytes).map_err(|_| full())?;
        self.free.clone().try_acquire_many_owned(bytes).map_err(|_| full())
    }
}

/// A body that was broken off.
struct Cut;

/// The body of a request. What it takes of the [`Room`] is free again when it is dropped.
pub(crate) struct RequestBody {
    body: UnsyncBoxBody<Bytes, Cut>,
    room: Option<Room>,
    held: Option<OwnedSemaphorePermit>,
}

impl RequestBody {
    /// A body that is there already.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { body: Full::new(bytes.into()).map_err(|_| Cut).boxed_unsync(), room: None, held: None }
    }

    /// A body that is still coming; `room` is where it must find its place, `None` for who shares the process.
    pub(crate) fn arriving(body: impl HttpBody<Data = Bytes> + Send + 'static, room: Option<Room>) -> Self {
        Self { body: body.map_err(|_| Cut).boxed_unsync(), room, held: None }
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 above [`LIMIT`], 408 after [`TIME`], 400 for a body that was broken off, 429 when the room is full.
    pub(crate) async fn read(&mut self) -> Result<Bytes, Status> {
        self.read_within(TIME).await
    }

    async fn read_within(&mut self, time: Duration) -> Result<Bytes, Status> {
        let late = |_| Status::new(408, "Timeout", "the body did not arrive in time");
        tokio::time::timeout(time, self.collect()).await.map_err(late)?
    }

    async fn collect(&mut self) -> Result<Bytes, Status> {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            let Ok(frame) = frame else { return Err(Status::bad_request("the body was cut off")) };
            let Ok(chunk) = frame.into_data() else { continue };
            if first.len().max(rest.len()) + chunk.len() > LIMIT {
                return Err(Status::too_large(LIMIT));
            }
            if let Some(room) = &self.room {
                let more = room.take(chunk.len())?;
                match &mut self.held {
                    Some(held) => held.merge(more),
                    held => *held = Some(more),
                }
            }
            // Most bodies come in one frame: no copy.
            if first.is_empty() && rest.is_empty() {
                first = chunk;
                continue;
            }
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }

    /// Lets pass what is left of the body. Whether that was all: if not, the connection is of no more use.
    pub(crate) async fn discard(&mut self) -> bool {
        if self.body.is_end_stream() {
            return true;
        }
        let end = async {
            let mut size = 0;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else { return false };
                size += frame.data_ref().map_or(0, Bytes::len);
                if size > DISCARD_LIMIT {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DISCARD_TIME, end).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    type Chunk = Result<Frame<Bytes>, std::io::Error>;

    fn body(chunks: impl stream::Stream<Item = Chunk> + Send + 'static) -> RequestBody {
        RequestBody::arriving(StreamBody::new(chunks), None)
    }

    fn chunk(size: usize) -> Chunk {
        Ok(Frame::data(vec![b' '; size].into()))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_read_whole() {
        let pieces = ["a", "bc", "", "d"].map(|text| Chunk::Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        assert_eq!(body(stream::iter(pieces)).read().await, Ok(Bytes::from_static(b"abcd")));
    }

    #[tokio::test]
    async fn a_body_of_the_limit_is_read() {
        let chunks = stream::iter([chunk(LIMIT - 1), chunk(1)]);
        assert_eq!(body(chunks).read().await.map(|bytes| bytes.len()), Ok(LIMIT));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_too_large() {
        let chunks = stream::repeat_with(|| chunk(65536));
        assert_eq!(body(chunks).read().await.map_err(|s| s.code), Err(413));
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let mut body = body(stream::pending());
        assert_eq!(body.read_within(Duration::ZERO).await.map_err(|s| s.code), Err(408));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_bad_request() {
        let chunks = stream::iter([chunk(1), Err(std::io::Error::other("cut"))]);
        assert_eq!(body(chunks).read().await.map_err(|s| s.code), Err(400));
    }

    #[tokio::test]
    async fn bodies_that_do_not_fit_together_are_asked_to_come_later() {
        let room = Room::of(1000);
        let arriving = |sizes: [usize; 2]| {
            RequestBody::arriving(StreamBody::new(stream::iter(sizes.map(chunk))), Some(room.clone()))
        };
        let (mut first, mut second) = (arriving([300, 300]), arriving([300, 300]));
        first.read().await.unwrap();
        let refused = second.read().await.unwrap_err();
        assert_eq!((refused.code, refused.details.unwrap().retry_after), (429, Some(1)));
    }

    #[tokio::test]
    async fn room_is_free_again_when_the_request_is_done() {
        let room = Room::of(1000);
        let mut body = RequestBody::arriving(StreamBody::new(stream::iter([chunk(600)])), Some(room.clone()));
        body.read().await.unwrap();
        let during = room.held();
        drop(body);
        assert_eq!((during, room.held()), (600, 0));
    }

    #[tokio::test]
    async fn a_small_body_that_nobody_wants_leaves_the_connection_usable() {
        assert!(body(stream::iter([chunk(1000), chunk(1000)])).discard().await);
    }

    #[tokio::test]
    async fn a_large_body_that_nobody_wants_ends_the_connection() {
        assert!(!body(stream::repeat_with(|| chunk(65536))).discard().await);
    }
}
