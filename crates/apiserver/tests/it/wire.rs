//! Over real sockets and TLS, with the kubeconfig that the server writes.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use paddock_apiserver::Server;

use crate::objects::map;

pub(crate) async fn listening(dir: Option<&std::path::Path>) -> Server {
    let builder = Server::builder().listen("127.0.0.1:0".parse().expect("an address")).loops(false);
    let builder = match dir {
        Some(dir) => builder.data_dir(dir),
        None => builder.in_memory(),
    };
    builder.start().await.expect("the server starts")
}

pub(crate) async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a config");
    config.default_retry = false;
    let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider());
    Client::try_from(config).expect("a client")
}

/// An h2 connection of the administrator's.
pub(crate) async fn h2(
    server: &Server,
) -> hyper::client::conn::http2::SendRequest<http_body_util::Empty<bytes::Bytes>> {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig().unwrap()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = kube::client::ConfigExt::rustls_client_config(&config).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, stream).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn the_kubeconfig_opens_the_server() {
    let server = listening(None).await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server.kubeconfig().unwrap()).await);
    api.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_caller_without_a_certificate_may_do_nothing() {
    let server = listening(None).await;
    let mut kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig().unwrap()).unwrap();
    kubeconfig.auth_infos[0].auth_info = Some(kube::config::AuthInfo::default());
    let text = serde_json::to_string(&kubeconfig).unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(client(&text).await);
    let error = api.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 403));
}

#[tokio::test]
async fn a_restart_keeps_objects_and_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let server = listening(Some(dir.path())).await;
    let address = server.local_addr().unwrap();
    let old = server.kubeconfig().unwrap();
    let api: Api<ConfigMap> = Api::default_namespaced(client(&old).await);
    api.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    drop(api);
    server.shutdown().await;
    let _server =
        Server::builder().listen(address).loops(false).data_dir(dir.path()).start().await.expect("it starts again");
    let api: Api<ConfigMap> = Api::default_namespaced(client(&old).await);
    assert!(api.get_opt("a").await.unwrap().is_some());
}
