//! A serving certificate for `localhost` with an authority of its own, and a client that trusts that authority alone. Touches nothing.

use std::io;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use paddock_pki::{CertificateAuthority, Leaf, LeafRequest, PkiError, Usage, crypto_provider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A serving certificate for `localhost`, good for a day, and the authority that nobody else has heard of.
///
/// # Errors
/// When the crypto library makes no keys.
pub fn issued() -> Result<(CertificateAuthority, Leaf), PkiError> {
    let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
    let authority = CertificateAuthority::generate("trial", now, day)?;
    let leaf = authority.issue(&LeafRequest {
        common_name: "trial".to_owned(),
        organization: None,
        organizational_unit: None,
        names: ["localhost".into()].into(),
        usage: Usage::Server,
        now,
        not_after: now + day,
    })?;
    Ok((authority, leaf))
}

/// A client that trusts this authority alone, and offers these versions.
///
/// # Errors
/// When the authority's certificate cannot be read, or no version can be offered.
pub fn trusting(
    authority: &CertificateAuthority,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).map_err(io::Error::other)?;
    roots.add(der).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
