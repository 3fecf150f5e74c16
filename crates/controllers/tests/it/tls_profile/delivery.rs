//! What a workload gets, and when.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use paddock_controllers::tls_profile::{Controllers, DECISION, controllers};
use paddock_tls_profile::{Contract, Generation, Named, Profile};
use paddock_trials::{Subject, World};
use serde_json::json;

use super::{Cluster, HASH, HOME, decider, delivered, deliverer, hash, modern, options, workload};

#[tokio::test]
async fn tls_d01_the_template_is_written_after_the_files_were_read_back() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    let process = delivered(&cluster).await;
    let written: Vec<String> = process.tap.writes().iter().map(|write| write.resource.clone()).collect();
    let at = |resource: &str| written.iter().position(|one| one == resource).unwrap();
    assert!(at("configmaps") < at("deployments"), "{written:?}");
    assert_eq!(cluster.template_annotation("w", HASH).await, Some(hash()));
    let files = cluster.files("w-tls-profile").await.unwrap();
    let contract = Contract::parse(files["contract.json"].as_bytes()).unwrap().contract;
    assert_eq!(contract.profile_hash, Some(hash()));
    assert_eq!(contract.component, "apps/deployments/w");
}

#[tokio::test]
async fn delivery_second_pass_writes_nothing() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({"replicas": 2})).await;
    paddock_trials::second_pass_writes_nothing(&cluster, &deliverer()).await;
}

#[tokio::test]
async fn tls_f15_crash_after_every_write_converges() {
    let world = async || {
        let cluster = modern().await;
        cluster.deployment("w", json!({}), json!({}), json!({"replicas": 2})).await;
        cluster
    };
    paddock_trials::crash_after_every_write_converges(world, &deliverer()).await;
}

#[tokio::test]
async fn tls_f12_a_tampered_map_is_put_right() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    let mut process = delivered(&cluster).await;
    let good = cluster.files("w-tls-profile").await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "apps");
    let weaker = json!({"data": {"profile.json": Profile::baseline().canonical()}});
    maps.patch("w-tls-profile", &PatchParams::default(), &Patch::Merge(weaker)).await.unwrap();
    process.settle().await;
    assert_eq!(cluster.files("w-tls-profile").await, good);
}

#[tokio::test]
async fn tls_f13_tls_d07_a_deleted_map_comes_back() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    let mut process = delivered(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "apps");
    maps.delete("w-tls-profile", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert!(cluster.files("w-tls-profile").await.is_some());
}

#[tokio::test]
async fn tls_f14_an_annotation_that_is_removed_again_and_again_is_left_alone() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    let mut process = delivered(&cluster).await;
    let remove = json!({"spec": {"template": {"metadata": {"annotations": {HASH: null}}}}});
    for _ in 0..4 {
        cluster.deployments().patch("w", &PatchParams::default(), &Patch::Merge(&remove)).await.unwrap();
        process.settle().await;
    }
    assert_eq!(cluster.template_annotation("w", HASH).await, None);
}

#[tokio::test]
async fn tls_d08_a_roll_leaves_pods_to_answer() {
    let cluster = modern().await;
    let spec = json!({"replicas": 2, "strategy": {"type": "Recreate"}});
    cluster.deployment("w", json!({}), json!({}), spec).await;
    delivered(&cluster).await;
    let strategy = cluster.deployments().get("w").await.unwrap().spec.unwrap().strategy.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client(), "apps");
    assert!(budgets.get_opt("w-tls-profile").await.unwrap().is_some());
}

#[tokio::test]
async fn lower_orders_roll_first() {
    let cluster = modern().await;
    let order = |order: &str| json!({"paddock.dev/tls-profile-order": order});
    cluster.deployment("canary", json!({}), order("1"), json!({})).await;
    cluster.deployment("webhook", json!({}), order("2"), json!({})).await;
    let mut process = delivered(&cluster).await;
    assert_eq!(cluster.template_annotation("webhook", HASH).await, None);
    let done = json!({"status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}});
    cluster.deployments().patch_status("canary", &PatchParams::default(), &Patch::Merge(done)).await.unwrap();
    process.settle().await;
    assert_eq!(cluster.template_annotation("webhook", HASH).await, Some(hash()));
}

#[tokio::test]
async fn a_workload_that_reloads_by_itself_never_restarts() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({"paddock.dev/tls-profile-reload": "Hot"}), json!({})).await;
    delivered(&cluster).await;
    let deployment = cluster.deployments().get("w").await.unwrap();
    assert_eq!(deployment.metadata.generation, Some(1));
    assert_eq!(deployment.metadata.annotations.unwrap()[HASH], hash());
}

