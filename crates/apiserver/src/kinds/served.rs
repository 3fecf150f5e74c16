//! Which built-in resources are served: names, verbs and subresources as kube-apiserver v1.36 lists them.

/// One row: group, version, kind, plural, short names, categories, namespaced, verbs, subresources.
pub(super) struct Served {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) categories: &'static [&'static str],
    pub(super) namespaced: bool,
    pub(super) verbs: &'static [&'static str],
    pub(super) subresources: &'static [Sub],
}

/// Path name; group, version and kind when they are not the parent's; verbs.
pub(super) type Sub = (&'static str, Option<(&'static str, &'static str, &'static str)>, &'static [&'static str]);

const FULL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const GET_LIST: &[&str] = &["get", "list"];
const PART: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

const STATUS: Sub = ("status", None, PART);
const SCALE: Sub = ("scale", Some(("autoscaling", "v1", "Scale")), PART);

const fn namespaced(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    subresources: &'static [Sub],
) -> Served {
    Served { group, version, kind, plural, short, categories: &[], namespaced: true, verbs: FULL, subresources }
}

const fn cluster(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    subresources: &'static [Sub],
) -> Served {
    let row = namespaced(group, version, kind, plural, short, subresources);
    Served { namespaced: false, ..row }
}

const fn review(group: &'static str, kind: &'static str, plural: &'static str) -> Served {
    Served { verbs: CREATE, ..cluster(group, "v1", kind, plural, &[], &[]) }
}

