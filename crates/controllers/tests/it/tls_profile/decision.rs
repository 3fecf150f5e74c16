//! What is decided, and what it takes to change it.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use paddock_apiserver::fault::{Action, Rule};
use paddock_controllers::tls_profile::{DECISION, Options, controllers, definition};
use paddock_tls_profile::{Generation, Known, Named, Profile};
use paddock_trials::Subject;
use serde_json::json;

use super::{Cluster, HOME, decider, hash, modern, options, resource};
use paddock_trials::World;

#[tokio::test]
async fn the_platforms_profile_is_decided_on_with_the_platform() {
    let cluster = modern().await;
    let (contract, profile) = cluster.decided().await.unwrap();
    assert_eq!(profile, Named::Modern.profile(Generation::C));
    assert_eq!(contract.source.kind, "OpenShiftAPIServer");
    assert_eq!((contract.platform["scc"], contract.platform["monitoring"]), (Known::Yes, Known::No));
}

#[tokio::test]
async fn a_cluster_without_opinion_gets_the_built_in_profile() {
    let cluster = Cluster::new().await;
    decider().start(&cluster).settle().await;
    let (contract, profile) = cluster.decided().await.unwrap();
    assert_eq!((contract.source.kind.as_str(), profile), ("Builtin", Profile::baseline()));
}

#[tokio::test]
async fn tls_f07_tls_d05_a_missing_object_means_intermediate() {
    let cluster = Cluster::new().await;
    cluster.openshift().await;
    decider().start(&cluster).settle().await;
    let (contract, profile) = cluster.decided().await.unwrap();
    assert_eq!((contract.source.kind.as_str(), profile), ("OpenShiftAPIServer", Profile::baseline()));
}

#[tokio::test]
async fn tls_f06_tls_d04_a_profile_kind_that_comes_later_is_picked_up() {
    let cluster = Cluster::new().await;
    cluster.defines("security.openshift.io", "SecurityContextConstraints", "securitycontextconstraints").await;
    let subject = decider();
    let mut process = subject.start(&cluster);
    process.settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.source.kind, "Builtin");
    cluster.defines("config.openshift.io", "APIServer", "apiservers").await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Modern", "modern": {}}})).await;
    for _ in 0..3 {
        process.settle().await;
        subject.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(cluster.decided().await.unwrap().0.source.profile, "Modern");
}

#[tokio::test]
async fn tls_f05_tls_d03_a_kind_that_is_gone_for_a_moment_changes_nothing() {
    let cluster = modern().await;
    let before = cluster.decided().await;
    let subject = decider();
    let mut process = subject.start(&cluster);
    process.settle().await;
    let definitions = resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api = Api::<DynamicObject>::all_with(cluster.client(), &definitions);
    api.delete("apiservers.config.openshift.io", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert_eq!(cluster.decided().await, before);
}

#[tokio::test]
async fn tls_f08_a_forbidden_source_keeps_the_last_good_profile() {
    let cluster = modern().await;
    let before = cluster.decided().await;
    cluster.0.faults().add(Rule::new(Action::Status(403)).resource("apiservers").times(100));
    decider().start(&cluster).settle().await;
    assert_eq!(cluster.decided().await, before);
}

#[tokio::test]
async fn tls_f09_a_bad_profile_keeps_the_last_good_one_and_says_so_on_the_policy() {
    let cluster = modern().await;
    cluster.policy(json!({})).await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Custom"}})).await;
    decider().start(&cluster).settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.source.profile, "Modern");
    assert_eq!(cluster.condition("ProfileResolved").await, Some(("False".to_owned(), "Invalid".to_owned())));
}

