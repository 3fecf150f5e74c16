//! The work queue: which key runs when. Synchronous and pure: time and chance are arguments, so properties can be tested.
//!
//! Rules: a key is queued at most once; two passes of one key never overlap; a change during a pass starts another one
//! after it; keys are served in the order in which they became ready; a failing key backs off alone.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::controller::{Key, Settings};
use crate::error::Dependency;

/// How a pass ended, as far as the queue cares.
#[derive(Clone, Debug, PartialEq)]
pub enum Finish {
    /// Nothing is left to do; look again at this time of the monotonic clock or at the resync, whichever is earlier.
    Settled {
        /// When to look again, if the plan asked.
        look_again: Option<Duration>,
    },
    /// Nothing is wanted for this key any more.
    Forgotten,
    /// Not before something changes.
    Invalid {
        /// When to look again all the same, if the plan asked.
        look_again: Option<Duration>,
    },
    /// Not before this happens, or the resync.
    Waiting {
        /// What is waited for.
        on: Dependency,
        /// When to look again all the same, if the plan asked.
        look_again: Option<Duration>,
    },
    /// With backoff, but not sooner than the server asked.
    Transient {
        /// The server's own wish.
        retry_after: Option<Duration>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Queued,
    Running { dirty: bool, woken_before: u64 },
}

#[derive(Debug)]
struct Entry {
    state: State,
    failures: u32,
    due: Option<Duration>,
    /// Not before this; see [`Settings::spacing`].
    rests_until: Duration,
    waits_for: Option<Dependency>,
}

/// Wakes remembered for passes that are still running.
const RECENT_WAKES: usize = 1024;

/// A work queue over keys. `now` is always the monotonic clock's time.
#[derive(Debug)]
pub struct Queue<K> {
    settings: Settings,
    entries: HashMap<K, Entry>,
    ready: VecDeque<K>,
    due: BTreeSet<(Duration, K)>,
    waiting: HashMap<Dependency, HashSet<K>>,
    recent_wakes: VecDeque<Dependency>,
    wakes: u64,
}

impl<K: Key> Queue<K> {
    /// An empty queue.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            entries: HashMap::new(),
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            waiting: HashMap::new(),
            recent_wakes: VecDeque::new(),
            wakes: 0,
        }
    }

    /// Something about `key` changed. A key that is backing off is not run at once but no later than after the shortest
    /// backoff: its own failing writes must not turn into a busy loop, and a user's fix must not wait for five minutes.
    pub fn add(&mut self, key: &K, now: Duration) {
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            state: State::Idle,
            failures: 0,
            due: None,
            rests_until: Duration::ZERO,
            waits_for: None,
        });
        match &mut entry.state {
            State::Queued => {}
            State::Running { dirty, .. } => *dirty = true,
            State::Idle if entry.failures > 0 => {
                let soon = now.saturating_add(self.settings.backoff_min);
                let at = entry.due.map_or(soon, |due| due.min(soon));
                self.set_due(key, Some(at));
            }
            State::Idle => self.enqueue_rested(key, now),
        }
    }

    /// Wakes every key that waits for `on`.
    pub fn wake(&mut self, on: &Dependency, now: Duration) {
        self.wakes += 1;
        if self.recent_wakes.len() == RECENT_WAKES {
            self.recent_wakes.pop_front();
        }
        self.recent_wakes.push_back(on.clone());
        for key in self.waiting.remove(on).into_iter().flatten() {
            self.add(&key, now);
        }
    }

    /// The next key to run, which is now running.
    pub fn take(&mut self, now: Duration) -> Option<K> {
        while let Some((at, key)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            self.set_due(&key, None);
            self.enqueue(&key);
        }
        let key = self.ready.pop_front()?;
        self.stop_waiting(&key);
        let woken_before = self.wakes;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Running { dirty: false, woken_before };
        }
        self.set_due(&key, None);
        Some(key)
    }

    /// A running key's pass ended. `unit` is chance in `0.0..1.0`. A key that is not running is ignored.
    pub fn finish(&mut self, key: &K, finish: &Finish, now: Duration, unit: f64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let State::Running { dirty, woken_before } = entry.state else { return };
        entry.state = State::Idle;
        let Settings { backoff_min, backoff_max, resync, .. } = self.settings;
        // A plan that asks for a time that is over would otherwise run for ever.
        let soonest = now.saturating_add(backoff_min);
        let resync = now.saturating_add(resync.mul_f64(0.9 + 0.2 * unit));
        let due = match finish {
            Finish::Transient { retry_after } => {
                let doubled = backoff_min.saturating_mul(2_u32.saturating_pow(entry.failures));
                entry.failures = entry.failures.saturating_add(1);
                let wait = doubled.min(backoff_max).mul_f64(0.8 + 0.2 * unit).max(retry_after.unwrap_or_default());
                self.set_due(key, Some(now.saturating_add(wait)));
                if dirty {
                    self.add(key, now);
                }
                return;
            }
            Finish::Forgotten if !dirty => {
                self.entries.remove(key);
                return;
            }
            Finish::Forgotten => None,
            Finish::Settled { look_again } | Finish::Waiting { look_again, .. } => {
                Some(look_again.map_or(resync, |at| at.max(soonest).min(resync)))
            }
            Finish::Invalid { look_again } => look_again.map(|at| at.max(soonest)),
        };
        entry.failures = 0;
        entry.rests_until = now.saturating_add(self.settings.spacing);
        if dirty {
            return self.enqueue_rested(key, now);
        }
        self.set_due(key, due);
        if let Finish::Waiting { on, .. } = finish {
            if self.woken_since(on, woken_before) {
                return self.enqueue_rested(key, now);
            }
            self.waiting.entry(on.clone()).or_default().insert(key.clone());
            if let Some(entry) = self.entries.get_mut(key) {
                entry.waits_for = Some(on.clone());
            }
        }
    }

    /// When the earliest delayed key is due; `None` when none is.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Keys ready to run.
    pub fn queued(&self) -> usize {
        self.ready.len()
    }

    /// Keys running.
    pub fn running(&self) -> usize {
        self.entries.values().filter(|e| matches!(e.state, State::Running { .. })).count()
    }

    /// Whether anything is ready or running.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.running() == 0
    }

    /// Whether `on` was woken after wake number `before`; also true when that is no longer known.
    fn woken_since(&self, on: &Dependency, before: u64) -> bool {
        let news = usize::try_from(self.wakes - before).unwrap_or(usize::MAX);
        news > self.recent_wakes.len() || self.recent_wakes.iter().rev().take(news).any(|woken| woken == on)
    }

    /// Enqueues the key at once, or when it has rested and others had their time.
    fn enqueue_rested(&mut self, key: &K, now: Duration) {
        let Some(entry) = self.entries.get(key) else { return };
        let at = now.saturating_add(self.settings.delay).max(entry.rests_until);
        if at <= now {
            return self.enqueue(key);
        }
        let at = entry.due.map_or(at, |due| due.min(at));
        self.set_due(key, Some(at));
    }

    fn enqueue(&mut self, key: &K) {
        self.set_due(key, None);
        if let Some(entry) = self.entries.get_mut(key)
            && entry.state == State::Idle
        {
            entry.state = State::Queued;
            self.ready.push_back(key.clone());
        }
    }

    fn set_due(&mut self, key: &K, at: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(old) = entry.due.take() {
            self.due.remove(&(old, key.clone()));
        }
        entry.due = at;
        if let Some(at) = at {
            self.due.insert((at, key.clone()));
        }
    }

    fn stop_waiting(&mut self, key: &K) {
        let Some(on) = self.entries.get_mut(key).and_then(|entry| entry.waits_for.take()) else { return };
        if let Some(keys) = self.waiting.get_mut(&on) {
            keys.remove(key);
            if keys.is_empty() {
                self.waiting.remove(&on);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);
    const NO_LOOK: Finish = Finish::Settled { look_again: None };
    const TRANSIENT: Finish = Finish::Transient { retry_after: None };

    fn queue() -> Queue<&'static str> {
        Queue::new(Settings::default())
    }

    fn waiting(on: Dependency) -> Finish {
        Finish::Waiting { on, look_again: None }
    }

    fn node() -> Dependency {
        Dependency::Named("node".into())
    }

    #[test]
    fn many_changes_are_one_pass() {
        let mut q = queue();
        (0..3).for_each(|_| q.add(&"a", S));
        assert_eq!(q.take(S), Some("a"));
        assert_eq!(q.take(S), None);
    }

    #[test]
    fn burst_of_changes_is_few_passes_of_a_key_that_rests() {
        let mut q = Queue::new(Settings { spacing: S, ..Settings::default() });
        q.add(&"a", S);
        assert_eq!(q.take(S), Some("a"), "the first change is followed at once");
        q.add(&"a", S);
        q.finish(&"a", &NO_LOOK, S, 0.5);
        q.add(&"a", S);
        assert_eq!(q.take(S), None, "it rests");
        assert_eq!(q.next_due(), Some(2 * S));
        assert_eq!(q.take(2 * S), Some("a"));
    }

    #[test]
    fn key_with_a_delay_follows_a_change_after_it_and_not_later_for_a_second_one() {
        let mut q = Queue::new(Settings { delay: S, ..Settings::default() });
        q.add(&"a", S);
        assert_eq!(q.take(S), None);
        q.add(&"a", S + S / 2);
        assert_eq!(q.next_due(), Some(2 * S));
        assert_eq!(q.take(2 * S), Some("a"));
    }

    #[test]
    fn change_during_a_pass_starts_another_one() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.add(&"a", S);
        assert_eq!(q.take(S), None, "two passes of a key overlap");
        q.finish(&"a", &NO_LOOK, S, 0.5);
        assert_eq!(q.take(S), Some("a"));
    }

    #[test]
    fn backoff_doubles_to_five_minutes_and_success_resets_it() {
        let mut q = queue();
        let mut now = S;
        let mut waits = Vec::new();
        q.add(&"a", now);
        for _ in 0..11 {
            assert_eq!(q.take(now), Some("a"));
            q.finish(&"a", &TRANSIENT, now, 1.0);
            let due = q.next_due().expect("a retry is due");
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        q.take(now);
        q.finish(&"a", &Finish::Settled { look_again: Some(now) }, now, 1.0);
        q.take(now);
        q.finish(&"a", &TRANSIENT, now, 1.0);
        assert_eq!(q.next_due(), Some(now + S));
    }

    #[test]
    fn jitter_shortens_a_backoff_by_at_most_a_fifth() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.finish(&"a", &TRANSIENT, S, 0.0);
        assert_eq!(q.next_due(), Some(S + Duration::from_millis(800)));
    }

    #[test]
    fn server_asking_for_patience_gets_it() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.finish(&"a", &Finish::Transient { retry_after: Some(30 * S) }, S, 0.0);
        assert_eq!(q.next_due(), Some(31 * S));
    }

    #[test]
    fn change_hastens_a_backoff_but_not_below_the_shortest() {
        let mut q = queue();
        let mut now = S;
        q.add(&"a", now);
        for _ in 0..8 {
            q.take(now);
            q.finish(&"a", &TRANSIENT, now, 1.0);
            now = q.next_due().expect("a retry is due");
        }
        q.take(now);
        q.finish(&"a", &TRANSIENT, now, 1.0);
        q.add(&"a", now);
        assert_eq!(q.take(now), None);
        assert_eq!(q.next_due(), Some(now + S));
    }

    #[test]
    fn invalid_key_waits_for_a_change_however_long() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.finish(&"a", &Finish::Invalid { look_again: None }, S, 0.5);
        assert_eq!(q.next_due(), None);
        q.add(&"a", S);
        assert_eq!(q.take(S), Some("a"));
    }

    #[test]
    fn waiting_key_is_woken_by_its_dependency_alone() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.finish(&"a", &waiting(node()), S, 0.5);
        q.wake(&Dependency::Named("other".into()), S);
        assert_eq!(q.take(S), None);
        q.wake(&node(), S);
        assert_eq!(q.take(S), Some("a"));
    }

    #[test]
    fn dependency_that_appears_during_the_pass_is_not_missed() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.wake(&node(), S);
        q.finish(&"a", &waiting(node()), S, 0.5);
        assert_eq!(q.take(S), Some("a"));
    }

    #[test]
    fn forgotten_key_leaves_nothing_behind() {
        let mut q = queue();
        q.add(&"a", S);
        q.take(S);
        q.finish(&"a", &Finish::Forgotten, S, 0.5);
        assert!(q.entries.is_empty() && q.due.is_empty() && q.waiting.is_empty());
    }

    #[test]
    fn keys_are_served_in_order() {
        let mut q = queue();
        q.add(&"a", S);
        q.add(&"b", S);
        q.take(S);
        q.add(&"a", S);
        q.finish(&"a", &NO_LOOK, S, 0.5);
        assert_eq!((q.take(S), q.take(S)), (Some("b"), Some("a")));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Add(u8),
        Take,
        Finish(u8, u8),
        Wake(u8),
        Pass(u16),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..4_u8).prop_map(Op::Add),
            Just(Op::Take),
            (0..4_u8, 0..5_u8).prop_map(|(k, f)| Op::Finish(k, f)),
            (0..3_u8).prop_map(Op::Wake),
            (0..700_u16).prop_map(Op::Pass),
        ]
    }

    proptest! {
        /// Whatever happens: no overlap of a key with itself, no change is forgotten, and the indexes agree.
        #[test]
        fn no_overlap_and_no_lost_change(delay in 0..3_u32, spacing in 0..5_u32, ops in proptest::collection::vec(op(), 0..200)) {
            let settings = Settings { delay: S * delay, spacing: S * spacing, ..Settings::default() };
            let mut q: Queue<u8> = Queue::new(settings);
            let mut now = S;
            let (mut running, mut owed) = (HashSet::new(), HashSet::new());
            let dep = |n: u8| Dependency::Named(n.to_string());
            for op in ops {
                match op {
                    Op::Add(key) => { q.add(&key, now); owed.insert(key); }
                    Op::Take => if let Some(key) = q.take(now) {
                        prop_assert!(running.insert(key), "two passes of a key overlap");
                        owed.remove(&key);
                    },
                    Op::Finish(key, how) => {
                        let how = match how {
                            0 => NO_LOOK,
                            1 => Finish::Forgotten,
                            2 => Finish::Invalid { look_again: None },
                            3 => waiting(dep(key % 3)),
                            _ => TRANSIENT,
                        };
                        q.finish(&key, &how, now, 0.5);
                        running.remove(&key);
                    }
                    Op::Wake(n) => q.wake(&dep(n), now),
                    Op::Pass(seconds) => now += S * u32::from(seconds),
                }
                prop_assert_eq!(q.running(), running.len());
                for key in &owed {
                    let entry = &q.entries[key];
                    let comes = match entry.state {
                        State::Queued => true,
                        State::Running { dirty, .. } => dirty,
                        State::Idle => entry.due.is_some_and(|at| at <= now + S * delay.max(spacing).max(1)) || entry.failures > 0,
                    };
                    prop_assert!(comes, "a change of {} is forgotten: {:?}", key, entry);
                }
                let dues = q.entries.values().filter(|e| e.due.is_some()).count();
                prop_assert_eq!(dues, q.due.len());
                let waits = q.entries.values().filter(|e| e.waits_for.is_some()).count();
                prop_assert!(q.waiting.values().map(HashSet::len).sum::<usize>() <= waits);
            }
        }
    }
}
