//! Certificate authorities, leaves and signing keys. Computes, never does I/O.

mod provider;

pub use provider::{CRYPTO_PROVIDER_NAME, crypto_provider};
