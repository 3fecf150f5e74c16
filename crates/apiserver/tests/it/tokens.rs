//! Tokens of service accounts: asked for, used, reviewed, and ended by what they are bound to.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Client, Config};
use paddock_apiserver::clock::Clock;
use paddock_apiserver::{Loop, Server};
use paddock_workloads::Workload;
use serde_json::{Value, json};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A server with a socket, a clock that stands still, and the account `default/robot`.
async fn server() -> Server {
    let builder = Server::builder().listen("127.0.0.1:0".parse().expect("an address")).loops(false);
    let server = builder.clock(Clock::manual(Timestamp::now())).start().await.expect("the server starts");
    create(&server, "serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    server
}

async fn call(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, kube::core::Status> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    match client.request::<Value>(request.body(body).expect("a request")).await {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

async fn create(server: &Server, plural: &str, object: Value) -> Value {
    let path = format!("/api/v1/namespaces/default/{plural}");
    call(&server.client(), "POST", &path, &object).await.expect("it is created")
}

async fn create_pod(server: &Server, name: &str) -> Value {
    let spec = json!({
        "serviceAccountName": "robot", "automountServiceAccountToken": false, "nodeName": "n1",
        "containers": [{"name": "c", "image": "img:1"}],
    });
    create(server, "pods", json!({"metadata": {"name": name}, "spec": spec})).await
}

async fn delete(server: &Server, path: &str) {
    call(&server.client(), "DELETE", &format!("/api/v1/namespaces/default/{path}"), &json!({"gracePeriodSeconds": 0}))
        .await
        .expect("it is deleted");
}

async fn ask(server: &Server, spec: Value) -> Result<Value, kube::core::Status> {
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    call(&server.client(), "POST", path, &json!({"spec": spec})).await
}

async fn token(server: &Server, spec: Value) -> String {
    ask(server, spec).await.expect("a token")["status"]["token"].as_str().expect("a text").to_owned()
}

async fn bound_to(server: &Server, kind: &str, name: &str) -> String {
    token(server, json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}})).await
}

/// What a token says, not verified.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A client over HTTPS with other credentials than the kubeconfig's.
async fn client(server: &Server, change: impl FnOnce(&mut AuthInfo)) -> Client {
    let mut kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig().expect("a socket")).expect("a kubeconfig");
    change(kubeconfig.auth_infos[0].auth_info.as_mut().expect("a user"));
    // Secrets are not serialised with the rest, so the configuration is made from the text.
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration");
    config.default_retry = false;
    let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider());
    Client::try_from(config).expect("a client")
}

async fn client_with(server: &Server, token: &str) -> Client {
    let token = token.to_owned();
    client(server, |user| *user = AuthInfo { token: Some(token.into()), ..AuthInfo::default() }).await
}

async fn who_am_i(client: &Client) -> Result<Value, kube::core::Status> {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    Ok(call(client, "POST", path, &json!({})).await?["status"]["userInfo"].clone())
}

async fn review(server: &Server, token: &str) -> Value {
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    call(&server.client(), "POST", path, &json!({"spec": {"token": token}})).await.expect("a review")["status"].clone()
}

async fn refusal(server: &Server, token: &str) -> String {
    let status = review(server, token).await;
    assert_eq!(status.get("authenticated"), None);
    status["error"].as_str().expect("a reason").to_owned()
}

const INVALIDATED: &str = "[invalid bearer token, service account token has been invalidated]";

#[tokio::test]
async fn a_token_makes_its_holder_the_account() {
    let server = server().await;
    let token = token(&server, json!({})).await;
    let user = who_am_i(&client_with(&server, &token).await).await.unwrap();
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    let id = format!("JTI={}", claims(&token)["jti"].as_str().unwrap());
    assert_eq!(user["extra"], json!({"authentication.kubernetes.io/credential-id": [id]}));
}

#[tokio::test]
async fn a_token_ends_a_minute_after_its_expiry() {
    let server = server().await;
    let token = token(&server, json!({"expirationSeconds": 600})).await;
    let client = client_with(&server, &token).await;
    server.clock().advance(Duration::from_secs(659));
    assert!(who_am_i(&client).await.is_ok());
    server.clock().advance(Duration::from_secs(2));
    assert_eq!(who_am_i(&client).await.unwrap_err().code, 401);
    assert_eq!(refusal(&server, &token).await, "[invalid bearer token, service account token has expired]");
}

#[tokio::test]
async fn the_deletion_of_the_bound_pod_ends_a_token_at_once() {
    let server = server().await;
    create_pod(&server, "p").await;
    let token = bound_to(&server, "Pod", "p").await;
    let client = client_with(&server, &token).await;
    assert!(who_am_i(&client).await.is_ok());
    delete(&server, "pods/p").await;
    assert_eq!(who_am_i(&client).await.unwrap_err().code, 401);
    assert_eq!(refusal(&server, &token).await, INVALIDATED);
}

