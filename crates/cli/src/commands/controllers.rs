//! Paddock's controllers in this process: started by `up`, `demo` and `operator` alike.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use paddock_api::labels;
use paddock_apiserver::{Server, User};
use paddock_controllers::gateways::{self, GatewayMetrics, ReservedNames};
use paddock_controllers::tls_profile;
use paddock_reconcile::health::State;
use paddock_reconcile::{Context, Error, Identity, LeaseConfig, Readiness, Runtime};
use paddock_serve::{Check, Drained, Health, Listener, Overrides, Startup, TlsMetrics};
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::listeners::{open_health, overrides};
use super::manifests;
use crate::exit::{Failure, Outcome, chain};
use crate::settings::effective::Source;
use crate::settings::value::{Controller, Controllers};
use crate::settings::{Effective, OptionalAddr, Setting, table};

/// The control plane's own namespace where no other is named.
pub(crate) const CONTROL_NAMESPACE: &str = "paddock-system";

/// The Lease that decides which process writes; in an installation everything of the operator is called so.
pub(crate) const LEASE: &str = labels::OPERATOR;

/// What the controllers need to know besides the cluster.
#[derive(Debug)]
pub(crate) struct Options {
    /// The control plane's own namespace: `platform-config` lives there.
    pub(crate) namespace: String,
    pub(crate) controllers: Controllers,
    pub(crate) gateways: gateways::Options,
    pub(crate) tls_profile: tls_profile::Options,
    /// Whether other processes may run the same controllers: then a Lease decides who writes.
    pub(crate) shared: bool,
}

impl Options {
    /// What `up` and `operator` were told.
    pub(crate) fn of(settings: &Effective, namespace: String, shared: bool) -> Result<Self, Failure> {
        let mut gateways = gateway_options(settings, namespace.clone())?;
        let seconds = |setting| Duration::from_secs(u64::from(settings.get::<u32>(setting)));
        gateways.run.concurrency = usize::try_from(settings.get(&table::GATEWAY_CONCURRENCY)).unwrap_or(usize::MAX);
        gateways.run.backoff_max = seconds(&table::GATEWAY_BACKOFF_MAX);
        gateways.run.resync = seconds(&table::GATEWAY_RESYNC);
        let Overrides { min_version, ciphers, groups } = overrides(settings);
        let tls_profile = tls_profile::Options {
            namespace: namespace.clone(),
            injected: settings.find(&table::TLS_INJECTED_CONFIG),
            flags: tls_profile::ProfileFlags { min_version, ciphers, groups },
            fips: in_fips_mode(),
            metrics: tls_profile::ProfileMetrics::default(),
            own: tls_profile::OwnFiles::default(),
        };
        Ok(Self { namespace, controllers: settings.get(&table::CONTROLLERS), gateways, tls_profile, shared })
    }

    /// What the demo runs: every controller, as the table has it.
    pub(crate) fn for_demo() -> Result<Self, Failure> {
        let gateways =
            gateways::Options::new(CONTROL_NAMESPACE, None).map_err(|error| Failure::usage(chain(&error)))?;
        let controllers = Controllers(Controller::ALL.map(|(_, controller)| controller).into());
        let namespace = CONTROL_NAMESPACE.to_owned();
        let tls_profile = tls_profile::Options { namespace: namespace.clone(), ..tls_profile::Options::default() };
        Ok(Self { namespace, controllers, gateways, tls_profile, shared: false })
    }
}

/// Whether the kernel of this machine runs in FIPS mode; one that does not say does not.
fn in_fips_mode() -> bool {
    std::fs::read_to_string("/proc/sys/crypto/fips_enabled").is_ok_and(|text| text.trim() == "1")
}

