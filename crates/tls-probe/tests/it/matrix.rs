//! Profiles by keys, on the wire, against a table that knows nothing of the resolver: what a scan sees must be what the specification
//! says a rustls server serves. An RSA and an ECDSA listener are both needed: each shows its own suites of TLS 1.2 only.

use paddock_tls_probe::{Answer, Dialer, Limits, Offer, Protocol, scan};
use paddock_tls_profile::{ClientModel, Generation, Named, Profile, Version};

use crate::listener::{Key, config, custom, named, ours, serve, served};

/// The nine suites of rustls, written down by hand: number, names, and which key.
const NINE: [(u16, &str, &str, &[Key]); 9] = [
    (0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", &[Key::Rsa, Key::P256, Key::P384]),
    (0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", &[Key::Rsa, Key::P256, Key::P384]),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", &[Key::Rsa, Key::P256, Key::P384]),
    (0xC02B, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", &[Key::P256, Key::P384]),
    (0xC02C, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", &[Key::P256, Key::P384]),
    (0xC02F, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", &[Key::Rsa]),
    (0xC030, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", &[Key::Rsa]),
    (0xCCA8, "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", &[Key::Rsa]),
    (0xCCA9, "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", &[Key::P256, Key::P384]),
];

/// Numbers of the groups, and whether TLS 1.2 can use them.
const FIVE: [(u16, &str, bool); 5] = [
    (0x0017, "secp256r1", true),
    (0x0018, "secp384r1", true),
    (0x001D, "X25519", true),
    (0x11EB, "SecP256r1MLKEM768", false),
    (0x11EC, "X25519MLKEM768", false),
];

/// What the specification says is served: section 3.7, rules 1 to 7, read anew. `None`: nothing.
fn oracle(profile: &Profile, key: Key) -> Option<(Vec<u16>, Vec<u16>)> {
    let listed = profile.ciphers.clone().unwrap_or_default();
    let groups: Vec<_> = match profile.groups.clone().filter(|groups| !groups.is_empty()) {
        Some(names) => FIVE.into_iter().filter(|(_, name, _)| names.iter().any(|one| one == name)).collect(),
        None => FIVE.into_iter().filter(|(code, ..)| *code != 0x11EB).collect(),
    };
    let is_listed = |openssl: &str, iana: &str| listed.iter().any(|name| name == openssl || name == iana);
    let names_tls13 = NINE.iter().any(|(code, openssl, iana, _)| *code < 0x1400 && is_listed(openssl, iana));
    let tls12 = profile.min_version != Some(Version::Tls13) && groups.iter().any(|(_, _, tls12)| *tls12);
    let suites: Vec<u16> = NINE
        .into_iter()
        .filter(|(code, openssl, iana, keys)| match code >> 8 {
            0x13 => !names_tls13 || is_listed(openssl, iana),
            _ => tls12 && keys.contains(&key) && is_listed(openssl, iana),
        })
        .map(|(code, ..)| code)
        .collect();
    (!groups.is_empty()).then(|| (suites, groups.into_iter().map(|(code, ..)| code).collect()))
}

/// A listener of ours that is asked for the profile is scanned: it must serve what the table says, and where that is nothing, the
/// built-in profile in its place.
async fn agrees(profile: &Profile, key: Key) {
    let expected = oracle(profile, key);
    let listener = ours(profile, key).await;
    // Else the built-in one in its place.
    assert_eq!(listener.startup.report()["serving"] == "Profile", expected.is_some(), "{profile:?} {key:?}");
    let expected = expected.or_else(|| oracle(&named(Named::Intermediate), key));
    let observed = scan(&Dialer::new(listener.address, None, Limits::default())).await.unwrap();
    let (mut suites, mut groups) = (observed.suites(), observed.groups());
    suites.sort_unstable();
    groups.sort_unstable();
    assert_eq!(Some((suites, groups)), expected, "{profile:?} {key:?}");
}

const KEYS: [Key; 3] = [Key::Rsa, Key::P256, Key::P384];

#[tokio::test]
async fn tls_f20_named_profiles_of_every_generation_are_served_as_the_specification_says() {
    for named in Named::ALL {
        for generation in [Generation::A, Generation::B, Generation::C] {
            for key in KEYS {
                agrees(&named.profile(generation), key).await;
            }
        }
    }
}

#[tokio::test]
async fn tls_f10_custom_profiles_are_served_as_the_specification_says() {
    const G: &[&str] = &["X25519", "secp256r1"];
    let profiles = [
        custom(&[], "VersionTLS13", &[]),
        custom(&[], "VersionTLS12", &[]),
        custom(&["ECDHE-RSA-AES128-GCM-SHA256"], "VersionTLS12", &[]),
        custom(&["ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS12", G),
        custom(&["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"], "VersionTLS10", G),
        custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS12", &["secp384r1"]),
        custom(&["TLS_CHACHA20_POLY1305_SHA256", "it's", "ECDHE-RSA-CHACHA20-POLY1305"], "VersionTLS11", G),
        custom(&["AES128-SHA", "DES-CBC3-SHA", "DHE-RSA-AES128-GCM-SHA256"], "VersionTLS10", G),
        custom(
            &["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            "VersionTLS12",
            &["secp521r1", "X25519"],
        ),
        custom(&["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"], "VersionTLS12", &["X25519MLKEM768"]),
        custom(
            &["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"],
            "VersionTLS13",
            &["SecP256r1MLKEM768", "X25519"],
        ),
        custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS13", &["secp521r1", "SecP384r1MLKEM1024"]),
        custom(&["ECDHE-ECDSA-AES256-GCM-SHA384"], "", G),
        custom(&["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"], "VersionTLS12", G),
        custom(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS12", G),
        custom(&["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"], "VersionTLS12", G),
        custom(&["TLS_AES_256_GCM_SHA384"], "VersionTLS13", &["secp384r1"]),
        custom(&["TLS_CHACHA20_POLY1305_SHA256"], "VersionTLS13", &["X25519"]),
        custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS13", &["X25519MLKEM768"]),
        custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS13", &["SecP256r1MLKEM768"]),
        custom(&["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"], "VersionTLS12", &["secp384r1"]),
        custom(&["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS10", G),
        custom(&["AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"], "VersionTLS11", &["secp256r1"]),
        custom(&["ecdhe-rsa-aes128-gcm-sha256", "ECDHE-RSA-AES128-GCM-SHA256"], "VersionTLS12", G),
        custom(&["ECDHE-RSA-AES128-GCM-SHA256"], "VersionTLS13", G),
        custom(&["a\nb", "<&>", "TLS_AES_256_GCM_SHA384"], "VersionTLS12", &["X25519", "it's"]),
        custom(&["TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"], "VersionTLS13", &["X25519", "X25519"]),
        custom(&["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS12", &["secp521r1"]),
        custom(&["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS12", &[]),
        custom(&["DHE-RSA-AES256-GCM-SHA384", "TLS_AES_128_GCM_SHA256"], "VersionTLS12", G),
    ];
    for profile in &profiles {
        for key in KEYS {
            agrees(profile, key).await;
        }
    }
}

/// What the clients that matter offer, written down anew: numbers of their groups. All have the nine suites.
const CLIENTS: [(&str, &[u16]); 3] = [
    ("Kubernetes 1.33 to 1.35", &[0x11EC, 0x001D, 0x0017, 0x0018, 0x0019]),
    ("Go 1.23 and older", &[0x001D, 0x0017, 0x0018, 0x0019]),
    ("Go 1.26", &[0x11EC, 0x001D, 0x0017, 0x0018, 0x0019, 0x11EB, 0x11ED]),
];

/// The word on which clients a profile shuts out is what happens when they come: their hello to a listener of ours.
#[tokio::test]
async fn tls_f21_tls_d16_the_clients_that_are_said_to_be_shut_out_are() {
    let suites =
        |tls13: bool| NINE.into_iter().map(|(code, ..)| code).filter(move |code| (*code < 0x1400) == tls13).collect();
    let groups: [&[&str]; 6] = [
        &["X25519MLKEM768", "X25519"],
        &["X25519MLKEM768"],
        &["SecP256r1MLKEM768"],
        &["secp384r1"],
        &["SecP256r1MLKEM768", "secp256r1"],
        &[],
    ];
    for groups in groups {
        for (ciphers, version) in
            [(&["TLS_AES_128_GCM_SHA256"][..], "VersionTLS13"), (&["ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS12")]
        {
            let profile = custom(ciphers, version, groups);
            let effective = served(&profile, Key::P256);
            let listener = ours(&profile, Key::P256).await;
            for (name, groups) in CLIENTS {
                let model = ClientModel::ALL.into_iter().find(|model| model.name == name).unwrap();
                let mut connects = false;
                for (version, tls13) in [(Version::Tls13, true), (Version::Tls12, false)] {
                    let offer = Offer::new(Protocol::Tls(version), suites(tls13), groups.to_vec());
                    let answer = Dialer::new(listener.address, None, Limits::default()).ask(&offer).await.unwrap();
                    connects |= !matches!(answer, Answer::Refused { .. });
                }
                assert_eq!(connects, model.speaks(&effective), "{name} {profile:?}");
            }
        }
    }
}

/// How rustls refuses, as it was measured: a scanner must take every alert for a refusal.
#[tokio::test]
async fn refusals_of_rustls_are_alerts_of_one_kind() {
    let profile = custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS12", &["secp256r1"]);
    let modern = serve(config(&served(&profile, Key::P256), Key::P256)).await;
    let old = serve(config(&served(&named(Named::Old), Key::P256), Key::P256)).await;
    let alert =
        async |address, offer: Offer| match Dialer::new(address, None, Limits::default()).ask(&offer).await.unwrap() {
            Answer::Refused { alert, .. } => alert,
            other => panic!("{other:?}"),
        };
    let tls13 = Protocol::Tls(Version::Tls13);
    assert_eq!(alert(modern, Offer::new(tls13, vec![0x1302], vec![0x0017])).await, Some(40), "an excluded suite");
    assert_eq!(alert(modern, Offer::new(tls13, vec![0x1301], vec![0x001D])).await, Some(40), "an excluded group");
    let tls10 = Offer::new(Protocol::Tls(Version::Tls10), vec![0xC009, 0x002F], vec![0x0017]);
    assert_eq!(alert(old, tls10).await, Some(40), "TLS 1.0 without signature algorithms");
}
