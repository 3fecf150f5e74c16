//! Golden files of what depends on the gateway's version, the database and the sideload method, and the rules around them.

use super::tests::{bodies, body, now, objects, options, plan};
use super::*;
use crate::gateways::ClusterVersion;
use crate::gateways::condition::Summary;
use crate::gateways::intent::Rules;
use crate::gateways::pki::Existing;
use crate::gateways::platform::Facts;
use k8s_openapi::api::core::v1::Pod;

/// First versions of each range in which the rendering is the same.
const RANGES: [u16; 5] = [60, 82, 97, 100, 107];

fn databases() -> [(&'static str, Database); 2] {
    [("sqlite", Database::Sqlite), ("postgres", Database::postgres("gateway-database").unwrap())]
}

fn snapshot(version: u16, database: &Database, cluster: u16, config: &str) -> Snapshot {
    let rules = Rules { database: database.clone(), cluster: Some(ClusterVersion::minor(cluster)), ..options().rules };
    let yaml = format!(
        "- name: tenant-a\n  gateway: {{image: 'ghcr.io/nvidia/openshell/gateway:0.0.{version}', config: \"{config}\"}}\n"
    );
    let config = serde_json::json!({ "data": { NAMESPACES_KEY: yaml } });
    let entry = Memory::new(rules).observe(Some(&config)).entries["tenant-a"].clone();
    let intent = entry.intent.as_ref().unwrap_or_else(|| panic!("{:?}", entry.problems));
    Snapshot {
        material: Some(pki::ensure(&Existing::default(), intent, false, now()).unwrap()),
        entry: Some(entry),
        resource: None,
        overridden: false,
        document: None,
        served: Vec::new(),
        home: Home::There,
        anchor: Some(Arc::new(
            serde_json::json!({ "metadata": { "name": names::ANCHOR, "uid": "anchor-uid", "labels": { "app.kubernetes.io/managed-by": "paddock" } } }),
        )),
        workload: None,
        revisions: None,
        database: matches!(database, Database::Postgres { .. }).then(|| "digest".to_owned()),
        sandbox_versions: "v1beta1".to_owned(),
        has_node: true,
        view: View::NotRunning,
        around: Surroundings::default(),
        premises: Premises { default_storage: Some(true), ..Premises::default() },
        life: Life::default(),
    }
}

fn workload(version: u16, database: &Database) -> Value {
    let snapshot = snapshot(version, database, 36, "");
    body(&plan(&snapshot, "tenant-a"), "StatefulSet", names::GATEWAY).clone()
}

/// The file, and of the workload what is not the same everywhere.
fn rendered(version: u16, database: &Database, cluster: u16) -> String {
    let plan = plan(&snapshot(version, database, cluster, ""), "tenant-a");
    let file = body(&plan, "ConfigMap", names::CONFIG)["data"][names::CONFIG_KEY].as_str().unwrap();
    let spec = &body(&plan, "StatefulSet", names::GATEWAY)["spec"];
    let container = &spec["template"]["spec"]["containers"][0];
    let claims: Vec<_> = spec["volumeClaimTemplates"].as_array().into_iter().flatten().collect();
    let mounts: Vec<_> =
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["mountPath"].clone()).collect();
    let workload = serde_json::json!({
        "args": container["args"], "env": container["env"], "mounts": mounts,
        "claims": claims.iter().map(|claim| claim["metadata"]["name"].clone()).collect::<Vec<_>>(),
    });
    format!("{file}\n---\n{}", serde_saphyr::to_string(&workload).unwrap())
}

#[test]
fn gateways_by_version_database_and_sideload_method() {
    for version in RANGES {
        for (name, database) in databases() {
            for (cluster, method) in [(34, "init-container"), (36, "image-volume")] {
                let name = format!("gateway_0_0_{version}_{name}_{method}");
                insta::assert_snapshot!(name, rendered(version, &database, cluster));
            }
        }
    }
}

/// The golden files stand for all versions: within a range nothing changes.
#[test]
fn versions_of_a_range_render_the_same() {
    for version in 60..=111 {
        let first = RANGES.into_iter().filter(|first| *first <= version).max().unwrap();
        assert_eq!(rendered(version, &Database::Sqlite, 36), rendered(first, &Database::Sqlite, 36), "0.0.{version}");
    }
}

