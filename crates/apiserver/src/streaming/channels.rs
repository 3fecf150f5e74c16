//! Exec and attach: one WebSocket whose messages begin with the number of a channel.

use std::future::Future;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::stream::SplitStream;
use futures::{Sink, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Mutex, mpsc};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::{CHUNK, PIPE, Socket};
use crate::node::{Exit, Streams, TerminalSize};
use crate::status::Status;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// From version 5 on: the channel that the next byte names is at its end.
const CLOSE: u8 = 255;

/// The protocols, the best first.
pub(crate) const SERVED: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
];

/// What the versions differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// Text messages: the digit of the channel, then base64.
    base64: bool,
    /// The end is told as a Status object; before version 4 errors are told as text, and success is silent.
    status: bool,
}

impl Protocol {
    /// The one of that name; no name is the first version.
    pub(crate) fn named(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default();
        Self { base64: name.contains("base64"), status: name.starts_with("v4.") || name.starts_with("v5.") }
    }

    fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            return Message::text(format!("{channel}{}", BASE64.encode(data)));
        }
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(data);
        Message::binary(message)
    }

    /// Channel and data of a message; `None` for what carries none.
    fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            _ => return None,
        };
        let channel = *data.first()?;
        let data = data.split_off(1);
        if self.base64 {
            return Some((channel.checked_sub(b'0')?, BASE64.decode(data).ok()?.into()));
        }
        Some((channel, data))
    }

    /// What the error channel says at the end.
    fn outcome(self, outcome: &Result<Exit, Status>) -> Option<Message> {
        let text = match outcome {
            Ok(Exit { code: 0 }) if self.status => json!({"metadata": {}, "status": "Success"}).to_string(),
            Ok(Exit { code: 0 }) => return None,
            Ok(Exit { code }) if self.status => non_zero(*code).to_string(),
            Ok(Exit { code }) => format!("command terminated with exit code {code}"),
            Err(status) if self.status => status.to_json().to_string(),
            Err(status) => status.message.clone(),
        };
        Some(self.encode(ERROR, text.as_bytes()))
    }
}

fn non_zero(code: i32) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit code {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// What a client wants to be connected with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

/// Connects `act` with the client until `act` is done, the client has gone, or the server closes.
pub(crate) async fn run<F>(
    socket: Socket,
    protocol: Protocol,
    wanted: Wanted,
    act: impl FnOnce(Streams) -> F,
    closing: CancellationToken,
) where
    F: Future<Output = Result<Exit, Status>>,
{
    let (mut sink, mut stream) = socket.split();
    let (stdin, typed) = pipe(wanted.stdin);
    let (shown, stdout) = pipe(wanted.stdout);
    let (complained, stderr) = pipe(wanted.stderr);
    // A size is news only until the next one; a client that sends many waits.
    let (sizes, resize) = mpsc::channel(4);
    let act = act(Streams {
        stdin: typed.map(|end| Box::pin(end) as _),
        stdout: stdout.map(|end| Box::pin(end) as _),
        stderr: stderr.map(|end| Box::pin(end) as _),
        tty: wanted.tty,
        resize,
    });
    // Tells the client that the connection stands, on the lowest channel that it reads.
    let first = [(wanted.stdout, STDOUT), (wanted.stderr, STDERR)].into_iter().find(|(wanted, _)| *wanted);
    if sink.send(protocol.encode(first.map_or(ERROR, |(_, channel)| channel), &[])).await.is_err() {
        return;
    }
    let outcome = {
        let sink = Mutex::new(&mut sink);
        let outputs = async {
            let (outcome, (), ()) =
                tokio::join!(act, show(protocol, STDOUT, shown, &sink), show(protocol, STDERR, complained, &sink));
            outcome
        };
        tokio::select! {
            () = closing.cancelled() => None,
            () = listen(&mut stream, protocol, stdin, sizes) => None,
            outcome = outputs => Some(outcome),
        }
    };
    if let Some(last) = outcome.and_then(|outcome| protocol.outcome(&outcome)) {
        let _ = sink.send(last).await;
    }
    part(sink, stream).await;
}

/// How long a client may take to say good-bye.
const PARTING: Duration = Duration::from_secs(2);

/// Closes in order: a socket that is dropped with unread bytes takes what was sent last with it.
pub(super) async fn part(mut sink: impl Sink<Message, Error = Error> + Unpin, mut stream: SplitStream<Socket>) {
    let good_bye = async {
        // Go's clients take a close without a code for an accident.
        let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        if sink.send(Message::Close(Some(normal))).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    let _ = tokio::time::timeout(PARTING, good_bye).await;
}

/// Our end and the container's.
fn pipe(wanted: bool) -> (Option<DuplexStream>, Option<DuplexStream>) {
    if wanted {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        return (Some(ours), Some(theirs));
    }
    (None, None)
}

/// Sends what comes out of the container.
async fn show<S>(protocol: Protocol, channel: u8, output: Option<DuplexStream>, sink: &Mutex<&mut S>)
where
    S: Sink<Message, Error = Error> + Unpin,
{
    let Some(mut output) = output else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = output.read(&mut buffer).await {
        if read == 0 || sink.lock().await.send(protocol.encode(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}

/// Hands on what the client sends, until it goes.
async fn listen(
    stream: &mut SplitStream<Socket>,
    protocol: Protocol,
    mut stdin: Option<DuplexStream>,
    sizes: mpsc::Sender<TerminalSize>,
) {
    while let Some(Ok(message)) = stream.next().await {
        if message.is_close() {
            return;
        }
        match protocol.decode(message) {
            Some((STDIN, data)) => {
                if let Some(open) = &mut stdin
                    && open.write_all(&data).await.is_err()
                {
                    // The command reads no more; what it writes is still wanted.
                    stdin = None;
                }
            }
            Some((RESIZE, data)) => {
                if let Ok(size) = serde_json::from_slice(&data) {
                    let _ = sizes.send(size).await;
                }
            }
            Some((CLOSE, data)) if data.first() == Some(&STDIN) => stdin = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_reads_what_it_writes() {
        for name in SERVED {
            let protocol = Protocol::named(Some(name));
            let back = protocol.decode(protocol.encode(STDOUT, b"a\0b"));
            assert_eq!(back, Some((STDOUT, Bytes::from_static(b"a\0b"))), "{name}");
        }
    }

    #[test]
    fn a_message_without_a_channel_says_nothing() {
        assert_eq!(Protocol::named(None).decode(Message::binary(Vec::new())), None);
    }

    #[test]
    fn a_base64_message_with_a_wrong_channel_says_nothing() {
        assert_eq!(Protocol::named(Some("base64.channel.k8s.io")).decode(Message::text("!")), None);
    }

    #[test]
    fn an_exit_code_is_a_cause_of_the_status() {
        let message = Protocol::named(Some("v5.channel.k8s.io")).outcome(&Ok(Exit { code: 7 })).unwrap();
        let status: Value = serde_json::from_slice(&message.into_data()[1..]).unwrap();
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
    }

    #[test]
    fn before_version_four_success_is_silent() {
        assert_eq!(Protocol::named(Some("channel.k8s.io")).outcome(&Ok(Exit { code: 0 })), None);
    }
}