impl Served {
    const fn all(self) -> Self {
        Self { categories: &["all"], ..self }
    }
    const fn extension(self) -> Self {
        Self { categories: &["api-extensions"], ..self }
    }
    const fn verbs(self, verbs: &'static [&'static str]) -> Self {
        Self { verbs, ..self }
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHN: &str = "authentication.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// Every built-in resource, by group, then plural name.
#[rustfmt::skip]
pub(super) const SERVED: &[Served] = &[
    namespaced("", "v1", "Binding", "bindings", &[], &[]).verbs(CREATE),
    cluster("", "v1", "ComponentStatus", "componentstatuses", &["cs"], &[]).verbs(GET_LIST),
    namespaced("", "v1", "ConfigMap", "configmaps", &["cm"], &[]),
    namespaced("", "v1", "Endpoints", "endpoints", &["ep"], &[]),
    namespaced("", "v1", "Event", "events", &["ev"], &[]),
    namespaced("", "v1", "LimitRange", "limitranges", &["limits"], &[]),
    cluster("", "v1", "Namespace", "namespaces", &["ns"], &[("finalize", None, &["update"]), STATUS]).verbs(NO_COLLECTION),
    cluster("", "v1", "Node", "nodes", &["no"], &[("proxy", Some(("", "v1", "NodeProxyOptions")), PROXY), STATUS]),
    namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], &[STATUS]),
    cluster("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], &[STATUS]),
    namespaced("", "v1", "Pod", "pods", &["po"], &[
        ("attach", Some(("", "v1", "PodAttachOptions")), CONNECT),
        ("binding", Some(("", "v1", "Binding")), CREATE),
        ("ephemeralcontainers", None, PART),
        ("eviction", Some(("policy", "v1", "Eviction")), CREATE),
        ("exec", Some(("", "v1", "PodExecOptions")), CONNECT),
        ("log", None, &["get"]),
        ("portforward", Some(("", "v1", "PodPortForwardOptions")), CONNECT),
        ("proxy", Some(("", "v1", "PodProxyOptions")), PROXY),
        ("resize", None, PART),
        STATUS,
    ]).all(),
    namespaced("", "v1", "PodTemplate", "podtemplates", &[], &[]),
    namespaced("", "v1", "ReplicationController", "replicationcontrollers", &["rc"], &[SCALE, STATUS]).all(),
    namespaced("", "v1", "ResourceQuota", "resourcequotas", &["quota"], &[STATUS]),
    namespaced("", "v1", "Secret", "secrets", &[], &[]),
    namespaced("", "v1", "ServiceAccount", "serviceaccounts", &["sa"],
        &[("token", Some((AUTHN, "v1", "TokenRequest")), CREATE)]),
    namespaced("", "v1", "Service", "services", &["svc"],
        &[("proxy", Some(("", "v1", "ServiceProxyOptions")), PROXY), STATUS]).all(),
    cluster(ADMISSION, "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", &[], &[]).extension(),
    cluster(ADMISSION, "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", &[], &[]).extension(),
    cluster(ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[], &[]).extension(),
    cluster(ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &[], &[STATUS]).extension(),
    cluster(ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &[], &[]).extension(),
    cluster(ADMISSION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[], &[]).extension(),
    cluster("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"],
        &[STATUS]).extension(),
    cluster("apiregistration.k8s.io", "v1", "APIService", "apiservices", &[], &[STATUS]).extension(),
    namespaced("apps", "v1", "ControllerRevision", "controllerrevisions", &[], &[]),
    namespaced("apps", "v1", "DaemonSet", "daemonsets", &["ds"], &[STATUS]).all(),
    namespaced("apps", "v1", "Deployment", "deployments", &["deploy"], &[SCALE, STATUS]).all(),
    namespaced("apps", "v1", "ReplicaSet", "replicasets", &["rs"], &[SCALE, STATUS]).all(),
    namespaced("apps", "v1", "StatefulSet", "statefulsets", &["sts"], &[SCALE, STATUS]).all(),
    review(AUTHN, "SelfSubjectReview", "selfsubjectreviews"),
    review(AUTHN, "TokenReview", "tokenreviews"),
    namespaced(AUTHZ, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", &[], &[]).verbs(CREATE),
    review(AUTHZ, "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    review(AUTHZ, "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    review(AUTHZ, "SubjectAccessReview", "subjectaccessreviews"),
    namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], &[STATUS]).all(),
    namespaced("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], &[STATUS]).all(),
    namespaced("batch", "v1", "CronJob", "cronjobs", &["cj"], &[STATUS]).all(),
    namespaced("batch", "v1", "Job", "jobs", &[], &[STATUS]).all(),
    cluster("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", &["csr"],
        &[("approval", None, PART), STATUS]),
    namespaced("coordination.k8s.io", "v1", "Lease", "leases", &[], &[]),
    namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", &[], &[]),
    namespaced("events.k8s.io", "v1", "Event", "events", &["ev"], &[]),
    cluster(NETWORKING, "v1", "IngressClass", "ingressclasses", &[], &[]),
    namespaced(NETWORKING, "v1", "Ingress", "ingresses", &["ing"], &[STATUS]),
    cluster(NETWORKING, "v1", "IPAddress", "ipaddresses", &["ip"], &[]),
    namespaced(NETWORKING, "v1", "NetworkPolicy", "networkpolicies", &["netpol"], &[]),
    cluster(NETWORKING, "v1", "ServiceCIDR", "servicecidrs", &[], &[STATUS]),
    cluster("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", &[], &[]),
    namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], &[STATUS]),
    cluster(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", &[], &[]),
    cluster(RBAC, "v1", "ClusterRole", "clusterroles", &[], &[]),
    namespaced(RBAC, "v1", "RoleBinding", "rolebindings", &[], &[]),
    namespaced(RBAC, "v1", "Role", "roles", &[], &[]),
    cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"], &[]),
    cluster(STORAGE, "v1", "CSIDriver", "csidrivers", &[], &[]),
    cluster(STORAGE, "v1", "CSINode", "csinodes", &[], &[]),
    namespaced(STORAGE, "v1", "CSIStorageCapacity", "csistoragecapacities", &[], &[]),
    cluster(STORAGE, "v1", "StorageClass", "storageclasses", &["sc"], &[]),
    cluster(STORAGE, "v1", "VolumeAttachment", "volumeattachments", &[], &[STATUS]),
    cluster(STORAGE, "v1", "VolumeAttributesClass", "volumeattributesclasses", &["vac"], &[]),
];
