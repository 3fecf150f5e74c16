//! `kill -9` of a real server at random moments under write load: every write that was answered is there, nothing half-written
//! is, and resourceVersions never go back. `PADDOCK_TEST_KILLS` says how often, 8 by itself; `.ci/run` says 200.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use rand::Rng;
use serde_json::json;

use crate::process::Running;

const WRITERS: usize = 4;
/// Names of each writer.
const NAMES: u64 = 3;

/// What is known of one name: the last answered state, and what was asked for and not answered.
#[derive(Clone, Default)]
struct Known {
    /// Counter of the object; `None`: it is not there.
    answered: Option<u64>,
    asked: Option<Option<u64>>,
}

#[derive(Default)]
struct World {
    names: BTreeMap<String, Known>,
    /// The highest resourceVersion that anybody was told.
    revision: u64,
    writes: u64,
    next: u64,
}

type Shared = Arc<Mutex<World>>;

fn map(name: &str, counter: u64) -> ConfigMap {
    // Two fields, so that half of an object would show.
    let (first, second) = (counter.to_string(), format!("{counter}-{}", "x".repeat((counter % 700) as usize)));
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"first": first, "second": second}})).unwrap()
}

fn counter(map: &ConfigMap) -> u64 {
    let data = map.data.clone().unwrap_or_default();
    let counter = data["first"].parse().unwrap();
    assert_eq!(data["second"], format!("{counter}-{}", "x".repeat((counter % 700) as usize)), "half an object");
    counter
}

fn revision(map: &ConfigMap) -> u64 {
    map.resource_version().unwrap().parse().unwrap()
}

/// Makes one change to one name; an error is a server that went away.
async fn change(api: &Api<ConfigMap>, world: &Shared, name: &str) -> Result<(), kube::Error> {
    let (before, next) = {
        let mut world = world.lock().unwrap();
        world.next += 1;
        (world.names.get(name).cloned().unwrap_or_default().answered, world.next)
    };
    let wanted = if before.is_some() && next % 5 == 0 { None } else { Some(next) };
    world.lock().unwrap().names.entry(name.to_owned()).or_default().asked = Some(wanted);
    let told = match (before, wanted) {
        (None, _) => Some(revision(&api.create(&PostParams::default(), &map(name, next)).await?)),
        (Some(_), Some(_)) => Some(revision(&api.replace(name, &PostParams::default(), &map(name, next)).await?)),
        (Some(_), None) => {
            api.delete(name, &DeleteParams::default()).await?;
            None
        }
    };
    let mut world = world.lock().unwrap();
    world.revision = world.revision.max(told.unwrap_or(0));
    world.writes += 1;
    world.names.insert(name.to_owned(), Known { answered: wanted, asked: None });
    Ok(())
}

/// Writes until the server goes away.
async fn write(client: Client, world: Shared, writer: usize) {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for turn in 0.. {
        if change(&api, &world, &format!("w{writer}-{}", turn % NAMES)).await.is_err() {
            return;
        }
    }
}

/// Watches from a revision on until the server goes away: no event may be older than what was known.
async fn watch(client: Client, world: Shared, from: u64) {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let Ok(stream) = api.watch(&WatchParams::default(), &from.to_string()).await else { return };
    let mut stream = stream.boxed();
    let mut last = from;
    while let Some(Ok(event)) = stream.next().await {
        if let WatchEvent::Added(map) | WatchEvent::Modified(map) | WatchEvent::Deleted(map) = event {
            assert!(revision(&map) > last, "a watch went back");
            last = revision(&map);
            // What a watch saw is durable: the server may not forget it.
            let mut world = world.lock().unwrap();
            world.revision = world.revision.max(last);
        }
    }
}

/// After a restart: what is there is what was answered, or what was asked and not answered.
async fn look(client: &Client, world: &Shared) {
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let list = api.list(&ListParams::default()).await.unwrap();
    let there: BTreeMap<String, u64> = list
        .items
        .iter()
        .filter(|map| map.name_any().starts_with('w'))
        .map(|map| (map.name_any(), counter(map)))
        .collect();
    let mut world = world.lock().unwrap();
    let at: u64 = list.metadata.resource_version.unwrap().parse().unwrap();
    assert!(at >= world.revision, "the server is at {at}, and {} was known", world.revision);
    world.revision = at;
    for (name, known) in &mut world.names {
        let found = there.get(name).copied();
        let fits = found == known.answered || known.asked.is_some_and(|asked| found == asked);
        assert!(fits, "{name} is {found:?}: {:?} was answered, {:?} asked", known.answered, known.asked);
        *known = Known { answered: found, asked: None };
    }
    assert!(there.keys().all(|name| world.names.contains_key(name)));
}

struct Server(Running, Client);

fn run(dir: &Path) -> Running {
    let data = dir.join("data");
    let arguments = ["apiserver", "--listen", "127.0.0.1:0", "--log-level", "error", "--data-dir"];
    Running::start(&[&arguments[..], &[&data.to_string_lossy()]].concat(), dir)
}

async fn start(dir: &Path) -> Server {
    let mut running = run(dir);
    let first = running.line().expect("the server starts");
    assert!(first.contains("https://"), "{first}");
    let client = paddock_reconcile::client::from_kubeconfig(&dir.join("data/kubeconfig"), None).await.unwrap();
    Server(running, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_kill_9_of_the_server() {
    let kills: usize = std::env::var("PADDOCK_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let dir = tempfile::tempdir().unwrap();
    let world = Shared::default();
    for kill in 0..kills {
        if kill % 4 == 0 {
            // While it starts: the first time while it makes its files, later while it repairs them.
            let running = run(dir.path());
            tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..200))).await;
            drop(running);
            continue;
        }
        let Server(running, client) = start(dir.path()).await;
        look(&client, &world).await;
        let from = world.lock().unwrap().revision;
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(watch(client.clone(), world.clone(), from));
        for writer in 0..WRITERS {
            tasks.spawn(write(client.clone(), world.clone(), writer));
        }
        let life = rand::rng().random_range(0..300);
        // The moment of the kill is what is varied, so it is waited for.
        tokio::time::sleep(Duration::from_millis(life)).await;
        // Dropping it kills it with SIGKILL.
        drop(running);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }
    let Server(_running, client) = start(dir.path()).await;
    look(&client, &world).await;
    let writes = world.lock().unwrap().writes;
    assert!(writes > kills as u64, "{writes} writes were answered in all");
}
