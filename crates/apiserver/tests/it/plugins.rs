//! The built-in admission plugins, as clients meet them: what is filled in, what is refused, and which error wins.

use std::time::Duration;

use futures::future::join_all;
use http::{Method, Request};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use paddock_apiserver::Server;
use serde_json::{Value, json};

/// Code, body and warnings of an answer.
async fn ask(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value, Vec<String>) {
    let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = request.body(body.into()).expect("a request");
    let response = server.client().send(request).await.expect("an answer");
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.filter_map(|text| text.to_str().ok()).map(str::to_owned).collect();
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).expect("JSON"), warnings)
}

async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    let (code, body, _) = ask(server, Method::POST, path, body).await;
    (code, body)
}

const SPACE: &str = "/api/v1/namespaces/default";

/// A server without loops whose namespace `default` has its account.
async fn server() -> Server {
    let server = crate::objects::server().await;
    let account = json!({"metadata": {"name": "default"}});
    assert_eq!(post(&server, &format!("{SPACE}/serviceaccounts"), account).await.0, 201);
    server
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in spec.as_object().cloned().unwrap_or_default() {
        pod["spec"][field] = value;
    }
    pod
}

async fn label(server: &Server, labels: Value) -> (u16, Value, Vec<String>) {
    ask(server, Method::PATCH, SPACE, json!({"metadata": {"labels": labels}})).await
}

#[tokio::test]
async fn a_plugin_that_fills_in_refuses_before_the_kind_is_validated() {
    let server = server().await;
    let wrong = pod("p", json!({"priorityClassName": "none", "restartPolicy": "Sometimes"}));
    let (code, status) = post(&server, &format!("{SPACE}/pods"), wrong).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &json!("pods \"p\" is forbidden: no PriorityClass with name none was found"))
    );
}

#[tokio::test]
async fn a_plugin_that_only_looks_refuses_after_it() {
    let server = server().await;
    label(&server, json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    assert_eq!(post(&server, &format!("{SPACE}/pods"), pod("p", json!({"restartPolicy": "Sometimes"}))).await.0, 422);
    assert_eq!(post(&server, &format!("{SPACE}/pods"), pod("p", json!({}))).await.0, 403);
}

#[tokio::test]
async fn a_workload_is_warned_of_what_its_pods_would_break() {
    let server = server().await;
    label(&server, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("p", json!({"hostPID": true}))["spec"]});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let (code, _, warnings) = ask(&server, Method::POST, path, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let text = r#"299 - "would violate PodSecurity \"baseline:latest\": host namespaces (hostPID)""#;
    assert_eq!((code, warnings), (201, vec![text.to_owned()]));
}

#[tokio::test]
async fn a_stricter_namespace_tells_of_its_pods() {
    let server = server().await;
    for name in ["b", "a"] {
        assert_eq!(post(&server, &format!("{SPACE}/pods"), pod(name, json!({"hostPID": true}))).await.0, 201);
    }
    let (_, _, warnings) = label(&server, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    let expected = [
        r#"299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"""#,
        r#"299 - "a (and 1 other pod): host namespaces""#,
    ];
    assert_eq!(warnings, expected);
}

#[tokio::test]
async fn a_limit_range_fills_in_and_bounds() {
    let server = server().await;
    let limits = json!([{"type": "Container", "default": {"cpu": "1"}}, {"type": "Pod", "max": {"cpu": "1"}}]);
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": limits}});
    assert_eq!(post(&server, &format!("{SPACE}/limitranges"), range).await.0, 201);
    let (_, made) = post(&server, &format!("{SPACE}/pods"), pod("p", json!({}))).await;
    assert_eq!(made["spec"]["containers"][0]["resources"], json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}));
    let two = json!({"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]});
    let (_, status) = post(&server, &format!("{SPACE}/pods"), pod("q", two)).await;
    assert_eq!(status["message"], "pods \"q\" is forbidden: maximum cpu usage per Pod is 1, but limit is 2");
}

#[tokio::test]
async fn a_claim_gets_the_default_class_and_its_protection() {
    let server = server().await;
    let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"name": "std", "annotations": annotations}, "provisioner": "x/y"});
    assert_eq!(post(&server, "/apis/storage.k8s.io/v1/storageclasses", class).await.0, 201);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = json!({"metadata": {"name": "c"}, "spec": spec});
    let (_, made) = post(&server, &format!("{SPACE}/persistentvolumeclaims"), claim).await;
    assert_eq!(
        (&made["spec"]["storageClassName"], &made["metadata"]["finalizers"][0]),
        (&json!("std"), &json!("kubernetes.io/pvc-protection"))
    );
}

