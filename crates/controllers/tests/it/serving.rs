//! Gateways that really listen: certificates are verified by handshake, `Serving` is what the gateway itself says, and a client
//! that reads its Secret once keeps its trust through renewals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use paddock_apiserver::Server;
use paddock_controllers::gateways::probe::{Caller, Health, Probes, Session};
use paddock_controllers::gateways::{GatewayMetrics, Gateways, Options, controllers};
use paddock_reconcile::Clock;
use paddock_trials::gateway::{Answer, Gateway};
use paddock_trials::kubelet::{Fate, Kubelet};
use paddock_trials::{Process, Subject, World as _};
use serde_json::{Value, json};

use crate::gateways::{Cluster, HOME, without_keys};

const TENANT: &str = "tenant-a";
const GATEWAY: &str = "openshell-gateway";
const HOST: &str = "openshell-gateway.tenant-a.svc.cluster.local";
const DAY: Duration = Duration::from_secs(24 * 3600);
const PROPAGATION: Duration = Duration::from_secs(90);

/// A tenant whose gateway runs on a scripted node.
struct Scene {
    cluster: Cluster,
    process: Process<Gateways>,
    kubelet: Kubelet,
    probes: Probes,
    /// The server's, too, so that pods are as old as they look.
    clock: Clock,
}

fn subject(clock: &Clock, probes: &Probes) -> Subject<Gateways> {
    let probes = probes.clone();
    let make = move || {
        let gateways = controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default()).0;
        gateways.with_probes(Some(probes.clone()))
    };
    let mut subject = Subject::new(make).normalise(without_keys);
    subject.clock = clock.clone();
    subject
}

fn probes(kubelet: &Kubelet) -> Probes {
    let kubelet = kubelet.clone();
    Probes::new(Arc::new(move |endpoint| {
        let found = kubelet.gateway(&endpoint.namespace, &endpoint.service).map(|gateway| gateway.address);
        Box::pin(async move { found.ok_or_else(|| std::io::Error::other("nobody listens")) })
    }))
}

impl Scene {
    async fn new() -> Self {
        let clock = Clock::manual(jiff::Timestamp::now());
        let server = Server::builder().in_memory().loops(false).clock(clock.clone()).start().await.unwrap();
        let cluster = Cluster(server);
        for name in [HOME, TENANT] {
            cluster.namespace(name).await;
        }
        cluster.config(&format!("- name: {TENANT}\n")).await;
        let kubelet = Kubelet::new().serving(clock.clone(), PROPAGATION);
        let probes = probes(&kubelet);
        let process = subject(&clock, &probes).start(&cluster);
        cluster.node().await;
        cluster.sandbox_kind("v1alpha1").await;
        Self { cluster, process, kubelet, probes, clock }
    }

