//! What to serve of what was mounted. Pure: bytes in, verdict out.

use paddock_tls_profile::{
    Contract, Effective, Invalid, KeyKind, Profile, Resolution, Unservable, Verdict, Version, hex_sha256, resolve,
};

use super::directory::Bundle;
use crate::tls::BACKEND;

/// Settings of this process that come before what is mounted, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--tls-min-version`.
    pub min_version: Option<Version>,
    /// `--tls-cipher-suites`, names of OpenSSL or IANA.
    pub ciphers: Option<Vec<String>>,
    /// `--tls-groups`.
    pub groups: Option<Vec<String>>,
}

impl Overrides {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn over(&self, profile: Profile) -> Profile {
        Profile {
            ciphers: self.ciphers.clone().or(profile.ciphers),
            min_version: self.min_version.or(profile.min_version),
            groups: self.groups.clone().or(profile.groups),
        }
    }
}

/// Where what is served comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// The profile of the start-up directory.
    Profile,
    /// The built-in profile: the contract asks for none.
    Builtin,
    /// The built-in profile, because the one that was asked for cannot be served.
    Baseline,
    /// The last profile that was good, because what is mounted is not.
    LastKnownGood,
}

impl Serving {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "Profile",
            Self::Builtin => "Builtin",
            Self::Baseline => "Baseline",
            Self::LastKnownGood => "LastKnownGood",
        }
    }
}

/// Why what is mounted is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// A file is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A file is wrong. The first field says which.
    #[error("{0}: {1}")]
    Invalid(&'static str, Invalid),
    /// The profile is not the one that the contract was written for.
    #[error(
        "profile.json has the hash {found}, the contract is for {wanted}: one of the two was changed, or is of another time"
    )]
    OtherProfile {
        /// The hash of the file.
        found: String,
        /// The hash in the contract.
        wanted: String,
    },
    /// The contract says that there is no profile, and there is one.
    #[error("the contract asks for no profile, and there is a profile.json")]
    UnexpectedProfile,
    /// Nothing can be served, and the contract says to keep what was served before.
    #[error("this profile cannot be served: {0}")]
    Unservable(String),
    /// Certificate, key or client authority cannot be used.
    #[error("{0}")]
    Certificate(String),
    /// The directory cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// What could be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) contract: Contract,
    /// What was asked for.
    pub(crate) asked: Profile,
    /// The hash of `profile.json`, or of the built-in profile.
    pub(crate) hash: String,
    /// What became of what was asked for.
    pub(crate) resolution: Resolution,
    /// What would be served.
    pub(crate) effective: Effective,
    pub(crate) serving: Serving,
    /// Members of the files that this build does not know.
    pub(crate) unknown: Vec<String>,
}

impl Candidate {
    /// The same with a key of another kind; `None` when nothing could be served with it.
    pub(crate) fn rekeyed(&self, key: KeyKind) -> Option<Self> {
        let asked = if self.serving == Serving::Baseline { Profile::baseline() } else { self.asked.clone() };
        let resolution = resolve(&asked, &BACKEND, &self.contract.decision.options(Some(key)));
        Some(Self { effective: resolution.effective?, ..self.clone() })
    }
}

