//! Whether what a server accepts is what a profile asks for.

use paddock_tls_profile::{
    Backend, Dropped, Group, KeyKind, Options, Profile, Reason, Resolution, Suite, Version, resolve,
};
use serde_json::{Value, json};

use crate::observed::{group_title, suite_title};
use crate::{Observed, Protocol};

/// What a profile asks of a server, and how much of it a server of Paddock's serves.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// What a server of Paddock's makes of the profile.
    pub resolution: Resolution,
    /// The oldest version that may be spoken.
    lowest: Version,
    /// Suites that are asked for and that the server's key can serve.
    suites: Vec<Suite>,
    /// Suites that are asked for and that need another key; a server with two keys serves them too.
    other_key: Vec<Suite>,
    /// Groups that are asked for; `None`: the profile leaves them to the server.
    groups: Option<Vec<Group>>,
}

/// How what is accepted compares with what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the same.
    Exact,
    /// It is less, by no more than what Paddock's TLS library cannot do; the API allows that.
    Reduced,
    /// Something is accepted that must not be, or refused that should not be.
    Different,
}

/// The differences between what is accepted and what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Versions that are spoken and must not be.
    pub extra_versions: Vec<Protocol>,
    /// Suites that are accepted and must not be.
    pub extra_suites: Vec<u16>,
    /// Groups that are accepted and must not be.
    pub extra_groups: Vec<u16>,
    /// Versions that should be spoken.
    pub missing_versions: Vec<Version>,
    /// Suites that should be accepted.
    pub missing_suites: Vec<Suite>,
    /// Groups that should be accepted.
    pub missing_groups: Vec<Group>,
    /// What is asked for and is rightly not accepted, with the reason.
    pub left_out: Vec<Dropped>,
}

impl Expectation {
    /// What `profile` asks of a server whose TLS library is `backend`. `options.key` is the server's key, where it has only one.
    pub fn new(profile: &Profile, backend: &Backend, options: &Options) -> Self {
        let resolution = resolve(profile, backend, options);
        let lowest = profile.min_version.unwrap_or(Version::Tls12).max(options.floor.unwrap_or(Version::Tls10));
        let mut suites: Vec<Suite> = Vec::new();
        let listed = profile.ciphers.iter().flatten().filter_map(|name| Suite::from_name(name));
        // Suites of TLS 1.3 are on where none is listed.
        let served = resolution.effective.iter().flat_map(|effective| effective.suites.iter().copied());
        for suite in listed.chain(served) {
            if (suite.is_tls13() || lowest < Version::Tls13) && !suites.contains(&suite) {
                suites.push(suite);
            }
        }
        let of_other_key = |suite: &Suite| {
            use paddock_tls_profile::Authentication::{Ecdsa, Rsa};
            matches!((options.key, suite.authentication()), (Some(KeyKind::Rsa), Ecdsa) | (Some(KeyKind::Ecdsa), Rsa))
        };
        // No server on such a library can be without them, and the API says that they are always on.
        let always_on = Suite::all().iter().copied().filter(|suite| backend.tls13_fixed && suite.is_tls13());
        for suite in always_on.filter(|suite| backend.suites.contains(&suite.code())) {
            if !suites.contains(&suite) {
                suites.push(suite);
            }
        }
        let (other_key, suites) = suites.into_iter().partition(of_other_key);
        let groups = profile.groups.as_ref().filter(|groups| !groups.is_empty());
        let groups = groups.map(|groups| groups.iter().filter_map(|name| Group::from_name(name)).collect());
        Self { resolution, lowest, suites, other_key, groups }
    }

    /// What `profile` asks of the server that was seen: its key is known from the certificates that it showed.
    pub fn of_server(profile: &Profile, backend: &Backend, options: &Options, observed: &Observed) -> Self {
        let mut kinds = observed.certificates.iter().filter_map(|certificate| certificate.kind);
        let first = kinds.next();
        let only = first.filter(|first| kinds.all(|kind| kind == *first));
        Self::new(profile, backend, &Options { key: options.key.or(only), ..*options })
    }

    /// Whether a version may be spoken.
    pub(crate) fn allows_version(&self, protocol: Protocol) -> bool {
        matches!(protocol, Protocol::Tls(version) if version >= self.lowest)
    }

