use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use paddock_api::annotations;
use paddock_reconcile::Desired;
use serde_json::json;

use super::*;
use crate::gateways::condition::Summary;
use crate::gateways::probe::{Health, Seen};
use crate::gateways::{GatewayMetrics, Intents, controllers};

pub(super) fn now() -> Timestamp {
    "2026-11-21T05:00:00Z".parse().unwrap()
}

pub(super) fn options() -> Options {
    Options::new("paddock-system", None).unwrap()
}

fn gateways() -> Gateways {
    controllers(options(), GatewayMetrics::default()).0
}

/// The document of the example, as users apply it.
fn example() -> String {
    let text = include_str!("../../../../../examples/platform-config.yaml");
    let config: ConfigMap = serde_saphyr::from_str(text).unwrap();
    config.data.unwrap().remove(NAMESPACES_KEY).unwrap()
}

/// The shipped sample of the earlier provisioner: a partial file that repeats what the control plane renders.
const SAMPLE: &str = "- name: tenant-a\n  gateway:\n    config: |\n      [openshell.gateway]\n      bind_address = \"0.0.0.0:8080\"\n      log_level = \"info\"\n      sandbox_namespace = \"tenant-a\"\n";

fn entry(yaml: &str, tenant: &str) -> Entry {
    let config = json!({ "data": { NAMESPACES_KEY: yaml } });
    Memory::new(options().rules).observe(Some(&config)).entries[tenant].clone()
}

/// What a pass sees in a namespace where only the anchor exists.
fn snapshot(yaml: &str, tenant: &str) -> Snapshot {
    let entry = entry(yaml, tenant);
    let material =
        entry.intent.as_ref().map(|intent| pki::ensure(&pki::Existing::default(), intent, false, now()).unwrap());
    Snapshot {
        entry: Some(entry),
        resource: None,
        overridden: false,
        document: None,
        served: Vec::new(),
        home: Home::There,
        anchor: Some(Arc::new(
            json!({ "metadata": { "name": names::ANCHOR, "uid": "anchor-uid", "labels": { "app.kubernetes.io/managed-by": "paddock" } } }),
        )),
        workload: None,
        revisions: None,
        material,
        database: None,
        sandbox_versions: "v1alpha1".to_owned(),
        has_node: false,
        view: View::NotRunning,
        around: Surroundings::default(),
        premises: Premises { default_storage: Some(true), ..Premises::default() },
        life: Life::default(),
    }
}

fn key(tenant: &str) -> GatewayKey {
    GatewayKey::default_of(tenant.parse().unwrap())
}

pub(super) fn plan(snapshot: &Snapshot, tenant: &str) -> Plan {
    gateways().plan(&key(tenant), snapshot, now()).unwrap()
}

/// Everything that the plan wants, its report first.
pub(super) fn objects(plan: &Plan) -> impl Iterator<Item = &Desired> {
    plan.report.apply.iter().chain(&plan.apply)
}

pub(super) fn body<'a>(plan: &'a Plan, kind: &str, name: &str) -> &'a Value {
    let found = objects(plan).find(|o| o.target().kind.kind == kind && o.target().name == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}")).body()
}

/// The pass after this one, when everything that it planned exists.
fn after(mut snapshot: Snapshot, plan: &Plan) -> Snapshot {
    let mut anchor = body(plan, "ConfigMap", names::ANCHOR).clone();
    anchor["metadata"]["uid"] = "anchor-uid".into();
    snapshot.anchor = Some(Arc::new(anchor));
    snapshot.workload = Some(Arc::new(body(plan, "StatefulSet", names::GATEWAY).clone()));
    snapshot.revisions = Some(Arc::new(body(plan, "ConfigMap", names::REVISIONS).clone()));
    if let Some(material) = &mut snapshot.material {
        material.made.clear();
    }
    snapshot
}

pub(super) fn bodies(plan: &Plan) -> Vec<&Value> {
    objects(plan).map(Desired::body).collect()
}