/// Reads and resolves contract and profile.
pub(crate) fn candidate(bundle: &Bundle, key: KeyKind, overrides: &Overrides) -> Result<Candidate, Rejected> {
    if let Some(why) = &bundle.unreadable {
        return Err(Rejected::Unreadable(why.clone()));
    }
    let bytes = bundle.contract.as_deref().ok_or(Rejected::Missing("contract.json"))?;
    let read = Contract::parse(bytes).map_err(|why| Rejected::Invalid("contract.json", why))?;
    let (contract, mut unknown) = (read.contract, read.unknown);
    let (mounted, hash, mut serving) = match (&contract.profile_hash, bundle.profile.as_deref()) {
        (None, None) => (Profile::baseline(), Profile::baseline().hash(), Serving::Builtin),
        (None, Some(_)) => return Err(Rejected::UnexpectedProfile),
        (Some(_), None) => return Err(Rejected::Missing("profile.json")),
        (Some(wanted), Some(bytes)) => {
            let found = hex_sha256(bytes);
            if found != *wanted {
                return Err(Rejected::OtherProfile { found, wanted: wanted.clone() });
            }
            let read = Profile::parse(bytes).map_err(|why| Rejected::Invalid("profile.json", why))?;
            unknown.extend(read.unknown);
            (read.profile, found, Serving::Profile)
        }
    };
    let asked = overrides.over(mounted);
    let options = contract.decision.options(Some(key));
    let resolution = resolve(&asked, &BACKEND, &options);
    let effective = match (contract.decision.adherence.judge(&resolution), &resolution.effective) {
        (Verdict::Serve, Some(effective)) => effective.clone(),
        (Verdict::Baseline, _) => {
            serving = Serving::Baseline;
            let baseline = resolve(&Profile::baseline(), &BACKEND, &options);
            baseline.effective.ok_or_else(|| unservable(&resolution))?
        }
        _ => return Err(unservable(&resolution)),
    };
    Ok(Candidate { contract, asked, hash, resolution, effective, serving, unknown })
}

fn unservable(resolution: &Resolution) -> Rejected {
    use paddock_tls_profile::Outcome::Unservable as Nothing;
    Rejected::Unservable(match resolution.outcome {
        Nothing(why) => why.to_string(),
        _ => "Kubernetes' own clients could not speak it".to_owned(),
    })
}

/// What to do with a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Serve it. `stale`: it is not what the operator says it wrote.
    Publish { stale: bool },
    /// Go on with what is served.
    Hold(&'static str),
}

/// Whether to go from what is served to `new`. What the operator has not confirmed may only tighten, and so may the built-in profile
/// that stands in for one that cannot be served.
pub(crate) fn next(new: &Candidate, expected: Option<&str>, served: Option<&Effective>) -> Next {
    let stale = expected.is_some_and(|expected| expected != new.hash);
    let Some(served) = served else { return Next::Publish { stale } };
    match served.covers(&new.effective) {
        false if new.serving == Serving::Baseline => {
            Next::Hold("the profile cannot be served, and the built-in one would let in more than is served now")
        }
        false if stale => Next::Hold("it lets in more than is served now, and is not what the operator says it wrote"),
        _ => Next::Publish { stale },
    }
}

/// What to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// What is mounted.
    Mounted(Candidate),
    /// The last that was good, and why it is not what is mounted.
    LastGood(Candidate, String),
}

/// Which to begin with: what is mounted, or the last that was good. A start decides as a running process would that serves the last
/// good one: only what the operator had confirmed was kept.
pub(crate) fn first(
    mounted: Result<Candidate, Rejected>,
    last_good: Option<Candidate>,
    expected: Option<&str>,
) -> Result<First, Rejected> {
    // What was good with another key or other flags, and cannot be served with these, is nothing to go back to.
    let last_good = last_good.filter(|last| last.serving != Serving::Baseline);
    match (mounted, last_good) {
        (Ok(mounted), Some(last)) => Ok(match next(&mounted, expected, Some(&last.effective)) {
            Next::Publish { .. } => First::Mounted(mounted),
            Next::Hold(why) => First::LastGood(last, why.to_owned()),
        }),
        (Ok(mounted), None) => Ok(First::Mounted(mounted)),
        (Err(why), Some(last)) => Ok(First::LastGood(last, why.to_string())),
        (Err(why), None) => Err(why),
    }
}

/// The built-in profile, with this process's own settings: what is served where there is no start-up directory.
pub(crate) fn without_directory(component: &str, key: KeyKind, overrides: &Overrides) -> Result<Candidate, Unservable> {
    let contract = Contract::baseline(component);
    let asked = overrides.over(Profile::baseline());
    let resolution = resolve(&asked, &BACKEND, &contract.decision.options(Some(key)));
    let effective = match (&resolution.effective, resolution.outcome) {
        (Some(effective), _) => effective.clone(),
        (None, paddock_tls_profile::Outcome::Unservable(why)) => return Err(why),
        (None, _) => return Err(Unservable::NoSuite),
    };
    let hash = asked.hash();
    Ok(Candidate { contract, asked, hash, resolution, effective, serving: Serving::Builtin, unknown: Vec::new() })
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
