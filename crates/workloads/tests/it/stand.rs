//! A world to stand in: the embedded server without its own loops, and objects as their users would make them.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use paddock_apiserver::Server;
use paddock_reconcile::{Controller, Identity, Kind};
use paddock_trials::{Subject, World};
use serde_json::{Value, json};

pub(crate) struct Stand {
    server: Server,
}

impl World for Stand {
    fn client(&self) -> kube::Client {
        self.server.client()
    }
}

impl Stand {
    pub(crate) async fn new() -> Self {
        let server = Server::builder().in_memory().loops(false).start().await.expect("a server");
        let stand = Self { server };
        stand.make("v1", "ServiceAccount", "serviceaccounts", json!({"metadata": {"name": "default"}})).await;
        stand
    }

    fn api(&self, version: &'static str, kind: &'static str, plural: &'static str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let namespaced = !matches!(kind, "Node" | "PersistentVolume" | "ClusterRole");
        Kind::custom(group, version, kind, plural, namespaced)
            .api(self.server.client(), namespaced.then_some("default"))
    }

    /// Makes an object in the namespace `default`, or without one; a status in it is reported after that.
    pub(crate) async fn make(&self, version: &'static str, kind: &'static str, plural: &'static str, mut body: Value) {
        let api = self.api(version, kind, plural);
        body["apiVersion"] = version.into();
        body["kind"] = kind.into();
        let object: DynamicObject = serde_json::from_value(body.clone()).expect("an object");
        api.create(&PostParams::default(), &object).await.expect("it can be made");
        if let Some(status) = body.get("status") {
            let name = body["metadata"]["name"].as_str().expect("a name");
            let patch = json!({"status": status});
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("a status");
        }
    }

    pub(crate) async fn pod(&self, name: &str) {
        let body = json!({"metadata": {"name": name, "labels": {"app": "x"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}]}});
        self.make("v1", "Pod", "pods", body).await;
    }

    pub(crate) async fn node(&self) {
        self.make("v1", "Node", "nodes", json!({"metadata": {"name": "n1"}})).await;
    }
}

/// A controller as kube-controller-manager runs it.
pub(crate) fn subject<C: Controller + Default>() -> Subject<C> {
    let mut subject = Subject::new(C::default);
    subject.identity = Identity::controller_manager("trial");
    subject
}
