//! Logs, exec, attach and port-forward of a node that is plugged in, as kube's client sees them.

use std::sync::Arc;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{AttachParams, LogParams, TerminalSize};
use kube::{Api, Client};
use paddock_apiserver::Server;
use serde_json::{from_value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::puppet::Puppet;
use crate::wire::client;

/// A server with a pod `p` on the node `n`, and a client over HTTPS.
async fn running() -> (Server, Client, Api<Pod>) {
    let server = Server::builder().listen(([127, 0, 0, 1], 0).into()).start().await.expect("the server starts");
    let client = client(&server.kubeconfig().expect("a socket")).await;
    let node = json!({"metadata": {"name": "n"}});
    Api::<NodeObject>::all(client.clone())
        .create(&Default::default(), &from_value(node).expect("a node"))
        .await
        .expect("it is created");
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "i"}]}});
    pods.create(&Default::default(), &from_value(pod).expect("a pod")).await.expect("it is created");
    server.connect_node("n", Arc::new(Puppet));
    (server, client, pods)
}

#[tokio::test]
async fn a_log_is_asked_of_the_node_with_all_options() {
    let (_server, _, pods) = running().await;
    let params = LogParams { tail_lines: Some(3), timestamps: true, ..LogParams::default() };
    let log = pods.logs("p", &params).await.unwrap();
    assert_eq!(
        log,
        "p/c of default\nLogOptions { follow: false, previous: false, timestamps: true, tail_lines: Some(3), \
         limit_bytes: None, since: None, stream: All }\n"
    );
}

#[tokio::test]
async fn a_log_that_is_followed_comes_as_it_is_written() {
    let (_server, _, pods) = running().await;
    let params = LogParams { follow: true, ..LogParams::default() };
    let mut lines = pods.log_stream("p", &params).await.unwrap().lines();
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "p/c of default");
}

#[tokio::test]
async fn what_is_typed_comes_back_and_the_end_of_it_ends_the_command() {
    let (_server, _, pods) = running().await;
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut session = pods.exec("p", ["cat"], &params).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin().unwrap(), session.stdout().unwrap());
    // More than all buffers on the way hold, so that both directions have to run at once.
    let sent = vec![b'x'; 1_000_000];
    let mut got = Vec::new();
    let (written, read) = tokio::join!(
        async {
            stdin.write_all(&sent).await?;
            stdin.shutdown().await
        },
        async {
            let mut taken = (&mut stdout).take(sent.len() as u64);
            taken.read_to_end(&mut got).await
        }
    );
    assert!(written.is_ok() && read.is_ok() && got == sent);
}

#[tokio::test]
async fn an_exit_code_reaches_the_client() {
    let (_server, _, pods) = running().await;
    let mut session = pods.exec("p", ["fail"], &AttachParams::default()).await.unwrap();
    let status = session.take_status().unwrap().await.unwrap();
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("7"));
}

#[tokio::test]
async fn success_is_told() {
    let (_server, _, pods) = running().await;
    let mut session = pods.attach("p", &AttachParams::default()).await.unwrap();
    let status = session.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"));
}

#[tokio::test]
async fn the_size_of_a_terminal_is_handed_on() {
    let (_server, _, pods) = running().await;
    let params = AttachParams::interactive_tty();
    let mut session = pods.exec("p", ["size"], &params).await.unwrap();
    let mut stdout = session.stdout().unwrap();
    let mut sizes = session.terminal_size().unwrap();
    sizes.try_send(TerminalSize { height: 20, width: 80 }).unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "80x20");
}

#[tokio::test]
async fn each_port_is_a_connection_of_its_own() {
    let (_server, _, pods) = running().await;
    let mut forwarded = pods.portforward("p", &[80, 81]).await.unwrap();
    let mut texts = Vec::new();
    for port in [80, 81] {
        let mut stream = forwarded.take_stream(port).unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut text = [0; 8];
        stream.read_exact(&mut text).await.unwrap();
        texts.push(String::from_utf8(text.to_vec()).unwrap());
    }
    assert_eq!(texts, ["80:hello", "81:hello"]);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_an_error_of_that_port() {
    let (_server, _, pods) = running().await;
    let mut forwarded = pods.portforward("p", &[1]).await.unwrap();
    let error = forwarded.take_error(1).unwrap().await.unwrap();
    assert_eq!(error, "error forwarding port 1 to pod p: nobody listens");
}

#[tokio::test]
async fn who_may_only_read_pods_runs_no_command() {
    let (server, client, _) = running().await;
    let role = json!({"metadata": {"name": "r"}, "rules": [
        {"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}]});
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "default"}]});
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
    Api::<ClusterRole>::all(client.clone()).create(&Default::default(), &from_value(role).unwrap()).await.unwrap();
    Api::<ClusterRoleBinding>::all(client).create(&Default::default(), &from_value(binding).unwrap()).await.unwrap();
    let reader = server.client_as(paddock_apiserver::User::service_account("default", "default"));
    let request = http::Request::get("/api/v1/namespaces/default/pods/p/exec?command=cat&stdout=true").body(Vec::new());
    let error = reader.request_text(request.unwrap()).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(
        status.message,
        "pods \"p\" is forbidden: User \"system:serviceaccount:default:default\" cannot create resource \"pods/exec\" in \
         API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn a_node_that_is_not_connected_is_named() {
    let (server, _, pods) = running().await;
    server.disconnect_node("n");
    let kube::Error::Api(status) = pods.logs("p", &LogParams::default()).await.unwrap_err() else { panic!() };
    assert_eq!((status.code, status.message.contains("\"n\" is not connected")), (503, true));
}