/// What the settings say about gateways: the same for the operator and for whoever asks what it would do.
pub(crate) fn gateway_options(settings: &Effective, namespace: String) -> Result<gateways::Options, Failure> {
    let image = settings.get(&table::GATEWAY_IMAGE);
    let mut gateways = gateways::Options::new(namespace, Some(&image))
        .map_err(|error| Failure::usage(format!("--gateways-image: {}", chain(&error))))?;
    if let Some(prefixes) = settings.find(&table::GATEWAY_IMAGES_ALLOWED) {
        gateways.rules.images.allowed = prefixes.split(',').map(|prefix| prefix.trim().to_owned()).collect();
    }
    gateways.rules.default_image_from = match settings.source(&table::GATEWAY_IMAGE) {
        Some(Source::Flag) => gateways::ImageFrom::Flag,
        Some(Source::Environment(_)) => gateways::ImageFrom::Environment,
        Some(Source::Default) | None => gateways::ImageFrom::BuiltIn,
    };
    gateways.rules.images.digest_required = settings.get(&table::GATEWAY_IMAGES_DIGEST);
    gateways.rules.images.latest_forbidden = settings.get(&table::GATEWAY_IMAGES_NO_LATEST);
    gateways
        .choose_sandbox_image(&settings.get(&table::GATEWAY_SANDBOX_IMAGE))
        .map_err(|error| Failure::usage(format!("--gateways-sandbox-image: {}", chain(&error))))?;
    gateways.rollout = gateways::RolloutPolicy {
        max_unavailable: settings.get(&table::GATEWAY_MAX_UNAVAILABLE),
        soak: settings.get(&table::GATEWAY_SOAK).0,
        progress_deadline: settings.get(&table::GATEWAY_PROGRESS_DEADLINE).0,
        tolerated_failures: settings.get(&table::GATEWAY_TOLERATED_FAILURES).0,
        canaries: settings
            .find(&table::GATEWAY_CANARIES)
            .map(|names| names.split(',').map(|name| name.trim().to_owned()).collect())
            .unwrap_or_default(),
    };
    if let Some(secret) = settings.find(&table::GATEWAY_POSTGRES) {
        gateways.rules.database = gateways::Database::postgres(&secret)
            .map_err(|error| Failure::usage(format!("--gateways-postgres-secret: {error}")))?;
    }
    gateways.ingress = parsed(settings, &table::GATEWAY_INGRESS)?;
    gateways.monitoring = parsed(settings, &table::GATEWAY_MONITORING)?;
    gateways.egress = parsed(settings, &table::GATEWAY_EGRESS)?;
    gateways.rules.namespaces = parsed(settings, &table::GATEWAY_NAMESPACES)?.unwrap_or_default();
    if let Some(names) = settings.find(&table::GATEWAY_RESERVED) {
        let names = names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        gateways.rules.reserved = ReservedNames::new(names);
    }
    gateways.rules.break_glass = settings.get(&table::GATEWAY_BREAK_GLASS);
    gateways.adopt = settings.get(&table::GATEWAY_ADOPT);
    gateways.probe = !settings.get(&table::GATEWAY_SKIP_PROBE);
    gateways.rules.policies.deletion = settings.get(&table::GATEWAY_DELETION);
    gateways.rules.policies.data = settings.get(&table::GATEWAY_DATA);
    gateways.rules.policies.drift = settings.get(&table::GATEWAY_DRIFT);
    gateways.rules.max_removals = usize::try_from(settings.get(&table::GATEWAY_MAX_REMOVALS)).unwrap_or(usize::MAX);
    Ok(gateways)
}

/// Who the controllers are to the API server.
pub(crate) fn identity() -> Identity {
    Identity::new("paddock", "paddock.dev", hostname())
}

