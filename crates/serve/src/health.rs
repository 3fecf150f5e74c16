//! `/healthz`, `/livez`, `/readyz` and `/metrics`. Answers requests; opens nothing.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::registry::Registry;

use crate::serve::Peer;

/// One named thing that must be well before traffic should come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is checked, for instance `api-server` or `controller/gateways`.
    pub name: Cow<'static, str>,
    /// Well, or in one sentence what is missing.
    pub state: Result<(), String>,
}

impl Check {
    /// A check that passes.
    pub fn ok(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), state: Ok(()) }
    }

    /// A check that fails, and why.
    pub fn failed(name: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Self {
        Self { name: name.into(), state: Err(why.into()) }
    }
}

/// Tells the truth about whether this process can do its work now.
pub trait Readiness: Send + Sync + 'static {
    /// Every check, in a stable order. It must not block: it is asked for on each probe.
    fn checks(&self) -> Vec<Check>;
}

impl<F: Fn() -> Vec<Check> + Send + Sync + 'static> Readiness for F {
    fn checks(&self) -> Vec<Check> {
        self()
    }
}

/// The service behind the health port.
///
/// | path | answer |
/// |---|---|
/// | `/healthz`, `/livez` | 200 as long as the process answers at all |
/// | `/readyz` | 200, or 503 with one line for each check |
/// | `/readyz?verbose` | the lines in both cases |
/// | `/metrics` | OpenMetrics text, to clients on this machine only: the port is plain HTTP and asks nobody who they are |
///
/// Clones are the same.
#[derive(Clone)]
pub struct Health {
    early: Arc<dyn Readiness>,
    whole: Arc<OnceLock<Whole>>,
}

/// What a process can tell when all of it is there.
struct Whole {
    readiness: Box<dyn Readiness>,
    metrics: Arc<Registry>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Answers from `readiness` and `metrics`.
    pub fn new(readiness: impl Readiness, metrics: Arc<Registry>) -> Self {
        let health = Self::starting(Vec::new);
        health.complete(readiness, metrics);
        health
    }

    /// Answers while the process is still starting: alive, not ready, and `early` says what it waits for. There are no metrics until
    /// [`Health::complete`].
    pub fn starting(early: impl Readiness) -> Self {
        Self { early: Arc::new(early), whole: Arc::default() }
    }

    /// From now on the answers are from `readiness` and `metrics`. Only the first call counts.
    pub fn complete(&self, readiness: impl Readiness, metrics: Arc<Registry>) {
        let _ = self.whole.set(Whole { readiness: Box::new(readiness), metrics });
    }

    fn checks(&self) -> Vec<Check> {
        if let Some(whole) = self.whole.get() {
            return whole.readiness.checks();
        }
        let mut checks = self.early.checks();
        checks.push(Check::failed("start", "the process is still starting"));
        checks
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        let verbose = request.uri().query().is_some_and(|query| {
            query.split('&').any(|pair| pair.split_once('=').map_or(pair, |(key, _)| key) == "verbose")
        });
        match request.uri().path() {
            "/healthz" | "/livez" if verbose => report(request.uri().path(), &[Check::ok("ping")], true),
            "/healthz" | "/livez" => text(StatusCode::OK, "ok"),
            "/readyz" => report("/readyz", &self.checks(), verbose),
            "/metrics" => self.metrics(request.extensions().get::<Peer>()),
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    fn metrics(&self, peer: Option<&Peer>) -> Response<Full<Bytes>> {
        if !peer.is_some_and(|peer| peer.addr.ip().to_canonical().is_loopback()) {
            return text(StatusCode::FORBIDDEN, "metrics are served to clients on this machine only\n");
        }
        match self.whole.get() {
            Some(whole) => metrics(&whole.metrics),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "the process is still starting\n"),
        }
    }
}

impl<B> hyper::service::Service<Request<B>> for Health {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

/// kube-apiserver's format: a line for each check, then the verdict.
fn report(path: &str, checks: &[Check], verbose: bool) -> Response<Full<Bytes>> {
    let failed = checks.iter().any(|check| check.state.is_err());
    if !failed && !verbose {
        return text(StatusCode::OK, "ok");
    }
    let mut body = String::new();
    for check in checks {
        // Writing into a String does not fail.
        let _ = match &check.state {
            Ok(()) => writeln!(body, "[+]{} ok", check.name),
            Err(why) => writeln!(body, "[-]{} failed: {why}", check.name),
        };
    }
    let verdict = if failed { "failed" } else { "passed" };
    let _ = writeln!(body, "{} check {verdict}", path.trim_start_matches('/'));
    text(if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, body)
}

/// The registry as OpenMetrics text.
pub(crate) fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    if prometheus_client::encoding::text::encode(&mut body, registry).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the metrics\n");
    }
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
    response
}
