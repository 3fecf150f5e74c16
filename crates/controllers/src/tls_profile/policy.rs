//! The kind `ServingPolicy`: how an administrator says where the profile comes from and how it is judged. One object, `cluster`; without
//! it the defaults hold. Pure.

use paddock_api::labels;
use paddock_reconcile::Kind;
use paddock_tls_profile::{
    Adherence, DRAIN_SECONDS, Invalid, MAX_NAME_LENGTH, MAX_NAMES, MetricsAuth, Request, Tls13Policy, Version,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::components::{Component, Entry, MOST};
use super::sources::SourceKind;

/// The kind.
pub(crate) const KIND: Kind = Kind::custom("paddock.dev", "v1alpha1", "ServingPolicy", "servingpolicies", false);
/// The only name that counts.
pub(crate) const NAME: &str = "cluster";

/// What the policy says. The default is what holds without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// `None`: the first that is there.
    pub(crate) source: Option<SourceKind>,
    /// Namespace and name, for the source `ConfigMap`.
    pub(crate) config_map: Option<(String, String)>,
    /// Namespace and name, for the source `HostedCluster`.
    pub(crate) hosted_cluster: Option<(String, String)>,
    /// For the source `Inline`.
    pub(crate) profile: Option<Request>,
    /// `None`: as the source says.
    pub(crate) adherence: Option<Adherence>,
    pub(crate) tls13: Tls13Policy,
    pub(crate) floor: Option<Version>,
    /// `None`: as the machine is.
    pub(crate) fips: Option<bool>,
    pub(crate) metrics_auth: MetricsAuth,
    pub(crate) drain_seconds: u32,
    /// Nothing is decided anew; what was decided is kept up.
    pub(crate) paused: bool,
    /// What single components are told otherwise.
    pub(crate) components: Vec<Component>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            source: None,
            config_map: None,
            hosted_cluster: None,
            profile: None,
            adherence: None,
            tls13: Tls13Policy::default(),
            floor: None,
            fips: None,
            metrics_auth: MetricsAuth::default(),
            drain_seconds: DRAIN_SECONDS,
            paused: false,
            components: Vec::new(),
        }
    }
}

/// The spec as it is written. A cluster that checks the definition's schema lets nothing else through; others may.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    source: Option<String>,
    config_map: Option<Reference>,
    hosted_cluster: Option<Reference>,
    profile: Value,
    adherence: Option<String>,
    tls13_policy: Option<String>,
    floor: Option<String>,
    fips: Option<String>,
    metrics_auth: Option<String>,
    drain_seconds: Option<u32>,
    paused: bool,
    components: Vec<Entry>,
}

#[derive(Deserialize)]
struct Reference {
    namespace: String,
    name: String,
}

