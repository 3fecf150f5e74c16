//! What fuzzers call: one function for every parser of foreign bytes, and the rule that must hold for all bytes. Only compiled
//! for tests and with the feature `fuzzing`; the fuzzers themselves are in the repository's `fuzz/`.
//!
//! A target panics when the rule is broken, and on nothing else.

pub use crate::gateways::fuzzing::{
    gateway_answer, gateway_object, gateway_secrets, gateway_toml, platform_config, server_names_and_image,
};

/// What a fuzzer feeds.
pub type Target = fn(&[u8]);

/// Every target by its name, as in `fuzz/fuzz_targets/NAME.rs`.
pub const TARGETS: &[(&str, Target)] = &[
    ("platform_config", platform_config),
    ("gateway_object", gateway_object),
    ("gateway_toml", gateway_toml),
    ("server_names_and_image", server_names_and_image),
    ("gateway_secrets", gateway_secrets),
    ("gateway_answer", gateway_answer),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::TARGETS;

    /// Inputs that reach far, and every input that once broke a rule: `fuzz/corpus/TARGET/*`.
    #[test]
    fn the_corpus_breaks_no_rule() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let mut ran = 0;
        for (name, target) in TARGETS {
            for file in std::fs::read_dir(root.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")) {
                target(&std::fs::read(file.unwrap().path()).unwrap());
                ran += 1;
            }
        }
        assert!(ran >= TARGETS.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_break_no_rule(data in proptest::collection::vec(any::<u8>(), 0..200), which in 0..TARGETS.len()) {
            TARGETS[which].1(&data);
        }
    }
}
