//! Objects through a client: create, read, change, delete, watch.

use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use paddock_apiserver::Server;
use serde_json::{Value, json};

pub(crate) async fn server() -> Server {
    Server::builder().in_memory().loops(false).request_log(true).start().await.expect("the server starts")
}

pub(crate) fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).expect("a ConfigMap")
}

pub(crate) fn maps(server: &Server) -> Api<ConfigMap> {
    Api::namespaced(server.client(), "default")
}

#[tokio::test]
async fn what_is_created_can_be_read() {
    let server = server().await;
    maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(maps(&server).get("a").await.unwrap().data.unwrap()["k"], "1");
}

#[tokio::test]
async fn a_stale_resource_version_is_a_conflict() {
    let server = server().await;
    let first = maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    maps(&server).replace("a", &PostParams::default(), &map("a", "2")).await.unwrap();
    let mut stale = map("a", "3");
    stale.metadata.resource_version = first.metadata.resource_version;
    let error = maps(&server).replace("a", &PostParams::default(), &stale).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409));
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_resource_version() {
    let server = server().await;
    let first = maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    let second = maps(&server).replace("a", &PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
}

#[tokio::test]
async fn an_apply_that_changes_nothing_keeps_the_resource_version() {
    let server = server().await;
    let apply = || async {
        let body = Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "1"}}),
        );
        maps(&server).patch("a", &PatchParams::apply("test"), &body).await.unwrap().metadata.resource_version
    };
    assert_eq!(apply().await, apply().await);
}

#[tokio::test]
async fn pages_of_a_list_show_the_state_of_the_first() {
    let server = server().await;
    for name in ["a", "b", "c"] {
        maps(&server).create(&PostParams::default(), &map(name, "1")).await.unwrap();
    }
    let first = maps(&server).list(&ListParams::default().limit(2)).await.unwrap();
    maps(&server).delete("c", &DeleteParams::default()).await.unwrap();
    let next = ListParams::default().limit(2).continue_token(&first.metadata.continue_.unwrap());
    let names: Vec<_> =
        maps(&server).list(&next).await.unwrap().items.into_iter().filter_map(|m| m.metadata.name).collect();
    assert_eq!(names, ["c"]);
}

#[tokio::test]
async fn a_watch_replays_what_happened_since_its_revision() {
    let server = server().await;
    let from = maps(&server).list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    maps(&server).delete("a", &DeleteParams::default()).await.unwrap();
    let mut events = Box::pin(maps(&server).watch(&WatchParams::default(), &from).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Deleted(_) => "deleted",
            _ => "other",
        });
    }
    assert_eq!(seen, ["added", "deleted"]);
}

#[tokio::test]
async fn an_object_with_finalizers_stays_until_the_last_is_taken_off() {
    let server = server().await;
    let mut object = map("a", "1");
    object.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps(&server).create(&PostParams::default(), &object).await.unwrap();
    maps(&server).delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps(&server).get("a").await.unwrap().metadata.deletion_timestamp.is_some());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps(&server).patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert!(maps(&server).get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let server = server().await;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    maps(&server).create(&params, &map("a", "1")).await.unwrap();
    assert!(maps(&server).get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_is_created_in_a_terminating_namespace() {
    let server = server().await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "going"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    namespaces.delete("going", &DeleteParams::default()).await.unwrap();
    let inside: Api<ConfigMap> = Api::namespaced(server.client(), "going");
    let error = inside.create(&PostParams::default(), &map("a", "1")).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 403));
}

#[tokio::test]
async fn many_writers_without_a_resource_version_all_succeed() {
    let server = server().await;
    maps(&server).create(&PostParams::default(), &map("a", "0")).await.unwrap();
    let writes = (0..16).map(|i| {
        let api = maps(&server);
        let patch = Patch::Merge(json!({"data": {format!("k{i}"): "1"}}));
        async move { api.patch("a", &PatchParams::default(), &patch).await.map(|_: ConfigMap| ()) }
    });
    futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(maps(&server).get("a").await.unwrap().data.unwrap().len(), 17);
}

#[tokio::test]
async fn a_custom_resource_is_served_as_soon_as_its_definition_is_created() {
    let server = server().await;
    let crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
        serde_json::from_value(widgets()).unwrap();
    Api::all(server.client()).create(&PostParams::default(), &crd).await.unwrap();
    let kind = kube::core::GroupVersionKind::gvk("example.com", "v1", "Widget");
    let resource = kube::core::ApiResource::from_gvk(&kind);
    let api: Api<kube::core::DynamicObject> = Api::namespaced_with(server.client(), "default", &resource);
    let widget: kube::core::DynamicObject = serde_json::from_value(
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3, "unknown": true}}),
    )
    .unwrap();
    let stored = api.create(&PostParams::default(), &widget).await.unwrap();
    assert_eq!(stored.data["spec"], json!({"size": 3, "colour": "red"}));
}

fn widgets() -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer"}, "colour": {"type": "string", "default": "red"},
                }}},
            }}}],
        },
    })
}

#[tokio::test]
async fn a_question_is_answered_and_not_stored() {
    use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
    let server = server().await;
    let question: SelfSubjectAccessReview =
        serde_json::from_value(json!({"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}))
            .unwrap();
    let answer = Api::<SelfSubjectAccessReview>::all(server.client()).create(&PostParams::default(), &question).await;
    assert!(answer.unwrap().status.unwrap().allowed);
}

#[tokio::test]
async fn a_body_in_protobuf_is_stored_and_answered_in_json() {
    let server = server().await;
    // Kind and name as kubectl's typed client sends them: `runtime.Unknown` with a ConfigMap in it.
    let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0f\x0a\x05\x0a\x03abc\x12\x06\x0a\x01k\x12\x01v";
    let post = |media: &str| {
        http::Request::post("/api/v1/namespaces/default/configmaps")
            .header("content-type", media)
            .body(body.to_vec())
            .expect("a request")
    };
    let stored: ConfigMap = server.client().request(post("application/vnd.kubernetes.protobuf")).await.unwrap();
    assert_eq!(stored.metadata.name.as_deref(), Some("abc"));
    assert_eq!(stored.data.unwrap()["k"], "v");

    let error = server.client().request::<ConfigMap>(post("application/cbor")).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 415
            && status.message.ends_with("application/json, application/yaml, application/vnd.kubernetes.protobuf")),
        "{error}"
    );
}

#[tokio::test]
async fn a_deletion_of_another_object_of_that_name_names_kind_and_group() {
    let server = server().await;
    let api: Api<Lease> = Api::namespaced(server.client(), "default");
    let lease = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {}})).unwrap();
    api.create(&PostParams::default(), &lease).await.unwrap();
    let other = Preconditions { uid: Some("other".to_owned()), ..Preconditions::default() };
    let error = api.delete("a", &DeleteParams { preconditions: Some(other), ..DeleteParams::default() }).await;
    let kube::Error::Api(status) = error.unwrap_err() else { panic!("a Status") };
    assert!(status.message.starts_with("Operation cannot be fulfilled on Lease.coordination.k8s.io \"a\": the UID"));
}
