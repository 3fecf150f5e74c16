//! The client of every measurement, made to cost as little as can be, since it shares the cores with what it measures: requests
//! are prepared bytes, answers are read only as far as it takes to find their end. HTTP/1.1 keep-alive over TLS; h2 through hyper,
//! which costs the client more.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server::failed;
use crate::exit::Failure;

/// Room that is made for one read.
const READ: usize = 32 * 1024;

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Dial {
    authority: String,
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
    /// The whole header line of a bearer token, or nothing.
    authorization: String,
}

impl Dial {
    /// As the kubeconfig's current context says.
    pub(crate) async fn of(kubeconfig: &Path) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| failed(format!("{}: {error}", kubeconfig.display()));
        let read = Kubeconfig::read_from(kubeconfig).map_err(|e| bad(&e))?;
        let mut config =
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(|e| bad(&e))?;
        let host = config.cluster_url.host().ok_or_else(|| bad(&"the server has no host"))?.to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let name = config.tls_server_name.take().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
        let mut tls = config.rustls_client_config().map_err(|e| bad(&e))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let h2 = Arc::new(tls.clone());
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let token = serde_json::to_value(&config.auth_info).map_err(|e| bad(&e))?;
        let authorization = match token.get("token").and_then(Value::as_str) {
            Some(token) => format!("authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        Ok(Self {
            authority: format!("{host}:{port}"),
            name: ServerName::try_from(name).map_err(|e| bad(&e))?,
            http1: Arc::new(tls),
            h2,
            authorization,
        })
    }

    async fn stream(&self, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Failure> {
        let stream = TcpStream::connect(&self.authority).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        TlsConnector::from(tls.clone()).connect(self.name.clone(), stream).await.map_err(failed)
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = self.stream(&self.http1).await?;
        Ok(Connection { stream, buffer: Vec::with_capacity(READ), used: 0 })
    }

    pub(crate) async fn connect_h2(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TokioIo::new(self.stream(&self.h2).await?);
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024)
            .handshake(stream)
            .await
            .map_err(failed)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Begins a GET over h2 and gives its body.
    pub(crate) async fn get_h2(&self, sender: &mut SendRequest<Full<Bytes>>, path: &str) -> Result<Incoming, Failure> {
        let request = over_h2(&self.get(path)).ok_or_else(|| failed(format!("{path} is no path")))?;
        let response = sender.send_request(request).await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(failed(format!("the server answered {}", response.status())));
        }
        Ok(response.into_body())
    }

    /// A request as it goes over the wire.
    pub(crate) fn request(&self, method: &str, path: &str, media: &str, body: &str) -> Vec<u8> {
        let Self { authority, authorization, .. } = self;
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\n{authorization}content-type: {media}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let Self { authority, authorization, .. } = self;
        format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n{authorization}\r\n").into_bytes()
    }
}

/// Where a worker of a load sends its requests.
pub(crate) enum Way {
    /// A connection of its own.
    Http1(Box<Connection>),
    /// A stream of a connection that all workers share.
    H2(SendRequest<Full<Bytes>>),
}

impl Way {
    /// Sends a request of [`Dial::request`] or [`Dial::get`] and reads its whole answer, which must be a success.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(), Failure> {
        let sender = match self {
            Self::Http1(connection) => return connection.exchange(request).await.map(drop),
            Self::H2(sender) => sender,
        };
        let request = over_h2(request).ok_or_else(|| failed("a prepared request cannot be read"))?;
        let response = sender.send_request(request).await.map_err(failed)?;
        let code = response.status();
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        if !code.is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(600).collect();
            return Err(failed(format!("the server answered {code}: {text}")));
        }
        Ok(())
    }
}

/// A prepared request, as h2 has it.
fn over_h2(bytes: &[u8]) -> Option<Request<Full<Bytes>>> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(bytes.get(..end)?).ok()?.lines();
    let (method, target) = lines.next()?.strip_suffix(" HTTP/1.1")?.split_once(' ')?;
    let mut request = Request::builder().method(method);
    let mut authority = "";
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name {
            "host" => authority = value,
            "content-length" => {}
            _ => request = request.header(name, value),
        }
    }
    let body = Bytes::copy_from_slice(bytes.get(end + 4..)?);
    request.uri(format!("https://{authority}{target}")).body(Full::new(body)).ok()
}