/// The manifest set without what is random: key material and the hash over it.
fn golden(tenant: &str) -> String {
    let plan = plan(&snapshot(&example(), tenant), tenant);
    let mut text = String::new();
    for object in objects(&plan) {
        let mut body = object.body().clone();
        if body["kind"] == "Secret" {
            body["data"].as_object_mut().unwrap().values_mut().for_each(|value| *value = "(random)".into());
        }
        if let Some(annotations) = body.pointer_mut("/spec/template/metadata/annotations") {
            annotations[annotations::CONFIG_HASH] = "(hash)".into();
            annotations[annotations::REVISION] = "(revision)".into();
            body["metadata"]["annotations"][annotations::RESTART_INPUTS] = "(digests)".into();
        }
        if object.target().name == names::ANCHOR {
            let mut summary: Value = serde_json::from_str(body["data"]["summary"].as_str().unwrap()).unwrap();
            summary["configHash"] = "(hash)".into();
            body["data"]["summary"] = summary.to_string().into();
        }
        if object.target().name == names::REVISIONS {
            body["data"] = json!({ "rollout": "(random)", "revisions": "(random)" });
        }
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&body).unwrap());
    }
    text
}

#[test]
fn manifests_of_tenant_a() {
    insta::assert_snapshot!(golden("tenant-a"));
}

#[test]
fn manifests_of_tenant_b() {
    insta::assert_snapshot!(golden("tenant-b"));
}

#[test]
fn gw_d02_partial_toml_settles_after_one_pass() {
    let first = snapshot(SAMPLE, "tenant-a");
    let one = plan(&first, "tenant-a");
    let second = after(first, &one);
    let two = plan(&second, "tenant-a");
    let third = after(second, &two);
    let three = plan(&third, "tenant-a");
    assert_eq!(bodies(&one)[1..], bodies(&two)[1..], "only the report on the anchor may follow");
    assert_eq!(bodies(&two), bodies(&three));
    assert_eq!(three.events, []);
}

#[test]
fn gw_d07_each_tenant_has_a_cluster_role_binding_of_its_own() {
    let of = |tenant: &str| {
        let plan = plan(&snapshot(&example(), tenant), tenant);
        body(&plan, "ClusterRoleBinding", &format!("openshell-gateway-node-reader-{tenant}")).clone()
    };
    assert_eq!(of("tenant-a")["subjects"][0]["namespace"], "tenant-a");
    assert_eq!(of("tenant-b")["subjects"][0]["namespace"], "tenant-b");
}

#[test]
fn gw_f12_owners_live_with_what_they_own() {
    for object in &plan(&snapshot(&example(), "tenant-a"), "tenant-a").apply {
        let owned = !object.body()["metadata"]["ownerReferences"].is_null();
        let lasts = [names::ANCHOR, names::JWT_KEYS].contains(&&*object.target().name);
        let here = object.target().namespace.as_deref() == Some("tenant-a") && !lasts;
        assert_eq!(owned, here, "{}", object.target());
    }
}

#[test]
fn gw_f19_no_object_is_rendered_twice() {
    let plan = plan(&snapshot(&example(), "tenant-a"), "tenant-a");
    let distinct: BTreeSet<_> = objects(&plan).map(Desired::target).collect();
    assert_eq!(distinct.len(), objects(&plan).count());
}

