use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn policy() -> RolloutPolicy {
    RolloutPolicy { soak: SignedDuration::from_secs(30), ..RolloutPolicy::default() }
}

fn body(version: &str) -> Body {
    Body {
        image: format!("ghcr.io/nvidia/openshell/gateway:{version}"),
        version: version.to_owned(),
        database: "sqlite".to_owned(),
        config: String::new(),
        workload: json!({ "version": version }),
    }
}

/// A gateway and what the platform and its tenant want of it.
#[derive(Clone)]
struct Scene {
    now: i64,
    memory: Memory,
    revision: String,
    own: String,
    own_image: String,
    version: String,
    live: Option<String>,
    ready: bool,
    scaled_away: bool,
    objection: Option<String>,
    pods: Vec<Pod>,
    admitted: bool,
    downgrade_allowed: bool,
}

impl Scene {
    fn new() -> Self {
        Self {
            now: 0,
            memory: Memory::default(),
            revision: "a".to_owned(),
            own: "own".to_owned(),
            own_image: String::new(),
            version: "0.0.99".to_owned(),
            live: None,
            ready: false,
            scaled_away: false,
            objection: None,
            pods: Vec::new(),
            admitted: false,
            downgrade_allowed: false,
        }
    }

    /// Revision `a` runs and stayed ready.
    fn settled() -> Self {
        let mut scene = Self::new();
        scene.pass();
        scene.comes_up();
        scene
    }

    fn pass(&mut self) -> Step {
        let policy = policy();
        let body = body(&self.version);
        let wanted = Wanted { revision: &self.revision, own: &self.own, own_image: &self.own_image, body: &body };
        let found = Found {
            exists: self.live.is_some(),
            revision: self.live.as_deref(),
            rolled_out: self.ready && !self.scaled_away,
            scaled_away: self.scaled_away,
            objection: self.objection.clone(),
            pods: &self.pods,
            has_node: true,
        };
        let turn = Turn {
            admitted: self.admitted,
            wave: "wave",
            downgrade_allowed: self.downgrade_allowed,
            canary: false,
            policy: &policy,
        };
        let step = decide(at(self.now), self.memory.clone(), wanted, found, turn);
        if step.apply != Apply::Untouched {
            if self.live.as_ref() != Some(&step.revision) {
                self.ready = false;
            }
            self.live = Some(step.revision.clone());
        }
        self.memory = step.memory.clone();
        step
    }

    fn comes_up(&mut self) {
        self.ready = true;
        self.pods.clear();
        self.pass();
        self.now += 30;
        self.pass();
    }

    fn pod_fails(&mut self, why: &str) {
        self.pods = vec![Pod {
            name: "openshell-gateway-0".to_owned(),
            uid: "uid".to_owned(),
            revision: self.live.clone(),
            ready: false,
            terminating: false,
            failure: Some(why.to_owned()),
            waiting: None,
            image_id: String::new(),
        }];
    }

    /// The platform wants another revision.
    fn platform(&mut self, revision: &str, version: &str) {
        revision.clone_into(&mut self.revision);
        version.clone_into(&mut self.version);
    }
}

#[test]
fn new_gateway_needs_no_turn() {
    let mut scene = Scene::new();
    let step = scene.pass();
    assert_eq!((step.apply, step.progress), (Apply::Wanted, Progress::Progressing));
}

#[test]
fn gw_w22_change_of_the_platform_waits_for_its_turn_and_keeps_what_runs() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    let step = scene.pass();
    assert_eq!(step.progress, Progress::Waiting { ready: true });
    assert_eq!(step.apply, Apply::Kept(Box::new(body("0.0.99"))));
    scene.admitted = true;
    assert_eq!(scene.pass().apply, Apply::Wanted);
}

#[test]
fn gw_w22_own_edit_needs_no_turn() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.99");
    scene.own = "edited".to_owned();
    assert_eq!(scene.pass().apply, Apply::Wanted);
    assert_eq!(scene.memory.record.wave, None);
}

#[test]
fn gw_w08_an_image_of_its_own_waits_for_its_turn_in_the_wave_of_that_image() {
    let mut scene = Scene::settled();
    (scene.own, scene.own_image) = ("edit".to_owned(), "image".to_owned());
    scene.platform("b", "0.0.100");
    assert!(matches!(scene.pass().progress, Progress::Waiting { ready: true }));
    let image = body("0.0.100").image;
    let waiting = Waiting { revision: "b".to_owned(), wave: image.clone(), edited: true };
    assert_eq!(scene.memory.record.waiting, Some(waiting));
    scene.admitted = true;
    assert_eq!((scene.pass().apply, scene.memory.record.wave.clone()), (Apply::Wanted, Some(image)));
    assert_eq!((scene.memory.record.own_image.as_str(), &scene.memory.record.waiting), ("image", &None));
}

