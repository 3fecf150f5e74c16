//! Applies that are known to change nothing are answered without merging, as long as nothing could make their outcome another one.

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use paddock_apiserver::{Server, User};
use serde_json::{Value, json};

const MAP: &str = "/api/v1/namespaces/default/configmaps/a";

async fn server() -> Server {
    Server::builder().in_memory().loops(false).start().await.expect("the server starts")
}

async fn send(server: &Server, user: User, method: &str, path: &str, media: &str, body: Value) -> (u16, Value) {
    let body = Body::from(body.to_string().into_bytes());
    let request = Request::builder().method(method).uri(path).header("content-type", media).body(body).unwrap();
    let answer = server.client_as(user).send(request).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn apply(server: &Server, value: &str) -> (u16, Value) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}});
    let path = format!("{MAP}?fieldManager=m");
    send(server, User::admin(), "PATCH", &path, "application/apply-patch+yaml", map).await
}

async fn create(server: &Server, path: &str, object: Value) {
    let (code, answer) = send(server, User::admin(), "POST", path, "application/json", object).await;
    assert_eq!(code, 201, "{answer}");
}

/// How many applies were answered without merging.
async fn known(server: &Server) -> u64 {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let bytes = server.client().send(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("paddock_apiserver_unchanged_applies_total "));
    line.unwrap().parse().unwrap()
}

/// A server on which the same was applied three times: created, found to change nothing, known to change nothing.
async fn settled() -> Server {
    let server = server().await;
    let (_, first) = apply(&server, "v").await;
    for _ in 0..2 {
        assert_eq!(apply(&server, "v").await, (200, first.clone()));
    }
    assert_eq!(known(&server).await, 1);
    server
}

#[tokio::test]
async fn the_same_again_is_answered_with_the_object_as_it_is() {
    let server = settled().await;
    apply(&server, "v").await;
    assert_eq!(known(&server).await, 2);
}

#[tokio::test]
async fn another_body_is_merged() {
    let server = settled().await;
    assert_eq!(apply(&server, "w").await.1["data"]["k"], "w");
    assert_eq!(known(&server).await, 1);
}

#[tokio::test]
async fn what_somebody_else_changed_is_a_conflict() {
    let server = settled().await;
    let patch = json!({"data": {"k": "theirs"}});
    let path = format!("{MAP}?fieldManager=other");
    send(&server, User::admin(), "PATCH", &path, "application/merge-patch+json", patch).await;
    assert_eq!(apply(&server, "v").await.0, 409);
}

#[tokio::test]
async fn what_was_deleted_is_created_again() {
    let server = settled().await;
    send(&server, User::admin(), "DELETE", MAP, "application/json", json!({})).await;
    assert_eq!(apply(&server, "v").await.0, 201);
}

#[tokio::test]
async fn who_may_not_is_refused() {
    let server = settled().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let (user, path) = (User::new("nobody", ["nothing"]), format!("{MAP}?fieldManager=m"));
    assert_eq!(send(&server, user, "PATCH", &path, "application/apply-patch+yaml", map).await.0, 403);
}

#[tokio::test]
async fn other_objects_that_decide_nothing_do_not_matter() {
    let server = settled().await;
    create(&server, "/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await;
    apply(&server, "v").await;
    assert_eq!(known(&server).await, 2);
}

#[tokio::test]
async fn a_change_that_might_decide_is_waited_out() {
    let server = settled().await;
    create(&server, "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    apply(&server, "v").await;
    assert_eq!(known(&server).await, 1);
    apply(&server, "v").await;
    assert_eq!(known(&server).await, 2);
}

#[tokio::test]
async fn a_policy_is_asked_each_time() {
    let server = settled().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}]);
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "false", "message": "never"}]}});
    create(&server, &format!("{group}/validatingadmissionpolicies"), policy).await;
    let binding = json!({"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    create(&server, &format!("{group}/validatingadmissionpolicybindings"), binding).await;
    let (code, answer) = apply(&server, "v").await;
    assert_eq!(code, 422, "{answer}");
}
