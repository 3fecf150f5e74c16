//! Model check: an operator that writes the map and then the annotation, somebody who tampers with the map, a kubelet that brings the
//! two late and apart from each other, a process that looks and is killed. Every state that they can reach is visited; nobody is ever
//! at a fixed place in his work, so every crash is among the states.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// The profiles of this world by number: what the custom resource may ask for, one of them nothing that can be served, and last what
/// only the tampering writes.
const ASKED: [usize; 4] = [0, 1, 2, 3];
const NOT_SERVABLE: usize = 3;
const TAMPERED: usize = 4;

struct World(Vec<Candidate>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// The custom resource.
    resource: usize,
    map: usize,
    annotation: usize,
    /// What kubelet brought of the two.
    file: Option<usize>,
    note: Option<usize>,
    /// The process: what it serves, and what it kept for its next start.
    served: Option<usize>,
    kept: Option<usize>,
}

impl World {
    fn new() -> Self {
        let one_suite = r#"{"ciphers":["TLS_AES_128_GCM_SHA256"],"groups":["X25519"],"minTLSVersion":"VersionTLS13"}"#;
        let text = |named: Named| named.profile(Generation::C).canonical();
        let (modern, intermediate, old) = (text(Named::Modern), text(Named::Intermediate), text(Named::Old));
        let texts = [one_suite.to_owned(), modern, intermediate, UNSERVABLE.to_owned(), old];
        Self(texts.iter().map(|text| judged(&Contract::baseline("x"), Some(text)).unwrap()).collect())
    }

    fn hash(&self, profile: Option<usize>) -> Option<&str> {
        profile.map(|profile| self.0[profile].hash.as_str())
    }

    fn begin(&self) -> State {
        State { resource: 1, map: 1, annotation: 1, file: None, note: None, served: None, kept: None }
    }

    /// The running process looks at its files.
    fn look(&self, mut state: State) -> State {
        let (Some(file), Some(served)) = (state.file, state.served) else { return state };
        if let Next::Publish { .. } = next(&self.0[file], self.hash(state.note), Some(&self.0[served].effective)) {
            state.served = Some(file);
        }
        self.keep(state)
    }

    /// The process is killed and starts again; nothing to serve: it waits.
    fn start(&self, mut state: State) -> State {
        let mounted = state.file.map(|file| self.0[file].clone()).ok_or(Rejected::Missing("profile.json"));
        let kept = state.kept.map(|kept| self.0[kept].clone());
        let begun = first(mounted, kept, self.hash(state.note)).ok();
        state.served = begun.and_then(|begun| {
            let (First::Mounted(begun) | First::LastGood(begun, _)) = begun;
            self.0.iter().position(|one| one.hash == begun.hash)
        });
        self.keep(state)
    }

    /// What is served is kept, if it is what is mounted and the operator stands by it.
    fn keep(&self, mut state: State) -> State {
        if state.served == state.file
            && state.served != Some(NOT_SERVABLE)
            && state.note.is_none_or(|note| state.served == Some(note))
        {
            state.kept = state.served;
        }
        state
    }

    fn steps(&self, state: State) -> Vec<State> {
        let mut steps: Vec<_> = ASKED.map(|resource| State { resource, ..state }).into();
        // The operator: the map first, and the annotation when the map was read back.
        steps.push(State { map: state.resource, ..state });
        if state.map == state.resource {
            steps.push(State { annotation: state.resource, ..state });
        }
        steps.push(State { map: TAMPERED, ..state });
        steps.push(State { file: Some(state.map), ..state });
        steps.push(State { note: Some(state.annotation), ..state });
        steps.push(self.look(state));
        steps.push(self.start(state));
        steps
    }

    fn reachable(&self) -> BTreeSet<State> {
        let mut seen = BTreeSet::from([self.begin()]);
        let mut queue = VecDeque::from([self.begin()]);
        while let Some(state) = queue.pop_front() {
            for step in self.steps(state) {
                if seen.insert(step) {
                    queue.push_back(step);
                }
            }
        }
        seen
    }

    fn widens(&self, from: usize, to: usize) -> bool {
        !self.0[from].effective.covers(&self.0[to].effective)
    }
}

#[test]
fn tls_f15_tls_f16_tls_d01_from_every_state_the_process_comes_to_serve_what_was_asked_for_last() {
    let world = World::new();
    let states = world.reachable();
    assert!(states.len() > 5000, "{}", states.len());
    for state in states {
        let mut state = State { map: state.resource, ..state };
        state.annotation = state.resource;
        // Kubelet brings the two in either order, and the process looks in between, or is started.
        for (file_first, started) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut now = state;
            for file in [file_first, !file_first] {
                if file {
                    now.file = Some(now.map);
                } else {
                    now.note = Some(now.annotation);
                }
                now = if started || now.served.is_none() { world.start(now) } else { world.look(now) };
            }
            now = if now.served.is_none() { world.start(now) } else { world.look(now) };
            let held = |served| now.resource == NOT_SERVABLE && world.widens(served, NOT_SERVABLE);
            assert!(now.served == Some(now.resource) || now.served.is_some_and(held), "from {state:?} to {now:?}");
        }
    }
}

#[test]
fn tls_f12_tls_d07_no_step_lets_in_more_by_a_map_that_the_operator_did_not_confirm() {
    let world = World::new();
    for state in world.reachable() {
        let confirmed = |served: usize| state.note == Some(served);
        let (looked, started) = (world.look(state), world.start(state));
        if let (Some(old), Some(new), Some(_)) = (state.served, looked.served, state.note) {
            assert!(!world.widens(old, new) || confirmed(new), "{state:?} -> {looked:?}");
        }
        if let (Some(kept), Some(new), Some(_)) = (state.kept, started.served, state.note) {
            assert!(!world.widens(kept, new) || confirmed(new), "{state:?} -> {started:?}");
        }
    }
}

#[test]
fn tls_f09_no_step_lets_in_more_by_a_profile_that_cannot_be_served() {
    let world = World::new();
    for state in world.reachable() {
        let (looked, started) = (world.look(state), world.start(state));
        for (before, after) in [(state.served, looked), (state.kept, started)] {
            if let (Some(before), Some(NOT_SERVABLE)) = (before, after.served) {
                assert!(before == NOT_SERVABLE || !world.widens(before, NOT_SERVABLE), "{state:?} -> {after:?}");
            }
        }
    }
}