#[test]
fn gw_f02_every_container_of_every_rendering_passes_the_restricted_standard() {
    for version in RANGES {
        for (_, database) in databases() {
            let template = &workload(version, &database)["spec"]["template"];
            let pod: Pod = serde_json::from_value(template.clone()).unwrap();
            let spec = pod.spec.unwrap();
            let every = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            for context in every.map(|container| container.security_context.as_ref().unwrap()) {
                assert_eq!(context.allow_privilege_escalation, Some(false));
                assert_eq!(context.read_only_root_filesystem, Some(true));
                assert_eq!((context.run_as_non_root, context.privileged), (Some(true), None));
                let capabilities = context.capabilities.as_ref().unwrap();
                assert_eq!((&capabilities.drop, &capabilities.add), (&Some(vec!["ALL".to_owned()]), &None));
                assert_eq!(context.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
            }
            assert_eq!((spec.host_network, spec.host_pid, spec.host_ipc), (None, None, None));
            // Of all kinds of volumes the standard allows these and a few more.
            assert!(spec.volumes.iter().flatten().all(|volume| volume.config_map.is_some() || volume.secret.is_some()));
            assert_eq!(spec.enable_service_links, Some(false));
        }
    }
}

#[test]
fn gw_l08_switching_the_database_leaves_no_second_workload() {
    let targets = |database: &Database| -> Vec<_> {
        plan(&snapshot(111, database, 36, ""), "tenant-a").apply.iter().map(|object| object.target().clone()).collect()
    };
    let [(_, sqlite), (_, postgres)] = databases();
    assert_eq!(targets(&sqlite), targets(&postgres));
}

#[test]
fn new_database_credentials_restart_the_gateway() {
    let [_, (_, postgres)] = databases();
    let mut snapshot = snapshot(111, &postgres, 36, "");
    let hash = |snapshot: &Snapshot| inputs(snapshot.entry.as_ref().unwrap().intent.as_ref().unwrap(), snapshot).hash();
    let before = hash(&snapshot);
    snapshot.database = Some("other".to_owned());
    assert_ne!(hash(&snapshot), before);
}

#[test]
fn missing_database_secret_is_told() {
    let [_, (_, postgres)] = databases();
    let mut snapshot = snapshot(111, &postgres, 36, "");
    snapshot.database = None;
    let plan = plan(&snapshot, "tenant-a");
    assert!(
        body(&plan, "ConfigMap", names::ANCHOR)["data"]["conditions"].to_string().contains("DatabaseSecretMissing")
    );
}

#[test]
fn gw_l16_lost_encryption_key_is_reported_and_never_replaced() {
    let mut snapshot = snapshot(111, &Database::Sqlite, 36, "");
    let running = workload(111, &Database::Sqlite);
    assert!(render::uses_kek(&running) && !render::uses_kek(&workload(99, &Database::Sqlite)));
    let existing = Existing { kek_in_use: true, ..Existing::default() };
    let intent = snapshot.entry.as_ref().unwrap().intent.clone().unwrap();
    snapshot.material = Some(pki::ensure(&existing, &intent, false, now()).unwrap());
    let plan = plan(&snapshot, "tenant-a");
    assert!(plan.apply.iter().all(|object| object.target().name != names::KEK));
    assert!(body(&plan, "ConfigMap", names::ANCHOR)["data"]["conditions"].to_string().contains("EncryptionKeyMissing"));
}

#[test]
fn gw_l07_file_system_group_lets_the_gateway_write_its_volume() {
    assert_eq!(workload(71, &Database::Sqlite)["spec"]["template"]["spec"]["securityContext"]["fsGroup"], 1000);
}

/// On an OpenShift: what is otherwise there than elsewhere.
#[test]
fn gw_l07_openshift_chooses_users_and_groups_itself() {
    let mut snapshot = snapshot(71, &Database::Sqlite, 34, "");
    let elsewhere = plan(&snapshot, "tenant-a");
    let entry = snapshot.entry.as_mut().unwrap();
    let intent = Intent { openshift: true, ..(**entry.intent.as_ref().unwrap()).clone() };
    entry.intent = Some(Arc::new(intent));
    let there = plan(&snapshot, "tenant-a");
    let pod = |plan: &Plan| body(plan, "StatefulSet", names::GATEWAY)["spec"]["template"]["spec"].clone();
    let security = |plan: &Plan| {
        let pod = pod(plan);
        serde_json::json!({ "pod": pod["securityContext"], "container": pod["containers"][0]["securityContext"] })
    };
    let mut binding = body(&there, "RoleBinding", names::PRIVILEGED_BINDING).clone();
    binding["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let all = [("elsewhere", security(&elsewhere)), ("openshift", security(&there)), ("binding", binding)];
    let all: std::collections::BTreeMap<_, _> = all.into();
    insta::assert_snapshot!("openshift", serde_saphyr::to_string(&all).unwrap());
    assert_eq!(there.apply.len(), elsewhere.apply.len() + 1);
}

#[test]
fn gw_l22_planning_twice_renders_the_same() {
    let snapshot = snapshot(111, &Database::Sqlite, 36, "");
    assert_eq!(bodies(&plan(&snapshot, "tenant-a")), bodies(&plan(&snapshot, "tenant-a")));
}

#[test]
fn gw_l17_oidc_of_the_entry_is_in_the_rendered_file() {
    let oidc = "openshell.gateway.oidc = { issuer = 'https://idp.example', audience = 'openshell-cli' }";
    let plan = plan(&snapshot(111, &Database::Sqlite, 36, oidc), "tenant-a");
    let file = body(&plan, "ConfigMap", names::CONFIG)["data"][names::CONFIG_KEY].as_str().unwrap();
    assert!(
        file.contains("issuer = \"https://idp.example\"") && file.contains("audience = \"openshell-cli\""),
        "{file}"
    );
}

#[test]
fn gw_d21_no_placeholder_is_ever_substituted() {
    let log = "openshell.gateway.log_level = 'NAMESPACE_PLACEHOLDER IMAGE_PLACEHOLDER $(POD_NAMESPACE) {{ns}}'";
    let plan = plan(&snapshot(111, &Database::Sqlite, 36, log), "tenant-a");
    let file = body(&plan, "ConfigMap", names::CONFIG)["data"][names::CONFIG_KEY].as_str().unwrap();
    assert!(file.contains("NAMESPACE_PLACEHOLDER IMAGE_PLACEHOLDER $(POD_NAMESPACE) {{ns}}"), "{file}");
}

#[test]
fn cluster_that_is_learned_later_judges_the_document_anew() {
    let memory = Memory::new(options().rules);
    let config = serde_json::json!({ "data": { NAMESPACES_KEY: "- name: t\n" } });
    let method = |memory: &Memory| {
        memory.observe(Some(&config)).entries["t"].intent.as_ref().unwrap().config.contains("image-volume")
    };
    assert!(!method(&memory));
    memory.learn(Facts { version: Some(ClusterVersion::minor(36)), openshift: false });
    assert!(method(&memory));
}

#[test]
fn gw_f03_no_container_runs_as_root() {
    let pod = &workload(71, &Database::Sqlite)["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["securityContext"]["runAsUser"]),
        (&true.into(), &1000.into())
    );
}

#[test]
fn gw_f17_no_job_is_rendered() {
    let plan = plan(&snapshot(71, &Database::Sqlite, 36, ""), "tenant-a");
    assert!(plan.apply.iter().all(|object| !matches!(&*object.target().kind.kind, "Job" | "CronJob")));
}

#[test]
fn gw_w19_no_service_of_the_namespace_reaches_the_gateways_environment() {
    for version in [60, 76, 82, 97, 100, 107, 111] {
        for (_, database) in databases() {
            assert_eq!(workload(version, &database)["spec"]["template"]["spec"]["enableServiceLinks"], false);
        }
    }
}

#[test]
fn gw_d20_status_names_the_image_that_runs() {
    let plan = plan(&snapshot(99, &Database::Sqlite, 36, ""), "tenant-a");
    let summary = Summary::read(body(&plan, "ConfigMap", names::ANCHOR)["data"]["summary"].as_str().unwrap()).unwrap();
    assert_eq!(summary.image, "ghcr.io/nvidia/openshell/gateway:0.0.99");
}

#[test]
fn gw_d22_every_rendering_is_complete() {
    let all = [
        "ConfigMap openshell-gateway-anchor",
        "NetworkPolicy openshell-gateway-sandbox",
        "NetworkPolicy openshell-gateway",
        "ServiceAccount openshell-gateway",
        "ServiceAccount openshell-gateway-sandbox",
        "Role openshell-gateway-sandbox",
        "RoleBinding openshell-gateway-sandbox",
        "ClusterRoleBinding openshell-gateway-node-reader-tenant-a",
        "Secret openshell-ca-tenant-a",
        "Secret openshell-server-tls",
        "Secret openshell-client-tls",
        "Secret openshell-gateway-jwt-keys",
        "ConfigMap openshell-gateway-revisions",
        "ConfigMap openshell-gateway-config",
        "Service openshell-gateway",
        "StatefulSet openshell-gateway",
    ];
    for (_, database) in databases() {
        let plan = plan(&snapshot(71, &database, 36, ""), "tenant-a");
        let found: Vec<_> =
            objects(&plan).map(|object| format!("{} {}", object.target().kind.kind, object.target().name)).collect();
        assert_eq!(found, all);
    }
}

#[test]
fn gw_d27_service_selects_the_gateways_pods_alone() {
    let plan = plan(&snapshot(71, &Database::Sqlite, 36, ""), "tenant-a");
    let selector = &body(&plan, "Service", names::GATEWAY)["spec"]["selector"];
    let template = &body(&plan, "StatefulSet", names::GATEWAY)["spec"]["template"]["metadata"]["labels"];
    assert!(selector.as_object().unwrap().iter().all(|(key, value)| template[key] == *value));
    assert_eq!(plan.apply.iter().filter(|object| !object.body()["spec"]["template"].is_null()).count(), 1);
}
