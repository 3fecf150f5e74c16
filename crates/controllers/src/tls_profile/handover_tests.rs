use k8s_openapi::api::apps::v1::Deployment;
use paddock_tls_profile::{Contract, Generation, KeyKind, Named, Profile, Tls13Policy, files};
use serde_json::{Value, json};

use super::*;
use crate::tls_profile::follower::HASH;

fn key() -> Workload {
    Workload { namespace: "apps".into(), kind: WorkloadKind::Deployment, name: "w".into() }
}

fn published(profile: Profile, generation: u64) -> Published {
    let contract = Contract { generation, profile_hash: Some(profile.hash()), ..Contract::baseline("") };
    Published { contract, profile, overrides: Vec::new() }
}

fn modern() -> Published {
    published(Named::Modern.profile(Generation::C), 1)
}

fn pod(name: &str, hash: Option<&str>, created: &str) -> Arc<Value> {
    let annotations = hash.map_or(json!({}), |hash| json!({ HASH: hash }));
    Arc::new(json!({"metadata": {
        "name": name, "namespace": "apps", "annotations": annotations, "creationTimestamp": created,
    }, "status": {"phase": "Running"}}))
}

/// A follower whose files are there as `published` has them.
fn seen(published: &Published, reload: Reload, pods: Vec<Arc<Value>>) -> Seen {
    let annotations = json!({"paddock.dev/tls-profile-reload": if reload == Reload::Hot { "Hot" } else { "Roll" }});
    let template = json!({
        "paddock.dev/tls-profile-hash": published.profile.hash(),
        "paddock.dev/tls-decision-hash": published.contract.decision.hash(),
    });
    let object = json!({
        "metadata": {
            "name": "w", "namespace": "apps", "uid": "u", "labels": {FOLLOW: "follow"}, "annotations": annotations,
        },
        "spec": {"replicas": 3, "template": {"metadata": {"annotations": template}}},
    });
    let follower = Follower::read(&key(), &object).unwrap();
    let config_map = json!({"data": published.files(&key().to_string())});
    Seen {
        object: Arc::new(object),
        follower,
        published: Some(published.clone()),
        replaces: None,
        config_map: Some(Arc::new(config_map)),
        claims: Vec::new(),
        was_handed: true,
        pods,
        guard: Guard::Others,
        behind: None,
        contested: false,
        since: None,
        answers: Answers::new(),
    }
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

#[test]
fn tls_f17_pods_are_told_apart_by_what_they_were_started_with() {
    let published = modern();
    let hash = published.profile.hash();
    let pods = vec![pod("new", Some(&hash), "3"), pod("old", Some("before"), "2"), pod("older", None, "1")];
    let (_, standing) = plan(&key(), &seen(&published, Reload::Roll, pods), at(0)).unwrap();
    assert_eq!((standing.current, standing.old, standing.unknown), (1, 2, 0));
    assert_eq!((standing.oldest_old.as_deref(), standing.rolled_out), (Some("older"), false));
}

#[test]
fn tls_f17_a_pod_that_cannot_start_is_not_current_by_its_annotation() {
    let published = modern();
    let mut pending = (*pod("new", Some(&published.profile.hash()), "1")).clone();
    pending["status"]["phase"] = "Pending".into();
    let (_, standing) = plan(&key(), &seen(&published, Reload::Roll, vec![Arc::new(pending)]), at(0)).unwrap();
    assert_eq!((standing.current, standing.old, standing.unknown), (0, 0, 1));
}

#[test]
fn tls_f13_files_that_are_deleted_are_told_of_and_files_that_never_were_are_not() {
    let told = |was_handed| {
        let seen = Seen { config_map: None, was_handed, ..seen(&modern(), Reload::Roll, Vec::new()) };
        plan(&key(), &seen, at(0)).unwrap().0.events.len()
    };
    assert_eq!((told(true), told(false)), (1, 0));
}

#[test]
fn tls_f16_what_was_handed_to_a_pod_is_not_yet_what_it_serves() {
    let published = modern();
    let pods = vec![pod("w", Some(&published.profile.hash()), "1")];
    let (_, standing) = plan(&key(), &seen(&published, Reload::Hot, pods), at(0)).unwrap();
    assert_eq!((standing.current, standing.old, standing.unknown), (0, 0, 1));
}

#[test]
fn tls_f17_a_roll_that_makes_no_end_is_stalled() {
    let published = modern();
    let at_minute = |minute| {
        let seen = Seen { since: Some(at(0)), ..seen(&published, Reload::Roll, vec![pod("old", None, "1")]) };
        plan(&key(), &seen, at(minute)).unwrap()
    };
    let (plan, standing) = at_minute(9);
    assert_eq!((standing.remark, plan.look_again), (None, Some(at(10))), "it is looked at again in time");
    assert_eq!(at_minute(10).1.remark.map(|(reason, _)| reason), Some("Stalled"));
}

#[test]
fn tls_f25_what_is_not_known_of_the_platform_is_not_said_to_operands() {
    let mut published = modern();
    let template = json!({"spec": {"containers": [{"name": "c"}]}});
    let says = |published: &Published| platform_of(&template, published).first().map(|c| c["env"][0]["value"].clone());
    assert_eq!(says(&published), None);
    for (known, value) in [(Known::Unknown, None), (Known::Yes, Some("true")), (Known::No, Some("false"))] {
        published.contract.platform.insert("scc".to_owned(), known);
        assert_eq!(says(&published), value.map(Value::from));
    }
}

#[test]
fn groups_that_nmstate_has_no_word_for_are_told_and_never_leave_it_without_any() {
    let with = |groups: &[&str]| {
        let groups = groups.iter().map(|name| (*name).to_owned()).collect();
        let profile = Profile { groups: Some(groups), ..Profile::baseline() };
        let published = published(profile, 1);
        let mut seen = seen(&published, Reload::Roll, Vec::new());
        seen.follower = seen.follower.map(|follower| Follower { format: Format::Nmstate, ..follower });
        plan(&key(), &seen, at(0)).unwrap()
    };
    let (some, standing) = with(&["X25519", "SecP256r1MLKEM768"]);
    assert_eq!((some.apply.len(), standing.remark.map(|(reason, _)| reason)), (1, Some("GroupsLeftOut")));
    let (none, standing) = with(&["SecP256r1MLKEM768"]);
    assert_eq!((none.apply.len(), standing.remark.map(|(reason, _)| reason)), (0, Some("NotExpressible")));
}

fn answered(seen: verification::Seen) -> Answers {
    let asked = verification::Asked { hash: modern().profile.hash(), at: at(0), seen, keys: Vec::new() };
    [("uid-of-w".to_owned(), asked)].into()
}

#[test]
fn a_handshake_counts_for_more_than_an_annotation() {
    let published = modern();
    let of = |answer: verification::Seen| {
        let mut running = (*pod("w", Some(&published.profile.hash()), "1")).clone();
        running["metadata"]["uid"] = "uid-of-w".into();
        let seen = Seen { answers: answered(answer), ..seen(&published, Reload::Hot, vec![Arc::new(running)]) };
        let standing = plan(&key(), &seen, at(0)).unwrap().1;
        (standing.current, standing.old, standing.unknown)
    };
    assert_eq!(of(verification::Seen::Holds(String::new())), (1, 0, 0));
    assert_eq!(of(verification::Seen::Differs(String::new())), (0, 1, 0));
    assert_eq!(of(verification::Seen::Unreachable(String::new())), (0, 0, 1));
}

#[test]
fn who_is_seen_not_to_follow_its_files_rolls_after_three_minutes_but_a_node_agent_never() {
    let published = modern();
    let rolls = |minutes: i64, is_agent: bool| {
        let mut running = (*pod("w", Some(&published.profile.hash()), "1")).clone();
        running["metadata"]["uid"] = "uid-of-w".into();
        let mut seen = seen(&published, Reload::Hot, vec![Arc::new(running)]);
        let mut object = (*seen.object).clone();
        object["metadata"]["annotations"][HASH] = published.profile.hash().into();
        object["spec"]["template"]["metadata"]["annotations"] = json!({});
        seen.object = Arc::new(object);
        seen.answers = answered(verification::Seen::Differs("TLS 1.2".into()));
        seen.since = Some(at(0));
        seen.follower = seen.follower.map(|follower| Follower { is_agent, ..follower });
        plan(&key(), &seen, at(minutes)).unwrap().0.acts.len()
    };
    assert_eq!((rolls(2, false), rolls(3, false), rolls(30, true)), (0, 1, 0));
}

/// Every order of events between a decision and what a pod serves, with a crash of the operator after each of its writes, somebody who
/// tampers and a kubelet that is behind.
mod model {
    use std::collections::{BTreeSet, VecDeque};

    use super::*;

    /// What nobody decided.
    const TAMPERED: u8 = 9;
    /// Decisions one after the other.
    const LAST: u8 = 2;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    struct State {
        decided: u8,
        map: Option<u8>,
        template: Option<u8>,
        /// What the pod's volume holds, and what its annotation says.
        file: Option<u8>,
        annotation: Option<u8>,
        /// What others may still do.
        mischief: u8,
    }

    #[derive(Clone, Copy, Debug)]
    enum Write {
        Map,
        Template,
        Annotation,
    }

    fn decision(version: u8) -> Published {
        let named = if version == 1 { Named::Modern } else { Named::Intermediate };
        let profile = Profile { groups: Some(vec![format!("X{version}")]), ..named.profile(Generation::C) };
        published(profile, u64::from(version))
    }

    fn hash(version: u8) -> String {
        decision(version).profile.hash()
    }

    impl State {
        fn seen(&self, reload: Reload) -> Seen {
            let pod = pod("w-abc-1", self.annotation.map(hash).as_deref(), "1");
            let mut seen = seen(&decision(self.decided), reload, vec![pod]);
            let mut object = (*seen.object).clone();
            let annotations = self.template.map_or(
                json!({}),
                |version| json!({HASH: hash(version), DECISION: decision(version).contract.decision.hash()}),
            );
            object["spec"]["template"]["metadata"]["annotations"] = annotations;
            if let (Reload::Hot, Some(version)) = (reload, self.template) {
                object["metadata"]["annotations"][HASH] = hash(version).into();
            }
            seen.object = Arc::new(object);
            seen.config_map = self.map.map(|version| {
                let data = match version {
                    TAMPERED => [(files::PROFILE.to_owned(), "tampered".to_owned())].into(),
                    version => decision(version).files(&key().to_string()),
                };
                Arc::new(json!({ "data": data }))
            });
            seen
        }

        /// The operator's next writes, as the engine would send them.
        fn writes(&self, reload: Reload) -> Vec<Write> {
            let (plan, _) = plan(&key(), &self.seen(reload), at(0)).unwrap();
            let mut writes = Vec::new();
            if self.map != Some(self.decided) {
                assert!(!plan.apply.is_empty(), "{self:?}");
                writes.push(Write::Map);
            }
            for act in plan.acts.iter().flatten() {
                let workload = act.target().kind == Kind::of::<Deployment>();
                writes.push(if workload { Write::Template } else { Write::Annotation });
            }
            writes
        }

        fn after(mut self, writes: &[Write]) -> Self {
            for write in writes {
                match write {
                    Write::Map => self.map = Some(self.decided),
                    Write::Template => self.template = Some(self.decided),
                    Write::Annotation => self.annotation = Some(self.decided),
                }
            }
            self
        }

        fn next(&self, reload: Reload) -> Vec<Self> {
            let mut next = Vec::new();
            let mut step = |change: &dyn Fn(&mut Self)| {
                let mut state = *self;
                change(&mut state);
                next.push(state);
            };
            let writes = self.writes(reload);
            for done in 1..=writes.len() {
                step(&|state| *state = state.after(&writes[..done]));
            }
            step(&|state| state.file = state.map.or(state.file));
            if reload == Reload::Roll && self.annotation != self.template {
                step(&|state| (state.annotation, state.file) = (state.template, state.map));
                // Its kubelet had another pod of the map, and its older content.
                step(&|state| state.annotation = state.template);
            }
            if self.decided < LAST {
                step(&|state| state.decided += 1);
            }
            if let Some(left) = self.mischief.checked_sub(1) {
                step(&|state| (state.map, state.mischief) = (Some(TAMPERED), left));
                step(&|state| (state.map, state.mischief) = (None, left));
                step(&|state| (state.template, state.mischief) = (None, left));
            }
            next
        }

        /// What comes of it when everybody goes on with their work and nobody does mischief.
        fn end(mut self, reload: Reload) -> Self {
            for _ in 0..8 {
                self = self.after(&self.writes(reload));
                self.file = self.map.or(self.file);
                if reload == Reload::Roll {
                    self.annotation = self.template;
                }
            }
            self
        }
    }

    fn explored(reload: Reload) -> BTreeSet<State> {
        let first = State { mischief: 1, ..State::default() };
        let mut known: BTreeSet<State> = [first].into();
        let mut queue: VecDeque<State> = [first].into();
        while let Some(state) = queue.pop_front() {
            queue.extend(state.next(reload).into_iter().filter(|next| known.insert(*next)));
        }
        known
    }

    #[test]
    fn tls_f15_whatever_happens_pods_come_to_serve_what_was_decided() {
        for reload in [Reload::Roll, Reload::Hot] {
            let states = explored(reload);
            assert!(states.len() > 50, "{} states", states.len());
            for state in states {
                let end = state.end(reload);
                let now = Some(state.decided);
                assert_eq!(
                    (end.map, end.template, end.file, end.annotation),
                    (now, now, now, now),
                    "{reload:?} {state:?}"
                );
                assert_eq!(end.writes(reload).len(), 0, "a settled world is silent: {state:?}");
            }
        }
    }

    #[test]
    fn tls_d01_no_template_and_no_pod_is_told_of_files_that_are_not_there() {
        for state in explored(Reload::Roll).into_iter().chain(explored(Reload::Hot)) {
            for reload in [Reload::Roll, Reload::Hot] {
                let told = plan(&key(), &state.seen(reload), at(0)).unwrap().0.acts.iter().flatten().count() > 0;
                assert!(!told || state.map == Some(state.decided), "{state:?}");
            }
        }
    }
}

/// A Roll to a profile for ECDSA keys alone, of a pod that runs, was never asked, or was seen with such a key.
fn to_ecdsa_alone(key_seen: Option<KeyKind>, tls13: Tls13Policy, since: Option<Timestamp>) -> (Plan, Standing) {
    let ciphers = Some(vec!["ECDHE-ECDSA-AES128-GCM-SHA256".to_owned()]);
    let mut published = published(Profile { ciphers, ..Profile::baseline() }, 2);
    published.contract.decision.tls13 = tls13;
    let mut running = (*pod("w", Some("before"), "1")).clone();
    running["metadata"]["uid"] = "uid-of-w".into();
    running["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
    let mut seen = Seen { since, ..seen(&published, Reload::Roll, vec![Arc::new(running)]) };
    let mut object = (*seen.object).clone();
    object["spec"]["template"]["metadata"]["annotations"][HASH] = "before".into();
    seen.object = Arc::new(object);
    seen.follower = seen.follower.map(|follower| Follower { ports: vec![8443], ..follower });
    if let Some(kind) = key_seen {
        let differs = verification::Seen::Differs(String::new());
        seen.answers = answered(differs);
        seen.answers.values_mut().for_each(|asked| asked.keys = vec![kind]);
    }
    plan(&key(), &seen, at(0)).unwrap()
}

fn events(plan: &Plan) -> Vec<&str> {
    plan.events.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn tls_f20_a_roll_waits_until_somebody_has_looked_at_the_keys() {
    let (plan, standing) = to_ecdsa_alone(None, Tls13Policy::Platform, None);
    assert_eq!((plan.acts.len(), standing.remark.unwrap().0), (0, "WaitingForKeys"));
    assert_eq!(plan.look_again, at(0).checked_add(KEYS_WITHIN).ok());
    let (plan, _) = to_ecdsa_alone(None, Tls13Policy::Platform, Some(at(-1)));
    assert_eq!(plan.acts.len(), 1, "not for ever");
}

#[test]
fn tls_f20_tls_d16_a_key_that_leaves_tls_1_3_alone_is_told_of_before_the_roll() {
    let (plan, standing) = to_ecdsa_alone(Some(KeyKind::Rsa), Tls13Policy::Platform, None);
    assert_eq!((plan.acts.len(), events(&plan)), (1, vec!["TLSProfileKeyUnfit", "TLSProfileRolling"]));
    assert!(standing.unfit.unwrap().contains("an RSA key"));
    let (plan, standing) = to_ecdsa_alone(Some(KeyKind::Ecdsa), Tls13Policy::Platform, None);
    assert_eq!((events(&plan), standing.unfit), (vec!["TLSProfileRolling"], None));
}

#[test]
fn tls_f20_tls_d16_pods_do_not_roll_to_what_their_key_cannot_serve() {
    let (plan, standing) = to_ecdsa_alone(Some(KeyKind::Rsa), Tls13Policy::Strict, Some(at(-1)));
    assert_eq!((plan.acts.len(), plan.apply.len(), standing.rolled_out), (0, 0, false));
    assert_eq!((events(&plan), standing.remark.unwrap().0), (vec!["TLSProfileNotFollowed"], "KeyUnfit"));
}
