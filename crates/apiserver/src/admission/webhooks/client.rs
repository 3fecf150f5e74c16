//! One call of a webhook: connect, TLS, POST, a bounded answer, all within a deadline. What fails is told in the words of
//! Go's `net/http`, which kube-apiserver passes on and people look up.
//!
//! HTTP/1.1 only, as kube-apiserver speaks to webhooks; a few connections are kept open; no redirect is followed and no
//! proxy asked.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust::{self, Distrust};
use crate::kinds::at::At;
use crate::resource::Lookup;

/// Most bytes of an answer: what a request body may have.
const MAX_ANSWER: usize = 3 << 20;
/// Connections that one webhook keeps for the next call.
const MAX_IDLE: usize = 4;
/// Most bytes of an unreadable answer that a message shows, as client-go's.
const MAX_SHOWN: usize = 2048;

/// Where a webhook is.
pub(super) struct Endpoint {
    /// Scheme, host and port as configured: `https://svc.ns.svc:443`.
    origin: String,
    path: String,
    host: String,
    port: u16,
    /// Namespace and name of the Service behind it.
    service: Option<(String, String)>,
    /// Or why it cannot be called.
    tls: Result<Arc<ClientConfig>, String>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Endpoint {
    /// From a `clientConfig`.
    pub(super) fn of(config: &Value) -> Self {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.decode(config.str_at("/caBundle")).unwrap_or_default();
        let tls = trust::config(&bundle);
        let idle = Mutex::default();
        if config.has("/service") {
            let (namespace, name) = (config.str_at("/service/namespace"), config.str_at("/service/name"));
            let port = config.int_at("/service/port").and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
            let host = format!("{name}.{namespace}.svc");
            return Self {
                origin: format!("https://{host}:{port}"),
                path: clean(config.str_at("/service/path")),
                host,
                port,
                service: Some((namespace.to_owned(), name.to_owned())),
                tls,
                idle,
            };
        }
        let url = config.str_at("/url");
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let parsed = authority.parse::<http::uri::Authority>();
        let (host, port) = match &parsed {
            Ok(authority) => (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(443)),
            Err(_) => (authority, 443),
        };
        Self {
            origin: format!("{scheme}://{authority}"),
            path: clean(path),
            host: host.to_owned(),
            port,
            service: None,
            tls: parsed.map_err(|error| format!("Unparsable URL: {error}")).and(tls),
            idle,
        }
    }

    /// Asks. The error is what follows `failed calling webhook "NAME": `.
    pub(super) async fn post(&self, body: Bytes, timeout: Duration, lookup: &dyn Lookup) -> Result<Bytes, String> {
        let config = self.tls.as_ref().map_err(|error| format!("could not get REST client: {error}"))?;
        let target = format!("{}?timeout={}s", self.path, timeout.as_secs_f64().ceil());
        let answer = tokio::time::timeout(timeout, self.exchange(config, &target, body, lookup)).await;
        let (status, headers, body) =
            answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())).map_err(|error| {
                format!("failed to call webhook: Post {:?}: {error}", format!("{}{target}", self.origin))
            })?;
        if !(200..=206).contains(&status.as_u16()) {
            return Err(format!("failed to call webhook: {}", refusal(status, &headers, &body)));
        }
        if body.is_empty() {
            let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
            return Err(format!(
                "failed to call webhook: 0-length response with status code: {} and content type: {media}",
                status.as_u16()
            ));
        }
        Ok(body)
    }

    async fn exchange(
        &self,
        config: &Arc<ClientConfig>,
        target: &str,
        body: Bytes,
        lookup: &dyn Lookup,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let request = || {
            Request::post(target)
                .header(header::HOST, self.origin.trim_start_matches("https://"))
                .header(header::ACCEPT, "application/json, */*")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::USER_AGENT, "kube-apiserver-admission")
                .body(Full::new(body.clone()))
                .map_err(|error| error.to_string())
        };
        // A kept connection may have been closed by the other side meanwhile: then a new one is tried.
        while let Some(mut kept) = self.kept() {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.send_request(request()?).await {
                Ok(response) => return self.read(kept, response).await,
                Err(error) if error.is_canceled() || error.is_incomplete_message() || error.is_closed() => {}
                Err(error) => return Err(wording(&error)),
            }
        }
        let mut fresh = self.connect(config, lookup).await?;
        let response = fresh.send_request(request()?).await.map_err(|error| wording(&error))?;
        self.read(fresh, response).await
    }

    async fn read(
        &self,
        connection: SendRequest<Full<Bytes>>,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
        Ok((head.status, head.headers, body))
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(
        &self,
        config: &Arc<ClientConfig>,
        lookup: &dyn Lookup,
    ) -> Result<SendRequest<Full<Bytes>>, String> {
        let (host, port) = match &self.service {
            Some((namespace, name)) => resolve(lookup, namespace, name, self.port)?,
            None => (self.host.clone(), self.port),
        };
        let stream = dial(&host, port).await?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|e| handshake(&e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| wording(&error))?;
        tokio::spawn(async move {
            // How it ended is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// `path.Join("/", path)`, without resolving dots.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// An address of a ready endpoint of a Service: there is no proxy that would serve cluster IPs.
fn resolve(lookup: &dyn Lookup, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
    let service = lookup.get("/services", namespace, name).ok_or_else(|| format!("service {name:?} not found"))?;
    if service.str_at("/spec/type") == "ExternalName" {
        return Ok((service.str_at("/spec/externalName").to_owned(), port));
    }
    let ports = service.list_at("/spec/ports");
    let served = ports.iter().find(|p| p.int_at("/port") == Some(port.into()));
    let served = served.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let slices = lookup.list("discovery.k8s.io/endpointslices", namespace);
    let of_service = slices.iter().filter(|s| s.str_at("/metadata/labels/kubernetes.io~1service-name") == name);
    let found = of_service.into_iter().find_map(|slice| {
        let port = slice.list_at("/ports").iter().find(|p| p.str_at("/name") == served.str_at("/name"))?;
        let port = u16::try_from(port.int_at("/port")?).ok()?;
        let ready = |endpoint: &&Value| endpoint.at("/conditions/ready").as_bool() != Some(false);
        let endpoint = slice.list_at("/endpoints").iter().find(ready)?;
        Some((endpoint.str_at("/addresses/0").to_owned(), port))
    });
    found.ok_or_else(|| format!("no endpoints available for service {name:?}"))
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => match tokio::net::lookup_host((host, port)).await {
            Ok(found) => found.collect(),
            Err(_) => return Err(format!("dial tcp: lookup {host}: no such host")),
        },
    };
    let mut failed = format!("dial tcp: lookup {host}: no such host");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A review is one message and waits for its answer.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => {
                failed = format!("dial tcp {address}: connect: {}", io(&error));
            }
        }
    }
    Err(failed)
}

fn io(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::HostUnreachable => "no route to host".to_owned(),
        ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    }
}

