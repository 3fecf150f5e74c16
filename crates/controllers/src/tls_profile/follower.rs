//! A workload that follows the profile: what its labels and annotations say, and how far its pods are. Pure.

use std::fmt;

use paddock_reconcile::{Kind, ObjectRef};
use paddock_tls_profile::Backend;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Opts in with the value `follow`.
pub(crate) const FOLLOW: &str = "paddock.dev/tls-profile";
/// The value that opts in. On a pod it says that the pod is one of a workload that follows: such pods are watched.
pub(crate) const FOLLOWS: &str = "follow";
/// Which files and names: absent for ours, `nmstate` for the operands of kubernetes-nmstate.
const FORMAT: &str = "paddock.dev/tls-profile-format";
/// The TLS library that the workload serves with: `rustls`, or `Go` as the operands of kubernetes-nmstate do.
const RUNTIME: &str = "paddock.dev/tls-profile-runtime";
/// `Hot` where the workload watches its files, else `Roll`.
const RELOAD: &str = "paddock.dev/tls-profile-reload";
/// The ConfigMap to write, which the workload mounts.
pub(crate) const CONFIG_MAP: &str = "paddock.dev/tls-profile-configmap";
/// The ports that listen with TLS, separated by commas; absent: container ports called `https…`.
const PORTS: &str = "paddock.dev/tls-profile-ports";
/// Lower numbers roll first within a namespace.
const ORDER: &str = "paddock.dev/tls-profile-order";
/// The annotation with the hash of what a pod was started with, or was handed last.
pub const HASH: &str = "paddock.dev/tls-profile-hash";
/// The same by kubernetes-nmstate's name.
const NMSTATE_HASH: &str = "nmstate.io/tls-profile-hash";

/// Makes a workload of ours and its `pods` follow: it reloads by itself, mounts `config_map` and listens with TLS on `ports`.
pub fn follow(metadata: &mut ObjectMeta, pods: &mut ObjectMeta, config_map: &str, ports: &[u16]) {
    for metadata in [&mut *metadata, pods] {
        metadata.labels.get_or_insert_default().insert(FOLLOW.to_owned(), FOLLOWS.to_owned());
    }
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let says = [(RELOAD, "Hot".to_owned()), (CONFIG_MAP, config_map.to_owned()), (PORTS, ports.join(","))];
    let says = says.map(|(key, value)| (key.to_owned(), value));
    metadata.annotations.get_or_insert_default().extend(says);
}

/// The shape of what is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `contract.json` and `profile.json`.
    Paddock,
    /// kubernetes-nmstate's `profile.json`, annotation and `IS_OPENSHIFT`.
    Nmstate,
}

/// How a workload comes to serve a new profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reload {
    /// By itself, from the changed files.
    Hot,
    /// With new pods.
    Roll,
}

/// Which workload, as keys say it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    pub(crate) namespace: String,
    pub(crate) kind: WorkloadKind,
    pub(crate) name: String,
}

/// The kinds that may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum WorkloadKind {
    DaemonSet,
    Deployment,
    StatefulSet,
}

impl WorkloadKind {
    pub(crate) const ALL: [Self; 3] = [Self::DaemonSet, Self::Deployment, Self::StatefulSet];

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::DaemonSet => Kind::of::<DaemonSet>(),
            Self::Deployment => Kind::of::<Deployment>(),
            Self::StatefulSet => Kind::of::<StatefulSet>(),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.kind().plural, self.name)
    }
}

impl Workload {
    /// Names the object.
    pub(crate) fn target(&self) -> ObjectRef {
        self.kind.kind().named(Some(&self.namespace), &self.name)
    }

    /// Whose name this is.
    pub(crate) fn of(kind: WorkloadKind, object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Some(Self { namespace: text("/metadata/namespace")?, kind, name: text("/metadata/name")? })
    }
}

/// What a workload says about how it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Follower {
    pub(crate) format: Format,
    /// What it serves with.
    pub(crate) backend: Backend,
    pub(crate) reload: Reload,
    pub(crate) config_map: String,
    pub(crate) order: i32,
    /// Empty: not said.
    pub(crate) ports: Vec<u16>,
    /// It works on the node itself, and its restart interrupts that: it never rolls.
    pub(crate) is_agent: bool,
}

impl Follower {
    /// Reads the workload; `None` when it does not follow.
    ///
    /// # Errors
    /// Which annotation is wrong.
    pub(crate) fn read(workload: &Workload, object: &Value) -> Option<Result<Self, String>> {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let annotation = |key: &str| object["metadata"]["annotations"][key].as_str();
        match label(FOLLOW)? {
            FOLLOWS => {}
            other => return Some(Err(format!("label {FOLLOW} is {other:?}: {FOLLOWS} is the only value"))),
        }
        let format = match label(FORMAT) {
            None => Format::Paddock,
            Some("nmstate") => Format::Nmstate,
            Some(other) => return Some(Err(format!("label {FORMAT} is {other:?}: nmstate is the only value"))),
        };
        let backend = match (annotation(RUNTIME), format) {
            (Some("rustls"), _) | (None, Format::Paddock) => Backend::RUSTLS_AWS_LC,
            (Some("Go"), _) | (None, Format::Nmstate) => Backend::GO,
            (Some(other), _) => return Some(Err(format!("annotation {RUNTIME} is {other:?}: use rustls or Go"))),
        };
        let is_agent = workload.kind == WorkloadKind::DaemonSet
            && object.pointer("/spec/template/spec/hostNetwork").and_then(Value::as_bool) == Some(true);
        let reload = match annotation(RELOAD) {
            _ if is_agent => Reload::Hot,
            Some("Hot") => Reload::Hot,
            None | Some("Roll") => Reload::Roll,
            Some(other) => return Some(Err(format!("annotation {RELOAD} is {other:?}: use Hot or Roll"))),
        };
        let order = match annotation(ORDER).map(str::parse) {
            None => 0,
            Some(Ok(order)) => order,
            Some(Err(_)) => return Some(Err(format!("annotation {ORDER} is no whole number"))),
        };
        let ports = annotation(PORTS).into_iter().flat_map(|text| text.split(','));
        let Ok(ports) = ports.map(|port| port.trim().parse()).collect::<Result<Vec<u16>, _>>() else {
            return Some(Err(format!("annotation {PORTS} is no list of port numbers")));
        };
        let config_map = annotation(CONFIG_MAP).map_or_else(|| format!("{}-tls-profile", workload.name), str::to_owned);
        Some(Ok(Self { format, backend, reload, config_map, order, ports, is_agent }))
    }

