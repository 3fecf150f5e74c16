//! Clients that send what no client should: each gets a Status with the right code and reason, in bounded time and memory,
//! and the server stays up. Limits of connections (heads, handshakes, streams) are tested where they are set, in
//! paddock-serve.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use paddock_apiserver::Server;
use serde_json::Value;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn server() -> Server {
    Server::builder().in_memory().loops(false).start().await.expect("the server starts")
}

/// Code and reason of the answer.
async fn answer(server: &Server, method: &str, path: &str, media: &str, body: Body) -> (u16, String) {
    let request =
        Request::builder().method(method).uri(path).header("content-type", media).body(body).expect("a request");
    let response = server.client().send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    (code, status["reason"].as_str().unwrap_or_default().to_owned())
}

/// Answers to bodies that are posted as ConfigMaps.
async fn posted(bodies: &[(&str, &[u8])]) -> Vec<(u16, String)> {
    let server = server().await;
    let mut answers = Vec::new();
    for (media, body) in bodies {
        answers.push(answer(&server, "POST", MAPS, media, Body::from(body.to_vec())).await);
    }
    answers
}

fn all(count: usize, code: u16, reason: &str) -> Vec<(u16, String)> {
    vec![(code, reason.to_owned()); count]
}

#[tokio::test]
async fn a_malformed_body_is_a_bad_request() {
    let bodies: &[(&str, &[u8])] = &[
        ("application/json", b"{\"a\":"),
        ("application/json", b""),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"{\"metadata\":{\"name\":\"\\ud800\"}}"),
        ("application/json", b"{\"metadata\":{\"generation\":1e400}}"),
        ("application/json", b"[]"),
        ("application/yaml", b"a: [b"),
        ("application/yaml", b"\xff"),
        ("application/vnd.kubernetes.protobuf", b"k8s\0\xff\xff\xff"),
        ("application/vnd.kubernetes.protobuf", b"zzz"),
    ];
    assert_eq!(posted(bodies).await, all(bodies.len(), 400, "BadRequest"));
}

#[tokio::test]
async fn a_body_nested_too_deep_is_a_bad_request() {
    let json = "{\"a\":".repeat(100_000);
    let yaml = "- ".repeat(100_000);
    let bodies: &[(&str, &[u8])] = &[("application/json", json.as_bytes()), ("application/yaml", yaml.as_bytes())];
    assert_eq!(posted(bodies).await, all(2, 400, "BadRequest"));
}

#[tokio::test]
async fn a_body_that_expands_is_a_bad_request() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..20 {
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
    }
    assert_eq!(posted(&[("application/yaml", bomb.as_bytes())]).await, all(1, 400, "BadRequest"));
}

#[tokio::test]
async fn a_body_in_an_unknown_encoding_is_an_unsupported_media_type() {
    let bodies: &[(&str, &[u8])] = &[("application/cbor", b"\xd9\xd9\xf7\xa0"), ("text/plain", b"{}"), ("é", b"{}")];
    assert_eq!(posted(bodies).await, all(3, 415, "UnsupportedMediaType"));
}

#[tokio::test]
async fn a_body_above_three_mebibytes_is_too_large() {
    let body = vec![b' '; 3 * 1024 * 1024 + 1];
    assert_eq!(posted(&[("application/json", &body)]).await, all(1, 413, "RequestEntityTooLarge"));
}

#[tokio::test]
async fn a_path_cannot_climb() {
    let server = server().await;
    for path in [
        "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets",
        "/api/v1/namespaces/../../api/v1/secrets",
        "/api/v1/namespaces/default/configmaps/%00",
        "/api/v1/namespaces/default%2fconfigmaps/x",
    ] {
        let got = answer(&server, "GET", path, "", Body::empty()).await;
        assert_eq!(got, (404, "NotFound".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf8_is_a_bad_request() {
    let got = answer(&server().await, "GET", "/api/v1/namespaces/%ff/configmaps", "", Body::empty()).await;
    assert_eq!(got, (400, "BadRequest".to_owned()));
}

#[tokio::test]
async fn options_that_are_no_numbers_are_a_bad_request() {
    let server = server().await;
    for query in [
        "limit=x",
        "timeoutSeconds=x",
        "limit=99999999999999999999",
        "resourceVersion=x",
        "continue=x",
        "resourceVersion=-1",
    ] {
        let got = answer(&server, "GET", &format!("{MAPS}?{query}"), "", Body::empty()).await;
        assert_eq!(got, (400, "BadRequest".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn an_absurd_selector_is_a_bad_request() {
    let server = server().await;
    let open = "(".repeat(30_000);
    let list = format!("a%20in%20({}", "x,".repeat(20_000));
    let bangs = "!".repeat(30_000);
    for selector in [open, list, bangs] {
        let got = answer(&server, "GET", &format!("{MAPS}?labelSelector={selector}"), "", Body::empty()).await;
        assert_eq!(got, (400, "BadRequest".to_owned()));
    }
}

#[tokio::test]
async fn a_json_patch_that_grows_by_copying_is_refused() {
    let server = server().await;
    let map = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"xxxxxxxxxxxxxxxx"}}"#;
    answer(&server, "POST", MAPS, "application/json", Body::from(map.to_vec())).await;
    let copies: Vec<String> =
        (0..64).map(|i| format!(r#"{{"op":"copy","from":"/metadata","path":"/metadata/x{i}"}}"#)).collect();
    let patch = format!("[{}]", copies.join(","));
    let got =
        answer(&server, "PATCH", &format!("{MAPS}/a"), "application/json-patch+json", Body::from(patch.into_bytes()))
            .await;
    assert_eq!(got, (422, "Invalid".to_owned()));
}

#[tokio::test]
async fn an_unknown_method_is_not_allowed() {
    let server = server().await;
    for method in ["FOO", "OPTIONS", "TRACE", "HEAD"] {
        let got = answer(&server, method, "/api/v1/pods", "", Body::empty()).await;
        assert_eq!(got.0, StatusCode::METHOD_NOT_ALLOWED.as_u16(), "{method}");
    }
}

#[tokio::test]
async fn the_answer_to_a_head_request_has_no_body() {
    let request = Request::head("/healthz").body(Body::empty()).unwrap();
    let response = server().await.client().send(request).await.unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

/// A rule that is within the limits of what a rule may cost, and still takes a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn other_requests_are_answered_while_a_rule_runs() {
    let server = std::sync::Arc::new(server().await);
    let definition = serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "l": {"type": "array", "maxItems": 80, "items": {"type": "integer"},
                    "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))"}]},
            }}},
        }]},
    });
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let got = answer(&server, "POST", crds, "application/json", Body::from(definition.to_string().into_bytes())).await;
    assert_eq!(got.0, 201);
    let widget = serde_json::json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "l": vec![1; 80],
    });
    let (slow, quick) = (server.clone(), server.clone());
    let slow = tokio::spawn(async move {
        let path = "/apis/example.com/v1/namespaces/default/widgets";
        answer(&slow, "POST", path, "application/json", Body::from(widget.to_string().into_bytes())).await
    });
    tokio::spawn(async move { answer(&quick, "GET", MAPS, "", Body::empty()).await }).await.expect("an answer");
    assert!(!slow.is_finished());
    assert_eq!(slow.await.expect("an answer").0, 422, "the rule is cut off by its budget");
}
