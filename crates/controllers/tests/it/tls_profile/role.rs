//! The shipped role is enough for the TLS profile's controllers, and nothing in it is too much.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use paddock_apiserver::{Server, User};
use paddock_controllers::tls_profile::{Controllers, controller_rules, controllers};
use paddock_reconcile::{Context, Runtime};
use paddock_trials::{World, account_with, proves_role};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Cluster, HASH, decider, deliverer, hash, options, workload};

async fn cluster() -> Cluster {
    let cluster = Cluster(Server::builder().in_memory().request_log(true).loops(false).start().await.unwrap());
    cluster.namespaces().await;
    cluster.openshift().await;
    cluster.defines("config.openshift.io", "ClusterVersion", "clusterversions").await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Modern"}})).await;
    cluster.hypershift().await;
    cluster.policy(json!({"hostedCluster": {"namespace": "apps", "name": "one"}})).await;
    cluster.deployment("w", json!({}), json!({}), json!({"replicas": 2})).await;
    cluster.deployment("hot", json!({}), json!({"paddock.dev/tls-profile-reload": "Hot"}), json!({})).await;
    cluster.pod("hot-abc-1", "hot", "hot-abc").await;
    let agent = workload("agent", json!({}), json!({}));
    cluster.create("apps/v1", "DaemonSet", "daemonsets", Some("apps"), agent).await;
    let mut set = workload("set", json!({}), json!({}));
    set["spec"]["serviceName"] = "set".into();
    cluster.create("apps/v1", "StatefulSet", "statefulsets", Some("apps"), set).await;
    cluster
}

fn template_hash(object: &impl Serialize) -> Value {
    let object = serde_json::to_value(object).unwrap();
    object["spec"]["template"]["metadata"]["annotations"][HASH].clone()
}

/// Passes without watches: they read what a running process has in its caches.
async fn passes(client: Client) {
    decider().start(&client).settle().await;
    deliverer().start(&client).settle().await;
}

/// The controllers as they run, until they have told the policy of a change.
async fn runs(cluster: &Cluster, account: &User) {
    let subject = decider();
    let cx = Context::new(cluster.0.client_as(account.clone()), subject.identity.clone());
    let Controllers { decider, sources, deliverer, verifier } = controllers(options());
    let runtime = Runtime::new(cx).with_controller(decider).with_controller(sources);
    let runtime = runtime.with_controller(deliverer).with_controller(verifier);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(runtime.run(cancel.clone()));
    let told = async {
        // Back and forth: the second change to a profile repeats the Event of the first.
        for profile in ["Intermediate", "Modern", "Intermediate"] {
            cluster.asks(json!({"tlsSecurityProfile": {"type": profile}})).await;
            let said = move |policy: Option<&DynamicObject>| {
                policy.is_some_and(|policy| policy.data["status"]["profile"] == profile)
            };
            await_condition(cluster.policies(), "cluster", said).await.expect("a status");
        }
        // This edit is seen by the watches alone.
        cluster.asks(json!({"tlsSecurityProfile": {"type": "Modern"}})).await;
        let sets: Api<StatefulSet> = Api::namespaced(cluster.client(), "apps");
        let has = |set: Option<&StatefulSet>| set.is_some_and(|set| template_hash(set) == hash());
        await_condition(sets, "set", has).await.expect("a template");
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("in time");
    cancel.cancel();
    running.await.expect("the controllers end").expect("in order");
}

#[tokio::test]
async fn the_shipped_role_is_what_the_controllers_need() {
    let cluster = cluster().await;
    let account = account_with(&cluster.0, controller_rules()).await;
    let client = cluster.0.client_as(account.clone());
    passes(client.clone()).await;
    // Somebody changes the disruption budget.
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client(), "apps");
    let other = json!({"spec": {"maxUnavailable": 2}});
    budgets.patch("w-tls-profile", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    passes(client).await;
    runs(&cluster, &account).await;

    let apps = cluster.client();
    let agent = Api::<DaemonSet>::namespaced(apps.clone(), "apps").get("agent").await.unwrap();
    let deployment = Api::<Deployment>::namespaced(apps, "apps").get("w").await.unwrap();
    assert!(template_hash(&agent).is_string() && template_hash(&deployment).is_string());
    assert!(cluster.pod_annotation("hot-abc-1").await.is_some());

    let requests: Vec<_> = cluster.0.log().entries().into_iter().filter(|entry| entry.user == account.name).collect();
    proves_role(&controller_rules(), &requests, &[]);
}
