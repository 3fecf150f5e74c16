//! What the operator sees with handshakes, and reports.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use paddock_controllers::tls_profile::{Controllers, controllers};
use paddock_trials::{Subject, World};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Cluster, HASH, modern, options};

/// A listener on loopback that speaks these versions, with an ECDSA key. Its port.
async fn listens(versions: &[&'static SupportedProtocolVersion]) -> u16 {
    listens_with(&PKCS_ECDSA_P256_SHA256, versions).await
}

async fn listens_with(algorithm: &'static SignatureAlgorithm, versions: &[&'static SupportedProtocolVersion]) -> u16 {
    let pair = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let (certificate, key) = (certificate.der().clone(), PrivateKeyDer::try_from(pair.serialize_der()).unwrap());
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
    port
}

/// A Deployment whose one pod listens on `port`.
async fn runs(cluster: &Cluster, port: u16) {
    let ports = json!({"paddock.dev/tls-profile-ports": port.to_string()});
    cluster.deployment("w", json!({}), ports, json!({})).await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "w-abc", "uid": "u", "controller": true});
    let pod = json!({
        "metadata": {"name": "w-abc-1", "labels": {"app": "w"}, "ownerReferences": [owner]},
        "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "example.com/c:1"}]},
    });
    cluster.create("v1", "Pod", "pods", Some("apps"), pod).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "apps");
    let runs = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    pods.patch_status("w-abc-1", &PatchParams::default(), &Patch::Merge(runs)).await.unwrap();
}

/// What the policy's status says of a workload that shall serve Modern and whose one pod listens on `port`.
async fn reported(port: u16) -> (Cluster, Value) {
    let cluster = modern().await;
    cluster.policy(json!({})).await;
    runs(&cluster, port).await;
    let Controllers { decider, deliverer, verifier, .. } = controllers(options());
    let mut delivering = Subject::woken_by_others(move || deliverer.clone()).start(&cluster);
    delivering.settle().await;
    Subject::woken_by_others(move || verifier.clone()).start(&cluster).settle().await;
    delivering.settle().await;
    Subject::woken_by_others(move || decider.clone()).start(&cluster).settle().await;
    let status = cluster.policies().get("cluster").await.unwrap().data["status"]["components"][0].clone();
    (cluster, status)
}

#[tokio::test]
async fn a_pod_that_serves_its_profile_is_current_by_handshake() {
    let (cluster, status) = reported(listens(&[&TLS13]).await).await;
    assert_eq!(status["pods"], json!({"current": 1, "old": 0, "unknown": 0}), "{status:#}");
    assert_eq!(status["handshakes"]["holds"], 1);
    assert_eq!(cluster.condition("Verified").await, Some(("True".to_owned(), "Seen".to_owned())));
}

#[tokio::test]
async fn tls_f16_a_pod_that_still_serves_the_profile_before_is_seen() {
    let (cluster, status) = reported(listens(&[&TLS12, &TLS13]).await).await;
    assert_eq!(status["pods"], json!({"current": 0, "old": 1, "unknown": 0}), "{status:#}");
    let seen = status["handshakes"]["seen"].as_str().unwrap();
    assert!(seen.starts_with("w-abc-1: port ") && seen.contains("TLS 1.2 with any suite: accepted TLS 1.2"), "{seen}");
    assert_eq!(cluster.condition("Verified").await, Some(("False".to_owned(), "Different".to_owned())));
}

#[tokio::test]
async fn a_pod_that_nobody_answers_at_is_unknown() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (cluster, status) = reported(gone).await;
    assert_eq!(status["handshakes"]["unreachable"], 1, "{status:#}");
    assert_eq!(cluster.condition("Verified").await, Some(("False".to_owned(), "Unreachable".to_owned())));
}

/// A pod with an RSA key whose workload shall get a profile for ECDSA keys alone. The hash on its template before and after somebody looked
/// at the key, and the conditions `KeysFit` and `Stalled`.
async fn rsa_pod_gets_ecdsa_suites(tls13: &str) -> (Vec<bool>, Vec<(String, String)>) {
    let cluster = Cluster::new().await;
    let custom = json!({"minTLSVersion": "VersionTLS12", "ciphers": ["ECDHE-ECDSA-AES128-GCM-SHA256"]});
    let profile = json!({"type": "Custom", "custom": custom});
    cluster.policy(json!({"source": "Inline", "profile": profile, "tls13Policy": tls13})).await;
    runs(&cluster, listens_with(&PKCS_RSA_SHA256, &[&TLS12, &TLS13]).await).await;
    let Controllers { decider, deliverer, verifier, .. } = controllers(options());
    let mut deciding = Subject::woken_by_others(move || decider.clone()).start(&cluster);
    let mut delivering = Subject::woken_by_others(move || deliverer.clone()).start(&cluster);
    deciding.settle().await;
    delivering.settle().await;
    let mut rolled = vec![cluster.template_annotation("w", HASH).await.is_some()];
    Subject::woken_by_others(move || verifier.clone()).start(&cluster).settle().await;
    delivering.settle().await;
    deciding.settle().await;
    rolled.push(cluster.template_annotation("w", HASH).await.is_some());
    (rolled, vec![cluster.condition("KeysFit").await.unwrap(), cluster.condition("Stalled").await.unwrap()])
}

#[tokio::test]
async fn tls_f20_tls_d16_a_key_that_leaves_tls_1_3_alone_is_told_of_before_its_pods_roll() {
    let (rolled, conditions) = rsa_pod_gets_ecdsa_suites("Platform").await;
    assert_eq!(rolled, [false, true], "nothing rolls before somebody looked");
    let said = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(conditions, [said("False", "Unfit"), said("False", "Moving")]);
}

#[tokio::test]
async fn tls_f20_tls_d16_a_key_that_nothing_can_be_served_with_holds_the_roll_back() {
    let (rolled, conditions) = rsa_pod_gets_ecdsa_suites("Strict").await;
    assert_eq!(rolled, [false, false]);
    let said = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(conditions, [said("False", "Unfit"), said("True", "Stalled")]);
}