#[test]
fn an_image_of_its_own_for_what_does_not_run_needs_no_turn() {
    let mut scene = Scene::settled();
    scene.ready = false;
    (scene.own, scene.own_image) = ("edit".to_owned(), "image".to_owned());
    scene.platform("b", "0.0.100");
    assert_eq!((scene.pass().apply, scene.memory.record.wave.as_deref()), (Apply::Wanted, None));
}

#[test]
fn gw_w08_an_edit_that_takes_a_change_of_the_platform_along_counts_in_its_wave() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.pass();
    scene.own = "edit".to_owned();
    scene.pass();
    assert_eq!(scene.memory.record.wave.as_deref(), Some("wave"));
    scene.pod_fails("no");
    scene.pass();
    scene.own = "another".to_owned();
    scene.platform("c", "0.0.100");
    scene.pass();
    assert_eq!((scene.memory.record.wave.as_deref(), &scene.memory.record.failed), (Some("wave"), &None));
}

#[test]
fn gw_w22_deleted_workload_comes_back_as_it_was_while_it_waits() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.live = None;
    let step = scene.pass();
    assert_eq!((step.apply, step.revision.as_str()), (Apply::Kept(Box::new(body("0.0.99"))), "a"));
}

#[test]
fn gw_w22_workload_of_an_unknown_revision_is_left_alone_until_its_turn() {
    let mut scene = Scene::new();
    scene.live = Some("unknown".to_owned());
    scene.ready = true;
    let step = scene.pass();
    assert_eq!((step.apply, step.progress), (Apply::Untouched, Progress::Waiting { ready: true }));
    scene.admitted = true;
    assert_eq!(scene.pass().apply, Apply::Wanted);
}

#[test]
fn gw_w08_failed_revision_goes_back_to_the_last_good_one_once() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.pod_fails("ImagePullBackOff");
    let back = scene.pass();
    assert!(back.rolls_back);
    assert_eq!((back.apply, back.revision.as_str()), (Apply::Kept(Box::new(body("0.0.99"))), "a"));
    scene.ready = true;
    let after = scene.pass();
    assert!(!after.rolls_back);
    assert_eq!(after.progress, Progress::RolledBack { why: "ImagePullBackOff".to_owned(), ready: true });
}

#[test]
fn gw_w08_last_ready_revision_is_gone_back_to_though_it_had_no_time_to_prove_itself() {
    let mut scene = Scene::new();
    scene.pass();
    scene.ready = true;
    scene.pass();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.pod_fails("ImagePullBackOff");
    let back = scene.pass();
    assert_eq!((back.rolls_back, back.revision.as_str()), (true, "a"));
}

#[test]
fn gw_w08_failed_revision_is_not_tried_again_until_something_changes() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.pod_fails("CrashLoopBackOff");
    scene.pass();
    for _ in 0..5 {
        scene.now += 3600;
        assert_eq!(scene.pass().revision, "a");
    }
    let mut edited = scene.clone();
    edited.own = "edited".to_owned();
    assert_eq!(edited.pass().revision, "b");
    scene.platform("c", "0.0.101");
    assert_eq!(scene.pass().revision, "c");
}

#[test]
fn gw_w08_never_ready_is_a_failure_when_the_deadline_is_over() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.now += 599;
    let step = scene.pass();
    assert_eq!((step.progress, step.look_again), (Progress::Progressing, Some(at(scene.now + 1))));
    scene.now += 1;
    assert!(scene.pass().rolls_back);
}

#[test]
fn gw_w08_crash_during_the_proof_goes_back_too() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.ready = true;
    scene.pass();
    scene.now += 10;
    scene.ready = false;
    scene.pod_fails("CrashLoopBackOff");
    assert!(scene.pass().rolls_back);
}

#[test]
fn crash_of_a_proved_revision_is_no_failed_rollout() {
    let mut scene = Scene::settled();
    scene.ready = false;
    scene.pod_fails("CrashLoopBackOff");
    scene.now += 3600;
    let step = scene.pass();
    assert_eq!((step.rolls_back, step.progress), (false, Progress::Progressing));
}

#[test]
fn first_revision_that_fails_is_reported_and_stays() {
    let mut scene = Scene::new();
    scene.pass();
    scene.pod_fails("ImagePullBackOff");
    let step = scene.pass();
    assert_eq!((step.apply, step.progress), (Apply::Wanted, Progress::Stuck { why: "ImagePullBackOff".to_owned() }));
    assert!(!scene.memory.record.failed.as_ref().unwrap().counts);
    scene.comes_up();
    assert_eq!(scene.memory.record.failed, None);
}

#[test]
fn tenants_own_failed_edit_counts_against_no_wave() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.99");
    scene.own = "edited".to_owned();
    scene.pass();
    scene.pod_fails("CrashLoopBackOff");
    assert!(scene.pass().rolls_back);
    assert_eq!(scene.memory.record.failed.as_ref().unwrap().wave, None);
}

