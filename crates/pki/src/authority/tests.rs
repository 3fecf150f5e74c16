use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-21T05:00:00.750Z")
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::generate("test-ca", now(), SignedDuration::from_hours(24 * 365)).unwrap()
}

fn request(usage: Usage) -> LeafRequest {
    LeafRequest {
        common_name: "openshell-server".to_owned(),
        organization: Some("system:masters".to_owned()),
        organizational_unit: Some("openshell-user".to_owned()),
        names: ["a.example", "*.b.example", "127.0.0.1", "::1"].into_iter().map(SubjectAltName::from).collect(),
        usage,
        now: now(),
        not_after: at("2027-01-01T00:00:00Z"),
    }
}

#[test]
fn leaf_says_what_was_asked_for() {
    let leaf = authority().issue(&request(Usage::Server)).unwrap();
    let info = inspect(&leaf.certificate_pem).unwrap();
    assert_eq!(info.common_name, "openshell-server");
    assert_eq!(info.names, request(Usage::Server).names);
    assert_eq!(info.not_before, at("2026-11-21T04:55:00Z"));
    assert_eq!(info.not_after, at("2027-01-01T00:00:00Z"));
    assert!(!info.is_authority);
}

#[test]
fn usage_becomes_extended_key_usage() {
    let authority = authority();
    let of = |usage| {
        let info = inspect(&authority.issue(&request(usage)).unwrap().certificate_pem).unwrap();
        (info.serves, info.authenticates_client)
    };
    assert_eq!(of(Usage::Server), (true, false));
    assert_eq!(of(Usage::Client), (false, true));
    assert_eq!(of(Usage::Both), (true, true));
}

#[test]
fn leaf_is_issued_by_its_authority_alone() {
    let (ours, other) = (authority(), authority());
    let info = inspect(&ours.issue(&request(Usage::Client)).unwrap().certificate_pem).unwrap();
    assert!(info.is_issued_by(ours.info()));
    assert!(!info.is_issued_by(other.info()), "same name, other key");
}

#[test]
fn leaf_never_outlives_its_authority() {
    let authority = authority();
    let mut request = request(Usage::Server);
    request.not_after = at("2099-01-01T00:00:00Z");
    let info = inspect(&authority.issue(&request).unwrap().certificate_pem).unwrap();
    assert_eq!(info.not_after, authority.info().not_after);
}

#[test]
fn life_that_is_over_is_an_error() {
    let mut request = request(Usage::Server);
    request.not_after = request.now;
    assert!(matches!(authority().issue(&request), Err(PkiError::Lifetime { .. })));
}

#[test]
fn serial_numbers_are_random_and_positive() {
    let authority = authority();
    let serial = |pem: &str| {
        let info = inspect(pem).unwrap();
        X509Certificate::from_der(info.der()).unwrap().1.raw_serial().to_vec()
    };
    let first = serial(&authority.issue(&request(Usage::Server)).unwrap().certificate_pem);
    let second = serial(&authority.issue(&request(Usage::Server)).unwrap().certificate_pem);
    assert_ne!(first, second);
    assert_eq!(first.len(), 16);
    assert!(first[0] < 0x80);
}

#[test]
fn authority_survives_the_way_through_pem() {
    let original = authority();
    let again =
        CertificateAuthority::from_pem(original.certificate_pem(), original.key_pem().unwrap().expose()).unwrap();
    let info = inspect(&again.issue(&request(Usage::Server)).unwrap().certificate_pem).unwrap();
    assert!(info.is_issued_by(original.info()));
}

#[test]
fn key_of_another_authority_is_refused() {
    let (one, other) = (authority(), authority());
    let result = CertificateAuthority::from_pem(one.certificate_pem(), other.key_pem().unwrap().expose());
    assert_eq!(result.err(), Some(PkiError::KeyMismatch));
}

#[test]
fn leaf_cannot_be_loaded_as_authority() {
    let leaf = authority().issue(&request(Usage::Both)).unwrap();
    let result = CertificateAuthority::from_pem(&leaf.certificate_pem, leaf.key_pem.expose());
    assert_eq!(result.err(), Some(PkiError::NotAnAuthority));
}

#[test]
fn unicode_name_is_an_error() {
    let mut request = request(Usage::Server);
    request.names.insert(SubjectAltName::Dns("bücher.example".to_owned()));
    assert_eq!(authority().issue(&request).err(), Some(PkiError::Name("bücher.example".to_owned())));
}

/// The clients that matter here verify through webpki: chain, key usage, names, time.
#[test]
fn rustls_verifies_the_chain_and_the_names() {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    let authority = authority();
    let leaf = authority.issue(&request(Usage::Server)).unwrap();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(authority.certificate_pem())).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now().as_second().unsigned_abs()));
    let verify = |name: &'static str| {
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&der(&leaf.certificate_pem), &[], &name, &[], time).is_ok()
    };
    assert!(verify("a.example"));
    assert!(verify("x.b.example"));
    assert!(verify("127.0.0.1"));
    assert!(verify("::1"));
    assert!(!verify("c.example"));
}

#[test]
fn debug_output_holds_no_key() {
    let authority = authority();
    let leaf = authority.issue(&request(Usage::Server)).unwrap();
    let body = leaf.key_pem.expose().lines().nth(1).unwrap().to_owned();
    assert!(!format!("{leaf:?}{authority:?}").contains(&body));
}
