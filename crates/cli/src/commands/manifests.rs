//! `paddock manifests`: what to install on a cluster, as YAML on stdout.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapProjection, Container, ContainerPort, DownwardAPIProjection,
    DownwardAPIVolumeFile, EmptyDirVolumeSource, HTTPGetAction, KeyToPath, Namespace, ObjectFieldSelector,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, SeccompProfile, SecretProjection,
    SecurityContext, Service, ServiceAccount, ServicePort, ServiceSpec, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paddock_controllers::{gateways, tls_profile};
use paddock_reconcile::LeaseConfig;
use paddock_tls_profile::{Contract, files};
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::settings::{Effective, table};

const NAME: &str = super::controllers::LEASE;
/// The operator's start-up data, as it writes them for itself.
const STARTUP: &str = "paddock-operator-startup";
/// Where they are mounted.
const STARTUP_DIR: &str = "/etc/paddock/startup";
/// Where the last good ones are kept for a container that is restarted.
const CACHE_DIR: &str = "/var/cache/paddock";
/// Where metrics are served.
const METRICS_PORT: u16 = 8443;

/// Prints the manifests called `what`.
pub(crate) fn run(settings: &Effective, what: &str) -> Outcome {
    let (namespace, image) = (settings.get(&table::INSTALL_NAMESPACE), settings.get(&table::IMAGE));
    let certificate = settings.find(&table::METRICS_CERTIFICATE);
    let text = match what {
        "crds" => crds(),
        "rbac" => rbac(&namespace),
        "alerts" => document(&tls_profile::alerts(&namespace)),
        "network" => document(&tls_profile::probes(&namespace)),
        _ => install(&namespace, &image, certificate.as_deref()),
    };
    output::data(&text.map_err(|error| Failure::undetermined(format!("cannot write YAML: {error}")))?)
}

pub(crate) type Yaml = Result<String, serde_saphyr::ser::Error>;

fn crds() -> Yaml {
    Ok([document(&gateways::definition::definition())?, document(&tls_profile::definition())?].concat())
}

fn rbac(namespace: &str) -> Yaml {
    Ok([
        document(&service_account(namespace))?,
        document(&gateways::rbac::node_reader())?,
        document(&gateways::rbac::operator_role())?,
        document(&cluster_role())?,
        document(&binding(namespace))?,
    ]
    .concat())
}

/// `certificate`: the Secret that metrics are served with.
fn install(namespace: &str, image: &str, certificate: Option<&str>) -> Yaml {
    let home = Namespace {
        metadata: ObjectMeta {
            name: Some(namespace.to_owned()),
            labels: Some(
                [("pod-security.kubernetes.io/enforce", "restricted")].map(|(k, v)| (k.into(), v.into())).into(),
            ),
            ..metadata(None)
        },
        ..Namespace::default()
    };
    let [writers, bound] = tls_profile::writers(namespace, NAME);
    Ok([
        document(&home)?,
        crds()?,
        rbac(namespace)?,
        document(&writers)?,
        document(&bound)?,
        document(&startup(namespace))?,
        certificate.map_or_else(|| Ok(String::new()), |secret| document(&metrics_service(namespace, secret)))?,
        document(&deployment(namespace, image, certificate))?,
    ]
    .concat())
}

/// What the operator starts with before it has decided anything: the built-in profile. From then on it writes this map itself, as it does
/// for everybody who follows.
fn startup(namespace: &str) -> ConfigMap {
    let contract = Contract::baseline(format!("{namespace}/deployments/{NAME}"));
    ConfigMap {
        metadata: ObjectMeta { name: Some(STARTUP.to_owned()), ..metadata(Some(namespace)) },
        data: Some([(files::CONTRACT.to_owned(), contract.canonical())].into()),
        ..ConfigMap::default()
    }
}

