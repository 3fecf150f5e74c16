//! Plans are the controller's own passes as dry runs: what they tell is what happens, and they change nothing.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use paddock_apiserver::Server;
use paddock_controllers::gateways::{
    Forecast, Foretold, GatewayMetrics, Gateways, NAMESPACES_KEY, Options, PLATFORM_CONFIG, controllers,
};
use paddock_reconcile::{Identity, Rehearsal};
use paddock_trials::{Subject, Tap};
use serde_json::json;

const HOME: &str = "paddock-system";

fn gateways() -> Gateways {
    controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default()).0
}

async fn cluster(document: &str) -> Server {
    let server = Server::builder().in_memory().loops(false).start().await.unwrap();
    for name in [HOME, "tenant-a", "tenant-b"] {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(server.client()).create(&PostParams::default(), &namespace).await.unwrap();
    }
    configure(&server, document).await;
    server
}

fn config(document: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": PLATFORM_CONFIG, "namespace": HOME },
        "data": { NAMESPACES_KEY: document },
    })
}

async fn configure(server: &Server, document: &str) {
    let api: Api<ConfigMap> = Api::namespaced(server.client(), HOME);
    api.patch(PLATFORM_CONFIG, &PatchParams::apply("user").force(), &Patch::Apply(&config(document))).await.unwrap();
}

async fn settle(server: &Server) {
    subject().start(&server.client()).settle().await;
}

fn subject() -> Subject<Gateways> {
    Subject::new(gateways)
}

fn rehearsal(client: kube::Client) -> Rehearsal<Gateways> {
    let identity = Identity::new("paddock", "paddock.dev", "plan");
    Rehearsal::against(client, identity, gateways().foreseeing()).with_clock(subject().clock)
}

async fn foretold(rehearsal: &Rehearsal<Gateways>) -> Vec<(String, Foretold)> {
    let mut all = Vec::new();
    for key in rehearsal.gather().await.unwrap() {
        all.push((key.namespace().to_owned(), Foretold::of(&rehearsal.rehearse(&key).await)));
    }
    all
}

#[tokio::test]
async fn gw_w21_a_plan_changes_nothing() {
    let server = cluster("- name: tenant-a\n").await;
    let (client, tap) = Tap::around(server.client());
    foretold(&rehearsal(client)).await;
    let version = async |server: &Server| {
        let list = Api::<ConfigMap>::all(server.client()).list(&ListParams::default()).await.unwrap();
        list.items.len()
    };
    assert_eq!(version(&server).await, 1, "only platform-config");
    assert!(tap.writes().iter().any(|write| write.method == "PATCH"), "objects are judged by the server");
}

#[tokio::test]
async fn gw_w21_a_new_tenant_is_planned_to_its_end() {
    let server = cluster("- name: tenant-a\n").await;
    let told = foretold(&rehearsal(server.client())).await;
    let planned: Vec<_> = told[0].1.changes.iter().map(|change| format!("{} {}", change.kind, change.name)).collect();
    assert_eq!(told[0].1.forecast, Forecast::Starts);
    settle(&server).await;
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "tenant-a");
    let anchor = api.get("openshell-gateway-anchor").await.unwrap().data.unwrap();
    let made = paddock_reconcile::Prune::read_record(&anchor["inventory"]).unwrap().len() + 1;
    assert_eq!(planned.len(), made, "{planned:?}\n{}", anchor["inventory"]);
}

#[tokio::test]
async fn gw_w21_a_settled_world_has_nothing_to_do() {
    let server = cluster("- name: tenant-a\n- name: tenant-b\n").await;
    settle(&server).await;
    let (client, tap) = Tap::around(server.client());
    for (tenant, told) in foretold(&rehearsal(client)).await {
        assert_eq!((told.changes, told.forecast, told.error), (vec![], Forecast::Stays, None), "{tenant}");
    }
    assert_eq!(tap.writes(), []);
}

#[tokio::test]
async fn gw_w21_an_edit_is_foretold_for_its_tenant_alone_with_the_reason() {
    let server = cluster("- name: tenant-a\n- name: tenant-b\n").await;
    settle(&server).await;
    let rehearsal = rehearsal(server.client());
    let edited = "- name: tenant-a\n  gateway: {config: \"openshell.gateway.log_level = 'debug'\"}\n- name: tenant-b\n";
    rehearsal.assume("configmaps", config(edited)).unwrap();
    let told = foretold(&rehearsal).await;
    assert_eq!(told[0].1.forecast.to_string(), "restarts: TOML changed in [openshell.gateway] log_level");
    let kinds: Vec<_> = told[0].1.changes.iter().map(|change| change.kind.as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "StatefulSet"]);
    assert_eq!((told[1].1.changes.len(), &told[1].1.forecast), (0, &Forecast::Stays));
}