#[tokio::test]
async fn a_pod_of_the_same_name_is_not_the_bound_one() {
    let server = server().await;
    let old = create_pod(&server, "p").await;
    let token = bound_to(&server, "Pod", "p").await;
    delete(&server, "pods/p").await;
    let new = create_pod(&server, "p").await;
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let why = format!("pod UID ({}) does not match service account pod ref claim ({})", uid(&new), uid(&old));
    assert_eq!(refusal(&server, &token).await, format!("[invalid bearer token, {why}]"));
}

#[tokio::test]
async fn the_deletion_of_the_bound_secret_ends_a_token() {
    let server = server().await;
    create(&server, "secrets", json!({"metadata": {"name": "s"}})).await;
    let token = bound_to(&server, "Secret", "s").await;
    assert_eq!(review(&server, &token).await["authenticated"], true);
    delete(&server, "secrets/s").await;
    assert_eq!(refusal(&server, &token).await, INVALIDATED);
}

#[tokio::test]
async fn an_object_that_only_waits_for_finalizers_ends_its_tokens_after_a_minute() {
    let server = server().await;
    create(&server, "secrets", json!({"metadata": {"name": "s", "finalizers": ["x.io/y"]}})).await;
    let token = bound_to(&server, "Secret", "s").await;
    delete(&server, "secrets/s").await;
    assert_eq!(review(&server, &token).await["authenticated"], true);
    server.clock().advance(Duration::from_secs(62));
    assert_eq!(refusal(&server, &token).await, INVALIDATED);
}

#[tokio::test]
async fn a_token_bound_to_a_node_ends_with_the_node() {
    let server = server().await;
    let admin = server.client();
    call(&admin, "POST", "/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.unwrap();
    let token = bound_to(&server, "Node", "n1").await;
    let extra = review(&server, &token).await["user"]["extra"].clone();
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
    call(&admin, "DELETE", "/api/v1/nodes/n1", &Value::Null).await.unwrap();
    assert_eq!(refusal(&server, &token).await, INVALIDATED);
}

#[tokio::test]
async fn a_new_account_of_the_same_name_does_not_revive_old_tokens() {
    let server = server().await;
    let token = token(&server, json!({})).await;
    delete(&server, "serviceaccounts/robot").await;
    assert_eq!(refusal(&server, &token).await, r#"[invalid bearer token, serviceaccounts "robot" not found]"#);
    create(&server, "serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    assert!(refusal(&server, &token).await.starts_with("[invalid bearer token, service account UID ("));
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().loops(false).data_dir(dir.path()).start();
    let first = start().await.expect("it starts");
    create(&first, "serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    let token = token(&first, json!({})).await;
    first.shutdown().await;
    let second = start().await.expect("it starts again");
    assert_eq!(review(&second, &token).await["authenticated"], true);
}

#[tokio::test]
async fn the_signing_key_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder().loops(false).data_dir(dir.path()).start().await.expect("it starts");
    create(&server, "serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    token(&server, json!({})).await;
    let mode = std::fs::metadata(dir.path().join("pki/sa.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_token_of_another_server_is_refused() {
    let (one, other) = (server().await, server().await);
    let token = token(&other, json!({})).await;
    assert_eq!(who_am_i(&client_with(&one, &token).await).await.unwrap_err().code, 401);
}

#[tokio::test]
async fn a_bad_token_is_401_even_where_anyone_may_read() {
    let server = server().await;
    let client = client_with(&server, "garbage").await;
    let status = call(&client, "GET", "/healthz", &Value::Null).await.unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (401, "Unauthorized"));
}

#[tokio::test]
async fn a_token_far_too_long_is_401() {
    let server = server().await;
    let client = client_with(&server, &"x.y.z".repeat(14_000)).await;
    assert_eq!(who_am_i(&client).await.unwrap_err().code, 401);
}

#[tokio::test]
async fn a_good_certificate_counts_before_a_bad_token() {
    let server = server().await;
    let client = client(&server, |user| user.token = Some("garbage".to_owned().into())).await;
    let user = who_am_i(&client).await.unwrap();
    assert_eq!(user["username"], "admin");
    let id = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");
}

#[tokio::test]
async fn a_token_for_others_does_not_open_this_server() {
    let server = server().await;
    let token = token(&server, json!({"audiences": ["vault"]})).await;
    assert_eq!(who_am_i(&client_with(&server, &token).await).await.unwrap_err().code, 401);
    let why = format!("token audiences [\"vault\"] is invalid for the target audiences [{ISSUER:?}]");
    assert_eq!(refusal(&server, &token).await, format!("[invalid bearer token, {why}]"));
}

#[tokio::test]
async fn a_review_names_the_audiences_that_both_sides_know() {
    let server = server().await;
    let token = token(&server, json!({"audiences": ["a", "b", "c"]})).await;
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let body = json!({"spec": {"token": token, "audiences": ["c", "x", "a"]}});
    let status = call(&server.client(), "POST", path, &body).await.unwrap()["status"].clone();
    assert_eq!(status["audiences"], json!(["c", "a"]));
}

#[tokio::test]
async fn a_review_of_garbage_says_so() {
    let server = server().await;
    let status = review(&server, "garbage").await;
    assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}));
}

#[tokio::test]
async fn a_review_without_a_token_is_refused() {
    let server = server().await;
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let status = call(&server.client(), "POST", path, &json!({"spec": {}})).await.unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (400, "token is required for TokenReview in authentication"));
}

#[tokio::test]
async fn a_pods_token_names_the_pod_and_its_node() {
    let server = server().await;
    let pod = create_pod(&server, "p").await;
    let token = bound_to(&server, "Pod", "p").await;
    let extra = review(&server, &token).await["user"]["extra"].clone();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([pod["metadata"]["uid"]]));
    // No such node is there: its name is told all the same.
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
    assert_eq!(extra.get("authentication.kubernetes.io/node-uid"), None);
}

#[tokio::test]
async fn a_projected_token_holds_a_year_and_says_when_to_renew_it() {
    let server = server().await;
    create_pod(&server, "p").await;
    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}});
    let answer = ask(&server, spec).await.unwrap();
    let claims = claims(answer["status"]["token"].as_str().unwrap());
    let at = |claim: &Value| claim.as_i64().unwrap();
    let start = at(&claims["iat"]);
    assert_eq!(at(&claims["exp"]) - start, 365 * 24 * 3600);
    assert_eq!(at(&claims["kubernetes.io"]["warnafter"]) - start, 3607);
    let shown: Timestamp = answer["status"]["expirationTimestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(shown.as_second() - start, 3607);
}

