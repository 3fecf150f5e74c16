//! The TLS profile's controllers against the embedded API server: what is decided, what is handed over, in which order.

mod admission;
mod components;
mod decision;
mod delivery;
mod role;
mod rolling;
mod verification;
mod watches;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use paddock_apiserver::Server;
use paddock_controllers::tls_profile::{DECISION, Decider, Deliverer, Options, controllers, definition};
use paddock_tls_profile::{Contract, Generation, Named, Profile};
use paddock_trials::{Process, Subject, World};
use serde_json::{Value, json};

const HOME: &str = "paddock-system";
const FOLLOW: &str = "paddock.dev/tls-profile";
const HASH: &str = "paddock.dev/tls-profile-hash";

/// A server of one's own with the control plane's namespace and that of a workload.
struct Cluster(Server);

impl World for Cluster {
    fn client(&self) -> kube::Client {
        self.0.client()
    }
}

fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: api_version.into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

impl Cluster {
    async fn new() -> Self {
        let cluster = Self(Server::builder().in_memory().loops(false).start().await.unwrap());
        cluster.namespaces().await;
        cluster
    }

    async fn namespaces(&self) {
        for name in [HOME, "apps"] {
            self.create("v1", "Namespace", "namespaces", None, json!({"metadata": {"name": name}})).await;
            let account = json!({"metadata": {"name": "default"}});
            self.create("v1", "ServiceAccount", "serviceaccounts", Some(name), account).await;
        }
    }

    async fn create(&self, api_version: &str, kind: &str, plural: &str, namespace: Option<&str>, mut object: Value) {
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        let resource = resource(api_version, kind, plural);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        };
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// A definition of somebody else's kind that takes everything.
    async fn defines(&self, group: &str, kind: &str, plural: &str) {
        let definition = json!({
            "metadata": {"name": format!("{plural}.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved"}},
            "spec": {
                "group": group, "scope": "Cluster", "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}}],
            },
        });
        let plural = "customresourcedefinitions";
        self.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", plural, None, definition).await;
    }

    async fn openshift(&self) {
        self.defines("security.openshift.io", "SecurityContextConstraints", "securitycontextconstraints").await;
        self.defines("config.openshift.io", "APIServer", "apiservers").await;
    }

    /// HyperShift's kind, as far as it is read.
    async fn hypershift(&self) {
        let definition = json!({
            "metadata": {"name": "hostedclusters.hypershift.openshift.io"},
            "spec": {
                "group": "hypershift.openshift.io", "scope": "Namespaced",
                "names": {"plural": "hostedclusters", "kind": "HostedCluster"},
                "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}}],
            },
        });
        let plural = "customresourcedefinitions";
        self.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", plural, None, definition).await;
    }

    async fn asks(&self, spec: Value) {
        let api: Api<DynamicObject> =
            Api::all_with(self.client(), &resource("config.openshift.io/v1", "APIServer", "apiservers"));
        let object = json!({
            "apiVersion": "config.openshift.io/v1", "kind": "APIServer", "metadata": {"name": "cluster"}, "spec": spec,
        });
        if api.get_opt("cluster").await.unwrap().is_some() {
            api.patch("cluster", &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await.unwrap();
        } else {
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        }
    }

    /// Our own kind, and one policy.
    async fn policy(&self, spec: Value) {
        let plural = "customresourcedefinitions";
        self.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", plural, None, definition()).await;
        let policy = json!({"metadata": {"name": "cluster"}, "spec": spec});
        self.create("paddock.dev/v1alpha1", "ServingPolicy", "servingpolicies", None, policy).await;
    }

    fn policies(&self) -> Api<DynamicObject> {
        Api::all_with(self.client(), &resource("paddock.dev/v1alpha1", "ServingPolicy", "servingpolicies"))
    }

    /// `status` and `reason` of a condition of the policy.
    async fn condition(&self, kind: &str) -> Option<(String, String)> {
        let policy = self.policies().get("cluster").await.unwrap();
        let conditions = policy.data["status"]["conditions"].as_array().unwrap().clone();
        let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
        let text = |field: &str| condition[field].as_str().unwrap().to_owned();
        Some((text("status"), text("reason")))
    }

    /// What somebody else writes into a ConfigMap.
    async fn writes_over(&self, namespace: &str, name: &str, data: Value) {
        let maps: Api<ConfigMap> = Api::namespaced(self.client(), namespace);
        maps.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "data": data }))).await.unwrap();
    }

    async fn decided(&self) -> Option<(Contract, Profile)> {
        let api: Api<ConfigMap> = Api::namespaced(self.client(), HOME);
        let data = api.get_opt(DECISION).await.unwrap()?.data.unwrap();
        let contract = Contract::parse(data.get("contract.json")?.as_bytes()).unwrap().contract;
        Some((contract, Profile::parse(data["profile.json"].as_bytes()).unwrap().profile))
    }

    async fn deployment(&self, name: &str, labels: Value, annotations: Value, spec: Value) {
        let mut object = workload(name, labels, annotations);
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.create("apps/v1", "Deployment", "deployments", Some("apps"), object).await;
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client(), "apps")
    }

    async fn template_annotation(&self, name: &str, key: &str) -> Option<String> {
        let deployment = self.deployments().get(name).await.unwrap();
        deployment.spec?.template.metadata?.annotations?.remove(key)
    }

    /// A pod with the label of workload `app`, owned by a ReplicaSet of that name.
    async fn pod(&self, name: &str, app: &str, replica_set: &str) {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": format!("uid-of-{replica_set}"),
            "controller": true,
        });
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": app}, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "c", "image": "example.com/c:1"}]},
        });
        self.create("v1", "Pod", "pods", Some("apps"), pod).await;
    }

    async fn pod_annotation(&self, name: &str) -> Option<String> {
        let pods: Api<Pod> = Api::namespaced(self.client(), "apps");
        pods.get(name).await.unwrap().metadata.annotations?.remove(HASH)
    }

    async fn files(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client(), "apps");
        api.get_opt(name).await.unwrap()?.data
    }
}

fn workload(name: &str, mut labels: Value, annotations: Value) -> Value {
    labels[FOLLOW] = "follow".into();
    json!({
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "example.com/c:1"}]},
            },
        },
    })
}

fn options() -> Options {
    Options { namespace: HOME.to_owned(), ..Options::default() }
}

fn decider() -> Subject<Decider> {
    Subject::woken_by_others(|| controllers(options()).decider)
}

fn deliverer() -> Subject<Deliverer> {
    Subject::woken_by_others(|| controllers(options()).deliverer)
}

/// A cluster where Modern was decided on.
async fn modern() -> Cluster {
    let cluster = Cluster::new().await;
    cluster.openshift().await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Modern", "modern": {}}})).await;
    decider().start(&cluster).settle().await;
    cluster
}

async fn delivered(cluster: &Cluster) -> Process<Deliverer> {
    let mut process = deliverer().start(cluster);
    process.settle().await;
    process
}

fn hash() -> String {
    Named::Modern.profile(Generation::C).hash()
}
