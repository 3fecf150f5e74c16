//! Certificate authorities, leaves and signing keys.
//!
//! This room computes and never does I/O: it reads no file, no clock and no socket. The caller passes the time and
//! writes the PEM wherever it belongs. Private keys live in [`Secret`], which does not print and is wiped on drop.
//!
//! - [`CertificateAuthority`] makes itself, loads itself from PEM, and issues leaves ([`LeafRequest`] → [`Leaf`]).
//! - [`inspect`] reads a certificate back: names, life, issuer; [`renew_at`] says when to issue the next one.
//! - [`Rs256Key`] signs the tokens of service accounts.
//! - [`JwtKeys`] is the Ed25519 pair with which a gateway signs its tokens.

mod authority;
mod inspection;
mod jwt;
mod key;
mod lifetime;
mod provider;
mod rs256;
mod san;
mod secret;

pub use authority::{CertificateAuthority, Leaf, LeafRequest, Usage, key_belongs};
pub use inspection::{CertificateInfo, inspect, inspect_bundle, inspect_der, sha256_hex};
pub use jwt::JwtKeys;
pub use lifetime::{CLOCK_SKEW, renew_at, spread};
pub use provider::{CRYPTO_PROVIDER_NAME, crypto_provider};
pub use rs256::Rs256Key;
pub use san::SubjectAltName;
pub use secret::{Secret, random_key};

/// Why a certificate or a key could not be made or read. Never carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// The text holds no PEM section of the expected kind, or its base64 is broken.
    #[error("no {expected} found in the PEM text: {reason}")]
    Pem {
        /// What was looked for, such as `CERTIFICATE`.
        expected: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// The certificate is not valid DER X.509.
    #[error("the certificate cannot be parsed: {0}")]
    Certificate(String),
    /// The private key is of another kind than the one this crate writes (ECDSA P-256, or Ed25519 for tokens).
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// Certificate and private key do not belong together.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate is not a certificate authority.
    #[error("the certificate is not a certificate authority (basicConstraints CA is not true)")]
    NotAnAuthority,
    /// A name cannot be a subject alternative name.
    #[error("{0:?} cannot be a subject alternative name")]
    Name(String),
    /// The life that was asked for is empty: it ends before it starts, or after the authority's own end.
    #[error("the certificate would end at {not_after}, which is not after {not_before}")]
    Lifetime {
        /// When it would start.
        not_before: jiff::Timestamp,
        /// When it would end.
        not_after: jiff::Timestamp,
    },
    /// The provider failed: no randomness, or an encoding that it refuses.
    #[error("the cryptographic provider failed: {0}")]
    Provider(String),
}
