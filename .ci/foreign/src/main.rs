//! A kube-rs controller that knows nothing of Paddock, and a user who tries it: `KUBECONFIG=… foreign-controller`.
//!
//! A `Shelf` (a CustomResourceDefinition of its own) asks for labels: the controller writes them into a ConfigMap that the Shelf
//! owns by server-side apply, says so in the Shelf's status and in an event, and keeps a finalizer until it has noted the end.
//! It leads by a Lease. The user makes, changes, breaks and deletes things, and the program ends with 1 at the first surprise.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::events::v1::Event as ClusterEvent;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Error as FinalizerError, Event as Finalizing, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const MANAGER: &str = "shelves";
const FINALIZER: &str = "shelves.example.org/noted";
/// How many Shelves the user makes at once.
const CROWD: usize = 40;

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "example.org", version = "v1", kind = "Shelf", plural = "shelves", namespaced, status = "ShelfStatus")]
#[kube(printcolumn = r#"{"name":"Books","type":"integer","jsonPath":".status.books"}"#)]
struct ShelfSpec {
    #[schemars(length(min = 1))]
    books: Vec<String>,
    #[serde(default)]
    colour: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShelfStatus {
    books: usize,
    observed_generation: i64,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn wrong(what: impl Display) -> Failure {
    what.to_string().into()
}

struct Librarian {
    client: Client,
    recorder: Recorder,
}

async fn reconcile(shelf: Arc<Shelf>, librarian: Arc<Librarian>) -> Result<Action, FinalizerError<Failed>> {
    let shelves = Api::<Shelf>::namespaced(librarian.client.clone(), &shelf.namespace().unwrap_or_default());
    let settled = finalizer(&shelves, FINALIZER, shelf, |event| async {
        match event {
            Finalizing::Apply(shelf) => librarian.arrange(&shelf).await,
            Finalizing::Cleanup(shelf) => librarian.close(&shelf).await,
        }
        .map_err(Failed)
    });
    settled.await
}

#[derive(Debug)]
struct Failed(kube::Error);

impl Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl Librarian {
    async fn arrange(&self, shelf: &Shelf) -> Result<Action, kube::Error> {
        let namespace = shelf.namespace().unwrap_or_default();
        let owner = shelf.controller_owner_ref(&()).into_iter().collect();
        let meta = ObjectMeta { name: Some(shelf.name_any()), owner_references: Some(owner), ..ObjectMeta::default() };
        let books: BTreeMap<String, String> =
            shelf.spec.books.iter().map(|book| (book.clone(), shelf.spec.colour.clone().unwrap_or_default())).collect();
        let labels = ConfigMap { metadata: meta, data: Some(books), ..ConfigMap::default() };
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), &namespace);
        maps.patch(&shelf.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&labels)).await?;
        let status = ShelfStatus {
            books: shelf.spec.books.len(),
            observed_generation: shelf.metadata.generation.unwrap_or_default(),
        };
        let status = json!({"apiVersion": "example.org/v1", "kind": "Shelf", "status": status});
        let shelves = Api::<Shelf>::namespaced(self.client.clone(), &namespace);
        shelves.patch_status(&shelf.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&status)).await?;
        self.note(shelf, "Arranged").await?;
        Ok(Action::requeue(Duration::from_secs(300)))
    }

    async fn close(&self, shelf: &Shelf) -> Result<Action, kube::Error> {
        self.note(shelf, "Closed").await?;
        Ok(Action::await_change())
    }

    async fn note(&self, shelf: &Shelf, reason: &str) -> Result<(), kube::Error> {
        let event = Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: Some(format!("{} books", shelf.spec.books.len())),
            action: "Arrange".to_owned(),
            secondary: None,
        };
        self.recorder.publish(&event, &shelf.object_ref(&())).await
    }
}

