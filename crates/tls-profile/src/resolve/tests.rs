use proptest::prelude::*;

use super::*;
use crate::{Generation, Named};

fn custom(ciphers: &[&str], min_version: Option<Version>) -> Profile {
    Profile { ciphers: Some(ciphers.iter().map(|name| (*name).to_owned()).collect()), min_version, groups: None }
}

fn with_groups(groups: &[&str]) -> Profile {
    let groups = Some(groups.iter().map(|name| (*name).to_owned()).collect());
    Profile { groups, ..Named::Intermediate.profile(Generation::B) }
}

fn shipped(profile: &Profile) -> Resolution {
    resolve(profile, &Backend::RUSTLS_AWS_LC, &Options::default())
}

fn served(resolution: &Resolution) -> (Vec<Version>, Vec<u16>) {
    let effective = resolution.effective.as_ref().expect("something is served");
    (effective.versions(), effective.suites.iter().map(|suite| suite.code()).collect())
}

fn reasons(resolution: &Resolution) -> Vec<(&str, Reason)> {
    resolution.dropped.iter().map(|dropped| (dropped.name.as_str(), dropped.reason)).collect()
}

#[test]
fn modern_and_intermediate_are_served_exactly() {
    use Generation::{B, C};
    for (named, generation) in
        [(Named::Modern, B), (Named::Modern, C), (Named::Intermediate, B), (Named::Intermediate, C)]
    {
        assert_eq!(shipped(&named.profile(generation)).outcome, Outcome::Exact, "{named:?} {generation:?}");
    }
}

#[test]
fn intermediate_of_the_oldest_generation_loses_its_two_dhe_suites() {
    let resolution = shipped(&Named::Intermediate.profile(Generation::A));
    assert_eq!(resolution.outcome, Outcome::Reduced);
    assert_eq!(
        reasons(&resolution),
        [("DHE-RSA-AES128-GCM-SHA256", Reason::Unsupported), ("DHE-RSA-AES256-GCM-SHA384", Reason::Unsupported)]
    );
}

#[test]
fn old_is_reduced_to_the_suites_of_intermediate() {
    for (generation, dropped) in [(Generation::A, 20), (Generation::B, 12), (Generation::C, 15)] {
        let resolution = shipped(&Named::Old.profile(generation));
        assert_eq!(resolution.outcome, Outcome::Reduced);
        assert_eq!(resolution.dropped.len(), dropped, "{generation:?}");
        assert_eq!(resolution.notes, [Note::Raised { asked: Version::Tls10, served: Version::Tls12 }]);
        assert_eq!(served(&resolution), served(&shipped(&Named::Intermediate.profile(Generation::C))));
    }
}

#[test]
fn another_provider_without_hybrid_groups_says_reduced() {
    let resolution = resolve(&Named::Modern.profile(Generation::C), &Backend::RUSTLS_RING, &Options::default());
    assert_eq!(resolution.outcome, Outcome::Reduced);
    assert_eq!(reasons(&resolution), [("X25519MLKEM768", Reason::Unsupported)]);
}

#[test]
fn listed_suites_of_tls13_are_served_exactly() {
    let resolution = shipped(&custom(&["TLS_AES_256_GCM_SHA384"], Some(Version::Tls13)));
    assert_eq!((served(&resolution), resolution.outcome), ((vec![Version::Tls13], vec![0x1302]), Outcome::Exact));
}

#[test]
fn suites_of_tls13_are_on_where_none_is_listed() {
    let resolution = shipped(&custom(&["ECDHE-RSA-AES128-GCM-SHA256"], None));
    assert_eq!(served(&resolution).1, [0x1301, 0x1302, 0x1303, 0xC02F]);
    assert_eq!((resolution.outcome, resolution.notes), (Outcome::Exact, vec![Note::Tls13Unlisted]));
}

