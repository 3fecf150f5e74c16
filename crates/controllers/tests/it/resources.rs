//! `OpenShellGateway` objects end to end, without tasks and time: deterministic passes over a server in this process.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use paddock_apiserver::Server;
use paddock_controllers::gateways::definition::definition;
use paddock_controllers::gateways::{
    GatewayMetrics, GatewayStatus, Gateways, NAMESPACES_KEY, OfPhase, Options, PLATFORM_CONFIG, STATUS, controllers,
    convert,
};
use paddock_policy::dns::SubjectName;
use paddock_policy::image::ImageReference;
use paddock_trials::{Process, Subject, World};
use serde_json::{Value, json};

const HOME: &str = "paddock-system";
const IMAGE: &str = "ghcr.io/nvidia/openshell/gateway:0.0.111";
/// The schema takes it; which gateway it is nobody can tell.
const UNVERSIONED: &str = "ghcr.io/nvidia/openshell/gateway";

/// A server of one's own with the kind, the control plane's namespace and two tenants'.
struct Cluster(Server);

impl World for Cluster {
    fn client(&self) -> kube::Client {
        self.0.client()
    }
}

impl Cluster {
    async fn without_the_kind() -> Self {
        let cluster = Self(Server::builder().in_memory().loops(false).start().await.unwrap());
        for name in [HOME, "tenant-a", "tenant-b"] {
            cluster.namespace(name, json!({})).await;
        }
        cluster
    }

    async fn new() -> Self {
        let cluster = Self::without_the_kind().await;
        cluster.install().await;
        cluster
    }

    async fn install(&self) {
        let definition: CustomResourceDefinition = serde_json::from_value(definition()).unwrap();
        Api::all(self.client()).create(&PostParams::default(), &definition).await.unwrap();
    }

    async fn namespace(&self, name: &str, labels: Value) {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        let api: Api<Namespace> = Api::all(self.client());
        api.patch(name, &PatchParams::apply("user").force(), &Patch::Apply(&body)).await.unwrap();
    }

