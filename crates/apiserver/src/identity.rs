//! Keys of the server: a CA that lasts, a serving certificate that renews in place, a client certificate for the kubeconfig.
//! Reads and writes the PKI directory (files 0600), nothing else.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use paddock_pki::{
    CertificateAuthority, Leaf, LeafRequest, PkiError, Rs256Key, Secret, SubjectAltName, Usage, sha256_hex,
};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authn::CREDENTIAL_ID;
use crate::user::User;

/// Life of the CA.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Life of a leaf. The serving certificate is issued anew at each start and at two thirds of this.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of the PKI directory.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file is there, but is not what it should be.
    #[error("{path}: {source}; move the directory away to let the server make new keys (kubeconfigs then change too)")]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: PkiError,
    },
    /// Keys could not be made.
    #[error("cannot make keys: {0}")]
    Pki(#[from] PkiError),
}

/// The server's CA and the names it serves under.
pub(crate) struct Identity {
    ca: CertificateAuthority,
    names: std::collections::BTreeSet<SubjectAltName>,
    admin: Leaf,
}

impl Identity {
    /// Reads the CA from `dir`, or makes one and keeps it there; without a directory it lives in memory.
    pub(crate) fn load(dir: Option<&Path>, listen: Option<SocketAddr>, now: Timestamp) -> Result<Self, IdentityError> {
        let ca = match dir {
            None => CertificateAuthority::generate("kubernetes", now, CA_LIFE)?,
            Some(dir) => stored_ca(dir, now)?,
        };
        let mut names: std::collections::BTreeSet<_> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .into_iter()
        .map(|name| SubjectAltName::Dns(name.to_owned()))
        .collect();
        let addresses =
            [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1))];
        names.extend(addresses.map(SubjectAltName::Ip));
        names.extend(listen.map(|a| SubjectAltName::Ip(a.ip())));
        let admin = ca.issue(&LeafRequest {
            common_name: "admin".to_owned(),
            organization: Some("system:masters".to_owned()),
            organizational_unit: None,
            names: std::collections::BTreeSet::new(),
            usage: Usage::Client,
            now,
            not_after: (now + LEAF_LIFE).min(ca.info().not_after),
        })?;
        Ok(Self { ca, names, admin })
    }

    /// The CA's certificate: what clients trust, and what signs client certificates.
    pub(crate) fn ca_pem(&self) -> &str {
        self.ca.certificate_pem()
    }

    /// A serving certificate from now on.
    pub(crate) fn serving_leaf(&self, now: Timestamp) -> Result<Leaf, PkiError> {
        self.ca.issue(&LeafRequest {
            common_name: "kube-apiserver".to_owned(),
            organization: None,
            organizational_unit: None,
            names: self.names.clone(),
            usage: Usage::Server,
            now,
            not_after: (now + LEAF_LIFE).min(self.ca.info().not_after),
        })
    }

    /// A kubeconfig for the administrator.
    pub(crate) fn kubeconfig(&self, address: SocketAddr) -> String {
        let host = match address.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let server = format!("https://{}", SocketAddr::new(host, address.port()));
        // JSON is YAML: one writer less, and every client reads it.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "paddock", "preferences": {},
            "clusters": [{"name": "paddock", "cluster": {
                "server": server, "certificate-authority-data": BASE64.encode(self.ca.certificate_pem()),
            }}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": BASE64.encode(&self.admin.certificate_pem),
                "client-key-data": BASE64.encode(self.admin.key_pem.expose()),
            }}],
            "contexts": [{"name": "paddock", "context": {"cluster": "paddock", "user": "admin", "namespace": "default"}}],
        });
        serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string())
    }
}

