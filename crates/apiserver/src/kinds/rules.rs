//! What one built-in kind decides for itself, and which family decides it.

use jiff::Timestamp;
use serde_json::Value;

use super::at::At;
use super::{
    admission_policies, autoscaler, certificates, cluster, config, endpoints, events, job, limits, networking, pod,
    policy, quota, rbac, service, storage, tables, webhooks, workloads,
};
use crate::field::FieldError;
use crate::resource::{Column, CoreMetadata, Cx, NameRule, Part};
use crate::status::Status;

/// The rules of one kind, functions of [`crate::resource::Strategy`] by the same names.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) name: NameRule,
    pub(super) core_metadata: Option<CoreMetadata>,
    pub(super) generation: bool,
    pub(super) create_on_update: bool,
    pub(super) unconditional_update: bool,
    /// A create keeps the status it was sent with.
    pub(super) keeps_status: bool,
    /// Kept as the text it was sent as.
    pub(super) raw_field: Option<&'static str>,
    pub(super) default: fn(&mut Value),
    pub(super) prepare_create: fn(&mut Value, &Cx<'_>) -> Result<(), Status>,
    pub(super) prepare_update: fn(&mut Value, &Value, Part, &Cx<'_>) -> Result<(), Status>,
    pub(super) validate_create: fn(&Value, &Cx<'_>) -> Vec<FieldError>,
    pub(super) validate_update: fn(&Value, &Value, Part, &Cx<'_>) -> Vec<FieldError>,
    pub(super) warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Whether `metadata.namespace` is selectable; the kinds that do not say so in kube-apiserver are cluster-scoped.
    pub(super) namespace_field: bool,
    pub(super) fields: &'static [&'static str],
    pub(super) select: fn(&Value, &str) -> String,
    pub(super) unselectable: fn(&str) -> String,
    pub(super) grace_period: fn(&Value, Option<i64>) -> Option<i64>,
    pub(super) columns: fn() -> Vec<Column>,
    pub(super) cells: fn(&Value, Timestamp) -> Vec<Value>,
    pub(super) served_from_storage: fn(&mut Value),
    pub(super) to_storage: fn(&mut Value),
}

impl Rules {
    /// A kind that stores what it is given.
    pub(super) const PLAIN: Self = Self {
        name: NameRule::Subdomain,
        core_metadata: Some(CoreMetadata::Twice),
        generation: false,
        create_on_update: false,
        unconditional_update: true,
        keeps_status: false,
        raw_field: None,
        default: |_| {},
        prepare_create: |_, _| Ok(()),
        prepare_update: |_, _, _, _| Ok(()),
        validate_create: |_, _| Vec::new(),
        validate_update: |_, _, _, _| Vec::new(),
        warnings: |_, _| Vec::new(),
        namespace_field: true,
        fields: &[],
        select: field_value,
        unselectable: |field| {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        },
        grace_period: |_, _| None,
        columns: || tables::columns(tables::NAME_AGE),
        cells: tables::name_age,
        served_from_storage: |_| {},
        to_storage: |_| {},
    };
}

/// The rules of a kind.
pub(super) fn of(group: &str, version: &str, kind: &str) -> Rules {
    let core_metadata = match (group, kind) {
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", _) => None,
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "ControllerRevision")
        | ("batch", "CronJob")
        | ("coordination.k8s.io" | "autoscaling", _)
        | ("networking.k8s.io", "Ingress" | "IngressClass") => Some(CoreMetadata::Once),
        _ => Some(CoreMetadata::Twice),
    };
    Rules { core_metadata, ..of_kind(group, version, kind) }
}

fn of_kind(group: &str, version: &str, kind: &str) -> Rules {
    match (group, kind) {
        ("", "ConfigMap") => config::CONFIG_MAP,
        ("", "Secret") => config::SECRET,
        ("", "ServiceAccount") => config::SERVICE_ACCOUNT,
        ("", "Namespace") => cluster::NAMESPACE,
        ("", "Node") => cluster::NODE,
        ("", "Pod") => pod::POD,
        ("", "PodTemplate") => pod::POD_TEMPLATE,
        ("", "ReplicationController") => workloads::REPLICATION_CONTROLLER,
        ("", "Service") => service::SERVICE,
        ("", "Endpoints") => endpoints::ENDPOINTS,
        ("", "Event") => events::CORE,
        ("", "PersistentVolume") => storage::VOLUME,
        ("", "PersistentVolumeClaim") => storage::CLAIM,
        ("", "ResourceQuota") => quota::QUOTA,
        ("", "LimitRange") => limits::LIMITS,
        ("events.k8s.io", "Event") => events::NEW,
        ("apps", "Deployment") => workloads::DEPLOYMENT,
        ("apps", "ReplicaSet") => workloads::REPLICA_SET,
        ("apps", "StatefulSet") => workloads::STATEFUL_SET,
        ("apps", "DaemonSet") => workloads::DAEMON_SET,
        ("apps", "ControllerRevision") => workloads::CONTROLLER_REVISION,
        ("batch", "Job") => job::JOB,
        ("batch", "CronJob") => job::CRON_JOB,
        ("autoscaling", _) if version == "v1" => autoscaler::AUTOSCALER_V1,
        ("autoscaling", _) => autoscaler::AUTOSCALER,
        ("coordination.k8s.io", _) => cluster::LEASE,
        ("discovery.k8s.io", _) => endpoints::SLICE,
        ("networking.k8s.io", "Ingress") => networking::INGRESS,
        ("networking.k8s.io", "IngressClass") => networking::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => networking::POLICY,
        ("policy", _) => policy::BUDGET,
        ("rbac.authorization.k8s.io", "Role") => rbac::ROLE,
        ("rbac.authorization.k8s.io", "ClusterRole") => rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::ROLE_BINDING,
        ("rbac.authorization.k8s.io", _) => rbac::CLUSTER_ROLE_BINDING,
        ("storage.k8s.io", "StorageClass") => storage::CLASS,
        ("storage.k8s.io", "CSIDriver") => storage::DRIVER,
        ("scheduling.k8s.io", _) => policy::PRIORITY,
        ("node.k8s.io", _) => policy::RUNTIME,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => webhooks::MUTATING,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => webhooks::WEBHOOKS,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => admission_policies::VALIDATING,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => admission_policies::VALIDATING_BINDING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => admission_policies::MUTATING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => admission_policies::MUTATING_BINDING,
        ("apiregistration.k8s.io", _) => webhooks::API_SERVICE,
        ("apiextensions.k8s.io", _) => webhooks::DEFINITION,
        ("certificates.k8s.io", _) => certificates::SIGNING_REQUEST,
        _ => Rules::PLAIN,
    }
}

/// A selectable field that is read where its name says.
pub(super) fn field_value(obj: &Value, field: &str) -> String {
    match obj.at(&format!("/{}", field.replace('.', "/"))) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
