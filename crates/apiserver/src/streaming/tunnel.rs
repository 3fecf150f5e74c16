//! Port-forward as kubectl speaks it (KEP-4006): a SPDY connection inside a WebSocket. Each connection to a port is two
//! streams that a request id ties together, one of data and one of errors.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::channels::part;
use super::spdy::{self, Decoder, Encoder, Frame};
use super::{CHUNK, Socket};
use crate::node::{Node, Target};

/// The name of this protocol.
pub(crate) const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// Streams of one connection; two for each connection to a port.
const STREAMS: usize = 512;
/// Frames that wait for the socket, over all streams.
const OUTBOX: usize = 8;
/// Chunks that wait for a port. A port that does not read makes the connection wait, as on a real kubelet.
const INBOX: usize = 64;

/// One half of a connection to a port whose other half has not come yet.
struct Half {
    error: Option<u32>,
    data: Option<u32>,
    port: u16,
}

/// Serves the tunnel until the client has gone or the server closes.
pub(crate) async fn run(socket: Socket, node: Arc<dyn Node>, target: Target, closing: CancellationToken) {
    let (mut sink, mut stream) = socket.split();
    let (outbox, mut to_send) = mpsc::channel::<Bytes>(OUTBOX);
    let sending = async {
        while let Some(frame) = to_send.recv().await {
            if sink.send(Message::Binary(frame)).await.is_err() {
                return;
            }
        }
    };
    let mut tunnel = Tunnel {
        node,
        target,
        outbox,
        encoder: Encoder::new(),
        halves: HashMap::new(),
        streams: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let listening = async {
        let mut decoder = Decoder::new();
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) => decoder.push(&bytes),
                Message::Close(_) => return,
                _ => continue,
            }
            loop {
                match decoder.next() {
                    Ok(Some(Frame::GoAway)) => return,
                    Ok(Some(frame)) => tunnel.on(frame).await,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "a port-forward speaks no SPDY");
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = closing.cancelled() => {}
        () = listening => {}
        () = sending => {}
    }
    drop(tunnel);
    part(sink, stream).await;
}

struct Tunnel {
    node: Arc<dyn Node>,
    target: Target,
    outbox: mpsc::Sender<Bytes>,
    encoder: Encoder,
    /// By request id.
    halves: HashMap<String, Half>,
    /// Every open stream; those of data have somebody who wants their bytes.
    streams: HashMap<u32, Option<mpsc::Sender<Bytes>>>,
    tasks: JoinSet<(u32, u32)>,
}

impl Tunnel {
    async fn on(&mut self, frame: Frame) {
        while let Some(Ok((error, data))) = self.tasks.try_join_next() {
            self.streams.remove(&error);
            self.streams.remove(&data);
        }
        match frame {
            Frame::Open { stream, headers, fin } => self.open(stream, &headers, fin).await,
            Frame::Data { stream, data, fin } => {
                if let Some(Some(inbox)) = self.streams.get(&stream)
                    && !data.is_empty()
                {
                    let _ = inbox.send(data).await;
                }
                if fin && let Some(inbox) = self.streams.get_mut(&stream) {
                    // The port's end of it sees the end of the file.
                    *inbox = None;
                }
            }
            Frame::Reset { stream } => {
                self.streams.remove(&stream);
                self.halves.retain(|_, half| half.error != Some(stream) && half.data != Some(stream));
            }
            Frame::Ping { id } => {
                let _ = self.outbox.send(spdy::ping(id)).await;
            }
            Frame::GoAway | Frame::Other => {}
        }
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)], fin: bool) {
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let port = header("port").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
        let kind = header("streamtype").filter(|kind| matches!(*kind, "data" | "error"));
        // kubectl of old sends no id: then the streams come in pairs of one after the other.
        let id = header("requestid").map_or_else(|| (stream.saturating_sub(1) / 4).to_string(), str::to_owned);
        let taken = self.streams.len() >= STREAMS || self.streams.contains_key(&stream);
        let (Some(port), Some(kind), false) = (port, kind, taken) else {
            let _ = self.outbox.send(spdy::reset(stream, true)).await;
            return;
        };
        let _ = self.outbox.send(self.encoder.reply(stream)).await;
        self.streams.insert(stream, None);
        let half = self.halves.entry(id.clone()).or_insert(Half { error: None, data: None, port });
        let place = if kind == "data" { &mut half.data } else { &mut half.error };
        *place = Some(stream);
        if let (Some(error), Some(data), port) = (half.error, half.data, half.port) {
            self.halves.remove(&id);
            let (inbox, received) = mpsc::channel(INBOX);
            self.streams.insert(data, (kind == "error" || !fin).then_some(inbox));
            let (node, target, outbox) = (self.node.clone(), self.target.clone(), self.outbox.clone());
            self.tasks.spawn(async move {
                forward(node, target, port, data, error, received, outbox).await;
                (error, data)
            });
        }
    }
}

async fn forward(
    node: Arc<dyn Node>,
    target: Target,
    port: u16,
    data: u32,
    error: u32,
    mut received: mpsc::Receiver<Bytes>,
    outbox: mpsc::Sender<Bytes>,
) {
    match node.dial(&target, port).await {
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {}: {why}", target.name());
            let _ = outbox.send(spdy::data(error, text.as_bytes(), true)).await;
            let _ = outbox.send(spdy::data(data, &[], true)).await;
        }
        Ok(connection) => {
            let (mut reader, mut writer) = tokio::io::split(connection);
            let down = async {
                let mut buffer = vec![0; CHUNK];
                while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                    if outbox.send(spdy::data(data, &buffer[..read], false)).await.is_err() {
                        return;
                    }
                }
                let _ = outbox.send(spdy::data(data, &[], true)).await;
                let _ = outbox.send(spdy::data(error, &[], true)).await;
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
    }
}
