//! The Ed25519 pair with which a gateway signs the identity tokens of its sandboxes.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::inspection::hex;
use crate::key::{pem, secret_pem};
use crate::{PkiError, Secret};

/// The three values that the gateway reads: `signing.pem`, `public.pem`, `kid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtKeys {
    /// `signing.pem`: the private key as PKCS#8 PEM, in the form that carries the public key too (RFC 5958), because
    /// that is what the gateway's own generator writes and strict Ed25519 parsers ask for.
    pub signing_pem: Secret,
    /// `public.pem`: `SubjectPublicKeyInfo` PEM.
    pub public_pem: String,
    /// `kid`: the first 16 bytes of the SHA-256 over the DER of the public key, as 32 hexadecimal digits.
    pub kid: String,
}

impl JwtKeys {
    /// Makes a new pair.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider has no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        let failed = |_| PkiError::Provider("no Ed25519 key could be generated".to_owned());
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|error| PkiError::Key(error.to_string()))?;
        let spki = spki(&pair)?;
        Ok(Self {
            signing_pem: secret_pem("PRIVATE KEY", document.as_ref()),
            public_pem: pem("PUBLIC KEY", &spki),
            kid: kid(&spki),
        })
    }

    /// Whether the three values belong together; a gateway that is given others would sign tokens that nobody accepts.
    pub fn is_consistent(&self) -> bool {
        let Ok(signing) = PrivatePkcs8KeyDer::from_pem_slice(self.signing_pem.expose().as_bytes()) else {
            return false;
        };
        let Ok(public) = SubjectPublicKeyInfoDer::from_pem_slice(self.public_pem.as_bytes()) else { return false };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(signing.secret_pkcs8_der());
        let Ok(derived) = pair.map_err(|error| PkiError::Key(error.to_string())).and_then(|pair| spki(&pair)) else {
            return false;
        };
        derived == public.as_ref() && self.kid.trim_end() == kid(&derived)
    }
}

fn spki(pair: &Ed25519KeyPair) -> Result<Vec<u8>, PkiError> {
    AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
        .map(|der| der.as_ref().to_vec())
        .map_err(|_| PkiError::Provider("the public key cannot be encoded".to_owned()))
}

fn kid(spki: &[u8]) -> String {
    hex(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki).as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_belong_together() {
        assert!(JwtKeys::generate().unwrap().is_consistent());
    }

    #[test]
    fn keys_of_two_pairs_do_not_belong_together() {
        let mut keys = JwtKeys::generate().unwrap();
        keys.public_pem = JwtKeys::generate().unwrap().public_pem;
        assert!(!keys.is_consistent());
    }

    #[test]
    fn kid_is_half_of_the_digest_of_the_public_key() {
        // RFC 8410 section 10.3's key; the digest was taken with sha256sum.
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let der = SubjectPublicKeyInfoDer::from_pem_slice(public.as_bytes()).unwrap();
        assert_eq!(kid(&der), "a1e9156054e04fac899ae9f275132cdc");
        assert_eq!(pem("PUBLIC KEY", &der), public);
    }
}
