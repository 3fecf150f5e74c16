//! The audit log: a line for each request, as kube-apiserver writes it.

use futures::StreamExt;
use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, PostParams, WatchParams};
use paddock_apiserver::{Loop, Server, User};
use serde_json::{Value, json};

use crate::objects::map;
use crate::wire;

struct Stand {
    server: Server,
    dir: tempfile::TempDir,
}

impl Stand {
    async fn with(loops: &[Loop]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = Server::builder().listen("127.0.0.1:0".parse().unwrap()).only(loops);
        let server = builder.audit_log(dir.path().join("audit.log")).start().await.unwrap();
        Self { server, dir }
    }

    async fn new() -> Self {
        Self::with(&[]).await
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only line about this resource.
    fn line(&self, resource: &str) -> Value {
        let all = self.lines();
        let mut about = all.into_iter().filter(|line| line["objectRef"]["resource"] == resource);
        let line = about.next().expect("a line");
        assert!(about.next().is_none(), "more than one line");
        line
    }
}

fn maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

#[tokio::test]
async fn a_request_is_a_line_with_who_what_whence_and_how_it_ended() {
    let stand = Stand::new().await;
    let api = maps(wire::client(&stand.server.kubeconfig().unwrap()).await);
    api.create(&PostParams { field_manager: Some("me".into()), ..PostParams::default() }, &map("a", "1"))
        .await
        .unwrap();
    let mut line = stand.line("configmaps");
    for (field, shape) in [("auditID", 36), ("requestReceivedTimestamp", 27), ("stageTimestamp", 27)] {
        assert_eq!(line[field].as_str().unwrap().len(), shape, "{field}");
        line[field] = "…".into();
    }
    // The fingerprint of the client's certificate.
    line["user"]["extra"] = "…".into();
    assert_eq!(
        line,
        json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": "…",
            "stage": "ResponseComplete",
            "requestURI": "/api/v1/namespaces/default/configmaps?&fieldManager=me",
            "verb": "create",
            "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"], "extra": "…"},
            "sourceIPs": ["127.0.0.1"],
            "objectRef": {"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 201},
            "requestReceivedTimestamp": "…",
            "stageTimestamp": "…",
        })
    );
}

#[tokio::test]
async fn a_refusal_is_recorded_with_its_reason() {
    let stand = Stand::new().await;
    let nobody = stand.server.client_as(User::new("nobody", [] as [&str; 0]));
    maps(nobody).get("a").await.unwrap_err();
    let message = "configmaps \"a\" is forbidden: User \"nobody\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!(
        stand.line("configmaps")["responseStatus"],
        json!({"metadata": {}, "status": "Failure", "message": message, "reason": "Forbidden", "code": 403})
    );
}

#[tokio::test]
async fn who_shows_no_valid_credentials_is_recorded_without_a_name() {
    let stand = Stand::new().await;
    let mut kubeconfig = kube::config::Kubeconfig::from_yaml(&stand.server.kubeconfig().unwrap()).unwrap();
    let token = kube::config::AuthInfo { token: Some("nonsense".to_owned().into()), ..Default::default() };
    kubeconfig.auth_infos[0].auth_info = Some(token);
    let client = wire::client(&serde_json::to_string(&kubeconfig).unwrap()).await;
    maps(client).get("a").await.unwrap_err();
    let line = stand.line("configmaps");
    assert_eq!((&line["user"], &line["responseStatus"]["code"]), (&json!({}), &json!(401)));
}

#[tokio::test]
async fn who_acts_as_another_is_recorded_as_both() {
    let stand = Stand::new().await;
    let request = Request::get("/api/v1/namespaces/default/configmaps").header("impersonate-user", "bob");
    stand.server.client().request::<Value>(request.body(Vec::new()).unwrap()).await.unwrap_err();
    let line = stand.line("configmaps");
    assert_eq!((&line["user"]["username"], &line["impersonatedUser"]["username"]), (&json!("admin"), &json!("bob")));
}

#[tokio::test]
async fn a_watch_is_recorded_when_it_starts_and_when_it_ends() {
    let stand = Stand::new().await;
    let api = maps(stand.server.client());
    let mut watch = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    maps(stand.server.client_as(User::admin())).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert!(watch.next().await.is_some());
    let stages = || -> Vec<Value> {
        let watches = stand.lines().into_iter().filter(|line| line["verb"] == "watch");
        watches.map(|line| line["stage"].clone()).collect()
    };
    assert_eq!(stages(), ["ResponseStarted"]);
    drop(watch);
    assert_eq!(stages(), ["ResponseStarted", "ResponseComplete"]);
}

#[tokio::test]
async fn what_the_client_calls_its_request_is_kept() {
    let stand = Stand::new().await;
    let request = Request::get("/api/v1/namespaces").header("audit-id", "x".repeat(70));
    stand.server.client().request::<Value>(request.body(Vec::new()).unwrap()).await.unwrap();
    assert_eq!(stand.line("namespaces")["auditID"], "x".repeat(64));
}

#[tokio::test]
async fn the_servers_own_loops_are_recorded_as_everyone() {
    let stand = Stand::with(&[Loop::Namespaces]).await;
    let namespaces: Api<Namespace> = Api::all(stand.server.client());
    let new = serde_json::from_value(json!({"metadata": {"name": "gone"}})).unwrap();
    namespaces.create(&PostParams::default(), &new).await.unwrap();
    namespaces.delete("gone", &kube::api::DeleteParams::default()).await.unwrap();
    while namespaces.get_opt("gone").await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    let finalized = stand.lines().into_iter().find(|line| line["objectRef"]["subresource"] == "finalize");
    let user = finalized.map(|line| line["user"]["username"].clone());
    assert_eq!(user, Some(json!("system:serviceaccount:kube-system:namespace-controller")));
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_told_before_anything_is_served() {
    let error = Server::builder().audit_log("/nowhere/audit.log").start().await.err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some("cannot open the audit log /nowhere/audit.log: No such file or directory (os error 2)")
    );
}
