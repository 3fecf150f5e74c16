//! The body of a request: read when the request is known to be allowed, so that who may not ask holds no memory. Bounded in
//! size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::status::Status;

/// Largest body that is read, as in kube-apiserver (`MaxRequestBodyBytes`).
const LIMIT: usize = 3 * 1024 * 1024;
/// How long a body may take to arrive.
const TIME: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants is waited for, so that the connection can be used again: as Go's server does.
const DISCARD_LIMIT: usize = 256 * 1024;
/// And how long.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A body that was broken off.
struct Cut;

/// The body of a request.
pub(crate) struct RequestBody(UnsyncBoxBody<Bytes, Cut>);

impl RequestBody {
    /// A body that is there already.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Full::new(bytes.into()).map_err(|_| Cut).boxed_unsync())
    }

    /// A body that is still coming.
    pub(crate) fn arriving(body: impl HttpBody<Data = Bytes> + Send + 'static) -> Self {
        Self(body.map_err(|_| Cut).boxed_unsync())
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 above [`LIMIT`], 408 after [`TIME`], 400 for a body that was broken off.
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
        while let Some(frame) = self.0.frame().await {
            let Ok(frame) = frame else { return Err(Status::bad_request("the body was cut off")) };
            let Ok(chunk) = frame.into_data() else { continue };
            if first.len().max(rest.len()) + chunk.len() > LIMIT {
                return Err(Status::too_large(LIMIT));
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
        if self.0.is_end_stream() {
            return true;
        }
        let end = async {
            let mut size = 0;
            while let Some(frame) = self.0.frame().await {
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
        RequestBody::arriving(StreamBody::new(chunks))
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
    async fn a_small_body_that_nobody_wants_leaves_the_connection_usable() {
        assert!(body(stream::iter([chunk(1000), chunk(1000)])).discard().await);
    }

    #[tokio::test]
    async fn a_large_body_that_nobody_wants_ends_the_connection() {
        assert!(!body(stream::repeat_with(|| chunk(65536))).discard().await);
    }
}
