//! Port-forward in channels, as kube-rs and the Python client speak it: for each port of the request a channel of data and
//! one of errors, each of which begins with the port's number (little-endian).

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::channels::part;
use super::{CHUNK, Socket};
use crate::node::{Node, Target};
use crate::status::Status;

/// The protocols, the best first.
pub(crate) const SERVED: &[&str] = &[super::tunnel::PROTOCOL, "v4.channel.k8s.io", "channel.k8s.io"];

/// Ports of one request: channels are numbered by a byte.
const PORTS: usize = 127;

/// The ports of a query such as `ports=80,81&ports=82`.
///
/// # Errors
/// 400 for none, too many, or what is no port.
pub(crate) fn ports<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<u16>, Status> {
    let parse = |text: &str| {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| Status::bad_request(format!("{text:?} is no port: a number from 1 to 65535")))
    };
    let ports: Vec<u16> = values.flat_map(|value| value.split(',')).map(parse).collect::<Result<_, _>>()?;
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"ports\" is required")),
        n if n > PORTS => Err(Status::bad_request(format!("at most {PORTS} ports can be forwarded at once"))),
        _ => Ok(ports),
    }
}

/// Messages that wait for the socket, over all ports.
const OUTBOX: usize = 8;
/// Messages that wait for a port.
const INBOX: usize = 8;

/// Connects each port of the pod with its channels until the client has gone or the server closes.
pub(crate) async fn run(
    socket: Socket,
    node: Arc<dyn Node>,
    target: Target,
    ports: Vec<u16>,
    closing: CancellationToken,
) {
    let (mut sink, mut stream) = socket.split();
    let (outbox, mut to_send) = mpsc::channel::<Message>(OUTBOX);
    let mut inboxes = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (index, port) in ports.into_iter().enumerate() {
        let (inbox, received) = mpsc::channel(INBOX);
        inboxes.push(inbox);
        let data = u8::try_from(index * 2).unwrap_or(u8::MAX);
        tasks.spawn(forward(node.clone(), target.clone(), port, data, received, outbox.clone()));
    }
    drop(outbox);
    let sending = async {
        while let Some(message) = to_send.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        // All ports are done; the client may still want to know, and closes.
        std::future::pending::<()>().await;
    };
    let listening = async {
        while let Some(Ok(message)) = stream.next().await {
            let mut data = match message {
                Message::Binary(data) => data,
                Message::Close(_) => return,
                _ => continue,
            };
            let Some(channel) = data.first().copied() else { continue };
            // Nobody writes to a channel of errors.
            if channel % 2 == 0
                && let Some(inbox) = inboxes.get(usize::from(channel / 2))
            {
                let _ = inbox.send(data.split_off(1)).await;
            }
        }
    };
    tokio::select! {
        () = closing.cancelled() => {}
        () = listening => {}
        () = sending => {}
    }
    drop(tasks);
    part(sink, stream).await;
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut message = Vec::with_capacity(data.len() + 1);
    message.push(channel);
    message.extend_from_slice(data);
    Message::binary(message)
}

async fn forward(
    node: Arc<dyn Node>,
    target: Target,
    port: u16,
    data: u8,
    mut received: mpsc::Receiver<bytes::Bytes>,
    outbox: mpsc::Sender<Message>,
) {
    let error = data.saturating_add(1);
    for channel in [data, error] {
        if outbox.send(message(channel, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let connection = match node.dial(&target, port).await {
        Ok(connection) => connection,
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {}: {why}", target.name());
            let _ = outbox.send(message(error, text.as_bytes())).await;
            return;
        }
    };
    let (mut reader, mut writer) = tokio::io::split(connection);
    let down = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            if outbox.send(message(data, &buffer[..read])).await.is_err() {
                return;
            }
        }
    };
    let up = async {
        while let Some(bytes) = received.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    tokio::join!(down, up);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_or_repeated() {
        assert_eq!(ports(["80,81", "82"].into_iter()), Ok(vec![80, 81, 82]));
    }

    #[test]
    fn what_is_no_port_is_named() {
        for wrong in ["0", "65536", "x", ""] {
            assert_eq!(ports([wrong].into_iter()).map_err(|s| s.code), Err(400), "{wrong}");
        }
    }

    #[test]
    fn no_port_is_an_error() {
        assert!(ports(std::iter::empty()).is_err());
    }
}
