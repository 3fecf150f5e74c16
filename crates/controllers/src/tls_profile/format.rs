//! The words in which a workload gets its profile: ours, or kubernetes-nmstate's, which has fewer. Pure.
//!
//! What nmstate's format has no word for is either said with the words that it has, or left out so that less is allowed. Where neither
//! is possible nothing is handed over, or, if it is the reader's own doing whatever the file says, that is told.

use std::collections::BTreeMap;

use paddock_tls_profile::{Backend, Group, Profile, Suite, Version, files, hex_sha256, resolve};

use super::decision::Published;
use super::follower::{Follower, Format, Workload};

/// What a workload mounts.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) files: BTreeMap<String, String>,
    /// Of the profile among them.
    pub(crate) hash: String,
    /// What the workload's format could not say, CamelCase and a sentence.
    pub(crate) remark: Option<(&'static str, String)>,
}

/// What a workload mounts; an error when its format can only say it by allowing more.
pub(crate) fn handed(key: &Workload, follower: &Follower, published: &Published) -> Result<Handed, String> {
    match follower.format {
        Format::Paddock => {
            Ok(Handed { files: published.files(&key.to_string()), hash: published.profile.hash(), remark: None })
        }
        Format::Nmstate => nmstate(follower, published),
    }
}

fn nmstate(follower: &Follower, published: &Published) -> Result<Handed, String> {
    let decision = &published.contract.decision;
    let mut profile = published.profile.clone();
    // The format has no word for the floor: the minimum says it.
    let floor = decision.floor.filter(|floor| *floor > profile.min_version.unwrap_or(Version::Tls12));
    profile.min_version = floor.or(profile.min_version);
    // None for FIPS either: the lists say it.
    if decision.fips {
        approved(&mut profile)?;
    }
    let (text, left_out) = profile.canonical_for_nmstate();
    // A file without groups means all that the operand has.
    if !left_out.is_empty() && profile.groups.as_ref().is_some_and(|groups| groups.len() == left_out.len()) {
        return Err(format!("the format nmstate has no word for {}", left_out.join(", ")));
    }
    let hash = hex_sha256(text.as_bytes());
    let on = always_on(published, &follower.backend);
    let mut sentences = Vec::new();
    if !left_out.is_empty() {
        sentences.push(format!("the format nmstate has no word for {}: left out", left_out.join(", ")));
    }
    if !on.is_empty() {
        sentences.push(format!("what reads the format nmstate cannot turn off {}", on.join(", ")));
    }
    let reason = if on.is_empty() { "GroupsLeftOut" } else { "SuitesAlwaysOn" };
    let remark = (!sentences.is_empty()).then(|| (reason, sentences.join("; ")));
    Ok(Handed { files: [(files::PROFILE.to_owned(), text)].into(), hash, remark })
}

/// Leaves in the profile only what is approved for FIPS 140. Names that nobody knows serve nothing, and stay to be told of.
fn approved(profile: &mut Profile) -> Result<(), String> {
    if let Some(ciphers) = &mut profile.ciphers {
        ciphers.retain(|name| Suite::from_name(name).is_none_or(Suite::is_fips));
    }
    match profile.groups.as_mut().filter(|groups| !groups.is_empty()) {
        Some(groups) => {
            groups.retain(|name| Group::from_name(name).is_none_or(Group::is_fips));
            if groups.is_empty() {
                return Err("no group of the profile is approved in FIPS mode".to_owned());
            }
        }
        // No list means all that the reader has, also what is not approved.
        None => {
            let backend = Backend::RUSTLS_AWS_LC;
            let on = backend.groups.iter().take(backend.default_groups).filter(|group| group.is_fips());
            profile.groups = Some(on.map(|group| group.name().to_owned()).collect());
        }
    }
    Ok(())
}

/// How what the workload serves compares with what is asked of it, by the library that it serves with.
pub(crate) fn outcome(follower: &Follower, published: &Published) -> &'static str {
    if always_on(published, &follower.backend).is_empty() {
        let options = published.contract.decision.options(None);
        resolve(&published.profile, &follower.backend, &options).outcome.name()
    } else {
        "Exceeds"
    }
}

