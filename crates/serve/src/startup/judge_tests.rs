use paddock_tls_profile::{Adherence, Decision, Generation, MetricsAuth, Named, Schema};
use proptest::prelude::*;

use super::*;

fn mounted(contract: &Contract, profile: Option<&str>) -> Bundle {
    let profile_hash = profile.map(|text| hex_sha256(text.as_bytes()));
    let contract = Contract { profile_hash, ..contract.clone() };
    Bundle {
        contract: Some(contract.canonical().into_bytes()),
        profile: profile.map(|text| text.as_bytes().to_vec()),
        ..Bundle::default()
    }
}

fn judged(contract: &Contract, profile: Option<&str>) -> Result<Candidate, Rejected> {
    candidate(&mounted(contract, profile), KeyKind::Ecdsa, &Overrides::default())
}

fn of(named: Named) -> Candidate {
    judged(&Contract::baseline("x"), Some(&named.profile(Generation::C).canonical())).unwrap()
}

fn strict() -> Contract {
    let decision = Decision { adherence: Adherence::Strict, ..Decision::default() };
    Contract { decision, ..Contract::baseline("x") }
}

const UNSERVABLE: &str = r#"{"ciphers":null,"groups":["secp521r1"],"minTLSVersion":"VersionTLS13"}"#;

fn serving(state: &Candidate) -> Option<&Effective> {
    Some(&state.effective)
}

#[test]
fn what_is_missing_is_named() {
    let bundle = mounted(&Contract::baseline("x"), Some("{}"));
    let without = |edit: fn(&mut Bundle)| {
        let mut bundle = bundle.clone();
        edit(&mut bundle);
        candidate(&bundle, KeyKind::Ecdsa, &Overrides::default()).unwrap_err()
    };
    assert_eq!(without(|bundle| bundle.contract = None), Rejected::Missing("contract.json"));
    assert_eq!(without(|bundle| bundle.profile = None), Rejected::Missing("profile.json"));
}

#[test]
fn tls_f07_tls_d05_a_contract_without_a_profile_means_the_built_in_one() {
    let candidate = judged(&Contract::baseline("x"), None).unwrap();
    assert_eq!((candidate.serving, candidate.hash), (Serving::Builtin, Profile::baseline().hash()));
}

#[test]
fn tls_f12_a_profile_that_its_contract_was_not_written_for_is_refused() {
    let mut bundle = mounted(&Contract::baseline("x"), Some("{}"));
    bundle.profile = Some(Named::Old.profile(Generation::A).canonical().into_bytes());
    let why = candidate(&bundle, KeyKind::Ecdsa, &Overrides::default()).unwrap_err();
    assert!(matches!(why, Rejected::OtherProfile { .. }), "{why}");
}

#[test]
fn a_profile_that_the_contract_does_not_know_of_is_refused() {
    let mut bundle = mounted(&Contract::baseline("x"), None);
    bundle.profile = Some(b"{}".to_vec());
    assert_eq!(candidate(&bundle, KeyKind::Ecdsa, &Overrides::default()), Err(Rejected::UnexpectedProfile));
}