#[tokio::test]
async fn gw_w21_what_was_foretold_happens() {
    let server = cluster("- name: tenant-a\n").await;
    settle(&server).await;
    let edited = "- name: tenant-a\n  gateway: {serverDnsNames: [a.example], image: 'ghcr.io/nvidia/openshell/gateway:0.0.83'}\n";
    configure(&server, edited).await;
    let told = foretold(&rehearsal(server.client())).await;
    let reasons = told[0].1.forecast.to_string();
    assert!(reasons.contains("image changed from") && reasons.contains("[openshell.gateway] server_sans"), "{reasons}");
    settle(&server).await;
    let told = foretold(&rehearsal(server.client())).await;
    assert_eq!(told[0].1.changes, []);
}

#[tokio::test]
async fn gw_w21_what_waits_for_its_turn_is_foretold() {
    let server = cluster("- name: tenant-a\n- name: tenant-b\n").await;
    settle(&server).await;
    let options = Options::new(HOME, Some("ghcr.io/nvidia/openshell/gateway:0.0.83")).unwrap();
    let next = controllers(options, GatewayMetrics::default()).0.foreseeing();
    let identity = Identity::new("paddock", "paddock.dev", "plan");
    let rehearsal = Rehearsal::against(server.client(), identity, next).with_clock(subject().clock);
    for key in rehearsal.gather().await.unwrap() {
        let told = Foretold::of(&rehearsal.rehearse(&key).await).forecast.to_string();
        assert!(told.starts_with("restarts: image changed from"), "{key}: {told}");
    }
}

#[tokio::test]
async fn gw_w21_without_a_cluster_the_whole_set_is_rendered() {
    let identity = Identity::new("paddock", "paddock.dev", "plan");
    let rehearsal = Rehearsal::offline(Some("v1.36.0".to_owned()), identity, gateways());
    rehearsal.assume("configmaps", config("- name: tenant-a\n")).unwrap();
    let home = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "tenant-a" } });
    rehearsal.assume("namespaces", home).unwrap();
    let told = foretold(&rehearsal).await;
    let kinds: Vec<_> = told[0].1.changes.iter().map(|change| change.kind.as_str()).collect();
    assert!(
        kinds.contains(&"NetworkPolicy") && kinds.contains(&"Secret") && kinds.ends_with(&["StatefulSet"]),
        "{kinds:?}"
    );
    let file = told[0].1.changes.iter().find(|change| change.name == "openshell-gateway-config").unwrap();
    assert!(file.after.to_string().contains("image-volume"), "the version that was given counts");
}

#[tokio::test]
async fn gw_w21_a_missing_namespace_is_waited_for() {
    let server = cluster("- name: late\n").await;
    let told = foretold(&rehearsal(server.client())).await;
    assert_eq!(told[0].1.waits.as_deref(), Some("namespace late does not exist"));
}

#[tokio::test]
async fn gw_w21_removals_that_are_too_many_are_told_and_need_a_word() {
    let server = cluster("- name: tenant-a\n- name: tenant-b\n").await;
    settle(&server).await;
    let mut options = Options::new(HOME, None).unwrap();
    options.rules.max_removals = 1;
    let next = controllers(options, GatewayMetrics::default()).0.foreseeing();
    let identity = Identity::new("paddock", "paddock.dev", "plan");
    let rehearsal = Rehearsal::against(server.client(), identity, next).with_clock(subject().clock);
    rehearsal.assume("configmaps", config("[]")).unwrap();
    for key in rehearsal.gather().await.unwrap() {
        let told = Foretold::of(&rehearsal.rehearse(&key).await);
        assert!(told.refused && told.error.is_none(), "{key}: {told:?}");
        assert!(told.waits.unwrap().starts_with("2 gateways would go at once, 1 may"), "{key}");
    }
}

#[tokio::test]
async fn gw_w21_each_note_is_told_once() {
    let server = cluster("- name: tenant-a\n").await;
    settle(&server).await;
    let rehearsal = rehearsal(server.client());
    let edited = "- name: tenant-a\n  gateway: {config: \"openshell.gateway.log_level = 'debug'\"}\n";
    rehearsal.assume("configmaps", config(edited)).unwrap();
    let notes = foretold(&rehearsal).await[0].1.notes.clone();
    let restarts = notes.iter().filter(|note| note.contains("restarts once")).count();
    assert_eq!(restarts, 1, "{notes:?}");
}
