use paddock_tls_profile::{Contract, Named, Version};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tls_profile::follower::FOLLOW;

fn component(spec: Value) -> Result<Component, String> {
    serde_json::from_value::<Entry>(spec).map_err(|error| error.to_string())?.read()
}

fn about_web(more: &Value) -> Component {
    let mut spec = json!({"ref": {"kind": "Deployment", "namespace": "apps", "name": "web"}});
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    component(spec).unwrap()
}

fn decided(components: &[Component], decision: Decision) -> Published {
    let (overrides, _) = decide(components, &[], decision, Generation::C);
    let profile = Named::Intermediate.profile(Generation::C);
    let contract = Contract { profile_hash: Some(profile.hash()), decision, generation: 3, ..Contract::baseline("") };
    Published { contract, profile, overrides }
}

fn workload(name: &str) -> (Workload, Value) {
    let object = json!({"metadata": {"name": name, "namespace": "apps", "labels": {FOLLOW: "follow", "tier": "edge"}}});
    (Workload::of(WorkloadKind::Deployment, &object).unwrap(), object)
}

fn told_to(published: &Published, name: &str) -> (Told, Follower) {
    let (key, object) = workload(name);
    let mut follower = Follower::read(&key, &object).unwrap().unwrap();
    (told(published.clone(), &key, &object, &mut follower), follower)
}

#[test]
fn a_component_is_told_its_own_profile_and_everybody_else_the_common_one() {
    let published = decided(&[about_web(&json!({"profile": {"type": "Modern"}}))], Decision::default());
    let (web, _) = told_to(&published, "web");
    assert_eq!(web.published.profile, Named::Modern.profile(Generation::C));
    assert_eq!(web.published.contract.profile_hash, Some(web.published.profile.hash()));
    let source = &web.published.contract.source;
    assert_eq!(
        (source.kind.as_str(), source.profile.as_str(), source.table),
        ("Component", "Modern", Some(Generation::C))
    );
    assert_eq!(web.replaces.as_deref(), Some("Intermediate of Builtin"));
    assert_eq!(told_to(&published, "other").0, Told { published, replaces: None });
}

#[test]
fn the_first_entry_that_names_a_workload_counts() {
    let edge = component(json!({"selector": {"matchLabels": {"tier": "edge"}}, "profile": {"type": "Old"}})).unwrap();
    let published = decided(&[about_web(&json!({"profile": {"type": "Modern"}})), edge], Decision::default());
    let name = |workload| told_to(&published, workload).0.published.contract.source.profile;
    assert_eq!((name("web"), name("other")), ("Modern".to_owned(), "Old".to_owned()));
}

#[test]
fn a_selector_holds_in_its_namespace_and_for_all_its_labels() {
    let chooses = |selector: Value| {
        let one = component(json!({"selector": selector, "profile": {"type": "Modern"}})).unwrap();
        told_to(&decided(&[one], Decision::default()), "web").0.replaces.is_some()
    };
    assert!(chooses(json!({"matchLabels": {"tier": "edge"}})));
    assert!(chooses(json!({"namespace": "apps", "matchLabels": {"tier": "edge"}})));
    assert!(!chooses(json!({"namespace": "else", "matchLabels": {"tier": "edge"}})));
    assert!(!chooses(json!({"matchLabels": {"tier": "edge", "app": "web"}})));
}

#[test]
fn reload_and_metrics_are_told_by_themselves_and_a_node_agent_still_never_rolls() {
    let published = decided(&[about_web(&json!({"reload": "Hot", "metricsAuth": "Off"}))], Decision::default());
    let (web, follower) = told_to(&published, "web");
    assert_eq!((follower.reload, web.replaces), (Reload::Hot, None));
    assert_eq!(web.published.contract.metrics_auth, MetricsAuth::Off);
    assert_eq!(web.published.profile, published.profile);

    let agent = json!({"ref": {"kind": "DaemonSet", "namespace": "apps", "name": "agent"}, "reload": "Roll"});
    let published = decided(&[component(agent).unwrap()], Decision::default());
    let object = json!({
        "metadata": {"name": "agent", "namespace": "apps", "labels": {FOLLOW: "follow"}},
        "spec": {"template": {"spec": {"hostNetwork": true}}},
    });
    let key = Workload::of(WorkloadKind::DaemonSet, &object).unwrap();
    let mut follower = Follower::read(&key, &object).unwrap().unwrap();
    told(published, &key, &object, &mut follower);
    assert_eq!(follower.reload, Reload::Hot);
}

