//! Events that go after an hour, on a clock that the test moves.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::events::v1::Event as NewEvent;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait;
use paddock_apiserver::Server;
use paddock_apiserver::clock::Clock;
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

fn clock() -> Clock {
    Clock::manual("2026-01-01T00:00:00Z".parse().unwrap())
}

fn events(server: &Server) -> Api<Event> {
    Api::default_namespaced(server.client())
}

async fn tell(server: &Server, name: &str) {
    let event = json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        "reason": "R", "message": "m", "type": "Normal", "count": 1});
    events(server).create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
}

async fn goes<K>(api: Api<K>, name: &str)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let gone = wait::await_condition(api, name, |object: Option<&K>| object.is_none());
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it goes in time").unwrap();
}

#[tokio::test]
async fn an_event_goes_an_hour_after_its_last_write() {
    let clock = clock();
    let server = Server::builder().in_memory().clock(clock.clone()).start().await.unwrap();
    tell(&server, "old").await;
    tell(&server, "repeats").await;
    let new = json!({"metadata": {"name": "new"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
        "reason": "R", "action": "A", "note": "m", "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c", "reportingInstance": "c-0"});
    let of_new: Api<NewEvent> = Api::default_namespaced(server.client());
    of_new.create(&PostParams::default(), &serde_json::from_value(new).unwrap()).await.unwrap();
    clock.advance(59 * MINUTE);
    let count = Patch::Merge(json!({"count": 2}));
    events(&server).patch("repeats", &PatchParams::default(), &count).await.unwrap();
    assert_eq!(events(&server).list(&Default::default()).await.unwrap().items.len(), 3);
    clock.advance(MINUTE);
    goes(events(&server), "old").await;
    goes(of_new, "new").await;
    assert!(events(&server).get_opt("repeats").await.unwrap().is_some());
    clock.advance(59 * MINUTE);
    goes(events(&server), "repeats").await;
}

#[tokio::test]
async fn events_of_an_earlier_life_go_when_their_hour_is_over() {
    let (clock, dir) = (clock(), tempfile::tempdir().unwrap());
    let start = || Server::builder().data_dir(dir.path()).clock(clock.clone()).start();
    let server = start().await.unwrap();
    tell(&server, "old").await;
    server.shutdown().await;
    clock.advance(30 * MINUTE);
    let server = start().await.unwrap();
    tell(&server, "young").await;
    clock.advance(30 * MINUTE);
    goes(events(&server), "old").await;
    assert!(events(&server).get_opt("young").await.unwrap().is_some());
}