/// Takes the Lease, or waits for its holder's end; then renews it. The first write needs it not to be there.
async fn lead(client: Client, namespace: &str, who: &str) -> Result<Lease, Failure> {
    let leases = Api::<Lease>::namespaced(client, namespace);
    let lease = |transitions: i32| -> Result<Lease, Failure> {
        let now = k8s_openapi::jiff::Timestamp::now();
        Ok(serde_json::from_value(json!({
            "metadata": {"name": "shelves"},
            "spec": {"holderIdentity": who, "leaseDurationSeconds": 2, "leaseTransitions": transitions,
                "acquireTime": format!("{now:.6}"), "renewTime": format!("{now:.6}")},
        }))?)
    };
    match leases.create(&PostParams::default(), &lease(0)?).await {
        Ok(lease) => return Ok(lease),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        let held = leases.get("shelves").await?;
        let spec = held.spec.clone().unwrap_or_default();
        let renewed = spec.renew_time.ok_or_else(|| wrong("a lease without its time"))?.0;
        let lapsed = renewed + Duration::from_secs(2) < k8s_openapi::jiff::Timestamp::now();
        if lapsed {
            let mut ours = lease(spec.lease_transitions.unwrap_or_default() + 1)?;
            ours.metadata.resource_version = held.resource_version();
            return Ok(leases.replace("shelves", &PostParams::default(), &ours).await?);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn definition(client: &Client) -> Result<(), Failure> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let apply = PatchParams::apply(MANAGER).force();
    definitions.patch("shelves.example.org", &apply, &Patch::Apply(Shelf::crd())).await?;
    await_condition(definitions, "shelves.example.org", conditions::is_crd_established()).await?;
    Ok(())
}

/// Waits until a Shelf is arranged as it stands now.
async fn arranged(shelves: &Api<Shelf>, name: &str) -> Result<Shelf, Failure> {
    let done = |shelf: Option<&Shelf>| {
        shelf.is_some_and(|shelf| {
            let observed = shelf.status.as_ref().map(|status| status.observed_generation);
            observed == shelf.metadata.generation && shelf.finalizers().iter().any(|f| f == FINALIZER)
        })
    };
    await_condition(shelves.clone(), name, done).await?.ok_or_else(|| wrong("a Shelf that is gone"))
}

fn shelf(name: &str, books: &[&str]) -> Shelf {
    Shelf::new(name, ShelfSpec { books: books.iter().map(|book| (*book).to_owned()).collect(), colour: None })
}

fn same(what: &str, found: impl PartialEq<usize> + Display, wanted: usize) -> Result<(), Failure> {
    if found == wanted { Ok(()) } else { Err(wrong(format!("{what}: {found} and not {wanted}"))) }
}

/// The user.
async fn try_it(client: Client, namespace: &str) -> Result<(), Failure> {
    let shelves = Api::<Shelf>::namespaced(client.clone(), namespace);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let new = PostParams::default();

    println!("a schema refuses what it does not allow");
    match shelves.create(&new, &shelf("empty", &[])).await {
        Err(kube::Error::Api(status)) if status.code == 422 => {}
        other => return Err(wrong(format!("an empty Shelf: {other:?}"))),
    }

    println!("{CROWD} Shelves are arranged");
    let names: Vec<String> = (0..CROWD).map(|at| format!("s{at}")).collect();
    let made = names.iter().map(|name| async { shelves.create(&new, &shelf(name, &["a", "b"])).await });
    futures::future::try_join_all(made).await?;
    futures::future::try_join_all(names.iter().map(|name| arranged(&shelves, name))).await?;
    let made = maps.list(&ListParams::default()).await?.items;
    same("ConfigMaps", made.iter().filter(|map| map.name_any() != "kube-root-ca.crt").count(), CROWD)?;

    println!("a change is followed");
    let patch = json!({"spec": {"books": ["a", "b", "c"], "colour": "red"}});
    shelves.patch("s0", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    same("books", arranged(&shelves, "s0").await?.status.unwrap_or_default().books, 3)?;
    same("labels", maps.get("s0").await?.data.unwrap_or_default().len(), 3)?;

    println!("what is deleted comes back");
    let uid = maps.get("s1").await?.uid().unwrap_or_default();
    maps.delete("s1", &DeleteParams::default()).await?;
    let back = |map: Option<&ConfigMap>| map.is_some_and(|map| map.uid().is_some_and(|new| new != uid));
    await_condition(maps.clone(), "s1", back).await?;

    println!("a field has one owner, unless one insists");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "stolen"}});
    match maps.patch("s2", &PatchParams::apply("thief"), &Patch::Apply(&theirs)).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => return Err(wrong(format!("a conflict that is none: {other:?}"))),
    }
    maps.patch("s2", &PatchParams::apply("thief").force(), &Patch::Apply(&theirs)).await?;
    let put_right = |map: Option<&ConfigMap>| {
        map.is_some_and(|map| map.data.as_ref().is_some_and(|data| data.get("a").is_some_and(String::is_empty)))
    };
    await_condition(maps.clone(), "s2", put_right).await?;

    println!("an old resourceVersion is a conflict");
    let mut stale = shelves.get("s3").await?;
    shelves.patch("s3", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}}))).await?;
    stale.spec.colour = Some("blue".to_owned());
    match shelves.replace("s3", &new, &stale).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => return Err(wrong(format!("a stale write: {other:?}"))),
    }

    println!("pages and labels find what they should");
    let mut page = shelves.list(&ListParams::default().limit(7)).await?;
    let mut seen = page.items.len();
    while let Some(next) = page.metadata.continue_.clone().filter(|next| !next.is_empty()) {
        page = shelves.list(&ListParams::default().limit(7).continue_token(&next)).await?;
        seen += page.items.len();
    }
    same("Shelves in pages", seen, CROWD)?;
    same("Shelves by label", shelves.list(&ListParams::default().labels("x=y")).await?.items.len(), 1)?;

    println!("events tell it, and are counted");
    let events = Api::<ClusterEvent>::namespaced(client.clone(), namespace);
    let told = events.list(&ListParams::default().fields("reason=Arranged")).await?.items;
    let mut told = told.iter().filter(|event| event.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some("s0"));
    if !told.any(|event| event.series.is_some()) {
        return Err(wrong("s0 has no event with a series"));
    }

    println!("what goes is noted first, and its ConfigMap follows");
    shelves.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    for name in &names {
        let gone = |shelf: Option<&Shelf>| shelf.is_none();
        await_condition(shelves.clone(), name, gone).await?;
        await_condition(maps.clone(), name, |map: Option<&ConfigMap>| map.is_none()).await?;
    }
    let closed = events.list(&ListParams::default().fields("reason=Closed")).await?;
    same("ends that were noted", closed.items.len(), CROWD)
}