/// Suites of TLS 1.3 that the decision excludes and that such a library, Go's, offers whatever the file says.
fn always_on(published: &Published, backend: &Backend) -> Vec<&'static str> {
    if !backend.tls13_fixed {
        return Vec::new();
    }
    let options = published.contract.decision.options(None);
    let Some(effective) = resolve(&published.profile, &Backend::RUSTLS_AWS_LC, &options).effective else {
        return Vec::new();
    };
    let excluded = |suite: &&Suite| suite.is_tls13() && !effective.suites.contains(suite);
    Suite::all().iter().filter(excluded).map(|suite| suite.openssl()).collect()
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::{Contract, Decision, Generation, Named, Tls13Policy};

    use super::*;

    fn said(profile: Profile, decision: Decision) -> Result<(String, Option<&'static str>), String> {
        let contract = Contract { profile_hash: Some(profile.hash()), decision, ..Contract::baseline("") };
        let published = Published { contract, profile, overrides: Vec::new() };
        let mut handed = nmstate(&follower(), &published)?;
        Ok((handed.files.remove(files::PROFILE).unwrap(), handed.remark.map(|(reason, _)| reason)))
    }

    fn follower() -> Follower {
        let object = serde_json::json!({
            "metadata": {"name": "w", "namespace": "n", "labels": {
                "paddock.dev/tls-profile": "follow", "paddock.dev/tls-profile-format": "nmstate",
            }},
        });
        let workload = Workload::of(crate::tls_profile::follower::WorkloadKind::Deployment, &object).unwrap();
        Follower::read(&workload, &object).unwrap().unwrap()
    }

    #[test]
    fn the_outcome_is_that_of_the_library_that_the_workload_serves_with() {
        let said = |profile: Profile, backend| {
            let published = Published { contract: Contract::baseline(""), profile, overrides: Vec::new() };
            outcome(&Follower { backend, ..follower() }, &published)
        };
        let old = || Profile { min_version: Some(Version::Tls12), ..Named::Old.profile(Generation::B) };
        let ecdsa = || Profile { ciphers: Some(vec!["ECDHE-ECDSA-AES128-SHA256".to_owned()]), ..old() };
        assert_eq!((said(ecdsa(), Backend::GO), said(ecdsa(), Backend::RUSTLS_AWS_LC)), ("Exact", "Reduced"));
        let one = || Profile {
            ciphers: Some(vec!["TLS_AES_128_GCM_SHA256".to_owned()]),
            ..Named::Modern.profile(Generation::C)
        };
        assert_eq!((said(one(), Backend::GO), said(one(), Backend::RUSTLS_AWS_LC)), ("Exceeds", "Exact"));
    }

    fn fips() -> Decision {
        Decision { fips: true, ..Decision::default() }
    }

    #[test]
    fn the_floor_is_said_with_the_minimum() {
        let text = |floor| said(Profile::baseline(), Decision { floor, ..Decision::default() }).unwrap().0;
        assert!(text(None).contains("VersionTLS12") && text(Some(Version::Tls11)).contains("VersionTLS12"));
        assert!(text(Some(Version::Tls13)).contains("VersionTLS13"));
    }

    #[test]
    fn tls_f27_what_is_not_approved_for_fips_is_not_in_the_file() {
        for generation in [Generation::A, Generation::B, Generation::C] {
            for named in Named::ALL {
                let (text, remark) = said(named.profile(generation), fips()).unwrap();
                assert!(!text.contains("CHACHA20") && !text.contains("\"X25519\""), "{text}");
                assert!(text.contains("\"curves\":[\"X25519MLKEM768\",\"secp256r1\",\"secp384r1\"]"), "{text}");
                assert_eq!(remark, Some("SuitesAlwaysOn"));
            }
        }
        let profile = Profile { groups: Some(vec!["X25519".to_owned()]), ..Profile::baseline() };
        assert_eq!(said(profile, fips()).unwrap_err(), "no group of the profile is approved in FIPS mode");
    }

    #[test]
    fn suites_that_go_cannot_turn_off_are_told() {
        let ciphers = |names: &[&str]| Profile {
            ciphers: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            ..Profile::baseline()
        };
        let strict = Decision { tls13: Tls13Policy::Strict, ..Decision::default() };
        let old = || ciphers(&["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(said(old(), Decision::default()).unwrap().1, None, "TLS 1.3 is on by the platform's policy");
        assert_eq!(said(old(), strict).unwrap().1, Some("SuitesAlwaysOn"));
        assert_eq!(said(ciphers(&["TLS_AES_128_GCM_SHA256"]), strict).unwrap().1, Some("SuitesAlwaysOn"));
        assert_eq!(said(Profile::baseline(), Decision::default()).unwrap().1, None);
    }
}