    /// A gateway that was rolled out and looked at.
    async fn running() -> Self {
        let mut scene = Self::new().await;
        scene.quiet().await;
        scene.node().await;
        scene
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Passes until nothing is written and nobody is looked at.
    async fn quiet(&mut self) {
        let mut looks = self.probes.looks();
        loop {
            let before = looks.borrow().ended;
            self.process.settle().await;
            let quiet = looks.wait_for(|looks| looks.begun == looks.ended);
            let ended = tokio::time::timeout(Duration::from_secs(20), quiet).await.expect("looks end").unwrap().ended;
            if ended == before {
                return;
            }
        }
    }

    /// Time passes, at least until the gateway is looked at again.
    async fn pass_time(&mut self, by: Duration) {
        let mut looks = self.probes.looks();
        let before = looks.borrow().ended;
        self.advance(by);
        let looked = looks.wait_for(|looks| looks.ended > before);
        tokio::time::timeout(Duration::from_secs(20), looked).await.expect("a look").unwrap();
        self.quiet().await;
    }

    /// The next look at its time.
    async fn look(&mut self) {
        self.pass_time(Duration::from_secs(61)).await;
    }

    /// The node's next step.
    async fn node(&mut self) {
        self.kubelet.step(&self.cluster).await.unwrap();
        self.quiet().await;
    }

    fn gateway(&self) -> Arc<Gateway> {
        self.kubelet.gateway(TENANT, GATEWAY).expect("it runs")
    }

    async fn conditions(&self) -> BTreeMap<String, (String, String)> {
        let api: Api<ConfigMap> = Api::namespaced(self.cluster.client(), TENANT);
        let anchor = api.get("openshell-gateway-anchor").await.unwrap().data.unwrap();
        let conditions: Vec<Value> = serde_json::from_str(&anchor["conditions"]).unwrap();
        let text = |condition: &Value, field: &str| condition[field].as_str().unwrap().to_owned();
        conditions.iter().map(|one| (text(one, "type"), (text(one, "status"), text(one, "reason")))).collect()
    }

    async fn says(&self, condition: &str, status: &str, reason: &str) {
        let conditions = self.conditions().await;
        assert_eq!(conditions[condition], (status.to_owned(), reason.to_owned()), "{condition} of {conditions:#?}");
    }

    async fn secret(&self, namespace: &str, name: &str) -> BTreeMap<String, String> {
        let secret: Secret = Api::namespaced(self.cluster.client(), namespace).get(name).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        secret.data.unwrap().into_iter().map(|(key, value)| (key, text(value.0))).collect()
    }

    async fn set_secret(&self, name: &str, key: &str, value: &str) {
        let data = BTreeMap::from([(key, k8s_openapi::ByteString(value.as_bytes().to_vec()))]);
        let api: Api<Secret> = Api::namespaced(self.cluster.client(), TENANT);
        api.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "data": data }))).await.unwrap();
    }

    /// A sandbox starts: it reads its Secret now and never again.
    async fn sandbox(&self) -> Sandbox {
        let given = self.secret(TENANT, "openshell-client-tls").await;
        let caller = Caller::new(&given["ca.crt"], &given["tls.crt"], &given["tls.key"], self.clock.clone()).unwrap();
        let mut session = caller.connect(self.gateway().address, HOST).await.unwrap();
        assert_eq!(session.health().await, Ok(Health::Healthy));
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "sandbox-", "labels": {"agents.x-k8s.io/sandbox-name-hash": "x"}},
            "spec": {
                "serviceAccountName": "openshell-gateway-sandbox", "containers": [{"name": "c", "image": "example.com/x:1"}],
            },
        });
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), TENANT);
        let pod = api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        Sandbox { caller, session, pod: pod.metadata.name.unwrap() }
    }

    /// The sandbox's connection still works, and a new one of its own, too.
    async fn assert_connected(&self, sandbox: &mut Sandbox, when: &str) {
        assert_eq!(sandbox.session.health().await, Ok(Health::Healthy), "{when}: the open connection");
        let again = sandbox.caller.connect(self.gateway().address, HOST).await;
        let mut again = again.unwrap_or_else(|seen| panic!("{when}: the sandbox cannot connect again: {seen:?}"));
        assert_eq!(again.health().await, Ok(Health::Healthy), "{when}: a new connection");
    }

    /// Time passes for everybody: passes, the node in its rhythm, looks.
    async fn live(&mut self, span: Duration) {
        self.pass_time(span).await;
        self.node().await;
        self.pass_time(PROPAGATION).await;
        self.node().await;
        self.look().await;
    }
}

struct Sandbox {
    caller: Caller,
    session: Session,
    pod: String,
}

#[tokio::test]
async fn gw_w13_ready_is_what_the_gateway_itself_says() {
    let mut scene = Scene::new().await;
    scene.process.settle().await;
    scene.says("Serving", "False", "Waiting").await;
    scene.kubelet.step(&scene.cluster).await.unwrap();
    scene.quiet().await;
    scene.says("Serving", "True", "Healthy").await;
    scene.says("PkiReady", "True", "Complete").await;
    scene.says("Ready", "True", "Ready").await;
}

