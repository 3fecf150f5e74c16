use jiff::SignedDuration;

use super::*;
use crate::gateways::intent::{Intents, Rules};

fn now() -> Timestamp {
    "2026-11-21T05:00:00Z".parse().unwrap()
}

fn intent(yaml: &str) -> Intent {
    let rules = Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap());
    let intents = Intents::default().next(Some(yaml), &rules);
    let intent = intents.entries["t"].intent.clone();
    (*intent.unwrap_or_else(|| panic!("{:?}", intents.problems().collect::<Vec<_>>()))).clone()
}

fn plain() -> Intent {
    intent("- name: t\n")
}

fn secret(data: &Option<Data>) -> Option<Secret> {
    let data = data.clone()?;
    Some(Secret { metadata: render::meta(&plain().key, "x"), data: Some(data), ..Secret::default() })
}

fn applied(material: &Material) -> Existing {
    Existing {
        authority: secret(&material.authority),
        server: secret(&material.server),
        client: secret(&material.client),
        jwt: secret(&material.jwt),
        kek: secret(&material.kek),
        ..Existing::default()
    }
}

#[test]
fn nothing_is_made_when_everything_is_good() {
    let first = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let second = ensure(&applied(&first), &plain(), false, now()).unwrap();
    assert_eq!(second.made, Vec::<String>::new());
    assert_eq!(Material { made: first.made.clone(), ..second }, first);
}

#[test]
fn gw_f22_every_existence_combination_converges() {
    let full = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    for missing in 0..8_u8 {
        let mut existing = applied(&full);
        for (bit, slot) in [&mut existing.server, &mut existing.client, &mut existing.jwt].into_iter().enumerate() {
            if missing & (1 << bit) != 0 {
                *slot = None;
            }
        }
        let next = ensure(&existing, &plain(), false, now()).unwrap();
        assert_eq!(next.made.len(), usize::try_from(missing.count_ones()).unwrap(), "{missing:03b} {:?}", next.made);
        assert_eq!(next.trouble, None);
        assert_eq!(next.authority, full.authority);
        let kept = |bit: u8, same: bool| assert!(missing & bit != 0 || same, "{missing:03b}");
        kept(1, next.server == full.server);
        kept(2, next.client == full.client);
        kept(4, next.jwt == full.jwt);
        let again = ensure(&applied(&next), &plain(), false, now()).unwrap();
        assert_eq!(again.made, Vec::<String>::new(), "{missing:03b}");
    }
}

#[test]
fn gw_d04_changed_names_reissue_the_server_leaf_alone() {
    let first = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let more = intent("- name: t\n  gateway: {serverDnsNames: [new.example]}\n");
    let next = ensure(&applied(&first), &more, false, now()).unwrap();
    assert_eq!(next.made, ["server certificate: names added: new.example"]);
    assert_eq!((&next.authority, &next.client, &next.jwt), (&first.authority, &first.client, &first.jwt));
    assert_eq!(next.restart_token, first.restart_token);
    let names = inspect(&text(&secret(&next.server).unwrap(), "tls.crt")).unwrap().names;
    assert!(names.contains(&"new.example".into()) && names.contains(&"openshell-gateway.t.svc".into()));
}

#[test]
fn leaves_are_renewed_at_two_thirds_of_their_life() {
    let first = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let due = first.renew_at.unwrap();
    let before = ensure(&applied(&first), &plain(), false, due - SignedDuration::from_secs(1)).unwrap();
    assert_eq!(before.made, Vec::<String>::new());
    let after = ensure(&applied(&first), &plain(), false, due).unwrap();
    assert_eq!(after.made.len(), 2, "{:?}", after.made);
    assert_eq!((&after.authority, &after.jwt), (&first.authority, &first.jwt));
    assert!(after.renew_at.unwrap() > due);
}

#[test]
fn tampered_leaf_of_ours_is_made_anew() {
    let first = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let other = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let mut existing = applied(&first);
    existing.server = secret(&other.server);
    let next = ensure(&existing, &plain(), false, now()).unwrap();
    assert_eq!(next.made, ["server certificate: it was not issued by the tenant's authority"]);
}

#[test]
fn unreadable_authority_is_never_overwritten() {
    let first = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let mut existing = applied(&first);
    existing.authority.as_mut().unwrap().data.as_mut().unwrap().insert("tls.key".into(), bytes("garbage"));
    let next = ensure(&existing, &plain(), false, now()).unwrap();
    assert_eq!(next.trouble.as_ref().map(|(reason, _)| *reason), Some("AuthorityUnreadable"));
    assert_eq!(next.made, Vec::<String>::new());
    assert_eq!(next.server, first.server);
}

#[test]
fn inconsistent_token_keys_are_kept_and_reported() {
    let first = ensure(&Existing::default(), &plain(), false, now()).unwrap();
    let mut existing = applied(&first);
    existing.jwt.as_mut().unwrap().data.as_mut().unwrap().insert("kid".into(), bytes("0"));
    let next = ensure(&existing, &plain(), false, now()).unwrap();
    assert_eq!(next.trouble.map(|(reason, _)| reason), Some("TokenKeysInconsistent"));
}

#[test]
fn gw_l16_encryption_key_is_made_once_for_gateways_that_use_it() {
    assert_eq!(ensure(&Existing::default(), &plain(), false, now()).unwrap().kek, None);
    let new = intent("- name: t\n  gateway: {image: 'ghcr.io/x:0.0.100'}\n");
    let first = ensure(&Existing::default(), &new, false, now()).unwrap();
    assert_eq!(ensure(&applied(&first), &new, false, now()).unwrap().kek, first.kek);
    assert!(first.kek.is_some());
}

mod foreign;
mod replacement;
