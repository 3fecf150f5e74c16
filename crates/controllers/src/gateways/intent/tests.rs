use super::*;

fn rules() -> Rules {
    Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap())
}

fn intents(text: &str) -> Intents {
    Intents::default().next(Some(text), &rules())
}

fn problems(intents: &Intents) -> Vec<String> {
    intents.problems().map(ToString::to_string).collect()
}

#[test]
fn name_alone_gets_every_default() {
    let intents = intents("- name: tenant-b\n");
    let intent = intents.entries["tenant-b"].intent.clone().unwrap();
    assert_eq!(intent.image.to_string(), "ghcr.io/nvidia/openshell/gateway:0.0.71");
    assert_eq!(intent.version, GatewayVersion::DEFAULT);
    assert_eq!(problems(&intents), Vec::<String>::new());
}

#[test]
fn gw_d24_service_names_are_always_in_the_certificate() {
    let intents = intents("- name: t\n  gateway: {serverDnsNames: [only.example.com]}\n");
    let names: Vec<String> =
        intents.entries["t"].intent.as_ref().unwrap().server_names.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "localhost",
            "only.example.com",
            "openshell-gateway",
            "openshell-gateway.t",
            "openshell-gateway.t.svc",
            "openshell-gateway.t.svc.cluster.local",
            "127.0.0.1",
            "::1"
        ]
    );
}

#[test]
fn gw_f20_order_case_and_duplicates_change_nothing() {
    let one = intents("- name: t\n  gateway: {serverDnsNames: [a.example, b.example]}\n");
    let other = intents("- name: t\n  gateway: {serverDnsNames: [B.example., a.example, b.example]}\n");
    assert_eq!(one, other);
}

#[test]
fn one_bad_entry_hides_no_good_one() {
    for (bad, error) in [
        ("- name: t\n  gateway: {image: 'ghcr.io/x;y'}\n", "entry t: gateway.image (line 1, column 12)"),
        ("- name: t\n  gateway: {image: short:0.0.71}\n", "entry t: gateway.image"),
        ("- name: t\n  gateway: {image: 'ghcr.io/x:latest'}\n", "entry t: gateway.image"),
        ("- name: t\n  gateway: {image: 'ghcr.io/x:0.0.59'}\n", "entry t: gateway.version"),
        ("- name: t\n  gateway: {serverDnsNames: [a.example, a_b]}\n", "entry t: gateway.serverDnsNames[1]"),
        (
            "- name: t\n  gateway: {config: \"[openshell.gateway]\\nx = 1\"}\n",
            "entry t: gateway.config: openshell.gateway.x (line 2, column 1)",
        ),
        (
            "- name: t\n  gateway: {config: \"[openshell\"}\n",
            "entry t: gateway.config (line 1, column 11): TOML syntax error",
        ),
        ("- name: kube-system\n", "entry kube-system: name"),
        ("- name: a.b\n", "entry a.b: name"),
        ("- name: t\n  extra: 1\n", "entry t: extra"),
        ("- {}\n", "entry #1: name"),
    ] {
        let intents = intents(&format!("{bad}- name: good\n"));
        assert!(intents.entries["good"].intent.is_some(), "{bad}");
        let found = problems(&intents);
        let prefix = error.split(" (line").next().unwrap();
        assert!(found.len() == 1 && found[0].starts_with(prefix), "{bad}\n{found:?}");
    }
}

#[test]
fn duplicate_tenants_are_both_rejected() {
    let intents = intents("- name: t\n- name: good\n- name: t\n");
    assert!(intents.entries["t"].intent.is_none());
    assert_eq!(
        problems(&intents),
        [
            "entry t: name (line 1, column 9): two entries have this name; neither is applied; remove one of them",
            "entry t: name (line 3, column 9): two entries have this name; neither is applied; remove one of them",
        ]
    );
    assert!(intents.entries["good"].intent.is_some());
}

#[test]
fn gw_d17_unreadable_document_keeps_the_last_good_set() {
    let good = intents("- name: t\n");
    for bad in [Some("- name: ["), Some("x: y"), Some(""), None] {
        let next = good.next(bad, &rules());
        assert_eq!(next.entries, good.entries, "{bad:?}");
        assert!(next.document.is_some(), "{bad:?}");
    }
}

#[test]
fn bad_entry_keeps_its_last_good_intent() {
    let good = intents("- name: t\n  gateway: {serverDnsNames: [a.example]}\n");
    let next = good.next(Some("- name: t\n  gateway: {serverDnsNames: [a_b]}\n"), &rules());
    assert_eq!(next.entries["t"].intent, good.entries["t"].intent);
    assert_eq!(next.entries["t"].problems.len(), 1);
}

#[test]
fn removed_entry_is_gone() {
    let next = intents("- name: t\n").next(Some("[]"), &rules());
    assert_eq!(next, Intents::default());
}

#[test]
fn version_may_be_given_for_an_image_by_digest() {
    let digest = format!("ghcr.io/x@sha256:{}", "0".repeat(64));
    let with = intents(&format!("- name: t\n  gateway: {{image: '{digest}', version: 0.0.111}}\n"));
    assert_eq!(with.entries["t"].intent.as_ref().unwrap().version, GatewayVersion::NEWEST);
    assert!(intents(&format!("- name: t\n  gateway: {{image: '{digest}'}}\n")).entries["t"].intent.is_none());
}
