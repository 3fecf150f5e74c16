//! `paddock manifests`: what to install on a cluster, as YAML on stdout.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, HTTPGetAction, Namespace, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, SeccompProfile, SecurityContext, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paddock_controllers::gateways;
use paddock_reconcile::LeaseConfig;
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::settings::{Effective, table};

const NAME: &str = super::controllers::LEASE;

/// Prints the manifests called `what`.
pub(crate) fn run(settings: &Effective, what: &str) -> Outcome {
    let (namespace, image) = (settings.get(&table::INSTALL_NAMESPACE), settings.get(&table::IMAGE));
    let text = match what {
        "crds" => crds(),
        "rbac" => rbac(&namespace),
        _ => install(&namespace, &image),
    };
    output::data(&text.map_err(|error| Failure::undetermined(format!("cannot write YAML: {error}")))?)
}

pub(crate) type Yaml = Result<String, serde_saphyr::ser::Error>;

fn crds() -> Yaml {
    document(&gateways::definition::definition())
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

fn install(namespace: &str, image: &str) -> Yaml {
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
    Ok([document(&home)?, crds()?, rbac(namespace)?, document(&deployment(namespace, image))?].concat())
}

/// What the controllers of this build need, the engine's own (the Lease that decides who writes) and the reviews of those who ask for
/// metrics.
fn rules() -> Vec<PolicyRule> {
    let mut rules = gateways::rbac::controller_rules();
    rules.extend(LeaseConfig::rules(NAME));
    rules.extend(paddock_serve::access::rules());
    rules
}

fn cluster_role() -> ClusterRole {
    ClusterRole { metadata: named(None), rules: Some(rules()), ..ClusterRole::default() }
}

fn service_account(namespace: &str) -> ServiceAccount {
    ServiceAccount { metadata: named(Some(namespace)), ..ServiceAccount::default() }
}

fn binding(namespace: &str) -> ClusterRoleBinding {
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

fn deployment(namespace: &str, image: &str) -> Deployment {
    let selector: std::collections::BTreeMap<String, String> =
        [("app.kubernetes.io/name".to_owned(), NAME.to_owned())].into();
    Deployment {
        metadata: named(Some(namespace)),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: LabelSelector { match_labels: Some(selector.clone()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(selector), ..ObjectMeta::default() }),
                spec: Some(pod(image)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(image: &str) -> PodSpec {
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
            args: Some(vec!["operator".to_owned()]),
            ports: Some(
                [("health", 8081), ("metrics", 8443)]
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
        ..PodSpec::default()
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
        let text = install("platform", "example.com/paddock:1").unwrap();
        let shipped = text.split("---\n").find(|document| document.contains("kind: Deployment")).unwrap();
        let shipped: Deployment = serde_saphyr::from_str(shipped).unwrap();
        let pods = shipped.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        assert_eq!(pods[paddock_api::labels::NAME], paddock_api::labels::OPERATOR);
    }

    /// Env from a ConfigMap or Secret does not survive an outage of the API server, and a `subPath` mount is never refreshed.
    #[test]
    fn start_up_data_are_mounted_directories_and_literals_alone() {
        let text = install("platform", "example.com/paddock:1").unwrap();
        assert_eq!(paddock_trials::startup_lint(&text), Vec::<String>::new());
    }

    #[test]
    fn install_starts_with_the_namespace() {
        assert!(
            install("platform", "example.com/paddock:1").unwrap().starts_with("---\napiVersion: v1\nkind: Namespace\n")
        );
    }
}
