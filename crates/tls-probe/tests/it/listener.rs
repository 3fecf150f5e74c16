//! Listeners to probe: rustls with exactly what a test names, and servers that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;

use paddock_serve::StartupOptions;
use paddock_tls_profile::{Backend, Contract, Effective, Generation, KeyKind, Named, Options, Profile, files, resolve};
use paddock_trials::component::Running;
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The serving key of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Rsa,
    P256,
    P384,
}

impl Key {
    pub(crate) fn kind(self) -> KeyKind {
        if self == Self::Rsa { KeyKind::Rsa } else { KeyKind::Ecdsa }
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Rsa => &PKCS_RSA_SHA256,
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
        }
    }
}

/// What a server of Paddock's serves of a profile.
pub(crate) fn served(profile: &Profile, key: Key) -> Effective {
    let options = Options { key: Some(key.kind()), ..Options::default() };
    resolve(profile, &Backend::RUSTLS_AWS_LC, &options).effective.unwrap()
}

pub(crate) fn named(named: Named) -> Profile {
    named.profile(Generation::C)
}

/// A profile in full.
pub(crate) fn custom(ciphers: &[&str], version: &str, groups: &[&str]) -> Profile {
    let text = serde_json::json!({ "ciphers": ciphers, "minTLSVersion": version, "groups": groups }).to_string();
    Profile::parse(text.as_bytes()).unwrap().profile
}

/// A rustls server of exactly these suites and groups.
pub(crate) fn config(effective: &Effective, key: Key) -> ServerConfig {
    let suite = |suite: &paddock_tls_profile::Suite| {
        *aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|known| u16::from(known.suite()) == suite.code()).unwrap()
    };
    let group = |group: &paddock_tls_profile::Group| {
        *aws_lc_rs::ALL_KX_GROUPS.iter().find(|known| u16::from(known.name()) == group.code()).unwrap()
    };
    let provider = CryptoProvider {
        cipher_suites: effective.suites.iter().map(suite).collect(),
        kx_groups: effective.groups.iter().map(group).collect(),
        ..aws_lc_rs::default_provider()
    };
    let versions: Vec<_> = rustls::ALL_VERSIONS
        .iter()
        .copied()
        .filter(|version| effective.versions().iter().any(|served| served.code() == u16::from(version.version)))
        .collect();
    let pair = KeyPair::generate_for(key.algorithm()).unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(pair.serialize_der()).unwrap())
        .unwrap()
}

/// A listener of Paddock's own, on a start-up directory that asks for the profile.
pub(crate) async fn ours(profile: &Profile, key: Key) -> Running {
    let pair = KeyPair::generate_for(key.algorithm()).unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let contract = Contract { profile_hash: Some(profile.hash()), ..Contract::baseline("matrix") };
    let files = [
        (files::CONTRACT, contract.canonical()),
        (files::PROFILE, profile.canonical()),
        (files::CERTIFICATE, certificate.pem()),
        (files::KEY, pair.serialize_pem()),
    ];
    let dir = tempfile::tempdir().unwrap();
    paddock_serve::place(dir.path(), &files.map(|(name, text)| (name.to_owned(), text)).into()).unwrap();
    Running::start(StartupOptions::new(dir.path()), ([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Serves until the test ends.
pub(crate) async fn serve(config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.is_ok() });
        }
    });
    address
}

/// Answers every connection with the same bytes, and keeps it open.
pub(crate) async fn repeating(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(bytes).await.unwrap();
            open.push(stream);
        }
    });
    address
}
