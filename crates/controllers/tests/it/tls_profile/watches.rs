//! The controllers as they run, with their watches: what changes is followed by the event that tells of it, long before anybody would look
//! again. Passes without watches, as in the other tests, look at everything and cannot miss a trigger; these can.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use paddock_controllers::tls_profile::{Controllers, DECISION, controllers};
use paddock_reconcile::{Context, Runtime};
use paddock_tls_profile::{Generation, Named, Profile};
use paddock_trials::World;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Cluster, FOLLOW, HOME, decider, hash, options, resource};

/// Nobody looks at anything again within this time.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
fn run(cluster: &Cluster) -> DropGuard {
    let cx = Context::new(cluster.client(), decider().identity);
    let Controllers { decider, sources, deliverer, verifier } = controllers(options());
    let runtime = Runtime::new(cx).with_controller(decider).with_controller(sources);
    let runtime = runtime.with_controller(deliverer).with_controller(verifier);
    let stop = CancellationToken::new();
    tokio::spawn(runtime.run(stop.clone()));
    stop.drop_guard()
}

/// Waits until the ConfigMap holds this profile.
async fn holds(cluster: &Cluster, namespace: &str, name: &str, profile: &Profile, what: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), namespace);
    let wanted = profile.canonical();
    let has = |map: Option<&ConfigMap>| {
        let data = map.and_then(|map| map.data.as_ref());
        data.and_then(|data| data.get("profile.json")).is_some_and(|text| *text == wanted)
    };
    let waited = tokio::time::timeout(AT_ONCE, await_condition(maps, name, has)).await;
    assert!(waited.is_ok(), "{what}: not in time");
}

async fn decides(cluster: &Cluster, profile: &Profile, what: &str) {
    holds(cluster, HOME, DECISION, profile, what).await;
}

fn of(named: Named) -> Profile {
    named.profile(Generation::C)
}

async fn policy_says(cluster: &Cluster, spec: Value) {
    cluster.policies().patch("cluster", &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await.unwrap();
}

#[tokio::test]
async fn tls_f11_the_policy_is_followed_when_it_comes_changes_and_goes() {
    let cluster = Cluster::new().await;
    let _running = run(&cluster);
    decides(&cluster, &Profile::baseline(), "nobody says anything").await;
    cluster.policy(json!({"source": "Inline", "profile": {"type": "Modern"}})).await;
    decides(&cluster, &of(Named::Modern), "the definition and the policy come").await;
    policy_says(&cluster, json!({"profile": {"type": "Old"}})).await;
    decides(&cluster, &of(Named::Old), "the policy changes").await;
    cluster.policies().delete("cluster", &DeleteParams::default()).await.unwrap();
    decides(&cluster, &Profile::baseline(), "the policy goes").await;
}

#[tokio::test]
async fn tls_f11_a_config_map_with_the_label_is_followed_when_it_changes() {
    let cluster = Cluster::new().await;
    let file = |named: Named| json!({"profile.json": of(named).canonical()});
    let metadata = json!({"name": "source", "labels": {FOLLOW: "source"}});
    let map = json!({"metadata": metadata, "data": file(Named::Modern)});
    cluster.create("v1", "ConfigMap", "configmaps", Some("apps"), map).await;
    cluster.policy(json!({"source": "ConfigMap", "configMap": {"namespace": "apps", "name": "source"}})).await;
    let _running = run(&cluster);
    decides(&cluster, &of(Named::Modern), "it is read").await;
    for named in [Named::Intermediate, Named::Old, Named::Modern] {
        cluster.writes_over("apps", "source", file(named)).await;
        decides(&cluster, &of(named), "it changes").await;
    }
}

#[tokio::test]
async fn tls_d17_a_hosted_cluster_is_followed_when_it_changes() {
    let cluster = Cluster::new().await;
    cluster.hypershift().await;
    let says = |name: &str| json!({"configuration": {"apiServer": {"tlsSecurityProfile": {"type": name}}}});
    let hosted = json!({"metadata": {"name": "one"}, "spec": says("Modern")});
    let (version, kind, plural) = ("hypershift.openshift.io/v1beta1", "HostedCluster", "hostedclusters");
    cluster.create(version, kind, plural, Some("apps"), hosted).await;
    let policy = json!({"source": "HostedCluster", "hostedCluster": {"namespace": "apps", "name": "one"}});
    cluster.policy(policy).await;
    let _running = run(&cluster);
    decides(&cluster, &of(Named::Modern), "it is read").await;
    let hosted: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "apps", &resource(version, kind, plural));
    let patch = Patch::Merge(json!({"spec": says("Old")}));
    hosted.patch("one", &PatchParams::default(), &patch).await.unwrap();
    decides(&cluster, &of(Named::Old), "it changes").await;
}

#[tokio::test]
async fn tls_f12_tls_f13_tls_d07_what_was_written_over_or_deleted_is_back_at_once() {
    let cluster = Cluster::new().await;
    cluster.policy(json!({"source": "Inline", "profile": {"type": "Modern"}})).await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    let _running = run(&cluster);
    decides(&cluster, &of(Named::Modern), "it is decided").await;
    holds(&cluster, "apps", "w-tls-profile", &of(Named::Modern), "it is handed over").await;
    for (namespace, name) in [(HOME, DECISION), ("apps", "w-tls-profile")] {
        cluster.writes_over(namespace, name, json!({"profile.json": Profile::baseline().canonical()})).await;
        holds(&cluster, namespace, name, &of(Named::Modern), "written over").await;
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), namespace);
        maps.delete(name, &DeleteParams::default()).await.unwrap();
        holds(&cluster, namespace, name, &of(Named::Modern), "deleted").await;
    }
    assert_eq!(cluster.template_annotation("w", super::HASH).await, Some(hash()));
}
