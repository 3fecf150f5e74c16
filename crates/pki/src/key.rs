//! ECDSA P-256 keys from aws-lc-rs in the shape that rcgen signs with.
//!
//! rcgen has a key type of its own, but it keeps a plain copy of the key's bytes; this one leaves them to the provider,
//! which cleans them, and hands out PEM only as a [`Secret`].

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::{PkiError, Secret};

pub(crate) struct EcKey(EcdsaKeyPair);

impl EcKey {
    pub(crate) fn generate() -> Result<Self, PkiError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Self)
            .map_err(|_| PkiError::Provider("no key could be generated".to_owned()))
    }

    /// Reads PKCS#8 (`PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    pub(crate) fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| PkiError::Pem { expected: "PRIVATE KEY", reason: error.to_string() })?;
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_der())
            .map(Self)
            .map_err(|error| PkiError::Key(format!("not an ECDSA P-256 key ({error})")))
    }

    /// The key as PKCS#8 PEM.
    pub(crate) fn to_pem(&self) -> Result<Secret, PkiError> {
        let document = self.0.to_pkcs8v1().map_err(|_| PkiError::Provider("the key cannot be encoded".to_owned()))?;
        Ok(secret_pem("PRIVATE KEY", document.as_ref()))
    }

    /// The uncompressed point, as it stands in a certificate's public key.
    pub(crate) fn public_point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl PublicKeyData for EcKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for EcKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Wraps DER in PEM armour (RFC 7468: 64 characters a line).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // The exact size, so that no reallocation leaves an unwiped copy of a key behind.
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 40);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// As [`pem`], for key material.
pub(crate) fn secret_pem(label: &str, der: &[u8]) -> Secret {
    Secret::new(pem(label, der))
}

#[cfg(test)]
mod tests {
    use super::EcKey;

    #[test]
    fn keys_survive_the_way_through_pem() {
        let key = EcKey::generate().unwrap();
        let again = EcKey::from_pem(key.to_pem().unwrap().expose()).unwrap();
        assert_eq!(again.public_point(), key.public_point());
    }

    #[test]
    fn text_without_a_key_is_an_error_that_names_what_was_sought() {
        let error = EcKey::from_pem("nothing").err().unwrap();
        assert!(error.to_string().starts_with("no PRIVATE KEY found"), "{error}");
    }
}
