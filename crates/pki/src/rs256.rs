//! The RSA pair with which an API server signs the tokens of service accounts (RFC 7518: `RS256`).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

use crate::key::secret_pem;
use crate::{PkiError, Secret};

/// A key that signs and checks `RS256` signatures (RSASSA-PKCS1-v1_5 with SHA-256).
pub struct Rs256Key {
    pair: RsaKeyPair,
    kid: String,
    modulus: String,
    exponent: String,
}

impl Rs256Key {
    /// Makes a new key of 2048 bits. Takes tens of milliseconds, by chance much longer.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider has no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        let failed = |_| PkiError::Provider("no RSA key could be generated".to_owned());
        Self::of(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?)
    }

    /// Reads PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// When the text holds no such key, or one of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| PkiError::Pem { expected: "PRIVATE KEY", reason: error.to_string() })?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            other => RsaKeyPair::from_pkcs8(other.secret_der()),
        };
        Self::of(pair.map_err(|error| PkiError::Key(format!("not an RSA key ({error})")))?)
    }

    fn of(pair: RsaKeyPair) -> Result<Self, PkiError> {
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .map_err(|_| PkiError::Provider("the public key cannot be encoded".to_owned()))?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki.as_ref());
        let (_, public) =
            RSAPublicKey::from_der(pair.public_key().as_ref()).map_err(|error| PkiError::Key(error.to_string()))?;
        let text =
            |number: &[u8]| URL_SAFE_NO_PAD.encode(&number[number.iter().take_while(|byte| **byte == 0).count()..]);
        let (modulus, exponent) = (text(public.modulus), text(public.exponent));
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(digest.as_ref()), modulus, exponent, pair })
    }

    /// The key as PKCS#8 PEM.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider refuses to encode it.
    pub fn to_pem(&self) -> Result<Secret, PkiError> {
        let document = AsDer::<Pkcs8V1Der<'_>>::as_der(&self.pair)
            .map_err(|_| PkiError::Provider("the key cannot be encoded".to_owned()))?;
        Ok(secret_pem("PRIVATE KEY", document.as_ref()))
    }

    /// The key's name in JWT headers and key sets, as kube-apiserver derives it: the SHA-256 of the public key's
    /// `SubjectPublicKeyInfo` in base64url.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Modulus and exponent of the public key in base64url: `n` and `e` of a JWK.
    pub fn modulus_and_exponent(&self) -> (&str, &str) {
        (&self.modulus, &self.exponent)
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| PkiError::Provider("the message cannot be signed".to_owned()))?;
        Ok(signature)
    }

    /// Whether this key made the signature of the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref());
        public.verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Rs256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rs256Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_verifies_what_it_signed_after_a_way_through_pem() {
        let key = Rs256Key::generate().unwrap();
        let again = Rs256Key::from_pem(key.to_pem().unwrap().expose()).unwrap();
        assert_eq!(again.kid(), key.kid());
        assert!(again.verifies(b"message", &key.sign(b"message").unwrap()));
    }

    #[test]
    fn another_message_or_another_key_does_not_verify() {
        let key = Rs256Key::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(!key.verifies(b"messagf", &signature));
        assert!(!Rs256Key::generate().unwrap().verifies(b"message", &signature));
    }

    #[test]
    fn a_signature_of_another_length_does_not_verify() {
        let key = Rs256Key::generate().unwrap();
        let signature = key.sign(b"m").unwrap();
        assert_eq!(signature.len(), 256);
        assert!(!key.verifies(b"m", &signature[..255]));
        assert!(!key.verifies(b"m", &[]));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let pem = crate::key::EcKey::generate().unwrap().to_pem().unwrap();
        assert!(matches!(Rs256Key::from_pem(pem.expose()), Err(PkiError::Key(_))));
    }

    #[test]
    fn the_public_numbers_are_written_without_leading_zeros() {
        let key = Rs256Key::generate().unwrap();
        let (n, e) = key.modulus_and_exponent();
        assert_eq!(URL_SAFE_NO_PAD.decode(n).unwrap().len(), 256);
        assert_eq!(e, "AQAB");
    }

    #[test]
    fn debug_output_holds_no_private_key() {
        let key = Rs256Key::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("Rs256Key {{ kid: {:?}, .. }}", key.kid()));
    }
}