#[tokio::test]
async fn a_node_agent_never_restarts() {
    let cluster = modern().await;
    let mut agent = workload("agent", json!({}), json!({"paddock.dev/tls-profile-reload": "Roll"}));
    agent["spec"]["template"]["spec"]["hostNetwork"] = true.into();
    cluster.create("apps/v1", "DaemonSet", "daemonsets", Some("apps"), agent).await;
    delivered(&cluster).await;
    let agents: Api<DaemonSet> = Api::namespaced(cluster.client(), "apps");
    assert_eq!(agents.get("agent").await.unwrap().metadata.generation, Some(1));
    assert!(cluster.files("agent-tls-profile").await.is_some());
}

#[tokio::test]
async fn operands_of_nmstate_get_what_their_own_operator_writes() {
    let cluster = modern().await;
    let labels = json!({"paddock.dev/tls-profile-format": "nmstate"});
    let annotations = json!({"paddock.dev/tls-profile-configmap": "nmstate-tls-config"});
    cluster.deployment("nmstate-webhook", labels, annotations, json!({})).await;
    delivered(&cluster).await;
    let files = cluster.files("nmstate-tls-config").await.unwrap();
    let (text, _) = Named::Modern.profile(Generation::C).canonical_for_nmstate();
    assert_eq!(files, [("profile.json".to_owned(), text.clone())].into());
    let annotation = cluster.template_annotation("nmstate-webhook", "nmstate.io/tls-profile-hash").await;
    assert_eq!(annotation, Some(paddock_tls_profile::hex_sha256(text.as_bytes())));
    let pod = cluster.deployments().get("nmstate-webhook").await.unwrap().spec.unwrap().template.spec.unwrap();
    let env = pod.containers[0].env.clone().unwrap();
    assert_eq!((env[0].name.as_str(), env[0].value.as_deref()), ("IS_OPENSHIFT", Some("true")));
}

#[tokio::test]
async fn who_does_not_follow_is_left_alone() {
    let cluster = modern().await;
    let mut other = workload("other", json!({}), json!({}));
    other["metadata"]["labels"] = json!({});
    cluster.create("apps/v1", "Deployment", "deployments", Some("apps"), other).await;
    let process = delivered(&cluster).await;
    assert_eq!(process.tap.writes().len(), 0);
}

#[tokio::test]
async fn tls_f12_a_decision_that_was_written_over_is_handed_to_nobody() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    let Controllers { decider, deliverer, .. } = controllers(options());
    Subject::woken_by_others(move || decider.clone()).start(&cluster).settle().await;
    let mut delivering = Subject::woken_by_others(move || deliverer.clone()).start(&cluster);
    delivering.settle().await;
    let good = cluster.files("w-tls-profile").await;
    let (mut contract, _) = cluster.decided().await.unwrap();
    contract.profile_hash = Some(Profile::baseline().hash());
    let weaker = json!({"profile.json": Profile::baseline().canonical(), "contract.json": contract.canonical()});
    cluster.writes_over(HOME, DECISION, weaker).await;
    delivering.settle().await;
    assert_eq!(cluster.files("w-tls-profile").await, good);
}

#[tokio::test]
async fn tls_f19_tls_d02_every_follower_is_told_whatever_it_is_called() {
    let cluster = modern().await;
    for name in ["nmstate", "other", "third"] {
        cluster.deployment(name, json!({}), json!({}), json!({})).await;
    }
    let mut process = delivered(&cluster).await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Intermediate", "intermediate": {}}})).await;
    decider().start(&cluster).settle().await;
    process.settle().await;
    let wanted = Some(Named::Intermediate.profile(Generation::C).hash());
    for name in ["nmstate", "other", "third"] {
        assert_eq!(cluster.template_annotation(name, HASH).await, wanted, "{name}");
    }
}

#[tokio::test]
async fn tls_d10_one_follower_that_cannot_be_served_holds_up_no_other() {
    let cluster = modern().await;
    cluster.deployment("bad", json!({}), json!({"paddock.dev/tls-profile-reload": "Warm"}), json!({})).await;
    cluster.deployment("good", json!({}), json!({}), json!({})).await;
    delivered(&cluster).await;
    assert_eq!(cluster.template_annotation("bad", HASH).await, None);
    assert_eq!(cluster.template_annotation("good", HASH).await, Some(hash()));
}

