//! Removal by omission: what a manager applied last time and not this time goes, unless another manager owns it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Target;
use super::entries::{Entries, Owned};
use super::set::FieldSet;
use super::walk::At;

/// The merged object without what only `last`, the manager's former entry, held. `entries` has the manager's new one.
///
/// Each manager's fields are looked at in the version that they were written in.
pub(super) fn prune(target: &Target<'_>, merged: Value, entries: &Entries, last: &Owned) -> Value {
    let first = last.api_version.as_str();
    let Some(at) = target.at(first) else { return merged };
    let whole = target.convert(&merged, target.api_version, first).into_owned();
    let dropped = at.with_named_parents(&last.set);
    let mut pruned = whole.clone();
    at.remove(&mut pruned, &dropped);

    // What managers own, this one's new set included, comes back.
    let mut managed: BTreeMap<&str, FieldSet> = BTreeMap::new();
    for owned in entries.values() {
        managed.entry(&owned.api_version).or_default().add(&owned.set);
    }
    let (mut full, mut version) = (whole.clone(), first);
    let order = managed.keys().copied().filter(|v| *v == first).chain(managed.keys().copied().filter(|v| *v != first));
    for next in order {
        let (Some(at), Some(set)) = (target.at(next), managed.get(next)) else { continue };
        full = target.convert(&full, version, next).into_owned();
        pruned = target.convert(&pruned, version, next).into_owned();
        version = next;
        let keep = named_set(at, &pruned).union(&at.with_named_parents(set));
        let gone = named_set(at, &full).difference(&keep);
        pruned = full.clone();
        at.remove(&mut pruned, &gone);
    }

    // What was not the manager's comes back: it may have hung below what was removed.
    let pruned = target.convert(&pruned, version, first);
    let gone = named_set(at, &whole).difference(&named_set(at, &pruned)).intersection(&dropped);
    let mut out = whole;
    at.remove(&mut out, &gone);
    target.convert(&out, first, target.api_version).into_owned()
}

fn named_set(at: At<'_>, object: &Value) -> FieldSet {
    at.with_named_parents(&at.field_set(object))
}
