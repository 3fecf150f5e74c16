//! The manifest set of one gateway as typed objects, in the order in which they are applied. Pure; no text substitution.
//!
//! The order is: what keeps others out, then identities and rights, then (by the caller) keys and certificates, then the
//! configuration, the Service and last the workload.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    KeyToPath, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, Service,
    ServiceAccount, ServicePort, ServiceSpec, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paddock_api::annotations;
use paddock_reconcile::{Desired, Error, Kind, OnImmutable};
use serde_json::Value;

use super::intent::Intent;
use super::key::GatewayKey;
use super::network::{self, Peers};
use super::platform::Database;
use super::restart::Inputs;
use super::rollout::{self, Body};
use super::version::GatewayVersion;
use super::{names, toml};

/// The volume with the SQLite file.
pub(super) const DATA_VOLUME: &str = "openshell-data";
/// How large that volume is.
pub(super) const DATA_SIZE: &str = "1Gi";

/// Policies, accounts and rights.
pub(super) fn foundation(intent: &Intent, peers: &Peers<'_>) -> Result<Vec<Desired>, Error> {
    let key = &intent.key;
    let mut objects = vec![
        Desired::of(&network::sandbox_policy(key))?,
        Desired::of(&network::gateway_policy(key, intent.serves.as_ref(), peers))?,
        Desired::of(&ServiceAccount { metadata: meta(key, names::GATEWAY), ..ServiceAccount::default() })?,
        Desired::of(&ServiceAccount {
            metadata: meta(key, names::SANDBOX_ACCOUNT),
            // Sandbox pods get a projected token of their own, never the account's.
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        })?,
        Desired::of(&sandbox_role(key))?,
        Desired::of(&RoleBinding {
            metadata: meta(key, names::SANDBOX_ROLE),
            role_ref: role_ref("Role", &key.name_of(names::SANDBOX_ROLE)),
            subjects: Some(vec![gateway_account(key)]),
        })?
        .on_immutable(OnImmutable::Recreate),
        // One binding per gateway: a shared one would belong to whichever gateway was applied last.
        Desired::of(&ClusterRoleBinding {
            metadata: ObjectMeta {
                name: Some(key.node_reader_binding()),
                namespace: None,
                ..meta(key, names::NODE_READER)
            },
            role_ref: role_ref(
                "ClusterRole",
                if intent.serves.is_some() { names::OPERATOR_ROLE } else { names::NODE_READER },
            ),
            subjects: Some(vec![gateway_account(key)]),
        })?
        .on_immutable(OnImmutable::Recreate),
    ];
    if intent.openshift {
        objects.push(privileged(meta(key, names::PRIVILEGED_BINDING), key.name_of(names::SANDBOX_ACCOUNT))?);
    }
    Ok(objects)
}

/// An OpenShift admits sandbox pods by the ClusterRole of a security context constraint.
pub(super) fn privileged(metadata: ObjectMeta, sandboxes: String) -> Result<Desired, Error> {
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let binding = RoleBinding {
        metadata,
        role_ref: role_ref("ClusterRole", names::PRIVILEGED_SCC),
        subjects: Some(vec![account(&namespace, sandboxes)]),
    };
    Ok(Desired::of(&binding)?.on_immutable(OnImmutable::Recreate))
}

/// The Service. It restarts nothing, so it is as this version of ours renders it, whatever revision runs.
pub(super) fn exposure(intent: &Intent) -> Result<Desired, Error> {
    Desired::of(&service(&intent.key))
}

/// File and workload: everything that restarts the gateway when it changes, and the name of that.
pub(super) fn revision(intent: &Intent, inputs: &Inputs<'_>) -> Result<(String, Body), Error> {
    let mut workload = Desired::of(&stateful_set(intent, inputs))?.body().clone();
    let revision = rollout::short(&format!("{}\0{workload}", intent.config));
    // Pods tell by it which revision they are of.
    workload["spec"]["template"]["metadata"]["annotations"][annotations::REVISION] = revision.as_str().into();
    let body = Body {
        image: intent.image.to_string(),
        version: intent.version.to_string(),
        database: match &intent.database {
            Database::Sqlite => "sqlite".to_owned(),
            Database::Postgres { secret } => format!("postgres/{secret}"),
        },
        config: intent.config.clone(),
        workload,
    };
    Ok((revision, body))
}