#[tokio::test]
async fn gw_w13_a_gateway_that_is_scaled_away_is_not_dialled() {
    let mut scene = Scene::running().await;
    let sets: Api<StatefulSet> = Api::namespaced(scene.cluster.client(), TENANT);
    let none = json!({"spec": {"replicas": 0}});
    sets.patch(GATEWAY, &PatchParams::default(), &Patch::Merge(none)).await.unwrap();
    scene.node().await;
    scene.says("RolledOut", "False", "ScaledToZero").await;
    scene.says("Serving", "False", "Waiting").await;
    let looks = scene.probes.looks().borrow().begun;
    scene.advance(Duration::from_secs(61));
    scene.quiet().await;
    assert_eq!(scene.probes.looks().borrow().begun, looks, "nobody is asked");
}

#[tokio::test]
async fn gw_w13_a_settled_gateway_is_asked_on_and_nothing_is_written() {
    let mut scene = Scene::running().await;
    // The time in which a new revision proves itself.
    scene.pass_time(Duration::from_secs(60)).await;
    scene.process.tap.clear();
    let calls = scene.gateway().calls();
    for _ in 0..5 {
        scene.look().await;
    }
    assert_eq!(scene.gateway().calls(), calls + 5);
    assert_eq!(scene.process.tap.writes(), []);
}

#[tokio::test]
async fn gw_w13_what_a_gateway_answers_is_told_apart_and_recovery_is_seen() {
    let mut scene = Scene::running().await;
    for (answer, reason) in [
        (Answer::Unhealthy, "Unhealthy"),
        (Answer::Degraded, "Degraded"),
        (Answer::Status(12), "HealthCheckFailed"),
        (Answer::NotGrpc, "HealthCheckFailed"),
        (Answer::Garbage, "HealthCheckFailed"),
    ] {
        scene.gateway().set(answer);
        scene.look().await;
        scene.says("Serving", "False", reason).await;
        scene.says("Ready", "False", reason).await;
    }
    scene.gateway().set(Answer::Healthy);
    scene.look().await;
    scene.says("Ready", "True", "Ready").await;
}

#[tokio::test]
async fn gw_w13_a_gateway_that_never_answers_ends_at_the_deadline() {
    let mut scene = Scene::running().await;
    scene.gateway().set(Answer::Silent);
    let calls = scene.gateway().calls();
    scene.advance(Duration::from_secs(61));
    while scene.gateway().calls() == calls {
        tokio::task::yield_now().await;
    }
    scene.pass_time(Duration::from_secs(5)).await;
    scene.says("Serving", "False", "DeadlineExceeded").await;
}

#[tokio::test]
async fn gw_w13_a_port_where_nobody_listens_is_unreachable() {
    let mut scene = Scene::running().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let probes = Probes::new(Arc::new(move |_| Box::pin(async move { Ok(closed) })));
    scene.process = subject(&scene.clock, &probes).start(&scene.cluster);
    scene.probes = probes;
    scene.quiet().await;
    scene.says("Serving", "False", "Unreachable").await;
    assert!(scene.conditions().await["PkiReady"].0 == "True", "nothing is known against the certificate");
}

#[tokio::test]
async fn gw_w13_a_gateway_that_does_not_believe_the_client_refuses() {
    let mut scene = Scene::running().await;
    let stranger = paddock_stranger(&scene.clock);
    let server = scene.secret(TENANT, "openshell-server-tls").await;
    scene.gateway().reload(&paddock_trials::gateway::Mounted {
        certificate: server["tls.crt"].clone().into_bytes(),
        key: server["tls.key"].clone().into_bytes(),
        client_authorities: stranger.certificate_pem().as_bytes().to_vec(),
    });
    scene.look().await;
    scene.says("Serving", "False", "TlsRefused").await;
}

