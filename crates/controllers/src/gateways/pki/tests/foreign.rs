//! Secrets that somebody else made, damaged ones, and authorities that are gone.

use proptest::prelude::*;

use super::*;
use crate::gateways::fuzzing::gateway_secrets;

/// What OpenShell's own generator leaves: an authority without its key, lives from 1975 to 4096, no extended key usage.
fn generated(names: &[&str]) -> Existing {
    let params = |name: &str, sans: &[&str]| {
        let sans: Vec<String> = sans.iter().map(|&san| san.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(sans).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(1975, 1, 1);
        params.not_after = rcgen::date_time_ymd(4096, 1, 1);
        params
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = params("openshell-ca", &[]);
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let leaf = |name: &str, sans: &[&str]| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params(name, sans).signed_by(&key, &issuer).unwrap().pem();
        let fields = [("tls.crt", certificate), ("tls.key", key.serialize_pem()), ("ca.crt", pem.clone())];
        let data = fields.map(|(name, text)| (name.to_owned(), bytes(&text))).into();
        Some(Secret { data: Some(data), ..Secret::default() })
    };
    Existing { server: leaf("openshell-server", names), client: leaf("openshell-client", &[]), ..Existing::default() }
}

const HOST: &str = "openshell-gateway.t.svc.cluster.local";

fn again(existing: &Existing, material: &Material) -> Existing {
    Existing { sandboxes: existing.sandboxes.clone(), ..applied(material) }
}

fn labelled(mut existing: Existing, by: &str) -> Existing {
    for secret in [&mut existing.server, &mut existing.client].into_iter().flatten() {
        secret.metadata.labels = Some([(labels::MANAGED_BY.to_owned(), by.to_owned())].into());
    }
    existing
}

#[test]
fn gw_d26_generated_certificates_are_kept_as_they_are_while_nothing_must_change() {
    let existing = generated(&[HOST]);
    for adopt in [false, true] {
        let material = ensure(&existing, &plain(), adopt, now()).unwrap();
        assert_eq!((material.trouble.clone(), material.authority.clone()), (None, None), "adopt: {adopt}");
        assert_eq!(material.server.is_some(), adopt);
        assert!(material.server.is_none_or(|kept| kept == data(existing.server.as_ref().unwrap())));
        assert!(material.note.is_some());
    }
}

#[test]
fn generated_certificates_that_must_change_are_reported_unless_they_may_be_adopted() {
    let existing = generated(&["localhost"]);
    let material = ensure(&existing, &plain(), false, now()).unwrap();
    let (reason, message) = material.trouble.unwrap();
    assert_eq!(reason, "ForeignAuthority");
    assert!(message.contains(HOST) && message.contains("--gateways-adopt"), "{message}");
    assert_eq!((material.server, material.client, material.authority), (None, None, None));
}

#[test]
fn gw_d26_adopted_certificates_move_to_an_authority_of_ours_once_and_with_an_overlap() {
    let mut existing = generated(&["localhost"]);
    let theirs = text(existing.server.as_ref().unwrap(), "ca.crt");
    let started = now() - SignedDuration::from_hours(1);
    existing.sandboxes = Sandboxes::Created(vec![started]);
    let material = ensure(&existing, &plain(), true, now()).unwrap();
    let after = again(&existing, &material);
    for (old, new) in [(&existing.server, &after.server), (&existing.client, &after.client)] {
        let (old, new) = (old.as_ref().unwrap(), new.as_ref().unwrap());
        assert_eq!(
            text(old, "tls.crt"),
            text(new, "tls.crt"),
            "no leaf changes while a sandbox knows only the old authority"
        );
        assert_eq!(paddock_pki::inspect_bundle(&text(new, "ca.crt"), 9).unwrap().len(), 2);
        assert!(text(new, "ca.crt").contains(inspect(&theirs).unwrap().to_pem().trim()));
    }
    assert_eq!(material.trouble.as_ref().map(|(reason, _)| *reason), Some("WaitingForAuthority"));
    // The sandbox ends, and the new authority issues.
    let mut world = after;
    world.sandboxes = Sandboxes::Created(Vec::new());
    let mut time = now();
    for _ in 0..8 {
        let material = ensure(&world, &plain(), true, time).unwrap();
        world = again(&world, &material);
        time = time.checked_add(SignedDuration::from_mins(6)).unwrap();
    }
    let settled = ensure(&world, &plain(), false, time).unwrap();
    assert_eq!((settled.made, settled.trouble, settled.note), (Vec::new(), None, None));
    let leaf = inspect(&text(world.server.as_ref().unwrap(), "tls.crt")).unwrap();
    assert!(leaf.names.contains(&HOST.into()));
    assert!(!text(world.client.as_ref().unwrap(), "ca.crt").contains(inspect(&theirs).unwrap().to_pem().trim()));
}

#[test]
fn gw_l06_certificates_that_somebody_else_keeps_are_never_written() {
    for existing in [labelled(generated(&["localhost"]), "Helm"), {
        let mut existing = generated(&["localhost"]);
        for secret in [&mut existing.server, &mut existing.client].into_iter().flatten() {
            let of = ("cert-manager.io/certificate-name".to_owned(), "openshell-server".to_owned());
            secret.metadata.annotations = Some([of].into());
        }
        existing
    }] {
        let material = ensure(&existing, &plain(), true, now()).unwrap();
        assert_eq!((material.server, material.client, material.authority), (None, None, None));
        assert_eq!(material.trouble.map(|(reason, _)| reason), Some("ForeignCertificate"));
    }
}

#[test]
fn earlier_provisioners_certificates_are_adopted() {
    let existing = labelled(generated(&[HOST]), adoption::PREDECESSOR);
    assert!(ensure(&existing, &plain(), true, now()).unwrap().server.is_some());
    assert!(ensure(&existing, &plain(), false, now()).unwrap().server.is_none());
}

/// Every combination of the Secrets, with the authority and without, ours and generated: a few passes end in a world that is
/// complete, where both sides believe each other and nothing is made any more.
#[test]
fn gw_f22_every_combination_converges_with_and_without_the_authority() {
    let ours = applied(&ensure(&Existing::default(), &plain(), false, now()).unwrap());
    let token_keys = ours.jwt.clone();
    for (whose, full) in [("ours", ours), ("generated", Existing { jwt: token_keys, ..generated(&[HOST]) })] {
        for missing in 0..16_u8 {
            let mut world = full.clone();
            let slots = [&mut world.server, &mut world.client, &mut world.jwt, &mut world.authority];
            for (bit, slot) in slots.into_iter().enumerate() {
                if missing & (1 << bit) != 0 {
                    *slot = None;
                }
            }
            world.sandboxes = Sandboxes::Created(Vec::new());
            let mut time = now();
            for _ in 0..8 {
                let material = ensure(&world, &plain(), true, time).unwrap();
                world = again(&world, &material);
                time = time.checked_add(SignedDuration::from_mins(6)).unwrap();
                let (Some(server), Some(client)) = (&world.server, &world.client) else {
                    panic!("{whose} {missing:04b}: incomplete after one pass")
                };
                assert!(believes(client, server) && believes(server, client), "{whose} {missing:04b}");
            }
            let settled = ensure(&world, &plain(), true, time).unwrap();
            assert_eq!((settled.made, settled.trouble), (Vec::new(), None), "{whose} {missing:04b}");
            assert!(settled.jwt.is_some() && settled.server.is_some() && settled.client.is_some());
        }
    }
}

/// Whether who holds `bundle`'s `ca.crt` believes the certificate of `leaf`.
pub(super) fn believes(bundle: &Secret, leaf: &Secret) -> bool {
    let leaf = inspect(&text(leaf, "tls.crt")).unwrap();
    let bundle = paddock_pki::inspect_bundle(&text(bundle, "ca.crt"), 9).unwrap();
    bundle.iter().any(|authority| leaf.is_issued_by(authority))
}

#[test]
fn gw_l13_client_certificate_is_made_though_the_server_certificate_is_somebody_elses() {
    let existing = Existing { client: None, ..generated(&[HOST]) };
    let material = ensure(&existing, &plain(), true, now()).unwrap();
    let client = Secret { data: material.client, ..Secret::default() };
    let server = Secret { data: material.server, ..Secret::default() };
    assert!(believes(&client, &server) && believes(&server, &client));
    assert_eq!(text(&server, "tls.crt"), text(existing.server.as_ref().unwrap(), "tls.crt"));
}

#[test]
fn gw_l27_bundles_that_differ_are_put_right_and_the_leaves_stay() {
    let good = applied(&ensure(&Existing::default(), &plain(), false, now()).unwrap());
    let other = applied(&ensure(&Existing::default(), &plain(), false, now()).unwrap());
    let mut existing = good.clone();
    let theirs = text(other.server.as_ref().unwrap(), "ca.crt");
    existing.client.as_mut().unwrap().data.as_mut().unwrap().insert("ca.crt".to_owned(), bytes(&theirs));
    let material = ensure(&existing, &plain(), false, now()).unwrap();
    assert_eq!(material.made, ["trust bundle beside the client certificate: it was another one"]);
    assert_eq!(material.client, good.client.unwrap().data);
}

#[test]
fn each_damaged_key_of_each_secret_is_mended_or_reported() {
    let good = applied(&ensure(&Existing::default(), &plain(), false, now()).unwrap());
    for key in ["tls.crt", "tls.key", "ca.crt"] {
        for damage in [None, Some("garbage")] {
            for server in [true, false] {
                let mut existing = good.clone();
                let slot = if server { &mut existing.server } else { &mut existing.client };
                let data = slot.as_mut().unwrap().data.as_mut().unwrap();
                match damage {
                    Some(text) => drop(data.insert(key.to_owned(), bytes(text))),
                    None => drop(data.remove(key)),
                }
                let material = ensure(&existing, &plain(), false, now()).unwrap();
                assert_eq!(material.made.len(), 1, "{key} {damage:?} {:?}", material.made);
                let settled = ensure(&applied(&material), &plain(), false, now()).unwrap();
                assert_eq!((settled.made, settled.trouble), (Vec::new(), None), "{key} {damage:?}");
            }
        }
    }
}

#[test]
fn clock_that_is_behind_issues_nothing() {
    let good = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let before = now() - SignedDuration::from_hours(24);
    let material = ensure(&applied(&good), &plain(), false, before).unwrap();
    assert_eq!((material.made, material.server), (Vec::new(), good.server));
    assert_eq!(material.trouble.map(|(reason, _)| reason), Some("ClockBehind"));
}

#[test]
fn authority_that_ended_is_replaced_at_once() {
    let good = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let after = now().checked_add(SignedDuration::from_hours(24 * 3651)).unwrap();
    let mut world = applied(&good);
    for _ in 0..3 {
        world = applied(&ensure(&world, &plain(), false, after).unwrap());
    }
    let (server, client) = (world.server.unwrap(), world.client.unwrap());
    assert!(believes(&client, &server) && believes(&server, &client));
    assert!(inspect(&text(&server, "tls.crt")).unwrap().is_valid_at(after));
}

#[test]
fn nothing_prints_what_is_in_a_secret() {
    let material = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let printed = format!("{material:?} {:?}", applied(&material));
    assert!(!printed.contains("tls.key") && !printed.contains("ByteString"), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn foreign_secrets_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        gateway_secrets(&data);
    }
}