/// Where metrics are scraped under a name that a certificate can vouch for. OpenShift makes that certificate; elsewhere whoever issues
/// certificates there does, for instance cert-manager.
fn metrics_service(namespace: &str, secret: &str) -> Service {
    let annotation = ("service.beta.openshift.io/serving-cert-secret-name".to_owned(), secret.to_owned());
    Service {
        metadata: ObjectMeta {
            name: Some(format!("{NAME}-metrics")),
            annotations: Some([annotation].into()),
            ..metadata(Some(namespace))
        },
        spec: Some(ServiceSpec {
            selector: Some(selector()),
            ports: Some(vec![ServicePort {
                name: Some("https-metrics".to_owned()),
                port: i32::from(METRICS_PORT),
                target_port: Some(IntOrString::String("metrics".to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The labels by which the operator's pods are found.
fn selector() -> std::collections::BTreeMap<String, String> {
    [("app.kubernetes.io/name".to_owned(), NAME.to_owned())].into()
}

/// What the controllers of this build need, the engine's own (the Lease that decides who writes) and the reviews of those who ask for
/// metrics.
fn rules() -> Vec<PolicyRule> {
    let mut rules = gateways::rbac::controller_rules();
    rules.extend(tls_profile::controller_rules());
    rules.extend(LeaseConfig::rules(NAME));
    rules.extend(paddock_serve::access::rules());
    rules
}

pub(crate) fn cluster_role() -> ClusterRole {
    ClusterRole { metadata: named(None), rules: Some(rules()), ..ClusterRole::default() }
}

fn service_account(namespace: &str) -> ServiceAccount {
    ServiceAccount { metadata: named(Some(namespace)), ..ServiceAccount::default() }
}

pub(crate) fn binding(namespace: &str) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: named(None),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: NAME.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: NAME.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]),
    }
}

fn deployment(namespace: &str, image: &str, certificate: Option<&str>) -> Deployment {
    let selector = selector();
    let mut metadata = named(Some(namespace));
    let mut pods = ObjectMeta { labels: Some(selector.clone()), ..ObjectMeta::default() };
    tls_profile::follow(&mut metadata, &mut pods, STARTUP, &[METRICS_PORT]);
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            template: PodTemplateSpec { metadata: Some(pods), spec: Some(pod(image, certificate)) },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(image: &str, certificate: Option<&str>) -> PodSpec {
    let mut args = vec!["operator", "--tls-startup-dir", STARTUP_DIR, "--tls-cache-dir", CACHE_DIR];
    if certificate.is_none() {
        args.insert(1, "--tls-self-signed");
    }
    PodSpec {
        service_account_name: Some(NAME.to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65532),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: "operator".to_owned(),
            image: Some(image.to_owned()),
            args: Some(args.into_iter().map(str::to_owned).collect()),
            volume_mounts: Some(vec![mount("startup", STARTUP_DIR, true), mount("cache", CACHE_DIR, false)]),
            ports: Some(
                [("health", 8081), ("metrics", i32::from(METRICS_PORT))]
                    .map(|(name, port)| ContainerPort {
                        name: Some(name.to_owned()),
                        container_port: port,
                        ..ContainerPort::default()
                    })
                    .into(),
            ),
            liveness_probe: Some(probe("/livez")),
            readiness_probe: Some(probe("/readyz")),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
                ..SecurityContext::default()
            }),
            ..Container::default()
        }],
        volumes: Some(vec![
            Volume { name: "startup".to_owned(), projected: Some(startup_volume(certificate)), ..Volume::default() },
            Volume { name: "cache".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() },
        ]),
        ..PodSpec::default()
    }
}

/// The files and, beside them, the hash that the pod's annotation says was written and the certificate: all of one moment.
fn startup_volume(certificate: Option<&str>) -> ProjectedVolumeSource {
    let map = ConfigMapProjection { name: STARTUP.to_owned(), ..ConfigMapProjection::default() };
    let hash = DownwardAPIVolumeFile {
        path: files::EXPECTED_HASH.to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{}']", tls_profile::HASH),
            ..ObjectFieldSelector::default()
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let mut sources = vec![
        VolumeProjection { config_map: Some(map), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![hash]) }),
            ..VolumeProjection::default()
        },
    ];
    sources.extend(certificate.map(|secret| {
        VolumeProjection {
            secret: Some(SecretProjection {
                name: secret.to_owned(),
                // Nothing else that an issuer puts there, such as its own `ca.crt`, is start-up data.
                items: Some(
                    [files::CERTIFICATE, files::KEY]
                        .map(|file| KeyToPath { key: file.to_owned(), path: file.to_owned(), ..KeyToPath::default() })
                        .into(),
                ),
                ..SecretProjection::default()
            }),
            ..VolumeProjection::default()
        }
    }));
    ProjectedVolumeSource { sources: Some(sources), ..ProjectedVolumeSource::default() }
}