/// Why a policy cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("ServingPolicy {NAME}: {0}")]
    Shape(String),
    #[error("ServingPolicy {NAME}: {field} {value:?} is not known")]
    Unknown { field: &'static str, value: String },
    #[error("ServingPolicy {NAME}: spec.profile: {0}")]
    Profile(#[from] Invalid),
    #[error("ServingPolicy {NAME}: spec.components[{0}]: {1}")]
    Component(usize, String),
    #[error("ServingPolicy {NAME}: spec.components has {0} entries, where {MOST} are the most")]
    Components(usize),
    #[error("ServingPolicy {NAME}: source {0} needs spec.{1}")]
    Incomplete(&'static str, &'static str),
}

impl Policy {
    /// Reads the object.
    pub(crate) fn read(object: &Value) -> Result<Self, Wrong> {
        let spec: Spec =
            serde_json::from_value(object["spec"].clone()).map_err(|error| Wrong::Shape(error.to_string()))?;
        let default = Self::default();
        let source = match spec.source.as_deref() {
            None | Some("" | "Auto") => None,
            Some(name) => Some(known("source", Some(name), SourceKind::from_name)?.unwrap_or(SourceKind::Builtin)),
        };
        let profile = match &spec.profile {
            Value::Null => None,
            profile => Some(Request::parse(profile)?),
        };
        let of = |reference: Reference| (reference.namespace, reference.name);
        let (config_map, hosted_cluster) = (spec.config_map.map(of), spec.hosted_cluster.map(of));
        if spec.components.len() > MOST {
            return Err(Wrong::Components(spec.components.len()));
        }
        let entries = spec.components.into_iter().enumerate();
        let components = entries.map(|(at, entry)| entry.read().map_err(|why| Wrong::Component(at, why)));
        let components = components.collect::<Result<_, _>>()?;
        match source {
            Some(SourceKind::ConfigMap) if config_map.is_none() => {
                return Err(Wrong::Incomplete("ConfigMap", "configMap"));
            }
            Some(SourceKind::HostedCluster) if hosted_cluster.is_none() => {
                return Err(Wrong::Incomplete("HostedCluster", "hostedCluster"));
            }
            Some(SourceKind::Inline) if profile.is_none() => return Err(Wrong::Incomplete("Inline", "profile")),
            _ => {}
        }
        let adherence = spec.adherence.filter(|name| name != "Follow");
        let fips = spec.fips.filter(|name| name != "Auto");
        let switch = |name: &str| [("On", true), ("Off", false)].iter().find(|(n, _)| *n == name).map(|(_, on)| *on);
        Ok(Self {
            source,
            config_map,
            hosted_cluster,
            profile,
            adherence: known("adherence", adherence.as_deref(), Adherence::from_name)?,
            tls13: known("tls13Policy", spec.tls13_policy.as_deref(), Tls13Policy::from_name)?.unwrap_or_default(),
            floor: known("floor", spec.floor.as_deref(), Version::from_name)?,
            fips: known("fips", fips.as_deref(), switch)?,
            metrics_auth: known("metricsAuth", spec.metrics_auth.as_deref(), MetricsAuth::from_name)?
                .unwrap_or_default(),
            drain_seconds: spec.drain_seconds.unwrap_or(default.drain_seconds),
            paused: spec.paused,
            components,
        })
    }
}

fn known<T>(field: &'static str, name: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Wrong> {
    let Some(name) = name else { return Ok(None) };
    read(name).map(Some).ok_or_else(|| Wrong::Unknown { field, value: name.chars().take(64).collect() })
}

/// The CustomResourceDefinition.
pub fn definition() -> Value {
    let versions = Version::ALL.map(Version::name);
    let names = |description: &str, most: usize, kind: &str| {
        json!({
            "type": "array", "description": description, "maxItems": most, "x-kubernetes-list-type": kind,
            "items": { "type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH },
        })
    };
    let custom = json!({
        "type": "object",
        "description": "The profile in full, for type Custom.",
        "properties": {
            "ciphers": names("Suites by OpenSSL or IANA names; absent: none of TLS 1.2.", MAX_NAMES, "atomic"),
            "minTLSVersion": { "type": "string", "description": "The lowest version; absent: VersionTLS12.", "enum": versions },
            "groups": names("Groups for key exchange; absent: the defaults of what serves.", 7, "set"),
        },
    });
    let profile = |description: &str| {
        json!({
            "type": "object",
            "description": description,
            "required": ["type"],
            "properties": {
                "type": { "type": "string", "enum": ["Old", "Intermediate", "Modern", "Custom"] },
                "custom": custom,
            },
            "x-kubernetes-validations": [{
                "rule": "(self.type == 'Custom') == has(self.custom)",
                "message": "custom is there exactly when type is Custom",
            }],
        })
    };
    let object = |description: &str| {
        json!({
            "type": "object",
            "description": description,
            "required": ["namespace", "name"],
            "properties": {
                "namespace": { "type": "string", "minLength": 1, "maxLength": 63 },
                "name": { "type": "string", "minLength": 1, "maxLength": 253 },
            },
        })
    };
    let of = |description: &str, values: &[&str], default: &str| json!({ "type": "string", "description": description, "enum": values, "default": default });
    let sources: Vec<&str> = std::iter::once("Auto").chain(SourceKind::ALL.map(SourceKind::name)).collect();
    let modes = ["Token", "Certificate", "TokenOrCertificate", "Off"];
    let spec = json!({
        "type": "object",
        "properties": {
            "source": of("Where the profile comes from. Auto: the first that is there, in this order.", &sources, "Auto"),
            "configMap": object("For source ConfigMap: its key profile.json is the profile."),
            "hostedCluster": object(
                "For source HostedCluster, on the management cluster of HyperShift: its spec.configuration.apiServer says the profile.",
            ),
            "profile": profile("The profile, for source Inline; as spec.tlsSecurityProfile of OpenShift's APIServer."),
            "adherence": of(
                "What becomes of a profile that cannot be served: Legacy serves the baseline and warns, Strict keeps the last good one. Follow: as the source says.",
                &["Follow", "Legacy", "Strict"], "Follow",
            ),
            "tls13Policy": of(
                "The suites of TLS 1.3 where a profile lists none: all, or (Strict) none.", &["Platform", "Strict"], "Platform",
            ),
            "floor": { "type": "string", "description": "A version that is not gone below, whatever the profile says.", "enum": versions },
            "fips": of("Only what is approved for FIPS 140. Auto: as the machine is.", &["Auto", "On", "Off"], "Auto"),
            "metricsAuth": of("How whoever reads metrics proves who it is.", &modes, "Token"),
            "drainSeconds": {
                "type": "integer", "minimum": 0, "maximum": 86400, "default": DRAIN_SECONDS,
                "description": "How long connections may go on that a tighter profile would not have let in.",
            },
            "paused": { "type": "boolean", "description": "Decide nothing anew.", "default": false },
            "components": {
                "type": "array", "maxItems": MOST, "x-kubernetes-list-type": "atomic",
                "description": "What single workloads that follow are told otherwise. The first entry that names a workload counts.",
                "items": components(&profile("Another profile. Floor, FIPS and adherence hold as for everybody."), &modes),
            },
        },
        "x-kubernetes-validations": [
            { "rule": "self.source != 'Inline' || has(self.profile)", "message": "source Inline needs profile" },
            { "rule": "self.source != 'ConfigMap' || has(self.configMap)", "message": "source ConfigMap needs configMap" },
            {
                "rule": "self.source != 'HostedCluster' || has(self.hostedCluster)",
                "message": "source HostedCluster needs hostedCluster",
            },
            {
                "rule": "!has(self.floor) || !has(self.components) || self.components.all(c, !has(c.profile) || !has(c.profile.custom) || !has(c.profile.custom.minTLSVersion) || self.floor <= c.profile.custom.minTLSVersion)",
                "message": "floor is above the minTLSVersion of a component: raise that instead",
            },
            {
                "rule": "!has(self.floor) || !has(self.profile) || !has(self.profile.custom) || !has(self.profile.custom.minTLSVersion) || self.floor <= self.profile.custom.minTLSVersion",
                "message": "floor is above the profile's own minTLSVersion: raise that instead",
            },
        ],
    });
    let column = |name: &str, path: &str| json!({ "name": name, "type": "string", "jsonPath": path });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", KIND.plural, KIND.group),
            "labels": { labels::MANAGED_BY: labels::MANAGED_BY_PADDOCK },
        },
        "spec": {
            "group": KIND.group,
            "names": {
                "kind": KIND.kind, "listKind": "ServingPolicyList", "plural": KIND.plural, "singular": "servingpolicy",
                "categories": ["paddock"],
            },
            "scope": "Cluster",
            "versions": [{
                "name": KIND.version, "served": true, "storage": true, "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    column("Source", ".status.source"), column("Profile", ".status.profile"),
                    column("Honored", ".status.conditions[?(@.type==\"ProfileHonored\")].reason"),
                    column("RolledOut", ".status.conditions[?(@.type==\"RolledOut\")].status"),
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": "What every listener of the cluster's Paddock, and of workloads that follow it, serves.",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": { "type": "string" }, "kind": { "type": "string" }, "metadata": { "type": "object" },
                        "spec": spec,
                        "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.metadata.name == 'cluster'",
                        "message": "there is one ServingPolicy, called cluster",
                    }],
                } },
            }],
        },
    })
}