/// One open connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that belong to the last answer.
    used: usize,
}

impl Connection {
    /// Sends a request and reads its whole answer, which must be a success: the size of its body.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<usize, Failure> {
        self.send(request).await?;
        let (code, size) = loop {
            match head(&self.buffer).and_then(|head| Some((head.code, head.end(&self.buffer)?))) {
                Some((code, end)) => {
                    let size = end - self.used;
                    self.used = end;
                    break (code, size);
                }
                None => self.more().await?,
            }
        };
        if (200..300).contains(&code) { Ok(size) } else { Err(self.refused(code)) }
    }

    fn refused(&self, code: u16) -> Failure {
        let text: String = String::from_utf8_lossy(&self.buffer).chars().take(600).collect();
        failed(format!("the server answered {code}: {text}"))
    }

    async fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.stream.write_all(request).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)
    }

    async fn more(&mut self) -> Result<(), Failure> {
        self.buffer.reserve(READ);
        let read = self.stream.read_buf(&mut self.buffer).await.map_err(failed)?;
        if read == 0 { Err(failed("the server closed the connection")) } else { Ok(()) }
    }

    /// Begins a watch: what comes is read by [`Connection::read`].
    pub(crate) async fn watch(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.send(request).await?;
        let head = loop {
            match head(&self.buffer) {
                Some(head) => break head,
                None => self.more().await?,
            }
        };
        if head.code != 200 {
            return Err(self.refused(head.code));
        }
        self.buffer.drain(..head.length);
        Ok(())
    }

    /// Waits for more of a stream and gives all that was not [`Connection::consume`]d.
    pub(crate) async fn read(&mut self) -> Result<&[u8], Failure> {
        self.more().await?;
        Ok(&self.buffer)
    }

    /// Forgets all but the last `keep` bytes of a stream.
    pub(crate) fn consume(&mut self, keep: usize) {
        let gone = self.buffer.len().saturating_sub(keep);
        self.buffer.drain(..gone);
    }
}

/// The head of an answer.
struct Head {
    code: u16,
    /// Its size, with the empty line.
    length: usize,
    /// The size of the body; `None`: it comes in chunks.
    body: Option<usize>,
}

/// Reads the head, if all of it is there.
fn head(bytes: &[u8]) -> Option<Head> {
    let length = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let code = text.get(9..12)?.parse().ok()?;
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some(Head { code, length, body })
}

impl Head {
    /// Where the answer ends, if all of it is there.
    fn end(&self, bytes: &[u8]) -> Option<usize> {
        if let Some(body) = self.body {
            return self.length.checked_add(body).filter(|end| *end <= bytes.len());
        }
        let mut at = self.length;
        loop {
            let line = at + memchr::memmem::find(bytes.get(at..)?, b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..line]).ok()?, 16).ok()?;
            at = line.checked_add(size)?.checked_add(4)?;
            if at > bytes.len() {
                return None;
            }
            if size == 0 {
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(answer: &str) -> Option<usize> {
        head(answer.as_bytes())?.end(answer.as_bytes())
    }

    #[test]
    fn a_prepared_request_is_the_same_over_h2() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nhost: h:1\r\nauthorization: Bearer t\r\ncontent-length: 2\r\n\r\n{}";
        let request = over_h2(bytes).unwrap();
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", "https://h:1/a?b=c"));
        assert_eq!(headers, [("authorization", b"Bearer t".as_slice())]);
    }

    #[test]
    fn an_answer_ends_after_its_content_length() {
        let answer = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(end(answer), Some(answer.len()));
        assert_eq!(end(&answer[..answer.len() - 1]), None);
        assert_eq!(end(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{{}}", usize::MAX)), None);
    }

    #[test]
    fn an_answer_in_chunks_ends_with_the_empty_one() {
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(end(answer), Some(answer.len()));
        for cut in 1..answer.len() {
            assert_eq!(end(&answer[..cut]), None, "{cut}");
        }
    }
}
