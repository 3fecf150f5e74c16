//! Impersonation: acting as someone else, with a right for every part of the identity.

use http::Request;
use kube::Client;
use paddock_apiserver::{Server, User};
use serde_json::{Value, json};

async fn server() -> Server {
    Server::builder().loops(false).start().await.expect("the server starts")
}

/// Grants rules to a user, in the whole cluster.
async fn grant(server: &Server, user: &str, rules: Value) {
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let name = json!({"name": user});
    post(server, &format!("{group}/clusterroles"), json!({"metadata": name, "rules": rules})).await;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user});
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user});
    let binding = json!({"metadata": name, "roleRef": role, "subjects": [subject]});
    post(server, &format!("{group}/clusterrolebindings"), binding).await;
}

async fn post(server: &Server, path: &str, body: Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(body.to_string().into_bytes()).expect("a request");
    server.client().request::<Value>(request).await.expect("it is created");
}

/// A client of a user who has only what was granted.
fn bob(server: &Server) -> Client {
    server.client_as(User::new("bob", [] as [&str; 0]))
}

fn rule(verb: &str, group: &str, resource: &str) -> Value {
    json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]})
}

/// Who one is with these headers.
async fn as_others(client: &Client, headers: &[(String, Vec<u8>)]) -> Result<Value, kube::core::Status> {
    let mut request = Request::builder()
        .method("POST")
        .uri("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(name, http::HeaderValue::from_bytes(value).expect("a header"));
    }
    match client.request::<Value>(request.body(b"{}".to_vec()).expect("a request")).await {
        Ok(review) => Ok(review["status"]["userInfo"].clone()),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

fn header(name: &str, value: &str) -> (String, Vec<u8>) {
    (name.to_owned(), value.as_bytes().to_vec())
}

#[tokio::test]
async fn an_administrator_becomes_whom_the_headers_spell() {
    let server = server().await;
    let headers = [
        header("Impersonate-User", "carl"),
        header("Impersonate-Group", "g1"),
        header("Impersonate-Uid", "u-1"),
        header("Impersonate-Extra-Scopes", "s1"),
    ];
    let user = as_others(&server.client(), &headers).await.unwrap();
    let groups = json!(["g1", "system:authenticated"]);
    assert_eq!(user, json!({"username": "carl", "uid": "u-1", "groups": groups, "extra": {"scopes": ["s1"]}}));
}

#[tokio::test]
async fn an_impersonated_account_has_its_groups() {
    let server = server().await;
    let headers = [header("Impersonate-User", "system:serviceaccount:default:robot")];
    let user = as_others(&server.client(), &headers).await.unwrap();
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
}

#[tokio::test]
async fn who_is_not_known_impersonates_nobody() {
    let server = server().await;
    let client = server.client_as(User::anonymous());
    let status = as_others(&client, &[header("Impersonate-User", "carl")]).await.unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            403,
            r#"selfsubjectreviews.authentication.k8s.io is forbidden: User "system:anonymous" cannot impersonate-on:user-info:create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope"#
        )
    );
}

#[tokio::test]
async fn ten_thousand_extras_are_answered() {
    let server = server().await;
    let mut headers = vec![header("Impersonate-User", "carl")];
    headers.extend((0..10_000).map(|i| header(&format!("Impersonate-Extra-K{i}"), "v")));
    let user = as_others(&server.client(), &headers).await.unwrap();
    assert_eq!(user["extra"].as_object().unwrap().len(), 10_000);
}

#[tokio::test]
async fn the_log_names_the_impersonated_user() {
    let server = Server::builder().loops(false).request_log(true).start().await.expect("it starts");
    as_others(&server.client(), &[header("Impersonate-User", "carl")]).await.unwrap();
    assert_eq!(server.log().entries()[0].user, "carl");
}

const REVIEWS: (&str, &str) = ("authentication.k8s.io", "selfsubjectreviews");

#[tokio::test]
async fn the_older_verb_is_enough_for_everything_done_as_the_other() {
    let server = server().await;
    grant(&server, "bob", json!([rule("impersonate", "", "users")])).await;
    assert_eq!(as_others(&bob(&server), &[header("Impersonate-User", "carl")]).await.unwrap()["username"], "carl");
}

#[tokio::test]
async fn the_constrained_way_needs_the_identity_and_the_action() {
    let server = server().await;
    let action = "impersonate-on:user-info:create";
    grant(&server, "bob", json!([rule(action, REVIEWS.0, REVIEWS.1)])).await;
    let carl = [header("Impersonate-User", "carl")];
    let status = as_others(&bob(&server), &carl).await.unwrap_err();
    assert_eq!(
        status.message,
        r#"users.authentication.k8s.io "carl" is forbidden: User "bob" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope"#
    );
}

#[tokio::test]
async fn with_the_identity_and_the_action_one_becomes_the_other() {
    let server = server().await;
    let action = rule("impersonate-on:user-info:create", REVIEWS.0, REVIEWS.1);
    grant(&server, "bob", json!([action, rule("impersonate:user-info", "authentication.k8s.io", "users")])).await;
    assert_eq!(as_others(&bob(&server), &[header("Impersonate-User", "carl")]).await.unwrap()["username"], "carl");
}

#[tokio::test]
async fn the_constrained_way_never_leads_to_the_masters() {
    let server = server().await;
    let action = rule("impersonate-on:user-info:create", REVIEWS.0, REVIEWS.1);
    grant(&server, "bob", json!([action, rule("impersonate:user-info", "authentication.k8s.io", "*")])).await;
    let headers = [header("Impersonate-User", "carl"), header("Impersonate-Group", "system:masters")];
    let status = as_others(&bob(&server), &headers).await.unwrap_err();
    let why = "impersonating the system:masters group is not allowed";
    assert!(status.code == 403 && status.message.ends_with(why), "{}", status.message);
}

#[tokio::test]
async fn an_impersonated_node_is_in_the_group_of_nodes() {
    let server = server().await;
    let user = as_others(&server.client(), &[header("Impersonate-User", "system:node:n1")]).await.unwrap();
    assert_eq!(user["groups"], json!(["system:nodes", "system:authenticated"]));
}

#[tokio::test]
async fn who_succeeded_in_one_way_is_refused_in_the_words_of_that_way() {
    let server = server().await;
    let rules =
        json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["carl"]}]);
    grant(&server, "bob", rules).await;
    let client = bob(&server);
    let dora = [header("Impersonate-User", "dora")];
    let before = as_others(&client, &dora).await.unwrap_err().message;
    assert!(before.contains("cannot impersonate-on:user-info:create"), "{before}");
    as_others(&client, &[header("Impersonate-User", "carl")]).await.unwrap();
    assert_eq!(
        as_others(&client, &dora).await.unwrap_err().message,
        r#"users "dora" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#
    );
}

#[tokio::test]
async fn each_value_of_an_extra_needs_a_right() {
    let server = server().await;
    grant(&server, "bob", json!([rule("impersonate", "", "users")])).await;
    let client = bob(&server);
    as_others(&client, &[header("Impersonate-User", "carl")]).await.unwrap();
    let headers = [header("Impersonate-User", "carl"), header("Impersonate-Extra-Scopes", "s1")];
    assert_eq!(
        as_others(&client, &headers).await.unwrap_err().message,
        r#"userextras.authentication.k8s.io "s1" is forbidden: User "bob" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope"#
    );
}

#[tokio::test]
async fn groups_without_a_user_are_refused() {
    let server = server().await;
    let status = as_others(&server.client(), &[header("Impersonate-Group", "g")]).await.unwrap_err();
    assert_eq!(status.code, 400);
}
