//! Conflicts of an apply: which fields stand in the way, by owner, and the 409 that says so. Pure.

use std::collections::BTreeMap;

use crate::status::{Details, Status};

use super::entries::Id;
use super::set::FieldSet;

/// Fields that stand in the way, by owner.
#[derive(Debug, Default)]
pub(super) struct Conflicts(BTreeMap<Id, FieldSet>);

impl Conflicts {
    /// The owners that stand in the way; those with no field do not.
    pub(super) fn new(owners: impl Iterator<Item = (Id, FieldSet)>) -> Self {
        Self(owners.filter(|(_, set)| !set.is_empty()).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left when some fields are nobody's but the applier's.
    pub(super) fn without(&self, allowed: &FieldSet) -> Self {
        Self::new(self.0.iter().map(|(id, set)| (id.clone(), set.difference(allowed))))
    }

    /// 409 with one cause per field.
    pub(super) fn status(&self) -> Status {
        let mut causes = Vec::new();
        let mut lines = Vec::new();
        for (id, set) in &self.0 {
            lines.push(format!("conflicts with {id}:"));
            for path in set.paths() {
                lines.push(format!("- {path}"));
                causes.push(("FieldManagerConflict".to_owned(), format!("conflict with {id}"), path));
            }
        }
        let message = match causes.as_slice() {
            [(_, conflict, path)] => format!("Apply failed with 1 conflict: {conflict}: {path}"),
            many => format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n")),
        };
        Status::new(409, "Conflict", message).with(Details { causes, ..Details::default() })
    }
}
