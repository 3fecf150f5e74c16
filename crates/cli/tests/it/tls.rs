//! `paddock tls`: exit codes, and a scan of a listener of ours.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{Running, run, stderr, stdout};

fn code(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), stderr(output))
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// The embedded API server, and `HOST:PORT` where it listens.
fn listener(dir: &Path) -> (Running, String) {
    let kubeconfig = dir.join("kubeconfig");
    let arguments =
        ["apiserver", "--in-memory", "--listen", "127.0.0.1:0", "--kubeconfig-out", kubeconfig.to_str().unwrap()];
    let mut server = Running::start(&arguments, dir);
    let line = server.line().unwrap();
    let address = line.strip_prefix("Kubernetes API: https://").unwrap().to_owned();
    (server, address)
}

#[test]
fn our_listener_is_exactly_on_intermediate_and_different_from_modern() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = listener(dir.path());

    let output = run(&["tls", "scan", &address, "--profile", "Intermediate", "--json"]);
    assert_eq!(code(&output), (Some(0), String::new()));
    let report = json(&output);
    assert_eq!(report["profile"]["verdict"], "Exact");
    assert_eq!(report["alpn"], serde_json::json!(["h2", "http/1.1"]));

    let output = run(&["tls", "scan", &address, "--profile", "Modern"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(" does not serve Modern: too much: VersionTLS12, "), "{text}");

    let output = run(&["tls", "scan", &address, "--profile", "Old"]);
    assert_eq!(output.status.code(), Some(1), "less than the profile is a difference");
    let text = stderr(&output);
    assert!(text.contains(" serves less than Old: left out: ") && text.contains("--allow-reduced"), "{text}");
    assert_eq!(code(&run(&["tls", "scan", &address, "--profile", "Old", "--allow-reduced"])).0, Some(0));
    let modern = run(&["tls", "scan", &address, "--profile", "Modern", "--allow-reduced"]);
    assert_eq!(modern.status.code(), Some(1), "too much is never let pass");
}

#[test]
fn a_profile_from_a_file_or_its_directory_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = listener(dir.path());
    let file = dir.path().join("profile.json");
    let text = r#"{"ciphers":["TLS_AES_128_GCM_SHA256"],"groups":["X25519"],"minTLSVersion":"VersionTLS13"}"#;
    std::fs::write(&file, text).unwrap();
    let output = run(&["tls", "scan", &address, "--profile", file.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let extra = json(&output)["profile"]["extra"].clone();
    assert!(extra.as_array().unwrap().contains(&Value::from("X25519MLKEM768")), "{extra}");
    let of_directory = run(&["tls", "scan", &address, "--profile", dir.path().to_str().unwrap(), "--json"]);
    assert_eq!(json(&of_directory)["profile"], json(&output)["profile"]);
}

/// `paddock up` on a data directory, and `HOST:PORT` where it listens.
fn up(dir: &Path) -> (Running, String) {
    let data = dir.join("data");
    let arguments = ["up", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--health-listen", "off"];
    let mut server = Running::start(&arguments, dir);
    let line = server.line().unwrap();
    let address = line.strip_prefix("Kubernetes API: https://").unwrap().to_owned();
    (server, address)
}

async fn asks_for(kubeconfig: &Path, profile: &str) {
    use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
    let client = paddock_reconcile::client::from_kubeconfig(kubeconfig, None).await.unwrap();
    let kind = GroupVersionKind::gvk("paddock.dev", "v1alpha1", "ServingPolicy");
    let policies: Api<DynamicObject> =
        Api::all_with(client, &ApiResource::from_gvk_with_plural(&kind, "servingpolicies"));
    let policy = serde_json::json!({
        "apiVersion": "paddock.dev/v1alpha1", "kind": "ServingPolicy", "metadata": {"name": "cluster"},
        "spec": {"source": "Inline", "profile": {"type": profile}},
    });
    policies.patch("cluster", &PatchParams::apply("admin").force(), &Patch::Apply(policy)).await.unwrap();
}

fn becomes(address: &str, profile: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while run(&["tls", "scan", address, "--profile", profile]).status.code() != Some(0) {
        assert!(std::time::Instant::now() < end, "{address} does not come to serve {profile}");
    }
}

#[tokio::test]
async fn tls_f02_up_itself_follows_what_its_controllers_decide_and_begins_with_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address) = up(dir.path());
    assert_eq!(run(&["tls", "scan", &address, "--profile", "Intermediate"]).status.code(), Some(0));
    asks_for(&dir.path().join("data/kubeconfig"), "Modern").await;
    becomes(&address, "Modern");
    drop(server); // killed
    let (_server, address) = up(dir.path());
    let output = run(&["tls", "scan", &address, "--profile", "Modern"]);
    assert_eq!(code(&output), (Some(0), String::new()), "from its first connection on");
    asks_for(&dir.path().join("data/kubeconfig"), "Intermediate").await;
    becomes(&address, "Intermediate");
}

#[tokio::test]
async fn the_demo_follows_what_its_controllers_decide_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Running::start(&["demo", "--keep", "--json"], dir.path());
    let mut told = |event: &str, field: &str| loop {
        let line: Value = serde_json::from_str(&demo.line().unwrap()).unwrap();
        if line["event"] == event {
            return line[field].as_str().unwrap().to_owned();
        }
    };
    let server = told("started", "server");
    let kubeconfig = told("running", "kubeconfig");
    asks_for(Path::new(&kubeconfig), "Modern").await;
    becomes(server.strip_prefix("https://").unwrap(), "Modern");
    assert_eq!(demo.terminate(), Some(0));
}

#[test]
fn nobody_there_is_not_determined() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, text) = code(&run(&["tls", "scan", &address]));
    assert_eq!(code, Some(3));
    assert!(text.starts_with(&format!("error: cannot connect to {address}: ")), "{text}");
}

#[test]
fn an_address_without_a_port_is_wrong_usage() {
    let expected = "error: \"localhost\" is not a host and a port, such as `localhost:6443` or `[::1]:6443`\n";
    assert_eq!(code(&run(&["tls", "scan", "localhost"])), (Some(2), expected.to_owned()));
}

#[test]
fn a_profile_is_explained() {
    let output = run(&["tls", "explain", "Old", "--generation", "B", "--json"]);
    assert_eq!(code(&output), (Some(0), String::new()));
    let report = json(&output);
    assert_eq!((report["outcome"].as_str(), report["generation"].as_str()), (Some("Reduced"), Some("B")));
    assert_eq!(report["dropped"].as_array().map(Vec::len), Some(12));
    assert_eq!(report["hash"], "26a2aaa44267f2359636efb4f11c96e75be7a9e1151a0ca97a05672dbf4563c1");
}

#[test]
fn a_profile_that_cannot_be_served_is_a_failed_check() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    std::fs::write(&file, r#"{"ciphers":null,"groups":["secp521r1"],"minTLSVersion":""}"#).unwrap();
    let expected =
        "error: this profile cannot be served: no key exchange group of the profile can be served\n".to_owned();
    assert_eq!(code(&run(&["tls", "explain", file.to_str().unwrap()])), (Some(1), expected));
}

#[test]
fn what_is_no_profile_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    std::fs::write(&file, r#"{"ciphers":"all"}"#).unwrap();
    let expected = format!("error: {}: ciphers is a text, where a list of texts is expected\n", file.display());
    assert_eq!(code(&run(&["tls", "explain", file.to_str().unwrap()])), (Some(2), expected));
    assert_eq!(run(&["tls", "explain", "/does/not/exist"]).status.code(), Some(2));
}
