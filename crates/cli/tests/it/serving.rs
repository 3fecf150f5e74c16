//! Servers that start, answer and stop.

use std::os::unix::fs::PermissionsExt;

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