fn stored_ca(dir: &Path, now: Timestamp) -> Result<CertificateAuthority, IdentityError> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::File { path, source }
    };
    if certificate.exists() && key.exists() {
        let certificate_pem = std::fs::read_to_string(&certificate).map_err(file(&certificate))?;
        let key_pem = std::fs::read_to_string(&key).map_err(file(&key))?;
        return CertificateAuthority::from_pem(&certificate_pem, &key_pem)
            .map_err(|source| IdentityError::Unusable { path: certificate, source });
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file(dir))?;
    let ca = CertificateAuthority::generate("kubernetes", now, CA_LIFE)?;
    // The key first: a certificate without its key would be found and refused after a crash in between.
    write_private(&key, ca.key_pem()?.expose().as_bytes()).map_err(file(&key))?;
    write_private(&certificate, ca.certificate_pem().as_bytes()).map_err(file(&certificate))?;
    Ok(ca)
}

/// The key that signs the tokens of service accounts: `sa.key` in the PKI directory, so that tokens outlive a restart; without
/// a directory it lives in memory. It is made when the first token is asked for: making an RSA key takes longer than the rest
/// of a start.
#[derive(Debug)]
pub(crate) struct TokenKey {
    file: Option<PathBuf>,
    key: OnceLock<Rs256Key>,
    /// Held while the key is made, so that only one is.
    making: Mutex<()>,
}

impl TokenKey {
    /// Reads the key if there is one.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, IdentityError> {
        let file = dir.map(|dir| dir.join("sa.key"));
        let key = OnceLock::new();
        if let Some(path) = &file {
            match std::fs::read_to_string(path).map(Secret::new) {
                Ok(pem) => {
                    let unusable = |source| IdentityError::Unusable { path: path.clone(), source };
                    let _ = key.set(Rs256Key::from_pem(pem.expose()).map_err(unusable)?);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(IdentityError::File { path: path.clone(), source }),
            }
        }
        Ok(Self { file, key, making: Mutex::default() })
    }

    /// The key, if it was ever needed: without one no token can be ours.
    pub(crate) fn known(&self) -> Option<&Rs256Key> {
        self.key.get()
    }

    /// The key, made and kept now if there is none.
    pub(crate) fn get(&self) -> Result<&Rs256Key, IdentityError> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = Rs256Key::generate()?;
        if let Some(path) = &self.file {
            let file = |source| IdentityError::File { path: path.clone(), source };
            write_private(path, key.to_pem()?.expose().as_bytes()).map_err(file)?;
        }
        Ok(self.key.get_or_init(|| key))
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// The attribute of a subject that is the user's unique id (`1.3.6.1.4.1.57683.2`, of the CNCF).
const UID: &[u64] = &[1, 3, 6, 1, 4, 1, 57683, 2];

/// The user of a verified client certificate: common name, organisations and unique id, as Kubernetes reads them. `None`: the
/// certificate names nobody.
///
/// # Errors
/// A certificate whose unique id cannot be read is not believed.
pub(crate) fn user(certificates: &[CertificateDer<'static>]) -> Result<Option<User>, Rejected> {
    let Some(der) = certificates.first() else { return Ok(None) };
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Rejected)?;
    let subject = certificate.subject();
    // Of several names the last counts, as in Go.
    let name = subject.iter_common_name().last().and_then(|a| a.as_str().ok()).filter(|n| !n.is_empty());
    let Some(name) = name else { return Ok(None) };
    let mut user = User::new(name, subject.iter_organization().filter_map(|a| a.as_str().ok()));
    let uids =
        subject.iter_attributes().filter(|a| a.attr_type().iter().is_some_and(|oid| oid.eq(UID.iter().copied())));
    let uids: Vec<&str> = uids.map(|a| a.as_str()).collect::<Result<_, _>>().map_err(|_| Rejected)?;
    match uids.as_slice() {
        [] => {}
        [uid] if !uid.is_empty() => user.uid = (*uid).to_owned(),
        _ => return Err(Rejected),
    }
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={}", sha256_hex(der))]);
    Ok(Some(user))
}

/// A random uuid, from the thread's generator: every object and every answer has one, and the system is slower to ask.
pub(crate) fn new_uuid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

/// A certificate that is not believed.
#[derive(Debug)]
pub(crate) struct Rejected;