/// What is remembered of the gateway's revisions.
pub(super) fn revisions(key: &GatewayKey, memory: &rollout::Memory) -> Result<Desired, Error> {
    Desired::of(&ConfigMap {
        metadata: meta(key, names::REVISIONS),
        data: Some(memory.to_data().map(|(key, value)| (key.to_owned(), value)).into()),
        ..ConfigMap::default()
    })
}

/// A revision as objects: the file and the workload.
pub(super) fn workload(key: &GatewayKey, body: &Body) -> Result<[Desired; 2], Error> {
    Ok([
        Desired::of(&ConfigMap {
            metadata: meta(key, names::CONFIG),
            data: Some([(names::CONFIG_KEY.to_owned(), body.config.clone())].into()),
            ..ConfigMap::default()
        })?,
        Desired::raw(Kind::of::<StatefulSet>(), body.workload.clone())?.on_immutable(OnImmutable::RecreateOrphaning),
    ])
}

/// The metadata of the object that for the default gateway is called `name`.
pub(super) fn meta(key: &GatewayKey, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(key.name_of(name)),
        namespace: Some(key.namespace().to_owned()),
        labels: Some(key.object_labels()),
        ..ObjectMeta::default()
    }
}

pub(super) fn gateway_account(key: &GatewayKey) -> Subject {
    account(key.namespace(), key.gateway().to_owned())
}

pub(super) fn account(namespace: &str, name: String) -> Subject {
    Subject { kind: "ServiceAccount".to_owned(), name, namespace: Some(namespace.to_owned()), ..Subject::default() }
}

pub(super) fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some("rbac.authorization.k8s.io".to_owned()), kind: kind.to_owned(), name: name.to_owned() }
}

pub(crate) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// What a gateway may do in its namespace. It may read pods and never patch them: the identity annotation of a sandbox
/// pod must stay as the driver wrote it.
pub(super) fn sandbox_rules() -> Vec<PolicyRule> {
    vec![
        rule(
            "agents.x-k8s.io",
            &["sandboxes", "sandboxes/status"],
            &["create", "delete", "get", "list", "patch", "update", "watch"],
        ),
        rule("", &["events"], &["get", "list", "watch"]),
        rule("", &["pods"], &["get"]),
    ]
}

fn sandbox_role(key: &GatewayKey) -> Role {
    Role { metadata: meta(key, names::SANDBOX_ROLE), rules: Some(sandbox_rules()) }
}