    async fn config(&self, document: &str) {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": PLATFORM_CONFIG },
            "data": { NAMESPACES_KEY: document },
        });
        let api: Api<ConfigMap> = Api::namespaced(self.client(), HOME);
        api.patch(PLATFORM_CONFIG, &PatchParams::apply("user").force(), &Patch::Apply(&body)).await.unwrap();
    }

    fn gateways(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("paddock.dev", "v1alpha1", "OpenShellGateway");
        Api::namespaced_with(self.client(), namespace, &ApiResource::from_gvk_with_plural(&kind, "openshellgateways"))
    }

    async fn try_gateway(&self, namespace: &str, name: &str, spec: Value) -> Result<DynamicObject, kube::Error> {
        let body = json!({
            "apiVersion": "paddock.dev/v1alpha1", "kind": "OpenShellGateway", "metadata": { "name": name }, "spec": spec,
        });
        let params = PatchParams::apply("user").force();
        self.gateways(namespace).patch(name, &params, &Patch::Apply(&body)).await
    }

    async fn gateway(&self, namespace: &str, name: &str, spec: Value) {
        self.try_gateway(namespace, name, spec).await.unwrap();
    }

    /// Status and reason of a condition of an object.
    async fn condition(&self, namespace: &str, name: &str, kind: &str) -> (String, String, String) {
        let object = serde_json::to_value(self.gateways(namespace).get(name).await.unwrap()).unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap_or_else(|| panic!("no status: {object}"));
        let condition = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        assert_eq!(condition["observedGeneration"], object["metadata"]["generation"]);
        let text = |key: &str| condition[key].as_str().unwrap().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    async fn phase(&self, namespace: &str, name: &str) -> String {
        self.gateways(namespace).get(name).await.unwrap().data["status"]["phase"].as_str().unwrap().to_owned()
    }

    /// Names of the objects of a kind in a namespace.
    async fn names(&self, kind: &str, namespace: &str) -> BTreeSet<String> {
        self.bodies(kind, namespace).await.iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn bodies(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let (group, version) = match kind {
            "StatefulSet" => ("apps", "v1"),
            "NetworkPolicy" => ("networking.k8s.io", "v1"),
            "Role" | "RoleBinding" | "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "v1"),
            _ => ("", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = match namespace {
            "" => Api::all_with(self.client(), &resource),
            namespace => Api::namespaced_with(self.client(), namespace, &resource),
        };
        let list = api.list(&ListParams::default()).await.unwrap().items;
        list.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    async fn body(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let all = self.bodies(kind, namespace).await;
        all.into_iter().find(|object| object["metadata"]["name"] == name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }
}

fn options() -> Options {
    Options::new(HOME, Some(IMAGE)).unwrap()
}

fn subject() -> Subject<Gateways> {
    with(options())
}

fn with(options: Options) -> Subject<Gateways> {
    Subject::new(move || controllers(options.clone(), GatewayMetrics::default()).0)
}

fn status() -> Subject<GatewayStatus> {
    Subject::new(|| controllers(options(), GatewayMetrics::default()).1)
}

async fn settled(cluster: &Cluster) -> Process<Gateways> {
    let mut process = subject().start(cluster);
    process.settle().await;
    process
}

#[tokio::test]
async fn gw_w06_an_object_gets_its_gateway_and_is_told() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "team", json!({ "serverDnsNames": ["a.example"], "logLevel": "debug" })).await;
    settled(&cluster).await;
    let file = cluster.body("ConfigMap", "tenant-a", "team.config").await["data"]["gateway.toml"].to_string();
    assert!(file.contains("log_level = \\\"debug\\\"") && file.contains("a.example"), "{file}");
    for (kind, status, reason) in [
        ("ConfigValid", "True", "Valid"),
        ("NamespaceReady", "True", "NamespaceExists"),
        ("Prerequisites", "False", "SandboxKindMissing"),
        ("PkiReady", "True", "Complete"),
        ("Applied", "True", "Applied"),
        ("RolledOut", "False", "NoNode"),
        ("Ready", "False", "NoNode"),
    ] {
        let (is, why, _) = cluster.condition("tenant-a", "team", kind).await;
        assert_eq!((is.as_str(), why.as_str()), (status, reason), "{kind}");
    }
    let object = serde_json::to_value(cluster.gateways("tenant-a").get("team").await.unwrap()).unwrap();
    assert_eq!(object["status"]["phase"], "Provisioning");
    assert_eq!(object["status"]["image"], IMAGE);
}

#[tokio::test]
async fn gw_f14_second_pass_over_objects_writes_nothing() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "team", json!({})).await;
    cluster.gateway("tenant-b", "openshell-gateway", json!({})).await;
    paddock_trials::second_pass_writes_nothing(&cluster, &subject()).await;
}

#[tokio::test]
async fn gw_w06_wrong_toml_is_told_with_its_place_and_what_runs_is_kept() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "team", json!({ "logLevel": "debug" })).await;
    let mut process = settled(&cluster).await;
    let before = cluster.body("StatefulSet", "tenant-a", "team").await;
    cluster.gateway("tenant-a", "team", json!({ "config": "[openshell.gateway]\nlog_levle = \"x\"\n" })).await;
    process.settle().await;
    let (is, reason, message) = cluster.condition("tenant-a", "team", "ConfigValid").await;
    assert_eq!((is.as_str(), reason.as_str()), ("False", "InvalidEntry"));
    assert!(message.starts_with("spec.config: openshell.gateway.log_levle (line 2, column 1): "), "{message}");
    assert_eq!(
        cluster.body("StatefulSet", "tenant-a", "team").await["metadata"]["generation"],
        before["metadata"]["generation"]
    );
}

#[tokio::test]
async fn gw_w06_what_never_was_good_is_told_and_makes_nothing() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "team", json!({ "image": UNVERSIONED })).await;
    settled(&cluster).await;
    let (is, _, message) = cluster.condition("tenant-a", "team", "ConfigValid").await;
    assert!(is == "False" && message.starts_with("spec.image: "), "{message}");
    assert_eq!(cluster.phase("tenant-a", "team").await, "Failed");
    assert_eq!(cluster.names("StatefulSet", "tenant-a").await, BTreeSet::new());
}

