//! Gateways end to end, without tasks and time: deterministic passes over a server in this process.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use paddock_apiserver::Server;
use paddock_controllers::gateways::{
    GatewayMetrics, GatewayStatus, Gateways, NAMESPACES_KEY, Options, PLATFORM_CONFIG, STATUS, controllers,
};
use paddock_trials::tap::Failure;
use paddock_trials::{Process, Request, Subject, World};
use serde_json::{Value, json};

pub(crate) const HOME: &str = "paddock-system";
pub(crate) const TWO: &str = "- name: tenant-a\n  gateway: {serverDnsNames: [a.example]}\n- name: tenant-b\n";

/// A server of one's own with the control plane's namespace and two tenants'.
pub(crate) struct Cluster(pub(crate) Server);

impl World for Cluster {
    fn client(&self) -> kube::Client {
        self.0.client()
    }
}

impl Cluster {
    pub(crate) async fn with(document: &str) -> Self {
        let cluster = Self(Server::builder().in_memory().loops(false).start().await.unwrap());
        for name in [HOME, "tenant-a", "tenant-b"] {
            cluster.namespace(name).await;
        }
        cluster.config(document).await;
        cluster
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(self.client()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// A node, by which gateways may run.
    pub(crate) async fn node(&self) {
        let metadata = ObjectMeta { name: Some("node".to_owned()), ..ObjectMeta::default() };
        let node = Node { metadata, ..Node::default() };
        Api::all(self.client()).create(&PostParams::default(), &node).await.unwrap();
    }

    /// The kind of sandboxes.
    pub(crate) async fn sandbox_kind(&self, version: &str) {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let versions = json!([{"name": version, "served": true, "storage": true, "schema": schema}]);
        let names = json!({"kind": "Sandbox", "listKind": "SandboxList", "plural": "sandboxes", "singular": "sandbox"});
        let spec = json!({"group": "agents.x-k8s.io", "scope": "Namespaced", "names": names, "versions": versions});
        let body = json!({"metadata": {"name": "sandboxes.agents.x-k8s.io"}, "spec": spec});
        self.add::<CustomResourceDefinition>("", body).await;
    }

    pub(crate) async fn config(&self, document: &str) {
        set_config(self.client(), document.to_owned()).await;
    }

    pub(crate) async fn secret(&self, tenant: &str, name: &str) -> BTreeMap<String, Vec<u8>> {
        let secret: Secret = Api::namespaced(self.client(), tenant).get(name).await.unwrap();
        secret.data.unwrap().into_iter().map(|(key, value)| (key, value.0)).collect()
    }

    pub(crate) async fn workload(&self, tenant: &str) -> StatefulSet {
        Api::namespaced(self.client(), tenant).get("openshell-gateway").await.unwrap()
    }

    async fn anchor_version(&self, tenant: &str) -> Option<String> {
        let anchor: ConfigMap = Api::namespaced(self.client(), tenant).get("openshell-gateway-anchor").await.unwrap();
        anchor.metadata.resource_version
    }

    pub(crate) async fn anchor(&self, tenant: &str) -> BTreeMap<String, String> {
        let anchor: ConfigMap = Api::namespaced(self.client(), tenant).get("openshell-gateway-anchor").await.unwrap();
        anchor.data.unwrap()
    }
}

async fn set_config(client: kube::Client, document: String) {
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": PLATFORM_CONFIG },
        "data": { NAMESPACES_KEY: document },
    });
    let api: Api<ConfigMap> = Api::namespaced(client, HOME);
    api.patch(PLATFORM_CONFIG, &PatchParams::apply("user").force(), &Patch::Apply(&body)).await.unwrap();
}

/// Fresh keys differ from run to run, and with them the hash and the certificate's end.
pub(crate) fn without_keys(object: &mut Value) {
    if let Some(annotations) = object.pointer_mut("/spec/template/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove("paddock.dev/config-hash");
        annotations.remove("paddock.dev/revision");
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("paddock.dev/restart-inputs");
    }
    if let Some(data) = object.pointer_mut("/data").and_then(Value::as_object_mut) {
        data.remove("summary");
        data.remove("rollout");
        data.remove("revisions");
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("paddock.dev/namespace-uid");
        annotations.remove("paddock.dev/data-key");
    }
}

fn subject() -> Subject<Gateways> {
    Subject::new(|| controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default()).0).normalise(without_keys)
}