/// A setting whose text a library reads; its error names the flag.
fn parsed<T>(settings: &Effective, setting: &'static Setting<String>) -> Result<Option<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let read = |text: String| text.parse().map_err(|error| Failure::usage(format!("{}: {error}", setting.row.title())));
    settings.find(setting).map(read).transpose()
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
    pub(crate) fn start(client: Client, options: &Options, tls: &TlsMetrics, stop: CancellationToken) -> Self {
        let context = Context::new(client, identity());
        let mut registry = Registry::with_prefix("paddock");
        context.metrics().register(&mut registry);
        tls.register(&mut registry);
        let mut runtime = Runtime::new(context);
        if options.shared {
            runtime = runtime.with_lease(LeaseConfig::new(&options.namespace, LEASE));
        }
        for controller in &options.controllers.0 {
            match controller {
                Controller::Gateways => {
                    let metrics = GatewayMetrics::default();
                    metrics.register(&mut registry);
                    let (tenants, status, fleet) = gateways::controllers(options.gateways.clone(), metrics);
                    runtime = runtime.with_controller(tenants).with_controller(status).with_controller(fleet);
                }
                Controller::TlsProfile => {
                    options.tls_profile.metrics.register(&mut registry);
                    let all = tls_profile::controllers(options.tls_profile.clone());
                    runtime = runtime.with_controller(all.decider).with_controller(all.sources);
                    runtime = runtime.with_controller(all.deliverer).with_controller(all.verifier);
                }
            }
        }
        let readiness = runtime.readiness();
        Self { task: tokio::spawn(runtime.run(stop)), readiness, registry: Arc::new(registry) }
    }

    /// Opens the health port, if one is wanted.
    pub(crate) async fn serve_health(
        &self,
        addr: OptionalAddr,
        startup: Option<Startup>,
        stop: CancellationToken,
    ) -> Result<Option<JoinHandle<Drained>>, Failure> {
        open_health(addr, Health::new(self.readiness(startup), self.registry()), stop).await
    }

    /// What the controllers and the start-up data say of themselves.
    pub(super) fn readiness(&self, startup: Option<Startup>) -> impl paddock_serve::Readiness {
        let readiness = self.readiness.clone();
        move || {
            let mut all = checks(&readiness);
            all.extend(startup.as_ref().map(Startup::check));
            all
        }
    }

    /// What is counted.
    pub(super) fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
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

/// Listens; an error names the flag.
pub(super) async fn bind(flag: &str, addr: SocketAddr) -> Result<Listener, Failure> {
    Listener::bind(addr).await.map_err(|error| Failure::usage(format!("{flag}: cannot listen on {addr}: {error}")))
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
pub(super) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "paddock".to_owned() } else { name.trim().to_owned() }
}

/// Prepares an API server that nobody installed Paddock on: the control plane's namespace, the kinds of ours, the roles that
/// gateways are bound to, the operator's own, and who may write what it hands over. As `paddock manifests install` has them.
pub(crate) async fn install(client: &Client) -> Outcome {
    create_namespace(client, CONTROL_NAMESPACE).await?;
    apply::<CustomResourceDefinition>(client, &gateways::definition::definition()).await?;
    apply::<CustomResourceDefinition>(client, &tls_profile::definition()).await?;
    apply::<ClusterRole>(client, &gateways::rbac::node_reader()).await?;
    apply::<ClusterRole>(client, &gateways::rbac::operator_role()).await?;
    apply::<ClusterRole>(client, &manifests::cluster_role()).await?;
    apply::<ClusterRoleBinding>(client, &manifests::binding(CONTROL_NAMESPACE)).await?;
    let [writers, bound] = tls_profile::writers(CONTROL_NAMESPACE, LEASE);
    apply::<ValidatingAdmissionPolicy>(client, &writers).await?;
    apply::<ValidatingAdmissionPolicyBinding>(client, &bound).await
}

/// A client of the account that the operator has on a cluster: the controllers of this process have its rights and no others, and
/// the audit log tells them from people.
pub(crate) fn account(server: &Server) -> Client {
    server.client_as(User::service_account(CONTROL_NAMESPACE, LEASE))
}

async fn apply<K>(client: &Client, object: &impl Serialize) -> Outcome
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let failed =
        |name: &str, why: String| Failure::undetermined(format!("cannot apply the {} {name}: {why}", K::kind(&())));
    let mut object = serde_json::to_value(object).map_err(|error| failed("", error.to_string()))?;
    object["apiVersion"] = K::api_version(&()).into();
    object["kind"] = K::kind(&()).into();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let all: Api<K> = Api::all(client.clone());
    let applied = all.patch(&name, &PatchParams::apply("paddock").force(), &Patch::Apply(&object)).await;
    applied.map(|_| ()).map_err(|error| failed(&name, chain(&error)))
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
