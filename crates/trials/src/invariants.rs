//! The six rules that hold for every controller, one function each. They panic with what broke the rule.

use std::collections::{BTreeMap, BTreeSet};

use paddock_reconcile::Controller;
use serde_json::{Value, json};

use crate::World;
use crate::process::Subject;
use crate::tap::{Failure, Request};

/// Once settled, another pass writes nothing: not in the same process, and not in one that has just started.
///
/// # Panics
/// With the writes.
pub async fn second_pass_writes_nothing<C: Controller>(world: &impl World, subject: &Subject<C>) {
    let mut process = subject.start(world);
    process.settle().await;
    assert!(!process.tap.writes().is_empty(), "the controller wrote nothing at all: the world gives it nothing to do");
    process.tap.clear();
    process.round().await.expect("sources can be listed");
    assert_eq!(process.tap.writes(), [], "a second pass of the same process wrote");
    let mut restarted = subject.start(world);
    restarted.round().await.expect("sources can be listed");
    assert_eq!(restarted.tap.writes(), [], "the first pass after a restart wrote");
}

/// A process that dies after any single write, its answer seen or not, and starts again ends in the same world as one that
/// never died. `fresh` makes a world with the same intent each time.
///
/// # Panics
/// With the write after which the worlds differ, and how.
pub async fn crash_after_every_write_converges<C: Controller, W: World>(
    fresh: impl AsyncFn() -> W,
    subject: &Subject<C>,
) {
    let world = fresh().await;
    let mut undisturbed = subject.start(&world);
    undisturbed.settle().await;
    let writes = undisturbed.tap.writes();
    let expected = dump(&world, &writes, subject).await;
    for (nth, write) in writes.iter().enumerate().map(|(at, write)| (at + 1, write)) {
        for failures in [vec![Failure::CrashAfter(nth)], vec![Failure::ResponseLost(nth), Failure::CrashAfter(nth)]] {
            let world = fresh().await;
            let mut dying = subject.start(&world);
            failures.iter().for_each(|failure| dying.tap.fail(*failure));
            dying.settle().await;
            assert!(dying.tap.crashed(), "write {nth} did not happen again: the controller is not deterministic");
            subject.start(&world).settle().await;
            let found = dump(&world, &writes, subject).await;
            let differing = differences(&expected, &found);
            assert!(differing.is_empty(), "after {failures:?} at {write:?} the worlds differ:\n{differing}");
        }
    }
}

/// Editing one tenant writes only what belongs to it. `edit` changes the intent of one tenant; `belongs` says which writes
/// may follow.
///
/// # Panics
/// With the writes that concern others.
pub async fn tenants_are_isolated<C: Controller>(
    world: &impl World,
    subject: &Subject<C>,
    edit: impl AsyncFnOnce(),
    belongs: impl Fn(&Request) -> bool,
) {
    let mut process = subject.start(world);
    process.settle().await;
    process.tap.clear();
    edit().await;
    process.settle().await;
    let writes = process.tap.writes();
    assert!(!writes.is_empty(), "the edit changed nothing");
    let foreign: Vec<_> = writes.into_iter().filter(|write| !belongs(write)).collect();
    assert_eq!(foreign, [], "another tenant's objects were written");
}

/// No object is owned by something in another namespace, nor a cluster-scoped one by something in a namespace.
///
/// # Panics
/// With the object and its owner.
pub async fn no_owner_across_namespaces<C: Controller>(world: &impl World, subject: &Subject<C>) {
    let mut process = subject.start(world);
    process.settle().await;
    let kinds = collections(&process.tap.requests());
    let objects = list_all(world, &kinds).await;
    let namespace = |o: &Value| o.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
    let homes: BTreeMap<&str, Option<String>> =
        objects.iter().filter_map(|o| Some((o.pointer("/metadata/uid")?.as_str()?, namespace(o)))).collect();
    let managed = objects.iter().filter(|o| {
        o.pointer("/metadata/labels/app.kubernetes.io~1managed-by").and_then(Value::as_str)
            == Some(&subject.identity.managed_by)
    });
    for object in managed {
        for owner in object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten() {
            let home = homes.get(owner["uid"].as_str().unwrap_or_default());
            let home = home.unwrap_or_else(|| panic!("{object:#} is owned by {owner}, which is not there"));
            assert!(home.is_none() || *home == namespace(object), "{object:#} is owned across namespaces by {owner}");
        }
    }
}

