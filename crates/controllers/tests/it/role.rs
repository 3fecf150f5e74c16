//! The shipped role is enough for the gateways controllers, and nothing in it is too much.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Resource};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use paddock_api::DataPolicy;
use paddock_apiserver::{Loop, Server, User};
use paddock_controllers::gateways::definition::definition;
use paddock_controllers::gateways::{
    GatewayMetrics, NAMESPACES_KEY, Options, PLATFORM_CONFIG, STATUS, controllers, names, rbac,
};
use paddock_reconcile::{Context, Identity, LeaseConfig, Runtime};
use paddock_trials::{Right, account_with, grant, proves_role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const HOME: &str = "paddock-system";
const TENANT: &str = "tenant-a";
const GATEWAY: &str = "openshell-gateway";
const SHARED: &str = "shared";
const LEASE: &str = "paddock-operator";

fn shipped() -> Vec<PolicyRule> {
    [rbac::controller_rules(), LeaseConfig::rules(LEASE)].concat()
}

async fn server() -> Server {
    let server = Server::builder().in_memory().request_log(true).only(&[Loop::GarbageCollection]).start().await;
    let server = server.expect("the server starts");
    for name in [HOME, TENANT] {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(server.client()).create(&PostParams::default(), &namespace).await.expect("a namespace");
    }
    for role in [rbac::node_reader(), rbac::operator_role()] {
        Api::all(server.client()).create(&PostParams::default(), &role).await.expect("a role");
    }
    let definition: CustomResourceDefinition = serde_json::from_value(definition()).expect("a definition");
    Api::all(server.client()).create(&PostParams::default(), &definition).await.expect("a kind");
    server
}

async fn configure(server: &Server, tenants: &str) {
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PLATFORM_CONFIG}, "data": {NAMESPACES_KEY: tenants},
    });
    let api: Api<ConfigMap> = Api::namespaced(server.client(), HOME);
    api.patch(PLATFORM_CONFIG, &PatchParams::apply("user").force(), &Patch::Apply(&body))
        .await
        .expect("a configuration");
}

/// Waits until that row of the status has that text; `None`: until there is no such row.
async fn reported(server: &Server, row: &str, wanted: Option<&str>) {
    let api: Api<ConfigMap> = Api::namespaced(server.client(), HOME);
    let holds = |config: Option<&ConfigMap>| {
        let entry = config.and_then(|config| config.data.as_ref()?.get(row));
        match wanted {
            Some(text) => entry.is_some_and(|entry| entry.contains(text)),
            None => config.is_some() && entry.is_none(),
        }
    };
    await_condition(api, STATUS, holds).await.expect("a status");
}

async fn provisioned(server: &Server) {
    configure(server, &format!("- name: {TENANT}\n")).await;
    reported(server, TENANT, Some("NoNode")).await;
}

/// Twice the same mistake: the Event about it repeats.
async fn mistaken(server: &Server) {
    for _ in 0..2 {
        configure(server, "- [").await;
        reported(server, "_document", Some("InvalidDocument")).await;
        configure(server, &format!("- name: {TENANT}\n")).await;
        reported(server, "_document", None).await;
    }
}

