//! `/metrics` and `/tlsz` for those whom the gate lets in. Answers requests; opens nothing.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::registry::Registry;

use crate::access::{Gate, Verdict};
use crate::health::{metrics, text};
use crate::serve::Peer;
use crate::startup::Startup;

/// The service behind the metrics port.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | OpenMetrics text |
/// | `/tlsz` | JSON: which TLS profile is served and why |
///
/// Whoever is not let in learns nothing but that: 401 without good credentials, 403 for a user who may not, 503 with
/// `Retry-After` when nobody can tell now.
#[derive(Clone, Debug)]
pub struct Protected {
    gate: Gate,
    metrics: Arc<Registry>,
    startup: Startup,
}

impl Protected {
    /// Answers from `metrics` and `startup` to those whom `gate` lets in.
    pub fn new(gate: Gate, metrics: Arc<Registry>, startup: Startup) -> Self {
        Self { gate, metrics, startup }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        match path {
            "/metrics" => metrics(&self.metrics),
            "/tlsz" => {
                let mut response = text(StatusCode::OK, format!("{:#}\n", self.startup.report()));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "not found: /metrics and /tlsz are served here\n"),
        }
    }
}

impl<B: Send + 'static> hyper::service::Service<Request<B>> for Protected {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        let (mut head, _) = request.into_parts();
        Box::pin(async move {
            let peer = head.extensions.remove::<Peer>();
            let verdict = this.gate.judge(peer.as_ref(), &head.headers, &head.method, head.uri.path()).await;
            Ok(match verdict {
                Verdict::Allowed => this.answer(&head.method, head.uri.path()),
                Verdict::Unauthorized(why) => {
                    let mut response = text(StatusCode::UNAUTHORIZED, format!("{why}\n"));
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                    response
                }
                Verdict::Forbidden(why) => text(StatusCode::FORBIDDEN, format!("{why}\n")),
                Verdict::Unavailable(why) => {
                    tracing::warn!(why, "a client could not be authenticated");
                    let mut response =
                        text(StatusCode::SERVICE_UNAVAILABLE, "whether you may cannot be told now: try again\n");
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
                    response
                }
            })
        })
    }
}
