//! What the controllers of the TLS profile tell each other, and what only this process knows: what was decided last, who follows, how
//! far they are, who changes things back. Touches nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use paddock_reconcile::object;
use serde_json::Value;

use super::decision::Published;
use super::follower::Workload;
use super::handover::Standing;
use super::platform::Platform;
use super::verification::{Answers, Asked};

/// So many writes of the same hash to one template within [`WINDOW`] are a quarrel.
const QUARREL: usize = 3;
const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// Shared by the controllers; clones share everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The term of leadership that `record` is of.
    term: u64,
    /// `None` until this process has decided in its term.
    record: Option<Record>,
    /// Its ConfigMap was seen in this term.
    written: bool,
    /// The decision that is on its way, and since when.
    under_way: Option<(u64, Timestamp)>,
    workloads: BTreeMap<Workload, Known>,
}

/// What the decision's ConfigMap says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) platform: Platform,
    pub(crate) published: Option<Published>,
}

#[derive(Debug, Default)]
struct Known {
    standing: Option<Standing>,
    /// When the template was written with `hash`, newest last; at most as many as make a quarrel.
    written: VecDeque<Timestamp>,
    hash: String,
    /// Since when it is not as wanted.
    since: Option<Timestamp>,
    /// The ConfigMap that was seen to be there.
    handed: Option<String>,
    /// What its pods were seen to serve.
    answers: Answers,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory of one term of leadership. Between two terms another process may have decided: what this one decided before counts no
    /// more, and a pass of an earlier term, which may still be on its way, neither reads nor changes anything.
    fn of_term(&self, term: u64) -> Option<MutexGuard<'_, Inner>> {
        let mut all = self.lock();
        if all.term < term {
            (all.term, all.record, all.written, all.under_way) = (term, None, false, None);
        }
        Some(all).filter(|all| all.term == term)
    }

    /// What was decided last: as this process did in this term, whatever somebody has written over it since; else as `read` from the
    /// ConfigMap.
    pub(crate) fn last(&self, term: u64, read: Record) -> Record {
        self.of_term(term).and_then(|all| all.record.clone()).unwrap_or(read)
    }

    /// Whether the decision's ConfigMap is there, or was in this term.
    pub(crate) fn was_written(&self, term: u64, is_there: bool) -> bool {
        let Some(mut all) = self.of_term(term) else { return is_there };
        all.written |= is_there;
        all.written
    }

    /// This process decides so.
    pub(crate) fn decides(&self, term: u64, record: Record, now: Timestamp) {
        let Some(mut all) = self.of_term(term) else { return };
        let generation = |record: &Record| record.published.as_ref().map(|published| published.contract.generation);
        let new = generation(&record);
        // What an earlier process decided was handed over by it, as far as this one knows.
        if all.record.as_ref().is_some_and(|before| generation(before) != new) {
            all.under_way = new.map(|generation| (generation, now));
        }
        all.record = Some(record);
    }

    /// Everybody has the decision of that generation: how long that took, once.
    pub(crate) fn arrived(&self, generation: u64, now: Timestamp) -> Option<SignedDuration> {
        let mut all = self.lock();
        let (_, since) = all.under_way.take_if(|(under_way, _)| *under_way == generation)?;
        Some(now.duration_since(since))
    }

    /// Whether what the ConfigMap says is what was decided. Before this process has decided in its term, another one's word counts.
    pub(crate) fn vouches_for(&self, term: u64, published: &Published) -> bool {
        let Some(all) = self.of_term(term) else { return false };
        all.record.as_ref().is_none_or(|record| record.published.as_ref() == Some(published))
    }

    /// Who follows.
    pub(crate) fn followers(&self) -> Vec<Workload> {
        self.lock().workloads.keys().cloned().collect()
    }

    /// Who follows in a namespace.
    pub(crate) fn followers_in(&self, namespace: &str) -> Vec<Workload> {
        self.lock().workloads.keys().filter(|workload| workload.namespace == namespace).cloned().collect()
    }

    /// A workload follows.
    pub(crate) fn follows(&self, workload: &Workload) {
        self.lock().workloads.entry(workload.clone()).or_default();
    }

    /// A workload follows no longer; true when that is news.
    pub(crate) fn forget(&self, workload: &Workload) -> bool {
        self.lock().workloads.remove(workload).is_some()
    }

    /// What the workload's pods were seen to serve.
    pub(crate) fn answers(&self, workload: &Workload) -> Answers {
        self.lock().workloads.get(workload).map(|known| known.answers.clone()).unwrap_or_default()
    }

    /// Takes answers in, and forgets those of pods that are gone; true when one is other than before.
    pub(crate) fn answered(&self, workload: &Workload, answers: Vec<(String, Asked)>, pods: &[Arc<Value>]) -> bool {
        let mut all = self.lock();
        let Some(known) = all.workloads.get_mut(workload) else { return false };
        known.answers.retain(|uid, _| pods.iter().any(|pod| object::uid(pod) == uid));
        let mut news = false;
        for (uid, mut asked) in answers {
            let before = known.answers.get(&uid);
            if let (Some(before), []) = (before, &asked.keys[..]) {
                // Who does not answer now has the key that it had.
                asked.keys.clone_from(&before.keys);
            }
            news |= before.is_none_or(|before| Asked { at: before.at, ..asked.clone() } != *before);
            known.answers.insert(uid, asked);
        }
        news
    }

    /// Takes in where a workload stands, and whether its template is about to be written; true when the standing is news.
    pub(crate) fn stands(&self, workload: &Workload, standing: &Standing, writes: bool, now: Timestamp) -> bool {
        let mut all = self.lock();
        let Some(known) = all.workloads.get_mut(workload) else { return false };
        if known.hash != standing.hash {
            known.hash.clone_from(&standing.hash);
            known.written.clear();
            known.since = None;
        }
        if writes {
            known.written.push_back(now);
            if known.written.len() > QUARREL {
                known.written.pop_front();
            }
        }
        known.since = if standing.rolled_out { None } else { Some(known.since.unwrap_or(now)) };
        let news = known.standing.as_ref() != Some(standing);
        known.standing = Some(standing.clone());
        news
    }

    /// Whether the ConfigMap of the workload is or was there.
    pub(crate) fn was_handed(&self, workload: &Workload, config_map: &str, is_there: bool) -> bool {
        let mut all = self.lock();
        let Some(known) = all.workloads.get_mut(workload) else { return is_there };
        if is_there {
            known.handed = Some(config_map.to_owned());
        }
        known.handed.as_deref() == Some(config_map)
    }

    /// Whether it was heard where the workload stands.
    pub(crate) fn has_standing(&self, workload: &Workload) -> bool {
        self.lock().workloads.get(workload).is_some_and(|known| known.standing.is_some())
    }

    /// Since when the workload is not as wanted.
    pub(crate) fn since(&self, workload: &Workload) -> Option<Timestamp> {
        self.lock().workloads.get(workload)?.since
    }

    /// Whether the template was written with the same hash too often lately: somebody changes it back.
    pub(crate) fn contested(&self, workload: &Workload, now: Timestamp) -> bool {
        let all = self.lock();
        let Some(known) = all.workloads.get(workload) else { return false };
        known.written.len() == QUARREL && known.written.iter().all(|at| now.duration_since(*at) < WINDOW)
    }

    /// How far everybody is of whom that is known.
    pub(crate) fn standings(&self) -> Vec<(Workload, Standing)> {
        let all = self.lock();
        let known = |(workload, known): (&Workload, &Known)| Some((workload.clone(), known.standing.clone()?));
        all.workloads.iter().filter_map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use paddock_tls_profile::{Contract, Profile};

    use super::*;
    use crate::tls_profile::follower::WorkloadKind;

    fn workload() -> Workload {
        Workload { namespace: "n".into(), kind: WorkloadKind::Deployment, name: "w".into() }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    fn written(minutes: &[i64], hashes: &[&str]) -> bool {
        let memory = Memory::default();
        memory.follows(&workload());
        for (minute, hash) in minutes.iter().zip(hashes.iter().cycle()) {
            let standing = Standing { hash: (*hash).to_owned(), ..Standing::default() };
            memory.stands(&workload(), &standing, true, at(*minute));
        }
        memory.contested(&workload(), at(minutes.last().copied().unwrap_or(0)))
    }

    #[test]
    fn tls_f14_a_template_that_is_changed_back_again_and_again_is_contested() {
        assert!(written(&[0, 1, 2], &["a"]));
        assert!(!written(&[0, 1], &["a"]));
        assert!(!written(&[0, 1, 2, 30], &["a"]), "long ago does not count");
    }

    #[test]
    fn the_way_of_a_decision_is_timed_once_and_from_its_beginning() {
        let memory = Memory::default();
        let record = |generation| {
            let contract = Contract { generation, ..Contract::baseline("") };
            Record {
                published: Some(Published { contract, profile: Profile::baseline(), overrides: Vec::new() }),
                ..Record::default()
            }
        };
        memory.decides(1, record(1), at(0));
        assert_eq!(memory.arrived(1, at(1)), None, "an earlier process decided that");
        memory.decides(1, record(2), at(2));
        memory.decides(1, record(2), at(3));
        assert_eq!(memory.arrived(1, at(4)), None);
        assert_eq!(memory.arrived(2, at(5)), Some(SignedDuration::from_mins(3)));
        assert_eq!(memory.arrived(2, at(6)), None);
    }

    #[test]
    fn tls_f24_what_was_decided_before_the_lease_was_lost_counts_no_more() {
        let of = |generation| {
            let contract = Contract { generation, ..Contract::baseline("") };
            Published { contract, profile: Profile::baseline(), overrides: Vec::new() }
        };
        let record = |generation| Record { published: Some(of(generation)), ..Record::default() };
        let generation = |record: Record| record.published.map(|published| published.contract.generation);
        let memory = Memory::default();
        memory.decides(1, record(5), at(0));
        assert_eq!(generation(memory.last(1, record(6))), Some(5), "within a term nobody else's word counts");
        assert!(!memory.vouches_for(1, &of(6)));
        assert_eq!(generation(memory.last(2, record(6))), Some(6), "after it the other process's does");
        assert!(memory.vouches_for(2, &of(6)));
        memory.decides(1, record(5), at(1));
        assert_eq!(generation(memory.last(2, record(6))), Some(6), "a pass of the term before is late");
    }

    #[test]
    fn tls_f11_quick_edits_of_the_profile_are_no_quarrel() {
        assert!(!written(&[0, 1, 2, 3, 4], &["a", "b"]));
    }

    #[test]
    fn the_wait_is_counted_from_its_beginning() {
        let memory = Memory::default();
        memory.follows(&workload());
        let standing = Standing { hash: "a".into(), ..Standing::default() };
        assert!(memory.stands(&workload(), &standing, false, at(0)));
        assert!(!memory.stands(&workload(), &standing, false, at(5)));
        assert_eq!(memory.since(&workload()), Some(at(0)));
        memory.stands(&workload(), &Standing { rolled_out: true, ..standing }, false, at(6));
        assert_eq!(memory.since(&workload()), None);
    }
}
