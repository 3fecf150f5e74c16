//! How a kube-rs controller is tested against this server: `cargo test -p paddock-apiserver --example controller`.
//!
//! The controller deletes ConfigMaps when the time in their annotation is up. Its tests show the three things that a fake
//! client cannot: faults on order, a clock that is moved, and what the server was really asked.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use paddock_apiserver::Server;
use paddock_apiserver::clock::Clock;
use serde_json::{from_value, json};

/// Seconds that a ConfigMap with this annotation lives.
const LIFETIME: &str = "example.org/lifetime-seconds";

struct Expiry {
    client: Client,
    clock: Clock,
}

async fn reconcile(map: Arc<ConfigMap>, expiry: Arc<Expiry>) -> Result<Action, kube::Error> {
    let lifetime = map.annotations().get(LIFETIME).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let (Some(lifetime), Some(born)) = (lifetime, map.creation_timestamp()) else { return Ok(Action::await_change()) };
    let age = expiry.clock.now().duration_since(born.0).try_into().unwrap_or_default();
    if let Some(left) = lifetime.checked_sub(age).filter(|left| !left.is_zero()) {
        return Ok(Action::requeue(left));
    }
    let maps: Api<ConfigMap> = Api::namespaced(expiry.client.clone(), &map.namespace().unwrap_or_default());
    // Another object of that name is not the one that we looked at.
    let preconditions = Some(Preconditions { uid: map.uid(), resource_version: None });
    match maps.delete(&map.name_any(), &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Action::await_change()),
        other => other.map(|_| Action::await_change()),
    }
}

/// Runs the controller until it is dropped.
async fn run(expiry: Arc<Expiry>) {
    let maps: Api<ConfigMap> = Api::all(expiry.client.clone());
    let again = |_: Arc<ConfigMap>, _: &kube::Error, _: Arc<Expiry>| Action::requeue(Duration::from_millis(10));
    Controller::new(maps, Default::default()).run(reconcile, again, expiry).for_each(|_| async {}).await;
}

/// A ConfigMap that lives so many seconds.
fn short_lived(seconds: u64) -> serde_json::Result<ConfigMap> {
    from_value(json!({"metadata": {"name": "short-lived", "annotations": {LIFETIME: seconds.to_string()}}}))
}

/// Waits until it is gone.
async fn gone(maps: &Api<ConfigMap>, map: &ConfigMap) -> Result<(), kube::runtime::wait::Error> {
    let (name, uid) = (map.name_any(), map.uid().unwrap_or_default());
    await_condition(maps.clone(), &name, conditions::is_deleted(&uid)).await.map(|_| ())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().start().await?;
    let expiry = Arc::new(Expiry { client: server.client(), clock: Clock::system() });
    let running = tokio::spawn(run(expiry));
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let map = maps.create(&PostParams::default(), &short_lived(1)?).await?;
    gone(&maps, &map).await?;
    running.abort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use paddock_apiserver::fault::{Action as Fault, Rule};
    use paddock_apiserver::request::Verb;

    use super::*;

    /// One line gives a server; it needs no port, no file and no clean-up.
    async fn server(clock: Clock) -> (Server, Arc<Expiry>, Api<ConfigMap>) {
        let server = Server::builder().clock(clock.clone()).request_log(true).start().await.expect("the server starts");
        let expiry = Arc::new(Expiry { client: server.client(), clock });
        let maps = Api::default_namespaced(server.client());
        (server, expiry, maps)
    }

    #[tokio::test]
    async fn a_failed_delete_is_tried_again() {
        let (server, expiry, maps) = server(Clock::system()).await;
        server.faults().add(Rule::new(Fault::Status(500)).verb(Verb::Delete).resource("configmaps"));
        let map = maps.create(&PostParams::default(), &short_lived(0).unwrap()).await.unwrap();
        let running = tokio::spawn(run(expiry));
        gone(&maps, &map).await.unwrap();
        running.abort();
        let deletes = server.log().writes().into_iter().filter(|entry| entry.verb == Verb::Delete);
        assert_eq!(deletes.map(|entry| entry.code).collect::<Vec<_>>(), [500, 200]);
    }

    #[tokio::test]
    async fn a_lost_answer_does_no_harm() {
        let (server, expiry, maps) = server(Clock::system()).await;
        server.faults().add(Rule::new(Fault::DropAfter).verb(Verb::Delete).resource("configmaps"));
        let map = Arc::new(maps.create(&PostParams::default(), &short_lived(0).unwrap()).await.unwrap());
        assert!(reconcile(map.clone(), expiry.clone()).await.is_err());
        assert_eq!(reconcile(map, expiry).await.unwrap(), Action::await_change());
    }

    #[tokio::test]
    async fn nothing_is_written_before_the_time_is_up() {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let (server, expiry, maps) = server(clock.clone()).await;
        let map = Arc::new(maps.create(&PostParams::default(), &short_lived(3600).unwrap()).await.unwrap());
        clock.advance(Duration::from_secs(59 * 60));
        server.log().clear();
        assert_eq!(reconcile(map, expiry).await.unwrap(), Action::requeue(Duration::from_secs(60)));
        assert_eq!(server.log().writes(), []);
    }

    #[tokio::test]
    async fn the_map_goes_when_its_time_is_up() {
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let (_server, expiry, maps) = server(clock.clone()).await;
        let map = Arc::new(maps.create(&PostParams::default(), &short_lived(3600).unwrap()).await.unwrap());
        clock.advance(Duration::from_secs(60 * 60));
        reconcile(map, expiry).await.unwrap();
        assert!(maps.get_opt("short-lived").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn another_object_of_the_name_is_left_alone() {
        let (server, expiry, maps) = server(Clock::system()).await;
        let old = Arc::new(maps.create(&PostParams::default(), &short_lived(0).unwrap()).await.unwrap());
        maps.delete("short-lived", &DeleteParams::default()).await.unwrap();
        maps.create(&PostParams::default(), &short_lived(0).unwrap()).await.unwrap();
        assert!(reconcile(old, expiry).await.is_err());
        assert_eq!(server.log().writes().last().unwrap().code, 409);
    }
}