async fn settled(cluster: &Cluster) -> Process<Gateways> {
    let mut process = subject().start(cluster);
    process.settle().await;
    process
}

#[tokio::test]
async fn gw_f14_second_pass_writes_nothing() {
    paddock_trials::second_pass_writes_nothing(&Cluster::with(TWO).await, &subject()).await;
}

/// The sample that earlier provisioners shipped, whose partial file once deleted and remade all certificates for ever.
#[tokio::test]
async fn gw_d02_partial_toml_second_pass_writes_nothing() {
    let sample = "- name: tenant-a\n  gateway:\n    image: ghcr.io/nvidia/openshell/gateway:0.0.71\n    serverDnsNames: [openshell-gateway.tenant-a.svc.cluster.local]\n    config: |\n      [openshell.gateway]\n      bind_address = \"0.0.0.0:8080\"\n      log_level = \"info\"\n      sandbox_namespace = \"tenant-a\"\n";
    paddock_trials::second_pass_writes_nothing(&Cluster::with(sample).await, &subject()).await;
}

/// A field in the wrong place once had no effect, and nobody was told.
#[tokio::test]
async fn gw_l26_whatever_is_applied_is_held_to_the_fields_that_the_server_knows() {
    let process = settled(&Cluster::with(TWO).await).await;
    let applied: Vec<_> = process.tap.writes().into_iter().filter(|write| write.method == "PATCH").collect();
    assert!(applied.len() > 20 && applied.iter().all(|write| write.strict), "{applied:?}");
}

/// Whatever a write is about, tests can have it refused: the path is no other than in a cluster.
#[tokio::test]
async fn gw_d29_refused_write_of_each_kind_is_made_good() {
    let cluster = Cluster::with(TWO).await;
    let writes = settled(&cluster).await.tap.writes();
    let kinds: BTreeSet<&str> = writes.iter().map(|write| write.resource.as_str()).collect();
    assert!(kinds.len() > 8, "{kinds:?}");
    for kind in kinds {
        let refused = writes.iter().position(|write| write.resource == kind).unwrap();
        let cluster = Cluster::with(TWO).await;
        let mut process = subject().start(&cluster);
        process.tap.fail(Failure::Before(refused + 1));
        process.settle().await;
        let summary = cluster.anchor("tenant-a").await["summary"].clone();
        assert!(summary.contains("NoNode"), "{kind}: {summary}");
    }
}

/// A ConfigMap has no generation: reports say by a digest which entry they are about.
#[tokio::test]
async fn gw_w01_conditions_of_an_entry_say_which_one_they_are_about() {
    let cluster = Cluster::with(TWO).await;
    let mut process = settled(&cluster).await;
    let about = async |tenant: &str| {
        let anchor = cluster.anchor(tenant).await;
        let conditions: Vec<Value> = serde_json::from_str(&anchor["conditions"]).unwrap();
        let summary: Value = serde_json::from_str(&anchor["summary"]).unwrap();
        let digest = summary["observedDigest"].as_str().unwrap().to_owned();
        assert!(digest.len() == 16 && conditions.iter().all(|it| it["observedDigest"] == *digest), "{anchor:?}");
        digest
    };
    let (first, other) = (about("tenant-a").await, cluster.anchor_version("tenant-b").await);
    for wrong in ["{log: 1}", "{image: 'no image'}"] {
        cluster.config(&TWO.replace("- name: tenant-a\n", &format!("- name: tenant-a\n  gateway: {wrong}\n"))).await;
        process.settle().await;
        assert_ne!(about("tenant-a").await, first, "{wrong}");
    }
    cluster.config(&format!("# the same\n{TWO}")).await;
    process.settle().await;
    assert_eq!((about("tenant-a").await, cluster.anchor_version("tenant-b").await), (first, other));
}

/// With that sample, each resync once deleted and remade everything.
#[tokio::test]
async fn gw_l15_resyncs_of_a_partial_toml_remake_nothing() {
    let sample = "- name: tenant-a\n  gateway: {config: \"openshell.gateway.bind_address = '0.0.0.0:8080'\"}\n";
    let cluster = Cluster::with(sample).await;
    let mut process = settled(&cluster).await;
    process.tap.clear();
    for _ in 0..3 {
        process.cx.clock().advance(std::time::Duration::from_secs(600));
        process.round().await.unwrap();
    }
    // That it never came up is told; nothing is deleted or made anew.
    let remade =
        process.tap.writes().into_iter().filter(|write| write.resource != "configmaps" || write.method == "DELETE");
    assert_eq!(remade.collect::<Vec<_>>(), []);
}

