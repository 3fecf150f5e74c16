//! The runtime: watches, the queue, readiness and the end, with tasks and a clock in the test's hand.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use paddock_apiserver::fault::{Action, Rule};
use paddock_apiserver::request::Verb;
use paddock_reconcile::health::State;
use paddock_reconcile::metrics::OfPass;
use paddock_reconcile::{Chance, Clock, Context, Error, Identity, Kind, Metrics, Readiness, Runtime};
use paddock_trials::{Tap, World as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::sample::Sample;
use crate::stand::{Stand, eventually};

pub(crate) struct Running {
    pub(crate) clock: Clock,
    pub(crate) tap: Tap,
    pub(crate) readiness: Readiness,
    metrics: Metrics,
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), Error>>,
}

pub(crate) fn run(world: &Stand, controller: Sample) -> Running {
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let (client, tap) = Tap::around(world.client());
    let cx = Context::new(client, Identity::new("paddock", "paddock.dev", "one"));
    let cx = cx.with_clock(clock.clone()).with_chance(Chance::seeded(1));
    let metrics = cx.metrics().clone();
    let runtime = Runtime::new(cx).with_controller(controller);
    let (readiness, cancel) = (runtime.readiness(), CancellationToken::new());
    let task = tokio::spawn(runtime.run(cancel.clone()));
    Running { clock, tap, readiness, metrics, cancel, task }
}

impl Running {
    fn writes_to(&self, resource: &str, namespace: &str) -> usize {
        self.tap.writes().iter().filter(|w| w.resource == resource && w.namespace == namespace).count()
    }

    fn reads_of(&self, resource: &str) -> usize {
        let requests = self.tap.requests();
        requests.iter().filter(|r| r.method == "GET" && r.resource == resource && !r.name.is_empty()).count()
    }

    fn passes(&self) -> u64 {
        let of = |outcome: &str| OfPass { controller: "sample".to_owned(), outcome: outcome.to_owned() };
        let outcomes = ["settled", "waiting", "invalid", "transient"];
        outcomes.map(|outcome| self.metrics.passes.get_or_create(&of(outcome)).get()).iter().sum()
    }

    async fn stop(self) {
        self.cancel.cancel();
        assert_eq!(self.task.await.expect("no panic"), Ok(()));
    }
}

