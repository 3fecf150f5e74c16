//! Paddock's controllers in this process: started by `up`, `demo` and `operator` alike.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use paddock_reconcile::health::State;
use paddock_reconcile::{Context, Error, Identity, LeaseConfig, Readiness, Runtime};
use paddock_serve::{Check, Drained, Health, Listener, serve};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Outcome, chain};
use crate::settings::value::{Controller, Controllers};
use crate::settings::{Effective, OptionalAddr, table};

/// The control plane's own namespace where no other is named.
pub(crate) const CONTROL_NAMESPACE: &str = "paddock-system";

/// What the controllers need to know besides the cluster.
#[derive(Debug)]
pub(crate) struct Options {
    /// The control plane's own namespace: `platform-config` lives there.
    pub(crate) namespace: String,
    pub(crate) controllers: Controllers,
    /// The gateway image of tenants that name none; `None` for the one that the build knows.
    pub(crate) gateway_image: Option<String>,
    /// Whether other processes may run the same controllers: then a Lease decides who writes.
    pub(crate) shared: bool,
}

impl Options {
    /// What `up` and `operator` were told.
    pub(crate) fn of(settings: &Effective, namespace: String, shared: bool) -> Self {
        Self {
            namespace,
            controllers: settings.get(&table::CONTROLLERS),
            gateway_image: settings.find(&table::GATEWAY_IMAGE),
            shared,
        }
    }
}

/// Controllers that run until their token is cancelled.
#[derive(Debug)]
pub(crate) struct Running {
    task: JoinHandle<Result<(), Error>>,
    readiness: Readiness,
    registry: Arc<Registry>,
}

impl Running {
    /// Starts the controllers. Nothing is asked of the API server before this returns.
    pub(crate) fn start(client: Client, options: &Options, stop: CancellationToken) -> Self {
        let context = Context::new(client, Identity::new("paddock", "paddock.dev", hostname()));
        let mut registry = Registry::default();
        context.metrics().register(&mut registry);
        let mut runtime = Runtime::new(context);
        if options.shared {
            runtime = runtime.with_lease(LeaseConfig::new(&options.namespace, "paddock-operator"));
        }
        for controller in &options.controllers.0 {
            runtime = match controller {
                Controller::Gateways => add_gateways(runtime, options),
            };
        }
        let readiness = runtime.readiness();
        Self { task: tokio::spawn(runtime.run(stop)), readiness, registry: Arc::new(registry) }
    }

    /// Opens the health port, if one is wanted.
    pub(crate) async fn serve_health(
        &self,
        addr: OptionalAddr,
        stop: CancellationToken,
    ) -> Result<Option<JoinHandle<Drained>>, Failure> {
        let OptionalAddr(Some(addr)) = addr else { return Ok(None) };
        let listener = bind(addr).await?;
        tracing::info!(address = %listener.local_addr(), "health is served");
        let readiness = self.readiness.clone();
        let health = Health::new(move || checks(&readiness), self.registry.clone());
        Ok(Some(tokio::spawn(serve(listener, None, health, paddock_serve::Options::default(), stop))))
    }

    /// Resolves when the controllers have ended: after a cancelled token, or because one of them cannot go on.
    pub(crate) async fn ended(&mut self) -> Outcome {
        match (&mut self.task).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::undetermined(chain(&error))),
            Err(error) => Err(Failure::undetermined(format!("bug: the controllers ended: {error}"))),
        }
    }
}

async fn bind(addr: SocketAddr) -> Result<Listener, Failure> {
    Listener::bind(addr)
        .await
        .map_err(|error| Failure::usage(format!("--health-listen: cannot listen on {addr}: {error}")))
}

/// The engine's words for the health port. Waiting for something that is not installed is no failure.
fn checks(readiness: &Readiness) -> Vec<Check> {
    let check = |(name, state): (String, State)| match state {
        State::Ready | State::Waiting(_) => Check::ok(name),
        State::NotReady(why) => Check::failed(name, why),
    };
    readiness.report().into_iter().map(check).collect()
}

/// This process, as events and the lease name it: in a pod, the pod's name.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "paddock".to_owned() } else { name.trim().to_owned() }
}

/// Creates a namespace unless it is there.
pub(crate) async fn create_namespace(client: &Client, name: &str) -> Outcome {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    match Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(Failure::undetermined(format!("cannot create the namespace {name}: {}", chain(&error)))),
    }
}

/// The gateways controller is added here when its crate has it.
fn add_gateways(runtime: Runtime, _options: &Options) -> Runtime {
    runtime
}
