//! What was answered lately, with a bound: the least recently used goes first, and nothing is kept longer than it is good for.
//! Touches nothing.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// Answers by question.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    capacity: usize,
    /// Counts uses; each entry has the number of its last one.
    clock: u64,
    entries: HashMap<K, Entry<V>>,
    by_use: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Instant,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, entries: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// The answer, if it is still good.
    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<V> {
        let entry = self.entries.get_mut(key)?;
        self.by_use.remove(&entry.used);
        if entry.until <= now {
            self.entries.remove(key);
            return None;
        }
        self.clock = self.clock.saturating_add(1);
        entry.used = self.clock;
        self.by_use.insert(self.clock, key.clone());
        Some(entry.value.clone())
    }

    /// Keeps an answer until then.
    pub(super) fn put(&mut self, key: K, value: V, until: Instant) {
        if let Some(old) = self.entries.remove(&key) {
            self.by_use.remove(&old.used);
        }
        while self.entries.len() >= self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.entries.remove(&oldest);
        }
        self.clock = self.clock.saturating_add(1);
        self.by_use.insert(self.clock, key.clone());
        self.entries.insert(key, Entry { value, until, used: self.clock });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.by_use.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let (mut cache, now) = (Cache::new(2), Instant::now());
        let later = now + Duration::from_secs(1);
        cache.put("a", 1, later);
        cache.put("b", 2, later);
        assert_eq!(cache.get(&"a", now), Some(1));
        cache.put("c", 3, later);
        assert_eq!([cache.get(&"a", now), cache.get(&"b", now), cache.get(&"c", now)], [Some(1), None, Some(3)]);
    }

    #[test]
    fn tls_f28_any_number_of_questions_is_kept_within_the_bound() {
        let (mut cache, now) = (Cache::new(8), Instant::now());
        for question in 0..1000 {
            cache.put(question, (), now + Duration::from_secs(1));
            cache.put(question, (), now + Duration::from_secs(2));
        }
        assert_eq!(cache.len(), 8);
    }

    #[test]
    fn an_answer_is_not_given_when_its_time_is_up() {
        let (mut cache, now) = (Cache::new(8), Instant::now());
        cache.put("a", 1, now + Duration::from_secs(1));
        assert_eq!(cache.get(&"a", now + Duration::from_secs(1)), None);
        assert_eq!(cache.len(), 0);
    }
}