#[tokio::test]
async fn the_policys_definition_refuses_what_cannot_be_followed() {
    let cluster = Cluster::new().await;
    let plural = "customresourcedefinitions";
    cluster.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", plural, None, definition()).await;
    let api = cluster.policies();
    let mut refused = Vec::new();
    for (name, spec) in [
        ("other", json!({})),
        ("cluster", json!({"source": "Inline"})),
        ("cluster", json!({"source": "ConfigMap"})),
        ("cluster", json!({"source": "HostedCluster"})),
        ("cluster", json!({"profile": {"type": "Modern", "custom": {}}})),
        ("cluster", json!({"components": [{"profile": {"type": "Modern"}}]})),
        ("cluster", json!({"components": [{"selector": {"matchLabels": {"a": "b"}}}]})),
        ("cluster", json!({"components": [{"selector": {"matchLabels": {}}, "reload": "Hot"}]})),
        ("cluster", json!({"components": [{"selector": {"matchLabels": {"a": "b"}}, "profile": {"type": "Custom"}}]})),
        (
            "cluster",
            json!({"floor": "VersionTLS13", "components": [{
                "selector": {"matchLabels": {"a": "b"}},
                "profile": {"type": "Custom", "custom": {"minTLSVersion": "VersionTLS12"}},
            }]}),
        ),
        (
            "cluster",
            json!({"profile": {"type": "Custom", "custom": {"minTLSVersion": "VersionTLS12"}}, "floor": "VersionTLS13"}),
        ),
    ] {
        let object = json!({
            "apiVersion": "paddock.dev/v1alpha1", "kind": "ServingPolicy", "metadata": {"name": name}, "spec": spec,
        });
        let error = api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap_err();
        let kube::Error::Api(status) = error else { panic!("{error}") };
        refused.push(status.message);
    }
    insta::assert_snapshot!(refused.join("\n"), @r#"
    ServingPolicy.paddock.dev "other" is invalid: <nil>: Invalid value: there is one ServingPolicy, called cluster
    ServingPolicy.paddock.dev "cluster" is invalid: spec: Invalid value: source Inline needs profile
    ServingPolicy.paddock.dev "cluster" is invalid: spec: Invalid value: source ConfigMap needs configMap
    ServingPolicy.paddock.dev "cluster" is invalid: spec: Invalid value: source HostedCluster needs hostedCluster
    ServingPolicy.paddock.dev "cluster" is invalid: spec.profile: Invalid value: custom is there exactly when type is Custom
    ServingPolicy.paddock.dev "cluster" is invalid: spec.components[0]: Invalid value: either ref or selector says which workloads
    ServingPolicy.paddock.dev "cluster" is invalid: spec.components[0]: Invalid value: say what is otherwise: profile, reload or metricsAuth
    ServingPolicy.paddock.dev "cluster" is invalid: spec.components[0].selector.matchLabels: Invalid value: 0: spec.components[0].selector.matchLabels in body should have at least 1 properties
    ServingPolicy.paddock.dev "cluster" is invalid: spec.components[0].profile: Invalid value: custom is there exactly when type is Custom
    ServingPolicy.paddock.dev "cluster" is invalid: spec: Invalid value: floor is above the minTLSVersion of a component: raise that instead
    ServingPolicy.paddock.dev "cluster" is invalid: spec: Invalid value: floor is above the profile's own minTLSVersion: raise that instead
    "#);
}

#[tokio::test]
async fn decider_second_pass_writes_nothing() {
    let cluster = Cluster::new().await;
    cluster.openshift().await;
    paddock_trials::second_pass_writes_nothing(&cluster, &decider()).await;
}

#[tokio::test]
async fn tls_f11_an_edit_that_says_the_same_writes_nothing() {
    let cluster = modern().await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    let before = process.tap.writes().len();
    cluster.asks(json!({"audit": {"profile": "Default"}})).await;
    process.settle().await;
    assert_eq!(process.tap.writes().len(), before);
}

#[tokio::test]
async fn tls_f04_an_operator_that_starts_in_an_outage_writes_nothing_and_goes_on_when_it_ends() {
    let cluster = modern().await;
    let before = cluster.decided().await;
    cluster.0.faults().add(Rule::new(Action::Status(503)).times(40));
    let subject = decider();
    let mut process = subject.start(&cluster);
    for _ in 0..4 {
        let _refused = process.round().await;
    }
    assert_eq!(process.tap.writes().len(), 0);
    cluster.0.faults().clear();
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Intermediate", "intermediate": {}}})).await;
    process.settle().await;
    assert_ne!(cluster.decided().await, before);
}

#[tokio::test]
async fn tls_f12_a_decision_that_somebody_writes_over_is_not_believed() {
    let cluster = modern().await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    let before = cluster.decided().await;
    let (mut contract, weaker) = (before.clone().unwrap().0, Profile::baseline());
    contract.profile_hash = Some(weaker.hash());
    let data =
        json!({"profile.json": weaker.canonical(), "contract.json": contract.canonical(), "platform.json": "{}"});
    cluster.writes_over(HOME, DECISION, data).await;
    // Nor while the source cannot be read, when the last decision is all there is.
    cluster.0.faults().add(Rule::new(Action::Status(403)).resource("apiservers").times(100));
    process.settle().await;
    assert_eq!(cluster.decided().await, before);
}

#[tokio::test]
async fn tls_f13_a_decision_that_is_deleted_comes_back() {
    let cluster = modern().await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    let before = cluster.decided().await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(cluster.client(), HOME);
    maps.delete(DECISION, &DeleteParams::default()).await.unwrap();
    // Events are called by their time.
    process.cx.clock().advance(Duration::from_secs(1));
    cluster.0.faults().add(Rule::new(Action::Status(403)).resource("apiservers").times(100));
    process.settle().await;
    assert_eq!(cluster.decided().await, before);
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::all(cluster.client());
    let told = events.list(&kube::api::ListParams::default()).await.unwrap().items;
    assert!(told.iter().any(|event| event.reason.as_deref() == Some("TLSProfileTampered")), "{told:?}");
}

#[tokio::test]
async fn tls_f11_the_last_of_many_edits_wins() {
    let cluster = modern().await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    let generation = cluster.decided().await.unwrap().0.generation;
    for kind in ["Intermediate", "Modern", "Old", "Intermediate"] {
        cluster.asks(json!({"tlsSecurityProfile": {"type": kind}})).await;
    }
    process.settle().await;
    let (contract, profile) = cluster.decided().await.unwrap();
    assert_eq!(profile, Named::Intermediate.profile(Generation::C));
    assert_eq!(contract.generation, generation + 1, "what nobody was handed is no generation");
}

#[tokio::test]
async fn tls_d06_groups_are_read_by_the_name_that_the_api_gives_them() {
    let cluster = modern().await;
    let custom =
        json!({"ciphers": ["TLS_AES_128_GCM_SHA256"], "minTLSVersion": "VersionTLS13", "groups": ["secp384r1"]});
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Custom", "custom": custom}})).await;
    decider().start(&cluster).settle().await;
    assert_eq!(cluster.decided().await.unwrap().1.groups, Some(vec!["secp384r1".to_owned()]));
}

#[tokio::test]
async fn tls_d11_names_with_quotes_and_newlines_arrive_as_they_are() {
    let cluster = modern().await;
    let odd = "it's {{.}}\n\"quoted\": <&>";
    let custom = json!({"ciphers": ["TLS_AES_128_GCM_SHA256", odd], "minTLSVersion": "VersionTLS13"});
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Custom", "custom": custom}})).await;
    decider().start(&cluster).settle().await;
    assert_eq!(cluster.decided().await.unwrap().1.ciphers.unwrap()[1], odd);
}

#[tokio::test]
async fn tls_f10_ten_thousand_ciphers_keep_the_last_good_profile() {
    let cluster = modern().await;
    let before = cluster.decided().await;
    let names: Vec<String> = (0..10_000).map(|number| format!("SUITE-{number}")).collect();
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Custom", "custom": {"ciphers": names}}})).await;
    decider().start(&cluster).settle().await;
    assert_eq!(cluster.decided().await, before);
}

#[tokio::test]
async fn tls_f18_requests_that_fail_now_and_then_lead_to_the_same_decision() {
    let cluster = modern().await;
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Old", "old": {}}})).await;
    let mut process = decider().start(&cluster);
    for nth in [1, 3, 5, 7] {
        cluster.0.faults().add(Rule::new(Action::Status(503)).nth(nth));
        let _failed = process.round().await;
    }
    cluster.0.faults().clear();
    process.settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.source.profile, "Old");
}

