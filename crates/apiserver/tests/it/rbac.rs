//! Who may do what: roles and bindings as users of the server write them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};
use paddock_apiserver::{Server, User};
use serde_json::{Value, json};

use crate::objects::{map, maps, server};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Any request, its code and its answer.
async fn send(server: &Server, user: &User, method: &str, path: &str, body: Value) -> (u16, Value) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind).body(body.into());
    let response = server.client_as(user.clone()).send(request.expect("a request")).await.expect("an answer");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.expect("a whole answer");
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn admin(server: &Server, method: &str, path: &str, body: Value) -> Value {
    let (code, answer) = send(server, &User::admin(), method, path, body).await;
    assert!(code < 300, "{answer}");
    answer
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

async fn role(server: &Server, name: &str, rules: Value) {
    let body = json!({"metadata": {"name": name}, "rules": rules});
    admin(server, "POST", &format!("{RBAC}/namespaces/default/roles"), body).await;
}

async fn bind(server: &Server, name: &str, role: &str, subject: Value) {
    let body = json!({"metadata": {"name": name}, "roleRef": {"kind": "Role", "name": role}, "subjects": [subject]});
    admin(server, "POST", &format!("{RBAC}/namespaces/default/rolebindings"), body).await;
}

/// Lets a user do that in the namespace `default`.
async fn grant(server: &Server, user: &str, rules: Value) {
    role(server, user, rules).await;
    bind(server, user, user, json!({"kind": "User", "name": user})).await;
}

fn alice() -> User {
    User::new("alice", [""; 0])
}

async fn lists(server: &Server, user: &User) -> bool {
    let api: Api<ConfigMap> = Api::namespaced(server.client_as(user.clone()), "default");
    api.list(&ListParams::default()).await.is_ok()
}

fn list_maps() -> Value {
    json!([rule(&[""], &["configmaps"], &["list"])])
}

#[tokio::test]
async fn a_grant_counts_from_the_next_request_on() {
    let server = server().await;
    let before = lists(&server, &alice()).await;
    grant(&server, "alice", list_maps()).await;
    assert_eq!([before, lists(&server, &alice()).await], [false, true]);
}

#[tokio::test]
async fn a_grant_that_is_taken_away_counts_no_more() {
    let server = server().await;
    grant(&server, "alice", list_maps()).await;
    lists(&server, &alice()).await;
    admin(&server, "DELETE", &format!("{RBAC}/namespaces/default/rolebindings/alice"), Value::Null).await;
    assert!(!lists(&server, &alice()).await);
}

#[tokio::test]
async fn a_changed_role_counts_as_it_is_now() {
    let server = server().await;
    grant(&server, "alice", list_maps()).await;
    lists(&server, &alice()).await;
    let body = json!({"metadata": {"name": "alice"}, "rules": [rule(&[""], &["secrets"], &["list"])]});
    admin(&server, "PUT", &format!("{RBAC}/namespaces/default/roles/alice"), body).await;
    assert!(!lists(&server, &alice()).await);
}

#[tokio::test]
async fn grants_are_read_again_when_the_history_is_gone() {
    let server = server().await;
    lists(&server, &alice()).await;
    grant(&server, "alice", list_maps()).await;
    server.compact();
    assert!(lists(&server, &alice()).await);
}

#[tokio::test]
async fn a_restart_remembers_grants() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().data_dir(dir.path()).loops(false).start();
    let server = start().await.unwrap();
    grant(&server, "alice", list_maps()).await;
    server.shutdown().await;
    assert!(lists(&start().await.unwrap(), &alice()).await);
}

#[tokio::test]
async fn a_start_gives_back_what_a_bootstrap_role_misses() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().data_dir(dir.path()).loops(false).start();
    let path = format!("{RBAC}/clusterroles/system:basic-user");
    let server = start().await.unwrap();
    let before = admin(&server, "GET", &path, Value::Null).await;
    admin(&server, "PATCH", &path, json!({"rules": []})).await;
    server.shutdown().await;
    assert_eq!(admin(&start().await.unwrap(), "GET", &path, Value::Null).await["rules"], before["rules"]);
}

#[tokio::test]
async fn a_start_that_finds_all_roles_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Server::builder().data_dir(dir.path()).loops(false).start();
    let revision = |list: Value| list["metadata"]["resourceVersion"].clone();
    let server = start().await.unwrap();
    let before = revision(admin(&server, "GET", "/api/v1/nodes", Value::Null).await);
    server.shutdown().await;
    let after = revision(admin(&start().await.unwrap(), "GET", "/api/v1/nodes", Value::Null).await);
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_service_account_without_a_namespace_is_of_the_bindings() {
    let server = server().await;
    role(&server, "r", list_maps()).await;
    bind(&server, "b", "r", json!({"kind": "ServiceAccount", "name": "s"})).await;
    let users = [User::service_account("default", "s"), User::service_account("other", "s")];
    assert_eq!([lists(&server, &users[0]).await, lists(&server, &users[1]).await], [true, false]);
}

