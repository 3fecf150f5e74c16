//! From HTTP to [`Api::handle`] and back: who asks, bounded bodies, headers, streams. The same
//! service carries requests from sockets and from clients in this process.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::TryStreamExt;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request as HttpRequest, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;
use kube::Client;
use paddock_serve::{Certificate, Listener, Options, Peer, Startup, Tls, TlsSource, keep_renewed};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, Api, Body, Request};
use crate::audit::Received;
use crate::authn::Caller;
use crate::identity::{Identity, new_uuid};
use crate::incoming::RequestBody;
use crate::request::Query;
use crate::status::Status;
use crate::streaming::{self, Session};
use crate::user::User;

/// The header that names a request.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Body of an answer on its way out. An error breaks the connection.
type OutBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Why no answer is given: a fault on order closed the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped by an injected fault")]
struct Dropped;

/// Asks the API, writes the answer.
async fn respond<B>(
    api: &Api,
    caller: Result<Caller, Status>,
    from: Option<IpAddr>,
    request: HttpRequest<B>,
) -> Result<Response<OutBody>, Dropped>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let (head, version) = (parts.method == http::Method::HEAD, parts.version);
    let mut body = RequestBody::arriving(body, from.map(|_| api.bodies.clone()));
    let id = audit_id(&parts.headers);
    let uri = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), PathAndQuery::as_str);
    let received = Received { id: &id, method: &parts.method, uri, headers: &parts.headers, from };
    let record = api.audit.received(&api.clock, received);
    let answer = match caller {
        Ok(caller) => {
            let request = Request {
                path: parts.uri.path().to_owned(),
                query: Query::parse(parts.uri.query()),
                method: parts.method,
                headers: parts.headers,
                user: caller.user,
                record,
            };
            let mut answer = api.handle(request, &mut body).await;
            answer.warnings.extend(caller.warning.map(str::to_owned));
            answer
        }
        Err(status) => match record {
            Some(record) => record.answered(None, status.into()),
            None => status.into(),
        },
    };
    let reusable = body.discard().await;
    if let Body::Upgrade(session) = answer.body {
        return match upgrade {
            Some(upgrade) => Ok(switch(upgrade, session)),
            None => write(Status::bad_request("Upgrade request required").into(), &id),
        };
    }
    let mut response = write(answer, &id)?;
    if !reusable && version < http::Version::HTTP_2 {
        // What is left of the body would be taken for the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if head {
        // RFC 9110, section 9.3.2; over h2 nobody else leaves the body out.
        *response.body_mut() = Full::new(Bytes::new()).map_err(|never: Infallible| match never {}).boxed_unsync();
    }
    Ok(response)
}

/// 101, and the session once the connection is free for it. Only HTTP/1.1 over a socket can be switched.
fn switch(upgrade: OnUpgrade, session: Session) -> Response<OutBody> {
    let mut response =
        Response::new(Full::new(Bytes::new()).map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&session.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = session.protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => (session.run)(streaming::socket(upgraded).await).await,
            Err(error) => tracing::debug!(%error, "a connection was not switched to WebSocket"),
        }
    });
    response
}

/// What the answer and the audit log call the request: what the client calls it, cut to the 64 characters that kube-apiserver
/// keeps, or a new name.
fn audit_id(headers: &http::HeaderMap) -> String {
    let given = headers.get(AUDIT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    given.map_or_else(new_uuid, |id| id.chars().take(64).collect())
}

fn write(answer: Answer, id: &str) -> Result<Response<OutBody>, Dropped> {
    let body = match answer.body {
        Body::Whole(bytes) => Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync(),
        Body::Chunks { size, chunks } => Made { left: size, chunks }.boxed_unsync(),
        Body::Stream(stream) => StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync(),
        Body::Upgrade(_) | Body::Dropped => return Err(Dropped),
    };
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(answer.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(AUDIT_ID, id);
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    for warning in limited(answer.warnings) {
        // RFC 7234, section 5.5: code, agent, quoted text.
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", quoted(&warning))) {
            headers.append(header::WARNING, value);
        }
    }
    Ok(response)
}

/// A body in chunks that are made when they are taken. If its length is known, it is not sent as one whose end must be searched for.
struct Made {
    left: Option<u64>,
    chunks: Box<dyn Iterator<Item = std::io::Result<Bytes>> + Send>,
}

impl HttpBody for Made {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let chunk = self.chunks.next();
        let made = match &chunk {
            Some(Ok(chunk)) => chunk.len() as u64,
            Some(Err(error)) => {
                tracing::error!(%error, "an answer is broken off");
                0
            }
            None => u64::MAX,
        };
        self.left = self.left.map(|left| left.saturating_sub(made));
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(
            || {
                // Of unknown length, but not without end: who does not take it is not waited for as the reader of a watch is.
                let mut hint = SizeHint::new();
                hint.set_upper(u64::MAX);
                hint
            },
            SizeHint::with_exact,
        )
    }
}

/// All warnings of one answer together, in characters; above it each is cut.
const WARNINGS: usize = 4096;
/// What is left of a warning that is cut.
const CUT_WARNING: usize = 256;