#[test]
fn gw_f01_every_container_passes_the_restricted_standard() {
    let plan = plan(&snapshot(&example(), "tenant-b"), "tenant-b");
    let pod = &body(&plan, "StatefulSet", names::GATEWAY)["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    }
    assert_eq!(pod["enableServiceLinks"], false);
}

/// What of a gateway's environment comes from an object: gateways are programs of others, which read it nowhere else. While the API server
/// is away a gateway's container goes on running; one that ends then is made again when it is back.
const FROM_OBJECTS: [paddock_trials::Allowed; 2] = [
    paddock_trials::Allowed { variable: "OPENSHELL_DB_URL", why: "a database's address has a password in it" },
    paddock_trials::Allowed { variable: crate::gateways::toml::KEK_ENV, why: "the key of its stored credentials" },
];

#[test]
fn gw_l28_nothing_is_mounted_by_sub_path_and_start_up_data_survive_an_outage() {
    let newer = "- name: tenant-b\n  gateway: {image: 'ghcr.io/x:0.0.111'}\n";
    let mut pods = 0;
    for (text, tenant) in [
        (example(), "tenant-a".to_owned()),
        (example(), "tenant-b".to_owned()),
        (newer.to_owned(), "tenant-b".to_owned()),
    ] {
        let plan = plan(&snapshot(&text, &tenant), &tenant);
        for body in bodies(&plan) {
            pods += usize::from(!body["spec"]["template"]["spec"]["containers"].is_null());
            assert_eq!(paddock_trials::startup_lint(body, &FROM_OBJECTS), Vec::<String>::new());
        }
    }
    assert!(pods >= 3, "there is something to judge");
}

#[test]
fn gw_w04_owner_is_made_before_what_it_owns() {
    let mut snapshot = snapshot(&example(), "tenant-b");
    snapshot.anchor = None;
    snapshot.material = None;
    let plan = plan(&snapshot, "tenant-b");
    assert_eq!(plan.apply.len(), 1);
    assert_eq!(plan.apply[0].target(), &anchor_ref(&key("tenant-b")));
    assert!(
        matches!(&plan.verdict, Verdict::Waiting { on: Dependency::Object(on), .. } if *on == anchor_ref(&key("tenant-b")))
    );
}

#[test]
fn missing_namespace_is_waited_for_and_nothing_is_written() {
    let mut snapshot = snapshot(&example(), "tenant-b");
    for home in [Home::Missing, Home::Terminating] {
        snapshot.home = home;
        let plan = plan(&snapshot, "tenant-b");
        assert!(plan.apply.is_empty());
        assert!(matches!(&plan.verdict, Verdict::Waiting { on: Dependency::Object(on), .. } if on.name == "tenant-b"));
    }
}

#[test]
fn without_a_node_the_gateway_waits_and_says_so() {
    let first = snapshot(&example(), "tenant-b");
    let one = plan(&first, "tenant-b");
    let two = plan(&after(first, &one), "tenant-b");
    let summary = Summary::read(body(&two, "ConfigMap", names::ANCHOR)["data"]["summary"].as_str().unwrap()).unwrap();
    assert_eq!((summary.reason.as_str(), summary.ready), ("NoNode", false));
    assert!(matches!(&two.verdict, Verdict::Waiting { message, .. } if message.starts_with("NoNode")));
}

fn ready(mut snapshot: Snapshot) -> Snapshot {
    let mut workload = (**snapshot.workload.as_ref().unwrap()).clone();
    workload["metadata"]["generation"] = 1.into();
    workload["status"] = json!({ "observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1 });
    snapshot.workload = Some(Arc::new(workload));
    snapshot.has_node = true;
    let seen = Seen::Answered { fingerprint: String::new(), health: Ok(Health::Healthy) };
    snapshot.view = View::Last { seen, wanted: String::new() };
    snapshot
}

/// The gateway runs, and was seen like this.
fn seen(view: View) -> Snapshot {
    let first = snapshot(&example(), "tenant-b");
    let one = plan(&first, "tenant-b");
    Snapshot { view, ..ready(after(first, &one)) }
}

fn summary(plan: &Plan) -> Summary {
    Summary::read(body(plan, "ConfigMap", names::ANCHOR)["data"]["summary"].as_str().unwrap()).unwrap()
}

#[test]
fn gw_w13_a_gateway_that_runs_and_does_not_answer_is_not_ready() {
    let view = View::Last { seen: Seen::Deadline, wanted: "wanted".to_owned() };
    let plan = plan(&seen(view), "tenant-b");
    let summary = summary(&plan);
    assert_eq!((summary.ready, summary.reason.as_str()), (false, "DeadlineExceeded"));
    let looks = Probes::dependency("tenant-b/openshell-gateway");
    assert!(matches!(&plan.verdict, Verdict::Waiting { on, .. } if *on == looks), "{:?}", plan.verdict);
}

#[test]
fn gw_d05_a_new_certificate_counts_when_the_gateway_serves_it() {
    let health = Ok(Health::Healthy);
    let old = Seen::Answered { fingerprint: "old".to_owned(), health };
    let plan = plan(&seen(View::Last { seen: old, wanted: "new".to_owned() }), "tenant-b");
    let summary = summary(&plan);
    assert_eq!((summary.ready, summary.reason.as_str()), (false, "Waiting"));
}

#[test]
fn gateway_that_was_not_asked_yet_has_not_failed() {
    let summary = summary(&plan(&seen(View::NotYet), "tenant-b"));
    assert_eq!((summary.phase, summary.reason.as_str()), (paddock_api::GatewayPhase::Provisioning, "Progressing"));
}

#[test]
fn settled_gateway_listens_to_what_is_seen_of_it() {
    let off = plan(&seen(View::Off), "tenant-b");
    assert_eq!((off.verdict, off.listen), (Verdict::Settled, None));
    let first = snapshot(&example(), "tenant-b");
    let one = plan(&first, "tenant-b");
    let two = plan(&ready(after(first, &one)), "tenant-b");
    assert_eq!((two.verdict, two.listen.is_some()), (Verdict::Settled, true));
}

#[test]
fn gateway_is_ready_when_its_newest_template_runs() {
    let first = snapshot(&example(), "tenant-b");
    let one = plan(&first, "tenant-b");
    let two = plan(&ready(after(first, &one)), "tenant-b");
    let summary = Summary::read(body(&two, "ConfigMap", names::ANCHOR)["data"]["summary"].as_str().unwrap()).unwrap();
    assert_eq!((summary.phase, summary.ready), (paddock_api::GatewayPhase::Running, true));
    assert_eq!(two.verdict, Verdict::Settled);
}

fn hash(plan: &Plan) -> String {
    let template = &body(plan, "StatefulSet", names::GATEWAY)["spec"]["template"]["metadata"];
    template["annotations"][annotations::CONFIG_HASH].as_str().unwrap().to_owned()
}

#[test]
fn gw_d15_restart_follows_the_effective_file_both_ways() {
    let mut snapshot = snapshot("- name: tenant-b\n", "tenant-b");
    let plain = hash(&plan(&snapshot, "tenant-b"));
    snapshot.entry =
        Some(entry("- name: tenant-b\n  gateway: {config: \"openshell.gateway.log_level = 'debug'\"}\n", "tenant-b"));
    assert_ne!(hash(&plan(&snapshot, "tenant-b")), plain);
    snapshot.entry =
        Some(entry("- name: tenant-b\n  gateway: {config: \"openshell.gateway.log_level = 'info'\"}\n", "tenant-b"));
    assert_eq!(hash(&plan(&snapshot, "tenant-b")), plain, "the same effective file");
}

#[test]
fn gw_l05_taking_oidc_away_restarts_the_gateway() {
    let oidc =
        "- name: t\n  gateway: {config: \"openshell.gateway.oidc = { issuer = 'https://i', audience = 'a' }\"}\n";
    let mut snapshot = snapshot(oidc, "t");
    let with = hash(&plan(&snapshot, "t"));
    snapshot.entry = Some(entry("- name: t\n", "t"));
    assert_ne!(hash(&plan(&snapshot, "t")), with);
}

#[test]
fn gw_d05_keys_and_configuration_come_before_the_workload() {
    let plan = plan(&snapshot(&example(), "tenant-a"), "tenant-a");
    let kinds: Vec<&str> = plan.apply.iter().map(|object| &*object.target().kind.kind).collect();
    assert_eq!(kinds.last(), Some(&"StatefulSet"));
    assert!(kinds.iter().rposition(|kind| *kind == "Secret") < kinds.iter().rposition(|kind| *kind == "ConfigMap"));
}

#[test]
fn gw_w22_who_waits_for_a_turn_is_well_and_says_so() {
    let first = snapshot("- name: tenant-b\n", "tenant-b");
    let one = plan(&first, "tenant-b");
    let mut waiting = ready(after(first, &one));
    // The platform wants something else of everybody.
    waiting.sandbox_versions = "v1alpha1,v1beta1".to_owned();
    let two = plan(&waiting, "tenant-b");
    assert_eq!(body(&two, "StatefulSet", names::GATEWAY), body(&one, "StatefulSet", names::GATEWAY));
    let anchor = body(&two, "ConfigMap", names::ANCHOR);
    assert!(anchor["data"]["conditions"].as_str().unwrap().contains("WaitingForWave"));
    let summary = Summary::read(anchor["data"]["summary"].as_str().unwrap()).unwrap();
    assert_eq!((summary.phase, summary.ready), (paddock_api::GatewayPhase::Running, true));
}

#[test]
fn gw_a07_sandboxes_default_image_is_held_to_the_operators_own_rules() {
    let mut options = options();
    options.rules.images.latest_forbidden = true;
    assert!(options.choose_sandbox_image(crate::gateways::DEFAULT_SANDBOX_IMAGE).is_err());
    options.choose_sandbox_image("ghcr.io/x/base:1").unwrap();
    let intents = Intents::default().next(Some("- name: t\n"), &options.rules);
    assert!(intents.entries["t"].intent.as_ref().unwrap().config.contains("default_image = \"ghcr.io/x/base:1\""));
}

#[test]
fn gw_d20_status_says_who_chose_the_image() {
    for (yaml, from) in [
        ("- name: t\n", "built-in"),
        ("- name: t\n  gateway: {image: 'ghcr.io/nvidia/openshell/gateway:0.0.71'}\n", "entry"),
    ] {
        let plan = plan(&snapshot(yaml, "t"), "t");
        let summary = Summary::read(body(&plan, "ConfigMap", names::ANCHOR)["data"]["summary"].as_str().unwrap());
        assert_eq!(summary.unwrap().image_from, from);
    }
}

#[test]
fn gw_f24_status_tells_the_hash_of_what_runs_and_where_its_image_is_from() {
    let first = snapshot(&example(), "tenant-a");
    let one = plan(&first, "tenant-a");
    let told = summary(&plan(&ready(after(first, &one)), "tenant-a"));
    let template = &body(&one, "StatefulSet", names::GATEWAY)["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"][annotations::CONFIG_HASH], told.config_hash);
    assert_eq!((template["spec"]["containers"][0]["image"].as_str(), &*told.image_from), (Some(&*told.image), "entry"));
}

#[test]
fn gw_f18_there_is_one_default_image_and_its_origin_is_told() {
    let rules = options().rules;
    let release = format!("ghcr.io/nvidia/openshell/gateway:{}", crate::gateways::GatewayVersion::DEFAULT);
    assert_eq!((rules.default_image.to_string(), rules.default_image_from), (release, ImageFrom::BuiltIn));
}

#[test]
fn renewed_certificates_restart_nothing() {
    let mut snapshot = snapshot("- name: tenant-b\n", "tenant-b");
    let before = hash(&plan(&snapshot, "tenant-b"));
    let renewed = snapshot.entry.as_ref().unwrap().intent.clone().unwrap();
    let mut material = pki::ensure(&pki::Existing::default(), &renewed, false, now()).unwrap();
    material.restart_token.clone_from(&snapshot.material.as_ref().unwrap().restart_token);
    snapshot.material = Some(material);
    assert_eq!(hash(&plan(&snapshot, "tenant-b")), before);
}

#[test]
fn newer_sandbox_kind_restarts_the_gateway() {
    let mut snapshot = snapshot("- name: tenant-b\n", "tenant-b");
    let before = hash(&plan(&snapshot, "tenant-b"));
    snapshot.sandbox_versions = "v1alpha1,v1beta1".to_owned();
    assert_ne!(hash(&plan(&snapshot, "tenant-b")), before);
}

#[test]
fn invalid_entry_keeps_the_last_good_gateway_and_is_reported() {
    let mut snapshot = snapshot("- name: tenant-b\n", "tenant-b");
    let good = plan(&snapshot, "tenant-b");
    snapshot.entry.as_mut().unwrap().problems = entry("- name: tenant-b\n  x: 1\n", "tenant-b").problems;
    let plan = plan(&snapshot, "tenant-b");
    assert_eq!(bodies(&plan)[1..], bodies(&good)[1..]);
    assert!(matches!(plan.verdict, Verdict::Invalid { reason: "InvalidEntry", .. }));
    assert!(plan.events.iter().any(|event| event.reason == "InvalidEntry" && event.note.contains("line 2, column 3")));
}

#[test]
fn removed_tenant_is_left_alone() {
    let mut snapshot = snapshot("- name: tenant-b\n", "tenant-b");
    snapshot.entry = None;
    assert!(plan(&snapshot, "tenant-b").apply.is_empty());
}

#[test]
fn newer_gateway_gets_its_encryption_key_which_nobody_owns() {
    let snapshot = snapshot("- name: tenant-b\n  gateway: {image: 'ghcr.io/x:0.0.111'}\n", "tenant-b");
    let plan = plan(&snapshot, "tenant-b");
    assert!(body(&plan, "Secret", names::KEK)["metadata"]["ownerReferences"].is_null());
    assert!(body(&plan, "StatefulSet", names::GATEWAY).to_string().contains("secretKeyRef"));
}
