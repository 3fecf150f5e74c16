//! RSA and ECDSA keys under a start-up directory: what each kind serves, and what is told when it serves nothing.

use std::sync::Arc;
use std::time::Duration;

use paddock_serve::{Options, Startup, StartupOptions, TlsMetrics, crypto_provider};
use paddock_tls_profile::{Adherence, Contract, Decision, Generation, Named, Tls13Policy, files, hex_sha256};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::wire::{Running, soon, start, whoami};

const ECDSA_ONLY: &str = r#"{"ciphers":["ECDHE-ECDSA-AES128-GCM-SHA256"],"minTLSVersion":"VersionTLS12"}"#;

/// A start-up directory without kubelet: plain files.
struct Directory {
    home: TempDir,
    leaf: String,
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

impl Directory {
    fn new(key: &KeyPair, profile: &str, decision: Decision) -> Self {
        let mut this = Self { home: tempfile::tempdir().unwrap(), leaf: String::new() };
        let profile_hash = Some(hex_sha256(profile.as_bytes()));
        let contract = Contract { profile_hash, decision, ..Contract::baseline("keys") };
        this.write(files::CONTRACT, &contract.canonical());
        this.write(files::PROFILE, profile);
        this.present(key);
        this
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.home.path().join(file), text).unwrap();
    }

    fn present(&mut self, key: &KeyPair) {
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(key).unwrap();
        self.leaf = leaf.pem();
        self.write(files::CERTIFICATE, &self.leaf);
        self.write(files::KEY, &key.serialize_pem());
    }

    async fn load(&self) -> Result<Startup, String> {
        let options = StartupOptions { wait: Duration::ZERO, ..StartupOptions::new(self.home.path()) };
        let startup = Startup::new(options, TlsMetrics::default());
        startup.load().await.map_err(|error| error.why.to_string())?;
        Ok(startup)
    }

    async fn serve(&self) -> (Startup, Running) {
        let startup = self.load().await.unwrap();
        let running = start(startup.source(), Options::default(), hyper::service::service_fn(whoami)).await;
        (startup, running)
    }

    /// What a client gets that offers one version, and only this suite where one is named.
    async fn offer(
        &self,
        running: &Running,
        version: &'static rustls::SupportedProtocolVersion,
        suite: Option<CipherSuite>,
    ) -> std::io::Result<CipherSuite> {
        let mut provider = CryptoProvider::clone(&crypto_provider());
        if let Some(suite) = suite {
            provider.cipher_suites.retain(|have| have.suite() == suite);
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.leaf.as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(running.addr).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(stream.get_ref().1.negotiated_cipher_suite().unwrap().suite())
    }

    /// The suites of TLS 1.2 that are accepted, each offered alone.
    async fn tls12(&self, running: &Running) -> Vec<CipherSuite> {
        let mut accepted = Vec::new();
        for suite in aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(|s| s.version().version == ProtocolVersion::TLSv1_2) {
            accepted.extend(self.offer(running, &rustls::version::TLS12, Some(suite.suite())).await);
        }
        accepted
    }
}

fn intermediate() -> String {
    Named::Intermediate.profile(Generation::C).canonical()
}

fn served(of: &Startup) -> serde_json::Value {
    of.report()["resolution"].clone()
}

#[tokio::test]
async fn tls_f20_an_rsa_key_serves_the_suites_of_rsa_and_tls13() {
    let directory = Directory::new(&rsa(), &intermediate(), Decision::default());
    let (startup, running) = directory.serve().await;
    let mut accepted = directory.tls12(&running).await;
    accepted.sort_by_key(|suite| u16::from(*suite));
    let expected = [
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    assert_eq!(accepted, expected);
    directory.offer(&running, &rustls::version::TLS13, None).await.unwrap();
    let dropped = served(&startup)["dropped"].as_array().unwrap().clone();
    assert_eq!(dropped.len(), 3);
    assert!(dropped.iter().all(|one| one["reason"] == "the serving key is of another kind"), "{dropped:?}");
}

#[tokio::test]
async fn tls_f20_tls_d16_a_key_that_fits_no_suite_of_the_list_leaves_tls13_and_says_so() {
    let directory = Directory::new(&rsa(), ECDSA_ONLY, Decision::default());
    let (startup, running) = directory.serve().await;
    assert_eq!(directory.tls12(&running).await, []);
    directory.offer(&running, &rustls::version::TLS13, None).await.unwrap();
    let told = served(&startup);
    assert_eq!(told["outcome"], "Reduced");
    let dropped = serde_json::json!([{
        "name": "ECDHE-ECDSA-AES128-GCM-SHA256", "reason": "the serving key is of another kind",
    }]);
    assert_eq!(told["dropped"], dropped);
    let note = "no cipher suite of TLS 1.2 is left: TLS 1.3 alone is served";
    assert!(told["notes"].as_array().unwrap().contains(&note.into()), "{told}");
}

#[tokio::test]
async fn tls_f20_tls_d16_a_key_that_leaves_nothing_is_a_clear_error_where_adherence_is_strict() {
    let decision = Decision { adherence: Adherence::Strict, tls13: Tls13Policy::Strict, ..Decision::default() };
    let why = Directory::new(&rsa(), ECDSA_ONLY, decision).load().await.unwrap_err();
    assert!(why.starts_with("this profile cannot be served: no cipher suite"), "{why}");
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_as_that() {
    let directory = Directory::new(&rsa(), &intermediate(), Decision::default());
    directory.write(files::KEY, &KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(directory.load().await.unwrap_err(), "the private key does not belong to the certificate");
}

#[tokio::test]
async fn tls_f20_a_renewed_certificate_with_the_other_kind_of_key_changes_the_suites() {
    let mut directory = Directory::new(&KeyPair::generate().unwrap(), ECDSA_ONLY, Decision::default());
    let (startup, running) = directory.serve().await;
    assert_eq!(directory.tls12(&running).await, [CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]);
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (startup, stop) = (startup.clone(), stop.clone());
        async move { startup.watch(stop).await }
    });
    directory.present(&rsa());
    soon(async {
        while served(&startup)["outcome"] != "Reduced" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(directory.tls12(&running).await, []);
    directory.offer(&running, &rustls::version::TLS13, None).await.unwrap();
    stop.cancel();
    watching.await.unwrap();
}