/// The rules that the API server itself enforces.
#[tokio::test]
async fn gw_w06_the_schema_refuses_what_can_be_told_from_the_object_alone() {
    let cluster = Cluster::new().await;
    for (name, spec, expected) in [
        ("openshell-gateway-sandbox", json!({}), "the name is that of an object"),
        ("1a", json!({}), "because it names a Service"),
        ("a", json!({ "isolation": "SharedOperator" }), "SharedOperator needs servedNamespaces"),
        ("a", json!({ "servedNamespaces": { "matchLabels": { "a": "b" } } }), "PerTenant has none"),
        ("a", json!({ "database": { "type": "Postgres" } }), "Postgres needs secretName"),
        ("a", json!({ "database": { "type": "SQLite", "secretName": "x" } }), "SQLite has none"),
        ("a", json!({ "deletionPolicy": "Always" }), "Unsupported value"),
        ("a", json!({ "image": "gateway:0.0.71" }), "must be an image in full"),
        ("a", json!({ "image": "ghcr.io/x/y:1 --privileged" }), "must be an image in full"),
        ("a", json!({ "image": "ghcr.io/X/y:1" }), "must be an image in full"),
        ("a", json!({ "serverDnsNames": ["a.example", "a b"] }), "spec.serverDnsNames[1]: Invalid value"),
        ("a", json!({ "serverDnsNames": ["*.*.example"] }), "must be a DNS name"),
        ("a", json!({ "serverDnsNames": ["a.example\n"] }), "must be a DNS name"),
        ("a", json!({ "oidc": { "issuer": "https://idp.example" } }), "audience"),
        (
            "a",
            json!({ "oidc": { "issuer": "https://idp.example", "audience": "x", "adminRole": "" } }),
            "are empty together",
        ),
    ] {
        let error = cluster.try_gateway("tenant-a", name, spec.clone()).await.expect_err(&spec.to_string());
        assert!(error.to_string().contains(expected), "{name} {spec}: {error}");
    }
    cluster.gateway("tenant-a", "a", json!({})).await;
    let served = json!({ "isolation": "SharedOperator", "servedNamespaces": { "matchLabels": { "a": "b" } } });
    let error = cluster.try_gateway("tenant-a", "a", served).await.unwrap_err().to_string();
    assert!(error.contains("isolation cannot change"), "{error}");
}

/// The schema refuses nothing that the controller would take.
#[tokio::test]
async fn gw_f06_every_image_and_name_that_may_be_written_passes_the_schema() {
    let cluster = Cluster::new().await;
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let images = [
        "localhost/gateway:0.0.71",
        "localhost:5000/gateway:0.0.71",
        "Registry.Example:65535/a.b/c__d/e---f:0.0.71",
        "10.0.0.7:5000/gateway:0.0.71",
        "[::1]:5000/gateway:0.0.71",
        "[2001:db8::7]/gateway:0.0.71",
        &format!("ghcr.io/gateway:0.0.71@{digest}"),
        &format!("ghcr.io/gateway@sha512:{}", "0".repeat(128)),
    ];
    for image in images {
        image.parse::<ImageReference>().unwrap();
        cluster.gateway("tenant-a", "team", json!({ "image": image })).await;
    }
    let names =
        ["localhost", "a.example.", "*.agents.Example.com", "xn--mnchen-3ya.example", "10.0.0.7", "::1", "2001:DB8::7"];
    names.iter().for_each(|name| drop(name.parse::<SubjectName>().unwrap()));
    cluster.gateway("tenant-a", "team", json!({ "serverDnsNames": names })).await;
}

#[tokio::test]
async fn gw_w06_the_object_is_heard_before_platform_config_and_both_are_told() {
    let cluster = Cluster::new().await;
    cluster.config("- name: tenant-a\n  gateway: {serverDnsNames: [from-config.example]}\n").await;
    cluster.gateway("tenant-a", "openshell-gateway", json!({ "serverDnsNames": ["from-object.example"] })).await;
    settled(&cluster).await;
    let file = cluster.body("ConfigMap", "tenant-a", "openshell-gateway-config").await.to_string();
    assert!(file.contains("from-object.example") && !file.contains("from-config.example"), "{file}");
    let (is, reason, _) = cluster.condition("tenant-a", "openshell-gateway", "ConfigValid").await;
    assert_eq!((is.as_str(), reason.as_str()), ("True", "OverridesPlatformConfig"));
    status().start(&cluster).settle().await;
    let row = cluster.body("ConfigMap", HOME, STATUS).await["data"]["tenant-a"].to_string();
    assert!(row.contains("OverridesPlatformConfig"), "{row}");
}