#[tokio::test]
async fn gw_w17_crash_after_every_write_converges() {
    paddock_trials::crash_after_every_write_converges(|| Cluster::with("- name: tenant-a\n"), &subject()).await;
}

#[tokio::test]
async fn gw_f14_changing_one_tenant_never_writes_anothers_objects() {
    let cluster = Cluster::with(TWO).await;
    let client = cluster.client();
    let edit = || set_config(client, TWO.replace("a.example", "changed.example"));
    let belongs = |request: &Request| request.namespace == "tenant-a" || request.resource == "events";
    paddock_trials::tenants_are_isolated(&cluster, &subject(), edit, belongs).await;
}

#[tokio::test]
async fn gw_f12_no_owner_across_namespaces() {
    paddock_trials::no_owner_across_namespaces(&Cluster::with(TWO).await, &subject()).await;
}

#[tokio::test]
async fn gw_d17_failed_parse_deletes_nothing() {
    let cluster = Cluster::with(TWO).await;
    let client = cluster.client();
    paddock_trials::failed_parse_deletes_nothing(&cluster, &subject(), || set_config(client, "- name: [".into())).await;
}

#[tokio::test]
async fn only_our_own_objects_are_touched() {
    paddock_trials::only_our_objects_are_touched(|| Cluster::with("- name: tenant-a\n"), &subject()).await;
}

#[tokio::test]
async fn gw_d04_new_name_reissues_the_server_certificate_and_restarts_once() {
    let cluster = Cluster::with(TWO).await;
    let mut process = settled(&cluster).await;
    let kept = ["openshell-client-tls", "openshell-gateway-jwt-keys"];
    let before = [cluster.secret("tenant-a", kept[0]).await, cluster.secret("tenant-a", kept[1]).await];
    let server = cluster.secret("tenant-a", "openshell-server-tls").await;
    let generation = cluster.workload("tenant-a").await.metadata.generation;
    cluster.config(&TWO.replace("[a.example]", "[a.example, b.example]")).await;
    process.settle().await;
    let after = [cluster.secret("tenant-a", kept[0]).await, cluster.secret("tenant-a", kept[1]).await];
    assert_eq!(before, after);
    let reissued = cluster.secret("tenant-a", "openshell-server-tls").await;
    assert_ne!(reissued["tls.crt"], server["tls.crt"]);
    assert_eq!(reissued["ca.crt"], server["ca.crt"]);
    assert_eq!(cluster.workload("tenant-a").await.metadata.generation, generation.map(|before| before + 1));
}

#[tokio::test]
async fn gw_d01_one_change_is_one_new_template() {
    let cluster = Cluster::with(TWO).await;
    settled(&cluster).await;
    let before = cluster.workload("tenant-a").await.metadata.generation;
    cluster.config(&TWO.replace("a.example", "changed.example")).await;
    for _ in 0..3 {
        settled(&cluster).await;
    }
    assert_eq!(cluster.workload("tenant-a").await.metadata.generation, before.map(|before| before + 1));
}

#[tokio::test]
async fn gw_d12_deleted_child_comes_back() {
    let cluster = Cluster::with(TWO).await;
    let mut process = settled(&cluster).await;
    let services: Api<Service> = Api::namespaced(cluster.client(), "tenant-a");
    services.delete("openshell-gateway", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert!(services.get_opt("openshell-gateway").await.unwrap().is_some());
}

#[tokio::test]
async fn gw_d10_namespace_that_comes_later_is_noticed() {
    let cluster = Cluster::with("- name: late\n").await;
    let mut process = settled(&cluster).await;
    cluster.namespace("late").await;
    process.settle().await;
    cluster.workload("late").await;
}

#[tokio::test]
async fn invalid_entry_stops_nobody_else() {
    let cluster = Cluster::with("- name: tenant-a\n  gateway: {imagee: x}\n- name: tenant-b\n").await;
    settled(&cluster).await;
    cluster.workload("tenant-b").await;
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client(), "tenant-a");
    assert_eq!(sets.list(&ListParams::default()).await.unwrap().items, []);
}

#[tokio::test]
async fn without_a_node_the_anchor_says_so() {
    let cluster = Cluster::with(TWO).await;
    settled(&cluster).await;
    let summary: Value = serde_json::from_str(&cluster.anchor("tenant-b").await["summary"]).unwrap();
    assert_eq!(
        (&summary["phase"], &summary["reason"], &summary["ready"]),
        (&"Provisioning".into(), &"NoNode".into(), &false.into())
    );
}