#[tokio::test]
async fn a_list_of_one_name_is_a_read_of_that_object() {
    let server = server().await;
    let mut rule = rule(&[""], &["configmaps"], &["list"]);
    rule["resourceNames"] = json!(["a"]);
    grant(&server, "alice", json!([rule])).await;
    let path = "/api/v1/namespaces/default/configmaps";
    let mut codes = Vec::new();
    for query in ["", "?fieldSelector=metadata.name%3Da", "?fieldSelector=metadata.name%3Db"] {
        codes.push(send(&server, &alice(), "GET", &format!("{path}{query}"), Value::Null).await.0);
    }
    assert_eq!(codes, [403, 200, 403]);
}

#[tokio::test]
async fn a_namespace_is_read_by_a_right_in_it() {
    let server = server().await;
    grant(&server, "alice", json!([rule(&[""], &["namespaces"], &["get"])])).await;
    let mut codes = Vec::new();
    for name in ["default", "kube-system"] {
        codes.push(send(&server, &alice(), "GET", &format!("/api/v1/namespaces/{name}"), Value::Null).await.0);
    }
    assert_eq!(codes, [200, 403]);
}

#[tokio::test]
async fn a_missing_role_is_told_with_the_refusal() {
    let server = server().await;
    bind(&server, "b", "ghost", json!({"kind": "User", "name": "alice"})).await;
    let path = "/api/v1/namespaces/default/configmaps";
    let (_, refused) = send(&server, &alice(), "GET", path, Value::Null).await;
    assert_eq!(
        refused["message"],
        "configmaps is forbidden: User \"alice\" cannot list resource \"configmaps\" in API group \"\" in the namespace \
         \"default\": RBAC: role.rbac.authorization.k8s.io \"ghost\" not found"
    );
}

#[tokio::test]
async fn who_is_not_known_learns_health_and_version_only() {
    let server = server().await;
    let mut codes = Vec::new();
    for path in ["/healthz", "/readyz", "/version", "/healthz/etcd", "/api", "/", "/metrics"] {
        codes.push(send(&server, &User::anonymous(), "GET", path, Value::Null).await.0);
    }
    assert_eq!(codes, [200, 200, 200, 403, 403, 403, 403]);
}

#[tokio::test]
async fn who_is_known_may_discover() {
    let server = server().await;
    let mut codes = Vec::new();
    for path in ["/api", "/apis", "/apis/apps/v1", "/openapi/v3", "/"] {
        codes.push(send(&server, &alice(), "GET", path, Value::Null).await.0);
    }
    assert_eq!(codes, [200, 200, 200, 200, 403]);
}

#[tokio::test]
async fn an_update_that_creates_needs_the_right_to_create() {
    let server = server().await;
    grant(&server, "alice", json!([rule(&["coordination.k8s.io"], &["leases"], &["update", "patch"])])).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let (code, refused) = send(&server, &alice(), "PUT", path, json!({"metadata": {"name": "l"}})).await;
    assert_eq!((code, &refused["message"]), (403, &json!("leases.coordination.k8s.io \"l\" is forbidden: ")));
}

#[tokio::test]
async fn nobody_writes_a_role_with_more_than_he_holds() {
    let server = server().await;
    grant(&server, "alice", json!([rule(&["rbac.authorization.k8s.io"], &["roles"], &["create"])])).await;
    let body = json!({"metadata": {"name": "x"}, "rules": [rule(&[""], &["pods"], &["get", "list"])]});
    let (_, refused) =
        send(&server, &User::new("alice", ["dev"]), "POST", &format!("{RBAC}/namespaces/default/roles"), body).await;
    assert_eq!(
        refused["message"],
        "roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"alice\" (groups=[\"dev\" \"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \
         \"list\"]}"
    );
}

#[tokio::test]
async fn what_one_holds_one_may_grant() {
    let server = server().await;
    let rules = [rule(&["rbac.authorization.k8s.io"], &["roles"], &["create"]), rule(&[""], &["pods"], &["*"])];
    grant(&server, "alice", json!(rules)).await;
    let body = json!({"metadata": {"name": "x"}, "rules": [rule(&[""], &["pods"], &["get"])]});
    assert_eq!(send(&server, &alice(), "POST", &format!("{RBAC}/namespaces/default/roles"), body).await.0, 201);
}

#[tokio::test]
async fn a_change_of_finalizers_grants_nothing_and_is_allowed() {
    let server = server().await;
    grant(&server, "alice", json!([rule(&["rbac.authorization.k8s.io"], &["roles"], &["patch"])])).await;
    role(&server, "x", json!([rule(&[""], &["pods"], &["get"])])).await;
    let path = format!("{RBAC}/namespaces/default/roles/x");
    let mut codes = Vec::new();
    for patch in [json!({"metadata": {"finalizers": ["a.example/b"]}}), json!({"metadata": {"labels": {"a": "b"}}})] {
        codes.push(send(&server, &alice(), "PATCH", &path, patch).await.0);
    }
    assert_eq!(codes, [200, 403]);
}

