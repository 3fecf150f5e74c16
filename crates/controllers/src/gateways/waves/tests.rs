use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn policy(count: u32, soak: i64) -> RolloutPolicy {
    RolloutPolicy {
        max_unavailable: Share::Count(count),
        soak: SignedDuration::from_secs(soak),
        ..RolloutPolicy::default()
    }
}

fn waiting(key: &str) -> Member {
    Member {
        key: key.to_owned(),
        canary: false,
        waiting: Some(Waiting { revision: "new".to_owned(), wave: "wave".to_owned(), edited: false }),
        wave: String::new(),
        stage: Stage::Settled,
    }
}

/// It waits for an image that its author chose.
fn edited(key: &str, image: &str) -> Member {
    let waiting_for = Waiting { revision: "new".to_owned(), wave: image.to_owned(), edited: true };
    Member { waiting: Some(waiting_for), ..waiting(key) }
}

/// It took its part of `wave`.
fn took(key: &str, wave: &str, stage: Stage) -> Member {
    Member { waiting: None, wave: wave.to_owned(), stage, ..waiting(key) }
}

fn keys(decision: &Decision) -> Vec<&str> {
    decision.admitted.iter().map(|(key, _)| key.as_str()).collect()
}

fn decide(fleet: &[Member], policy: &RolloutPolicy) -> Decision {
    admit(at(0), fleet, &BTreeSet::new(), policy, None)
}

#[test]
fn gw_w08_a_gateway_that_is_scaled_to_nothing_takes_no_place() {
    let record = |since| Record { wave: Some("wave".to_owned()), since, ..Record::default() };
    let stages = [None, Some(at(0))].map(|since| Member::of("a", &record(since)).stage);
    assert_eq!(stages, [Stage::Settled, Stage::Updating]);
}

#[test]
fn gw_w08_so_many_at_once_and_no_more() {
    let fleet: Vec<_> = ["a", "b", "c", "d"].map(waiting).into();
    assert_eq!(keys(&decide(&fleet, &policy(2, 0))), ["a", "b"]);
}

#[test]
fn gw_w08_canaries_go_first_and_have_to_prove_themselves() {
    let mut fleet: Vec<_> = ["a", "b", "c"].map(waiting).into();
    fleet[2].canary = true;
    assert_eq!(keys(&decide(&fleet, &policy(3, 60))), ["c"]);
    fleet[2] = Member { canary: true, ..took("c", "wave", Stage::Ready(at(-59))) };
    let soaking = decide(&fleet, &policy(3, 60));
    assert_eq!((keys(&soaking), soaking.look_again), (vec![], Some(at(1))));
    fleet[2].stage = Stage::Ready(at(-60));
    assert_eq!(keys(&decide(&fleet, &policy(3, 60))), ["a", "b"]);
}

#[test]
fn gw_w08_failure_pauses_until_it_is_acknowledged() {
    let mut fleet: Vec<_> = ["a", "b"].map(waiting).into();
    fleet[0] = took("a", "wave", Stage::Failed);
    let paused = decide(&fleet, &policy(1, 0));
    assert_eq!((paused.phase, keys(&paused), paused.failed.as_slice()), (Phase::Paused, vec![], &["a".to_owned()][..]));
    let accepted = ("wave".to_owned(), 1);
    let resumed = admit(at(0), &fleet, &BTreeSet::new(), &policy(1, 0), Some(&accepted));
    assert_eq!((resumed.phase, keys(&resumed)), (Phase::Rolling, vec!["b"]));
}

#[test]
fn gw_w08_newer_revision_resumes_a_paused_wave() {
    let record = |wave: &str| Record {
        waiting: Some(Waiting { revision: "newest".to_owned(), wave: wave.to_owned(), edited: false }),
        failed: Some(super::super::rollout::Failed {
            revision: "bad".to_owned(),
            own: String::new(),
            wave: Some("wave-1".to_owned()),
            at: at(0),
            why: String::new(),
            counts: true,
        }),
        ..Record::default()
    };
    let paused = decide(&[Member::of("a", &record("wave-1"))], &policy(1, 0));
    let resumed = decide(&[Member::of("a", &record("wave-2"))], &policy(1, 0));
    assert_eq!((paused.phase, keys(&resumed)), (Phase::Paused, vec!["a"]));
}

#[test]
fn gw_w08_failure_with_an_image_pauses_that_image_alone() {
    let fleet = [took("a", "bad", Stage::Failed), edited("b", "bad"), edited("c", "fine"), waiting("d")];
    let decision = decide(&fleet, &policy(9, 0));
    assert_eq!((keys(&decision), &decision.paused), (vec!["c", "d"], &Some(("bad".to_owned(), 1))));
}

#[test]
fn gw_w08_what_people_edit_comes_before_what_the_platform_changes() {
    let fleet = [waiting("a"), edited("b", "image")];
    assert_eq!(keys(&decide(&fleet, &policy(1, 0))), ["b"]);
}

#[test]
fn gw_w08_canaries_of_one_wave_hold_up_no_other() {
    let canary = Member { canary: true, ..waiting("a") };
    assert_eq!(keys(&decide(&[canary, edited("b", "image"), waiting("c")], &policy(9, 0))), ["a", "b"]);
}

