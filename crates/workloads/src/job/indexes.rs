//! Completion indexes: sets of numbers as a Job's status writes them (`1,3-5,7`), and where a Pod carries its index. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::names::annotation;

/// The annotation and label with a Pod's index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// A set of indexes as ranges: sorted, apart from each other, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// From a status or a rule; what is no index below `completions` is left out.
    pub(super) fn parse(text: &str, completions: i32) -> Self {
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
            let last = last.min(completions - 1);
            if first >= 0 && first <= last {
                ranges.push((first, last));
            }
        }
        Self::merged(ranges)
    }

    fn merged(mut ranges: Vec<(i32, i32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(i32, i32)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// With more indexes.
    pub(super) fn with(&self, more: impl IntoIterator<Item = i32>) -> Self {
        let mut ranges = self.0.clone();
        ranges.extend(more.into_iter().map(|index| (index, index)));
        Self::merged(ranges)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self::merged(self.0.iter().chain(&other.0).copied().collect())
    }

    pub(super) fn has(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    pub(super) fn total(&self) -> i32 {
        self.0.iter().fold(0, |total, (first, last)| total.saturating_add(last - first + 1))
    }

    /// How many indexes are in both.
    pub(super) fn shared(&self, other: &Self) -> i32 {
        let (mut a, mut b, mut total) = (0, 0, 0_i32);
        while let (Some(x), Some(y)) = (self.0.get(a), other.0.get(b)) {
            total = total.saturating_add((x.1.min(y.1) - x.0.max(y.0) + 1).max(0));
            if x.1 < y.1 {
                a += 1;
            } else {
                b += 1;
            }
        }
        total
    }

    /// The first `count` indexes below `completions` that are not in the set.
    pub(super) fn missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut found = Vec::new();
        let mut next = 0;
        for (first, last) in self.0.iter().copied().chain([(completions, completions)]) {
            let gap = next..first.min(completions);
            found.extend(gap.take(count - found.len()));
            next = last.saturating_add(1);
        }
        found
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// A Pod's index, when it has a valid one.
pub(super) fn of(pod: &Pod, completions: i32) -> Option<i32> {
    let index: i32 = annotation(&pod.metadata, INDEX)?.parse().ok()?;
    (0..completions).contains(&index).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_ranges() {
        let indexes = Indexes::default().with([7, 1, 4, 3, 5, 9, 10]);
        assert_eq!(indexes.to_string(), "1,3-5,7,9,10");
        assert_eq!(Indexes::parse("1,3-5,7,9,10", 11), indexes);
    }

    #[test]
    fn indexes_beyond_the_completions_do_not_count() {
        assert_eq!(Indexes::parse("0-9", 3).to_string(), "0-2");
        assert_eq!(Indexes::parse("a,-1,5-3,1", 3).to_string(), "1");
    }

    #[test]
    fn missing_indexes_are_the_lowest_ones() {
        let indexes = Indexes::parse("0,2-3", 10);
        assert_eq!(indexes.missing(3, 10), [1, 4, 5]);
        assert_eq!(indexes.missing(9, 5), [1, 4]);
        assert!(Indexes::default().missing(1, 0).is_empty());
    }

    #[test]
    fn shared_indexes_are_counted() {
        assert_eq!(Indexes::parse("0-4,8", 10).shared(&Indexes::parse("3-9", 10)), 3);
        assert!(Indexes::parse("0-4,8", 10).has(8) && !Indexes::parse("0-4,8", 10).has(5));
    }
}
