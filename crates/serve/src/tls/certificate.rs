//! A serving certificate, its key and whom it believes. Bytes in; nothing is touched.

use std::fmt;
use std::sync::Arc;

use paddock_pki::{CertificateInfo, crypto_provider};
use paddock_tls_profile::{KeyKind, hex_sha256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, SignatureAlgorithm};

use super::TlsError;

/// A certificate chain, its key, and the authorities that vouch for clients.
#[derive(Clone)]
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) client_authorities: Arc<[CertificateDer<'static>]>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Certificate {
    /// From a chain (leaf first) and its key. Clients whose certificate one of `client_authorities` signed are reported as
    /// verified; an empty list means that no certificate is asked for.
    ///
    /// # Errors
    /// When there is no certificate, or the key cannot be read or does not fit the leaf.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        client_authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::Empty("certificate"));
        }
        let key = crypto_provider().key_provider.load_private_key(key)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A key that cannot tell its public half is judged by the handshake that comes before publishing.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InvalidCertificate(error @ CertificateError::BadEncoding)) => {
                return Err(TlsError::Material(rustls::Error::InvalidCertificate(error)));
            }
            Err(rustls::Error::InconsistentKeys(_)) => return Err(TlsError::OtherKey),
            Err(error) => return Err(TlsError::Material(error)),
        }
        Ok(Self { certified: Arc::new(certified), client_authorities: client_authorities.into() })
    }

    /// From PEM texts; see [`Certificate::new`].
    ///
    /// # Errors
    /// As [`Certificate::new`], and when a text is not PEM or holds no certificate or key.
    pub fn from_pem(chain: &[u8], key: &[u8], client_authorities: Option<&[u8]>) -> Result<Self, TlsError> {
        let chain = certificates("certificate", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| TlsError::Pem("private key", e))?;
        let authorities =
            client_authorities.map(|pem| certificates("client authority", pem)).transpose()?.unwrap_or_default();
        Self::new(chain, key, authorities)
    }

    /// The kind of its key. An Ed25519 key serves the suites of ECDSA.
    pub fn key_kind(&self) -> KeyKind {
        match self.certified.key.algorithm() {
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            _ => KeyKind::Ecdsa,
        }
    }

    /// SHA-256 of the leaf, 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.certified.cert.first().map(|leaf| hex_sha256(leaf)).unwrap_or_default()
    }

    /// What the leaf says about itself; `None` when this build cannot read it.
    pub fn info(&self) -> Option<CertificateInfo> {
        self.certified.cert.first().and_then(|leaf| paddock_pki::inspect_der(leaf).ok())
    }

    /// Whether the same chain is presented and the same clients are believed. A chain determines its key.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.client_authorities == other.client_authorities
    }

    /// Whether every authority of `other` is believed here too.
    pub(super) fn believes_all_of(&self, other: &Self) -> bool {
        other.client_authorities.iter().all(|authority| self.client_authorities.contains(authority))
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::Empty(what)),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem(what, error)),
    }
}