#[tokio::test]
async fn status_has_one_entry_per_tenant_and_drops_removed_ones() {
    let cluster = Cluster::with("- name: tenant-a\n- name: tenant-b\n- name: missing\n").await;
    let (gateways, status) = (subject(), status());
    gateways.start(&cluster).settle().await;
    let mut process = status.start(&cluster);
    process.settle().await;
    let report = |cluster: &Cluster| {
        let api: Api<ConfigMap> = Api::namespaced(cluster.client(), HOME);
        async move { api.get(STATUS).await.unwrap().data.unwrap() }
    };
    let rows = report(&cluster).await;
    let reason = |tenant: &str| serde_json::from_str::<Value>(&rows[tenant]).unwrap()["reason"].clone();
    assert_eq!((reason("tenant-a"), reason("missing")), ("NoNode".into(), "NamespaceMissing".into()));
    cluster.config("- name: tenant-a\n").await;
    gateways.start(&cluster).settle().await;
    process.settle().await;
    assert_eq!(report(&cluster).await.into_keys().collect::<Vec<_>>(), ["tenant-a"]);
}

fn status() -> Subject<GatewayStatus> {
    Subject::new(|| controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default()).1)
}

#[tokio::test]
async fn status_second_pass_writes_nothing() {
    let cluster = Cluster::with(TWO).await;
    subject().start(&cluster).settle().await;
    paddock_trials::second_pass_writes_nothing(&cluster, &status()).await;
}

#[tokio::test]
async fn a_pass_that_keeps_failing_reports_it_once() {
    use paddock_apiserver::fault::{Action, Rule};
    use paddock_apiserver::request::Verb;

    let cluster = Cluster::with("- name: tenant-a\n").await;
    cluster.0.faults().add(Rule::new(Action::Status(422)).verb(Verb::Patch).resource("statefulsets").always());
    let mut process = subject().start(&cluster);
    for _ in 0..4 {
        process.round().await.unwrap();
    }
    let reported = cluster.anchor_version("tenant-a").await;
    process.round().await.unwrap();
    assert_eq!(cluster.anchor_version("tenant-a").await, reported);
}

/// The same with everything running: watches, queues, workers, the server's own loops.
#[tokio::test]
async fn edit_of_platform_config_reaches_the_status_by_events_alone() {
    use kube::runtime::wait::await_condition;
    use paddock_reconcile::{Context, Identity, Runtime};
    use tokio_util::sync::CancellationToken;

    let cluster = Cluster(Server::builder().in_memory().start().await.unwrap());
    for name in [HOME, "tenant-a"] {
        cluster.namespace(name).await;
    }
    let (gateways, status, fleet) = controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default());
    let (client, tap) = paddock_trials::Tap::around(cluster.client());
    let cx = Context::new(client, Identity::new("paddock", "paddock.dev", "test"));
    let runtime = Runtime::new(cx).with_controller(gateways).with_controller(status).with_controller(fleet);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(runtime.run(cancel.clone()));
    cluster.config("- name: tenant-a\n- name: tenant-b\n").await;
    let report: Api<ConfigMap> = Api::namespaced(cluster.client(), HOME);
    let says = |tenant: &'static str, reason: &'static str| {
        await_condition(report.clone(), STATUS, move |config: Option<&ConfigMap>| {
            let entry = config.and_then(|config| config.data.as_ref()?.get(tenant));
            entry.is_some_and(|entry| entry.contains(&format!("\"reason\":\"{reason}\"")))
        })
    };
    let story = async {
        says("tenant-a", "NoNode").await.unwrap();
        says("tenant-b", "NamespaceMissing").await.unwrap();
        cluster.namespace("tenant-b").await;
        says("tenant-b", "NoNode").await.unwrap();
        cluster.config("- name: tenant-a\n  x: 1\n- name: tenant-b\n").await;
        says("tenant-a", "InvalidEntry").await.unwrap();
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), story).await.expect("events alone must get there");
    cancel.cancel();
    assert_eq!(running.await.unwrap(), Ok(()));
    // Whatever the number of gateways: what is new is not asked for one by one.
    let single = |request: &Request| request.method == "GET" && !request.name.is_empty();
    assert_eq!(tap.requests().into_iter().filter(single).collect::<Vec<_>>(), []);
}