#[tokio::test]
async fn gw_w01_gateways_that_objects_ask_for_are_counted_and_gone_with_them() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "team", json!({})).await;
    cluster.gateway("tenant-b", "team", json!({ "image": UNVERSIONED })).await;
    let mut process = settled(&cluster).await;
    let metrics = GatewayMetrics::default();
    let counting = metrics.clone();
    let mut counts = Subject::new(move || controllers(options(), counting.clone()).1).start(&cluster);
    counts.settle().await;
    let counted = |tenant: &str, phase: &str| {
        let of = OfPhase { tenant: tenant.to_owned(), phase: phase.to_owned() };
        metrics.phase.get(&of).is_some()
    };
    assert!(counted("tenant-a/team", "Provisioning") && counted("tenant-b/team", "Failed"));
    cluster.gateway("tenant-b", "team", json!({})).await;
    process.settle().await;
    counts.settle().await;
    assert!(counted("tenant-b/team", "Provisioning") && !counted("tenant-b/team", "Failed"));
    cluster.gateways("tenant-a").delete("team", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    counts.settle().await;
    assert!(!counted("tenant-a/team", "Provisioning"));
}

#[tokio::test]
async fn gw_w06_taking_over_what_was_converted_and_giving_it_back_changes_no_object() {
    let cluster = Cluster::new().await;
    let list = "- name: tenant-a\n  gateway: {serverDnsNames: [a.example], config: \"openshell.gateway.log_level = 'debug'\"}\n";
    cluster.config(list).await;
    let mut process = settled(&cluster).await;
    let objects = async || {
        let mut versions = BTreeSet::new();
        for kind in ["StatefulSet", "Secret", "Service", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"] {
            for object in cluster.bodies(kind, "tenant-a").await {
                versions
                    .insert(format!("{kind} {} {}", object["metadata"]["name"], object["metadata"]["resourceVersion"]));
            }
        }
        let config = cluster.body("ConfigMap", "tenant-a", "openshell-gateway-config").await;
        versions.insert(config["metadata"]["resourceVersion"].to_string());
        versions
    };
    let before = objects().await;
    for object in convert(list, None, &options().rules).unwrap() {
        cluster.gateway("tenant-a", "openshell-gateway", object["spec"].clone()).await;
    }
    process.settle().await;
    assert_eq!(objects().await, before);
    cluster.config("[]").await;
    process.settle().await;
    assert_eq!(objects().await, before);
    cluster.config(list).await;
    cluster.gateways("tenant-a").delete("openshell-gateway", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert_eq!(objects().await, before);
}

#[tokio::test]
async fn gw_w06_without_the_kind_platform_config_works() {
    let cluster = Cluster::without_the_kind().await;
    cluster.config("- name: tenant-a\n").await;
    let mut process = settled(&cluster).await;
    assert_eq!(cluster.names("StatefulSet", "tenant-a").await, BTreeSet::from(["openshell-gateway".to_owned()]));
    cluster.install().await;
    cluster.gateway("tenant-b", "team", json!({})).await;
    process.settle().await;
    assert_eq!(cluster.names("StatefulSet", "tenant-b").await, BTreeSet::from(["team".to_owned()]));
}

#[tokio::test]
async fn gw_w15_two_gateways_of_a_namespace_share_nothing() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "one", json!({})).await;
    cluster.gateway("tenant-a", "two", json!({})).await;
    cluster.config("- name: tenant-a\n").await;
    settled(&cluster).await;
    let all = ["one", "openshell-gateway", "two"].map(str::to_owned);
    for kind in ["StatefulSet", "Service"] {
        assert_eq!(cluster.names(kind, "tenant-a").await, BTreeSet::from(all.clone()));
    }
    let mut seen = BTreeSet::new();
    for name in &all {
        let set = cluster.body("StatefulSet", "tenant-a", name).await;
        let labels = &set["spec"]["template"]["metadata"]["labels"];
        for other in &all {
            let service = cluster.body("Service", "tenant-a", other).await;
            let policy = cluster.body("NetworkPolicy", "tenant-a", other).await;
            let selectors = [&service["spec"]["selector"], &policy["spec"]["podSelector"]["matchLabels"]];
            for selector in selectors {
                let selects = selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value);
                assert_eq!(selects, name == other, "{other} selects pods of {name}: {selector}");
            }
        }
        let spec = &set["spec"]["template"]["spec"];
        seen.insert(spec["serviceAccountName"].to_string());
        for volume in spec["volumes"].as_array().unwrap() {
            let source = volume["secret"]["secretName"].as_str().or(volume["configMap"]["name"].as_str()).unwrap();
            seen.insert(format!("{source} as {}", volume["name"]));
        }
    }
    // The account, the configuration, the token keys, and the server's certificate twice: of each gateway its own.
    assert_eq!(seen.len(), 3 * 5, "{seen:?}");
    let authorities: BTreeSet<_> =
        cluster.names("Secret", HOME).await.into_iter().filter(|name| name.starts_with("openshell-ca-")).collect();
    let expected = ["openshell-ca-tenant-a", "openshell-ca-tenant-a.one", "openshell-ca-tenant-a.two"];
    assert_eq!(authorities, expected.map(str::to_owned).into());
    let ids: BTreeSet<String> = ["one.config", "openshell-gateway-config", "two.config"].map(str::to_owned).into();
    let mut told = BTreeSet::new();
    for name in ids {
        let file =
            cluster.body("ConfigMap", "tenant-a", &name).await["data"]["gateway.toml"].as_str().unwrap().to_owned();
        told.extend(file.lines().filter(|line| line.starts_with("gateway_id")).map(str::to_owned));
    }
    assert_eq!(told.len(), 3, "{told:?}");
}

