//! The certificate that a server shows: what decides which suites it can serve, and until when it is valid.

use jiff::Timestamp;
use paddock_tls_profile::KeyKind;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Facts of a server's certificate. Whether anyone should trust it is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The key in words, such as `ECDSA secp256r1` or `RSA 2048`.
    pub key: String,
    /// Which suites of TLS 1.2 and older it can serve; `None` for keys of a kind that no profile has suites for.
    pub kind: Option<KeyKind>,
    /// The curve of an ECDSA key, by the number of its group.
    pub(crate) curve: Option<u16>,
    /// End of its life.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads a certificate; `None` for what is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let key = certificate.public_key();
        let algorithm = key.algorithm.algorithm.to_id_string();
        let (words, kind, curve) = match (algorithm.as_str(), key.parsed()) {
            (_, Ok(PublicKey::RSA(rsa))) => (format!("RSA {}", rsa.key_size()), Some(KeyKind::Rsa), None),
            (_, Ok(PublicKey::EC(_))) => {
                let name = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
                let (curve, name) = match name.map(|oid| oid.to_id_string()).as_deref() {
                    Some("1.2.840.10045.3.1.7") => (Some(0x0017), "secp256r1"),
                    Some("1.3.132.0.34") => (Some(0x0018), "secp384r1"),
                    Some("1.3.132.0.35") => (Some(0x0019), "secp521r1"),
                    _ => (None, "on another curve"),
                };
                (format!("ECDSA {name}"), Some(KeyKind::Ecdsa), curve)
            }
            // EdDSA keys serve the suites of ECDSA (RFC 8422, section 2).
            ("1.3.101.112", _) => ("Ed25519".to_owned(), Some(KeyKind::Ecdsa), None),
            ("1.3.101.113", _) => ("Ed448".to_owned(), Some(KeyKind::Ecdsa), None),
            (other, _) => (other.to_owned(), None, None),
        };
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
        Some(Self { key: words, kind, curve, not_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_decides_the_kind_and_the_curve() {
        let of = |algorithm: &'static rcgen::SignatureAlgorithm| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key);
            let read = Certificate::read(certificate.unwrap().der()).unwrap();
            (read.key, read.kind, read.curve)
        };
        use KeyKind::{Ecdsa, Rsa};
        assert_eq!(of(&rcgen::PKCS_RSA_SHA256), ("RSA 2048".to_owned(), Some(Rsa), None));
        assert_eq!(of(&rcgen::PKCS_ECDSA_P256_SHA256), ("ECDSA secp256r1".to_owned(), Some(Ecdsa), Some(0x0017)));
        assert_eq!(of(&rcgen::PKCS_ECDSA_P384_SHA384), ("ECDSA secp384r1".to_owned(), Some(Ecdsa), Some(0x0018)));
        assert_eq!(of(&rcgen::PKCS_ED25519), ("Ed25519".to_owned(), Some(Ecdsa), None));
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert_eq!(Certificate::read(b"\x30\x03\x02\x01\x00"), None);
    }
}
