//! The certificates of a server, one for each kind of key. In TLS 1.3 it shows them only to who goes on with the handshake, so these
//! handshakes are left to a TLS library. Nobody is trusted: what is shown is looked at and no more.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{Certificate, Dialer};

/// What keys can sign with, one row for each kind that a server may have a certificate of.
const KINDS: [&[SignatureScheme]; 2] = [
    &[
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED25519,
        SignatureScheme::ED448,
    ],
    &[
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
        // Of TLS 1.2 alone.
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
    ],
];
/// How many handshakes it takes.
pub(crate) const HANDSHAKES: usize = KINDS.len();

/// The certificates that a server of TLS 1.2 or 1.3 shows, one for each kind of key that it has; it takes two handshakes. One that cannot be
/// seen, because the handshake fails or takes too long, is not among them.
pub async fn certificates(dialer: &Dialer) -> Vec<Certificate> {
    let mut found = Vec::new();
    for schemes in KINDS {
        let shown = Arc::new(Shown { schemes, certificate: Mutex::default() });
        // Whether it comes to an end does not matter: the certificate comes before that.
        let _ = timeout(dialer.limits().handshake, shake(dialer, &shown)).await;
        let der = shown.certificate.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.extend(der.and_then(|der| Certificate::read(&der)));
    }
    found
}

async fn shake(dialer: &Dialer, shown: &Arc<Shown>) -> Option<()> {
    let _permit = dialer.permit().await;
    let provider = CryptoProvider { kx_groups: aws_lc_rs::ALL_KX_GROUPS.to_vec(), ..aws_lc_rs::default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::clone(shown) as _).with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = match dialer.server_name() {
        Some(name) => ServerName::try_from(name.to_owned()).ok()?,
        None => ServerName::from(dialer.address().ip()),
    };
    let stream = TcpStream::connect(dialer.address()).await.ok()?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok().map(|_| ())
}

/// Keeps the certificate that it is shown, and finds everything good.
#[derive(Debug)]
struct Shown {
    schemes: &'static [SignatureScheme],
    certificate: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.to_vec()
    }
}
