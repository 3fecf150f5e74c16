//! Where a profile can come from, and which of them counts. Pure: what was read is handed in.
//!
//! A source that cannot be read is not a source that is not there. Only one that is certainly not there makes way for the next; of
//! one that fails, the last good word is kept.

use std::fmt;

use paddock_tls_profile::{Adherence, Decision, Generation, Profile, Request, Version};
use serde_json::{Value, json};

use super::policy::Policy;

/// A place where a profile is written, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SourceKind {
    /// `APIServer/cluster` of OpenShift.
    OpenShiftApiServer,
    /// `HostedCluster` of HyperShift, on the management cluster: what one hosted cluster's own `APIServer` says.
    HostedCluster,
    /// A mounted file with `servingInfo`, as OpenShift's cluster version operator injects it.
    InjectedConfig,
    /// A ConfigMap with `profile.json`.
    ConfigMap,
    /// The policy itself.
    Inline,
    /// The operator's flags.
    Flags,
    /// Nothing is said anywhere: Intermediate.
    Builtin,
}

impl SourceKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::OpenShiftApiServer,
        Self::HostedCluster,
        Self::InjectedConfig,
        Self::ConfigMap,
        Self::Inline,
        Self::Flags,
        Self::Builtin,
    ];

    /// The name in the policy, in contracts and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OpenShiftApiServer => "OpenShiftAPIServer",
            Self::HostedCluster => "HostedCluster",
            Self::InjectedConfig => "InjectedConfig",
            Self::ConfigMap => "ConfigMap",
            Self::Inline => "Inline",
            Self::Flags => "Flags",
            Self::Builtin => "Builtin",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a source asks for, from one reading: profile and adherence belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) request: Request,
    pub(crate) adherence: Adherence,
    /// The adherence is a word that this version does not know; it counts as Strict.
    pub(crate) odd_adherence: bool,
    /// The tables of the release that the source is of; `None`: as the platform's.
    pub(crate) table: Option<Generation>,
}

/// What a source was heard to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// This.
    Wanted(Wanted),
    /// It certainly does not exist, or nobody set it up.
    Absent,
    /// Nobody could tell.
    Unreadable(String),
    /// Something that is no profile.
    Invalid(String),
}

impl Heard {
    /// Reads OpenShift's `APIServer` object. One that says nothing, and one that is missing though the kind is served, means
    /// Intermediate.
    pub(crate) fn api_server(object: Option<&Value>) -> Self {
        object.map_or_else(
            || Self::Wanted(Wanted::default()),
            |object| Self::said("APIServer cluster", &object["spec"], None),
        )
    }

    /// Reads a `HostedCluster` of HyperShift. One that says nothing means Intermediate; named profiles mean what they mean in the hosted
    /// cluster's release.
    pub(crate) fn hosted_cluster(whose: &str, object: &Value) -> Self {
        let release = object.pointer("/status/version/desired/version").and_then(Value::as_str);
        let (configuration, table) = (&object["spec"]["configuration"], release.and_then(Generation::of_release));
        for (name, part) in [("configuration", configuration), ("configuration.apiServer", &configuration["apiServer"])]
        {
            if !part.is_null() && !part.is_object() {
                return Self::Invalid(format!("{whose}: spec.{name} is no object"));
            }
        }
        Self::said(whose, &configuration["apiServer"], table)
    }

    /// Reads the spec of an `APIServer`, wherever it is written.
    fn said(whose: &str, spec: &Value, table: Option<Generation>) -> Self {
        let word = match &spec["tlsAdherence"] {
            Value::Null => None,
            Value::String(word) => Some(word.as_str()),
            other => return Self::Invalid(format!("{whose}: tlsAdherence is {other}, where a text is expected")),
        };
        let (adherence, odd_adherence) = Adherence::parse(word);
        match Request::parse(&spec["tlsSecurityProfile"]) {
            Ok(request) => Self::Wanted(Wanted { request, adherence, odd_adherence, table }),
            Err(error) => Self::Invalid(format!("{whose}: {error}")),
        }
    }

    /// Reads an injected configuration file: YAML or JSON with `servingInfo.minTLSVersion` and `servingInfo.cipherSuites`.
    pub(crate) fn injected(text: Result<Option<&str>, String>) -> Self {
        let text = match text {
            Ok(Some(text)) => text,
            Ok(None) => return Self::Absent,
            Err(error) => return Self::Unreadable(error),
        };
        let file: Value = match serde_saphyr::from_str(text) {
            Ok(file) => file,
            Err(error) => return Self::Invalid(format!("the injected configuration is no YAML: {error}")),
        };
        Self::serving_info(&file)
    }

    /// Reads a `GenericOperatorConfig`.
    fn serving_info(file: &Value) -> Self {
        let serving = &file["servingInfo"];
        if serving.is_null() {
            return Self::Unreadable("the injected configuration has no servingInfo yet".to_owned());
        }
        let profile = json!({ "ciphers": serving["cipherSuites"], "minTLSVersion": serving["minTLSVersion"] });
        Self::profile("the injected configuration", &profile.to_string())
    }

