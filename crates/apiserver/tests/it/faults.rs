//! Faults on order, the request log, and the clock.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use paddock_apiserver::clock::Clock;
use paddock_apiserver::fault::{Action, Rule};
use paddock_apiserver::request::Verb;
use paddock_apiserver::{Server, User};

use crate::objects::{map, maps, server};

#[tokio::test]
async fn an_injected_status_reaches_the_client() {
    let server = server().await;
    server.faults().add(Rule::new(Action::Status(503)).verb(Verb::Create).resource("configmaps"));
    let error = maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 503));
}

#[tokio::test]
async fn a_lost_response_means_the_write_was_made() {
    let server = server().await;
    server.faults().add(Rule::new(Action::DropAfter).verb(Verb::Create));
    maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap_err();
    assert!(maps(&server).get_opt("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_dropped_request_means_it_was_not() {
    let server = server().await;
    server.faults().add(Rule::new(Action::Drop).verb(Verb::Create));
    maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap_err();
    assert!(maps(&server).get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn the_log_names_user_verb_and_code() {
    let server = server().await;
    let user = User::new("alice", ["dev"]);
    let api: Api<ConfigMap> = Api::namespaced(server.client_as(user), "default");
    api.get_opt("nope").await.unwrap_err();
    let entry = server.log().entries().pop().unwrap();
    assert_eq!((entry.user.as_str(), entry.verb, entry.code), ("alice", Verb::Get, 403));
}

#[tokio::test]
async fn creation_times_come_from_the_servers_clock() {
    let start: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let server = Server::builder()
        .in_memory()
        .loops(false)
        .clock(Clock::manual(start))
        .start()
        .await
        .expect("the server starts");
    let made = maps(&server).create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(made.metadata.creation_timestamp.unwrap().0, start);
}