/// What went wrong before the first byte of HTTP.
fn handshake(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            other.0.downcast_ref::<Distrust>().map_or_else(|| other.0.to_string(), ToString::to_string)
        }
        Some(rustls::Error::InvalidMessage(_)) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => format!("read: {}", io(error)),
    }
}

/// What went wrong in HTTP.
fn wording(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".to_owned();
    }
    let source = std::error::Error::source(error).and_then(|inner| inner.downcast_ref::<std::io::Error>());
    match source {
        Some(inner) if inner.get_ref().is_some_and(|tls| tls.is::<rustls::Error>()) => handshake(inner),
        Some(inner) => format!("read: {}", io(inner)),
        None if error.is_parse() => format!("net/http: HTTP/1.x transport connection broken: {error}"),
        None => error.to_string(),
    }
}

/// client-go's `NewGenericServerResponse`.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let media = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let is_text = media.is_none_or(|media| media.starts_with("text/"));
    let said = String::from_utf8_lossy(body.get(..MAX_SHOWN).unwrap_or(body));
    let said = if is_text { said.trim() } else { "unknown" };
    match status.as_u16() {
        409 => "the server reported a conflict".to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 415 => said.to_owned(),
        406 if said.is_empty() || said == "unknown" => {
            "the server was unable to respond with a content type that the client supports".to_owned()
        }
        406 => said.to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned()
        }
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        code if code >= 500 => {
            format!("an error on the server ({said:?}) has prevented the request from succeeding")
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}
