//! The figures of the gateways controller, under `paddock up`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use paddock_reconcile::client;
use serde_json::json;

use super::Sizes;
use super::figure::{Report, Wanted};
use super::server::{Server, directory, failed};
use crate::commands::controllers::{CONTROL_NAMESPACE, create_namespace};
use crate::commands::demo::observe;
use crate::exit::{Failure, Outcome};

const PATIENCE: Duration = Duration::from_secs(300);
/// A second pass that has written nothing for this long writes nothing.
const REST: Duration = Duration::from_secs(5);
const CONFIG: &str = "platform-config";

pub(crate) async fn measure(sizes: &Sizes, report: &Report) -> Outcome {
    let dir = directory()?;
    let server = up(dir.path()).await?;
    let client = connect(&server).await?;
    let names: Vec<String> = (0..sizes.tenants).map(|at| format!("tenant-{at:03}")).collect();
    for name in &names {
        create_namespace(&client, name).await?;
    }

    let began = Instant::now();
    configure(&client, &names, "first.example.com").await?;
    let complete = tokio::time::timeout(PATIENCE, all_applied(&client, names.len())).await;
    complete.map_err(|_| failed(format!("not all gateways were applied in {} s", PATIENCE.as_secs())))??;
    report.time(format!("{} tenants, cold to all objects applied", names.len()), began.elapsed(), Wanted::Nothing)?;
    tokio::time::sleep(REST).await;

    let before = versions(&client, &names).await?;
    server.stop().await?;
    let server = up(dir.path()).await?;
    let client = connect(&server).await?;
    tokio::time::sleep(REST).await;
    let after = versions(&client, &names).await?;
    let written = after.iter().filter(|(object, version)| before.get(*object) != Some(*version)).count();
    let gone = before.keys().filter(|object| !after.contains_key(*object)).count();
    let writes = u32::try_from(written + gone).unwrap_or(u32::MAX);
    report.add(
        format!("second pass over {} objects, after a restart: writes", after.len()),
        f64::from(writes),
        "",
        Wanted::AtMost(0.0),
    )?;

    let took = edit_to_first_write(&client, &names).await?;
    report.time("platform-config edit to first write", took, Wanted::AtMost(1000.0))?;
    server.stop().await
}

async fn up(dir: &Path) -> Result<Server, Failure> {
    Server::start(dir, &["up", "--data-dir", &dir.join("data").to_string_lossy()]).await
}

async fn connect(server: &Server) -> Result<Client, Failure> {
    client::from_kubeconfig(&server.kubeconfig, None).await.map_err(failed)
}

/// Writes a `platform-config` in which only the first tenant has a DNS name of its own.
async fn configure(client: &Client, names: &[String], dns: &str) -> Outcome {
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        text.push_str(&format!("- name: {name}\n"));
        if at == 0 {
            text.push_str(&format!("  gateway:\n    serverDnsNames: [{dns}]\n"));
        }
    }
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": {"namespaces": text}});
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), CONTROL_NAMESPACE);
    api.patch(CONFIG, &PatchParams::apply("paddock-bench"), &Patch::Apply(&object)).await.map_err(failed)?;
    Ok(())
}

/// A gateway's workload is applied last.
async fn all_applied(client: &Client, wanted: usize) -> Outcome {
    let api: Api<StatefulSet> = Api::all(client.clone());
    let mut stream =
        kube::runtime::watcher(api, kube::runtime::watcher::Config::default().labels(observe::OURS)).boxed();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(event) = stream.try_next().await.map_err(failed)? {
        if let kube::runtime::watcher::Event::Apply(object) | kube::runtime::watcher::Event::InitApply(object) = event {
            seen.insert(object.namespace());
        }
        if seen.len() >= wanted {
            return Ok(());
        }
    }
    Err(failed("the watch ended"))
}

async fn versions(client: &Client, names: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut versions = BTreeMap::new();
    for name in names {
        for ((kind, object), value) in observe::snapshot(client, name).await.map_err(failed)?.0 {
            let version = value.pointer("/metadata/resourceVersion").and_then(serde_json::Value::as_str);
            versions.insert(format!("{name}/{kind}/{object}"), version.unwrap_or_default().to_owned());
        }
    }
    Ok(versions)
}

async fn edit_to_first_write(client: &Client, names: &[String]) -> Result<Duration, Failure> {
    let api: Api<k8s_openapi::api::core::v1::Secret> = Api::all(client.clone());
    let list = api.list_metadata(&ListParams::default().labels(observe::OURS)).await.map_err(failed)?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let mut events = api.watch(&WatchParams::default().labels(observe::OURS), &version).await.map_err(failed)?.boxed();
    let began = Instant::now();
    configure(client, names, "second.example.com").await?;
    let first = async {
        while let Some(event) = events.try_next().await.map_err(failed)? {
            if matches!(event, WatchEvent::Added(_) | WatchEvent::Modified(_)) {
                return Ok(began.elapsed());
            }
        }
        Err(failed("the watch ended"))
    };
    tokio::time::timeout(Duration::from_secs(30), first).await.map_err(|_| failed("no write in 30 s after an edit"))?
}
