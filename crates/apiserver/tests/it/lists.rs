//! Long lists of other formats, over sockets.

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, header};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Empty};
use kube::api::PostParams;
use kube::client::Body;
use paddock_apiserver::Server;
use serde_json::{Value, json};

use crate::objects::{map, maps, server};
use crate::wire::{client, h2, listening};

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const COUNT: usize = 3000;

async fn crowded() -> Server {
    let server = listening(None).await;
    let api = maps(&server);
    let create = |at: usize| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &map(&format!("m{at:04}"), "1")).await.map(drop) }
    };
    let made: Vec<_> = futures::stream::iter((0..COUNT).map(create)).buffer_unordered(32).collect().await;
    assert!(made.iter().all(Result::is_ok));
    server
}

/// The named list of an answer whose length was not told.
async fn read<B>(answer: Response<B>, list: &str) -> Vec<Value>
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    assert_eq!((answer.status().as_u16(), answer.headers().get(header::CONTENT_LENGTH)), (200, None));
    let text = answer.into_body().collect().await.expect("a whole body").to_bytes();
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    serde_json::from_value(value[list].take()).expect("a list")
}

#[tokio::test]
async fn a_long_table_has_a_row_for_each_object_in_order() {
    let server = crowded().await;
    let request = Request::get(PATH).header("accept", TABLE).body(Body::empty()).unwrap();
    let answer = client(&server.kubeconfig().unwrap()).await.send(request).await.unwrap();
    let names: Vec<Value> = read(answer, "rows").await.into_iter().map(|row| row["cells"][0].clone()).collect();
    let expected: Vec<Value> = (0..COUNT).map(|at| format!("m{at:04}").into()).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_long_list_of_metadata_is_whole_over_h2_too() {
    let server = crowded().await;
    let request = Request::get(format!("https://localhost{PATH}")).header("accept", METADATA);
    let answer = h2(&server).await.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(read(answer, "items").await.len(), COUNT);
}

async fn send(server: &Server, method: &str, path: &str, media: &str, body: &Value) -> u16 {
    let request = Request::builder().method(method).uri(path).header("content-type", media).header("accept", TABLE);
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
    server.client().send(request.body(body).unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_table_of_what_nobody_knows_is_refused() {
    let server = server().await;
    assert_eq!(send(&server, "GET", &format!("{PATH}?includeObject=All"), "", &Value::Null).await, 400);
}

#[tokio::test]
async fn an_object_that_cannot_be_converted_is_an_error_though_it_is_the_last_of_many() {
    let server = server().await;
    let version = |name: &str, storage: bool| {
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        json!({"name": name, "served": true, "storage": storage, "schema": schema})
    };
    let webhook = json!({"clientConfig": {"url": "https://example.com"}, "conversionReviewVersions": ["v1"]});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "toys.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "toys", "kind": "Toy"},
            "versions": [version("v1", true), version("v2", false)],
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    });
    let toy = |version: &str, name: &str| json!({"apiVersion": format!("example.com/{version}"), "kind": "Toy", "metadata": {"name": name}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let toys = |version: &str| format!("/apis/example.com/{version}/namespaces/default/toys");
    let media = "application/json";
    assert_eq!(send(&server, "POST", definitions, media, &definition).await, 201);
    assert_eq!(send(&server, "POST", &toys("v1"), media, &toy("v1", "z")).await, 201);
    let moved = json!({"spec": {"versions": [version("v1", false), version("v2", true)]}});
    let path = format!("{definitions}/toys.example.com");
    assert_eq!(send(&server, "PATCH", &path, "application/merge-patch+json", &moved).await, 200);
    for at in 0..500 {
        assert_eq!(send(&server, "POST", &toys("v2"), media, &toy("v2", &format!("m{at}"))).await, 201);
    }
    assert_eq!(send(&server, "GET", &toys("v2"), "", &Value::Null).await, 500);
}
