//! What every namespace has: the ServiceAccount `default` and the ConfigMap with the cluster's CA. Reads through the engine's
//! context; the rest is pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/serviceaccount` and `pkg/controller/certificates/rootcacertpublisher`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Act, Change, Context, Controller, Error, Plan, Settings, Source};
use serde_json::Value;

const DEFAULT: &str = "default";
/// The name of the ConfigMap with the CA.
pub const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP \
     or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

fn text(change: &Change<'_>, pointer: &str) -> Vec<String> {
    change.object().pointer(pointer).and_then(Value::as_str).map(str::to_owned).into_iter().collect()
}

/// Every namespace.
fn namespaces() -> Source<String> {
    Source::of::<Namespace>(|change| text(change, "/metadata/name"))
}

/// Whether a namespace is there to stay: nothing can be made in one that ends.
async fn stays(cx: &Context, name: &str) -> Result<bool, Error> {
    let namespace = cx.get_as::<Namespace>(None, name).await?;
    Ok(namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none()))
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// The ServiceAccount that every namespace has.
pub fn account(namespace: &str) -> ServiceAccount {
    ServiceAccount { metadata: named(namespace, DEFAULT), ..ServiceAccount::default() }
}

/// The ConfigMap in which a namespace finds the certificate of the cluster's CA, PEM.
pub fn authorities(namespace: &str, certificate: &str) -> ConfigMap {
    let told = BTreeMap::from([("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())]);
    let metadata = ObjectMeta { annotations: Some(told), ..named(namespace, ROOT_CA) };
    let data = BTreeMap::from([("ca.crt".to_owned(), certificate.to_owned())]);
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// Gives each namespace its ServiceAccount `default`.
#[derive(Debug, Default)]
pub struct DefaultAccounts;

impl Controller for DefaultAccounts {
    type Key = String;
    /// Whether the account is missing.
    type Snapshot = bool;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn sources(&self) -> Vec<Source<String>> {
        let of_account = |change: &Change<'_>| {
            let ours = change.object().pointer("/metadata/name").and_then(Value::as_str) == Some(DEFAULT);
            if ours { text(change, "/metadata/namespace") } else { Vec::new() }
        };
        vec![namespaces(), Source::of::<ServiceAccount>(of_account)]
    }

    async fn snapshot(&self, cx: &Context, namespace: &String) -> Result<bool, Error> {
        Ok(stays(cx, namespace).await? && cx.get_as::<ServiceAccount>(Some(namespace), DEFAULT).await?.is_none())
    }

    fn plan(&self, namespace: &String, missing: &bool, _: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        if *missing {
            // A client that needs it at once makes it before us, and may.
            plan.step(vec![Act::create(&account(namespace))?.unless_there()]);
        }
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// Publishes the cluster's CA in each namespace.
#[derive(Debug)]
pub struct RootCa(Arc<str>);

impl RootCa {
    /// Of the CA's certificate in PEM.
    pub fn new(certificate: impl Into<Arc<str>>) -> Self {
        Self(certificate.into())
    }
}

/// What [`RootCa`] found.
#[derive(Debug)]
pub enum Published {
    /// There is no such namespace, or it ends.
    Nowhere,
    /// The ConfigMap, if there is one.
    There(Option<Box<ConfigMap>>),
}

impl Controller for RootCa {
    type Key = String;
    type Snapshot = Published;

    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher"
    }

    fn sources(&self) -> Vec<Source<String>> {
        let maps = Source::of::<ConfigMap>(|change| text(change, "/metadata/namespace"));
        vec![namespaces(), maps.fields(format!("metadata.name={ROOT_CA}"))]
    }

    async fn snapshot(&self, cx: &Context, namespace: &String) -> Result<Published, Error> {
        if !stays(cx, namespace).await? {
            return Ok(Published::Nowhere);
        }
        Ok(Published::There(cx.get_as::<ConfigMap>(Some(namespace), ROOT_CA).await?.map(Box::new)))
    }

    fn plan(&self, namespace: &String, published: &Published, _: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let Published::There(live) = published else { return Ok(plan) };
        let wanted = authorities(namespace, &self.0);
        let act = match live.as_deref() {
            Some(live) if live.data == wanted.data => return Ok(plan),
            Some(live) => Act::update(&ConfigMap { data: wanted.data, ..live.clone() })?,
            None => Act::create(&wanted)?.unless_there(),
        };
        plan.step(vec![act]);
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

#[cfg(test)]
mod tests {
    use paddock_reconcile::Verb;
    use serde_json::json;

    use super::*;

    fn planned(published: Published) -> Vec<Vec<Act>> {
        let plan = RootCa::new("PEM").plan(&"n".to_owned(), &published, Timestamp::UNIX_EPOCH).expect("a plan");
        plan.acts
    }

    fn map(certificate: &str) -> Published {
        let map = json!({"metadata": {"name": ROOT_CA, "namespace": "n", "resourceVersion": "7"}, "data": {"ca.crt": certificate}});
        Published::There(Some(serde_json::from_value(map).expect("a ConfigMap")))
    }

    #[test]
    fn missing_account_is_made() {
        let plan = DefaultAccounts.plan(&"n".to_owned(), &true, Timestamp::UNIX_EPOCH).expect("a plan");
        assert!(
            matches!(plan.acts[0][0].verb(), Verb::Create(account) if account["metadata"] == json!({"name": "default", "namespace": "n"}))
        );
    }

    #[test]
    fn missing_certificate_is_published() {
        assert!(
            matches!(planned(Published::There(None))[0][0].verb(), Verb::Create(map) if map["data"] == json!({"ca.crt": "PEM"}))
        );
    }

    #[test]
    fn changed_certificate_is_put_right() {
        assert!(
            matches!(planned(map("other"))[0][0].verb(), Verb::Update { body, .. } if body["data"] == json!({"ca.crt": "PEM"}))
        );
    }

    #[test]
    fn published_certificate_stays_as_it_is() {
        assert!(planned(map("PEM")).is_empty());
    }

    #[test]
    fn nothing_is_made_where_nothing_can_be() {
        assert!(planned(Published::Nowhere).is_empty());
    }
}