#[tokio::test]
async fn gw_w13_a_certificate_of_another_authority_is_a_wrong_one() {
    let mut scene = Scene::running().await;
    let stranger = paddock_stranger(&scene.clock);
    let leaf = stranger
        .issue(&paddock_pki::LeafRequest {
            common_name: "openshell-server".into(),
            organization: None,
            organizational_unit: None,
            names: [HOST.into()].into(),
            usage: paddock_pki::Usage::Server,
            now: scene.clock.now(),
            not_after: scene.clock.now().checked_add(DAY).unwrap(),
        })
        .unwrap();
    scene.gateway().reload(&paddock_trials::gateway::Mounted {
        certificate: leaf.certificate_pem.into_bytes(),
        key: leaf.key_pem.expose().as_bytes().to_vec(),
        client_authorities: scene.secret(TENANT, "openshell-server-tls").await["ca.crt"].clone().into_bytes(),
    });
    scene.look().await;
    scene.says("Serving", "False", "WrongCertificate").await;
    scene.says("PkiReady", "False", "WrongCertificate").await;
}

fn paddock_stranger(clock: &Clock) -> paddock_pki::CertificateAuthority {
    paddock_pki::CertificateAuthority::generate("stranger", clock.now(), jiff::SignedDuration::from_hours(24)).unwrap()
}

#[tokio::test]
async fn gw_d05_a_crashed_gateway_is_looked_at_no_longer() {
    let mut scene = Scene::running().await;
    scene.kubelet.set(TENANT, GATEWAY, Fate::Crash);
    scene.kubelet.step(&scene.cluster).await.unwrap();
    scene.quiet().await;
    scene.says("Serving", "False", "Waiting").await;
    scene.kubelet.set(TENANT, GATEWAY, Fate::Ready);
    scene.kubelet.step(&scene.cluster).await.unwrap();
    scene.quiet().await;
    scene.says("Ready", "True", "Ready").await;
}

#[tokio::test]
async fn gw_d05_a_new_certificate_is_waited_for_until_the_gateway_serves_it() {
    let mut scene = Scene::running().await;
    scene.cluster.config(&format!("- name: {TENANT}\n  gateway: {{serverDnsNames: [new.example]}}\n")).await;
    // The new names restart the gateway; the pod that comes mounts what is there then. Here the old pod stays.
    scene.quiet().await;
    let conditions = scene.conditions().await;
    assert_eq!(conditions["Ready"].0, "False", "{conditions:#?}");
    scene.kubelet.step(&scene.cluster).await.unwrap();
    scene.quiet().await;
    scene.says("Ready", "True", "Ready").await;
}

/// Renewal of both leaves: nothing restarts, the node hands the Secret on late, and the controller says so meanwhile.
#[tokio::test]
async fn gw_w05_a_renewed_certificate_is_verified_by_a_handshake() {
    let mut scene = Scene::running().await;
    let generation = scene.cluster.workload(TENANT).await.metadata.generation;
    let before = scene.secret(TENANT, "openshell-server-tls").await;
    scene.kubelet.step(&scene.cluster).await.unwrap();
    scene.pass_time(DAY * 245).await;
    assert_ne!(scene.secret(TENANT, "openshell-server-tls").await["tls.crt"], before["tls.crt"]);
    scene.kubelet.step(&scene.cluster).await.unwrap();
    scene.look().await;
    scene.says("PkiReady", "False", "Waiting").await;
    scene.says("Serving", "True", "Healthy").await;
    scene.pass_time(PROPAGATION).await;
    scene.node().await;
    scene.look().await;
    scene.says("PkiReady", "True", "Complete").await;
    scene.says("Ready", "True", "Ready").await;
    assert_eq!(scene.cluster.workload(TENANT).await.metadata.generation, generation, "a renewal restarts nothing");
}