#[tokio::test]
async fn gw_w15_a_change_of_one_gateway_writes_nothing_of_its_neighbour() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "one", json!({})).await;
    cluster.gateway("tenant-a", "two", json!({})).await;
    let mut process = settled(&cluster).await;
    process.tap.clear();
    cluster.gateway("tenant-a", "one", json!({ "serverDnsNames": ["new.example"] })).await;
    process.settle().await;
    let writes = process.tap.writes();
    assert!(
        !writes.is_empty() && writes.iter().all(|write| write.resource == "events" || write.name.contains("one")),
        "{writes:#?}"
    );
}

#[tokio::test]
async fn gw_w16_an_object_of_the_default_name_takes_over_an_earlier_gateway_in_place() {
    let cluster = Cluster::new().await;
    cluster.config("- name: tenant-a\n").await;
    settled(&cluster).await;
    let before = cluster.body("StatefulSet", "tenant-a", "openshell-gateway").await;
    cluster.gateway("tenant-a", "openshell-gateway", json!({})).await;
    settled(&cluster).await;
    assert_eq!(cluster.body("StatefulSet", "tenant-a", "openshell-gateway").await["metadata"], before["metadata"]);
}

#[tokio::test]
async fn gw_w20_a_namespace_without_the_labels_is_told_and_left_alone() {
    let mut options = options();
    options.rules.namespaces = "agents=yes".parse().unwrap();
    let cluster = Cluster::new().await;
    cluster.namespace("tenant-a", json!({ "agents": "yes" })).await;
    cluster.gateway("tenant-a", "team", json!({})).await;
    cluster.gateway("tenant-b", "team", json!({})).await;
    let mut process = with(options).start(&cluster);
    process.settle().await;
    let (is, reason, _) = cluster.condition("tenant-b", "team", "NamespaceReady").await;
    assert_eq!((is.as_str(), reason.as_str()), ("False", "NamespaceNotSelected"));
    assert_eq!(cluster.phase("tenant-b", "team").await, "Pending");
    assert_eq!(cluster.names("StatefulSet", "tenant-b").await, BTreeSet::new());
    // The label is taken away: what runs stays.
    cluster.namespace("tenant-a", json!({})).await;
    let before = cluster.body("StatefulSet", "tenant-a", "team").await;
    process.settle().await;
    let (is, reason, _) = cluster.condition("tenant-a", "team", "NamespaceReady").await;
    assert_eq!((is.as_str(), reason.as_str()), ("False", "NamespaceNotSelected"));
    assert_eq!(cluster.body("StatefulSet", "tenant-a", "team").await["metadata"], before["metadata"]);
}

