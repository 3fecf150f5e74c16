//! Rules of endpoints, one by one.

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use paddock_reconcile::{Plan, Verb};
use serde_json::{Value, json};

use super::legacy::{self, LegacyKnown};
use super::slices::{self, SlicesKnown};

fn service(spec: &Value) -> Service {
    let mut service = json!({"metadata": {"name": "web", "namespace": "n", "uid": "svc", "labels": {"team": "a"},
        "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "x"}, "ports": [{"name": "http", "port": 80, "targetPort": "h"}]}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        service["spec"][key] = value.clone();
    }
    serde_json::from_value(service).expect("a service")
}

/// A pod on node `n1`; `state` is its readiness, or `going`.
fn pod(name: &str, ip: &str, state: &str) -> Pod {
    let ready = if state == "unready" { "False" } else { "True" };
    let mut pod = json!({"metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "x"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "h", "containerPort": 8080, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:10Z"}]}});
    if state == "going" {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:20Z".into();
    }
    serde_json::from_value(pod).expect("a pod")
}

fn known(service: Service, pods: Vec<Pod>, slices: Vec<EndpointSlice>) -> SlicesKnown {
    let node = json!({"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}});
    let nodes = [("n1".to_owned(), serde_json::from_value(node).expect("a node"))].into();
    SlicesKnown { service, pods, nodes, slices, trigger: "2026-01-01T00:00:10Z".parse().ok() }
}

/// What is made, changed and deleted.
fn writes(plan: &Plan) -> (Vec<Value>, Vec<Value>, Vec<String>) {
    let (mut made, mut changed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for act in plan.acts.iter().flatten() {
        match act.verb() {
            Verb::Create(body) => made.push(body.clone()),
            Verb::Update { body, .. } | Verb::Patch { body, .. } => changed.push(body.clone()),
            Verb::Delete { .. } => gone.push(act.target().name.clone()),
        }
    }
    (made, changed, gone)
}

fn made(service: Service, pods: Vec<Pod>) -> Vec<Value> {
    writes(&slices::plan(&known(service, pods, Vec::new())).expect("a plan")).0
}

/// The slices as a server would keep them.
fn stored(bodies: Vec<Value>) -> Vec<EndpointSlice> {
    let store = |(at, mut body): (usize, Value)| {
        body["metadata"]["name"] = format!("web-{at}").into();
        body["metadata"]["uid"] = at.to_string().into();
        serde_json::from_value(body).expect("a slice")
    };
    bodies.into_iter().enumerate().map(store).collect()
}

#[test]
fn slice_tells_address_state_place_and_pod() {
    let slice = &made(service(&json!({})), vec![pod("p", "10.1.0.1", "ready")])[0];
    assert_eq!(
        slice["endpoints"],
        json!([{"addresses": ["10.1.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "n1", "zone": "z1",
            "targetRef": {"kind": "Pod", "name": "p", "namespace": "n", "uid": "p"}}])
    );
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"team": "a", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    let when = &slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"];
    assert_eq!(when, "2026-01-01T00:00:10Z");
}

fn conditions(service: Service, state: &str) -> Value {
    made(service, vec![pod("p", "10.1.0.1", state)])[0]["endpoints"][0]["conditions"].clone()
}

#[test]
fn pod_that_goes_serves_but_is_not_ready() {
    assert_eq!(conditions(service(&json!({})), "going"), json!({"ready": false, "serving": true, "terminating": true}));
}

#[test]
fn pod_that_is_not_ready_is_published_when_asked() {
    let publishes = service(&json!({"publishNotReadyAddresses": true}));
    assert_eq!(conditions(publishes, "unready"), json!({"ready": true, "serving": false, "terminating": false}));
}

#[test]
fn pod_that_ended_or_whose_node_is_missing_is_no_endpoint() {
    let mut ended = pod("p", "10.1.0.1", "ready");
    ended.status.as_mut().expect("a status").phase = Some("Succeeded".into());
    let mut lost = pod("q", "10.1.0.2", "ready");
    lost.spec.as_mut().expect("a spec").node_name = Some("other".into());
    assert_eq!(made(service(&json!({})), vec![ended, lost])[0]["endpoints"], json!([]));
}

#[test]
fn service_without_endpoints_has_one_empty_slice() {
    let bodies = made(service(&json!({})), vec![]);
    assert_eq!(
        bodies.iter().map(|b| (b["endpoints"].clone(), b["ports"].clone())).collect::<Vec<_>>(),
        [(json!([]), json!([]))]
    );
    let again = slices::plan(&known(service(&json!({})), vec![], stored(bodies))).expect("a plan");
    assert!(again.acts.is_empty());
}

#[test]
fn every_family_has_slices_of_its_own() {
    let dual = service(&json!({"ipFamilies": ["IPv4", "IPv6"]}));
    let mut both = pod("p", "10.1.0.1", "ready");
    both.status.as_mut().expect("a status").pod_ips =
        serde_json::from_value(json!([{"ip": "10.1.0.1"}, {"ip": "fd00::1"}])).expect("addresses");
    let bodies = made(dual, vec![both]);
    let told: Vec<_> =
        bodies.iter().map(|b| (b["addressType"].clone(), b["endpoints"][0]["addresses"][0].clone())).collect();
    assert_eq!(told, [(json!("IPv4"), json!("10.1.0.1")), (json!("IPv6"), json!("fd00::1"))]);
}

#[test]
fn headless_service_is_labelled() {
    let slice = &made(service(&json!({"clusterIP": "None"})), vec![])[0];
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}

#[test]
fn port_name_with_two_numbers_makes_two_slices() {
    let mut other = pod("q", "10.1.0.2", "ready");
    other.spec.as_mut().expect("a spec").containers[0].ports.as_mut().expect("ports")[0].container_port = 9090;
    let bodies = made(service(&json!({})), vec![pod("p", "10.1.0.1", "ready"), other]);
    assert_eq!(bodies.iter().map(|b| b["ports"][0]["port"].clone()).collect::<Vec<_>>(), [json!(8080), json!(9090)]);
}

fn many(number: u8) -> Vec<Pod> {
    (0..number).map(|at| pod(&format!("p{at:03}"), &format!("10.1.0.{at}"), "ready")).collect()
}

#[test]
fn slice_holds_a_hundred() {
    let bodies = made(service(&json!({})), many(150));
    let sizes: Vec<_> = bodies.iter().map(|b| b["endpoints"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(sizes, [100, 50]);
}

#[test]
fn new_endpoint_goes_where_there_is_room_and_the_rest_stays() {
    let there = stored(made(service(&json!({})), many(150)));
    let plan = slices::plan(&known(service(&json!({})), many(151), there)).expect("a plan");
    let (made, changed, gone) = writes(&plan);
    assert_eq!((made.len(), changed.len(), gone.len()), (0, 1, 0));
    assert_eq!(changed[0]["endpoints"].as_array().map(Vec::len), Some(51));
}

#[test]
fn settled_slices_are_not_written() {
    let there = stored(made(service(&json!({})), many(3)));
    let plan = slices::plan(&known(service(&json!({})), many(3), there)).expect("a plan");
    assert!(plan.acts.is_empty());
}

#[test]
fn slice_whose_last_endpoint_went_is_replaced_by_an_empty_one() {
    let there = stored(made(service(&json!({})), many(1)));
    let plan = slices::plan(&known(service(&json!({})), vec![], there)).expect("a plan");
    let (made, _, gone) = writes(&plan);
    assert_eq!((made.len(), gone), (1, vec!["web-0".to_owned()]));
}

#[test]
fn pod_with_a_name_below_the_service_tells_it() {
    let mut named = pod("p", "10.1.0.1", "ready");
    let spec = named.spec.as_mut().expect("a spec");
    (spec.hostname, spec.subdomain) = (Some("p-0".into()), Some("web".into()));
    assert_eq!(made(service(&json!({})), vec![named])[0]["endpoints"][0]["hostname"], "p-0");
}

#[test]
fn close_traffic_is_hinted_at() {
    let close = service(&json!({"trafficDistribution": "PreferSameNode"}));
    let hints = &made(close, vec![pod("p", "10.1.0.1", "ready")])[0]["endpoints"][0]["hints"];
    assert_eq!(*hints, json!({"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}));
}

fn legacy_of(service: Service, pods: Vec<Pod>) -> Value {
    let plan = legacy::plan(&LegacyKnown { service: Some(service), pods, live: None, trigger: None }).expect("a plan");
    writes(&plan).0.remove(0)
}

#[test]
fn endpoints_list_ready_and_other_addresses() {
    let pods = vec![pod("b", "10.1.0.2", "ready"), pod("a", "10.1.0.1", "unready"), pod("c", "10.1.0.3", "going")];
    let body = legacy_of(service(&json!({})), pods);
    let subset = &body["subsets"][0];
    let ips = |of: &str| subset[of].as_array().map(|a| a.iter().map(|a| a["ip"].clone()).collect::<Vec<_>>());
    assert_eq!(
        (ips("addresses"), ips("notReadyAddresses")),
        (Some(vec![json!("10.1.0.2")]), Some(vec![json!("10.1.0.1")]))
    );
    assert_eq!(subset["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(
        body["metadata"]["labels"],
        json!({"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"})
    );
}

#[test]
fn settled_endpoints_are_not_written() {
    let pods = vec![pod("b", "10.1.0.2", "ready")];
    let live = serde_json::from_value(legacy_of(service(&json!({})), pods.clone())).ok();
    let known = LegacyKnown { service: Some(service(&json!({}))), pods, live, trigger: None };
    assert!(legacy::plan(&known).expect("a plan").acts.is_empty());
}

#[test]
fn endpoints_go_with_their_service() {
    let live = serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n", "uid": "e"}})).ok();
    let plan = legacy::plan(&LegacyKnown { service: None, pods: vec![], live, trigger: None }).expect("a plan");
    assert_eq!(writes(&plan).2, ["web"]);
}

#[test]
fn endpoints_end_at_their_capacity() {
    let pods: Vec<Pod> =
        (0..1001).map(|at| pod(&format!("p{at}"), &format!("10.1.{}.{}", at / 250, at % 250), "ready")).collect();
    let body = legacy_of(service(&json!({})), pods);
    assert_eq!(body["subsets"][0]["addresses"].as_array().map(Vec::len), Some(1000));
    assert_eq!(body["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"], "truncated");
}