#[tokio::test]
async fn tls_f14_a_config_map_of_somebody_else_is_left_alone() {
    let cluster = modern().await;
    let theirs = json!({"metadata": {"name": "w-tls-profile"}, "data": {"a": "b"}});
    cluster.create("v1", "ConfigMap", "configmaps", Some("apps"), theirs).await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    delivered(&cluster).await;
    assert_eq!(cluster.files("w-tls-profile").await, Some([("a".to_owned(), "b".to_owned())].into()));
    assert_eq!(cluster.template_annotation("w", HASH).await, None);
}

#[tokio::test]
async fn two_followers_never_share_a_config_map() {
    let cluster = modern().await;
    let same = json!({"paddock.dev/tls-profile-configmap": "shared"});
    cluster.deployment("a", json!({}), same.clone(), json!({})).await;
    cluster.deployment("b", json!({}), same, json!({})).await;
    delivered(&cluster).await;
    let contract = cluster.files("shared").await.unwrap()["contract.json"].clone();
    assert_eq!(Contract::parse(contract.as_bytes()).unwrap().contract.component, "apps/deployments/a");
    assert_eq!(cluster.template_annotation("b", HASH).await, None);
}

/// The operands of kubernetes-nmstate: webhook and metrics mount one map.
async fn operands() -> Cluster {
    let cluster = modern().await;
    for name in ["metrics", "webhook"] {
        let labels = json!({"paddock.dev/tls-profile-format": "nmstate"});
        let annotations = json!({"paddock.dev/tls-profile-configmap": "nmstate-tls-config"});
        cluster.deployment(name, labels, annotations, json!({"replicas": 2})).await;
    }
    cluster
}

async fn owners(cluster: &Cluster) -> Vec<(String, bool)> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "apps");
    let owners = maps.get("nmstate-tls-config").await.unwrap().metadata.owner_references.unwrap_or_default();
    owners.into_iter().map(|owner| (owner.name, owner.controller == Some(true))).collect()
}

#[tokio::test]
async fn tls_f24_the_operands_of_nmstate_share_one_map_and_both_are_told() {
    let cluster = operands().await;
    delivered(&cluster).await;
    let (text, _) = Named::Modern.profile(Generation::C).canonical_for_nmstate();
    assert_eq!(cluster.files("nmstate-tls-config").await, Some([("profile.json".to_owned(), text.clone())].into()));
    let hash = paddock_tls_profile::hex_sha256(text.as_bytes());
    for name in ["metrics", "webhook"] {
        assert_eq!(
            cluster.template_annotation(name, "nmstate.io/tls-profile-hash").await,
            Some(hash.clone()),
            "{name}"
        );
    }
    assert_eq!(owners(&cluster).await, [("metrics".to_owned(), false), ("webhook".to_owned(), false)]);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client(), "apps");
    for name in ["metrics", "webhook"] {
        let selector = budgets.get(&format!("{name}-tls-profile")).await.unwrap().spec.unwrap().selector.unwrap();
        assert_eq!(selector.match_labels.unwrap()["app"], name);
    }
}

#[tokio::test]
async fn operands_that_share_a_map_second_pass_writes_nothing() {
    paddock_trials::second_pass_writes_nothing(&operands().await, &deliverer()).await;
}

#[tokio::test]
async fn tls_f15_operands_that_share_a_map_crash_after_every_write_converges() {
    paddock_trials::crash_after_every_write_converges(operands, &deliverer()).await;
}

#[tokio::test]
async fn tls_d15_a_shared_map_stays_as_long_as_one_of_its_workloads_does() {
    let cluster = operands().await;
    let mut process = delivered(&cluster).await;
    cluster.deployments().delete("metrics", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert!(cluster.files("nmstate-tls-config").await.is_some());
    assert_eq!(owners(&cluster).await, [("webhook".to_owned(), false)]);
}

#[tokio::test]
async fn operands_that_are_told_different_things_do_not_share_a_map() {
    let cluster = operands().await;
    let metrics = json!({"kind": "Deployment", "namespace": "apps", "name": "metrics"});
    cluster.policy(json!({"components": [{"ref": metrics, "profile": {"type": "Intermediate"}}]})).await;
    decider().start(&cluster).settle().await;
    delivered(&cluster).await;
    assert!(cluster.files("nmstate-tls-config").await.unwrap()["profile.json"].contains("VersionTLS12"));
    assert!(cluster.template_annotation("metrics", "nmstate.io/tls-profile-hash").await.is_some());
    assert_eq!(cluster.template_annotation("webhook", "nmstate.io/tls-profile-hash").await, None);
}

#[tokio::test]
async fn tls_f14_a_paused_deployment_stays_paused() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({"paused": true, "replicas": 3})).await;
    delivered(&cluster).await;
    let spec = cluster.deployments().get("w").await.unwrap().spec.unwrap();
    assert_eq!((spec.paused, spec.replicas), (Some(true), Some(3)));
}

