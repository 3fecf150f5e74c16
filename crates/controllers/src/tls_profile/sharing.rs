//! Whose a ConfigMap is that several workloads name: all of theirs where they are told the same, byte for byte, as kubernetes-nmstate's
//! webhook and metrics are; else the first one's. Pure.

use std::collections::BTreeMap;

use paddock_reconcile::ObjectRef;
use serde_json::Value;

use super::follower::Workload;

/// A workload that names the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) workload: Workload,
    pub(crate) uid: String,
    /// What it wants in there.
    pub(crate) files: BTreeMap<String, String>,
}

/// Whose the ConfigMap is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// These workloads', the one that asks among them; each with its uid.
    Owners(Vec<(ObjectRef, String)>),
    /// Somebody else's.
    Taken { kind: String, name: String },
    /// That of a workload of the same name that is gone: it goes with it.
    Remains { kind: String, name: String },
}

/// Whose the ConfigMap is that `mine` and `others` name, and that is there as `live`.
pub(crate) fn share(mine: &Claim, others: &[Claim], live: Option<&Value>) -> Share {
    let claims = || std::iter::once(mine).chain(others);
    let owners = live.and_then(|live| live["metadata"]["ownerReferences"].as_array());
    let owners = || owners.into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let stranger = |owner: &&Value| {
        owner["controller"] == true && !claims().any(|claim| owner["uid"].as_str() == Some(&*claim.uid))
    };
    if let Some(owner) = owners().find(stranger) {
        let (kind, name) = (text(&owner["kind"]), text(&owner["name"]));
        let target = mine.workload.target();
        let same = kind == target.kind.kind && name == target.name;
        return if same { Share::Remains { kind, name } } else { Share::Taken { kind, name } };
    }
    // Who has it already keeps it; of several the first by name, so that all come to the same end.
    let owns = |claim: &&Claim| owners().any(|owner| owner["uid"].as_str() == Some(&*claim.uid));
    let holder = claims().filter(owns).min_by_key(|claim| &claim.workload);
    let holder = holder.or_else(|| claims().min_by_key(|claim| &claim.workload)).unwrap_or(mine);
    if holder.files != mine.files {
        let target = holder.workload.target();
        return Share::Taken { kind: target.kind.kind.into_owned(), name: target.name };
    }
    let mut sharing: Vec<&Claim> = claims().filter(|claim| claim.files == mine.files).collect();
    sharing.sort_by_key(|claim| &claim.workload);
    Share::Owners(sharing.into_iter().map(|claim| (claim.workload.target(), claim.uid.clone())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tls_profile::follower::WorkloadKind;

    fn claim(name: &str, text: &str) -> Claim {
        Claim {
            workload: Workload { namespace: "n".into(), kind: WorkloadKind::Deployment, name: name.into() },
            uid: format!("uid-of-{name}"),
            files: [("profile.json".to_owned(), text.to_owned())].into(),
        }
    }

    fn live(owners: &[&str], controller: bool) -> Value {
        let owner = |name: &&str| json!({"kind": "Deployment", "name": name, "uid": format!("uid-of-{name}"), "controller": controller});
        json!({"metadata": {"ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()}})
    }

    fn names(share: Share) -> Vec<String> {
        match share {
            Share::Owners(owners) => owners.into_iter().map(|(owner, _)| owner.name).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn who_is_told_the_same_shares_it_and_all_write_the_same_owners() {
        let (a, b) = (claim("a", "x"), claim("b", "x"));
        for live in [None, Some(live(&["a"], true)), Some(live(&["b"], false)), Some(live(&["a", "b"], false))] {
            assert_eq!(names(share(&a, std::slice::from_ref(&b), live.as_ref())), ["a", "b"]);
            assert_eq!(names(share(&b, std::slice::from_ref(&a), live.as_ref())), ["a", "b"]);
        }
    }

    #[test]
    fn who_is_told_something_else_does_not_get_it() {
        let (a, b) = (claim("a", "x"), claim("b", "y"));
        let taken = |name: &str| Share::Taken { kind: "Deployment".into(), name: name.into() };
        let both = live(&["a", "b"], false);
        assert_eq!(share(&b, std::slice::from_ref(&a), None), taken("a"));
        assert_eq!(share(&a, std::slice::from_ref(&b), Some(&live(&["b"], false))), taken("b"));
        assert_eq!(
            (names(share(&a, std::slice::from_ref(&b), Some(&both))), share(&b, &[a], Some(&both))),
            (vec!["a".to_owned()], taken("a"))
        );
    }

    #[test]
    fn what_somebody_else_controls_is_left_alone() {
        let taken = Share::Taken { kind: "Deployment".into(), name: "stranger".into() };
        assert_eq!(share(&claim("a", "x"), &[], Some(&live(&["stranger"], true))), taken);
        let mut remains = live(&["a"], true);
        remains["metadata"]["ownerReferences"][0]["uid"] = "before".into();
        let gone = Share::Remains { kind: "Deployment".into(), name: "a".into() };
        assert_eq!(share(&claim("a", "x"), &[], Some(&remains)), gone);
    }
}
