//! One HTTP client for every measurement: a connection at a time, over HTTP/1.1 keep-alive or h2, with the administrator's certificate.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::ByteString;
use kube::config::Kubeconfig;
use paddock_serve::crypto_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::server::{Server, failed};
use crate::exit::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    H2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::H2 => "h2",
        })
    }
}

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Dial {
    address: String,
    tls: ClientConfig,
}

impl Dial {
    /// With the certificate of the server's kubeconfig.
    pub(crate) fn to(server: &Server) -> Result<Self, Failure> {
        Ok(Self { address: server.address.clone(), tls: credentials(&server.kubeconfig)? })
    }

    pub(crate) async fn connect(&self, protocol: Protocol) -> Result<Connection, Failure> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::H2 => b"h2".to_vec(),
        }];
        let stream = TcpStream::connect(&self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let name = ServerName::try_from("localhost").map_err(failed)?;
        let stream = TokioIo::new(TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(failed)?);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(failed)?;
                tokio::spawn(connection);
                Connection { address: self.address.clone(), sender: Sender::Http1(sender) }
            }
            Protocol::H2 => {
                let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(4 * 1024 * 1024)
                    .initial_connection_window_size(8 * 1024 * 1024)
                    .handshake(stream)
                    .await
                    .map_err(failed)?;
                tokio::spawn(connection);
                Connection { address: self.address.clone(), sender: Sender::H2(sender) }
            }
        })
    }
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    H2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// One open connection.
pub(crate) struct Connection {
    address: String,
    sender: Sender,
}

impl Connection {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Incoming, Failure> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await
            }
            Sender::H2(sender) => sender.send_request(request).await,
        };
        let response = response.map_err(failed)?;
        if !response.status().is_success() {
            return Err(failed(format!("the server answered {}", response.status())));
        }
        Ok(response.into_body())
    }

    fn request(&self, method: &str, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let builder = Request::builder().method(method).uri(format!("https://{}{path}", self.address));
        let builder = builder.header("host", &self.address).header("content-type", "application/json");
        builder.body(Full::new(body)).map_err(failed)
    }

    /// Reads a whole answer and gives its size.
    pub(crate) async fn get(&mut self, path: &str) -> Result<usize, Failure> {
        let request = self.request("GET", path, Bytes::new())?;
        Ok(self.send(request).await?.collect().await.map_err(failed)?.to_bytes().len())
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<(), Failure> {
        let request = self.request("POST", path, Bytes::from(body.to_string()))?;
        self.send(request).await?.collect().await.map_err(failed)?;
        Ok(())
    }

    /// Opens a stream: its body is read frame by frame.
    pub(crate) async fn open(mut self, path: &str) -> Result<(Self, Incoming), Failure> {
        let request = self.request("GET", path, Bytes::new())?;
        let body = self.send(request).await?;
        Ok((self, body))
    }
}

/// The CA and the client certificate of a kubeconfig.
fn credentials(kubeconfig: &Path) -> Result<ClientConfig, Failure> {
    let text = std::fs::read_to_string(kubeconfig).map_err(failed)?;
    let parsed = Kubeconfig::from_yaml(&text).map_err(failed)?;
    let json = serde_json::to_value(&parsed).map_err(failed)?;
    let field = |pointer: &str| -> Result<Vec<u8>, Failure> {
        let encoded = json.pointer(pointer).cloned().ok_or_else(|| failed(format!("kubeconfig: no {pointer}")))?;
        serde_json::from_value::<ByteString>(encoded).map(|bytes| bytes.0).map_err(failed)
    };
    let certificates = |pem: &[u8]| -> Result<Vec<CertificateDer<'static>>, Failure> {
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(failed)
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(&field("/clusters/0/cluster/certificate-authority-data")?)? {
        roots.add(authority).map_err(failed)?;
    }
    let chain = certificates(&field("/users/0/user/client-certificate-data")?)?;
    let key = PrivateKeyDer::from_pem_slice(&field("/users/0/user/client-key-data")?).map_err(failed)?;
    ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(failed)
}