#[tokio::test]
async fn tls_f27_fips_is_part_of_the_decision() {
    let cluster = modern().await;
    let of = async |fips: bool| {
        let subject = Subject::woken_by_others(move || controllers(Options { fips, ..options() }).decider);
        subject.start(&cluster).settle().await;
        cluster.decided().await.unwrap().0.decision
    };
    let (without, with) = (of(false).await, of(true).await);
    assert_eq!((without.fips, with.fips), (false, true));
    assert_ne!(without.hash(), with.hash());
}

#[tokio::test]
async fn a_config_map_is_a_source_and_followed() {
    let cluster = modern().await;
    let source = json!({"source": "ConfigMap", "configMap": {"namespace": "apps", "name": "profile"}});
    cluster.policy(source).await;
    let text = Named::Intermediate.profile(Generation::C).canonical();
    let map = json!({"metadata": {"name": "profile"}, "data": {"profile.json": text}});
    cluster.create("v1", "ConfigMap", "configmaps", Some("apps"), map).await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.source.kind, "ConfigMap");
    cluster
        .writes_over("apps", "profile", json!({"profile.json": Named::Modern.profile(Generation::C).canonical()}))
        .await;
    process.settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.profile_hash, Some(hash()));
}

#[tokio::test]
async fn tls_f08_a_source_that_goes_away_does_not_make_way_for_another() {
    let cluster = modern().await;
    cluster.policy(json!({"source": "Inline", "profile": {"type": "Modern"}})).await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    let gone =
        json!({"spec": {"source": "ConfigMap", "profile": null, "configMap": {"namespace": "apps", "name": "none"}}});
    cluster.policies().patch("cluster", &PatchParams::default(), &Patch::Merge(gone)).await.unwrap();
    process.settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.profile_hash, Some(hash()));
    assert_eq!(cluster.condition("SourceAvailable").await, Some(("False".to_owned(), "SourceUnavailable".to_owned())));
}