async fn run() -> Result<(), Failure> {
    let client = Client::try_default().await?;
    let namespaces = Api::<Namespace>::all(client.clone());
    let made = Namespace {
        metadata: ObjectMeta { generate_name: Some("foreign-".to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let namespace = namespaces.create(&PostParams::default(), &made).await?.name_any();
    definition(&client).await?;

    println!("one leads; the next waits for the end of its lease");
    lead(client.clone(), &namespace, "first").await?;
    let lease = lead(client.clone(), &namespace, "second").await?;
    let transitions = lease.spec.and_then(|spec| spec.lease_transitions).unwrap_or_default();
    same("changes of leaders", usize::try_from(transitions)?, 1)?;

    let reporter = Reporter { controller: "example.org/shelves".to_owned(), instance: Some("only".to_owned()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let librarian = Arc::new(Librarian { client: client.clone(), recorder });
    let again = |_: Arc<Shelf>, error: &FinalizerError<Failed>, _: Arc<Librarian>| {
        eprintln!("tried again: {error}");
        Action::requeue(Duration::from_millis(100))
    };
    let shelves = Api::<Shelf>::namespaced(client.clone(), &namespace);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    // The first list comes as a stream of the watch.
    let controller = Controller::new(shelves, watcher::Config::default().streaming_lists())
        .owns(maps, watcher::Config::default())
        .run(reconcile, again, librarian);
    let working = tokio::spawn(controller.for_each(|_| async {}));
    let outcome = tokio::time::timeout(Duration::from_secs(90), try_it(client.clone(), &namespace)).await;
    working.abort();
    outcome.map_err(|_| wrong("it took longer than 90 s"))??;

    println!("the namespace and the kind go without a trace");
    namespaces.delete(&namespace, &DeleteParams::background()).await?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    definitions.delete("shelves.example.org", &DeleteParams::default()).await?;
    let wait = async {
        await_condition(namespaces, &namespace, |found: Option<&Namespace>| found.is_none()).await?;
        await_condition(definitions, "shelves.example.org", |found: Option<&CustomResourceDefinition>| found.is_none())
            .await
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.map_err(|_| wrong("the end took longer than 30 s"))??;
    Ok(())
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => {
            println!("a stranger's controller works");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("FAILED: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
