//! What fuzzers call: one function for every parser of foreign bytes, and the rule that must hold for all bytes. Only compiled for
//! tests and with the feature `fuzzing`. A target panics when the rule is broken, and on nothing else.

use crate::{Backend, Contract, Group, Options, Profile, Request, Suite, Tls13Policy, resolve};

/// `profile.json`: what is read is written back the same, and nothing is served that it does not ask for.
pub fn tls_profile(data: &[u8]) {
    if let Ok(value) = serde_json::from_slice(data) {
        let _ = Request::parse(&value);
    }
    let Ok(parsed) = Profile::parse(data) else { return };
    let profile = parsed.profile;
    let again = Profile::parse(profile.canonical().as_bytes()).map(|parsed| parsed.profile.hash());
    assert_eq!(again, Ok(profile.hash()));
    let _ = profile.canonical_for_nmstate();
    let strict = Options { tls13: Tls13Policy::Strict, ..Options::default() };
    let Some(effective) = resolve(&profile, &Backend::RUSTLS_AWS_LC, &strict).effective else { return };
    let listed = profile.ciphers.unwrap_or_default();
    let asked = |suite: &Suite| listed.is_empty() || listed.iter().any(|name| Suite::from_name(name) == Some(*suite));
    assert!(effective.suites.iter().all(asked));
    if let Some(groups) = profile.groups.filter(|groups| !groups.is_empty()) {
        let asked = |group: &Group| groups.iter().any(|name| Group::from_name(name) == Some(*group));
        assert!(effective.groups.iter().all(asked));
    }
}

/// `contract.json`: what is read is written back the same.
pub fn tls_contract(data: &[u8]) {
    let Ok(parsed) = Contract::parse(data) else { return };
    let again = Contract::parse(parsed.contract.canonical().as_bytes()).map(|parsed| parsed.contract);
    assert_eq!(again, Ok(parsed.contract));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    type Target = fn(&[u8]);

    const TARGETS: &[(&str, Target)] = &[("tls_profile", tls_profile), ("tls_contract", tls_contract)];

    /// Inputs that reach far, and every input that once broke a rule: `fuzz/corpus/TARGET/*`.
    #[test]
    fn the_corpus_breaks_no_rule() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for (name, target) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(root.join(name)).unwrap().collect();
            assert!(!files.is_empty());
            for file in files {
                target(&std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_break_no_rule(data in proptest::collection::vec(any::<u8>(), 0..200), which in 0..TARGETS.len()) {
            TARGETS[which].1(&data);
        }
    }
}
