//! The operator's question to a pod.

use paddock_tls_probe::{Dialer, Expectation, Limits, Verified, verify};
use paddock_tls_profile::{Backend, Named, Options, Profile};

use crate::listener::{Key, config, custom, named, serve, served};

/// Serves one profile, and asks for another.
async fn asked(serving: &Profile, expected: &Profile) -> Verified {
    let address = serve(config(&served(serving, Key::P256), Key::P256)).await;
    let options = Options { key: Some(Key::P256.kind()), ..Options::default() };
    let expectation = Expectation::new(expected, &Backend::RUSTLS_AWS_LC, &options);
    verify(&Dialer::new(address, None, Limits::default()), &expectation).await.unwrap()
}

#[tokio::test]
async fn a_pod_that_follows_its_profile_holds() {
    for profile in [Named::Old, Named::Intermediate, Named::Modern].map(named) {
        let verified = asked(&profile, &profile).await;
        assert!(verified.holds(), "{}", verified.summary());
    }
}

#[tokio::test]
async fn what_was_seen_is_told() {
    let intermediate = named(Named::Intermediate);
    assert_eq!(
        asked(&intermediate, &intermediate).await.summary().split("; ").next(),
        Some("TLS 1.3 TLS_AES_128_GCM_SHA256: accepted TLS 1.3 TLS_AES_128_GCM_SHA256 with X25519MLKEM768")
    );
}

#[tokio::test]
async fn a_pod_on_the_wider_profile_of_before_is_found() {
    let verified = asked(&named(Named::Intermediate), &named(Named::Modern)).await;
    assert_eq!(
        verified.summary(),
        "TLS 1.2 with any suite: accepted TLS 1.2 ECDHE-ECDSA-AES128-GCM-SHA256 with secp256r1"
    );
}

#[tokio::test]
async fn a_pod_with_one_suite_too_many_is_found() {
    let fewer = custom(&["TLS_AES_256_GCM_SHA384"], "VersionTLS13", &["X25519"]);
    let more = custom(&["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"], "VersionTLS13", &["X25519"]);
    let verified = asked(&more, &fewer).await;
    let wrong: Vec<&str> = verified.checks.iter().filter(|c| !c.holds()).map(|c| c.offered.as_str()).collect();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].starts_with("TLS 1.3 with") && wrong[0].ends_with("excluded suites"), "{wrong:?}");
}

#[tokio::test]
async fn a_pod_with_one_group_too_many_is_found() {
    let fewer = custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS13", &["secp256r1"]);
    let more = custom(&["TLS_AES_128_GCM_SHA256"], "VersionTLS13", &["secp256r1", "X25519"]);
    let wrong: Vec<String> = {
        let verified = asked(&more, &fewer).await;
        verified.checks.iter().filter(|c| !c.holds()).map(|c| c.offered.clone()).collect()
    };
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].ends_with("excluded groups"), "{wrong:?}");
}

#[tokio::test]
async fn a_pod_that_is_narrower_than_its_profile_is_found() {
    let verified =
        asked(&custom(&["TLS_AES_256_GCM_SHA384"], "VersionTLS13", &["X25519"]), &named(Named::Modern)).await;
    assert_eq!(verified.summary(), "TLS 1.3 TLS_AES_128_GCM_SHA256: refused (alert 40)");
}