/// An intent that cannot be read deletes nothing: not in the process that saw it before, and not in a new one.
/// `break_it` makes the intent unreadable.
///
/// # Panics
/// With the deletions.
pub async fn failed_parse_deletes_nothing<C: Controller>(
    world: &impl World,
    subject: &Subject<C>,
    break_it: impl AsyncFnOnce(),
) {
    let mut process = subject.start(world);
    process.settle().await;
    let kinds = collections(&process.tap.writes());
    let before = uids(&list_all(world, &kinds).await);
    assert!(!before.is_empty(), "the controller made nothing");
    process.tap.clear();
    break_it().await;
    process.settle().await;
    let mut restarted = subject.start(world);
    restarted.settle().await;
    let mut writes = process.tap.writes();
    writes.extend(restarted.tap.writes());
    writes.retain(|write| write.method == "DELETE");
    assert_eq!(writes, [], "a failed parse deleted");
    let after = uids(&list_all(world, &kinds).await);
    assert!(before.is_subset(&after), "objects are gone: {:?}", before.difference(&after).collect::<Vec<_>>());
}

/// An object of somebody else with the name of one that we would make is neither changed nor deleted. Tried for every
/// object that the controller makes, each in a fresh world.
///
/// # Panics
/// With the write.
pub async fn only_our_objects_are_touched<C: Controller, W: World>(fresh: impl AsyncFn() -> W, subject: &Subject<C>) {
    let world = fresh().await;
    let mut process = subject.start(&world);
    process.settle().await;
    let mut targets: Vec<Request> = Vec::new();
    for write in process.tap.writes() {
        let same =
            |t: &Request| (&t.resource, &t.namespace, &t.name) == (&write.resource, &write.namespace, &write.name);
        // Only what this controller makes itself, by applying it; status and events concern objects of others.
        let made = write.method == "PATCH" && write.code == 201 && write.subresource.is_empty();
        if made && !(subject.adopts)(&write) && !targets.iter().any(same) {
            targets.push(write);
        }
    }
    assert!(!targets.is_empty(), "the controller made nothing");
    for target in targets {
        let made = get(&world, &target).await.unwrap_or_else(|| panic!("{target:?} is gone"));
        let world = fresh().await;
        let mut foreign = made;
        foreign["metadata"] = json!({
            "name": target.name,
            "labels": {"app.kubernetes.io/managed-by": "somebody-else"},
        });
        if !target.namespace.is_empty() {
            foreign["metadata"]["namespace"] = target.namespace.as_str().into();
        }
        if let Some(spec) = foreign.get_mut("spec").and_then(Value::as_object_mut) {
            for allocated in ["clusterIP", "clusterIPs"] {
                spec.remove(allocated);
            }
        }
        foreign.as_object_mut().map(|o| o.remove("status"));
        let at = Request { name: String::new(), ..target.clone() };
        let planted = send(&world, "POST", &path(&at), Some(&foreign)).await;
        let planted = planted.unwrap_or_else(|| panic!("{target:?} cannot be planted"));
        let mut process = subject.start(&world);
        process.settle().await;
        let after = get(&world, &target).await.unwrap_or_else(|| panic!("{target:?} of somebody else was deleted"));
        let version = |o: &Value| o["metadata"]["resourceVersion"].clone();
        assert_eq!(version(&planted), version(&after), "{target:?} of somebody else was changed to {after:#}");
    }
}

