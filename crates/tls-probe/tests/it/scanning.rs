//! What a scan sees is exactly what is served: nothing more, nothing less.

use std::time::Duration;

use paddock_tls_probe::{Dialer, Expectation, Limits, Observed, Order, Trouble, Verdict, scan};
use paddock_tls_profile::{Backend, Effective, Named, Options, Profile, Version};

use crate::listener::{Key, config, custom, named, repeating, serve, served};

async fn look(effective: &Effective, key: Key) -> Observed {
    let address = serve(config(effective, key)).await;
    scan(&Dialer::new(address, Some("localhost".to_owned()), Limits::default())).await.unwrap()
}

fn sorted(mut codes: Vec<u16>) -> Vec<u16> {
    codes.sort_unstable();
    codes
}

/// Serves what Paddock serves of a profile and checks that the scan sees that, by every version, suite and group.
async fn proves(profile: &Profile, key: Key) -> Verdict {
    let effective = served(profile, key);
    let observed = look(&effective, key).await;
    let versions: Vec<u16> = effective.versions().into_iter().map(Version::code).collect();
    assert_eq!(observed.protocols().map(|protocol| protocol.code()).collect::<Vec<_>>(), versions);
    assert_eq!(sorted(observed.suites()), sorted(effective.suites.iter().map(|suite| suite.code()).collect()));
    assert_eq!(sorted(observed.groups()), sorted(effective.groups.iter().map(|group| group.code()).collect()));
    let expectation = Expectation::of_server(profile, &Backend::RUSTLS_AWS_LC, &Options::default(), &observed);
    expectation.compare(&observed).verdict()
}

#[tokio::test]
async fn intermediate_is_seen_exactly_with_any_key() {
    for key in [Key::Rsa, Key::P256, Key::P384] {
        assert_eq!(proves(&named(Named::Intermediate), key).await, Verdict::Exact, "{key:?}");
    }
}

#[tokio::test]
async fn modern_is_seen_exactly() {
    assert_eq!(proves(&named(Named::Modern), Key::P256).await, Verdict::Exact);
}

#[tokio::test]
async fn old_is_seen_as_reduced() {
    assert_eq!(proves(&named(Named::Old), Key::Rsa).await, Verdict::Reduced);
}

#[tokio::test]
async fn every_single_suite_is_seen_alone() {
    let rustls = Backend::RUSTLS_AWS_LC.suites.iter().filter_map(|code| paddock_tls_profile::Suite::from_code(*code));
    for suite in rustls {
        let key = if suite.authentication() == paddock_tls_profile::Authentication::Rsa { Key::Rsa } else { Key::P256 };
        let effective = Effective { suites: vec![suite], groups: served(&named(Named::Old), key).groups };
        let observed = look(&effective, key).await;
        assert_eq!(observed.suites(), [suite.code()]);
        assert_eq!(observed.spoken.len(), 1);
    }
}

#[tokio::test]
async fn every_single_group_is_seen_alone() {
    for group in Backend::RUSTLS_AWS_LC.groups {
        let profile =
            custom(&["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"], "VersionTLS12", &[group.name()]);
        proves(&profile, Key::P256).await;
    }
}

#[tokio::test]
async fn a_hybrid_alone_leaves_tls_1_3_alone() {
    let profile = custom(&[], "VersionTLS12", &["X25519MLKEM768"]);
    let observed = look(&served(&profile, Key::P256), Key::P256).await;
    assert_eq!(observed.groups(), [0x11EC]);
    assert_eq!(observed.alpn, None);
}

#[tokio::test]
async fn tls_f20_the_key_of_a_server_of_tls_1_3_alone_is_seen_and_judged_by() {
    let of_rsa = custom(&["ECDHE-RSA-AES128-GCM-SHA256"], "VersionTLS12", &[]);
    for (key, words) in [(Key::P256, "ECDSA secp256r1"), (Key::P384, "ECDSA secp384r1"), (Key::Rsa, "RSA 2048")] {
        let modern = look(&served(&named(Named::Modern), key), key).await;
        assert_eq!(modern.certificates.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), [words]);
        let verdict = Expectation::of_server(&of_rsa, &Backend::RUSTLS_AWS_LC, &Options::default(), &modern)
            .compare(&modern)
            .verdict();
        let expected = if key == Key::Rsa { Verdict::Different } else { Verdict::Reduced };
        assert_eq!(verdict, expected, "{key:?}: only an RSA key could serve its suite of TLS 1.2");
    }
}

#[tokio::test]
async fn a_wider_server_is_different_and_what_is_too_much_is_named() {
    let observed = look(&served(&named(Named::Intermediate), Key::P256), Key::P256).await;
    let modern = named(Named::Modern);
    let comparison =
        Expectation::of_server(&modern, &Backend::RUSTLS_AWS_LC, &Options::default(), &observed).compare(&observed);
    assert_eq!(comparison.verdict(), Verdict::Different);
    let mut extra = comparison.extra();
    extra.sort();
    assert_eq!(
        extra,
        [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "VersionTLS12"
        ]
    );
}

#[tokio::test]
async fn the_certificate_the_order_and_the_protocols_are_seen() {
    let effective = served(&named(Named::Intermediate), Key::P384);
    let mut config = config(&effective, Key::P384);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    let observed = scan(&Dialer::new(serve(config).await, None, Limits::default())).await.unwrap();
    assert_eq!(
        observed.certificates.iter().map(|certificate| &certificate.key).collect::<Vec<_>>(),
        ["ECDSA secp384r1"]
    );
    assert_eq!(observed.spoken.iter().map(|spoken| spoken.order).collect::<Vec<_>>(), [Some(Order::Server); 2]);
    assert_eq!(observed.alpn, Some(vec!["http/1.1".to_owned()]));
    assert!(observed.tolerant);
}

#[tokio::test]
async fn the_clients_order_is_seen() {
    let observed = look(&served(&named(Named::Intermediate), Key::P256), Key::P256).await;
    assert_eq!(observed.spoken.iter().map(|spoken| spoken.order).collect::<Vec<_>>(), [Some(Order::Client); 2]);
}

#[tokio::test]
async fn a_scan_stays_within_its_budget() {
    let observed = look(&served(&named(Named::Intermediate), Key::Rsa), Key::Rsa).await;
    assert!(observed.handshakes <= 60, "{}", observed.handshakes);
}

fn short() -> Limits {
    Limits { handshake: Duration::from_millis(100), ..Limits::default() }
}

#[tokio::test]
async fn a_server_that_says_nothing_cannot_be_determined() {
    let address = repeating(b"").await;
    let trouble = scan(&Dialer::new(address, None, short())).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Silent(..)), "{trouble}");
}

#[tokio::test]
async fn what_speaks_something_else_cannot_be_determined() {
    let address = repeating(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let trouble = scan(&Dialer::new(address, None, short())).await.unwrap_err();
    assert!(trouble.to_string().contains(r#"this is not TLS: it answers "SSH-2.0-OpenSSH_9.2\r\n""#), "{trouble}");
}

#[tokio::test]
async fn a_server_that_refuses_everything_cannot_be_determined() {
    let address = repeating(&[21, 3, 3, 0, 2, 2, 40]).await;
    let trouble = scan(&Dialer::new(address, None, short())).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Nothing(_)), "{trouble}");
}

#[tokio::test]
async fn nobody_there_cannot_be_determined() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let trouble = scan(&Dialer::new(address, None, short())).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Unreachable(..)), "{trouble}");
}