#[tokio::test]
async fn gw_a05_reserved_namespaces_hold_no_gateway_and_the_control_planes_may() {
    let cluster = Cluster::new().await;
    cluster.namespace("openshift-x", json!({})).await;
    cluster.gateway("openshift-x", "team", json!({})).await;
    cluster.config(&format!("- name: {HOME}\n")).await;
    settled(&cluster).await;
    let (is, _, message) = cluster.condition("openshift-x", "team", "ConfigValid").await;
    assert!(is == "False" && message.starts_with("metadata.namespace: "), "{message}");
    assert_eq!(cluster.names("StatefulSet", HOME).await, BTreeSet::from(["openshell-gateway".to_owned()]));
    let authority = cluster.body("Secret", HOME, &format!("openshell-ca-{HOME}")).await;
    assert!(authority["metadata"]["ownerReferences"].is_null());
}

fn shared() -> Value {
    json!({ "isolation": "SharedOperator", "servedNamespaces": { "matchLabels": { "workspace": "yes" } } })
}

#[tokio::test]
async fn gw_w15_a_shared_gateway_serves_the_namespaces_that_it_selects() {
    let cluster = Cluster::new().await;
    cluster.namespace("served", json!({ "workspace": "yes" })).await;
    cluster.gateway("tenant-a", "team", shared()).await;
    let mut process = settled(&cluster).await;
    let file =
        cluster.body("ConfigMap", "tenant-a", "team.config").await["data"]["gateway.toml"].as_str().unwrap().to_owned();
    assert!(file.contains("workspace_mode = \"operator\""), "{file}");
    assert!(file.contains("operator_namespace_label = \"workspace=yes\""), "{file}");
    let word = |key: &str| {
        let line = file.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {file}"));
        line.split('"').nth(1).unwrap().to_owned()
    };
    let (secret, account) = (word("client_tls_secret_name"), word("service_account_name"));
    let clients = cluster.body("Secret", "served", &secret).await;
    assert_eq!(clients["data"], cluster.body("Secret", "tenant-a", "team.client-tls").await["data"]);
    cluster.body("ServiceAccount", "served", &account).await;
    cluster.body("NetworkPolicy", "served", &account).await;
    let binding = cluster.body("ClusterRoleBinding", "", "openshell-gateway-node-reader-tenant-a.team").await;
    assert_eq!(binding["roleRef"]["name"], "openshell-gateway-operator");
    let policy = cluster.body("NetworkPolicy", "tenant-a", "team").await;
    assert!(policy["spec"]["ingress"][0]["from"].to_string().contains("\"workspace\":\"yes\""), "{policy}");
    assert_eq!(cluster.names("Secret", "tenant-b").await, BTreeSet::new());
    // A namespace that comes later, or gets the label.
    cluster.namespace("tenant-b", json!({ "workspace": "yes" })).await;
    process.settle().await;
    cluster.body("Secret", "tenant-b", &secret).await;
}

#[tokio::test]
async fn gw_w15_a_namespace_that_loses_the_label_loses_what_was_made_there() {
    let cluster = Cluster::new().await;
    let served: Vec<String> = (0..11).map(|n| format!("served-{n}")).collect();
    for namespace in &served {
        cluster.namespace(namespace, json!({ "workspace": "yes" })).await;
    }
    cluster.gateway("tenant-a", "team", shared()).await;
    let mut process = settled(&cluster).await;
    let first = async |kind: &str| cluster.names(kind, &served[0]).await.len();
    assert_eq!((first("Secret").await, first("NetworkPolicy").await), (1, 1));
    cluster.namespace(&served[0], json!({})).await;
    process.settle().await;
    assert_eq!((first("Secret").await, first("NetworkPolicy").await), (0, 0));
    cluster.namespace(&served[0], json!({ "workspace": "yes" })).await;
    process.settle().await;
    // More at once than an accident may take.
    for namespace in &served {
        cluster.namespace(namespace, json!({})).await;
    }
    process.settle().await;
    let (is, reason, message) = cluster.condition("tenant-a", "team", "Applied").await;
    assert_eq!((is.as_str(), reason.as_str(), first("Secret").await), ("False", "TooManyDeletions", 1));
    let how =
        "kubectl annotate --overwrite openshellgateway team --namespace tenant-a paddock.dev/acknowledge-removals=true";
    assert!(message.contains(how), "{message}");
    let word = json!({ "metadata": { "annotations": { "paddock.dev/acknowledge-removals": "true" } } });
    cluster.gateways("tenant-a").patch("team", &PatchParams::default(), &Patch::Merge(&word)).await.unwrap();
    process.settle().await;
    assert_eq!((first("Secret").await, first("NetworkPolicy").await), (0, 0));
    assert_eq!(cluster.names("Secret", &served[10]).await.len(), 0);
}