#[test]
fn the_strict_policy_turns_unlisted_tls13_off() {
    let options = Options { tls13: Tls13Policy::Strict, ..Options::default() };
    let resolution = resolve(&custom(&["ECDHE-RSA-AES128-GCM-SHA256"], None), &Backend::RUSTLS_AWS_LC, &options);
    assert_eq!(served(&resolution), (vec![Version::Tls12], vec![0xC02F]));
}

#[test]
fn an_empty_list_below_tls13_serves_tls13_alone() {
    let resolution = shipped(&custom(&[], Some(Version::Tls12)));
    assert_eq!(served(&resolution), (vec![Version::Tls13], vec![0x1301, 0x1302, 0x1303]));
    assert_eq!((resolution.outcome, resolution.notes), (Outcome::Reduced, vec![Note::Tls12Off]));
}

#[test]
fn an_empty_list_with_tls13_is_exact() {
    assert_eq!(shipped(&custom(&[], Some(Version::Tls13))).outcome, Outcome::Exact);
}

#[test]
fn only_old_suites_leave_tls13_alone() {
    let profile = custom(&["AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"], Some(Version::Tls12));
    let resolution = shipped(&profile);
    assert_eq!((served(&resolution).0, resolution.outcome), (vec![Version::Tls13], Outcome::Reduced));
    let strict = Options { tls13: Tls13Policy::Strict, ..Options::default() };
    let resolution = resolve(&profile, &Backend::RUSTLS_AWS_LC, &strict);
    assert_eq!(resolution.outcome, Outcome::Unservable(Unservable::NoSuite));
}

#[test]
fn a_list_of_unknown_names_serves_nothing() {
    let resolution = shipped(&custom(&["ecdhe-rsa-aes128-gcm-sha256", "it's"], None));
    assert_eq!(resolution.outcome, Outcome::Unservable(Unservable::NoSuiteKnown));
    assert_eq!(reasons(&resolution), [("ecdhe-rsa-aes128-gcm-sha256", Reason::Unknown), ("it's", Reason::Unknown)]);
}

#[test]
fn mixed_spellings_and_doubles_are_one_suite() {
    let profile = custom(
        &["ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"],
        None,
    );
    let resolution = shipped(&profile);
    assert_eq!((served(&resolution).1, resolution.outcome), (vec![0x1301, 0xC02F], Outcome::Exact));
}

#[test]
fn groups_filter() {
    let effective = shipped(&with_groups(&["P-256", "X25519"])).effective.unwrap();
    assert_eq!(effective.groups, [Group::Secp256r1, Group::X25519]);
}

#[test]
fn groups_that_cannot_be_served_leave_nothing() {
    for groups in [["secp521r1"], ["SecP384r1MLKEM1024"], ["unheard of"]] {
        assert_eq!(shipped(&with_groups(&groups)).outcome, Outcome::Unservable(Unservable::NoGroup), "{groups:?}");
    }
}

#[test]
fn hybrid_groups_alone_turn_tls12_off() {
    let resolution = shipped(&with_groups(&["X25519MLKEM768", "SecP256r1MLKEM768"]));
    assert_eq!((served(&resolution).0, resolution.outcome), (vec![Version::Tls13], Outcome::Reduced));
    assert!(resolution.dropped.iter().all(|dropped| dropped.reason == Reason::NoTls12Group));
}

#[test]
fn tls_f20_suites_that_the_key_cannot_serve_are_left_out() {
    let options = Options { key: Some(KeyKind::Rsa), ..Options::default() };
    let resolution = resolve(&custom(&["ECDHE-ECDSA-AES128-GCM-SHA256"], None), &Backend::RUSTLS_AWS_LC, &options);
    assert_eq!(served(&resolution).0, [Version::Tls13]);
    assert_eq!(reasons(&resolution), [("ECDHE-ECDSA-AES128-GCM-SHA256", Reason::Key)]);
}

