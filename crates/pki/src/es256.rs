//! The ECDSA P-256 pair with which an API server signs the tokens of service accounts (RFC 7518: `ES256`).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::key::secret_pem;
use crate::{PkiError, Secret};

/// A key that signs and checks `ES256` signatures: 64 bytes, `r` and `s`.
pub struct Es256Key {
    pair: EcdsaKeyPair,
    kid: String,
}

impl Es256Key {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider has no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        let failed = |_| PkiError::Provider("no key could be generated".to_owned());
        Self::of(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?)
    }

    /// Reads PKCS#8 (`PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// When the text holds no such key, or one of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| PkiError::Pem { expected: "PRIVATE KEY", reason: error.to_string() })?;
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der())
            .map_err(|error| PkiError::Key(format!("not an ECDSA P-256 key ({error})")))?;
        Self::of(pair)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, PkiError> {
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .map_err(|_| PkiError::Provider("the public key cannot be encoded".to_owned()))?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki.as_ref());
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(digest.as_ref()), pair })
    }

    /// The key as PKCS#8 PEM.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider refuses to encode it.
    pub fn to_pem(&self) -> Result<Secret, PkiError> {
        let document =
            self.pair.to_pkcs8v1().map_err(|_| PkiError::Provider("the key cannot be encoded".to_owned()))?;
        Ok(secret_pem("PRIVATE KEY", document.as_ref()))
    }

    /// The key's name in JWT headers and key sets, as kube-apiserver derives it: the SHA-256 of the public key's
    /// `SubjectPublicKeyInfo` in base64url.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public point's coordinates `x` and `y` in base64url, as a JWK holds them.
    pub fn coordinates(&self) -> (String, String) {
        // An uncompressed point: 4, then 32 bytes each.
        let point = self.pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        (part(1..33), part(33..65))
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| PkiError::Provider("the message cannot be signed".to_owned()))?.as_ref().to_vec())
    }

    /// Whether this key made the signature of the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        public.verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Es256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Es256Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_verifies_what_it_signed_after_a_way_through_pem() {
        let key = Es256Key::generate().unwrap();
        let again = Es256Key::from_pem(key.to_pem().unwrap().expose()).unwrap();
        assert_eq!(again.kid(), key.kid());
        assert!(again.verifies(b"message", &key.sign(b"message").unwrap()));
    }

    #[test]
    fn another_message_or_another_key_does_not_verify() {
        let key = Es256Key::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(!key.verifies(b"messagf", &signature));
        assert!(!Es256Key::generate().unwrap().verifies(b"message", &signature));
    }

    #[test]
    fn a_signature_of_another_length_does_not_verify() {
        let key = Es256Key::generate().unwrap();
        let signature = key.sign(b"m").unwrap();
        assert_eq!(signature.len(), 64);
        assert!(!key.verifies(b"m", &signature[..63]));
        assert!(!key.verifies(b"m", &[]));
    }

    /// The key of RFC 7515, appendix A.3, as SEC1.
    const RFC_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\n\
        AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n\
        focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END EC PRIVATE KEY-----\n";

    #[test]
    fn coordinates_are_those_of_the_public_key() {
        let key = Es256Key::from_pem(RFC_KEY).unwrap();
        let expected = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        assert_eq!(key.coordinates(), (expected.0.to_owned(), expected.1.to_owned()));
    }

    #[test]
    fn kid_is_the_digest_of_the_public_key() {
        // Measured with `openssl ec -pubout -outform DER | sha256sum`.
        let key = Es256Key::from_pem(RFC_KEY).unwrap();
        assert_eq!(key.kid(), "K9G7DESol8MKeqCZHN442AYv5EHeUNoPRoJTRPYC6Cc");
    }

    #[test]
    fn the_signature_of_the_rfc_verifies() {
        let message = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let key = Es256Key::from_pem(RFC_KEY).unwrap();
        assert!(key.verifies(message, &URL_SAFE_NO_PAD.decode(signature).unwrap()));
    }

    #[test]
    fn debug_output_holds_no_private_key() {
        let key = Es256Key::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("Es256Key {{ kid: {:?}, .. }}", key.kid()));
    }
}