#[tokio::test]
async fn gw_w15_a_shared_gateway_of_an_old_release_is_refused() {
    let cluster = Cluster::new().await;
    let mut spec = shared();
    spec["image"] = "ghcr.io/nvidia/openshell/gateway:0.0.106".into();
    cluster.gateway("tenant-a", "team", spec).await;
    settled(&cluster).await;
    let (is, _, message) = cluster.condition("tenant-a", "team", "ConfigValid").await;
    assert!(is == "False" && message.starts_with("spec.isolation: a shared gateway must be 0.0.107"), "{message}");
}

#[tokio::test]
async fn gw_f12_a_shared_gateway_has_no_owner_across_namespaces() {
    let cluster = Cluster::new().await;
    cluster.namespace("served", json!({ "workspace": "yes" })).await;
    cluster.gateway("tenant-a", "team", shared()).await;
    paddock_trials::no_owner_across_namespaces(&cluster, &subject()).await;
}

/// More objects than a page of a list holds, each of which is seen.
#[tokio::test]
async fn gw_l21_every_page_of_objects_is_seen() {
    let cluster = Cluster::new().await;
    for n in 0..510 {
        cluster.gateway("tenant-a", &format!("g{n}"), json!({ "image": UNVERSIONED })).await;
    }
    let mut process = subject().start(&cluster);
    assert_eq!(process.observe().await.unwrap().len(), 510);
}

/// A name chosen like a namespace, and a namespace like a name: each object is its own gateway's.
#[tokio::test]
async fn gw_l09_names_and_namespaces_are_not_mixed_up() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "tenant-b", json!({})).await;
    cluster.gateway("tenant-b", "tenant-a", json!({})).await;
    settled(&cluster).await;
    for (namespace, name) in [("tenant-a", "tenant-b"), ("tenant-b", "tenant-a")] {
        assert_eq!(cluster.names("StatefulSet", namespace).await, BTreeSet::from([name.to_owned()]));
        let file = cluster.body("ConfigMap", namespace, &format!("{name}.config")).await.to_string();
        assert!(file.contains(&format!("https://{name}.{namespace}.svc.cluster.local:8080")), "{file}");
    }
}

#[tokio::test]
async fn gw_w04_a_deleted_object_stays_until_everything_of_its_gateway_is_gone() {
    let cluster = Cluster::new().await;
    cluster.gateway("tenant-a", "team", json!({ "dataPolicy": "Delete" })).await;
    cluster.gateway("tenant-a", "other", json!({})).await;
    let mut process = settled(&cluster).await;
    let held = cluster.gateways("tenant-a").get("team").await.unwrap();
    assert_eq!(held.metadata.finalizers.unwrap(), ["paddock.dev/gateway"]);
    cluster.gateways("tenant-a").delete("team", &DeleteParams::default()).await.unwrap();
    process.round().await.unwrap();
    let object = serde_json::to_value(cluster.gateways("tenant-a").get("team").await.unwrap()).unwrap();
    assert_eq!(object["status"]["phase"], "Deleting", "{object}");
    process.settle().await;
    assert!(cluster.gateways("tenant-a").get_opt("team").await.unwrap().is_none());
    let writes = process.tap.writes();
    assert!(writes.iter().all(|write| write.code != 404), "its end is known when it is let go: {writes:?}");
    for kind in ["StatefulSet", "Secret", "ConfigMap", "Service", "Role", "NetworkPolicy", "ServiceAccount"] {
        let names = cluster.names(kind, "tenant-a").await;
        assert!(names.iter().all(|name| !name.starts_with("team")), "{kind} {names:?}");
    }
    assert_eq!(cluster.names("StatefulSet", "tenant-a").await, BTreeSet::from(["other".to_owned()]));
    let bindings = cluster.names("ClusterRoleBinding", "").await;
    assert!(bindings.contains("openshell-gateway-node-reader-tenant-a.other"), "{bindings:?}");
    assert!(!bindings.contains("openshell-gateway-node-reader-tenant-a.team"), "{bindings:?}");
}

