//! A world to stand in: the embedded server with namespaces and intents, and waiting without sleeping blindly.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use paddock_apiserver::server::Server;
use paddock_reconcile::Kind;
use paddock_trials::{Subject, World};
use serde_json::{Value, json};

use crate::sample::Sample;

pub(crate) struct Stand {
    pub(crate) server: Server,
}

impl World for Stand {
    fn client(&self) -> Client {
        self.server.client()
    }
}

impl Stand {
    /// Without the server's own loops: nothing happens that the test does not do.
    pub(crate) async fn empty() -> Self {
        let server = Server::builder().in_memory().loops(false).start().await.expect("a server");
        let stand = Self { server };
        stand.apply(&Kind::of::<Namespace>(), json!({"metadata": {"name": "sample-system"}})).await;
        stand
    }

    /// Two tenants, `a` and `b`, with the same intent.
    pub(crate) async fn two_tenants() -> Self {
        let stand = Self::empty().await;
        for tenant in ["a", "b"] {
            stand.tenant(tenant).await;
            stand.intent(tenant, &json!({"image": "web:1"})).await;
        }
        stand
    }

    pub(crate) async fn tenant(&self, name: &str) {
        self.apply(&Kind::of::<Namespace>(), json!({"metadata": {"name": name}})).await;
        let account = json!({"metadata": {"name": "default", "namespace": name}});
        self.apply(&Kind::of::<ServiceAccount>(), account).await;
    }

    pub(crate) async fn intent(&self, tenant: &str, data: &Value) {
        let metadata = json!({"name": "app", "namespace": tenant});
        self.apply(&Kind::of::<ConfigMap>(), json!({"metadata": metadata, "data": data})).await;
    }

    /// Applies as the user.
    pub(crate) async fn apply(&self, kind: &Kind, mut body: Value) {
        body["apiVersion"] = kind.api_version().into();
        body["kind"] = kind.kind.as_ref().into();
        let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
        let params = PatchParams::apply("user").force();
        self.api(kind, body["metadata"]["namespace"].as_str())
            .patch(&name, &params, &Patch::Apply(&body))
            .await
            .expect("applied");
    }

    pub(crate) async fn merge<K>(&self, namespace: &str, name: &str, patch: &Value)
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        let api = self.api(&Kind::of::<K>(), Some(namespace));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("patched");
    }

    /// Edits as somebody of this name.
    pub(crate) async fn edit<K>(&self, namespace: &str, name: &str, manager: &str, patch: &Value)
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        let api = self.api(&Kind::of::<K>(), Some(namespace));
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        api.patch(name, &params, &Patch::Merge(patch)).await.expect("patched");
    }

    pub(crate) async fn list<K>(&self, namespace: &str) -> Vec<Value>
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        let api = self.api(&Kind::of::<K>(), Some(namespace));
        let listed = api.list(&ListParams::default()).await.expect("listed");
        listed.items.into_iter().map(|o| serde_json::to_value(o).expect("JSON")).collect()
    }

    pub(crate) async fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        self.api(&Kind::of::<K>(), Some(namespace)).delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    pub(crate) async fn get<K>(&self, namespace: &str, name: &str) -> Option<Value>
    where
        K: k8s_openapi::Resource,
        K::Scope: 'static,
    {
        self.get_kind(&Kind::of::<K>(), namespace, name).await
    }

    pub(crate) async fn get_kind(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Value> {
        let found = self.api(kind, Some(namespace)).get_opt(name).await.expect("read");
        found.map(|o| serde_json::to_value(o).expect("JSON"))
    }

    /// The image that the workload of a tenant runs.
    pub(crate) async fn image(&self, tenant: &str) -> Option<String> {
        let workload = self.get::<Deployment>(tenant, "web").await?;
        workload.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned)
    }

    fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        kind.api(self.client(), namespace)
    }
}

pub(crate) fn sample() -> Subject<Sample> {
    Subject::new(Sample::default)
}

/// Waits until `holds`, by looking again and again; fails after ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), looking).await.is_ok(), "never: {what}");
}
