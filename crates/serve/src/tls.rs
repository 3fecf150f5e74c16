//! What a listener presents and whom it believes. Bytes in, configuration out; no I/O.

use std::sync::Arc;

use arc_swap::ArcSwap;
use paddock_pki::crypto_provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

/// Why TLS material cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text has no certificate or no key, or is damaged. The first field says which text.
    #[error("{0}: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    /// A PEM text is well formed but holds nothing of what was asked for.
    #[error("{0}: no certificate found")]
    Empty(&'static str),
    /// The key does not fit the certificate, or a certificate cannot be parsed.
    #[error("cannot serve this certificate: {0}")]
    Material(#[from] rustls::Error),
    /// The authority for client certificates cannot be used.
    #[error("cannot verify client certificates: {0}")]
    ClientAuthority(#[from] rustls::server::VerifierBuilderError),
}

/// One complete set of TLS material: a certificate chain, its key and, when clients may show certificates, the authority
/// that vouches for them.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// From a chain (leaf first) and its key. Clients whose certificate one of `client_authorities` signed are reported as
    /// verified; an empty list means that no certificate is asked for.
    ///
    /// # Errors
    /// When the key does not fit the leaf, or an authority cannot be parsed.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        client_authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, TlsError> {
        let provider = crypto_provider();
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(rustls::ALL_VERSIONS)?;
        let (builder, clients) = if client_authorities.is_empty() {
            (builder.with_no_client_auth(), None)
        } else {
            let mut roots = RootCertStore::empty();
            for authority in client_authorities {
                roots.add(authority)?;
            }
            let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()?;
            (builder.with_client_cert_verifier(Arc::new(JudgeLater(strict.clone()))), Some(strict))
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), clients })
    }

    /// From PEM texts; see [`Tls::new`].
    ///
    /// # Errors
    /// As [`Tls::new`], and when a text is not PEM or holds no certificate or key.
    pub fn from_pem(chain: &[u8], key: &[u8], client_authorities: Option<&[u8]>) -> Result<Self, TlsError> {
        let chain = certificates("certificate", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| TlsError::Pem("private key", e))?;
        let authorities =
            client_authorities.map(|pem| certificates("client authority", pem)).transpose()?.unwrap_or_default();
        Self::new(chain, key, authorities)
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

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::Empty(what)),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem(what, error)),
    }
}

/// The TLS material of a listener, replaceable while it serves. Every new connection reads it once; connections that are
/// already open keep what they were made with.
#[derive(Clone, Debug)]
pub struct TlsSource(Arc<ArcSwap<Tls>>);

impl TlsSource {
    /// A source that serves `tls` until something else is put in.
    pub fn new(tls: Tls) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(tls)))
    }

    /// Serves `tls` from the next connection on. Session tickets of the old material are void.
    pub fn replace(&self, tls: Tls) {
        self.0.store(Arc::new(tls));
    }

    pub(crate) fn current(&self) -> Arc<Tls> {
        self.0.load_full()
    }
}

/// Lets every client certificate through the handshake once the client has proved that it holds the key; who signed it is
/// judged after the handshake, so that the handler can answer 401 in words instead of an alert that no client explains.
#[derive(Debug)]
struct JudgeLater(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for JudgeLater {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