#[tokio::test]
async fn gw_w24_a_deleted_object_says_what_keeps_its_gateway_and_its_own_policy_counts() {
    for (policy, goes) in [("Block", false), ("Force", true)] {
        let cluster = Cluster::new().await;
        cluster.gateway("tenant-a", "openshell-gateway", json!({ "deletionPolicy": policy })).await;
        let mut process = settled(&cluster).await;
        for (kind, body) in [
            ("ServiceAccount", json!({ "metadata": { "name": "default" } })),
            (
                "Pod",
                json!({
                    "metadata": { "name": "work", "labels": { "agents.x-k8s.io/sandbox-name-hash": "1" } },
                    "spec": { "containers": [{ "name": "c", "image": "i" }] },
                }),
            ),
        ] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
            let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "tenant-a", &resource);
            let mut body = body;
            (body["apiVersion"], body["kind"]) = ("v1".into(), kind.into());
            api.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
        }
        cluster.gateways("tenant-a").delete("openshell-gateway", &DeleteParams::default()).await.unwrap();
        process.settle().await;
        let object = cluster.gateways("tenant-a").get_opt("openshell-gateway").await.unwrap();
        assert_eq!(object.is_none(), goes, "{policy}");
        if !goes {
            let (is, reason, message) = cluster.condition("tenant-a", "openshell-gateway", "Ready").await;
            assert_eq!((is.as_str(), reason.as_str()), ("False", "SandboxesLive"));
            assert_eq!(message, "1 sandbox lives in it: work");
            assert_eq!(cluster.names("StatefulSet", "tenant-a").await.len(), 1);
        }
    }
}

#[tokio::test]
async fn gw_w04_a_shared_gateway_that_goes_takes_along_what_it_had_elsewhere() {
    let cluster = Cluster::new().await;
    cluster.namespace("tenant-b", json!({ "team": "blue" })).await;
    let spec = json!({ "isolation": "SharedOperator", "servedNamespaces": { "matchLabels": { "team": "blue" } } });
    cluster.gateway("tenant-a", "shared", spec).await;
    let mut process = settled(&cluster).await;
    assert!(!cluster.names("ServiceAccount", "tenant-b").await.is_empty());
    cluster.gateways("tenant-a").delete("shared", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    for kind in ["Secret", "Role", "RoleBinding", "NetworkPolicy", "ServiceAccount"] {
        assert!(cluster.names(kind, "tenant-b").await.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn gw_w06_secret_of_an_external_database_is_heard_when_it_comes_changes_and_goes() {
    let cluster = Cluster::new().await;
    let database = json!({ "type": "Postgres", "secretName": "their-database" });
    cluster.gateway("tenant-a", "team", json!({ "database": database })).await;
    let mut process = settled(&cluster).await;
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(cluster.client(), "tenant-a");
    let lacks =
        async || cluster.condition("tenant-a", "team", "Prerequisites").await.2.contains("Secret of the database");
    let hash = async || {
        let set = cluster.body("StatefulSet", "tenant-a", "team").await;
        set["spec"]["template"]["metadata"]["annotations"]["paddock.dev/config-hash"].to_string()
    };
    assert!(lacks().await);
    let mut seen = BTreeSet::new();
    for uri in ["postgres://one", "postgres://two"] {
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "their-database" }, "stringData": { "uri": uri },
        });
        secrets.patch("their-database", &PatchParams::apply("user").force(), &Patch::Apply(&body)).await.unwrap();
        process.settle().await;
        assert!(!lacks().await);
        assert!(seen.insert(hash().await), "{uri} is another database");
    }
    secrets.delete("their-database", &DeleteParams::default()).await.unwrap();
    process.settle().await;
    assert!(lacks().await);
    assert!(!seen.insert(hash().await), "what runs runs on");
}
