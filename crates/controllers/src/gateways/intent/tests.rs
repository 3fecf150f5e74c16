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

/// The shipped sample of the earlier provisioner: a partial file that repeats what the control plane renders.
#[test]
fn gw_d03_shipped_sample_is_accepted() {
    let sample = "- name: tenant-a\n  gateway:\n    image: ghcr.io/nvidia/openshell/gateway:0.0.71\n    serverDnsNames:\n      - openshell-gateway.tenant-a.svc.cluster.local\n    config: |\n      [openshell.gateway]\n      bind_address = \"0.0.0.0:8080\"\n      log_level = \"info\"\n      sandbox_namespace = \"tenant-a\"\n";
    assert_eq!(problems(&intents(sample)), Vec::<String>::new());
}

#[test]
fn gw_w07_places_in_the_file_count_in_the_document() {
    for (config, place) in [
        ("|\n      [openshell.gateway]\n\n      x = 1\n", "(line 6, column 7): the gateway"),
        ("|2-\n        [openshell.gateway]\n        x = 1\n", "(line 5, column 9): the gateway"),
        ("&c |\n      [openshell.gateway]\n      x = 1\n", "(line 5, column 7): the gateway"),
        ("\"[openshell.gateway]\\nx = 1\"\n", "(line 3, column 35): the gateway"),
        ("'openshell.gateway.x = 1'\n", "(line 3, column 32): the gateway"),
        ("openshell.gateway.x = 1\n", "(line 3, column 31): the gateway"),
        (
            ">\n      [openshell.gateway]\n\n      x = 1\n",
            "(line 4, column 7): at line 2, column 1 of its text: the gateway",
        ),
    ] {
        let found = problems(&intents(&format!("- name: t\n  gateway:\n    config: {config}")));
        let expected = format!("entry t: gateway.config: openshell.gateway.x {place}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{config}\n{found:?}");
    }
}

#[test]
fn gw_a05_tenants_are_labels_and_never_the_clusters_own_namespaces() {
    for name in
        ["kube-system", "kube-x", "default", "openshift", "openshift-x", "a.b", "A", "-a", "a b", "a;b", "\"\"", "x\\n"]
    {
        let intents = intents(&format!("- name: \"{}\"\n", name.trim_matches('"')));
        assert!(intents.entries.values().all(|entry| entry.intent.is_none() && !entry.problems.is_empty()), "{name}");
    }
    assert!(intents(&format!("- name: {}\n", "x".repeat(64))).entries.values().all(|entry| entry.intent.is_none()));
}

#[test]
fn gw_f04_names_cannot_carry_anything_else() {
    for name in [
        "a.b --exec=x",
        "a\\\"b",
        "a\\nb",
        "$(id)",
        "{{x}}",
        "a_b",
        "*",
        "a.*.b",
        "**.a",
        "*a.b",
        "a..b",
        "-a.b",
        "NAMESPACE_PLACEHOLDER",
    ] {
        let intents = intents(&format!("- name: t\n  gateway: {{serverDnsNames: [\"{name}\"]}}\n"));
        let found = problems(&intents);
        assert!(
            found.len() == 1 && found[0].starts_with("entry t: gateway.serverDnsNames[0] (line 2, column 30): "),
            "{name} {found:?}"
        );
    }
}

#[test]
fn gw_f04_wildcards_and_addresses_are_names() {
    let intents = intents(
        "- name: t\n  gateway: {serverDnsNames: ['*.a.example', 10.0.0.7, '2001:db8::1', A.example., localhost]}\n",
    );
    assert_eq!(problems(&intents), Vec::<String>::new());
}

#[test]
fn gw_f05_images_are_judged_where_they_stand() {
    let digest = "0".repeat(64);
    let strict = Rules {
        images: ImagePolicy {
            allowed: vec!["ghcr.io/nvidia".to_owned(), "r.example:5000/x".to_owned()],
            ..ImagePolicy::default()
        },
        ..rules()
    };
    for (image, good) in [
        ("ghcr.io/nvidia/openshell/gateway:0.0.71", true),
        (&format!("ghcr.io/nvidia/x:0.0.71@sha256:{digest}"), true),
        ("r.example:5000/x/y:0.0.71", true),
        ("r.example:5001/x/y:0.0.71", false),
        ("r.example:0/x:0.0.71", false),
        ("ghcr.io/nvidia-evil/x:0.0.71", false),
        ("ghcr.io.evil.example/nvidia/x:0.0.71", false),
        ("ghcr.io/nvidia/$(id):0.0.71", false),
        ("ghcr.io/nvidia/{{x}}:0.0.71", false),
        ("ghcr.io/nvidia/x:0.0.71@sha256:00", false),
    ] {
        let intents = Intents::default().next(Some(&format!("- name: t\n  gateway: {{image: '{image}'}}\n")), &strict);
        assert_eq!(intents.entries["t"].intent.is_some(), good, "{image}");
        assert!(
            problems(&intents)
                .iter()
                .all(|problem| problem.starts_with("entry t: gateway.image (line 2, column 20): "))
        );
    }
}