/// The schema of an entry of `spec.components`.
fn components(profile: &Value, modes: &[&str]) -> Value {
    let text = |most: usize| json!({ "type": "string", "minLength": 1, "maxLength": most });
    json!({
        "type": "object",
        "properties": {
            "ref": {
                "type": "object", "description": "One workload.", "required": ["kind", "namespace", "name"],
                "properties": {
                    "kind": { "type": "string", "enum": ["DaemonSet", "Deployment", "StatefulSet"] },
                    "namespace": text(63), "name": text(253),
                },
            },
            "selector": {
                "type": "object", "description": "Workloads by their own labels.", "required": ["matchLabels"],
                "properties": {
                    "namespace": text(63),
                    "matchLabels": {
                        "type": "object", "minProperties": 1, "maxProperties": 8,
                        "additionalProperties": { "type": "string", "maxLength": 63 },
                    },
                },
            },
            "profile": profile,
            "reload": {
                "type": "string", "enum": ["Hot", "Roll"],
                "description": "How it comes to serve another profile, whatever it says itself. Node agents never roll.",
            },
            "metricsAuth": {
                "type": "string", "enum": modes, "description": "How whoever reads its metrics proves who it is.",
            },
        },
        "x-kubernetes-validations": [
            { "rule": "has(self.ref) != has(self.selector)", "message": "either ref or selector says which workloads" },
            {
                "rule": "has(self.profile) || has(self.reload) || has(self.metricsAuth)",
                "message": "say what is otherwise: profile, reload or metricsAuth",
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value) -> Result<Policy, String> {
        Policy::read(&json!({ "spec": spec })).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_policy_is_the_default() {
        assert_eq!(read(json!({})), Ok(Policy::default()));
        let words = json!({"source": "Auto", "adherence": "Follow", "fips": "Auto", "tls13Policy": "Platform"});
        assert_eq!(read(words), Ok(Policy::default()));
    }

    #[test]
    fn every_field_is_read() {
        let policy = read(json!({
            "source": "ConfigMap", "configMap": {"namespace": "a", "name": "b"}, "profile": {"type": "Modern"},
            "adherence": "Strict", "tls13Policy": "Strict", "floor": "VersionTLS13", "fips": "On", "metricsAuth": "Off",
            "drainSeconds": 5, "paused": true, "hostedCluster": {"namespace": "clusters", "name": "one"},
            "components": [{"selector": {"matchLabels": {"a": "b"}}, "reload": "Hot"}],
        }))
        .unwrap();
        assert_eq!(policy.hosted_cluster, Some(("clusters".into(), "one".into())));
        assert_eq!(policy.components.len(), 1);
        assert_eq!(policy.config_map, Some(("a".into(), "b".into())));
        assert_eq!(policy.profile.map(|request| request.name()), Some("Modern"));
        assert_eq!((policy.source, policy.adherence), (Some(SourceKind::ConfigMap), Some(Adherence::Strict)));
        assert_eq!((policy.tls13, policy.floor), (Tls13Policy::Strict, Some(Version::Tls13)));
        assert_eq!((policy.fips, policy.metrics_auth), (Some(true), MetricsAuth::Off));
        assert_eq!((policy.drain_seconds, policy.paused), (5, true));
    }

    #[test]
    fn tls_f09_what_is_wrong_is_named() {
        let wrong = [
            json!({"source": "Elsewhere"}),
            json!({"source": "Inline"}),
            json!({"profile": {"type": "Custom"}}),
            json!({"floor": "1.2"}),
            json!({"paused": "yes"}),
            json!({"source": "HostedCluster"}),
            json!({"components": [{"reload": "Hot"}]}),
            json!({"components": vec![json!({"reload": "Hot"}); 65]}),
        ];
        insta::assert_snapshot!(wrong.map(|spec| read(spec).unwrap_err()).join("\n"), @r#"
        ServingPolicy cluster: source "Elsewhere" is not known
        ServingPolicy cluster: source Inline needs spec.profile
        ServingPolicy cluster: spec.profile: type is Custom, but there is no custom profile: write one under custom
        ServingPolicy cluster: floor "1.2" is not known
        ServingPolicy cluster: invalid type: string "yes", expected a boolean
        ServingPolicy cluster: source HostedCluster needs spec.hostedCluster
        ServingPolicy cluster: spec.components[0]: either ref or selector says which workloads
        ServingPolicy cluster: spec.components has 65 entries, where 64 are the most
        "#);
    }
}
