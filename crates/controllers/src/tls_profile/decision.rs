//! What every component shall serve, decided once: from the source's word, the policy and the platform, starting from what was
//! decided before. Pure.
//!
//! A bad word, or none, never means something wider than the last good decision; and before there is one, nothing is handed out
//! at all.

use std::collections::BTreeMap;

use paddock_tls_profile::{
    Adherence, Backend, ClientModel, Contract, Decision, Effective, Generation, Known, Outcome, Profile, Resolution,
    Source, Verdict, files, resolve,
};

use super::components::{self, Override};
use super::platform::{Capability, Platform};
use super::policy::Policy;
use super::sources::{Heard, SourceKind, Wanted};

/// What is handed to components: the contract (with no component's name yet) and the profile beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) contract: Contract,
    pub(crate) profile: Profile,
    /// What single components are told otherwise.
    pub(crate) overrides: Vec<Override>,
}

impl Published {
    /// Reads what was published. `None` for what does not fit together: it is decided anew.
    pub(crate) fn read(data: &BTreeMap<String, String>) -> Option<Self> {
        let contract = Contract::parse(data.get(files::CONTRACT)?.as_bytes()).ok()?.contract;
        let text = data.get(files::PROFILE)?;
        let profile = Profile::parse(text.as_bytes()).ok()?.profile;
        let overrides = data.get(components::FILE).map_or_else(|| Some(Vec::new()), |text| components::read(text))?;
        let same = profile.canonical() == *text && contract.profile_hash.as_deref() == Some(&*profile.hash());
        same.then_some(Self { contract, profile, overrides })
    }

    /// Whether the built-in profile lets in nobody whom this one does not.
    fn covers_baseline(&self) -> bool {
        let effective = |profile: &Profile| -> Option<Effective> {
            resolve(profile, &Backend::RUSTLS_AWS_LC, &self.contract.decision.options(None)).effective
        };
        let baseline = effective(&Profile::baseline());
        effective(&self.profile).zip(baseline).is_some_and(|(served, baseline)| served.covers(&baseline))
    }

    /// What is written down: the files for nobody in particular, and what single components are told.
    pub(crate) fn record(&self) -> BTreeMap<String, String> {
        let mut data = self.files("");
        if !self.overrides.is_empty() {
            data.insert(components::FILE.to_owned(), components::to_json(&self.overrides));
        }
        data
    }

    /// The files, for one component.
    pub(crate) fn files(&self, component: &str) -> BTreeMap<String, String> {
        let contract = Contract { component: component.to_owned(), ..self.contract.clone() };
        [(files::CONTRACT, contract.canonical()), (files::PROFILE, self.profile.canonical())]
            .map(|(name, text)| (name.to_owned(), text))
            .into()
    }
}

/// One thing that is so or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: &'static str,
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What was decided and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// `None`: nothing good was ever heard, so nothing is handed out.
    pub(crate) published: Option<Published>,
    /// `SourceAvailable`, `ProfileResolved`, `ClientsServed` and `ProfileHonored`, as far as there is something to say.
    pub(crate) findings: Vec<Finding>,
}

/// What a decision depends on.
pub(crate) struct Inputs<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) platform: &'a Platform,
    pub(crate) source: SourceKind,
    pub(crate) heard: &'a Heard,
    /// The tables of the platform's release; the newest where nothing says it.
    pub(crate) table: Generation,
    /// Whether this machine is in FIPS mode.
    pub(crate) fips: bool,
}