    /// The name of the disruption budget of its pods. One ConfigMap of nmstate's may be that of several workloads.
    pub(crate) fn budget(&self, workload: &Workload) -> String {
        match self.format {
            Format::Paddock => self.config_map.clone(),
            Format::Nmstate => format!("{}-tls-profile", workload.name),
        }
    }

    /// The annotation that tells a pod's hash.
    pub(crate) fn hash_key(&self) -> &'static str {
        match self.format {
            Format::Paddock => HASH,
            Format::Nmstate => NMSTATE_HASH,
        }
    }

    /// Whether all pods of the workload were started with `hash`, and are ready.
    pub(crate) fn is_rolled_out(&self, object: &Value, hash: &str) -> bool {
        if self.reload == Reload::Hot {
            return true;
        }
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let (want, updated, ready) = match number("/status/desiredNumberScheduled") {
            Some(want) => (want, number("/status/updatedNumberScheduled"), number("/status/numberReady")),
            None => {
                let want = number("/spec/replicas").unwrap_or(1);
                (want, number("/status/updatedReplicas"), number("/status/readyReplicas"))
            }
        };
        self.template_hash(object) == Some(hash)
            && number("/status/observedGeneration") >= number("/metadata/generation")
            && updated.unwrap_or(0) >= want
            && ready.unwrap_or(0) >= want
    }

    /// The hash on the workload's template.
    pub(crate) fn template_hash<'a>(&self, object: &'a Value) -> Option<&'a str> {
        object.pointer("/spec/template/metadata/annotations")?.get(self.hash_key())?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: WorkloadKind, mut object: Value) -> Option<Result<Follower, String>> {
        object["metadata"]["name"] = "w".into();
        object["metadata"]["namespace"] = "n".into();
        Follower::read(&Workload::of(kind, &object).unwrap(), &object)
    }

    #[test]
    fn only_the_label_opts_in() {
        assert_eq!(read(WorkloadKind::Deployment, json!({"metadata": {"annotations": {FOLLOW: "follow"}}})), None);
        let follower = read(WorkloadKind::Deployment, json!({"metadata": {"labels": {FOLLOW: "follow"}}}));
        let expected = Follower {
            format: Format::Paddock,
            backend: Backend::RUSTLS_AWS_LC,
            reload: Reload::Roll,
            config_map: "w-tls-profile".into(),
            order: 0,
            ports: Vec::new(),
            is_agent: false,
        };
        assert_eq!(follower, Some(Ok(expected)));
    }

    #[test]
    fn a_node_agent_never_rolls() {
        let agent = json!({
            "metadata": {"labels": {FOLLOW: "follow"}, "annotations": {RELOAD: "Roll"}},
            "spec": {"template": {"spec": {"hostNetwork": true}}},
        });
        assert_eq!(read(WorkloadKind::DaemonSet, agent.clone()).unwrap().unwrap().reload, Reload::Hot);
        assert_eq!(read(WorkloadKind::Deployment, agent).unwrap().unwrap().reload, Reload::Roll);
    }

    #[test]
    fn wrong_words_are_named() {
        let with = |labels: Value, annotations: Value| {
            let mut object = json!({"metadata": {"labels": labels, "annotations": annotations}});
            object["metadata"]["labels"][FOLLOW] =
                object["metadata"]["labels"].get(FOLLOW).cloned().unwrap_or("follow".into());
            read(WorkloadKind::Deployment, object).unwrap().unwrap_err()
        };
        let errors = [
            with(json!({FOLLOW: "yes"}), json!({})),
            with(json!({FORMAT: "other"}), json!({})),
            with(json!({}), json!({RUNTIME: "Java"})),
            with(json!({}), json!({RELOAD: "Warm"})),
            with(json!({}), json!({ORDER: "first"})),
            with(json!({}), json!({PORTS: "8443,https"})),
        ];
        insta::assert_snapshot!(errors.join("\n"), @r#"
        label paddock.dev/tls-profile is "yes": follow is the only value
        label paddock.dev/tls-profile-format is "other": nmstate is the only value
        annotation paddock.dev/tls-profile-runtime is "Java": use rustls or Go
        annotation paddock.dev/tls-profile-reload is "Warm": use Hot or Roll
        annotation paddock.dev/tls-profile-order is no whole number
        annotation paddock.dev/tls-profile-ports is no list of port numbers
        "#);
    }
}