    /// Whether a suite may be accepted.
    pub(crate) fn allows_suite(&self, code: u16) -> bool {
        self.suites.iter().chain(&self.other_key).any(|suite| suite.code() == code)
    }

    /// Whether a group may be accepted.
    pub(crate) fn allows_group(&self, code: u16) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.iter().any(|group| group.code() == code))
    }

    /// Whether the profile names groups.
    pub(crate) fn names_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// Why a version that may be spoken is not served.
    fn why_not(&self, version: Version) -> Reason {
        if version < Version::Tls12 {
            return Reason::Unsupported;
        }
        let of_version = |suite: &Suite| suite.is_tls13() == (version == Version::Tls13);
        let dropped = self.resolution.dropped.iter();
        let mut why = dropped.filter(|one| Suite::from_name(&one.name).is_some_and(|suite| of_version(&suite)));
        why.next_back().map_or(Reason::NoSuiteListed, |one| one.reason)
    }

    /// Compares what a server accepts with this.
    pub fn compare(&self, observed: &Observed) -> Comparison {
        let effective = self.resolution.effective.as_ref();
        let (suites, groups) = (observed.suites(), observed.groups());
        let spoken: Vec<Protocol> = observed.protocols().collect();

        let lacking = self.suites.iter().copied().filter(|suite| !suites.contains(&suite.code()));
        let (missing_suites, left_suites): (Vec<_>, Vec<_>) =
            lacking.partition(|suite| effective.is_some_and(|effective| effective.suites.contains(suite)));
        // What is served where a profile names no groups is the server's choice.
        let lacking = self.groups.iter().flatten().copied().filter(|group| !groups.contains(&group.code()));
        let (missing_groups, left_groups): (Vec<_>, Vec<_>) =
            lacking.partition(|group| effective.is_some_and(|effective| effective.groups.contains(group)));
        let versions = effective.map(|effective| effective.versions()).unwrap_or_default();
        let lacking = |version: &Version| !spoken.contains(&Protocol::Tls(*version));

        let reason = |name: &str| {
            let dropped = self.resolution.dropped.iter().find(|dropped| dropped.name == name);
            dropped.map_or(Reason::Unsupported, |dropped| dropped.reason)
        };
        let left_versions = Version::ALL
            .into_iter()
            .filter(|version| *version >= self.lowest && !versions.contains(version) && lacking(version));
        let unknown = self.resolution.dropped.iter().filter(|dropped| dropped.reason == Reason::Unknown).cloned();
        let left_out = left_versions
            .map(|version| Dropped { name: version.name().to_owned(), reason: self.why_not(version) })
            .chain(left_suites.iter().map(|s| Dropped { name: s.openssl().to_owned(), reason: reason(s.openssl()) }))
            .chain(left_groups.iter().map(|g| Dropped { name: g.name().to_owned(), reason: reason(g.name()) }))
            .chain(unknown)
            .collect();
        Comparison {
            extra_versions: spoken.iter().copied().filter(|protocol| !self.allows_version(*protocol)).collect(),
            extra_suites: suites.iter().copied().filter(|suite| !self.allows_suite(*suite)).collect(),
            extra_groups: groups.iter().copied().filter(|group| !self.allows_group(*group)).collect(),
            missing_versions: versions.iter().copied().filter(lacking).collect(),
            missing_suites,
            missing_groups,
            left_out,
        }
    }
}

impl Verdict {
    /// `Exact`, `Reduced` or `Different`, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::Reduced => "Reduced",
            Self::Different => "Different",
        }
    }
}

impl Comparison {
    /// The short answer.
    pub fn verdict(&self) -> Verdict {
        let extra = self.extra_versions.is_empty() && self.extra_suites.is_empty() && self.extra_groups.is_empty();
        let missing =
            self.missing_versions.is_empty() && self.missing_suites.is_empty() && self.missing_groups.is_empty();
        match (extra && missing, self.left_out.is_empty()) {
            (false, _) => Verdict::Different,
            (true, false) => Verdict::Reduced,
            (true, true) => Verdict::Exact,
        }
    }