/// The collections that requests touched, without those that are no part of a settled world.
fn collections(requests: &[Request]) -> BTreeSet<String> {
    let kept = |r: &&Request| !matches!(&*r.resource, "events" | "leases") && !r.resource.ends_with("reviews");
    requests.iter().filter(kept).map(Request::collection).collect()
}

async fn send(world: &impl World, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
    let body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
    let request =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json").body(body);
    match world.client().request::<Value>(request.expect("a request")).await {
        Ok(answer) => Some(answer),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

fn path(target: &Request) -> String {
    let collection = target.collection();
    let (prefix, resource) = collection.rsplit_once('/').unwrap_or_default();
    let namespace =
        if target.namespace.is_empty() { String::new() } else { format!("/namespaces/{}", target.namespace) };
    let name = if target.name.is_empty() { String::new() } else { format!("/{}", target.name) };
    format!("{prefix}{namespace}/{resource}{name}")
}

async fn get(world: &impl World, target: &Request) -> Option<Value> {
    send(world, "GET", &path(target), None).await
}

async fn list_all(world: &impl World, collections: &BTreeSet<String>) -> Vec<Value> {
    let mut objects = Vec::new();
    for path in collections {
        let Some(mut list) = send(world, "GET", path, None).await else { continue };
        if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
            objects.extend(items.into_iter().map(|mut item| {
                item["kind"] = path.as_str().into();
                item
            }));
        }
    }
    objects
}

fn uids(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().filter_map(|o| Some(o.pointer("/metadata/uid")?.as_str()?.to_owned())).collect()
}

/// All objects of the kinds that were written, by path and name, without what differs from run to run.
async fn dump<C>(world: &impl World, writes: &[Request], subject: &Subject<C>) -> BTreeMap<String, Value> {
    let mut dumped = BTreeMap::new();
    for mut object in list_all(world, &collections(writes)).await {
        let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for varying in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                metadata.remove(varying);
            }
            for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
                owner["uid"] = Value::Null;
            }
        }
        if name.contains("/secrets ")
            && let Some(data) = object.get_mut("data").and_then(Value::as_object_mut)
        {
            data.values_mut().for_each(|v| *v = Value::Null);
        }
        blank(&mut object, 64);
        (subject.normalise)(&mut object);
        dumped.insert(chosen_by_server(&mut object, &name, &dumped), object);
    }
    dumped
}

/// The name of an object in a dump. Of one that the server named only the prefix is the same in two runs.
fn chosen_by_server(object: &mut Value, name: &str, dumped: &BTreeMap<String, Value>) -> String {
    let Some(prefix) = object.pointer("/metadata/generateName").and_then(Value::as_str) else { return name.to_owned() };
    let place = name.rsplit_once('/').map_or(name, |(place, _)| place);
    let numbered = (0..).map(|n| format!("{place}/{prefix}{n}")).find(|name| !dumped.contains_key(name));
    object["metadata"]["name"] = Value::Null;
    numbered.unwrap_or_default()
}

/// Blanks what a server chooses at random: uids in recorded inventories, service addresses.
fn blank(value: &mut Value, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), &*value) {
                    ("clusterIP" | "clusterIPs" | "nodePort" | "lastTransitionTime", _) => *value = Value::Null,
                    (_, Value::String(text)) if text.starts_with("[{\"") => *value = blanked_record(text),
                    _ => blank(value, depth),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, depth)),
        _ => {}
    }
}

/// A recorded inventory without uids, in any order: a crash may change in which order things were written down.
fn blanked_record(text: &str) -> Value {
    let Ok(Value::Array(mut items)) = serde_json::from_str(text) else { return text.into() };
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        item.remove("uid");
    }
    items.sort_by_key(ToString::to_string);
    Value::Array(items)
}

fn differences(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> String {
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differing = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    differing
        .map(|name| {
            let show = |o: Option<&Value>| o.map_or_else(|| "nothing".to_owned(), |o| format!("{o:#}"));
            format!("{name}\n expected {}\n found {}\n", show(expected.get(name)), show(found.get(name)))
        })
        .collect()
}