#[tokio::test]
async fn tls_f24_a_process_that_loses_the_lease_and_regains_it_reads_again_what_was_decided() {
    let cluster = modern().await;
    let mut first = decider().start(&cluster);
    first.cx.begin_term();
    first.settle().await;
    // Meanwhile another process leads, and decides otherwise.
    cluster.asks(json!({"tlsSecurityProfile": {"type": "Intermediate"}})).await;
    decider().start(&cluster).settle().await;
    let (decided, _) = cluster.decided().await.unwrap();
    cluster.0.faults().add(Rule::new(Action::Status(403)).resource("apiservers").times(100));
    first.cx.begin_term();
    first.settle().await;
    assert_eq!(
        cluster.decided().await.unwrap().0,
        decided,
        "while the source cannot be read, the newest decision stays"
    );
}

#[tokio::test]
async fn a_hosted_cluster_is_a_source_where_the_policy_names_one() {
    let cluster = modern().await;
    cluster.hypershift().await;
    cluster.policy(json!({"source": "HostedCluster", "hostedCluster": {"namespace": "apps", "name": "one"}})).await;
    let mut process = decider().start(&cluster);
    process.settle().await;
    assert_eq!(
        cluster.decided().await.unwrap().0.source.profile,
        "Modern",
        "before it is there, what was decided stays"
    );
    assert_eq!(cluster.condition("SourceAvailable").await, Some(("False".to_owned(), "SourceUnavailable".to_owned())));

    let hosted = resource("hypershift.openshift.io/v1beta1", "HostedCluster", "hostedclusters");
    let hosted: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "apps", &hosted);
    let profile = |named: &str| json!({"configuration": {"apiServer": {"tlsSecurityProfile": {"type": named}}}});
    let object = json!({
        "apiVersion": "hypershift.openshift.io/v1beta1", "kind": "HostedCluster", "metadata": {"name": "one"},
        "spec": profile("Old"), "status": {"version": {"desired": {"version": "4.22.1"}}},
    });
    hosted.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    process.settle().await;
    let (contract, old) = cluster.decided().await.unwrap();
    assert_eq!((contract.source.kind.as_str(), old), ("HostedCluster", Named::Old.profile(Generation::B)));

    hosted.patch("one", &PatchParams::default(), &Patch::Merge(json!({"spec": profile("Weak")}))).await.unwrap();
    process.settle().await;
    assert_eq!(cluster.condition("ProfileResolved").await, Some(("False".to_owned(), "Invalid".to_owned())));
    hosted.delete("one", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert_eq!(cluster.decided().await.unwrap().0.source, contract.source, "a source that goes away changes nothing");
}