#[tokio::test]
async fn a_namespace_that_the_cluster_needs_cannot_be_deleted() {
    let server = server().await;
    let (code, status, _) = ask(&server, Method::DELETE, "/api/v1/namespaces/kube-system", Value::Null).await;
    let message = "namespaces \"kube-system\" is forbidden: this namespace may not be deleted";
    assert_eq!((code, &status["message"]), (403, &json!(message)));
}

/// A server that counts, with a quota of secrets that it has counted.
async fn limited(most: &str) -> Server {
    let server = quota(json!({"secrets": most})).await;
    until(&server, |used| used["secrets"] == "0").await;
    server
}

async fn quota(hard: Value) -> Server {
    let server = Server::builder().in_memory().start().await.expect("the server starts");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    assert_eq!(post(&server, &format!("{SPACE}/resourcequotas"), quota).await.0, 201);
    server
}

/// Waits for what the quota says is used.
async fn until(server: &Server, right: impl Fn(&Value) -> bool + Send) {
    let quotas: Api<ResourceQuota> = Api::namespaced(server.client(), "default");
    let seen = |quota: Option<&ResourceQuota>| {
        let used = quota.and_then(|quota| quota.status.as_ref()?.used.as_ref());
        right(&serde_json::to_value(used).unwrap_or_default())
    };
    let wait = await_condition(quotas, "q", seen);
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it is counted in time").expect("a watch");
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn many_at_once_do_not_exceed_a_quota() {
    let server = limited("5").await;
    let path = format!("{SPACE}/secrets");
    let codes = join_all((0..20).map(|n| post(&server, &path, secret(&format!("s{n}"))))).await;
    assert_eq!(codes.iter().filter(|(code, _)| *code == 201).count(), 5);
}

#[tokio::test]
async fn what_is_deleted_is_given_back() {
    let server = limited("1").await;
    let path = format!("{SPACE}/secrets");
    assert_eq!(post(&server, &path, secret("a")).await.0, 201);
    assert_eq!(post(&server, &path, secret("b")).await.0, 403);
    ask(&server, Method::DELETE, &format!("{path}/a"), Value::Null).await;
    until(&server, |used| used["secrets"] == "0").await;
    assert_eq!(post(&server, &path, secret("b")).await.0, 201);
}

#[tokio::test]
async fn a_dry_run_is_judged_and_not_booked() {
    let server = limited("1").await;
    let dry = format!("{SPACE}/secrets?dryRun=All");
    assert_eq!(post(&server, &dry, secret("a")).await.0, 201);
    assert_eq!(post(&server, &format!("{SPACE}/secrets"), secret("a")).await.0, 201);
    assert_eq!(post(&server, &dry, secret("b")).await.0, 403);
}

#[tokio::test]
async fn a_create_that_fails_after_its_booking_is_given_back() {
    let server = limited("2").await;
    let path = format!("{SPACE}/secrets");
    assert_eq!(post(&server, &path, secret("a")).await.0, 201);
    assert_eq!(post(&server, &path, secret("a")).await.0, 409);
    assert_eq!(post(&server, &format!("{SPACE}/configmaps"), secret("m")).await.0, 201);
    until(&server, |used| used["secrets"] == "1").await;
}

#[tokio::test]
async fn custom_resources_are_counted_by_their_group() {
    let server = quota(json!({"count/widgets.example.com": "1"})).await;
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    let spec = json!({"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]});
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": spec});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(post(&server, path, definition).await.0, 201);
    until(&server, |used| used["count/widgets.example.com"] == "0").await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = |name: &str| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}});
    let (code, status) = post(&server, widgets, widget("a")).await;
    assert_eq!(code, 201, "{status}");
    assert_eq!(post(&server, widgets, widget("b")).await.0, 403);
}

#[tokio::test]
async fn the_account_of_a_new_namespace_is_waited_for() {
    let server = Server::builder().in_memory().start().await.expect("the server starts");
    assert_eq!(post(&server, "/api/v1/namespaces", json!({"metadata": {"name": "new"}})).await.0, 201);
    assert_eq!(post(&server, "/api/v1/namespaces/new/pods", pod("p", json!({}))).await.0, 201);
}
