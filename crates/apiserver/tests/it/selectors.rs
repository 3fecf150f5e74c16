//! Which fields a kind can be selected by.

use k8s_openapi::api::core::v1::{Event as CoreEvent, Namespace, Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, PostParams};
use paddock_apiserver::Server;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::objects::server;

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

async fn with_event() -> Server {
    let server = server().await;
    let event = json!({
        "metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "action": "a", "reason": "R", "note": "n", "type": "Warning",
        "reportingController": "example.com/c", "reportingInstance": "i",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p", "uid": "u",
            "resourceVersion": "7", "fieldPath": "spec.containers{c}"},
    });
    let events: Api<Event> = Api::namespaced(server.client(), "default");
    events.create(&PostParams::default(), &object(event)).await.expect("it is created");
    server
}

/// How many are found; or the code and words of the refusal.
async fn found<K>(api: Api<K>, selector: &str) -> Result<usize, (u16, String)>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.list(&ListParams::default().fields(selector)).await {
        Ok(list) => Ok(list.items.len()),
        Err(kube::Error::Api(status)) => Err((status.code, status.message)),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn events_are_selected_by_what_they_are_about_in_the_words_of_each_group() {
    let server = with_event().await;
    let about = [
        ("kind", "Pod"),
        ("namespace", "default"),
        ("name", "p"),
        ("uid", "u"),
        ("apiVersion", "v1"),
        ("resourceVersion", "7"),
        ("fieldPath", "spec.containers{c}"),
    ];
    for (field, value) in about {
        let new: Api<Event> = Api::namespaced(server.client(), "default");
        assert_eq!(found(new.clone(), &format!("regarding.{field}={value}")).await, Ok(1), "{field}");
        assert_eq!(found(new, &format!("regarding.{field}!={value}")).await, Ok(0), "{field}");
        let core: Api<CoreEvent> = Api::namespaced(server.client(), "default");
        assert_eq!(found(core, &format!("involvedObject.{field}={value}")).await, Ok(1), "{field}");
    }
}

#[tokio::test]
async fn events_are_selected_by_their_reporter_reason_and_type() {
    let server = with_event().await;
    let new: Api<Event> = Api::all(server.client());
    for selector in ["reportingController=example.com/c", "source=example.com/c", "reason=R", "type=Warning"] {
        assert_eq!(found(new.clone(), selector).await, Ok(1), "{selector}");
    }
    let core: Api<CoreEvent> = Api::all(server.client());
    for selector in ["reportingComponent=example.com/c", "source=example.com/c", "metadata.namespace=default"] {
        assert_eq!(found(core.clone(), selector).await, Ok(1), "{selector}");
    }
}

#[tokio::test]
async fn fields_of_the_other_groups_events_are_refused() {
    let server = with_event().await;
    let refused = |field: &str| Err((400, format!("field label not supported: {field}")));
    for field in ["involvedObject.name", "reportingComponent", "note"] {
        assert_eq!(found::<Event>(Api::all(server.client()), &format!("{field}=p")).await, refused(field));
    }
    for field in ["regarding.name", "reportingController"] {
        assert_eq!(found::<CoreEvent>(Api::all(server.client()), &format!("{field}=p")).await, refused(field));
    }
}

#[tokio::test]
async fn nodes_and_namespaces_are_not_selected_by_namespace() {
    let server = server().await;
    let refused = Err((400, "field label not supported: metadata.namespace".to_owned()));
    assert_eq!(found::<Node>(Api::all(server.client()), "metadata.namespace=a").await, refused);
    assert_eq!(found::<Namespace>(Api::all(server.client()), "metadata.namespace=a").await, refused);
}

#[tokio::test]
async fn pods_are_selected_by_their_node_under_its_old_name_too() {
    let server = server().await;
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false},
    });
    let account = json!({"metadata": {"name": "default"}});
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(server.client(), "default");
    accounts.create(&PostParams::default(), &object(account)).await.expect("it is created");
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    pods.create(&PostParams::default(), &object(pod)).await.expect("it is created");
    for selector in ["spec.nodeName=n", "spec.host=n"] {
        assert_eq!(found(pods.clone(), selector).await, Ok(1), "{selector}");
    }
}