#[test]
fn tls_f09_a_wrong_profile_is_refused_with_its_file() {
    let why = judged(&Contract::baseline("x"), Some(r#"{"minTLSVersion":"TLS1.2"}"#)).unwrap_err().to_string();
    assert!(why.starts_with("profile.json: minTLSVersion \"TLS1.2\" is no version"), "{why}");
}

#[test]
fn tls_f24_a_contract_of_another_major_version_is_refused() {
    let contract = Contract { schema: Schema { major: 2, minor: 0 }, ..Contract::baseline("x") };
    let why = judged(&contract, None).unwrap_err().to_string();
    assert_eq!(
        why,
        "contract.json: schemaVersion \"2.0\" is of another major version than 1: this build cannot read it"
    );
}

#[test]
fn what_cannot_be_served_gives_way_or_is_refused_as_the_contract_says() {
    let legacy = judged(&Contract::baseline("x"), Some(UNSERVABLE)).unwrap();
    assert_eq!((legacy.serving, &legacy.effective), (Serving::Baseline, &of(Named::Intermediate).effective));
    assert!(matches!(judged(&strict(), Some(UNSERVABLE)), Err(Rejected::Unservable(_))));
}

#[test]
fn tls_d17_flags_come_before_the_file_each_by_itself() {
    let overrides = Overrides { min_version: Some(Version::Tls13), ..Overrides::default() };
    let text = Named::Intermediate.profile(Generation::C).canonical();
    let candidate = candidate(&mounted(&Contract::baseline("x"), Some(&text)), KeyKind::Ecdsa, &overrides).unwrap();
    assert_eq!(candidate.effective.versions(), [Version::Tls13]);
    assert_eq!(candidate.asked.groups, Named::Intermediate.profile(Generation::C).groups);
    assert_eq!(candidate.hash, hex_sha256(text.as_bytes()));
}

#[test]
fn tls_f12_what_the_operator_did_not_write_may_only_tighten() {
    let (modern, intermediate) = (of(Named::Modern), of(Named::Intermediate));
    let (confirms_modern, confirms_intermediate) = (Some(modern.hash.as_str()), Some(intermediate.hash.as_str()));
    assert!(matches!(next(&intermediate, confirms_modern, serving(&modern)), Next::Hold(_)));
    assert_eq!(next(&modern, confirms_intermediate, serving(&intermediate)), Next::Publish { stale: true });
    assert_eq!(next(&intermediate, confirms_intermediate, serving(&modern)), Next::Publish { stale: false });
    assert_eq!(next(&intermediate, None, serving(&modern)), Next::Publish { stale: false });
    let of_neither = Some("0");
    assert!(matches!(next(&intermediate, of_neither, serving(&modern)), Next::Hold(_)));
    let begun = first(Ok(intermediate.clone()), Some(modern.clone()), of_neither).unwrap();
    assert!(matches!(begun, First::LastGood(last, _) if last == modern));
}

#[test]
fn tls_f16_a_map_of_yesterday_is_served_where_there_is_nothing_better() {
    let (old, new) = (of(Named::Intermediate), of(Named::Modern));
    assert_eq!(next(&old, Some(&new.hash), None), Next::Publish { stale: true });
    assert_eq!(next(&new, Some(&new.hash), serving(&old)), Next::Publish { stale: false });
}

#[test]
fn the_stand_in_for_what_cannot_be_served_never_lets_in_more_than_before() {
    let stand_in = judged(&Contract::baseline("x"), Some(UNSERVABLE)).unwrap();
    assert!(matches!(next(&stand_in, None, serving(&of(Named::Modern))), Next::Hold(_)));
    assert_eq!(next(&stand_in, None, serving(&of(Named::Intermediate))), Next::Publish { stale: false });
    assert_eq!(next(&stand_in, None, None), Next::Publish { stale: false });
}

#[test]
fn tls_f12_after_a_restart_what_was_confirmed_comes_before_what_was_tampered_with() {
    let (good, tampered) = (of(Named::Modern), of(Named::Intermediate));
    let first = |expected: &str| first(Ok(tampered.clone()), Some(good.clone()), Some(expected)).unwrap();
    assert!(matches!(first(&good.hash), First::LastGood(last, _) if last == good));
    assert_eq!(first(&tampered.hash), First::Mounted(tampered.clone()));
}

#[test]
fn tls_f09_a_restart_lets_in_no_more_by_the_stand_in_than_the_last_good_profile() {
    let stand_in = judged(&Contract::baseline("x"), Some(UNSERVABLE)).unwrap();
    let (modern, intermediate) = (of(Named::Modern), of(Named::Intermediate));
    let first = |last: &Candidate, expected| first(Ok(stand_in.clone()), Some(last.clone()), expected).unwrap();
    for expected in [None, Some(stand_in.hash.as_str()), Some("0")] {
        assert!(matches!(first(&modern, expected), First::LastGood(last, _) if last == modern), "{expected:?}");
    }
    assert_eq!(first(&intermediate, None), First::Mounted(stand_in.clone()));
}

#[test]
fn tls_f20_a_last_good_profile_that_the_new_key_cannot_serve_is_nothing_to_go_back_to() {
    let stand_in = judged(&Contract::baseline("x"), Some(UNSERVABLE)).unwrap();
    let bad = || Err(Rejected::Missing("profile.json"));
    assert_eq!(first(bad(), Some(stand_in), None).unwrap_err(), Rejected::Missing("profile.json"));
}

#[test]
fn tls_d12_the_last_good_profile_stands_in_for_a_bad_one() {
    let last = of(Named::Modern);
    let bad = || Err(Rejected::Missing("profile.json"));
    assert_eq!(first(bad(), Some(last.clone()), None), Ok(First::LastGood(last, "profile.json is missing".to_owned())));
    assert_eq!(first(bad(), None, None).unwrap_err(), Rejected::Missing("profile.json"));
}

/// The three inputs of which none may change another: platform, TLS settings, authentication; for each of the four roles.
#[test]
fn tls_f05_tls_d03_tls_d14_platform_profile_and_authentication_are_independent() {
    use paddock_tls_profile::Known;
    let modern = Named::Modern.profile(Generation::C).canonical();
    for component in ["operator", "webhook", "metrics", "handler"] {
        for (known, set, auth) in [Known::Yes, Known::No]
            .into_iter()
            .flat_map(|known| [true, false].map(|set| (known, set)))
            .flat_map(|(known, set)| [MetricsAuth::Token, MetricsAuth::Off].map(|auth| (known, set, auth)))
        {
            let contract = Contract {
                platform: [("scc".to_owned(), known)].into(),
                metrics_auth: auth,
                ..Contract::baseline(component)
            };
            let candidate = judged(&contract, set.then_some(modern.as_str())).unwrap();
            let wanted = if set { Named::Modern } else { Named::Intermediate };
            assert_eq!(candidate.effective, of(wanted).effective);
            assert_eq!(candidate.contract.metrics_auth, auth);
            assert_eq!(candidate.contract.platform["scc"], known);
        }
    }
}

proptest! {
    /// Whatever is mounted over something good: what is served lets in no more than before, or the operator asked for it.
    #[test]
    fn arbitrary_bytes_never_widen(contract in proptest::collection::vec(any::<u8>(), 0..100), profile in proptest::collection::vec(any::<u8>(), 0..100), swap in any::<bool>()) {
        let good = mounted(&strict(), Some(&Named::Modern.profile(Generation::C).canonical()));
        let bundle = Bundle {
            contract: if swap { Some(contract) } else { good.contract },
            profile: Some(profile),
            ..Bundle::default()
        };
        prop_assert!(candidate(&bundle, KeyKind::Ecdsa, &Overrides::default()).is_err());
    }
}

#[path = "model_tests.rs"]
mod model;