#[tokio::test]
async fn a_request_is_answered_with_what_was_granted() {
    let server = server().await;
    let account =
        call(&server.client(), "GET", "/api/v1/namespaces/default/serviceaccounts/robot", &Value::Null).await.unwrap();
    let mut answer = ask(&server, json!({})).await.unwrap();
    answer["status"]["token"] = Value::Null;
    let now = server.clock().now();
    let seconds = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(
        answer,
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {
                "name": "robot", "namespace": "default", "uid": account["metadata"]["uid"],
                "creationTimestamp": seconds(now),
            },
            "spec": {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": null},
            "status": {"token": null, "expirationTimestamp": seconds(now + Duration::from_secs(3600))},
        })
    );
}

#[tokio::test]
async fn what_a_token_cannot_be_bound_to_is_refused() {
    let server = server().await;
    create(&server, "secrets", json!({"metadata": {"name": "s"}})).await;
    let other_pod = json!({"containers": [{"name": "c", "image": "img:1"}], "automountServiceAccountToken": false});
    create(&server, "serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    create(&server, "pods", json!({"metadata": {"name": "p"}, "spec": other_pod})).await;
    let cases = [
        (
            json!({"kind": "ConfigMap", "apiVersion": "v1", "name": "s"}),
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            json!({"kind": "Pod", "apiVersion": "apps/v1", "name": "p"}),
            400,
            "cannot bind token to object of type apps/v1, Kind=Pod",
        ),
        (json!({"kind": "Pod", "apiVersion": "v1", "name": "none"}), 404, r#"pods "none" not found"#),
        (json!({"kind": "Node", "apiVersion": "v1", "name": "none"}), 404, r#"nodes "none" not found"#),
        (
            json!({"kind": "Pod", "apiVersion": "v1", "name": "p"}),
            400,
            r#"cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name."#,
        ),
        (
            json!({"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "x"}),
            409,
            r#"Operation cannot be fulfilled on Secret "s": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated"#,
        ),
    ];
    for (reference, code, message) in cases {
        let status = ask(&server, json!({"boundObjectRef": reference})).await.unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}

#[tokio::test]
async fn a_life_out_of_bounds_is_refused() {
    let server = server().await;
    for (life, why) in [
        (599_i64, "may not specify a duration less than 10 minutes"),
        (-1, "may not specify a duration less than 10 minutes"),
        ((1 << 32) + 1, "may not specify a duration larger than 2^32 seconds"),
        (i64::MAX, "may not specify a duration larger than 2^32 seconds"),
    ] {
        let status = ask(&server, json!({"expirationSeconds": life})).await.unwrap_err();
        let message = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {life}: {why}"
        );
        assert_eq!((status.code, status.message), (422, message));
    }
}

#[tokio::test]
async fn a_request_may_repeat_the_account_but_not_name_another() {
    let server = server().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let sent = async |metadata: Value| {
        call(&server.client(), "POST", path, &json!({"metadata": metadata, "spec": {}})).await.map_err(|s| s.code)
    };
    assert!(sent(json!({"name": "robot", "namespace": "default"})).await.is_ok());
    assert_eq!(sent(json!({"name": "other"})).await.unwrap_err(), 422);
    assert_eq!(sent(json!({"namespace": "other"})).await.unwrap_err(), 400);
    assert_eq!(sent(json!({"uid": "other"})).await.unwrap_err(), 409);
}

#[tokio::test]
async fn relying_parties_find_the_key_of_a_token() {
    let server = server().await;
    let admin = server.client();
    let configuration = call(&admin, "GET", "/.well-known/openid-configuration", &Value::Null).await.unwrap();
    assert_eq!(configuration["issuer"], ISSUER);
    let keys = format!("https://{}/openid/v1/jwks", server.local_addr().unwrap());
    assert_eq!(configuration["jwks_uri"], keys.as_str());
    let set = call(&admin, "GET", "/openid/v1/jwks", &Value::Null).await.unwrap();
    let header = token(&server, json!({})).await.split('.').next().unwrap().to_owned();
    let header: Value = serde_json::from_slice(&{
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap()
    })
    .unwrap();
    assert_eq!((&set["keys"][0]["kid"], &set["keys"][0]["alg"]), (&header["kid"], &header["alg"]));
}

/// A server that fills Secrets, the account `default/robot`, and the Secret `t` with its token.
async fn with_secret() -> (Server, Secret) {
    let builder = Server::builder().listen("127.0.0.1:0".parse().expect("an address"));
    let server = builder.only(&[Loop::Workload(Workload::TokenSecrets)]).start().await.expect("the server starts");
    create(&server, "serviceaccounts", json!({"metadata": {"name": "robot"}})).await;
    let annotations = json!({"kubernetes.io/service-account.name": "robot"});
    let metadata = json!({"name": "t", "annotations": annotations});
    create(&server, "secrets", json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"})).await;
    let full = |secret: Option<&Secret>| secret.and_then(|s| s.data.as_ref()).is_some_and(|d| d.contains_key("token"));
    let secret = wait(&server, full).await.expect("it is there");
    (server, secret)
}

/// Waits until the Secret `t` is as it should be.
async fn wait(server: &Server, condition: impl Fn(Option<&Secret>) -> bool) -> Option<Secret> {
    let secrets = Api::<Secret>::default_namespaced(server.client());
    let done = await_condition(secrets, "t", move |secret: Option<&Secret>| condition(secret));
    tokio::time::timeout(Duration::from_secs(20), done).await.expect("it happens in time").expect("the watch goes on")
}

fn token_in(secret: &Secret) -> String {
    String::from_utf8(secret.data.as_ref().expect("data")["token"].0.clone()).expect("text")
}

#[tokio::test]
async fn a_secret_gets_a_token_of_the_account_that_it_names() {
    let (server, secret) = with_secret().await;
    let user = who_am_i(&client_with(&server, &token_in(&secret)).await).await.unwrap();
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    let data = secret.data.as_ref().unwrap();
    assert_eq!(data["namespace"].0, b"default");
    assert!(data["ca.crt"].0.starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert_eq!(
        secret.metadata.annotations.as_ref().unwrap()["kubernetes.io/service-account.uid"],
        user["uid"].as_str().unwrap()
    );
}

#[tokio::test]
async fn a_token_in_a_secret_ends_with_the_secret() {
    let (server, secret) = with_secret().await;
    delete(&server, "secrets/t").await;
    assert_eq!(refusal(&server, &token_in(&secret)).await, "[invalid bearer token, Token has been invalidated]");
}

#[tokio::test]
async fn a_token_that_the_secret_no_longer_holds_is_refused() {
    let (server, secret) = with_secret().await;
    let patch = json!({"data": {"token": "b3RoZXI="}});
    let secrets = Api::<Secret>::default_namespaced(server.client());
    secrets.patch("t", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let why = "[invalid bearer token, Token does not match server's copy]";
    assert_eq!(refusal(&server, &token_in(&secret)).await, why);
}

#[tokio::test]
async fn the_secrets_of_an_account_go_with_it() {
    let (server, _) = with_secret().await;
    delete(&server, "serviceaccounts/robot").await;
    assert!(wait(&server, |secret| secret.is_none()).await.is_none());
}

#[tokio::test]
async fn a_secret_marked_invalid_opens_nothing() {
    let (server, secret) = with_secret().await;
    let patch = json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}});
    let secrets = Api::<Secret>::default_namespaced(server.client());
    secrets.patch("t", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let why = refusal(&server, &token_in(&secret)).await;
    assert!(why.starts_with("[invalid bearer token, the token in secret default/t for service account"), "{why}");
}