#[tokio::test]
async fn tls_d08_a_strategy_that_takes_the_only_pod_is_not_used() {
    let cluster = modern().await;
    let spec = json!({"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}});
    cluster.deployment("w", json!({}), json!({}), spec).await;
    delivered(&cluster).await;
    let strategy = cluster.deployments().get("w").await.unwrap().spec.unwrap().strategy.unwrap();
    let rolling = serde_json::to_value(strategy.rolling_update).unwrap();
    assert_eq!(rolling, json!({"maxSurge": 1, "maxUnavailable": 0}));
}

#[tokio::test]
async fn tls_d15_what_was_handed_over_goes_with_its_workload() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    delivered(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "apps");
    let owners = maps.get("w-tls-profile").await.unwrap().metadata.owner_references.unwrap();
    let uid = cluster.deployments().get("w").await.unwrap().metadata.uid.unwrap();
    assert_eq!((owners.len(), owners[0].uid.as_str()), (1, uid.as_str()));
}

#[tokio::test]
async fn tls_f25_what_the_platform_is_is_said_in_the_words_that_operands_read() {
    let cluster = Cluster::new().await;
    decider().start(&cluster).settle().await;
    let labels = json!({"paddock.dev/tls-profile-format": "nmstate"});
    cluster.deployment("w", labels, json!({}), json!({})).await;
    delivered(&cluster).await;
    let pod = cluster.deployments().get("w").await.unwrap().spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].env.as_ref().unwrap()[0].value.as_deref(), Some("false"));
}

#[tokio::test]
async fn a_pod_that_reloads_by_itself_is_told_what_was_written() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({"paddock.dev/tls-profile-reload": "Hot"}), json!({})).await;
    cluster.pod("w-abc-1", "w", "w-abc").await;
    cluster.pod("other-abc-1", "w", "other-abc").await;
    delivered(&cluster).await;
    assert_eq!(cluster.pod_annotation("w-abc-1").await, Some(hash()));
    assert_eq!(cluster.pod_annotation("other-abc-1").await, None, "not a pod of the workload");
}

#[tokio::test]
async fn a_disruption_budget_of_somebody_else_that_has_our_name_is_told_with_how_to_mend_it() {
    let cluster = modern().await;
    cluster.policy(json!({})).await;
    let other = json!({
        "metadata": {"name": "w-tls-profile"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "other"}}},
    });
    cluster.create("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", Some("apps"), other).await;
    cluster.deployment("w", json!({}), json!({}), json!({"replicas": 2})).await;
    let Controllers { decider, deliverer, .. } = controllers(options());
    let mut delivering = Subject::woken_by_others(move || deliverer.clone()).start(&cluster);
    let mut deciding = Subject::woken_by_others(move || decider.clone()).start(&cluster);
    delivering.settle().await;
    deciding.settle().await;
    assert_eq!(cluster.template_annotation("w", HASH).await, None, "it does not roll unguarded");
    assert_eq!(cluster.condition("Stalled").await, Some(("True".to_owned(), "Stalled".to_owned())));
    let status = cluster.policies().get("cluster").await.unwrap().data["status"]["components"][0].clone();
    let told = "PodDisruptionBudget w-tls-profile is somebody else's and does not cover the pods, so that none can guard them while they roll: \
        let it cover them, or rename it";
    assert_eq!((status["reason"].as_str(), status["message"].as_str()), (Some("BudgetTaken"), Some(told)));

    let covers = json!({"spec": {"selector": {"matchLabels": {"app": "w"}}}});
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client(), "apps");
    budgets.patch("w-tls-profile", &PatchParams::default(), &Patch::Merge(covers)).await.unwrap();
    delivering.settle().await;
    assert_eq!(cluster.template_annotation("w", HASH).await, Some(hash()));
}

#[tokio::test]
async fn pods_of_a_roll_carry_the_label_by_which_they_are_watched() {
    let cluster = modern().await;
    cluster.deployment("w", json!({}), json!({}), json!({})).await;
    delivered(&cluster).await;
    let template = cluster.deployments().get("w").await.unwrap().spec.unwrap().template;
    assert_eq!(template.metadata.unwrap().labels.unwrap()["paddock.dev/tls-profile"], "follow");
}