/// Each text once, and no more than a client's limit for headers bears: as kube-apiserver's recorder of warnings does it.
fn limited(warnings: Vec<String>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for text in warnings {
        if !text.is_empty() && !told.contains(&text) {
            told.push(text);
        }
    }
    let length = |text: &String| text.chars().count();
    if told.iter().map(length).sum::<usize>() <= WARNINGS {
        return told;
    }
    let mut cut: Vec<String> = Vec::new();
    for text in told {
        let text: String = text.chars().take(CUT_WARNING).collect();
        if cut.iter().map(length).sum::<usize>() >= WARNINGS {
            break;
        }
        if !cut.contains(&text) {
            cut.push(text);
        }
    }
    cut
}

/// A quoted-string: backslash and quote escaped, what a header cannot hold left out.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Listens, and serves until `closing`. The serving certificate is renewed at two thirds of its life, without a gap.
pub(crate) async fn bind(
    api: &Api,
    identity: &Arc<Identity>,
    address: SocketAddr,
    startup: Option<&Startup>,
    closing: CancellationToken,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<SocketAddr> {
    let listener = Listener::bind(address).await?;
    let bound = listener.local_addr();
    let (certificate, renew_at) = serving_certificate(identity, api.clock.now())?;
    let source = match startup {
        Some(startup) => startup.with_certificate(certificate),
        None => Tls::baseline(certificate).map(|tls| TlsSource::counted(tls, api.tls.clone())),
    };
    let source = source.map_err(std::io::Error::other)?;
    let service = {
        let api = api.clone();
        hyper::service::service_fn(move |mut request: HttpRequest<hyper::body::Incoming>| {
            let api = api.clone();
            async move {
                let peer = request.extensions_mut().remove::<Peer>();
                let caller = api.authenticate(peer.as_ref(), request.headers());
                respond(&api, caller, peer.map(|peer| peer.addr.ip()), request).await
            }
        })
    };
    let traffic = api.traffic.clone();
    let (clock, issuer) = (api.clone(), identity.clone());
    let (now, make) = (move || clock.clock.now(), move |now| serving_certificate(&issuer, now));
    tasks.spawn(keep_renewed(source.clone(), renew_at, now, make, closing.clone()));
    tasks.spawn(async move {
        let options = Options { traffic, ..Options::default() };
        paddock_serve::serve(listener, Some(source), service, options, closing).await;
    });
    Ok(bound)
}

fn serving_certificate(identity: &Identity, now: Timestamp) -> std::io::Result<(Certificate, Timestamp)> {
    let leaf = identity.serving_leaf(now).map_err(std::io::Error::other)?;
    let renew_at = paddock_pki::inspect(&leaf.certificate_pem).map_err(std::io::Error::other)?.renew_at();
    let ca = identity.ca_pem().as_bytes();
    let certificate =
        Certificate::from_pem(leaf.certificate_pem.as_bytes(), leaf.key_pem.expose().as_bytes(), Some(ca));
    Ok((certificate.map_err(std::io::Error::other)?, renew_at))
}

/// A client that calls the API in this process, past sockets and TLS but through everything else.
pub(crate) fn in_process(api: &Api, user: User) -> Client {
    let (api, user) = (api.clone(), Arc::new(user));
    let service = tower::service_fn(move |request: HttpRequest<kube::client::Body>| {
        let (api, caller) = (api.clone(), Caller { user: user.clone(), warning: None });
        async move { respond(&api, Ok(caller), None, request).await }
    });
    Client::new(service, "default")
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn chunks(size: Option<u64>, chunks: Vec<std::io::Result<Bytes>>) -> OutBody {
        let body = Body::Chunks { size, chunks: Box::new(chunks.into_iter()) };
        write(Answer { body, ..Answer::empty(200) }, "1").expect("a response").into_body()
    }

    #[test]
    fn an_answer_whose_length_is_not_known_has_an_end() {
        let hint = chunks(None, Vec::new()).size_hint();
        assert_eq!((hint.exact(), hint.upper().is_some()), (None, true));
    }

    #[tokio::test]
    async fn an_answer_that_is_broken_off_ends_with_an_error() {
        let broken = std::io::Error::other("damaged");
        let mut body = chunks(None, vec![Ok(Bytes::from_static(b"[")), Err(broken)]);
        let first = body.frame().await.expect("a frame").expect("a chunk");
        assert!(first.is_data() && !body.is_end_stream() && body.frame().await.expect("a frame").is_err());
    }

    #[tokio::test]
    async fn the_body_of_who_may_not_ask_is_not_read() {
        let server = crate::Server::builder().in_memory().loops(false).start().await.expect("the server starts");
        let mut body =
            RequestBody::arriving(StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::io::Error>>()), None);
        let request = Request {
            method: http::Method::POST,
            path: "/api/v1/namespaces/default/configmaps".to_owned(),
            query: Query::default(),
            headers: http::HeaderMap::new(),
            user: User::new("nobody", ["nothing"]).into(),
            record: None,
        };
        assert_eq!(server.api().handle(request, &mut body).await.code, 403);
    }
}
