//! What `--version` prints.

/// Version, commit and crypto provider, in one line.
pub(crate) const LONG: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("PADDOCK_COMMIT"), ", crypto aws-lc-rs)");

#[cfg(test)]
mod tests {
    #[test]
    fn the_crypto_provider_is_the_one_in_use() {
        assert!(super::LONG.ends_with(&format!("crypto {})", paddock_pki::CRYPTO_PROVIDER_NAME)));
    }
}