    /// What is accepted and must not be, by name: versions, suites, groups.
    pub fn extra(&self) -> Vec<String> {
        let versions = self.extra_versions.iter().map(|version| version.name().to_owned());
        let suites = self.extra_suites.iter().map(|suite| suite_title(*suite));
        versions.chain(suites).chain(self.extra_groups.iter().map(|group| group_title(*group))).collect()
    }

    /// What should be accepted and is not, by name: versions, suites, groups.
    pub fn missing(&self) -> Vec<String> {
        let versions = self.missing_versions.iter().map(|version| version.name());
        let suites = self.missing_suites.iter().map(|suite| suite.openssl());
        let groups = self.missing_groups.iter().map(|group| group.name());
        versions.chain(suites).chain(groups).map(str::to_owned).collect()
    }

    /// The comparison as reports show it: `verdict`, `extra`, `missing` and `leftOut`.
    pub fn report(&self) -> Value {
        let left_out: Vec<_> =
            self.left_out.iter().map(|one| json!({ "name": one.name, "reason": one.reason.to_string() })).collect();
        json!({ "verdict": self.verdict().name(), "extra": self.extra(), "missing": self.missing(), "leftOut": left_out })
    }
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::{Generation, Named};

    use super::*;
    use crate::Spoken;

    const INTERMEDIATE_RSA: [u16; 3] = [0xC02F, 0xC030, 0xCCA8];
    const TLS13: [u16; 3] = [0x1301, 0x1302, 0x1303];
    const GROUPS: [u16; 4] = [0x11EC, 0x001D, 0x0017, 0x0018];

    /// What a server with an RSA key was seen to accept: in each version these suites, and these groups.
    fn seen(versions: &[(Protocol, &[u16])], groups: &[u16]) -> Observed {
        let spoken = |(protocol, suites): &(Protocol, &[u16])| Spoken {
            protocol: *protocol,
            suites: suites.to_vec(),
            groups: groups.to_vec(),
            order: None,
        };
        Observed { spoken: versions.iter().map(spoken).collect(), ..Observed::default() }
    }

    fn compared(profile: &Profile, observed: &Observed) -> (Verdict, Vec<String>, Vec<String>) {
        let options = Options { key: Some(KeyKind::Rsa), ..Options::default() };
        let comparison = Expectation::new(profile, &Backend::RUSTLS_AWS_LC, &options).compare(observed);
        (comparison.verdict(), comparison.extra(), comparison.missing())
    }

    const TLS12: Protocol = Protocol::Tls(Version::Tls12);

    #[test]
    fn the_suites_of_a_key_that_the_server_does_not_have_are_no_difference() {
        let observed = seen(&[(TLS12, &INTERMEDIATE_RSA), (Protocol::TLS13, &TLS13)], &GROUPS);
        let intermediate = Named::Intermediate.profile(Generation::C);
        assert_eq!(compared(&intermediate, &observed), (Verdict::Exact, vec![], vec![]));
    }

    #[test]
    fn whatever_is_accepted_beyond_the_profile_is_a_difference() {
        let suites = [INTERMEDIATE_RSA.as_slice(), &[0xC013, 0x0005]].concat();
        let tls10 = Protocol::Tls(Version::Tls10);
        let groups = [GROUPS.as_slice(), &[0x001E]].concat();
        let observed = seen(&[(tls10, &[0xC013]), (TLS12, &suites), (Protocol::TLS13, &TLS13)], &groups);
        let extra = ["VersionTLS10", "ECDHE-RSA-AES128-SHA", "RC4-SHA", "X448"].map(str::to_owned).to_vec();
        let intermediate = Named::Intermediate.profile(Generation::C);
        assert_eq!(compared(&intermediate, &observed), (Verdict::Different, extra, vec![]));
    }

    #[test]
    fn what_is_refused_though_it_could_be_served_is_a_difference() {
        let observed = seen(&[(Protocol::TLS13, &TLS13[..2])], &GROUPS[1..]);
        let missing = [
            "VersionTLS12",
            "TLS_CHACHA20_POLY1305_SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "X25519MLKEM768",
        ];
        let missing = missing.map(str::to_owned).to_vec();
        let intermediate = Named::Intermediate.profile(Generation::C);
        assert_eq!(compared(&intermediate, &observed), (Verdict::Different, vec![], missing));
    }