    /// Reads a `profile.json`.
    pub(crate) fn profile(whose: &str, text: &str) -> Self {
        match Profile::parse(text.as_bytes()) {
            Ok(parsed) => Self::Wanted(Wanted { request: Request::Custom(parsed.profile), ..Wanted::default() }),
            Err(error) => Self::Invalid(format!("{whose}: {error}")),
        }
    }

    /// What the policy itself says.
    pub(crate) fn inline(policy: &Policy) -> Self {
        let of = |request: &Request| Self::Wanted(Wanted { request: request.clone(), ..Wanted::default() });
        policy.profile.as_ref().map_or(Self::Absent, of)
    }
}

/// What an object says that can be a source of the profile: as the controllers would understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it asks for.
    pub request: Request,
    /// The tables of the release that it is of, where it says one.
    pub table: Option<Generation>,
    /// How the profile is judged, as far as the object says it; a `ServingPolicy` does.
    pub decision: Decision,
}

/// Reads an `APIServer` or `HostedCluster` of OpenShift, a `ServingPolicy` with a profile of its own, or a `GenericOperatorConfig`. `None`:
/// it is none of them.
///
/// # Errors
/// What is wrong with it.
pub fn said_by(object: &Value) -> Option<Result<Said, String>> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut decision = Decision::default();
    let heard = match kind {
        "APIServer" => Heard::api_server(Some(object)),
        "HostedCluster" => Heard::hosted_cluster(kind, object),
        "ServingPolicy" => match Policy::read(object) {
            Ok(policy) => {
                decision.tls13 = policy.tls13;
                decision.fips = policy.fips.unwrap_or_default();
                decision.floor = policy.floor;
                Heard::inline(&policy)
            }
            Err(wrong) => Heard::Invalid(wrong.to_string()),
        },
        _ if !object["servingInfo"].is_null() => Heard::serving_info(object),
        _ => return None,
    };
    Some(match heard {
        Heard::Wanted(Wanted { request, table, adherence, .. }) => {
            decision.adherence = adherence;
            Ok(Said { request, table, decision })
        }
        Heard::Absent => Err(format!("this {kind} has no spec.profile: the profile is where its spec.source says")),
        Heard::Unreadable(why) | Heard::Invalid(why) => Err(why),
    })
}

/// The operator's own flags for a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileFlags {
    /// `--tls-min-version`.
    pub min_version: Option<Version>,
    /// `--tls-cipher-suites`.
    pub ciphers: Option<Vec<String>>,
    /// `--tls-groups`.
    pub groups: Option<Vec<String>>,
}

impl ProfileFlags {
    pub(crate) fn heard(&self) -> Heard {
        let Self { min_version, ciphers, groups } = self.clone();
        if min_version.is_none() && ciphers.is_none() && groups.is_none() {
            return Heard::Absent;
        }
        // What a flag does not say is as the baseline has it: a raised minimum alone must not drop every suite.
        let baseline = Profile::baseline();
        let profile = Profile {
            ciphers: ciphers.or(baseline.ciphers),
            min_version: min_version.or(baseline.min_version),
            groups: groups.or(baseline.groups),
        };
        Heard::Wanted(Wanted { request: Request::Custom(profile), ..Wanted::default() })
    }
}

