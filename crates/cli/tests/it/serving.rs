//! Servers that start, answer and stop.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use crate::process::Running;

#[test]
fn apiserver_prints_its_address_and_ends_with_0_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let arguments =
        ["apiserver", "--in-memory", "--listen", "127.0.0.1:0", "--kubeconfig-out", kubeconfig.to_str().unwrap()];
    let mut server = Running::start(&arguments, dir.path());
    let line = server.line().unwrap();
    let port = line.strip_prefix("Kubernetes API: https://127.0.0.1:").unwrap();
    assert_ne!(port, "0");
    assert!(std::fs::read_to_string(&kubeconfig).unwrap().contains(&format!("https://127.0.0.1:{port}")));
    assert_eq!(std::fs::metadata(&kubeconfig).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn up_keeps_its_certificates_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["up", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let authority = || std::fs::read(data.join("pki/ca.crt")).unwrap();

    let mut server = Running::start(&arguments, dir.path());
    assert!(server.line().unwrap().starts_with("Kubernetes API: https://127.0.0.1:"));
    assert!(data.join("kubeconfig").exists());
    let first = authority();
    assert_eq!(server.terminate(), Some(0));

    let mut server = Running::start(&arguments, dir.path());
    assert!(server.line().unwrap().starts_with("Kubernetes API: https://127.0.0.1:"));
    assert_eq!(authority(), first);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn a_claim_without_a_class_is_bound_to_a_directory_of_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server =
        Running::start(&["up", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0"], dir.path());
    assert!(server.line().unwrap().starts_with("Kubernetes API: https://127.0.0.1:"));
    let client = paddock_reconcile::client::from_kubeconfig(&data.join("kubeconfig"), None).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, "default");
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()).is_some_and(|phase| phase == "Bound")
    };
    let claim =
        tokio::time::timeout(Duration::from_secs(30), await_condition(claims, "c", bound)).await.unwrap().unwrap();
    let volume = claim.unwrap().spec.unwrap().volume_name.unwrap();
    assert!(data.join("volumes").join(volume).is_dir());
    assert_eq!(server.terminate(), Some(0));
}
