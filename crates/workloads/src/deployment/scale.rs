//! How ReplicaSets are scaled: one at a time while rolling, proportionally when the Deployment itself is scaled. Pure: sizes in,
//! sizes out.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::revision::{DESIRED, MAX, Sets, number};
use super::size::{self, actual, available, replicas, sum, wanted};

/// A ReplicaSet and the size that it shall have.
pub(super) type Scaling<'a> = Vec<(&'a ReplicaSet, i32)>;

fn active<'a>(sets: impl IntoIterator<Item = &'a ReplicaSet>) -> Vec<&'a ReplicaSet> {
    sets.into_iter().filter(|set| replicas(set) > 0).collect()
}

/// Whether the Deployment was scaled since its ReplicaSets were.
pub(super) fn was_scaled(deployment: &Deployment, sets: &Sets<'_>) -> bool {
    active(sets.all()).iter().any(|set| number(set, DESIRED).is_some_and(|desired| desired != wanted(deployment)))
}

/// What a scaled or paused Deployment does: no rollout, but its pods grow or shrink in proportion.
pub(super) fn proportionally<'a>(deployment: &Deployment, sets: &Sets<'a>) -> Scaling<'a> {
    let total = wanted(deployment);
    let mut all = active(sets.all());
    // One ReplicaSet carries everything.
    let only = match all[..] {
        [] => sets.new.or(sets.old.last().copied()),
        [only] => Some(only),
        _ => None,
    };
    if let Some(only) = only {
        return if replicas(only) == total { Vec::new() } else { vec![(only, total)] };
    }
    if all.is_empty() {
        return Vec::new();
    }
    if sets.new.is_some_and(|new| is_saturated(deployment, new)) {
        return active(sets.old.iter().copied()).into_iter().map(|old| (old, 0)).collect();
    }
    if !size::rolls(deployment) {
        return Vec::new();
    }
    let allowed = if total > 0 { total.saturating_add(size::max_surge(deployment)) } else { 0 };
    let to_add = allowed - sum(all.iter().copied(), replicas);
    // Larger ones first; of the same size newer ones grow first and older ones shrink first.
    size::by_age(&mut all);
    if to_add > 0 {
        all.reverse();
    }
    all.sort_by_key(|set| std::cmp::Reverse(replicas(set)));
    let mut added = 0;
    let mut sizes: Scaling<'a> = Vec::new();
    for set in all {
        let share = if to_add == added { 0 } else { proportion(deployment, set, to_add, added) };
        sizes.push((set, replicas(set) + share));
        added += share;
    }
    if let Some((_, largest)) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    sizes
}

fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    let fraction = fraction(deployment, set);
    let allowed = to_add - added;
    if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

/// How much a ReplicaSet's part of the whole changes.
fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if wanted(deployment) == 0 {
        return -replicas(set);
    }
    let now = wanted(deployment).saturating_add(size::max_surge(deployment));
    let before = number(set, MAX).filter(|before| *before != 0);
    let before = before.unwrap_or_else(|| deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0));
    if before == 0 {
        return 0;
    }
    let size = f64::from(replicas(set)) * f64::from(now) / f64::from(before);
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and saturating")]
    let size = size.round() as i32;
    size - replicas(set)
}

fn is_saturated(deployment: &Deployment, new: &ReplicaSet) -> bool {
    let total = wanted(deployment);
    number(new, DESIRED) == Some(total) && replicas(new) == total && available(new) == total
}

/// The next size of the newest ReplicaSet while rolling; `None` when it stays.
pub(super) fn newest(deployment: &Deployment, sets: &Sets<'_>, new: &ReplicaSet) -> Option<i32> {
    let total = wanted(deployment);
    let next = match replicas(new).cmp(&total) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => total,
        std::cmp::Ordering::Less => size::of_newest(deployment, sum(sets.all(), replicas), replicas(new)),
    };
    (next != replicas(new)).then_some(next)
}

/// The next sizes of old ReplicaSets while rolling: what is not available goes first, then as many as the others can bear.
pub(super) fn old<'a>(deployment: &Deployment, sets: &Sets<'a>, new: &ReplicaSet) -> Scaling<'a> {
    let old = active(sets.old.iter().copied());
    let least = wanted(deployment) - size::max_unavailable(deployment);
    let new_unavailable = replicas(new) - available(new);
    let total = sum(sets.all(), replicas);
    let may_go = total.saturating_sub(least).saturating_sub(new_unavailable);
    if sum(old.iter().copied(), replicas) == 0 || may_go <= 0 {
        return Vec::new();
    }
    let mut sizes: Scaling<'a> = old.iter().map(|set| (*set, replicas(set))).collect();
    let mut cleaned = 0;
    for (set, size) in &mut sizes {
        let unhealthy = (replicas(set) - available(set)).max(0).min(may_go - cleaned);
        *size -= unhealthy;
        cleaned += unhealthy;
    }
    let mut spare = sum(sets.all(), available) - least;
    for (_, size) in &mut sizes {
        let gone = (*size).min(spare).max(0);
        *size -= gone;
        spare -= gone;
    }
    sizes.retain(|(set, size)| replicas(set) != *size);
    sizes
}

/// With the strategy Recreate: every old ReplicaSet shrinks to nothing.
pub(super) fn none<'a>(sets: &Sets<'a>) -> Scaling<'a> {
    active(sets.old.iter().copied()).into_iter().map(|set| (set, 0)).collect()
}

/// Old ReplicaSets beyond the history limit, the earliest revisions first, that hold nothing any more.
pub(super) fn obsolete<'a>(deployment: &Deployment, sets: &Sets<'a>) -> Vec<&'a ReplicaSet> {
    let limit = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(i32::MAX);
    if limit == i32::MAX {
        return Vec::new();
    }
    let mut all: Vec<_> = sets.old.iter().copied().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    let excess = all.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    all.sort_by_key(|set| (super::revision::revision(set), size::age(set)));
    let seen = |set: &ReplicaSet| set.status.as_ref().and_then(|s| s.observed_generation) >= set.metadata.generation;
    all.truncate(excess);
    all.retain(|set| actual(set) == 0 && replicas(set) == 0 && seen(set));
    all
}
