//! Where a node plugs in: what the server asks of the machine that runs a pod. Touches nothing; a node is somebody else's.
//!
//! The server authenticates, authorises and admits a request for logs, exec, attach or port-forward, looks up the pod and
//! its node, speaks the wire protocol, and hands bytes on. What the bytes mean is the node's.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::status::Status;

/// The reading end of a stream between a client and a container. It ends when the other side has no more to say.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// The writing end. Dropping it ends the stream.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Both directions of a connection to a port of a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// One container of a pod that is bound to the node.
#[derive(Clone, Debug)]
pub struct Target {
    /// The pod as it is stored now.
    pub pod: Arc<Value>,
    /// A container of it: init and ephemeral ones count. For port-forward it is empty.
    pub container: String,
}

impl Target {
    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// The pod's uid: names come back, uids do not.
    pub fn uid(&self) -> &str {
        self.metadata("uid")
    }

    fn metadata(&self, field: &str) -> &str {
        self.pod["metadata"][field].as_str().unwrap_or_default()
    }
}

/// Which of a container's outputs a log shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStream {
    /// Both, as they came.
    #[default]
    All,
    /// Standard output alone.
    Stdout,
    /// Standard error alone.
    Stderr,
}

/// `PodLogOptions`. All of them hold at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on when the end is reached, until the container ends.
    pub follow: bool,
    /// The log of the container's incarnation before this one.
    pub previous: bool,
    /// Begin each line with its time (RFC 3339, nanoseconds) and a space.
    pub timestamps: bool,
    /// At most this many lines from the end.
    pub tail_lines: Option<u64>,
    /// At most this many bytes; the last line may be cut.
    pub limit_bytes: Option<u64>,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Which output.
    pub stream: LogStream,
}

/// Size of a client's terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// What a client is connected with. What it did not ask for is `None`.
pub struct Streams {
    /// What the client types.
    pub stdin: Option<Reader>,
    /// Standard output; with a terminal everything.
    pub stdout: Option<Writer>,
    /// Standard error; never with a terminal.
    pub stderr: Option<Writer>,
    /// Whether the container gets a terminal.
    pub tty: bool,
    /// New sizes of the client's terminal; the channel ends with the client.
    pub resize: mpsc::Receiver<TerminalSize>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; a signal is 128 and its number, as shells say it.
    pub code: i32,
}

/// A node. Every future may be dropped at any time: then the client has gone, and what was started for it alone ends.
pub trait Node: Send + Sync + 'static {
    /// The log of a container.
    ///
    /// # Errors
    /// A [`Status`] for the client, such as a 400 for a container that has not started.
    fn logs<'a>(
        &'a self,
        target: &'a Target,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, io::Result<Bytes>>, Status>>;

    /// Runs a command in a container; done when the command has ended and its output is written.
    ///
    /// # Errors
    /// Why the command could not be run.
    fn exec<'a>(
        &'a self,
        target: &'a Target,
        command: Vec<String>,
        streams: Streams,
    ) -> BoxFuture<'a, Result<Exit, Status>>;

    /// Connects to a container's main process; done when that has ended or the client has no more to do.
    ///
    /// # Errors
    /// Why it cannot be connected to.
    fn attach<'a>(&'a self, target: &'a Target, streams: Streams) -> BoxFuture<'a, Result<Exit, Status>>;

    /// Connects to a TCP port of the pod on its loopback.
    ///
    /// # Errors
    /// Why there is no connection.
    fn dial<'a>(&'a self, target: &'a Target, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Connection>>>;
}

/// The nodes that are plugged in, by the name of their Node object.
#[derive(Default)]
pub(crate) struct Nodes(RwLock<HashMap<String, Arc<dyn Node>>>);

impl Nodes {
    pub(crate) fn plug_in(&self, name: String, node: Arc<dyn Node>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, node);
    }

    pub(crate) fn unplug(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<dyn Node>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