/// Decides.
pub(crate) fn decide(before: Option<&Published>, inputs: &Inputs<'_>) -> Decided {
    let kept = |findings| Decided { published: before.cloned(), findings };
    let last = if before.is_some() { "the last good profile stays" } else { "nothing is handed out yet" };
    let source = inputs.source;
    if inputs.policy.paused {
        return kept(vec![no("ProfileResolved", "Paused", format!("the policy is paused; {last}"))]);
    }
    let wanted = match inputs.heard {
        Heard::Wanted(wanted) => wanted,
        Heard::Absent => return kept(vec![no("SourceAvailable", "SourceUnavailable", format!("no {source}; {last}"))]),
        Heard::Unreadable(why) => {
            return kept(vec![no("SourceAvailable", "SourceUnavailable", format!("{source}: {why}; {last}"))]);
        }
        Heard::Invalid(why) => {
            let available = yes("SourceAvailable", "Read", format!("the profile comes from {source}"));
            return kept(vec![available, no("ProfileResolved", "Invalid", format!("{why}; {last}"))]);
        }
    };
    let table = wanted.table.unwrap_or(inputs.table);
    let mut findings = vec![available(inputs), resolved(wanted, table)];
    let decision = decision(inputs, wanted);
    let asked = wanted.request.profile(table);
    let resolution = resolve(&asked, &Backend::RUSTLS_AWS_LC, &decision.options(None));
    let name = wanted.request.name();
    let outcome = outcome(name, &resolution);
    let spoken = resolution.effective.as_ref().is_none_or(|effective| ClientModel::KUBERNETES.speaks(effective));
    if !spoken {
        let why = format!("{name} is nothing that {} can speak", ClientModel::KUBERNETES.name);
        findings.push(no("ClientsServed", "ClientsShutOut", why));
    } else if resolution.effective.is_some() {
        findings.push(yes("ClientsServed", "Spoken", "Kubernetes' own clients can speak it".to_owned()));
    }
    let profile = match decision.adherence.judge(&resolution) {
        Verdict::Serve => {
            let reason = if resolution.outcome == Outcome::Exact { "Exact" } else { "Reduced" };
            findings.push(yes("ProfileHonored", reason, outcome));
            asked
        }
        Verdict::Baseline if before.is_none_or(|before| before.covers_baseline()) => {
            findings.push(no(
                "ProfileHonored",
                "Unservable",
                format!("{outcome}; the built-in Intermediate is served"),
            ));
            Profile::baseline()
        }
        Verdict::Baseline => {
            let why = format!("{outcome}; the built-in Intermediate would let in more than is served now, so {last}");
            findings.push(no("ProfileHonored", "Unservable", why));
            return kept(findings);
        }
        Verdict::Keep if spoken => {
            findings.push(no("ProfileHonored", "Unservable", format!("{outcome}; adherence is Strict, so {last}")));
            return kept(findings);
        }
        Verdict::Keep => {
            let why = format!("no client of Kubernetes could speak it; adherence is Strict, so {last}");
            findings.push(no("ProfileHonored", "ClientsShutOut", why));
            return kept(findings);
        }
    };
    let contract = Contract {
        platform: inputs.platform.known(),
        profile_hash: Some(profile.hash()),
        decision,
        source: Source {
            kind: source.name().to_owned(),
            profile: name.to_owned(),
            table: (name != "Custom").then_some(table),
        },
        metrics_auth: inputs.policy.metrics_auth,
        drain_seconds: inputs.policy.drain_seconds,
        ..Contract::baseline("")
    };
    let told = before.map(|before| before.overrides.as_slice()).unwrap_or_default();
    let (overrides, honored) = components::decide(&inputs.policy.components, told, decision, table);
    findings.extend(honored);
    Decided { published: Some(numbered(before, Published { contract, profile, overrides })), findings }
}

/// The contract's generation grows when anything of it changes, and only then.
fn numbered(before: Option<&Published>, mut published: Published) -> Published {
    published.contract.generation = before.map_or(0, |before| before.contract.generation);
    if before != Some(&published) {
        published.contract.generation = published.contract.generation.saturating_add(1);
    }
    published
}

fn decision(inputs: &Inputs<'_>, wanted: &Wanted) -> Decision {
    Decision {
        // The policy may be stricter than the source, never looser.
        adherence: match inputs.policy.adherence {
            Some(Adherence::Strict) => Adherence::Strict,
            Some(Adherence::Legacy) | None => wanted.adherence,
        },
        tls13: inputs.policy.tls13,
        fips: inputs.policy.fips.unwrap_or(inputs.fips),
        floor: inputs.policy.floor,
    }
}