async fn applied(world: &Stand) {
    eventually("both tenants are applied", async || {
        world.get::<Service>("a", "web").await.is_some() && world.get::<Service>("b", "web").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn drift_is_reverted_by_the_child_watch() {
    let world = Stand::two_tenants().await;
    let running = run(&world, Sample::default());
    applied(&world).await;
    world.merge::<Deployment>("a", "web", &json!({"spec": {"replicas": 7}})).await;
    eventually("the drift is reverted", async || {
        world.get::<Deployment>("a", "web").await.is_some_and(|d| d["spec"]["replicas"] == 1)
    })
    .await;
    world.delete::<Service>("b", "web").await;
    applied(&world).await;
    running.stop().await;
}

/// The events of all edits but the last have come when that is followed: a watch tells in the order of writes.
#[tokio::test]
async fn what_a_pass_wrote_starts_one_more_pass_and_its_events_start_none() {
    let world = Stand::two_tenants().await;
    let running = run(&world, Sample::default());
    applied(&world).await;
    let edit = async |image: String| {
        world.intent("a", &json!({"image": image})).await;
        eventually("the image follows", async || world.image("a").await.as_ref() == Some(&image)).await;
    };
    edit("web:2".to_owned()).await;
    edit("web:3".to_owned()).await;
    let before = running.passes();
    for at in 1..=5 {
        edit(format!("next:{at}")).await;
        eventually("the second pass", async || running.passes() == before + 2 * at).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn new_objects_are_made_without_a_read() {
    let world = Stand::two_tenants().await;
    let running = run(&world, Sample::default());
    applied(&world).await;
    assert_eq!([running.reads_of("deployments"), running.reads_of("services")], [0, 0]);
    running.stop().await;
}

#[tokio::test]
async fn object_of_somebody_else_is_met_by_a_conflict_and_left_alone() {
    let world = Stand::two_tenants().await;
    let metadata = json!({"name": "web", "namespace": "a", "labels": {"app.kubernetes.io/managed-by": "helm"}});
    world.apply(&Kind::of::<Service>(), json!({"metadata": metadata, "spec": {"ports": [{"port": 1}]}})).await;
    let theirs = world.get::<Service>("a", "web").await;
    let running = run(&world, Sample::default());
    eventually("it is met", async || running.reads_of("services") == 1).await;
    assert_eq!(running.writes_to("services", "a"), 1);
    // From then on it is looked at first.
    world.intent("a", &json!({"image": "web:2"})).await;
    eventually("it is looked at", async || running.reads_of("services") == 2).await;
    assert_eq!(running.writes_to("services", "a"), 1);
    assert_eq!(world.get::<Service>("a", "web").await, theirs);
    running.stop().await;
}

#[tokio::test]
async fn gw_f09_change_of_the_intent_is_followed() {
    let world = Stand::two_tenants().await;
    let running = run(&world, Sample::default());
    applied(&world).await;
    world.intent("a", &json!({"image": "web:2"})).await;
    eventually("the image follows", async || world.image("a").await.as_deref() == Some("web:2")).await;
    assert_eq!(world.image("b").await.as_deref(), Some("web:1"));
    running.stop().await;
}

#[tokio::test]
async fn gw_d28_failing_key_backs_off_on_the_clock_and_others_go_on() {
    let world = Stand::two_tenants().await;
    world
        .server
        .faults()
        .add(Rule::new(Action::Status(500)).verb(Verb::Patch).resource("services").namespace("a").always());
    let running = run(&world, Sample::default());
    eventually("the first attempt", async || running.writes_to("services", "a") == 1).await;
    eventually("the other tenant", async || world.get::<Service>("b", "web").await.is_some()).await;
    running.clock.advance(Duration::from_millis(700));
    // The shortest backoff with the greatest jitter is 800 ms. A second key's pass shows that the queue is awake.
    world.intent("b", &json!({"image": "web:2"})).await;
    eventually("the other tenant again", async || world.image("b").await.as_deref() == Some("web:2")).await;
    assert_eq!(running.writes_to("services", "a"), 1);
    eventually("the second attempt", async || {
        running.clock.advance(Duration::from_millis(50));
        running.writes_to("services", "a") >= 2
    })
    .await;
    world.server.faults().clear();
    eventually("the third attempt", async || {
        running.clock.advance(Duration::from_secs(1));
        world.get::<Service>("a", "web").await.is_some()
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn gw_f13_deletion_missed_while_disconnected_is_found_by_the_relist() {
    let world = Stand::two_tenants().await;
    let faults = world.server.faults();
    // The watch of Deployments ends after our two creations, and cannot be taken up again until the test says so.
    faults.add(Rule::new(Action::CutWatch(2)).verb(Verb::Watch).resource("deployments"));
    faults.add(Rule::new(Action::Gone).verb(Verb::Watch).resource("deployments").always());
    faults.add(Rule::new(Action::Status(503)).verb(Verb::List).resource("deployments").nth(2).always());
    let running = run(&world, Sample::default());
    applied(&world).await;
    eventually("the watch is refused", async || !running.readiness.is_ready()).await;
    world.delete::<Deployment>("a", "web").await;
    faults.clear();
    eventually("the watch works again", async || {
        running.clock.advance(Duration::from_secs(1));
        running.readiness.is_ready()
    })
    .await;
    assert!(running.clock.monotonic() < Duration::from_secs(300), "the resync would find it too");
    eventually("it is made again", async || world.get::<Deployment>("a", "web").await.is_some()).await;
    eventually("one more write was made", async || running.writes_to("deployments", "a") == 2).await;
    running.stop().await;
}

#[tokio::test]
async fn missing_kind_is_waited_for_and_blocks_nobody() {
    let world = Stand::two_tenants().await;
    let extra = Kind::of::<ServiceAccount>();
    world.server.faults().add(Rule::new(Action::Status(404)).verb(Verb::List).resource("serviceaccounts").always());
    let running = run(&world, Sample { extra: Some(extra.clone()) });
    applied(&world).await;
    eventually("readiness names the kind", async || {
        running.readiness.report()
            == [("sample".to_owned(), State::Waiting("kind ServiceAccount is not served".into()))]
    })
    .await;
    assert!(running.readiness.is_ready());
    assert!(world.get_kind(&extra, "a", "web").await.is_none());
    // The clock stands still: it is the definition's event that makes the engine look again.
    world.server.faults().clear();
    world.apply(&Kind::of::<CustomResourceDefinition>(), widgets()).await;
    eventually("the objects are made", async || world.get_kind(&extra, "a", "web").await.is_some()).await;
    eventually("it is ready", async || running.readiness.report() == [("sample".to_owned(), State::Ready)]).await;
    running.stop().await;
}

fn widgets() -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": "widgets.sample.dev"},
        "spec": {
            "group": "sample.dev", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

#[tokio::test]
async fn dependency_that_appears_wakes_who_waits_for_it() {
    let world = Stand::two_tenants().await;
    world.intent("a", &json!({"image": "web:1", "needs": "c"})).await;
    let running = run(&world, Sample::default());
    eventually("the other tenant", async || world.image("b").await.is_some()).await;
    assert_eq!(world.image("a").await, None);
    world.tenant("c").await;
    eventually("it is made", async || world.image("a").await.is_some()).await;
    running.stop().await;
}

#[tokio::test]
async fn unreachable_server_is_told_by_readiness_and_ends_nothing() {
    let world = Stand::two_tenants().await;
    world.server.faults().add(Rule::new(Action::Drop).always());
    let running = run(&world, Sample::default());
    eventually("readiness tells", async || {
        running.readiness.report().iter().any(|(_, s)| matches!(s, State::NotReady(why) if !why.starts_with("listing")))
    })
    .await;
    assert!(!running.task.is_finished());
    world.server.faults().clear();
    eventually("it is ready", async || {
        running.clock.advance(Duration::from_secs(1));
        running.readiness.is_ready()
    })
    .await;
    applied(&world).await;
    running.stop().await;
}

#[tokio::test]
async fn gw_d11_forbidden_list_makes_unready_and_ends_nothing() {
    let world = Stand::two_tenants().await;
    world.server.faults().add(Rule::new(Action::Status(403)).verb(Verb::List).resource("services").always());
    let running = run(&world, Sample::default());
    eventually("readiness tells", async || !running.readiness.is_ready()).await;
    assert_eq!(running.tap.writes(), [], "it writes without knowing the world");
    running.stop().await;
}

#[tokio::test]
async fn gw_f16_fatal_error_ends_the_runtime_with_an_error() {
    let world = Stand::two_tenants().await;
    world.intent("a", &json!({"image": "web:1", "fatal": "true"})).await;
    let running = run(&world, Sample::default());
    let ended = running.task.await.expect("no panic");
    assert_eq!(ended, Err(Error::fatal("asked for")));
}

#[tokio::test]
async fn gw_d09_cancellation_finishes_the_pass_that_runs() {
    let world = Stand::two_tenants().await;
    world
        .server
        .faults()
        .add(Rule::new(Action::Latency(Duration::from_millis(200))).verb(Verb::Patch).resource("services").always());
    let running = run(&world, Sample::default());
    eventually("a pass runs", async || world.get::<Deployment>("a", "web").await.is_some()).await;
    running.stop().await;
    assert!(world.get::<Service>("a", "web").await.is_some());
}