#[test]
fn tls_f09_an_entry_that_cannot_be_served_leaves_all_as_they_were() {
    let modern = about_web(&json!({"profile": {"type": "Modern"}}));
    let (before, finding) = decide(&[modern], &[], Decision::default(), Generation::C);
    assert_eq!(finding.map(|finding| (finding.holds, finding.reason)), Some((true, "Honored")));
    let bad = about_web(&json!({"profile": {"type": "Custom", "custom": {"groups": ["secp521r1"]}}}));
    for adherence in [Adherence::Legacy, Adherence::Strict] {
        let decision = Decision { adherence, ..Decision::default() };
        let (after, finding) = decide(std::slice::from_ref(&bad), &before, decision, Generation::C);
        let finding = finding.unwrap();
        assert_eq!((&after, finding.holds, finding.reason), (&before, false, "Unservable"));
        let told = "spec.components[0]: Custom: no key exchange group of the profile can be served; what components were told last stays";
        assert_eq!(finding.message, told);
    }
}

#[test]
fn what_is_wrong_with_an_entry_is_named() {
    let wrong = [
        json!({"profile": {"type": "Modern"}}),
        json!({"selector": {"matchLabels": {}}, "profile": {"type": "Modern"}}),
        json!({"selector": {"matchLabels": {"a": "b"}}, "profile": {"type": "Weak"}}),
        json!({"selector": {"matchLabels": {"a": "b"}}, "metricsAuth": "Maybe"}),
        json!({"ref": {"kind": "Job", "namespace": "a", "name": "b"}}),
    ];
    insta::assert_snapshot!(wrong.map(|spec| component(spec).unwrap_err()).join("\n"), @r#"
    either ref or selector says which workloads
    a selector without labels chooses everything: use spec.profile
    profile: type "Weak" is no profile: use Old, Intermediate, Modern or Custom
    metricsAuth "Maybe" is not known
    unknown variant `Job`, expected one of `DaemonSet`, `Deployment`, `StatefulSet`
    "#);
}

#[test]
fn tls_f12_entries_that_were_tampered_with_are_not_believed() {
    let published = decided(&[about_web(&json!({"profile": {"type": "Modern"}}))], Decision::default());
    let text = to_json(&published.overrides);
    assert_eq!(read(&text), Some(published.overrides));
    for (from, to) in
        [("VersionTLS13", "VersionTLS99"), ("which", "whose"), ("minTLSVersion", "minVersion"), ("Deployment", "Job")]
    {
        assert!(text.contains(from), "{from}: {text}");
        assert_eq!(read(&text.replace(from, to)), None, "{from}");
    }
}

proptest! {
    /// Whatever an entry asks for: its component serves nothing that the entry does not ask for and nothing below the floor, and where
    /// that cannot be, it is told what everybody is told.
    #[test]
    fn a_component_is_never_told_more_than_its_entry_and_the_floor(
        ciphers in proptest::option::of(proptest::collection::vec("[A-Z0-9_-]{1,30}|TLS_AES_128_GCM_SHA256|ECDHE-RSA-AES128-GCM-SHA256", 0..6)),
        groups in proptest::option::of(proptest::collection::vec("X25519|secp256r1|secp521r1|[a-z]{1,9}", 0..4)),
        version in 0..5_usize,
        floor in 0..5_usize,
        strict in any::<bool>(),
    ) {
        let profile = Profile { ciphers, groups, min_version: Version::ALL.get(version).copied() };
        let adherence = if strict { Adherence::Strict } else { Adherence::Legacy };
        let decision = Decision { adherence, floor: Version::ALL.get(floor).copied(), ..Decision::default() };
        let mut one = about_web(&json!({"reload": "Hot"}));
        one.profile = Some(Request::Custom(profile.clone()));
        let published = decided(&[one], decision);
        let (web, _) = told_to(&published, "web");
        let told = &web.published;
        prop_assert_eq!(told.contract.decision, decision);
        // An empty list of groups and none are written alike.
        prop_assert!(told.profile.canonical() == profile.canonical() || (web.replaces.is_none() && told.profile == published.profile));
        let served = resolve(&told.profile, &Backend::RUSTLS_AWS_LC, &told.contract.decision.options(None)).effective;
        let lowest = served.and_then(|served| served.versions().first().copied());
        prop_assert!(lowest.is_none() || lowest >= decision.floor);
    }
}