fn mount(name: &str, at: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: at.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn named(namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta { name: Some(NAME.to_owned()), ..metadata(namespace) }
}

fn metadata(namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        namespace: namespace.map(str::to_owned),
        labels: Some([("app.kubernetes.io/managed-by".to_owned(), "paddock".to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// An object as a YAML document of a stream.
pub(crate) fn document(object: &impl Serialize) -> Yaml {
    Ok(format!("---\n{}", serde_saphyr::to_string(object)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_may_not_do_everything() {
        for rule in rules() {
            assert!(!rule.verbs.iter().any(|verb| verb == "*"));
            assert!(!rule.resources.unwrap_or_default().iter().any(|resource| resource == "*"));
        }
    }

    #[test]
    fn gw_w09_the_operators_pods_carry_the_label_by_which_gateways_let_them_in() {
        let text = install("platform", "example.com/paddock:1", None).unwrap();
        let shipped = text.split("---\n").find(|document| document.contains("kind: Deployment")).unwrap();
        let shipped: Deployment = serde_saphyr::from_str(shipped).unwrap();
        let pods = shipped.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        assert_eq!(pods[paddock_api::labels::NAME], paddock_api::labels::OPERATOR);
    }

    /// Env from a ConfigMap or Secret does not survive an outage of the API server, and a `subPath` mount is never refreshed.
    #[test]
    fn start_up_data_are_mounted_directories_and_literals_alone() {
        let text = install("platform", "example.com/paddock:1", None).unwrap();
        let mut pods = 0;
        for document in text.split("---\n").filter(|document| !document.trim().is_empty()) {
            let object: serde_json::Value = serde_saphyr::from_str(document).unwrap();
            pods += usize::from(!object["spec"]["template"]["spec"]["containers"].is_null());
            assert_eq!(paddock_trials::startup_lint(&object, &[]), Vec::<String>::new());
        }
        assert_eq!(pods, 1, "there is something to judge");
    }

    #[test]
    fn tls_d01_the_operator_follows_the_profile_itself() {
        let text = install("platform", "example.com/paddock:1", None).unwrap();
        let of_kind = |kind: &str| text.split("---\n").filter(|one| one.contains(kind)).last().unwrap().to_owned();
        let map: ConfigMap = serde_saphyr::from_str(&of_kind("kind: ConfigMap\n")).unwrap();
        let deployment: Deployment = serde_saphyr::from_str(&of_kind("kind: Deployment\n")).unwrap();
        let contract = Contract::parse(map.data.unwrap()[files::CONTRACT].as_bytes()).unwrap().contract;
        assert_eq!(
            (contract.profile_hash, contract.component.as_str()),
            (None, "platform/deployments/paddock-operator")
        );
        assert_eq!(deployment.metadata.labels.unwrap()["paddock.dev/tls-profile"], "follow");
        let template = deployment.spec.unwrap().template;
        assert_eq!(template.metadata.unwrap().labels.unwrap()["paddock.dev/tls-profile"], "follow");
        let volumes = template.spec.unwrap().volumes.unwrap();
        let sources = volumes[0].projected.as_ref().unwrap().sources.as_ref().unwrap();
        assert_eq!(sources[0].config_map.as_ref().unwrap().name, map.metadata.name.unwrap());
        let field = &sources[1].downward_api.as_ref().unwrap().items.as_ref().unwrap()[0];
        assert_eq!(
            field.field_ref.as_ref().unwrap().field_path,
            "metadata.annotations['paddock.dev/tls-profile-hash']"
        );
    }

    /// Metrics are authenticated on every platform; this is how scrapers can also tell whom they ask.
    #[test]
    fn tls_d14_metrics_are_served_with_a_certificate_that_somebody_vouches_for_where_one_is_named() {
        let args = |certificate| {
            let pod = pod("example.com/paddock:1", certificate);
            let volume = pod.volumes.unwrap()[0].projected.clone().unwrap();
            let secrets: Vec<String> =
                volume.sources.unwrap().into_iter().filter_map(|source| Some(source.secret?.name)).collect();
            (pod.containers[0].args.clone().unwrap().contains(&"--tls-self-signed".to_owned()), secrets)
        };
        assert_eq!(args(None), (true, vec![]));
        assert_eq!(args(Some("metrics-tls")), (false, vec!["metrics-tls".to_owned()]));
        let shipped = install("platform", "example.com/paddock:1", Some("metrics-tls")).unwrap();
        let service = shipped.split("---\n").find(|document| document.contains("kind: Service\n")).unwrap();
        let service: Service = serde_saphyr::from_str(service).unwrap();
        assert!(service.metadata.annotations.unwrap().values().any(|secret| secret == "metrics-tls"));
        let pods = deployment("platform", "example.com/paddock:1", None).spec.unwrap().template.metadata.unwrap();
        assert_eq!(
            service.spec.unwrap().selector,
            Some(
                [("app.kubernetes.io/name".to_owned(), pods.labels.unwrap()["app.kubernetes.io/name"].clone())].into()
            )
        );
    }

    #[test]
    fn alerts_use_metrics_and_conditions_that_there_are() {
        let alerts = tls_profile::alerts("platform");
        let (metrics, page) =
            (include_str!("../../../../docs/reference/metrics.md"), include_str!("../../../../docs/tls-profile.md"));
        let rules = alerts["spec"]["groups"][0]["rules"].as_array().unwrap();
        assert!(!rules.is_empty());
        for rule in rules {
            let expr = rule["expr"].as_str().unwrap();
            let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let named: Vec<&str> = words.filter(|word| word.starts_with("paddock_")).collect();
            assert!(!named.is_empty(), "{expr}");
            for metric in named {
                assert!(metrics.contains(&format!("| `{metric}` |")), "{metric}");
            }
            let conditions = expr.split("condition=").nth(1).unwrap_or_default().split('"').nth(1).unwrap_or_default();
            for condition in conditions.split('|') {
                assert!(page.contains(&format!("`{condition}`")) || condition.is_empty(), "{condition}");
            }
        }
    }

    /// The API server may listen anywhere: what cuts an operator off from it must not be shipped.
    #[test]
    fn tls_d18_nothing_that_is_shipped_limits_whom_the_operator_reaches() {
        let shipped = ["install", "network"].map(|what| match what {
            "network" => document(&tls_profile::probes("platform")).unwrap(),
            _ => install("platform", "example.com/paddock:1", None).unwrap(),
        });
        for document in shipped.iter().flat_map(|text| text.split("---\n")) {
            assert!(!document.contains("6443") && !document.contains("gress:\n  - to:"), "{document}");
            assert!(!document.contains("kind: NetworkPolicy") || !document.contains("Egress"), "{document}");
        }
    }

    #[test]
    fn the_network_policy_lets_the_operators_own_pods_in() {
        let policy = tls_profile::probes("platform");
        let from = &policy["spec"]["ingress"][0]["from"][0];
        let pods = deployment("platform", "example.com/paddock:1", None)
            .spec
            .unwrap()
            .template
            .metadata
            .unwrap()
            .labels
            .unwrap();
        let wanted = from["podSelector"]["matchLabels"].as_object().unwrap();
        assert!(
            wanted.iter().all(|(label, value)| pods.get(label).map(String::as_str) == value.as_str()),
            "{wanted:?}"
        );
        assert_eq!(from["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "platform");
        let whom = policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
        assert!(whom.iter().all(|(label, value)| pods.get(label).map(String::as_str) == value.as_str()), "{whom:?}");
    }

    #[test]
    fn install_starts_with_the_namespace() {
        assert!(
            install("platform", "example.com/paddock:1", None)
                .unwrap()
                .starts_with("---\napiVersion: v1\nkind: Namespace\n")
        );
    }
}
