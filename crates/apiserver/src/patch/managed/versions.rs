//! Entries in the versions that they were written in: what changed is compared in each of them, and a version or schema
//! that changed since is reconciled. Pure; how a kind converts comes through [`Versions`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::schema::Typed;

use super::Target;
use super::conflict::Conflicts;
use super::entries::{Entries, Id, take};
use super::shape::Node;
use super::walk::{At, Comparison};

/// A kind's other versions.
pub trait Versions: Send + Sync {
    /// The schema of a version such as `apps/v1`; `None` when it is not served.
    fn schema(&self, api_version: &str) -> Option<Typed<'_>>;
    /// An object of one version in another one; both are served. No defaults are set.
    fn convert(&self, object: &Value, from: &str, to: &str) -> Value;
}

/// No other versions.
impl Versions for () {
    fn schema(&self, _api_version: &str) -> Option<Typed<'_>> {
        None
    }
    fn convert(&self, object: &Value, _from: &str, _to: &str) -> Value {
        object.clone()
    }
}

impl<'a> Target<'a> {
    /// The root of the request's version.
    pub(super) fn own(&self) -> At<'a> {
        At::root(Node::new(self.schema))
    }

    /// The root of a version; `None` when it is not served.
    pub(super) fn at(&self, api_version: &str) -> Option<At<'a>> {
        if api_version == self.api_version {
            return Some(self.own());
        }
        self.versions.schema(api_version).map(|schema| At::root(Node::new(schema)))
    }

    /// An object in another version.
    pub(super) fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Cow<'v, Value> {
        if from == to { Cow::Borrowed(object) } else { Cow::Owned(self.versions.convert(object, from, to)) }
    }

    /// Drops entries of versions that are gone and fits the others to the schema of today.
    pub(super) fn reconcile(&self, entries: &mut Entries) {
        entries.retain(|_, owned| {
            let Some(at) = self.at(&owned.api_version) else { return false };
            owned.set = at.reconcile(&owned.set);
            true
        });
    }
}

/// What the two objects of a comparison are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Both are what Go types hold.
    Stored,
    /// The new one was merged from what a client sent.
    Sent,
}

/// What changed between two objects, in each version that some entry was written in.
pub(super) struct Comparisons<'t> {
    own: &'t str,
    by_version: BTreeMap<String, Comparison>,
}

impl<'t> Comparisons<'t> {
    pub(super) fn of(target: &Target<'t>, old: &Value, new: &Value, entries: &Entries, form: Form) -> Self {
        let mut versions: Vec<&str> = entries.values().map(|owned| owned.api_version.as_str()).collect();
        versions.push(target.api_version);
        versions.sort_unstable();
        versions.dedup();
        let compared = |version: &str| {
            let at = target.at(version)?;
            let view = |object| {
                let mut object = target.convert(object, target.api_version, version);
                if super::managed_fields(&object).is_some() {
                    take(object.to_mut());
                }
                if form == Form::Stored && !target.custom && at.node.lacks(&object, true) {
                    at.node.fill(object.to_mut(), true);
                }
                object
            };
            let changed = at.compare(Some(&*view(old)), Some(&*view(new))).excluding(target.reset);
            Some((version.to_owned(), changed))
        };
        Self { own: target.api_version, by_version: versions.into_iter().filter_map(compared).collect() }
    }

    /// What changed in the request's version, of comparisons that are of no more use.
    pub(super) fn into_own(mut self) -> Comparison {
        self.by_version.remove(self.own).unwrap_or_default()
    }

    /// What changed in the request's version.
    pub(super) fn own(&self) -> &Comparison {
        static NOTHING: std::sync::LazyLock<Comparison> = std::sync::LazyLock::new(Comparison::default);
        self.by_version.get(self.own).unwrap_or(&NOTHING)
    }

    /// Takes what changed away from all but `keep`; entries left with nothing go, and those of unknown versions.
    pub(super) fn yield_fields(&self, entries: &mut Entries, keep: Option<&Id>) {
        entries.retain(|id, owned| {
            let Some(changed) = self.by_version.get(&owned.api_version) else { return false };
            if keep != Some(id) {
                for gone in [&changed.modified, &changed.added, &changed.removed] {
                    owned.set = owned.set.difference(gone);
                }
            }
            !owned.set.is_empty()
        });
    }

    /// What others own of what changed.
    pub(super) fn conflicts(&self, entries: &Entries, applier: &Id) -> Conflicts {
        let taken = |(id, owned): (&Id, &super::Owned)| {
            let changed = self.by_version.get(&owned.api_version)?;
            Some((id.clone(), owned.set.intersection(&changed.modified.union(&changed.added))))
        };
        Conflicts::new(entries.iter().filter(|(id, _)| *id != applier).filter_map(taken))
    }
}
