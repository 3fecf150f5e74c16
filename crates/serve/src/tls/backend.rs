//! From what is to be served to rustls's configuration: the one place that knows how rustls is told about suites, groups and
//! versions. Nothing is touched.

use std::sync::Arc;

use paddock_pki::crypto_provider;
use paddock_tls_profile::{Effective, Version};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    SupportedProtocolVersion,
};

use super::TlsError;

/// A provider with just these suites and groups, in this order, and the versions that they serve.
///
/// # Errors
/// When the library lacks one of them: the resolver was told of another library.
pub(super) fn restricted(
    effective: &Effective,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), TlsError> {
    let mut provider = CryptoProvider::clone(&crypto_provider());
    provider.cipher_suites = effective
        .suites
        .iter()
        .map(|suite| {
            let found = aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|have| u16::from(have.suite()) == suite.code());
            found.copied().ok_or(TlsError::Missing(suite.openssl()))
        })
        .collect::<Result<_, _>>()?;
    provider.kx_groups = effective
        .groups
        .iter()
        .map(|group| {
            let found = aws_lc_rs::ALL_KX_GROUPS.iter().find(|have| u16::from(have.name()) == group.code());
            found.copied().ok_or(TlsError::Missing(group.name()))
        })
        .collect::<Result<_, _>>()?;
    let versions = effective
        .versions()
        .into_iter()
        .filter_map(|version| match version {
            Version::Tls12 => Some(&rustls::version::TLS12),
            Version::Tls13 => Some(&rustls::version::TLS13),
            Version::Tls10 | Version::Tls11 => None,
        })
        .collect();
    Ok((Arc::new(provider), versions))
}

/// Makes one handshake in memory, with a client that has everything that this library has, before anybody else does.
///
/// # Errors
/// Why no client could connect.
pub(super) fn try_handshake(config: &Arc<ServerConfig>) -> Result<(), TlsError> {
    let mut provider = CryptoProvider::clone(&crypto_provider());
    provider.kx_groups = aws_lc_rs::ALL_KX_GROUPS.to_vec();
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(config.clone())?;
    let mut wire = Vec::new();
    // A handshake has two or three flights each way; a retried key share adds one.
    for _ in 0..8 {
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).map_err(memory)?;
        }
        feed(&mut server, &wire)?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).map_err(memory)?;
        }
        feed(&mut client, &wire)?;
    }
    Err(TlsError::Material(rustls::Error::HandshakeNotComplete))
}

fn feed<D>(to: &mut rustls::ConnectionCommon<D>, mut wire: &[u8]) -> Result<(), TlsError> {
    while !wire.is_empty() {
        to.read_tls(&mut wire).map_err(memory)?;
        to.process_new_packets()?;
    }
    Ok(())
}

fn memory(error: std::io::Error) -> TlsError {
    TlsError::Material(rustls::Error::General(error.to_string()))
}

/// Believes every certificate, but not every signature: this client asks whether the key fits, not whose it is.
#[derive(Debug)]
struct AnyName;

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        ParsedCertificate::try_from(end_entity).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = crypto_provider();
        rustls::crypto::verify_tls12_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = crypto_provider();
        rustls::crypto::verify_tls13_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}