    #[test]
    fn what_the_library_cannot_do_is_a_reduction_and_is_named() {
        let observed = seen(&[(TLS12, &INTERMEDIATE_RSA), (Protocol::TLS13, &TLS13)], &GROUPS);
        let options = Options { key: Some(KeyKind::Rsa), ..Options::default() };
        let old = Expectation::new(&Named::Old.profile(Generation::C), &Backend::RUSTLS_AWS_LC, &options);
        let comparison = old.compare(&observed);
        assert_eq!(comparison.verdict(), Verdict::Reduced);
        let left_out: Vec<&str> = comparison.left_out.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(left_out[..3], ["VersionTLS10", "VersionTLS11", "ECDHE-RSA-AES128-SHA256"]);
    }

    #[test]
    fn a_server_of_another_kind_may_serve_all_of_a_profile() {
        let old = Named::Old.profile(Generation::C);
        let of_rsa: Vec<u16> = Suite::all()
            .iter()
            .filter(|suite| old.ciphers.iter().flatten().any(|name| name == suite.openssl()))
            .filter(|suite| suite.authentication() == paddock_tls_profile::Authentication::Rsa)
            .map(|suite| suite.code())
            .collect();
        let (tls10, tls11) = (Protocol::Tls(Version::Tls10), Protocol::Tls(Version::Tls11));
        let observed =
            seen(&[(tls10, &[0xC013]), (tls11, &[0xC013]), (TLS12, &of_rsa), (Protocol::TLS13, &TLS13)], &GROUPS);
        assert_eq!(compared(&old, &observed), (Verdict::Exact, vec![], vec![]));
    }

    #[test]
    fn groups_that_no_profile_names_are_the_servers_choice() {
        let modern = Named::Modern.profile(Generation::B);
        let observed = seen(&[(Protocol::TLS13, &TLS13)], &[0x001D, 0x0019, 0x001E]);
        assert_eq!(compared(&modern, &observed), (Verdict::Exact, vec![], vec![]));
    }

    #[test]
    fn a_server_on_go_has_all_of_tls_1_3_on_whatever_the_profile_lists() {
        let ciphers = Some(vec!["TLS_AES_128_GCM_SHA256".to_owned()]);
        let profile = Profile { ciphers, ..Named::Modern.profile(Generation::C) };
        let observed = seen(&[(Protocol::TLS13, &TLS13)], &GROUPS);
        let verdict = |backend| Expectation::new(&profile, backend, &Options::default()).compare(&observed).verdict();
        assert_eq!((verdict(&Backend::GO), verdict(&Backend::RUSTLS_AWS_LC)), (Verdict::Exact, Verdict::Different));
    }

    #[test]
    fn a_version_that_is_left_out_has_the_reason_of_its_suites() {
        let reasons = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let profile = Profile { ciphers: Some(names), ..Named::Intermediate.profile(Generation::C) };
            let options = Options { key: Some(KeyKind::Rsa), ..Options::default() };
            let comparison = Expectation::new(&profile, &Backend::RUSTLS_AWS_LC, &options)
                .compare(&seen(&[(Protocol::TLS13, &TLS13)], &GROUPS));
            assert_eq!(comparison.verdict(), Verdict::Reduced, "{comparison:?}");
            comparison.left_out.into_iter().find(|one| one.name == "VersionTLS12").unwrap().reason
        };
        let tls13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
        assert_eq!(reasons(&tls13), Reason::NoSuiteListed);
        assert_eq!(reasons(&["ECDHE-ECDSA-AES128-GCM-SHA256"]), Reason::Key);
        assert_eq!(reasons(&["AES128-SHA"]), Reason::Unsupported);
    }

    #[test]
    fn older_suites_mean_nothing_where_tls_1_3_is_the_minimum() {
        let profile = Profile { min_version: Some(Version::Tls13), ..Named::Intermediate.profile(Generation::C) };
        let modern = seen(&[(Protocol::TLS13, &TLS13)], &GROUPS);
        assert_eq!(compared(&profile, &modern).0, Verdict::Exact);
        let wider = seen(&[(TLS12, &INTERMEDIATE_RSA[..1]), (Protocol::TLS13, &TLS13)], &GROUPS);
        assert_eq!(compared(&profile, &wider).1, ["VersionTLS12", "ECDHE-RSA-AES128-GCM-SHA256"]);
    }
}
