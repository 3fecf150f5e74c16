//! What OpenAPI does not tell of the Go types behind the built-in kinds: which optional scalars are pointers.
//!
//! A pointer keeps an empty text, a zero and `false` apart from nothing; a plain field with `omitempty` does not. Most
//! optional texts are plain and most optional numbers and booleans are pointers, so each table has the exceptions. A type
//! is named by its last part, with its group where two share one.

/// Optional numbers and booleans that are plain.
const PLAIN: &[(&str, &[&str])] = &[
    ("APIServiceSpec", &["insecureSkipTLSVerify"]),
    ("AWSElasticBlockStoreVolumeSource", &["partition", "readOnly"]),
    ("AzureFilePersistentVolumeSource", &["readOnly"]),
    ("AzureFileVolumeSource", &["readOnly"]),
    ("CSIPersistentVolumeSource", &["readOnly"]),
    ("CephFSPersistentVolumeSource", &["readOnly"]),
    ("CephFSVolumeSource", &["readOnly"]),
    ("CinderPersistentVolumeSource", &["readOnly"]),
    ("CinderVolumeSource", &["readOnly"]),
    ("Condition", &["observedGeneration"]),
    ("Container", &["stdin", "stdinOnce", "tty"]),
    ("ContainerPort", &["hostPort"]),
    ("ContainerStateTerminated", &["signal"]),
    ("CustomResourceColumnDefinition", &["priority"]),
    ("CustomResourceDefinitionSpec", &["preserveUnknownFields"]),
    ("CustomResourceDefinitionVersion", &["deprecated"]),
    ("DaemonSetSpec", &["minReadySeconds"]),
    ("DaemonSetStatus", &["numberAvailable", "numberUnavailable", "observedGeneration", "updatedNumberScheduled"]),
    ("DeploymentSpec", &["minReadySeconds", "paused"]),
    (
        "DeploymentStatus",
        &[
            "availableReplicas",
            "observedGeneration",
            "readyReplicas",
            "replicas",
            "unavailableReplicas",
            "updatedReplicas",
        ],
    ),
    ("EphemeralContainer", &["stdin", "stdinOnce", "tty"]),
    ("Event", &["count", "deprecatedCount"]),
    ("FCVolumeSource", &["readOnly"]),
    ("FlexPersistentVolumeSource", &["readOnly"]),
    ("FlexVolumeSource", &["readOnly"]),
    ("GCEPersistentDiskVolumeSource", &["partition", "readOnly"]),
    ("GlusterfsVolumeSource", &["readOnly"]),
    ("HorizontalPodAutoscalerStatus", &["currentReplicas"]),
    ("ISCSIPersistentVolumeSource", &["chapAuthDiscovery", "chapAuthSession", "readOnly"]),
    ("ISCSIVolumeSource", &["chapAuthDiscovery", "chapAuthSession", "readOnly"]),
    ("JobStatus", &["active", "failed", "succeeded"]),
    ("NFSVolumeSource", &["readOnly"]),
    ("NodeSpec", &["unschedulable"]),
    ("ObjectMeta", &["generation"]),
    ("PersistentVolumeClaimVolumeSource", &["readOnly"]),
    ("PodCondition", &["observedGeneration"]),
    ("PodDisruptionBudgetStatus", &["observedGeneration"]),
    ("PodSpec", &["hostIPC", "hostNetwork", "hostPID"]),
    ("PodStatus", &["observedGeneration"]),
    ("PortworxVolumeSource", &["readOnly"]),
    ("PriorityClass", &["globalDefault"]),
    ("Probe", &["failureThreshold", "initialDelaySeconds", "periodSeconds", "successThreshold", "timeoutSeconds"]),
    ("QuobyteVolumeSource", &["readOnly"]),
    ("RBDPersistentVolumeSource", &["readOnly"]),
    ("RBDVolumeSource", &["readOnly"]),
    ("ReplicaSetSpec", &["minReadySeconds"]),
    ("ReplicaSetStatus", &["availableReplicas", "fullyLabeledReplicas", "observedGeneration", "readyReplicas"]),
    ("ReplicationControllerSpec", &["minReadySeconds"]),
    (
        "ReplicationControllerStatus",
        &["availableReplicas", "fullyLabeledReplicas", "observedGeneration", "readyReplicas"],
    ),
    ("ScaleIOPersistentVolumeSource", &["readOnly", "sslEnabled"]),
    ("ScaleIOVolumeSource", &["readOnly", "sslEnabled"]),
    ("ServiceBackendPort", &["number"]),
    ("ServicePort", &["nodePort"]),
    ("ServiceSpec", &["healthCheckNodePort", "publishNotReadyAddresses"]),
    ("StatefulSetSpec", &["minReadySeconds"]),
    ("StatefulSetStatus", &["currentReplicas", "observedGeneration", "readyReplicas", "updatedReplicas"]),
    ("StorageOSPersistentVolumeSource", &["readOnly"]),
    ("StorageOSVolumeSource", &["readOnly"]),
    ("VolumeMount", &["readOnly"]),
];