fn available(inputs: &Inputs<'_>) -> Finding {
    let source = inputs.source;
    let half = inputs.platform.of(Capability::Scc) == Known::Yes
        && inputs.platform.of(Capability::ApiServerConfig) == Known::No
        && source == SourceKind::Builtin;
    if half {
        let why = "the platform has security context constraints and no config.openshift.io APIServer: the built-in Intermediate holds until one is there";
        return no("SourceAvailable", "SourceUnavailable", why.to_owned());
    }
    yes("SourceAvailable", "Read", format!("the profile comes from {source}"))
}

fn resolved(wanted: &Wanted, table: Generation) -> Finding {
    let name = wanted.request.name();
    if wanted.odd_adherence {
        let why = format!("{name}; tlsAdherence has a value that is not known here, and counts as StrictAllComponents");
        return yes("ProfileResolved", "UnknownAdherence", why);
    }
    let tables = if name == "Custom" { String::new() } else { format!(" of tables {}", table.name()) };
    yes("ProfileResolved", "Resolved", format!("{name}{tables}"))
}

fn outcome(name: &str, resolution: &Resolution) -> String {
    let notes: Vec<String> = resolution.notes.iter().map(ToString::to_string).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; ")) };
    match &resolution.outcome {
        Outcome::Exact => format!("{name} is served exactly{notes}"),
        Outcome::Reduced => format!("{name} is served without {} of its names{notes}", resolution.dropped.len()),
        Outcome::Unservable(why) => format!("{name} cannot be served: {why}{notes}"),
    }
}

fn yes(kind: &'static str, reason: &'static str, message: String) -> Finding {
    Finding { kind, holds: true, reason, message }
}

