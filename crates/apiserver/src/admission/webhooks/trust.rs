//! Whom a webhook's certificate convinces: the authorities of `caBundle` (the system's when there is none), and nobody
//! else. What is wrong is told in the words of Go's `crypto/x509`, because people look those up. Pure but for the clock.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use paddock_pki::crypto_provider;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Most names of a certificate that a message lists, as Go's.
const NAMES: usize = 100;

/// The system's authorities, read once.
static SYSTEM: LazyLock<Vec<CertificateDer<'static>>> =
    LazyLock::new(|| rustls_native_certs::load_native_certs().certs);

/// What to connect with: HTTP/1.1, these authorities, no client certificate.
///
/// # Errors
/// Go's words for a bundle that holds no certificate.
pub(super) fn config(bundle: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let authorities: Vec<CertificateDer<'static>> = if bundle.is_empty() {
        SYSTEM.clone()
    } else {
        CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect()
    };
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(authorities.iter().cloned());
    if known == 0 && !bundle.is_empty() {
        return Err("unable to load root certificates: unable to parse bytes as PEM block".to_owned());
    }
    let chains = if known == 0 {
        None
    } else {
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider()).build();
        Some(built.map_err(|error| error.to_string())?)
    };
    let verifier = Trust { authorities, chains };
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Verifies as Go does: life, names, then the chain. A certificate that is itself one of the authorities needs no chain.
struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    /// `None`: there is no authority at all.
    chains: Option<Arc<WebPkiServerVerifier>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.authorities.len())
    }
}

/// What is wrong with a certificate, in Go's words.
#[derive(Debug)]
pub(super) struct Distrust(String);

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls: failed to verify certificate: x509: {}", self.0)
    }
}

impl std::error::Error for Distrust {}

fn distrust(why: impl Into<String>) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Distrust(why.into())))))
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|error| distrust(format!("malformed certificate: {error}")))?;
        check_life(&parsed, now)?;
        let checked = ParsedCertificate::try_from(leaf)?;
        if rustls::client::verify_server_name(&checked, name).is_err() {
            return Err(distrust(wrong_name(&parsed, name)));
        }
        let authority = self.authorities.iter().any(|authority| **authority == **leaf);
        let usage = parsed.extended_key_usage().ok().flatten();
        if authority && usage.is_none_or(|usage| usage.value.server_auth || usage.value.any) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(chains) = &self.chains else { return Err(distrust("certificate signed by unknown authority")) };
        chains.verify_server_cert(leaf, intermediates, name, stapled, now).map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                distrust("certificate signed by unknown authority")
            }
            rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose) => {
                distrust("certificate specifies an incompatible key usage")
            }
            rustls::Error::InvalidCertificate(other) => distrust(other.to_string()),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &crypto_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &crypto_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn check_life(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (from, to) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let text = |seconds: i64| Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default();
    let (side, limit) = match seconds {
        early if early < from => ("before", from),
        late if late > to => ("after", to),
        _ => return Ok(()),
    };
    Err(distrust(format!(
        "certificate has expired or is not yet valid: current time {} is {side} {}",
        text(seconds),
        text(limit)
    )))
}

/// `HostnameError`.
fn wrong_name(certificate: &X509Certificate<'_>, wanted: &ServerName<'_>) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let Some(names) = names else {
        return "certificate relies on legacy Common Name field, use SANs instead".to_owned();
    };
    let names = &names.value.general_names;
    let valid: Vec<String> = match wanted {
        ServerName::IpAddress(wanted) => {
            let ips: Vec<String> = names.iter().filter_map(ip).take(NAMES).collect();
            if ips.is_empty() {
                let wanted = IpAddr::from(*wanted);
                return format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs");
            }
            ips
        }
        _ => names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .take(NAMES)
            .collect(),
    };
    let wanted = wanted.to_str();
    if valid.is_empty() {
        return format!("certificate is not valid for any names, but wanted to match {wanted}");
    }
    format!("certificate is valid for {}, not {wanted}", valid.join(", "))
}

fn ip(name: &GeneralName<'_>) -> Option<String> {
    let GeneralName::IPAddress(bytes) = name else { return None };
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
    };
    Some(address.to_string())
}