pub(super) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn service(key: &GatewayKey) -> Service {
    let port = |name: &str, number: u16, protocol: Option<&str>| ServicePort {
        name: Some(name.to_owned()),
        port: number.into(),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: protocol.map(str::to_owned),
        ..ServicePort::default()
    };
    Service {
        metadata: meta(key, names::GATEWAY),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(key.pod_selector()),
            ports: Some(vec![port("grpc", names::GRPC_PORT, Some("grpc")), port("metrics", names::METRICS_PORT, None)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn stateful_set(intent: &Intent, inputs: &Inputs<'_>) -> StatefulSet {
    let key = &intent.key;
    let mut pod_labels = key.object_labels();
    pod_labels.extend(key.pod_selector());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some([(annotations::CONFIG_HASH.to_owned(), inputs.hash())].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(intent)),
    };
    let mut metadata = meta(key, names::GATEWAY);
    metadata.annotations = Some([(annotations::RESTART_INPUTS.to_owned(), inputs.parts())].into());
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            // How many run is left to who scales: one unless somebody says otherwise.
            service_name: Some(key.gateway().to_owned()),
            selector: matching(key.pod_selector()),
            template,
            volume_claim_templates: (intent.database == Database::Sqlite).then(|| {
                vec![PersistentVolumeClaim {
                    metadata: ObjectMeta { name: Some(DATA_VOLUME.to_owned()), ..ObjectMeta::default() },
                    spec: Some(PersistentVolumeClaimSpec {
                        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                        resources: Some(VolumeResourceRequirements {
                            requests: Some([("storage".to_owned(), Quantity(DATA_SIZE.to_owned()))].into()),
                            ..VolumeResourceRequirements::default()
                        }),
                        ..PersistentVolumeClaimSpec::default()
                    }),
                    ..PersistentVolumeClaim::default()
                }]
            }),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn pod(intent: &Intent) -> PodSpec {
    let key = &intent.key;
    let secret = |name: &str, secret: &str, items: Option<&str>| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(key.name_of(secret)),
            // 0440: readable through the file-system group, whatever user the platform chooses.
            default_mode: Some(0o440),
            items: items.map(|key| vec![KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    PodSpec {
        service_account_name: Some(key.gateway().to_owned()),
        termination_grace_period_seconds: Some(5),
        // A Service called openshell-server would otherwise define OPENSHELL_SERVER_PORT, which beats the file.
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            // An OpenShift gives each namespace users and groups of its own, and refuses others.
            fs_group: (!intent.openshift).then_some(1000),
            run_as_non_root: Some(true),
            run_as_user: (!intent.openshift).then_some(1000),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(intent)],
        volumes: Some(vec![
            Volume {
                name: "gateway-config".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: key.name_of(names::CONFIG),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            },
            secret("sandbox-jwt", names::JWT_KEYS, None),
            secret("tls-cert", names::SERVER_TLS, None),
            secret("tls-client-ca", names::SERVER_TLS, Some("ca.crt")),
        ]),
        ..PodSpec::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}

fn container(intent: &Intent) -> Container {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let probe = |path: &str, delay: Option<i32>, period: i32, failures: i32| {
        Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.to_owned()),
                port: IntOrString::String("health".to_owned()),
                ..HTTPGetAction::default()
            }),
            initial_delay_seconds: delay,
            period_seconds: Some(period),
            timeout_seconds: Some(1),
            failure_threshold: Some(failures),
            ..Probe::default()
        })
    };
    let amounts = |cpu: &str, memory: &str| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        Some(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into())
    };
    let mut args = vec!["--config".to_owned(), format!("{}/{}", names::CONFIG_DIR, names::CONFIG_KEY)];
    let mut mounts = vec![
        mount("gateway-config", names::CONFIG_DIR, true),
        mount("sandbox-jwt", names::JWT_DIR, true),
        mount("tls-cert", names::SERVER_TLS_DIR, true),
        mount("tls-client-ca", names::CLIENT_CA_DIR, true),
    ];
    if intent.database == Database::Sqlite {
        args.extend(["--db-url".to_owned(), format!("sqlite:{}/openshell.db", names::DATA_DIR)]);
        mounts.insert(0, mount(DATA_VOLUME, names::DATA_DIR, false));
    }
    Container {
        name: names::GATEWAY.to_owned(),
        image: Some(intent.image.to_string()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args),
        env: Some(environment(intent)),
        ports: Some(vec![
            port("grpc", names::GRPC_PORT),
            port("health", names::HEALTH_PORT),
            port("metrics", names::METRICS_PORT),
        ]),
        volume_mounts: Some(mounts),
        startup_probe: probe("/healthz", None, 2, 30),
        liveness_probe: probe("/healthz", Some(2), 5, 3),
        readiness_probe: probe("/readyz", Some(1), 2, 3),
        resources: Some(ResourceRequirements {
            requests: amounts("100m", "256Mi"),
            limits: amounts("500m", "512Mi"),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: (!intent.openshift).then_some(1000),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// The whole environment. Variables beat the file, so nobody else may choose them.
fn environment(intent: &Intent) -> Vec<EnvVar> {
    let mut environment = vec![EnvVar {
        name: "OPENSHELL_TELEMETRY_ENABLED".to_owned(),
        value: Some("false".to_owned()),
        ..EnvVar::default()
    }];
    let from_secret = |name: &str, secret: &str, key: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    if let Database::Postgres { secret } = &intent.database {
        environment.push(from_secret("OPENSHELL_DB_URL", secret, names::DATABASE_KEY));
    }
    if needs_kek(intent.version) {
        environment.push(from_secret(toml::KEK_ENV, &intent.key.name_of(names::KEK), names::KEK_KEY));
    }
    environment
}

/// Whether a StatefulSet as found gives its gateway the key that encrypts stored credentials.
pub(super) fn uses_kek(workload: &Value) -> bool {
    let environment = workload.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    environment.is_some_and(|all| all.iter().any(|variable| variable["name"] == toml::KEK_ENV))
}

/// From 0.0.100 on the gateway encrypts stored credentials and wants the key from outside.
pub(super) fn needs_kek(version: GatewayVersion) -> bool {
    version >= GatewayVersion::patch(100)
}