fn no(kind: &'static str, reason: &'static str, message: String) -> Finding {
    Finding { kind, holds: false, reason, message }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use paddock_tls_profile::{Named, Request, Version};
    use proptest::prelude::*;

    use super::*;

    fn platform(scc: Known, config: Known) -> Platform {
        let mut platform = Platform::default();
        let now = Timestamp::UNIX_EPOCH;
        platform.hear(Capability::Scc, scc, now);
        platform.hear(Capability::ApiServerConfig, config, now);
        platform
    }

    fn asks(request: Request, adherence: Adherence) -> Heard {
        Heard::Wanted(Wanted { request, adherence, ..Wanted::default() })
    }

    fn modern() -> Heard {
        asks(Request::Named(Named::Modern), Adherence::Legacy)
    }

    /// A profile of which nothing can be served.
    fn unservable(adherence: Adherence) -> Heard {
        let profile = Profile { groups: Some(vec!["secp521r1".to_owned()]), ..Profile::baseline() };
        asks(Request::Custom(profile), adherence)
    }

    fn on(before: Option<&Published>, heard: &Heard, policy: &Policy) -> Decided {
        let platform = platform(Known::Yes, Known::Yes);
        let source = SourceKind::OpenShiftApiServer;
        decide(before, &Inputs { policy, platform: &platform, source, heard, table: Generation::C, fips: false })
    }

    fn first() -> Published {
        on(None, &modern(), &Policy::default()).published.unwrap()
    }

    fn says(decided: &Decided) -> Vec<(&'static str, bool, &'static str)> {
        decided.findings.iter().map(|finding| (finding.kind, finding.holds, finding.reason)).collect()
    }

    #[test]
    fn a_good_word_is_handed_out_and_read_back() {
        let decided = on(None, &modern(), &Policy::default());
        assert_eq!(
            says(&decided),
            [
                ("SourceAvailable", true, "Read"),
                ("ProfileResolved", true, "Resolved"),
                ("ClientsServed", true, "Spoken"),
                ("ProfileHonored", true, "Exact")
            ]
        );
        let published = decided.published.unwrap();
        assert_eq!(published.contract.generation, 1);
        assert_eq!(Published::read(&published.record()), Some(published));
    }

    #[test]
    fn tls_f11_the_same_word_again_is_no_new_generation() {
        let before = first();
        assert_eq!(on(Some(&before), &modern(), &Policy::default()).published, Some(before.clone()));
        let other = on(Some(&before), &asks(Request::default(), Adherence::Legacy), &Policy::default());
        assert_eq!(other.published.unwrap().contract.generation, 2);
    }

    #[test]
    fn tls_f09_tls_d09_a_bad_word_keeps_the_last_good_one() {
        let before = first();
        let bad = Heard::Invalid("type \"Weak\" is no profile".to_owned());
        let decided = on(Some(&before), &bad, &Policy::default());
        assert_eq!(says(&decided), [("SourceAvailable", true, "Read"), ("ProfileResolved", false, "Invalid")]);
        assert_eq!(decided.published, Some(before));
    }

    #[test]
    fn tls_f08_a_source_that_cannot_be_read_keeps_the_last_good_one() {
        let before = first();
        let decided = on(Some(&before), &Heard::Unreadable("forbidden".to_owned()), &Policy::default());
        assert_eq!(says(&decided), [("SourceAvailable", false, "SourceUnavailable")]);
        assert_eq!(decided.published, Some(before));
    }

    #[test]
    fn tls_f04_nothing_is_handed_out_before_anything_good_was_heard() {
        for heard in [Heard::Unreadable(String::new()), Heard::Invalid(String::new()), unservable(Adherence::Strict)] {
            assert_eq!(on(None, &heard, &Policy::default()).published, None, "{heard:?}");
        }
    }

    #[test]
    fn tls_f06_constraints_without_the_profile_kind_mean_the_built_in_and_are_reported() {
        let (policy, platform) = (Policy::default(), platform(Known::Yes, Known::No));
        let heard = asks(Request::default(), Adherence::Legacy);
        let source = SourceKind::Builtin;
        let inputs =
            Inputs { policy: &policy, platform: &platform, source, heard: &heard, table: Generation::C, fips: false };
        let decided = decide(None, &inputs);
        assert_eq!(decided.findings[0].reason, "SourceUnavailable");
        assert_eq!(decided.published.unwrap().profile, Profile::baseline());
    }

    fn honored(decided: &Decided) -> &'static str {
        decided.findings.iter().find(|finding| finding.kind == "ProfileHonored").unwrap().reason
    }

    #[test]
    fn tls_f26_what_cannot_be_served_gives_way_to_the_baseline_or_is_held_back_by_adherence() {
        let before = on(None, &asks(Request::default(), Adherence::Legacy), &Policy::default()).published.unwrap();
        let legacy = on(Some(&before), &unservable(Adherence::Legacy), &Policy::default());
        assert_eq!(legacy.published.as_ref().map(|p| p.contract.source.profile.as_str()), Some("Custom"));
        assert_eq!(legacy.published.as_ref().map(|p| p.profile.clone()), Some(Profile::baseline()));
        let strict = on(Some(&before), &unservable(Adherence::Strict), &Policy::default());
        assert_eq!((strict.published.as_ref(), honored(&strict)), (Some(&before), "Unservable"));
    }

    #[test]
    fn tls_f10_the_baseline_never_stands_in_for_something_tighter() {
        let before = first();
        let decided = on(Some(&before), &unservable(Adherence::Legacy), &Policy::default());
        assert_eq!((decided.published.as_ref(), honored(&decided)), (Some(&before), "Unservable"));
    }

    #[test]
    fn tls_f21_tls_d16_a_profile_that_kubernetes_cannot_speak_is_warned_of_or_held_back() {
        let profile = Profile { groups: Some(vec!["SecP256r1MLKEM768".to_owned()]), ..Profile::baseline() };
        let heard = |adherence| asks(Request::Custom(profile.clone()), adherence);
        let legacy = on(None, &heard(Adherence::Legacy), &Policy::default());
        assert_eq!(legacy.published.as_ref().map(|p| &p.profile), Some(&profile));
        assert!(says(&legacy).contains(&("ClientsServed", false, "ClientsShutOut")));
        let strict = on(None, &heard(Adherence::Strict), &Policy::default());
        assert_eq!((strict.published.as_ref(), honored(&strict)), (None, "ClientsShutOut"));
    }

    #[test]
    fn tls_f26_the_policy_may_tighten_adherence_and_never_loosen_it() {
        let of = |policy: Option<Adherence>, heard: Adherence| {
            let policy = Policy { adherence: policy, ..Policy::default() };
            let heard = asks(Request::default(), heard);
            on(None, &heard, &policy).published.unwrap().contract.decision.adherence
        };
        use Adherence::{Legacy, Strict};
        assert_eq!(of(None, Strict), Strict);
        assert_eq!(of(Some(Strict), Legacy), Strict);
        assert_eq!(of(Some(Legacy), Strict), Strict);
        assert_eq!(of(Some(Legacy), Legacy), Legacy);
    }

    #[test]
    fn a_names_meaning_follows_the_release_of_the_cluster_that_says_it() {
        let wanted = Wanted { request: Request::Named(Named::Old), table: Some(Generation::A), ..Wanted::default() };
        let published = on(None, &Heard::Wanted(wanted), &Policy::default()).published.unwrap();
        assert_eq!(published.profile, Named::Old.profile(Generation::A));
        assert_eq!(published.contract.source.table, Some(Generation::A));
    }

    #[test]
    fn components_are_decided_on_with_everything_else() {
        let entry = serde_json::json!({"selector": {"matchLabels": {"a": "b"}}, "profile": {"type": "Modern"}});
        let component = serde_json::from_value::<components::Entry>(entry).unwrap().read().unwrap();
        let policy = Policy { components: vec![component], ..Policy::default() };
        let before = on(None, &modern(), &Policy::default()).published.unwrap();
        let decided = on(Some(&before), &modern(), &policy);
        assert!(says(&decided).contains(&("ComponentsHonored", true, "Honored")));
        let published = decided.published.unwrap();
        assert_eq!((published.overrides.len(), published.contract.generation), (1, 2));
        assert_eq!(Published::read(&published.record()), Some(published.clone()));
        let unread = on(Some(&published), &Heard::Unreadable(String::new()), &Policy::default());
        assert_eq!(unread.published, Some(published), "nothing is decided while the source cannot be read");
    }

    #[test]
    fn a_paused_policy_decides_nothing() {
        let before = first();
        let paused = Policy { paused: true, ..Policy::default() };
        let decided = on(Some(&before), &asks(Request::default(), Adherence::Legacy), &paused);
        assert_eq!((decided.published, decided.findings[0].reason), (Some(before), "Paused"));
    }

    #[test]
    fn tls_f12_a_record_that_was_tampered_with_is_not_believed() {
        let mut files = first().files("");
        files.insert(files::PROFILE.to_owned(), Profile::baseline().canonical());
        assert_eq!(Published::read(&files), None);
    }

    #[test]
    fn tls_f24_the_record_of_another_version_of_the_operator_is_read_if_its_major_version_is_ours() {
        let of = |version: &str| {
            let mut files = first().files("");
            let newer = format!("{{\"later\":1,\"schemaVersion\":\"{version}\",");
            let text = files[files::CONTRACT].replacen('{', &newer, 1).replace(",\"schemaVersion\":\"1.0\"", "");
            files.insert(files::CONTRACT.to_owned(), text);
            Published::read(&files).map(|published| published.profile)
        };
        assert_eq!((of("1.7"), of("2.0")), (Some(first().profile), None));
    }

    proptest! {
        /// Whatever is asked for, a component that serves what is handed out serves nothing that was not asked for, unless it is
        /// the baseline because adherence allows that.
        #[test]
        fn never_wider_than_asked(
            ciphers in proptest::option::of(proptest::collection::vec("[A-Z0-9_-]{1,30}|TLS_AES_128_GCM_SHA256|ECDHE-RSA-AES128-GCM-SHA256", 0..6)),
            groups in proptest::option::of(proptest::collection::vec("X25519|secp256r1|secp521r1|[a-z]{1,9}", 0..4)),
            version in 0..5_usize,
            strict in any::<bool>(),
        ) {
            let profile = Profile { ciphers, groups, min_version: Version::ALL.get(version).copied() };
            let adherence = if strict { Adherence::Strict } else { Adherence::Legacy };
            let decided = on(None, &asks(Request::Custom(profile.clone()), adherence), &Policy::default());
            if let Some(published) = decided.published {
                prop_assert!(published.profile == profile || (!strict && published.profile == Profile::baseline()));
            }
        }
    }
}