/// The renewal of the leaves and then that of the authority, with one sandbox connected all the time: it never loses trust.
/// After it has ended, the old authority is not believed any more.
#[tokio::test]
async fn gw_l27_two_renewals_with_a_live_client_that_never_loses_trust() {
    let mut scene = Scene::running().await;
    let mut sandbox = scene.sandbox().await;
    scene.live(DAY * 245).await;
    // The client's certificate that the sandbox read lives a year; so does the sandbox.
    scene.assert_connected(&mut sandbox, "after the renewal of the leaves").await;
    let old = scene.secret(HOME, "openshell-ca-tenant-a").await["tls.crt"].clone();
    let asked = json!({"metadata": {"annotations": {"paddock.dev/rotate-authority": "second"}}});
    let authorities: Api<Secret> = Api::namespaced(scene.cluster.client(), HOME);
    authorities.patch("openshell-ca-tenant-a", &PatchParams::default(), &Patch::Merge(asked)).await.unwrap();
    scene.process.settle().await;
    for hours in [1, 24, 24 * 7] {
        scene.live(Duration::from_secs(hours * 3600)).await;
        scene.assert_connected(&mut sandbox, &format!("{hours} hours into the overlap")).await;
        assert!(scene.secret(HOME, "openshell-ca-tenant-a").await.contains_key("previous.crt"));
    }
    scene.says("PkiReady", "True", "ReplacingAuthority").await;
    // One that starts now knows both; the old one ends.
    let mut young = scene.sandbox().await;
    let pods: Api<Pod> = Api::namespaced(scene.cluster.client(), TENANT);
    pods.delete(&sandbox.pod, &kube::api::DeleteParams::default().grace_period(0)).await.unwrap();
    for step in 0..6 {
        scene.live(Duration::from_secs(600)).await;
        scene.assert_connected(&mut young, &format!("step {step} after the old one ended")).await;
    }
    assert!(
        scene.secret(HOME, "openshell-ca-tenant-a").await.contains_key("previous.crt"),
        "the young one shows the old's"
    );
    pods.delete(&young.pod, &kube::api::DeleteParams::default().grace_period(0)).await.unwrap();
    for _ in 0..3 {
        scene.live(Duration::from_secs(600)).await;
    }
    let authority = scene.secret(HOME, "openshell-ca-tenant-a").await;
    assert!(!authority.contains_key("previous.crt") && authority["tls.crt"] != old);
    for name in ["openshell-server-tls", "openshell-client-tls"] {
        assert_eq!(scene.secret(TENANT, name).await["ca.crt"], authority["tls.crt"], "{name}");
    }
    assert!(
        sandbox.caller.connect(scene.gateway().address, HOST).await.is_err(),
        "the old authority is believed by nobody"
    );
    scene.says("Ready", "True", "Ready").await;
}

#[tokio::test]
async fn gw_l27_a_bundle_that_somebody_changed_is_put_right_and_the_leaf_stays() {
    let mut scene = Scene::running().await;
    let before = scene.secret(TENANT, "openshell-client-tls").await;
    scene.set_secret("openshell-client-tls", "ca.crt", "").await;
    scene.process.settle().await;
    assert_eq!(scene.secret(TENANT, "openshell-client-tls").await, before);
}

/// Whatever the first passes could not do, each resource is made sure of by itself: nothing is taken for done because something
/// else is.
#[tokio::test]
async fn gw_d06_a_secret_that_could_not_be_written_is_written_by_the_next_pass() {
    use paddock_apiserver::fault::{Action, Rule};
    use paddock_apiserver::request::Verb;

    let mut scene = Scene::running().await;
    scene.cluster.0.faults().add(Rule::new(Action::Status(500)).verb(Verb::Patch).resource("secrets").times(3));
    scene.cluster.config(&format!("- name: {TENANT}\n  gateway: {{serverDnsNames: [new.example]}}\n")).await;
    for _ in 0..6 {
        scene.process.round().await.unwrap();
    }
    let leaf = paddock_pki::inspect(&scene.secret(TENANT, "openshell-server-tls").await["tls.crt"]).unwrap();
    assert!(leaf.names.contains(&"new.example".into()));
}

