//! The health port.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use paddock_serve::{Check, Health, Options, Peer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;

use crate::wire::{body, get, http1, start};

fn health(checks: Vec<Check>) -> Health {
    let mut registry = Registry::default();
    let writes: Counter = Counter::default();
    registry.register("paddock_writes", "Writes sent to the API server", writes.clone());
    writes.inc_by(3);
    Health::new(move || checks.clone(), Arc::new(registry))
}

async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
    let response = health.call(Request::get(path).body(()).unwrap()).await.unwrap();
    (response.status(), text(response).await)
}

async fn text(response: Response<Full<Bytes>>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn ready_is_a_short_ok() {
    assert_eq!(ask(&health(vec![Check::ok("api-server")]), "/readyz").await, (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn verbose_names_every_check() {
    let health = health(vec![Check::ok("api-server"), Check::ok("controller/gateways")]);
    let lines = "[+]api-server ok\n[+]controller/gateways ok\nreadyz check passed\n";
    assert_eq!(ask(&health, "/readyz?verbose").await, (StatusCode::OK, lines.to_owned()));
    assert_eq!(ask(&health, "/readyz?verbose=true").await, (StatusCode::OK, lines.to_owned()));
}

#[tokio::test]
async fn not_ready_says_why_without_being_asked() {
    let health = health(vec![Check::ok("ping"), Check::failed("api-server", "connection refused")]);
    let lines = "[+]ping ok\n[-]api-server failed: connection refused\nreadyz check failed\n";
    assert_eq!(ask(&health, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, lines.to_owned()));
}

#[tokio::test]
async fn a_process_that_is_starting_is_alive_and_says_what_it_waits_for() {
    let health = Health::starting(|| vec![Check::failed("tls-profile", "contract.json is missing")]);
    assert_eq!(ask(&health, "/livez").await.0, StatusCode::OK);
    let lines = "[-]tls-profile failed: contract.json is missing\n[-]start failed: the process is still starting\n\
                 readyz check failed\n";
    assert_eq!(ask(&health, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, lines.to_owned()));
    health.complete(|| vec![Check::ok("api-server")], Arc::default());
    assert_eq!(ask(&health, "/readyz").await, (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn alive_does_not_depend_on_ready() {
    let health = health(vec![Check::failed("api-server", "connection refused")]);
    assert_eq!(ask(&health, "/livez").await, (StatusCode::OK, "ok".to_owned()));
    assert_eq!(ask(&health, "/healthz").await, (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn metrics_are_served_on_this_machine() {
    let server = start(None, Options::default(), health(Vec::new())).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    let response = client.send_request(get("/metrics")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(body(response).await.contains("paddock_writes_total 3\n"));
}

#[tokio::test]
async fn metrics_are_refused_to_other_machines() {
    let mut request = Request::get("/metrics").body(()).unwrap();
    request.extensions_mut().insert(Peer::anonymous(SocketAddr::from(([192, 0, 2, 1], 40000))));
    let response = health(Vec::new()).call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    assert_eq!(ask(&health(Vec::new()), "/debug/pprof").await.0, StatusCode::NOT_FOUND);
    let post = Request::post("/readyz").body(()).unwrap();
    let response = health(Vec::new()).call(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}
