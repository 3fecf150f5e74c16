//! `paddock demo`: two tenants get their gateways on a throw-away embedded Kubernetes API.
//!
//! | module | what it is for |
//! |---|---|
//! | [`story`] | pure: what happened, in words, in JSON and compared |
//! | [`observe`] | watches and snapshots |
//! | [`screen`] | spinner, plain lines or JSON |

pub(crate) mod observe;
mod screen;
mod story;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use paddock_serve::{Overrides, TlsMetrics};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::observe::{Observer, snapshot};
use self::screen::Screen;
use self::story::{Event, Snapshot, compare};
use super::controllers::{CONTROL_NAMESPACE, Options, Running, account, create_namespace, install};
use super::embedded::{Embedded, Place};
use super::own_startup::OwnStartup;
use crate::exit::{Failure, Outcome, chain};
use crate::settings::{Effective, table};

const TENANTS: &[&str] = &["tenant-a", "tenant-b"];
const EXAMPLE: &str = include_str!("../../../../../examples/platform-config.yaml");
const STATUS: &str = "platform-config-status";

/// The line of the example that the demo puts its new name after, and the name.
const ANCHOR: &str = "          - gateway.tenant-a.example.com\n";
const NEW_NAME: &str = "api.tenant-a.example.com";

/// Nothing more is expected after this long without a write.
const QUIET: Duration = Duration::from_millis(700);
/// When a step has not come to rest by then, something is wrong.
const PATIENCE: Duration = Duration::from_secs(90);

/// Tells the whole story; with `--keep`, then waits for `stop`.
pub(crate) async fn run(settings: &Effective, stop: CancellationToken) -> Outcome {
    let began = Instant::now();
    let home = tempfile::Builder::new()
        .prefix("paddock-demo-")
        .tempdir()
        .map_err(|error| Failure::usage(format!("cannot make a temporary directory: {error}")))?;
    let quit = stop.child_token();
    let data = home.path().join("data");
    let own = OwnStartup::below(&data);
    own.seed()?;
    let startup = own.startup(Overrides::default(), None, TlsMetrics::default());
    startup.load().await.map_err(|error| Failure::undetermined(chain(&error)))?;
    let (following, until) = (startup.clone(), quit.clone());
    tokio::spawn(async move { following.watch(until).await });
    let embedded = Embedded {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        place: Place::Directory(data),
        kubeconfig: home.path().join("kubeconfig"),
        audit_log: None,
        loops: paddock_apiserver::Loop::all(),
        tls: Some(startup),
    };
    let mut screen = Screen::new(settings.get(&table::JSON));
    screen.waiting_for("starting the Kubernetes API");
    let server = embedded.start().await?;
    let Some(address) = server.local_addr() else { return Err(Failure::undetermined("the API server has no address")) };
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    screen.show(&Event::Started { server: format!("https://{address}"), milliseconds })?;

    // The demo looks at the world through a client of its own; so does every controller.
    let client = server.client();
    install(&client).await?;
    let options = Options::for_demo()?;
    tokio::spawn(own.follow(options.tls_profile.own.subscribe(), quit.clone()));
    let mut controllers = Running::start(account(&server), &options, &TlsMetrics::default(), quit.clone());
    let outcome = tokio::select! {
        told = tell(&client, &mut screen, began) => told,
        () = stop.cancelled() => Ok(()),
        why = server.failed() => Err(Failure::undetermined(format!("the store can write no more: {why}"))),
    };
    screen.close();
    if outcome.is_ok() && settings.get(&table::KEEP) && !stop.is_cancelled() {
        keep(&mut screen, &embedded.kubeconfig)?;
        stop.cancelled().await;
    }
    quit.cancel();
    let ended = controllers.ended().await;
    server.shutdown().await;
    outcome.and(ended)
}

fn keep(screen: &mut Screen, kubeconfig: &Path) -> Outcome {
    screen.show(&Event::Running { kubeconfig: kubeconfig.display().to_string() })?;
    screen.say(&format!(
        "\nIt keeps running until you interrupt it. In another terminal:\n\n  \
         export KUBECONFIG={}\n  \
         kubectl get namespaces\n  \
         kubectl -n tenant-a get statefulsets,services,secrets,configmaps,networkpolicies\n  \
         kubectl -n tenant-a describe statefulset openshell-gateway\n  \
         kubectl -n {CONTROL_NAMESPACE} edit configmap platform-config\n  \
         kubectl -n {CONTROL_NAMESPACE} get configmap {STATUS} -o yaml",
        kubeconfig.display()
    ))
}

