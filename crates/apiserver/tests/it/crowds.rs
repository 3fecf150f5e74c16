//! Clients that come in crowds or do not behave: memory stays bounded, no writer waits for them, and the metrics show them.
//! Times and sizes of single connections are tested in paddock-serve.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use paddock_apiserver::Server;
use paddock_serve::{Overrides, Startup, TlsMetrics};
use paddock_tls_profile::KeyKind;
use serde_json::json;

use crate::wire::{client, listening};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn text(client: &Client, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let bytes = client.send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn metric(server: &Server, name: &str) -> u64 {
    let page = text(&server.client(), "/metrics").await;
    let named = |line: &&str| line.split(['{', ' ']).next() == Some(name);
    page.lines().find(named).and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

/// Waits until a metric is what it should become.
async fn until(server: &Server, name: &str, wanted: impl Fn(u64) -> bool) {
    let becomes = async {
        while !wanted(metric(server, name).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), becomes).await.is_err() {
        panic!("{name} is {}", metric(server, name).await);
    }
}

async fn create(server: &Server, name: &str, size: usize) {
    let object = json!({"metadata": {"name": name}, "data": {"k": "x".repeat(size)}}).to_string();
    let request = Request::post(MAPS).header("content-type", "application/json").body(object.into_bytes().into());
    let answer = server.client().send(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 201);
}

async fn watch(client: &Client, query: &str) -> http::Response<Body> {
    let request = Request::get(format!("{MAPS}?watch=true{query}")).body(Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

#[tokio::test]
async fn handshakes_and_what_was_negotiated_are_on_the_page_of_metrics() {
    let server = listening(None).await;
    text(&client(&server.kubeconfig().unwrap()).await, "/version").await;
    let page = text(&server.client(), "/metrics").await;
    assert!(page.contains("paddock_tls_handshakes_total{version=\"VersionTLS13\""), "{page}");
    assert!(page.contains("\npaddock_tls_connections{generation=\"1\"} "), "{page}");
    assert!(!page.contains("# EOF"), "{page}");
}

#[tokio::test]
async fn what_tls_is_served_is_told_to_those_who_may_ask() {
    let startup = Startup::builtin("api", KeyKind::Ecdsa, &Overrides::default(), TlsMetrics::default()).unwrap();
    let server = Server::builder().in_memory().loops(false).tls_profile(startup).start().await.unwrap();
    let report: serde_json::Value = serde_json::from_str(&text(&server.client(), "/tlsz").await).unwrap();
    assert_eq!((&report["component"], &report["serving"]), (&json!("api"), &json!("Builtin")));
    assert_eq!(report["served"]["versions"], json!(["VersionTLS12", "VersionTLS13"]));
}

#[tokio::test]
async fn a_watch_that_is_never_read_holds_up_no_writer_and_ends_with_410() {
    let server = listening(None).await;
    let unread = watch(&client(&server.kubeconfig().unwrap()).await, "").await;
    // More than the history keeps and more than sockets buffer.
    for at in 0..80 {
        create(&server, &format!("large-{at}"), 600_000).await;
    }
    assert!(metric(&server, "paddock_apiserver_history_bytes").await < 18 << 20);
    let mut text = String::new();
    let mut body = unread.into_body();
    while let Some(frame) = body.frame().await {
        text = String::from_utf8_lossy(frame.unwrap().data_ref().unwrap()).into_owned();
    }
    assert!(text.contains(r#""code":410"#) && text.contains(r#""type":"ERROR""#), "{}", &text[..200.min(text.len())]);
    assert_eq!(metric(&server, "paddock_apiserver_watches_expired_total").await, 1);
}

#[tokio::test]
async fn idle_watches_are_counted_and_gone_with_their_connections() {
    let server = listening(None).await;
    let client = client(&server.kubeconfig().unwrap()).await;
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(watch(&client, "&labelSelector=a%3Db").await);
    }
    assert_eq!(metric(&server, "apiserver_longrunning_requests").await, 200);
    create(&server, "a", 10).await;
    drop((open, client));
    until(&server, "apiserver_longrunning_requests", |watches| watches == 0).await;
}

#[tokio::test]
async fn handshakes_that_stall_are_counted_and_others_are_served() {
    let server = listening(None).await;
    let mut stalled = Vec::new();
    for _ in 0..200 {
        stalled.push(tokio::net::TcpStream::connect(server.local_addr().unwrap()).await.unwrap());
    }
    until(&server, "paddock_apiserver_handshakes", |handshakes| handshakes == 200).await;
    assert_eq!(text(&client(&server.kubeconfig().unwrap()).await, "/readyz").await, "ok");
    drop(stalled);
    until(&server, "paddock_apiserver_handshakes_failed_total", |failed| failed == 200).await;
}

#[tokio::test]
async fn watches_of_other_formats_see_each_event_once_and_alike() {
    let server = listening(None).await;
    let client = client(&server.kubeconfig().unwrap()).await;
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut open = Vec::new();
    for _ in 0..3 {
        let request = Request::get(format!("{MAPS}?watch=true")).header("accept", accept).body(Body::empty());
        open.push(client.send(request.unwrap()).await.unwrap().into_body());
    }
    create(&server, "a", 10).await;
    let mut seen = Vec::new();
    for mut body in open {
        let frame = body.frame().await.unwrap().unwrap();
        seen.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
    }
    assert!(seen[0].contains(r#""kind":"PartialObjectMetadata""#) && !seen[0].contains("\"data\""), "{}", seen[0]);
    assert!(seen.iter().all(|event| *event == seen[0]));
}

#[tokio::test]
async fn a_client_that_resets_stream_after_stream_leaves_nothing_running() {
    let server = listening(None).await;
    let mut connection = crate::wire::h2(&server).await;
    for _ in 0..2000 {
        let request = Request::get(format!("https://localhost{MAPS}?watch=true"));
        let Ok(()) = connection.ready().await else { break };
        // Dropping the answer before it comes resets the stream.
        drop(connection.send_request(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()));
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&client(&server.kubeconfig().unwrap()).await, "/readyz").await, "ok");
    until(&server, "apiserver_longrunning_requests", |watches| watches == 0).await;
    drop(connection);
    until(&server, "paddock_apiserver_connections", |connections| connections <= 1).await;
}