#[tokio::test]
async fn a_binding_needs_the_rules_of_its_role_or_bind() {
    let server = server().await;
    let write = rule(&["rbac.authorization.k8s.io"], &["rolebindings"], &["create"]);
    let mut bind = rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["bind"]);
    bind["resourceNames"] = json!(["view"]);
    grant(&server, "alice", json!([write, bind])).await;
    let mut codes = Vec::new();
    for role in ["view", "edit"] {
        let body = json!({"metadata": {"name": role}, "roleRef": {"kind": "ClusterRole", "name": role}});
        codes.push(send(&server, &alice(), "POST", &format!("{RBAC}/namespaces/default/rolebindings"), body).await.0);
    }
    assert_eq!(codes, [201, 403]);
}

#[tokio::test]
async fn only_who_may_everything_collects_roles() {
    let server = server().await;
    let body = json!({
        "metadata": {"name": "alice"}, "rules": [rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["create"])],
    });
    admin(&server, "POST", &format!("{RBAC}/clusterroles"), body).await;
    let body = json!({
        "metadata": {"name": "alice"}, "roleRef": {"kind": "ClusterRole", "name": "alice"},
        "subjects": [{"kind": "User", "name": "alice"}],
    });
    admin(&server, "POST", &format!("{RBAC}/clusterrolebindings"), body).await;
    let body = json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
    let (_, refused) = send(&server, &alice(), "POST", &format!("{RBAC}/clusterroles"), body).await;
    assert_eq!(
        refused["message"],
        "clusterroles.rbac.authorization.k8s.io \"all\" is forbidden: must have cluster-admin privileges to use the \
         aggregationRule"
    );
}

#[tokio::test]
async fn the_loops_have_the_rights_that_they_need() {
    let server = Server::builder().in_memory().request_log(true).start().await.unwrap();
    let namespace = json!({"metadata": {"name": "n"}});
    admin(&server, "POST", "/api/v1/namespaces", namespace).await;
    let body = json!({"metadata": {"name": "v", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [rule(&["x.example"], &["widgets"], &["get"])]});
    admin(&server, "POST", &format!("{RBAC}/clusterroles"), body).await;
    let account = "/api/v1/namespaces/n/serviceaccounts/default";
    while send(&server, &User::admin(), "GET", account, Value::Null).await.0 == 404 {
        tokio::task::yield_now().await;
    }
    // What `view` collects reaches `edit`, and through it `admin`.
    let widgets = rule(&["x.example"], &["widgets"], &["get"]);
    let collected = || async {
        let role = admin(&server, "GET", &format!("{RBAC}/clusterroles/admin"), Value::Null).await;
        role["rules"].as_array().is_some_and(|rules| rules.contains(&widgets))
    };
    while !collected().await {
        tokio::task::yield_now().await;
    }
    admin(&server, "DELETE", "/api/v1/namespaces/n", Value::Null).await;
    while send(&server, &User::admin(), "GET", "/api/v1/namespaces/n", Value::Null).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    let refused = server.log().entries().into_iter().find(|entry| entry.code == 403);
    assert_eq!(refused, None);
}

#[tokio::test]
async fn a_review_tells_by_which_binding() {
    let server = server().await;
    grant(&server, "alice", list_maps()).await;
    let body = json!({"spec": {"user": "alice", "resourceAttributes":
        {"verb": "list", "resource": "configmaps", "namespace": "default"}}});
    let review = admin(&server, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body).await;
    let reason = "RBAC: allowed by RoleBinding \"alice/default\" of Role \"alice\" to User \"alice\"";
    assert_eq!(review["status"], json!({"allowed": true, "reason": reason}));
}

#[tokio::test]
async fn masters_are_allowed_without_a_reason() {
    let server = server().await;
    let body = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}});
    let review = admin(&server, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body).await;
    assert_eq!(review["status"], json!({"allowed": true}));
}

#[tokio::test]
async fn a_rules_review_lists_what_one_may_do_in_a_namespace() {
    let server = server().await;
    grant(&server, "alice", list_maps()).await;
    bind(&server, "ghost", "ghost", json!({"kind": "User", "name": "alice"})).await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let (_, review) = send(&server, &alice(), "POST", path, json!({"spec": {"namespace": "default"}})).await;
    let status = &review["status"];
    assert!(status["resourceRules"].as_array().unwrap().contains(&list_maps()[0]));
    let missing = "role.rbac.authorization.k8s.io \"ghost\" not found";
    assert_eq!((&status["incomplete"], &status["evaluationError"]), (&json!(true), &json!(missing)));
}

#[tokio::test]
async fn a_right_on_one_object_is_no_right_to_create_it() {
    let server = server().await;
    let mut rule = rule(&[""], &["configmaps"], &["create", "get"]);
    rule["resourceNames"] = json!(["a"]);
    grant(&server, "alice", json!([rule])).await;
    maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(server.client_as(alice()), "default");
    let created = api.create(&PostParams::default(), &map("a", "1")).await;
    assert!(matches!(created, Err(kube::Error::Api(status)) if status.code == 403));
    api.get("a").await.unwrap();
}