async fn tell(client: &Client, screen: &mut Screen, began: Instant) -> Outcome {
    let mut observer = Observer::new(client, TENANTS);

    step(screen, "Creating the namespaces tenant-a and tenant-b")?;
    for tenant in TENANTS {
        create_namespace(client, tenant).await?;
    }
    step(screen, "Applying examples/platform-config.yaml")?;
    apply(client, EXAMPLE).await?;
    screen.waiting_for("waiting for both gateways to be applied");
    let first =
        settle(client, screen, &mut observer, |world| world.iter().all(|(_, tenant)| tenant.is_complete())).await?;
    let status = reported(client).await?;
    for (tenant, world) in &first {
        screen.show(&Event::Tenant(world.standing(tenant, &status(tenant))))?;
    }

    step(screen, &format!("Adding the DNS name {NEW_NAME} to tenant-a"))?;
    apply(client, &edited()).await?;
    screen.waiting_for("waiting for tenant-a to follow");
    let old = first[0].1.clone();
    let second = settle(client, screen, &mut observer, |world| world[0].1.restarted_since(&old)).await?;

    step(screen, "What that meant")?;
    for ((tenant, before), (_, after)) in first.iter().zip(&second) {
        for event in compare(tenant, before, after) {
            screen.show(&event)?;
        }
    }
    let (_, before) = &first[1];
    let (_, after) = &second[1];
    if before.versions() != after.versions() {
        return Err(Failure::found("tenant-b was touched by a change of tenant-a"));
    }
    screen.show(&Event::Done { seconds: format!("{:.1}", began.elapsed().as_secs_f64()) })
}

fn step(screen: &mut Screen, text: &str) -> Outcome {
    screen.show(&Event::Step { text: text.to_owned() })
}

fn edited() -> String {
    EXAMPLE.replace(ANCHOR, &format!("{ANCHOR}          - {NEW_NAME}\n"))
}

async fn apply(client: &Client, yaml: &str) -> Outcome {
    let object: ConfigMap =
        serde_saphyr::from_str(yaml).map_err(|error| Failure::undetermined(format!("the example: {error}")))?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), CONTROL_NAMESPACE);
    api.patch(&object.name_any(), &PatchParams::apply("paddock-demo"), &Patch::Apply(&object))
        .await
        .map_err(|error| Failure::undetermined(chain(&error)))?;
    Ok(())
}

type World = Vec<(&'static str, Snapshot)>;

/// Shows writes until the world is as `wanted` and nothing more is written.
async fn settle(
    client: &Client,
    screen: &mut Screen,
    observer: &mut Observer,
    wanted: impl Fn(&World) -> bool,
) -> Result<World, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout(QUIET, observer.next()).await {
            Ok(event) => screen.show(&event?)?,
            Err(_) => {
                let mut world = World::new();
                for tenant in TENANTS.iter().copied() {
                    let seen = snapshot(client, tenant).await.map_err(|error| Failure::undetermined(chain(&error)))?;
                    world.push((tenant, seen));
                }
                if wanted(&world) {
                    return Ok(world);
                }
            }
        }
        if Instant::now() > deadline {
            return Err(Failure::found(format!("the tenants did not come to rest in {} s", PATIENCE.as_secs())));
        }
    }
}

/// The report once it tells of everything that was applied: it is gathered for a second, and here, where no node is, no gateway goes on
/// making progress.
async fn reported(client: &Client) -> Result<impl Fn(&str) -> Value, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = status(client).await?;
        let is_behind = |tenant: &&str| matches!(status(tenant)["reason"].as_str(), None | Some("Progressing"));
        if !TENANTS.iter().any(is_behind) || Instant::now() > deadline {
            return Ok(status);
        }
        tokio::time::sleep(QUIET).await;
    }
}

/// The entry of a tenant in `platform-config-status`.
async fn status(client: &Client) -> Result<impl Fn(&str) -> Value, Failure> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), CONTROL_NAMESPACE);
    let found = api.get_opt(STATUS).await.map_err(|error| Failure::undetermined(chain(&error)))?;
    let data = found.and_then(|map| map.data).unwrap_or_default();
    Ok(move |tenant: &str| data.get(tenant).and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edit_adds_one_name_to_the_example() {
        assert_eq!(edited().lines().count(), EXAMPLE.lines().count() + 1);
        assert!(edited().contains(NEW_NAME));
    }
}