/// The client's Secret is what sandboxes and the look need: while it is away, that is said and waited for, never passed over.
#[tokio::test]
async fn gw_l19_what_the_look_depends_on_is_waited_for_named_and_put_right() {
    use paddock_apiserver::fault::{Action, Rule};
    use paddock_apiserver::request::Verb;

    let mut scene = Scene::running().await;
    scene.set_secret("openshell-client-tls", "tls.key", "garbage").await;
    // Once it can be put right, the pass that does so says nothing of what it found: that is over.
    let faults = scene.cluster.0.faults();
    faults.add(Rule::new(Action::Status(500)).verb(Verb::Patch).resource("secrets").always());
    for _ in 0..2 {
        scene.process.round().await.unwrap();
        scene.says("Serving", "False", "ClientCertificateUnusable").await;
        scene.says("Ready", "False", "ApplyFailed").await;
    }
    faults.clear();
    scene.quiet().await;
    scene.says("Serving", "True", "Healthy").await;
}

#[tokio::test]
async fn gw_d25_a_lost_secret_comes_back_and_the_gateway_serves_it() {
    let mut scene = Scene::running().await;
    let api: Api<Secret> = Api::namespaced(scene.cluster.client(), TENANT);
    api.delete("openshell-server-tls", &kube::api::DeleteParams::default()).await.unwrap();
    scene.quiet().await;
    scene.says("PkiReady", "False", "Waiting").await;
    scene.live(Duration::from_secs(60)).await;
    scene.says("Ready", "True", "Ready").await;
}

/// With everything running: what is seen of a settled gateway reaches its status, and nothing but the news starts the pass.
#[tokio::test]
async fn gw_w13_news_of_a_settled_gateway_start_a_pass() {
    use kube::runtime::wait::await_condition;
    use paddock_reconcile::{Context, Identity, Runtime};
    use tokio_util::sync::CancellationToken;

    let scene = Scene::running().await;
    let probes = probes(&scene.kubelet);
    let gateways = controllers(Options::new(HOME, None).unwrap(), GatewayMetrics::default()).0;
    let cx = Context::new(scene.cluster.client(), Identity::new("paddock", "paddock.dev", "test"));
    let runtime = Runtime::new(cx.with_clock(scene.clock.clone()));
    let runtime = runtime.with_controller(gateways.with_probes(Some(probes.clone())));
    let cancel = CancellationToken::new();
    let running = tokio::spawn(runtime.run(cancel.clone()));
    let story = async {
        probes.looks().wait_for(|looks| looks.begun > 0 && looks.begun == looks.ended).await.unwrap();
        scene.gateway().set(Answer::Unhealthy);
        let api: Api<ConfigMap> = Api::namespaced(scene.cluster.client(), TENANT);
        let says = |anchor: Option<&ConfigMap>| {
            let conditions = anchor.and_then(|anchor| anchor.data.as_ref()?.get("conditions"));
            conditions.is_some_and(|conditions| conditions.contains("\"reason\":\"Unhealthy\""))
        };
        let told = await_condition(api, "openshell-gateway-anchor", says);
        tokio::pin!(told);
        // What was under way when the time moved meets its deadline and is tried again when the time moves on; all of it is less
        // than the time after which a pass comes by itself.
        for _ in 0..6 {
            scene.advance(Duration::from_secs(61));
            if let Ok(told) = tokio::time::timeout(Duration::from_millis(300), &mut told).await {
                return told.map(drop).unwrap();
            }
        }
        panic!("the news never got there");
    };
    story.await;
    cancel.cancel();
    running.await.unwrap().unwrap();
}