#[test]
fn tls_f27_fips_drops_chacha_and_x25519_and_keeps_the_hybrid() {
    let options = Options { fips: true, ..Options::default() };
    let resolution = resolve(&Named::Intermediate.profile(Generation::C), &Backend::RUSTLS_AWS_LC, &options);
    let effective = resolution.effective.as_ref().unwrap();
    assert_eq!(effective.groups, [Group::X25519MlKem768, Group::Secp256r1, Group::Secp384r1]);
    assert!(effective.suites.iter().all(|suite| suite.is_fips()));
    assert_eq!((resolution.outcome, resolution.dropped.len()), (Outcome::Reduced, 4));
}

#[test]
fn a_floor_tightens() {
    let options = Options { floor: Some(Version::Tls13), ..Options::default() };
    let resolution = resolve(&Named::Intermediate.profile(Generation::C), &Backend::RUSTLS_AWS_LC, &options);
    assert_eq!(served(&resolution).0, [Version::Tls13]);
    assert_eq!(resolution.outcome, Outcome::Reduced);
}

/// Go's own names of suites that have another one, and others' names of groups, written down anew.
const SUITES_OF_GO: [(&str, u16); 2] =
    [("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", 0xCCA8), ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 0xCCA9)];
const GROUPS_OF_OTHERS: [(&str, u16); 8] = [
    ("x25519", 0x001D),
    ("prime256v1", 0x0017),
    ("P-256", 0x0017),
    ("CurveP256", 0x0017),
    ("P-384", 0x0018),
    ("CurveP384", 0x0018),
    ("P-521", 0x0019),
    ("CurveP521", 0x0019),
];

fn names() -> impl Strategy<Value = Vec<String>> {
    let suite = (0..Suite::all().len(), any::<bool>()).prop_map(|(at, iana)| {
        let suite = Suite::all()[at];
        if iana { suite.iana() } else { suite.openssl() }.to_owned()
    });
    let go = (0..SUITES_OF_GO.len()).prop_map(|at| SUITES_OF_GO[at].0.to_owned());
    proptest::collection::vec(prop_oneof![8 => suite, 2 => go, 1 => "[a-zA-Z-]{0,8}"], 0..12)
}

/// The numbers of the suites of a list.
fn suite_codes(names: &[String]) -> Vec<u16> {
    let of = |name: &String| {
        let go = SUITES_OF_GO.iter().find(|(alias, _)| alias == name).map(|(_, code)| *code);
        let known = Suite::all().iter().find(|suite| name == suite.openssl() || name == suite.iana());
        go.or_else(|| known.map(|suite| suite.code()))
    };
    names.iter().filter_map(of).collect()
}

fn group_codes(names: &[String]) -> Vec<u16> {
    let of = |name: &String| {
        let others = GROUPS_OF_OTHERS.iter().find(|(alias, _)| alias == name).map(|(_, code)| *code);
        others.or_else(|| Group::ALL.iter().find(|group| name == group.name()).map(|group| group.code()))
    };
    names.iter().filter_map(of).collect()
}

fn group_names() -> impl Strategy<Value = Vec<String>> {
    let group = (0..Group::ALL.len()).prop_map(|at| Group::ALL[at].name().to_owned());
    let others = (0..GROUPS_OF_OTHERS.len()).prop_map(|at| GROUPS_OF_OTHERS[at].0.to_owned());
    proptest::collection::vec(prop_oneof![8 => group, 4 => others, 1 => "[a-zA-Z0-9]{0,8}"], 0..5)
}

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), 0..3_u8, 0..5_usize).prop_map(|(fips, strict, key, floor)| Options {
        fips,
        tls13: if strict { Tls13Policy::Strict } else { Tls13Policy::Platform },
        key: [None, Some(KeyKind::Rsa), Some(KeyKind::Ecdsa)][usize::from(key)],
        floor: Version::ALL.get(floor).copied(),
    })
}

