//! The one choice of cryptography.
//!
//! Everything that speaks TLS takes the provider from here and passes it on explicitly; nothing reads or sets the process
//! default, so two libraries that disagree can never panic at the first handshake.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The name of the cryptography in use, as `paddock --version` prints it.
pub const CRYPTO_PROVIDER_NAME: &str = "aws-lc-rs";

/// The cryptography of the whole process: aws-lc-rs, chosen because it has the post-quantum group X25519MLKEM768.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