#[test]
fn yaml_bombs_and_floods_spoil_nothing_that_runs() {
    let good = intents("- name: t\n");
    let bomb = (0..12).fold("- &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let alias = format!("*a{n}, ").repeat(9);
        format!("{text}- &a{} [{}]\n", n + 1, alias.trim_end_matches(", "))
    });
    for text in [bomb, format!("- {}", "[".repeat(10_000)), format!("- {}", "{a: ".repeat(10_000)), "x".repeat(2 << 20)]
    {
        let next = good.next(Some(&text), &rules());
        assert!(next.document.is_some());
        assert_eq!(next.entries, good.entries);
    }
}

#[test]
fn gw_f14_an_edit_concerns_the_gateways_whose_entries_it_changed() {
    let before = intents("- name: a\n- name: b\n- name: c\n");
    let after =
        before.next(Some("- name: a\n- name: b\n  gateway: {serverDnsNames: [x.example]}\n- name: d\n"), &rules());
    let names = |keys: Vec<GatewayKey>| keys.iter().map(|key| key.namespace().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(after.changed_since(&before)), ["b", "c", "d"]);
    assert_eq!(names(before.next(Some("["), &rules()).changed_since(&before)), Vec::<String>::new());
}

#[test]
fn gw_w22_what_the_cluster_is_does_not_make_every_entry_a_changed_one() {
    let before = intents("- name: c\n  x: 1\n- name: a\n- name: b\n");
    let rules = Rules { cluster: Some("v1.36.0".parse().unwrap()), ..rules() };
    let after = before.next(
        Some(
            "- name: c\n  x: 1\n- name: a\n  gateway: {image: 'ghcr.io/nvidia/openshell/gateway:0.0.100'}\n- name: b\n",
        ),
        &rules,
    );
    assert_ne!(after.entries["b"], before.entries["b"], "it is rendered otherwise");
    let names: Vec<_> = after.changed_since(&before).iter().map(|key| key.namespace().to_owned()).collect();
    assert_eq!(names, ["a"]);
}

#[test]
fn an_entry_that_says_what_it_said_is_not_judged_again() {
    let before = intents("- name: a\n- name: b\n  gateway: {serverDnsNames: [x.example]}\n");
    let edited = "# moved\n- name: b\n  gateway:\n    serverDnsNames: [x.example]\n- name: a\n  gateway: {image: 'ghcr.io/nvidia/openshell/gateway:0.0.100'}\n";
    let after = before.next(Some(edited), &rules());
    let of = |intents: &Intents, name: &str| intents.entries[name].intent.clone().unwrap();
    assert!(Arc::ptr_eq(&of(&before, "b"), &of(&after, "b")));
    assert_eq!(
        (of(&after, "a").version.to_string(), of(&before, "a").version.to_string()),
        ("0.0.100".into(), "0.0.71".into())
    );
    let other = Rules { break_glass: true, cluster: Some(ClusterVersion::minor(36)), ..rules() };
    let rejudged = after.next(Some(edited), &other);
    assert!(!Arc::ptr_eq(&of(&after, "b"), &of(&rejudged, "b")));
    assert_eq!(rejudged, Intents::default().next(Some(edited), &other));
}

#[test]
fn places_in_a_flood_of_wrong_texts_are_told_by_the_texts_own_lines() {
    let entry = |n| format!("- name: t{n:03}\n  gateway: {{config: \"x = 1\"}}\n");
    let intents = intents(&(0..=MAX_FOLLOWED).map(entry).collect::<String>());
    let messages: Vec<_> = intents.problems().map(|problem| problem.message.as_str()).collect();
    let unknown = "the gateway 0.0.71 does not know this key";
    assert_eq!(messages[MAX_FOLLOWED - 1], unknown);
    assert_eq!(messages[MAX_FOLLOWED..], [format!("at line 1, column 1 of its text: {unknown}")]);
}

#[test]
fn gw_l02_version_that_contradicts_the_images_tag_is_refused() {
    let found = |gateway: &str| {
        let document = format!("- name: a\n  gateway: {{{gateway}}}\n");
        let intents = Intents::default().next(Some(&document), &rules());
        intents.problems().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let told = found("image: 'ghcr.io/nvidia/openshell/gateway:0.0.107', version: 0.0.83");
    assert!(
        told.contains("gateway.version") && told.contains("contradicts the image, whose tag says 0.0.107"),
        "{told}"
    );
    let digest = "a".repeat(64);
    for fine in [
        "image: 'ghcr.io/nvidia/openshell/gateway:0.0.107', version: 0.0.107".to_owned(),
        "image: 'ghcr.io/nvidia/openshell/gateway:stable', version: 0.0.83".to_owned(),
        format!("image: 'ghcr.io/nvidia/openshell/gateway@sha256:{digest}', version: 0.0.83"),
    ] {
        assert_eq!(found(&fine), "");
    }
}
