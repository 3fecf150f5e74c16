//! Crowds of watches on a server that is a process of its own, so that its memory can be looked at: it grows with what is watched,
//! not with who watches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::Running;

/// A server that keeps nothing, and the way to it.
fn server(dir: &Path) -> (Running, PathBuf) {
    let kubeconfig = dir.join("kubeconfig");
    let more = ["--kubeconfig-out", kubeconfig.to_str().unwrap()];
    let mut server =
        Running::start(&[&["apiserver", "--in-memory", "--listen", "127.0.0.1:0"][..], &more].concat(), dir);
    server.line().unwrap();
    (server, kubeconfig)
}

/// ConfigMaps, as the administrator.
async fn maps(kubeconfig: &Path) -> Api<ConfigMap> {
    Api::default_namespaced(paddock_reconcile::client::from_kubeconfig(kubeconfig, None).await.unwrap())
}

async fn create(maps: &Api<ConfigMap>, name: &str, size: usize) {
    let map = json!({"metadata": {"name": name}, "data": {"k": "x".repeat(size)}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
}

/// One h2 connection.
async fn connect(kubeconfig: &Path) -> SendRequest<Empty<Bytes>> {
    let read = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
    let mut tls = config.rustls_client_config().unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(config.cluster_url.authority().unwrap().as_str()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Opens a watch: its answer has begun.
async fn watch(sender: &SendRequest<Empty<Bytes>>) -> hyper::Result<Incoming> {
    let path = "https://localhost/api/v1/namespaces/default/configmaps?watch=true";
    let request = Request::get(path).body(Empty::new()).unwrap();
    Ok(sender.clone().send_request(request).await?.into_body())
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_watches_cost_a_few_kilobytes_each() {
    let dir = tempfile::tempdir().unwrap();
    let (server, kubeconfig) = server(dir.path());
    // The first ones bring code and tables into memory.
    let first = connect(&kubeconfig).await;
    let mut open = try_join_all((0..100).map(|_| watch(&first))).await.unwrap();
    let before = server.resident();
    let mut connections = vec![first];
    for _ in 0..8 {
        let sender = connect(&kubeconfig).await;
        open.extend(try_join_all((0..250).map(|_| watch(&sender))).await.unwrap());
        connections.push(sender);
    }
    let each = server.resident().saturating_sub(before) / 2000;
    assert!(each < 30_000, "{each} bytes for a watch");
    // They are there: each sees what happens.
    create(&maps(&kubeconfig).await, "a", 1).await;
    let seen = open.iter_mut().map(|body| tokio::time::timeout(Duration::from_secs(20), body.frame()));
    assert!(join_all(seen).await.into_iter().all(|frame| matches!(frame, Ok(Some(Ok(_))))));
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_never_read_share_what_they_have_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (server, kubeconfig) = server(dir.path());
    let mut open = Vec::new();
    for _ in 0..50 {
        let sender = connect(&kubeconfig).await;
        open.push((watch(&sender).await.unwrap(), sender));
    }
    let maps = maps(&kubeconfig).await;
    let before = server.resident();
    for at in 0..20 {
        create(&maps, &format!("large-{at}"), 500_000).await;
    }
    // 10 MB of objects; unshared, their events would be half a gigabyte.
    let grown = server.resident().saturating_sub(before) >> 20;
    assert!(grown < 120, "{grown} MiB for 10 MB of objects");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_opening_streams_gets_no_more_than_512() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, kubeconfig) = server(dir.path());
    let sender = connect(&kubeconfig).await;
    let open = try_join_all((0..512).map(|_| watch(&sender))).await.unwrap();
    let one_more = tokio::time::timeout(Duration::from_millis(300), watch(&sender)).await;
    assert!(one_more.is_err(), "{} and one more", open.len());
}