/// A gateway that serves other namespaces, asked for by an object; it ends when everything of it is applied.
async fn shared(server: &Server) {
    let body = json!({
        "apiVersion": "paddock.dev/v1alpha1", "kind": "OpenShellGateway", "metadata": {"name": SHARED},
        "spec": {
            "image": "ghcr.io/nvidia/openshell/gateway:0.0.111",
            "isolation": "SharedOperator", "servedNamespaces": {"matchLabels": {"kubernetes.io/metadata.name": TENANT}},
        },
    });
    let kind = GroupVersionKind::gvk("paddock.dev", "v1alpha1", "OpenShellGateway");
    let resource = ApiResource::from_gvk_with_plural(&kind, "openshellgateways");
    let api: Api<DynamicObject> = Api::namespaced_with(server.client(), TENANT, &resource);
    api.patch(SHARED, &PatchParams::apply("user").force(), &Patch::Apply(&body)).await.expect("a gateway");
    let told = |object: Option<&DynamicObject>| {
        object.is_some_and(|object| object.data["status"].to_string().contains(r#""reason":"Applied""#))
    };
    await_condition(api, SHARED, told).await.expect("a status");
}

/// Runs the controllers as `account` while the story is told, then ends them.
async fn run(server: &Server, account: &User, story: impl Future<Output = ()>) {
    let cx = Context::new(server.client_as(account.clone()), Identity::new("paddock", "paddock.dev", "trial"));
    let mut options = Options::new(HOME, None).expect("options");
    options.rules.policies.data = DataPolicy::Delete;
    let (tenants, status, fleet) = controllers(options, GatewayMetrics::default());
    let lease = LeaseConfig { renew_every: Duration::from_millis(50), ..LeaseConfig::new(HOME, LEASE) };
    let runtime =
        Runtime::new(cx).with_controller(tenants).with_controller(status).with_controller(fleet).with_lease(lease);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(runtime.run(cancel.clone()));
    let told = tokio::time::timeout(Duration::from_secs(30), story).await;
    let refused: Vec<_> = server.log().entries().into_iter().filter(|entry| entry.code == 403).collect();
    told.unwrap_or_else(|_| panic!("the story does not come to its end; refused: {refused:?}"));
    cancel.cancel();
    running.await.expect("the controllers end").expect("in order");
}

/// Puts an object in the place of another, with a change that cannot be made to it where it is. Nobody may watch meanwhile.
async fn swap<K>(api: Api<K>, name: &str, change: impl FnOnce(&mut Value)) -> Option<String>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let mut object = serde_json::to_value(api.get(name).await.expect("an object")).expect("JSON");
    api.delete(name, &DeleteParams::default()).await.expect("a deletion");
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        object["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    change(&mut object);
    let object = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("another").meta().uid.clone()
}

/// Waits until another object has the name.
async fn replaced<K>(api: Api<K>, name: &str, uid: Option<String>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + DeserializeOwned + 'static,
{
    let other = move |object: Option<&K>| object.is_some_and(|object| object.meta().uid != uid);
    await_condition(api, name, other).await.expect("a successor");
}

/// A pod of the workload that is not ready.
async fn stuck(pods: &Api<Pod>, sets: &Api<StatefulSet>) {
    let uid = sets.get(GATEWAY).await.expect("the workload").metadata.uid;
    let pod = json!({
        "metadata": {
            "name": format!("{GATEWAY}-0"), "labels": {"paddock.dev/tenant": TENANT},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": GATEWAY, "uid": uid, "controller": true}
            ],
        },
        "spec": {"serviceAccountName": GATEWAY, "containers": [{"name": "gateway", "image": "ghcr.io/x:1"}]},
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    pods.create(&PostParams::default(), &pod).await.expect("a pod");
}

/// Rights that no request shows: they are held to be handed on to gateways, and the server asks for them when the controller
/// writes their roles and bindings. `each_right_that_is_handed_on_is_needed` proves them.
fn handed_on() -> Vec<String> {
    let bind = [names::NODE_READER, names::OPERATOR_ROLE, names::PRIVILEGED_SCC]
        .map(|role| format!("bind clusterroles.rbac.authorization.k8s.io {role}"));
    let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
    let sandboxes = ["sandboxes", "sandboxes/status"]
        .into_iter()
        .flat_map(|resource| verbs.map(|verb| format!("{verb} {resource}.agents.x-k8s.io")));
    let core = ["get events", "list events", "watch events", "get pods"].map(str::to_owned);
    sandboxes.chain(core).chain(bind).collect()
}

#[tokio::test]
async fn gw_a04_the_shipped_role_is_what_the_controllers_need() {
    let server = server().await;
    let account = account_with(&server, shipped()).await;
    run(&server, &account, async {
        provisioned(&server).await;
        mistaken(&server).await;
        shared(&server).await;
    })
    .await;
    // What cannot be changed in place was changed behind the controllers' back.
    let client = server.client();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), TENANT);
    let set = swap(sets.clone(), GATEWAY, |set| set["spec"]["serviceName"] = "other".into()).await;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), TENANT);
    let other = |binding: &mut Value| binding["roleRef"]["name"] = "other".into();
    let binding = swap(bindings.clone(), "openshell-gateway-sandbox", other).await;
    let cluster: Api<ClusterRoleBinding> = Api::all(client.clone());
    let reader = format!("openshell-gateway-node-reader-{TENANT}");
    let cluster_binding = swap(cluster.clone(), &reader, other).await;
    let services: Api<Service> = Api::namespaced(client.clone(), TENANT);
    let story = async {
        replaced(sets.clone(), GATEWAY, set).await;
        replaced(bindings, "openshell-gateway-sandbox", binding).await;
        replaced(cluster, &reader, cluster_binding).await;
        // An update that restarts the gateway.
        let before = sets.get(GATEWAY).await.expect("the workload").metadata.generation;
        configure(&server, &format!("- name: {TENANT}\n  gateway: {{serverDnsNames: [a.example]}}\n")).await;
        let changed = move |set: Option<&StatefulSet>| set.is_some_and(|set| set.metadata.generation > before);
        await_condition(sets.clone(), GATEWAY, changed).await.expect("the change");
        // Drift.
        let service = services.get(GATEWAY).await.expect("the service").metadata.uid;
        services.delete(GATEWAY, &DeleteParams::default()).await.expect("a deletion");
        replaced(services, GATEWAY, service).await;
        // Another authority: sandboxes are counted.
        let authorities: Api<Secret> = Api::namespaced(client.clone(), HOME);
        let asked = json!({"metadata": {"annotations": {"paddock.dev/rotate-authority": "1"}}});
        let name = "openshell-ca-tenant-a";
        authorities.patch(name, &PatchParams::default(), &Patch::Merge(&asked)).await.expect("a request");
        let overlaps = |secret: Option<&Secret>| {
            let record = secret.and_then(|secret| secret.data.as_ref()?.get("rotation"));
            record.is_some_and(|record| String::from_utf8_lossy(&record.0).contains("Overlapping"))
        };
        await_condition(authorities, name, overlaps).await.expect("an overlap");
        // A pod of another revision that does not come up stands in the workload's way.
        let pods: Api<Pod> = Api::namespaced(client.clone(), TENANT);
        stuck(&pods, &sets).await;
        await_condition(pods, "openshell-gateway-0", |pod: Option<&Pod>| pod.is_none()).await.expect("its end");
        // The volume, as the StatefulSet's controller claims it; it is smaller than wanted.
        let labels = json!({"app.kubernetes.io/name": "openshell", "app.kubernetes.io/instance": GATEWAY});
        let claim = json!({
            "metadata": {"name": format!("openshell-data-{GATEWAY}-0"), "labels": labels},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "small",
                "resources": {"requests": {"storage": "1Mi"}},
            },
        });
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("a claim");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), TENANT);
        let made = claims.create(&PostParams::default(), &claim).await.expect("a claim");
        // Who would say that nobody uses it does not run.
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let name = made.metadata.name.expect("named");
        claims.patch(&name, &PatchParams::default(), &free).await.expect("a change");
        let labelled = |claim: Option<&PersistentVolumeClaim>| {
            claim
                .and_then(|claim| claim.metadata.labels.as_ref())
                .is_some_and(|all| all.contains_key("paddock.dev/tenant"))
        };
        await_condition(claims, &name, labelled).await.expect("a label");
        // The end of the tenant: everything goes, and its report last.
        configure(&server, "[]").await;
        reported(&server, TENANT, None).await;
    };
    run(&server, &account, story).await;
    let requests: Vec<_> = server.log().entries().into_iter().filter(|entry| entry.user == account.name).collect();
    let handed_on = handed_on();
    let excused: Vec<_> = handed_on.iter().map(|right| (right.as_str(), "handed on to gateways")).collect();
    proves_role(&shipped(), &requests, &excused);
}

