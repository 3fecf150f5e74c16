//! Whether the keys that a workload's pods were seen to serve with fit a profile: asked before the pods get it. Pure.

use std::collections::BTreeSet;

use paddock_reconcile::object;
use paddock_tls_profile::{Effective, KeyKind, Version, resolve};
use serde_json::Value;

use super::decision::Published;
use super::follower::Follower;
use super::verification::{Answers, addresses};

/// How the keys of a workload's pods and a profile go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Nothing is lost by them, as far as they are known.
    Fits,
    /// It depends on keys that nobody has looked at yet.
    Unknown,
    /// TLS 1.2 is asked for and cannot be served with them; TLS 1.3 can.
    Tls13Alone(String),
    /// Nothing can be served with them.
    Nothing(String),
}

/// Judges the keys of `pods` by a profile.
pub(crate) fn fit(follower: &Follower, published: &Published, pods: &[impl AsRef<Value>], answers: &Answers) -> Fit {
    let lost: Vec<(KeyKind, Loss)> =
        KeyKind::ALL.into_iter().filter_map(|kind| Some((kind, loss(kind, follower, published)?))).collect();
    if lost.is_empty() {
        return Fit::Fits;
    }
    let pods = || pods.iter().map(AsRef::as_ref);
    let asked = |pod: &Value| answers.get(object::uid(pod));
    let known: BTreeSet<&str> =
        pods().filter_map(asked).flat_map(|asked| &asked.keys).map(|kind| kind.name()).collect();
    let worst = lost.into_iter().filter(|(kind, _)| known.contains(kind.name())).max_by_key(|(_, loss)| *loss);
    match worst {
        Some((kind, Loss::Tls12)) => Fit::Tls13Alone(format!(
            "pods serve with an {} key, for which the profile lists no cipher suite of TLS 1.2: TLS 1.3 alone will be served",
            kind.name()
        )),
        Some((kind, Loss::Everything)) => Fit::Nothing(format!(
            "pods serve with an {} key, and nothing of the profile can be served with one: they get another certificate, or the profile \
             a cipher suite for this one",
            kind.name()
        )),
        None if known.is_empty() && pods().any(|pod| asked(pod).is_none() && !addresses(follower, pod).is_empty()) => {
            Fit::Unknown
        }
        None => Fit::Fits,
    }
}

/// What a key takes from a profile that could be served with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Tls12,
    Everything,
}

fn loss(kind: KeyKind, follower: &Follower, published: &Published) -> Option<Loss> {
    let served = |key| {
        let options = published.contract.decision.options(key);
        resolve(&published.profile, &follower.backend, &options).effective
    };
    let speaks_tls12 = |effective: &Effective| effective.versions().contains(&Version::Tls12);
    // What no key can serve is told elsewhere.
    let with_any = served(None)?;
    let Some(with_this) = served(Some(kind)) else { return Some(Loss::Everything) };
    (speaks_tls12(&with_any) && !speaks_tls12(&with_this)).then_some(Loss::Tls12)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use paddock_tls_profile::{Contract, Decision, Generation, Named, Profile, Tls13Policy};
    use serde_json::json;

    use super::*;
    use crate::tls_profile::follower::{Workload, WorkloadKind};
    use crate::tls_profile::verification::{Asked, Seen};

    fn follower() -> Follower {
        let object = json!({"metadata": {
            "name": "w", "namespace": "n", "labels": {"paddock.dev/tls-profile": "follow"},
            "annotations": {"paddock.dev/tls-profile-ports": "8443"},
        }});
        Follower::read(&Workload::of(WorkloadKind::Deployment, &object).unwrap(), &object).unwrap().unwrap()
    }

    fn of(profile: Profile, tls13: Tls13Policy, keys: Option<&[KeyKind]>) -> Fit {
        let decision = Decision { tls13, ..Decision::default() };
        let contract = Contract { profile_hash: Some(profile.hash()), decision, ..Contract::baseline("") };
        let published = Published { contract, profile, overrides: Vec::new() };
        let pod = json!({"metadata": {"uid": "a"}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
        let answers = keys.map(|keys| {
            let seen = Seen::Differs(String::new());
            ("a".to_owned(), Asked { hash: "before".into(), at: Timestamp::UNIX_EPOCH, seen, keys: keys.into() })
        });
        fit(&follower(), &published, &[Arc::new(pod)], &answers.into_iter().collect())
    }

    fn only(suites: &[&str]) -> Profile {
        Profile { ciphers: Some(suites.iter().map(|name| (*name).to_owned()).collect()), ..Profile::baseline() }
    }

    const ECDSA_ONLY: &[&str] = &["ECDHE-ECDSA-AES128-GCM-SHA256"];

    #[test]
    fn tls_f20_a_list_for_the_other_key_alone_is_told_of() {
        use Tls13Policy::{Platform, Strict};
        let said = |policy, keys| match of(only(ECDSA_ONLY), policy, Some(keys)) {
            Fit::Fits => "fits",
            Fit::Unknown => "unknown",
            Fit::Tls13Alone(_) => "TLS 1.3 alone",
            Fit::Nothing(_) => "nothing",
        };
        assert_eq!([said(Platform, &[KeyKind::Rsa]), said(Strict, &[KeyKind::Rsa])], ["TLS 1.3 alone", "nothing"]);
        assert_eq!([said(Platform, &[KeyKind::Ecdsa]), said(Strict, &[KeyKind::Ecdsa])], ["fits", "fits"]);
        assert_eq!(said(Strict, &KeyKind::ALL), "nothing", "one of the pods' listeners is enough");
    }

    #[test]
    fn tls_f20_keys_are_waited_for_only_where_the_profile_depends_on_them() {
        assert_eq!(of(only(ECDSA_ONLY), Tls13Policy::Platform, None), Fit::Unknown);
        assert_eq!(of(only(ECDSA_ONLY), Tls13Policy::Platform, Some(&[])), Fit::Fits, "nobody could see them");
        for named in Named::ALL {
            assert_eq!(of(named.profile(Generation::C), Tls13Policy::Platform, None), Fit::Fits, "{named:?}");
        }
    }
}
