//! What a listener presents, what it lets in and whom it believes. Bytes in, configuration out; no I/O.
//!
//! | module | what it is for |
//! |---|---|
//! | `certificate` | a certificate, its key, the authorities of clients |
//! | `backend` | rustls: a configuration that serves just what was resolved, and a handshake to prove it |
//! | `clients` | client certificates are judged after the handshake |
//! | `generation` | what is published, one after the other, and the connections that each let in |
//! | `renewal` | certificates of a component's own making are made anew in time |

mod backend;
mod certificate;
mod clients;
mod generation;
mod renewal;

use std::sync::Arc;

use paddock_tls_profile::{Backend, Effective, Options, Profile, Unservable, resolve};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

pub use certificate::Certificate;
pub(crate) use generation::{Generation, Held, Source};
pub use generation::{Population, TlsSource};
pub use renewal::keep_renewed;

/// What this build of Paddock can serve.
pub const BACKEND: Backend = Backend::RUSTLS_AWS_LC;

/// Why TLS material cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text has no certificate or no key, or is damaged. The first field says which text.
    #[error("{0}: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    /// A PEM text is well formed but holds nothing of what was asked for.
    #[error("{0}: no certificate found")]
    Empty(&'static str),
    /// The key is not the one of the certificate.
    #[error("the private key does not belong to the certificate")]
    OtherKey,
    /// A certificate cannot be parsed, or its key cannot be used.
    #[error("cannot serve this certificate: {0}")]
    Material(#[from] rustls::Error),
    /// The authority for client certificates cannot be used.
    #[error("cannot verify client certificates: {0}")]
    ClientAuthority(#[from] rustls::server::VerifierBuilderError),
    /// The TLS library lacks a suite or group that was to be served.
    #[error("this build's TLS library has no {0}")]
    Missing(&'static str),
    /// Not even the built-in profile can be served, with this key.
    #[error("the built-in profile cannot be served: {0}")]
    Unservable(#[from] Unservable),
}

/// One complete set of what a listener serves: a certificate chain with its key, the versions, suites and groups, and, when
/// clients may show certificates, the authority that vouches for them.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    certificate: Certificate,
    effective: Arc<Effective>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// Serves `certificate` with just the suites and groups of `effective`. A handshake in memory has proved that it works.
    ///
    /// Sessions are resumed within one such set only: each has a store of its own.
    ///
    /// # Errors
    /// When this library lacks something of it, a client authority cannot be used, or no handshake succeeds.
    pub fn new(certificate: Certificate, effective: Effective) -> Result<Self, TlsError> {
        let (provider, versions) = backend::restricted(&effective)?;
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
        let (builder, clients) = if certificate.client_authorities.is_empty() {
            (builder.with_no_client_auth(), None)
        } else {
            let mut roots = RootCertStore::empty();
            for authority in certificate.client_authorities.iter() {
                roots.add(authority.clone())?;
            }
            let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()?;
            (builder.with_client_cert_verifier(Arc::new(clients::JudgeLater(strict.clone()))), Some(strict))
        };
        let presented = rustls::sign::SingleCertAndKey::from(certificate.certified.clone());
        let mut config = builder.with_cert_resolver(Arc::new(presented));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        backend::try_handshake(&config)?;
        Ok(Self { config, certificate, effective: Arc::new(effective), clients })
    }

    /// Serves `certificate` with the built-in profile, [`Profile::baseline`].
    ///
    /// # Errors
    /// As [`Tls::new`].
    pub fn baseline(certificate: Certificate) -> Result<Self, TlsError> {
        let effective = baseline(&certificate)?;
        Self::new(certificate, effective)
    }

    /// Serves a certificate from PEM texts with the built-in profile; see [`Certificate::from_pem`].
    ///
    /// # Errors
    /// As [`Certificate::from_pem`] and [`Tls::new`].
    pub fn from_pem(chain: &[u8], key: &[u8], client_authorities: Option<&[u8]>) -> Result<Self, TlsError> {
        Self::baseline(Certificate::from_pem(chain, key, client_authorities)?)
    }

    /// What is served.
    pub fn effective(&self) -> &Effective {
        &self.effective
    }

    /// The certificate that is presented.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether every connection that `older` let in could have been let in by this too.
    fn admits_all_of(&self, older: &Self) -> bool {
        self.effective.covers(&older.effective) && self.certificate.believes_all_of(&older.certificate)
    }

    /// Judges the chain that a client showed: the chain itself when it is to be believed, else why not.
    pub(crate) fn judge(&self, shown: &[CertificateDer<'static>]) -> Result<(), String> {
        let (Some(verifier), Some((leaf, intermediates))) = (&self.clients, shown.split_first()) else {
            return Err("no client certificate was asked for".to_owned());
        };
        match verifier.verify_client_cert(leaf, intermediates, UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What is served of the built-in profile with this certificate.
fn baseline(certificate: &Certificate) -> Result<Effective, Unservable> {
    let options = Options { key: Some(certificate.key_kind()), ..Options::default() };
    let resolution = resolve(&Profile::baseline(), &BACKEND, &options);
    resolution.effective.ok_or(Unservable::NoSuite)
}
