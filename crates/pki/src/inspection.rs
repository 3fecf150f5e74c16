//! Reads a certificate back: the facts on which a controller decides whether to keep it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::key::pem;
use crate::{PkiError, SubjectAltName, renew_at};

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Common name of the subject; empty when there is none.
    pub common_name: String,
    /// Serial number, in hexadecimal digits.
    pub serial: String,
    /// Names and addresses for which the certificate is valid.
    pub names: BTreeSet<SubjectAltName>,
    /// Start of its life.
    pub not_before: Timestamp,
    /// End of its life.
    pub not_after: Timestamp,
    /// Whether it may sign other certificates (`basicConstraints`).
    pub is_authority: bool,
    /// May authenticate a server: the extended key usage says so, or is absent.
    pub serves: bool,
    /// May authenticate a client: the extended key usage says so, or is absent.
    pub authenticates_client: bool,
    /// SHA-256 of the DER as 64 hexadecimal digits.
    pub fingerprint: String,
    der: Vec<u8>,
}

impl CertificateInfo {
    /// Whether `authority` signed this certificate: the issuer's name matches and its ECDSA P-256 key made the
    /// signature. Certificates with other algorithms were not signed by an authority of ours.
    pub fn is_issued_by(&self, authority: &Self) -> bool {
        let (Ok((_, this)), Ok((_, issuer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der))
        else {
            return false;
        };
        this.issuer().as_raw() == issuer.subject().as_raw()
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &issuer.public_key().subject_public_key.data)
                .verify(this.tbs_certificate.as_ref(), &this.signature_value.data)
                .is_ok()
    }

    /// Whether this certificate names `authority` as its issuer. The signature is not checked, so it says so for every
    /// algorithm, also those that [`Self::is_issued_by`] does not know.
    pub fn names_as_issuer(&self, authority: &Self) -> bool {
        let (Ok((_, this)), Ok((_, issuer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority.der))
        else {
            return false;
        };
        this.issuer().as_raw() == issuer.subject().as_raw()
    }

    /// The certificate alone as PEM, in one spelling.
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Whether the certificate is valid at `now`.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// When it should be replaced: see [`renew_at`].
    pub fn renew_at(&self) -> Timestamp {
        renew_at(self.not_before, self.not_after)
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// Reads the first certificate of a PEM text.
///
/// # Errors
/// [`PkiError::Pem`] when there is none, [`PkiError::Certificate`] when it is not X.509.
pub fn inspect(certificate_pem: &str) -> Result<CertificateInfo, PkiError> {
    let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
        .map_err(|error| PkiError::Pem { expected: "CERTIFICATE", reason: error.to_string() })?;
    read(&der)
}

/// Reads a certificate as it came over the wire.
///
/// # Errors
/// [`PkiError::Certificate`] when it is not X.509.
pub fn inspect_der(der: &CertificateDer<'_>) -> Result<CertificateInfo, PkiError> {
    read(der)
}

/// Reads every certificate of a bundle, such as a `ca.crt`: at least one, at most `limit`.
///
/// # Errors
/// As [`inspect`]; [`PkiError::Certificate`] when there are more than `limit`.
pub fn inspect_bundle(bundle_pem: &str, limit: usize) -> Result<Vec<CertificateInfo>, PkiError> {
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(bundle_pem.as_bytes()) {
        let der = der.map_err(|error| PkiError::Pem { expected: "CERTIFICATE", reason: error.to_string() })?;
        if found.len() == limit {
            return Err(PkiError::Certificate(format!("more than {limit} of them in one bundle")));
        }
        found.push(read(&der)?);
    }
    if found.is_empty() {
        return Err(PkiError::Pem { expected: "CERTIFICATE", reason: "the text has no such section".to_owned() });
    }
    Ok(found)
}

fn read(der: &CertificateDer<'_>) -> Result<CertificateInfo, PkiError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| PkiError::Certificate(error.to_string()))?;
    if !rest.is_empty() {
        return Err(PkiError::Certificate(format!("{} bytes follow it", rest.len())));
    }
    let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let usages = certificate.extended_key_usage().map_err(|error| PkiError::Certificate(error.to_string()))?;
    let usages = usages.map(|extension| extension.value);
    Ok(CertificateInfo {
        common_name: common_name.unwrap_or_default().to_owned(),
        serial: hex(certificate.raw_serial()),
        names: names(&certificate),
        not_before: timestamp(certificate.validity().not_before.timestamp())?,
        not_after: timestamp(certificate.validity().not_after.timestamp())?,
        is_authority: certificate.is_ca(),
        serves: usages.is_none_or(|usage| usage.server_auth || usage.any),
        authenticates_client: usages.is_none_or(|usage| usage.client_auth || usage.any),
        fingerprint: sha256_hex(der),
        der: der.to_vec(),
    })
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<SubjectAltName> {
    let extensions = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(names),
        _ => None,
    });
    extensions.flat_map(|extension| extension.general_names.iter().filter_map(san)).collect()
}

/// Kinds of names that no certificate of ours carries (mail addresses, URIs) are left out.
fn san(name: &GeneralName<'_>) -> Option<SubjectAltName> {
    match name {
        GeneralName::DNSName(name) => Some(SubjectAltName::Dns(name.to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => {
            let address: Option<IpAddr> = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(Into::into),
                16 => <[u8; 16]>::try_from(*bytes).ok().map(Into::into),
                _ => None,
            };
            address.map(SubjectAltName::Ip)
        }
        _ => None,
    }
}

fn timestamp(seconds: i64) -> Result<Timestamp, PkiError> {
    Timestamp::from_second(seconds).map_err(|error| PkiError::Certificate(error.to_string()))
}

/// SHA-256 of `bytes` as 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{inspect, inspect_bundle};
    use crate::CertificateAuthority;
    use crate::key::pem;

    fn authority(name: &str) -> CertificateAuthority {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        CertificateAuthority::generate(name, now, jiff::SignedDuration::from_hours(24)).unwrap()
    }

    #[test]
    fn bundle_is_read_whole_and_has_a_limit() {
        let (one, two) = (authority("one"), authority("two"));
        let bundle = format!("{}{}", one.certificate_pem(), two.certificate_pem());
        let read = inspect_bundle(&bundle, 2).unwrap();
        assert_eq!([&read[0], &read[1]], [one.info(), two.info()]);
        assert!(inspect_bundle(&bundle, 1).is_err() && inspect_bundle("", 2).is_err());
        assert_eq!(read[0].to_pem(), one.certificate_pem().replace("\r\n", "\n"));
    }

    proptest! {
        #[test]
        fn foreign_bundle_never_panics(text in "(-----BEGIN CERTIFICATE-----\n|[A-Za-z0-9+/=\n]{0,20}|-----END CERTIFICATE-----\n){0,12}") {
            let _ = inspect_bundle(&text, 4);
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,400}") {
            let _ = inspect(&text);
        }

        #[test]
        fn foreign_der_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = inspect(&pem("CERTIFICATE", &bytes));
        }
    }
}
