//! Connections to running containers: exec, attach and port-forward over WebSocket, as kubectl 1.31 and newer, kube-rs and
//! the Python client speak them.
//!
//! | module | what it is for | touches |
//! |---|---|---|
//! | `handshake` | which protocol a client asks for, and the answer to it | nothing |
//! | `channels` | exec and attach: numbered channels in one WebSocket | the socket it is given |
//! | `forward` | port-forward: two channels for each port | the socket it is given |
//! | `spdy`, `tunnel` | port-forward as kubectl speaks it: SPDY/3.1 frames inside a WebSocket | `spdy` nothing, `tunnel` the socket it is given |
//!
//! The wire is Kubernetes' own (`k8s.io/apimachinery/pkg/util/remotecommand` and `portforward`, KEP-4006). Bare SPDY is
//! not served.

pub(crate) mod channels;
pub(crate) mod forward;
pub(crate) mod handshake;
pub(crate) mod spdy;
pub(crate) mod tunnel;

use futures::future::BoxFuture;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// A client's WebSocket.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What goes on once the client has its 101.
pub(crate) struct Session {
    /// `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// `Sec-WebSocket-Protocol`; `None` when the client named none.
    pub(crate) protocol: Option<&'static str>,
    /// Runs until either side has had enough.
    pub(crate) run: Box<dyn FnOnce(Socket) -> BoxFuture<'static, ()> + Send>,
}

/// Largest message that is taken: clients send 32 KiB at once.
const MESSAGE: usize = 1024 * 1024;
/// Bytes on their way between a client and a container, per direction and stream; then the faster side waits.
const PIPE: usize = 64 * 1024;
/// Bytes of output in one message.
const CHUNK: usize = 32 * 1024;

/// The server's end of a WebSocket whose handshake is done.
pub(crate) async fn socket(upgraded: Upgraded) -> Socket {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}