/// Optional texts that are pointers.
const TEXTS: &[(&str, &[&str])] = &[
    ("AppArmorProfile", &["localhostProfile"]),
    ("AzureFilePersistentVolumeSource", &["secretNamespace"]),
    ("CSIVolumeSource", &["fsType"]),
    ("CronJobSpec", &["timeZone"]),
    ("Endpoint", &["hostname", "nodeName", "zone"]),
    ("EndpointAddress", &["nodeName"]),
    ("EndpointPort", &["appProtocol"]),
    ("GRPCAction", &["service"]),
    ("HostPathVolumeSource", &["type"]),
    ("ISCSIPersistentVolumeSource", &["initiatorName"]),
    ("ISCSIVolumeSource", &["initiatorName"]),
    ("IngressClassParametersReference", &["apiGroup", "namespace", "scope"]),
    ("IngressSpec", &["ingressClassName"]),
    ("JobSpec", &["completionMode", "managedBy", "podReplacementPolicy"]),
    ("LeaseSpec", &["holderIdentity", "preferredHolder", "strategy"]),
    ("LocalVolumeSource", &["fsType"]),
    ("PersistentVolumeClaimSpec", &["storageClassName", "volumeAttributesClassName", "volumeMode"]),
    ("PersistentVolumeSpec", &["volumeAttributesClassName", "volumeMode"]),
    ("PodFailurePolicyOnExitCodesRequirement", &["containerName"]),
    ("PodSpec", &["hostnameOverride", "preemptionPolicy", "runtimeClassName"]),
    ("SeccompProfile", &["localhostProfile"]),
    ("ServicePort", &["appProtocol"]),
    ("ServiceReference", &["path"]),
    ("ServiceSpec", &["loadBalancerClass", "trafficDistribution"]),
    ("TypedLocalObjectReference", &["apiGroup"]),
    ("TypedObjectReference", &["apiGroup", "namespace"]),
    ("WebhookClientConfig", &["url"]),
    ("WindowsSecurityContextOptions", &["gmsaCredentialSpec", "gmsaCredentialSpecName", "runAsUserName"]),
    ("discovery.v1.EndpointPort", &["name", "protocol"]),
];

/// Whether an optional number or boolean is a plain field.
pub(super) fn is_plain(type_: &str, field: &str) -> bool {
    listed(PLAIN, type_, field)
}

/// Whether an optional text is a pointer.
pub(super) fn is_text_pointer(type_: &str, field: &str) -> bool {
    listed(TEXTS, type_, field)
}

fn listed(table: &[(&str, &[&str])], type_: &str, field: &str) -> bool {
    let named = |name: &str| type_.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    table.iter().any(|(name, fields)| fields.contains(&field) && named(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, Typed};

    /// Every row names an optional scalar of a served type: a name that is misspelt or moved fails here.
    #[test]
    fn the_tables_name_optional_scalars_of_served_types() {
        let definitions = schema::definitions();
        for (table, types) in [(PLAIN, &["integer", "boolean"][..]), (TEXTS, &["string"][..])] {
            for (name, fields) in table {
                let suffix = format!(".{name}");
                let found: Vec<_> = definitions.iter().filter(|(full, _)| full.ends_with(&suffix)).collect();
                assert!(!found.is_empty(), "no type {name}");
                for field in *fields {
                    let optional = found.iter().any(|(_, node)| {
                        let typed = Typed::new(&definitions, node);
                        typed.property(field).is_some_and(|property| {
                            let scalar = property.node.type_.as_deref().is_some_and(|type_| types.contains(&type_));
                            scalar && !node.required.iter().any(|required| required == field)
                        })
                    });
                    assert!(optional, "{name}.{field}");
                }
            }
        }
    }
}
