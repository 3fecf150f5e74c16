//! Which revisions a StatefulSet rolls between, and what has to be written for that. Pure.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use paddock_reconcile::{Act, Error};

use super::status::Revisions;
use crate::names::{name, uid};
use crate::owner;
use crate::revisions;
use crate::selector::matches;

/// The revisions of a set.
#[derive(Debug)]
pub(super) struct History {
    /// Its own, oldest first.
    pub(super) own: Vec<ControllerRevision>,
    /// What pods of the current revision are made of.
    pub(super) current: ControllerRevision,
    /// What pods of the newest template are made of.
    pub(super) update: ControllerRevision,
    /// How often a name was taken.
    pub(super) collisions: i32,
    /// The write that makes `update` what it is.
    pub(super) write: Option<Act>,
    /// Revisions without a controller that become the set's.
    pub(super) adoptions: Vec<Act>,
}

impl History {
    pub(super) fn of(set: &StatefulSet, spec: &StatefulSetSpec, found: &[ControllerRevision]) -> Result<Self, Error> {
        let is_own = |revision: &&ControllerRevision| {
            matches(&spec.selector, revision.metadata.labels.as_ref())
                && owner::controller(&revision.metadata).is_none_or(|by| by.uid == uid(&set.metadata))
        };
        let mut own: Vec<ControllerRevision> = found.iter().filter(is_own).cloned().collect();
        revisions::sort(&mut own);
        let orphans = own.iter().filter(|revision| owner::controller(&revision.metadata).is_none());
        let adoptions = orphans.map(|orphan| owner::adopt(set, orphan, None)).collect();

        let data = revisions::data(&spec.template)?;
        let next = revisions::next(&own);
        let status = set.status.as_ref();
        let mut collisions = status.and_then(|status| status.collision_count).unwrap_or(0);
        let (update, write) = match revisions::equal(&own, &data) {
            Some(equal) if own.last().is_some_and(|last| last.metadata.name == equal.metadata.name) => {
                (equal.clone(), None)
            }
            // Back to an older template: its revision becomes the newest.
            Some(equal) => {
                let renewed = ControllerRevision { revision: next, ..equal.clone() };
                let write = Act::update(&renewed)?;
                (renewed, Some(write))
            }
            None => loop {
                let hash = revisions::hash(&data, collisions);
                let new = revisions::new(set, &spec.template, data.clone(), next, &hash, revisions::HASH);
                let taken = found.iter().find(|other| other.metadata.name == new.metadata.name);
                match taken {
                    None => {
                        let write = Act::create(&new)?;
                        break (new, Some(write));
                    }
                    Some(same) if same.data == new.data => break (same.clone(), None),
                    // `found` is finite, and so are its names.
                    Some(_) => collisions = collisions.saturating_add(1),
                }
            },
        };
        let named = status.and_then(|status| status.current_revision.as_deref()).unwrap_or_default();
        let current = own.iter().find(|revision| name(&revision.metadata) == named).unwrap_or(&update).clone();
        Ok(Self { own, current, update, collisions, write, adoptions })
    }

    /// Their names.
    pub(super) fn names(&self) -> Revisions {
        Revisions {
            current: name(&self.current.metadata).to_owned(),
            update: name(&self.update.metadata).to_owned(),
            collisions: self.collisions,
        }
    }
}