#[test]
fn gw_w08_older_version_is_refused_where_a_newer_one_ran() {
    let mut scene = Scene::settled();
    scene.platform("older", "0.0.98");
    scene.own = "edited".to_owned();
    let step = scene.pass();
    let refused = Progress::DowngradeRefused { from: "0.0.99".to_owned(), to: "0.0.98".to_owned() };
    assert_eq!((step.revision.as_str(), step.progress), ("a", refused));
    scene.downgrade_allowed = true;
    assert_eq!(scene.pass().revision, "older");
}

#[test]
fn version_of_a_failed_rollout_is_no_version_that_ran() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.pod_fails("CrashLoopBackOff");
    scene.pass();
    scene.platform("c", "0.0.99");
    assert_eq!(scene.pass().revision, "c");
}

#[test]
fn gw_w17_what_was_decided_holds_when_the_process_dies_before_it_is_done() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    // The anchor was written, the workload was not, and the turn is somebody else's by now.
    scene.live = Some("a".to_owned());
    scene.ready = true;
    scene.admitted = false;
    assert_eq!(scene.pass().apply, Apply::Wanted);
}

#[test]
fn gw_w08_a_revision_that_does_not_serve_is_no_good_one() {
    let mut scene = Scene::new();
    scene.objection = Some("it says that it does not work".to_owned());
    scene.pass();
    scene.comes_up();
    assert_eq!(scene.memory.record.good, "");
    scene.objection = None;
    scene.comes_up();
    assert_eq!(scene.memory.record.good, "a");
}

#[test]
fn gw_w08_a_revision_that_is_ready_and_does_not_serve_is_gone_back_from() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.admitted = true;
    scene.pass();
    scene.objection = Some("it says that it does not work".to_owned());
    scene.comes_up();
    assert_eq!(scene.memory.record.applied, "b");
    scene.now += 600;
    let step = scene.pass();
    assert_eq!((step.revision.as_str(), step.rolls_back), ("a", true));
    assert!(
        matches!(step.progress, Progress::RolledBack { why, .. } if why.starts_with("does not serve after 10 min"))
    );
}

#[test]
fn gw_w08_a_revision_that_nobody_ran_proves_nothing_and_fails_nothing() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    (scene.admitted, scene.scaled_away) = (true, true);
    scene.pass();
    scene.comes_up();
    scene.now += 6_000;
    assert_eq!((scene.pass().rolls_back, scene.memory.record.good.as_str()), (false, "a"));
    scene.scaled_away = false;
    (scene.ready, scene.now) = (false, scene.now + 60);
    assert!(!scene.pass().rolls_back, "its time begins when it is to run");
    scene.comes_up();
    assert_eq!(scene.memory.record.good, "b");
}

#[test]
fn too_large_a_revision_is_applied_and_not_remembered() {
    let mut scene = Scene::settled();
    scene.memory.bodies.get_mut("a").unwrap().config = "x".repeat(MAX_BODY);
    let memory = scene.memory.clone();
    let huge = memory.bodies["a"].clone();
    let wanted = Wanted { revision: "b", own: "edited", own_image: "", body: &huge };
    let found = Found {
        exists: true,
        revision: Some("a"),
        rolled_out: true,
        scaled_away: false,
        objection: None,
        pods: &[],
        has_node: true,
    };
    let policy = policy();
    let turn = Turn { admitted: false, wave: "", downgrade_allowed: false, canary: false, policy: &policy };
    let step = decide(at(99), memory, wanted, found, turn);
    assert_eq!(step.apply, Apply::Wanted);
    assert!(!step.memory.bodies.contains_key("b"));
}

#[test]
fn memory_is_read_as_it_was_written() {
    let mut scene = Scene::settled();
    scene.platform("b", "0.0.100");
    scene.pass();
    let data: serde_json::Map<String, Value> =
        scene.memory.to_data().into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect();
    assert_eq!(Memory::read(&json!({ "data": data })), scene.memory);
    assert_eq!(Memory::read(&json!({ "data": { "rollout": "{", "revisions": "[]" } })), Memory::default());
}

proptest! {
    /// Whatever happens, a pass that finds what the pass before left decides nothing new, and at most two revisions are
    /// remembered.
    #[test]
    fn settled_decisions_stay(acts in proptest::collection::vec(0u8..10, 0..40)) {
        let mut scene = Scene::new();
        for act in acts {
            match act {
                0 => scene.platform("b", "0.0.100"),
                1 => scene.platform("c", "0.0.101"),
                2 => scene.own.push('x'),
                3 => { scene.ready = true; scene.pods.clear(); }
                4 => scene.pod_fails("CrashLoopBackOff"),
                5 => scene.admitted = !scene.admitted,
                6 => scene.live = None,
                8 => scene.scaled_away = !scene.scaled_away,
                7 => { scene.own.push('y'); scene.own_image.push('y'); }
                _ => scene.now += 400,
            }
            scene.pass();
            scene.pass();
            let before = scene.memory.clone();
            scene.pass();
            prop_assert_eq!(&scene.memory, &before);
            prop_assert!(scene.memory.bodies.len() <= 2);
        }
    }
}
