//! Leader election: one process writes, another takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use paddock_reconcile::{Chance, Clock, Context, Error, Identity, LeaseConfig, Runtime};
use paddock_trials::{Tap, World as _};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::sample::Sample;
use crate::stand::{Stand, eventually};

struct Candidate {
    cx: Context,
    tap: Tap,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

fn candidate(world: &Stand, clock: &Clock, instance: &str) -> Candidate {
    let (client, tap) = Tap::around(world.client());
    let cx = Context::new(client, Identity::new("paddock", "paddock.dev", instance));
    let cx = cx.with_clock(clock.clone()).with_chance(Chance::seeded(1));
    let lease = LeaseConfig::new("sample-system", "sample");
    let runtime = Runtime::new(cx.clone()).with_controller(Sample::default()).with_lease(lease);
    let cancel = CancellationToken::new();
    let task = tokio::spawn(runtime.run(cancel.clone()));
    Candidate { cx, tap, cancel, task }
}

impl Candidate {
    fn writes(&self) -> usize {
        self.tap.writes().iter().filter(|w| w.resource != "leases").count()
    }
}

async fn holder(world: &Stand) -> Option<String> {
    let lease = world.get::<Lease>("sample-system", "sample").await?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn gw_d30_second_process_waits_and_takes_over_when_the_first_is_gone() {
    let world = Stand::two_tenants().await;
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let first = candidate(&world, &clock, "first");
    eventually("the first leads", async || holder(&world).await.as_deref() == Some("first")).await;
    eventually("the first writes", async || world.image("b").await.is_some()).await;
    let second = candidate(&world, &clock, "second");
    eventually("the second looks at the lease", async || second.tap.requests().iter().any(|r| r.resource == "leases"))
        .await;
    first.task.abort();
    world.intent("a", &json!({"image": "web:2"})).await;
    clock.advance(Duration::from_secs(14));
    assert_eq!(second.writes(), 0, "two leaders");
    eventually("the second takes over", async || {
        clock.advance(Duration::from_millis(500));
        holder(&world).await.as_deref() == Some("second")
    })
    .await;
    eventually("the second writes", async || world.image("a").await.as_deref() == Some("web:2")).await;
    second.cancel.cancel();
    assert_eq!(second.task.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn cancelled_leader_releases_the_lease() {
    let world = Stand::two_tenants().await;
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let first = candidate(&world, &clock, "first");
    eventually("the first leads", async || holder(&world).await.as_deref() == Some("first")).await;
    first.cancel.cancel();
    assert_eq!(first.task.await.expect("no panic"), Ok(()));
    assert_eq!(holder(&world).await.as_deref(), Some(""));
}

#[tokio::test]
async fn leader_whose_lease_was_taken_stops_writing() {
    let world = Stand::two_tenants().await;
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let first = candidate(&world, &clock, "first");
    eventually("the first writes", async || world.image("b").await.is_some()).await;
    world.merge::<Lease>("sample-system", "sample", &json!({"spec": {"holderIdentity": "thief"}})).await;
    let looks = || first.tap.requests().iter().filter(|r| r.resource == "leases" && r.method == "GET").count();
    let before = looks();
    eventually("the leader looks twice more", async || {
        clock.advance(Duration::from_millis(500));
        looks() >= before + 2
    })
    .await;
    assert_eq!(first.cx.term(), 1);
    let writes = first.writes();
    world.intent("a", &json!({"image": "web:2"})).await;
    clock.advance(Duration::from_millis(500));
    let before = looks();
    eventually("it looks again", async || {
        clock.advance(Duration::from_millis(500));
        looks() > before
    })
    .await;
    assert_eq!(first.writes(), writes);
    assert_eq!(world.image("a").await.as_deref(), Some("web:1"));
    eventually("it takes the abandoned lease again", async || {
        clock.advance(Duration::from_millis(500));
        world.image("a").await.as_deref() == Some("web:2")
    })
    .await;
    assert_eq!(first.cx.term(), 2, "what it remembers of the first may be overtaken");
    first.cancel.cancel();
    assert_eq!(first.task.await.expect("no panic"), Ok(()));
}

/// How an API server that is no help is away.
#[derive(Clone, Copy)]
enum Away {
    /// Packets vanish: no request is answered.
    Silent,
    /// It answers 503.
    Overloaded,
}

/// A client whose requests meet that while the switch is on.
fn through_a_hole(client: kube::Client, away: Away, hole: &Arc<AtomicBool>) -> kube::Client {
    let hole = Arc::clone(hole);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (client, hole) = (client.clone(), Arc::clone(&hole));
        async move {
            match away {
                _ if !hole.load(Ordering::Relaxed) => client.send(request).await,
                Away::Silent => std::future::pending().await,
                Away::Overloaded => {
                    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503});
                    let mut response = http::Response::new(kube::client::Body::from(body.to_string().into_bytes()));
                    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    Ok(response)
                }
            }
        }
    });
    kube::Client::new(service, "default")
}

/// How many watches were begun before and after minutes in which the API server was away.
async fn watches_begun(away: Away) -> (usize, usize) {
    let world = Stand::two_tenants().await;
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let hole = Arc::<AtomicBool>::default();
    let (client, tap) = Tap::around(through_a_hole(world.client(), away, &hole));
    let cx = Context::new(client, Identity::new("paddock", "paddock.dev", "first"));
    let cx = cx.with_clock(clock.clone()).with_chance(Chance::seeded(1));
    let lease = LeaseConfig::new("sample-system", "sample");
    let runtime = Runtime::new(cx).with_controller(Sample::default()).with_lease(lease);
    let (readiness, cancel) = (runtime.readiness(), CancellationToken::new());
    let task = tokio::spawn(runtime.run(cancel.clone()));
    eventually("it works", async || world.image("b").await.is_some() && readiness.is_ready()).await;

    hole.store(true, Ordering::Relaxed);
    let watches = || tap.requests().iter().filter(|r| r.method == "GET" && r.name.is_empty()).count();
    let before = watches();
    for _ in 0..600 {
        // Minutes go by; the watches hear nothing, and do not know that.
        clock.advance(Duration::from_millis(500));
        tokio::task::yield_now().await;
    }
    eventually("it is told", async || !readiness.is_ready()).await;
    assert_eq!(watches(), before);

    hole.store(false, Ordering::Relaxed);
    world.intent("a", &json!({"image": "web:2"})).await;
    eventually("it works again", async || {
        clock.advance(Duration::from_millis(500));
        world.image("a").await.as_deref() == Some("web:2") && readiness.is_ready()
    })
    .await;
    let after = watches();
    cancel.cancel();
    assert_eq!(task.await.expect("no panic"), Ok(()));
    (before, after)
}

#[tokio::test]
async fn tls_f18_a_silence_of_the_api_server_is_told_and_ends_with_fresh_watches() {
    let (before, after) = watches_begun(Away::Silent).await;
    assert!(after > before, "every watch is begun anew");
}

#[tokio::test]
async fn an_api_server_with_too_much_to_do_is_not_given_every_watch_anew() {
    let (before, after) = watches_begun(Away::Overloaded).await;
    assert_eq!(after, before);
}