#[tokio::test]
async fn gw_a04_each_right_that_is_handed_on_is_needed() {
    let server = server().await;
    let account = account_with(&server, shipped()).await;
    run(&server, &account, async {
        provisioned(&server).await;
        shared(&server).await;
    })
    .await;
    let made: Role =
        Api::namespaced(server.client(), TENANT).get("openshell-gateway-sandbox").await.expect("the gateway's role");
    let role = Role { metadata: ObjectMeta { name: Some("copy".to_owned()), ..ObjectMeta::default() }, ..made };
    let reader: Api<ClusterRoleBinding> = Api::all(server.client());
    let mut copies = Vec::new();
    for name in [TENANT.to_owned(), format!("{TENANT}.{SHARED}")] {
        let made = reader.get(&format!("openshell-gateway-node-reader-{name}")).await.expect("the gateway's binding");
        copies.push(ClusterRoleBinding { metadata: role.metadata.clone(), ..made });
    }
    let roles: Api<Role> = Api::namespaced(server.client_as(account.clone()), TENANT);
    let bindings: Api<ClusterRoleBinding> = Api::all(server.client_as(account.clone()));
    // What an OpenShift has.
    let constraint: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": names::PRIVILEGED_SCC},
        "rules": [{
            "apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"],
            "resourceNames": ["privileged"], "verbs": ["use"],
        }],
    }))
    .expect("a role");
    Api::all(server.client()).create(&PostParams::default(), &constraint).await.expect("a role");
    let privileged: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": names::PRIVILEGED_BINDING},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names::PRIVILEGED_SCC},
        "subjects": [{"kind": "ServiceAccount", "name": names::SANDBOX_ACCOUNT, "namespace": TENANT}],
    }))
    .expect("a binding");
    let role_bindings: Api<RoleBinding> = Api::namespaced(server.client_as(account.clone()), TENANT);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for right in handed_on() {
        let rest = Right::all_of(&shipped()).into_iter().filter(|held| held.to_string() != right);
        grant(&server, rest.map(|held| held.rule()).collect()).await;
        let mut writes =
            vec![roles.create(&dry, &role).await.err(), role_bindings.create(&dry, &privileged).await.err()];
        for copy in &copies {
            writes.push(bindings.create(&dry, copy).await.err());
        }
        let refused = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
        assert!(writes.iter().flatten().any(refused), "{right}");
    }
}