proptest! {
    /// What is served is in the request, read by another way than the resolver reads it.
    #[test]
    fn nothing_is_served_that_was_not_asked_for(
        ciphers in proptest::option::of(names()),
        groups in proptest::option::of(group_names()),
        version in 0..5_usize,
        options in options(),
        ring in any::<bool>(),
        curves in any::<bool>(),
    ) {
        let min_version = Version::ALL.get(version).copied();
        // As files have it: groups under the API's name, or under kubernetes-nmstate's.
        let mut file = serde_json::json!({ "ciphers": ciphers, "minTLSVersion": min_version.map_or("", Version::name) });
        file[if curves { "curves" } else { "groups" }] = serde_json::json!(groups);
        let profile = Profile::parse(file.to_string().as_bytes()).unwrap().profile;
        prop_assert_eq!(&profile.groups.clone().filter(|groups| !groups.is_empty()), &groups.filter(|groups| !groups.is_empty()));
        let backend = if ring { Backend::RUSTLS_RING } else { Backend::RUSTLS_AWS_LC };
        let resolution = resolve(&profile, &backend, &options);
        let Some(effective) = resolution.effective else { return Ok(()) };
        let listed = profile.ciphers.clone().unwrap_or_default();
        let codes = suite_codes(&listed);
        let is_listed = |suite: &Suite| codes.contains(&suite.code());
        let names_tls13 = codes.iter().any(|code| code >> 8 == 0x13);
        for suite in &effective.suites {
            let always_on = suite.is_tls13() && !names_tls13 && (listed.is_empty() || options.tls13 == Tls13Policy::Platform);
            prop_assert!(is_listed(suite) || always_on, "{suite:?}");
            prop_assert!(backend.suites.contains(&suite.code()));
        }
        let lowest = min_version.unwrap_or(Version::Tls12).max(options.floor.unwrap_or(Version::Tls10));
        prop_assert!(effective.versions().iter().all(|version| *version >= lowest));
        if let Some(groups) = profile.groups.as_ref().filter(|groups| !groups.is_empty()) {
            prop_assert!(effective.groups.iter().all(|group| group_codes(groups).contains(&group.code())));
        }
        prop_assert!(!effective.suites.is_empty() && !effective.groups.is_empty());
        let tls12 = effective.versions().contains(&Version::Tls12);
        prop_assert!(!tls12 || effective.groups.iter().any(|group| group.serves_tls12()));
    }

    /// What is served, asked for by name, is served exactly.
    #[test]
    fn what_is_served_resolves_to_itself(ciphers in names(), groups in group_names(), version in 0..5_usize, options in options()) {
        let profile = Profile { ciphers: Some(ciphers), min_version: Version::ALL.get(version).copied(), groups: Some(groups) };
        let Some(effective) = resolve(&profile, &Backend::RUSTLS_AWS_LC, &options).effective else { return Ok(()) };
        let again = Profile {
            ciphers: Some(effective.suites.iter().map(|suite| suite.openssl().to_owned()).collect()),
            min_version: effective.versions().first().copied(),
            groups: Some(effective.groups.iter().map(|group| group.name().to_owned()).collect()),
        };
        // A list without suites of TLS 1.3 needs the strict policy to mean it.
        let strict = Options { tls13: Tls13Policy::Strict, ..options };
        prop_assert_eq!(resolve(&again, &Backend::RUSTLS_AWS_LC, &strict).effective, Some(effective));
    }
}

#[test]
fn go_serves_more_of_old_than_rustls_does() {
    let left_out = |generation, backend: &Backend| {
        let resolution = resolve(&Named::Old.profile(generation), backend, &Options::default());
        (resolution.dropped.len(), resolution.notes.len())
    };
    // Three suites of the newest tables are not Go's either.
    assert_eq!(left_out(Generation::C, &Backend::GO), (3, 0));
    assert_eq!(left_out(Generation::C, &Backend::RUSTLS_AWS_LC), (15, 1));
}