#[test]
fn who_had_a_turn_keeps_it() {
    let fleet: Vec<_> = ["a", "b"].map(waiting).into();
    let before = BTreeSet::from([("b".to_owned(), "new".to_owned())]);
    assert_eq!(keys(&admit(at(0), &fleet, &before, &policy(1, 0), None)), ["b"]);
}

#[test]
fn gateway_on_its_way_takes_a_newer_revision_in_its_own_place() {
    let mut fleet: Vec<_> = ["a", "b"].map(waiting).into();
    fleet[1].stage = Stage::Updating;
    assert_eq!(keys(&decide(&fleet, &policy(1, 0))), ["b"]);
}

#[test]
fn shares_are_counts_or_percentages() {
    for (text, of) in [("1", Some(1)), ("25%", Some(10)), ("1%", Some(1)), ("100%", Some(40)), ("0", None)] {
        assert_eq!(text.parse::<Share>().ok().map(|share| share.of(40)), of, "{text}");
    }
    for text in ["", "%", "0%", "101%", "-1", "+1", "1.5%", "99999999999"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
}

/// A fleet in which each gateway does what the script says.
struct Play {
    now: i64,
    fleet: Vec<Member>,
    /// How long each takes to be ready; `None` fails.
    takes: Vec<Option<i64>>,
    begun: Vec<Option<i64>>,
    before: BTreeSet<Leave>,
    most_at_once: usize,
}

impl Play {
    fn new(takes: Vec<Option<i64>>, canaries: &[bool]) -> Self {
        let fleet = (0..takes.len()).map(|n| Member {
            canary: canaries.get(n).copied().unwrap_or(false),
            ..waiting(&format!("gateway-{n:03}"))
        });
        Self {
            now: 0,
            fleet: fleet.collect(),
            begun: vec![None; takes.len()],
            takes,
            before: BTreeSet::new(),
            most_at_once: 0,
        }
    }

    /// One decision; everybody admitted begins; a second passes.
    fn step(&mut self, policy: &RolloutPolicy, acknowledged: usize) -> Decision {
        let accepted = ("wave".to_owned(), acknowledged);
        let decision = admit(at(self.now), &self.fleet, &self.before, policy, Some(&accepted));
        self.before.clone_from(&decision.admitted);
        for (n, member) in self.fleet.iter_mut().enumerate() {
            if decision.admitted.iter().any(|(key, _)| *key == member.key) {
                *member = Member { canary: member.canary, ..took(&member.key, "wave", Stage::Updating) };
                self.begun[n] = Some(self.now);
            }
        }
        let busy = self.fleet.iter().filter(|member| member.is_busy(at(self.now), policy)).count();
        self.most_at_once = self.most_at_once.max(busy);
        self.now += 1;
        for (n, member) in self.fleet.iter_mut().enumerate() {
            if let (Stage::Updating, Some(begun)) = (&member.stage, self.begun[n]) {
                match self.takes[n] {
                    Some(takes) if self.now >= begun + takes => member.stage = Stage::Ready(at(self.now)),
                    None => member.stage = Stage::Failed,
                    Some(_) => {}
                }
            }
        }
        decision
    }
}

proptest! {
    #[test]
    fn gw_w08_a_wave_without_failures_ends_and_never_takes_too_many(
        takes in proptest::collection::vec((1i64..20).prop_map(Some), 1..60),
        canaries in proptest::collection::vec(any::<bool>(), 0..60),
        count in 1u32..9,
        soak in 0i64..10,
    ) {
        let policy = policy(count, soak);
        let mut play = Play::new(takes, &canaries);
        let longest = play.fleet.len() as i64 * 32 + 10;
        while play.step(&policy, 0).phase != Phase::Settled {
            prop_assert!(play.now < longest, "no end");
        }
        prop_assert!(play.most_at_once <= count as usize);
        prop_assert!(play.begun.iter().all(Option::is_some));
    }

    #[test]
    fn gw_w08_no_more_fail_than_are_tolerated_and_on_their_way(
        takes in proptest::collection::vec(proptest::option::weighted(0.7, 1i64..5), 1..60),
        count in 1u32..9,
        tolerated in 0u32..3,
    ) {
        let policy = RolloutPolicy { tolerated_failures: tolerated, ..policy(count, 2) };
        let mut play = Play::new(takes, &[]);
        for _ in 0..600 {
            play.step(&policy, 0);
        }
        let failed = play.fleet.iter().filter(|member| member.stage == Stage::Failed).count();
        prop_assert!(failed <= (tolerated + count) as usize, "{failed}");
        let waits = play.fleet.iter().any(|member| member.waiting.is_some());
        prop_assert_eq!(waits, play.step(&policy, 0).phase == Phase::Paused);
        prop_assert!(play.most_at_once <= count as usize);
    }

    #[test]
    fn gw_w08_acknowledging_failures_brings_every_wave_to_its_end(
        takes in proptest::collection::vec(proptest::option::weighted(0.5, 1i64..5), 1..40),
        count in 1u32..5,
    ) {
        let policy = policy(count, 0);
        let mut play = Play::new(takes, &[]);
        for _ in 0..2000 {
            let failed = play.fleet.iter().filter(|member| member.stage == Stage::Failed).count();
            if play.step(&policy, failed).phase == Phase::Settled {
                break;
            }
        }
        prop_assert!(play.fleet.iter().all(|member| member.waiting.is_none()));
    }
}
