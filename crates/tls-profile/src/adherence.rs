//! What to do about a profile that cannot be served as asked (`spec.tlsAdherence` of OpenShift's `APIServer`).

use crate::{ClientModel, Outcome, Resolution};

/// How strictly components follow the platform's profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Adherence {
    /// Follow; what cannot be served at all gives way to the built-in baseline, with a warning. Also where nothing is said.
    #[default]
    Legacy,
    /// Follow; what cannot be served at all changes nothing: the last good profile goes on being served.
    Strict,
}

/// What follows from a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve what was resolved.
    Serve,
    /// Serve the baseline, and warn.
    Baseline,
    /// Keep what is served, and report it as degraded.
    Keep,
}

impl Adherence {
    /// `Legacy` or `Strict`, the name in a contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "Legacy",
            Self::Strict => "Strict",
        }
    }

    /// The adherence of that name, spelled exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Legacy, Self::Strict].into_iter().find(|adherence| adherence.name() == name)
    }

    /// Reads the field. A value that is not known counts as strict; the flag says that this should be warned of.
    pub fn parse(text: Option<&str>) -> (Self, bool) {
        match text {
            None | Some("" | "LegacyAdheringComponentsOnly") => (Self::Legacy, false),
            Some("StrictAllComponents") => (Self::Strict, false),
            Some(_) => (Self::Strict, true),
        }
    }

    /// What to do with a resolution. What Kubernetes itself could not speak is served only where a warning is enough.
    pub fn judge(self, resolution: &Resolution) -> Verdict {
        let spoken = resolution.effective.as_ref().is_none_or(|effective| ClientModel::KUBERNETES.speaks(effective));
        match (&resolution.outcome, self) {
            (Outcome::Exact | Outcome::Reduced, Self::Strict) if !spoken => Verdict::Keep,
            (Outcome::Exact | Outcome::Reduced, _) => Verdict::Serve,
            (Outcome::Unservable(_), Self::Legacy) => Verdict::Baseline,
            (Outcome::Unservable(_), Self::Strict) => Verdict::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Options, Profile, resolve};

    #[test]
    fn tls_f26_an_unknown_adherence_is_strict_and_warned_of() {
        let read = [None, Some(""), Some("LegacyAdheringComponentsOnly"), Some("StrictAllComponents"), Some("Later")];
        use Adherence::{Legacy, Strict};
        assert_eq!(
            read.map(Adherence::parse),
            [(Legacy, false), (Legacy, false), (Legacy, false), (Strict, false), (Strict, true)]
        );
    }

    #[test]
    fn what_cannot_be_served_gives_way_only_where_that_is_allowed() {
        let profile = Profile { groups: Some(vec!["secp521r1".to_owned()]), ..Profile::default() };
        let resolution = resolve(&profile, &Backend::RUSTLS_AWS_LC, &Options::default());
        let verdicts = [Adherence::Legacy, Adherence::Strict].map(|adherence| adherence.judge(&resolution));
        assert_eq!(verdicts, [Verdict::Baseline, Verdict::Keep]);
    }

    #[test]
    fn tls_f21_what_kubernetes_cannot_speak_is_refused_where_adherence_is_strict() {
        let profile = Profile { groups: Some(vec!["SecP256r1MLKEM768".to_owned()]), ..Profile::default() };
        let resolution = resolve(&profile, &Backend::RUSTLS_AWS_LC, &Options::default());
        let verdicts = [Adherence::Legacy, Adherence::Strict].map(|adherence| adherence.judge(&resolution));
        assert_eq!(verdicts, [Verdict::Serve, Verdict::Keep]);
    }
}