/// The source that counts and what it said. With no choice made: the first that is not certainly absent.
pub(crate) fn choose(chosen: Option<SourceKind>, hear: impl Fn(SourceKind) -> Heard) -> (SourceKind, Heard) {
    if let Some(kind) = chosen {
        let heard = match hear(kind) {
            Heard::Absent => Heard::Unreadable(format!("source {kind} is chosen, and there is none")),
            heard => heard,
        };
        return (kind, heard);
    }
    let first = SourceKind::ALL.into_iter().map(|kind| (kind, hear(kind))).find(|(_, heard)| *heard != Heard::Absent);
    first.unwrap_or((SourceKind::Builtin, Heard::Wanted(Wanted::default())))
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::Named;

    use super::*;

    fn named(heard: &Heard) -> &'static str {
        match heard {
            Heard::Wanted(wanted) => wanted.request.name(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tls_f07_no_object_and_an_empty_one_mean_intermediate() {
        let empty = json!({"spec": {}});
        assert_eq!([Heard::api_server(None), Heard::api_server(Some(&empty))].map(|h| named(&h)), ["Intermediate"; 2]);
    }

    #[test]
    fn tls_f26_profile_and_adherence_come_from_one_reading() {
        let object = json!({"spec": {"tlsSecurityProfile": {"type": "Modern"}, "tlsAdherence": "StrictAllComponents"}});
        let request = Request::Named(Named::Modern);
        let wanted = Wanted { request, adherence: Adherence::Strict, ..Wanted::default() };
        assert_eq!(Heard::api_server(Some(&object)), Heard::Wanted(wanted));
    }

    #[test]
    fn a_hosted_cluster_says_the_profile_for_its_own_release() {
        let heard = |configuration: Value| {
            let status = json!({"version": {"desired": {"image": "i", "version": "4.21.3"}}});
            let object = json!({"spec": {"configuration": configuration}, "status": status});
            Heard::hosted_cluster("HostedCluster a/b", &object)
        };
        let says = json!({"tlsSecurityProfile": {"type": "Old", "old": {}}, "tlsAdherence": "StrictAllComponents"});
        let request = Request::Named(Named::Old);
        let table = Some(Generation::A);
        let wanted = Wanted { request, adherence: Adherence::Strict, table, ..Wanted::default() };
        assert_eq!(heard(json!({"apiServer": says})), Heard::Wanted(wanted));
        for nothing in [json!(null), json!({}), json!({"apiServer": null}), json!({"apiServer": {"audit": {}}})] {
            assert_eq!(named(&heard(nothing.clone())), "Intermediate", "{nothing}");
        }
        assert_eq!(named(&Heard::hosted_cluster("HostedCluster a/b", &json!({}))), "Intermediate");
    }

    #[test]
    fn tls_f09_a_hosted_cluster_that_says_no_profile_is_said_to() {
        let heard = |configuration: Value| {
            Heard::hosted_cluster("HostedCluster a/b", &json!({"spec": {"configuration": configuration}}))
        };
        let told = |heard| if let Heard::Invalid(why) = heard { why } else { panic!("{heard:?}") };
        let wrong = [
            json!({"apiServer": {"tlsSecurityProfile": {"type": "Weak"}}}),
            json!({"apiServer": {"tlsAdherence": 1}}),
            json!({"apiServer": "Modern"}),
            json!([]),
        ];
        insta::assert_snapshot!(wrong.map(|one| told(heard(one))).join("\n"), @r#"
        HostedCluster a/b: type "Weak" is no profile: use Old, Intermediate, Modern or Custom
        HostedCluster a/b: tlsAdherence is 1, where a text is expected
        HostedCluster a/b: spec.configuration.apiServer is no object
        HostedCluster a/b: spec.configuration is no object
        "#);
    }

    #[test]
    fn tls_f09_what_is_no_profile_is_said_to_be_none() {
        let heard = |spec: Value| Heard::api_server(Some(&json!({ "spec": spec })));
        for spec in [
            json!({"tlsSecurityProfile": {"type": "Weak"}}),
            json!({"tlsSecurityProfile": {"type": "Custom"}}),
            json!({"tlsSecurityProfile": 1}),
            json!({"tlsAdherence": 1}),
        ] {
            assert!(matches!(heard(spec.clone()), Heard::Invalid(_)), "{spec}");
        }
    }

    #[test]
    fn the_injected_file_is_read_as_it_is_written() {
        let file = "servingInfo:\n  minTLSVersion: VersionTLS13\n  cipherSuites: [TLS_AES_128_GCM_SHA256]\n";
        let profile = Profile {
            ciphers: Some(vec!["TLS_AES_128_GCM_SHA256".to_owned()]),
            min_version: Some(Version::Tls13),
            groups: None,
        };
        let wanted = Wanted { request: Request::Custom(profile), ..Wanted::default() };
        assert_eq!(Heard::injected(Ok(Some(file))), Heard::Wanted(wanted));
        assert!(matches!(Heard::injected(Ok(Some("other: 1"))), Heard::Unreadable(_)));
        assert!(matches!(Heard::injected(Ok(Some("servingInfo: [")),), Heard::Invalid(_)));
        assert_eq!(Heard::injected(Ok(None)), Heard::Absent);
    }

    #[test]
    fn tls_f08_a_source_that_fails_does_not_make_way_for_the_next() {
        let hear = |kind| match kind {
            SourceKind::OpenShiftApiServer => Heard::Unreadable("forbidden".to_owned()),
            _ => Heard::Wanted(Wanted::default()),
        };
        assert_eq!(choose(None, hear).0, SourceKind::OpenShiftApiServer);
    }

    #[test]
    fn the_first_source_that_is_there_counts_unless_one_is_chosen() {
        let hear = |kind| match kind {
            SourceKind::Inline | SourceKind::Builtin => Heard::Wanted(Wanted::default()),
            _ => Heard::Absent,
        };
        assert_eq!(choose(None, hear).0, SourceKind::Inline);
        assert_eq!(choose(Some(SourceKind::Builtin), hear).0, SourceKind::Builtin);
        assert!(matches!(choose(Some(SourceKind::Flags), hear), (SourceKind::Flags, Heard::Unreadable(_))));
    }

    #[test]
    fn tls_d17_flags_fill_what_they_do_not_say_from_the_baseline() {
        assert_eq!(ProfileFlags::default().heard(), Heard::Absent);
        let flags = ProfileFlags { min_version: Some(Version::Tls13), ..ProfileFlags::default() };
        let Heard::Wanted(Wanted { request: Request::Custom(profile), .. }) = flags.heard() else {
            panic!("a profile")
        };
        assert_eq!(profile, Profile { min_version: Some(Version::Tls13), ..Profile::baseline() });
    }
}
