//! Costs in cel-go's units: what an expression can cost, before it runs, and what a call did cost.
//!
//! Both follow cel-go (`checker.Cost`, `interpreter.CostTracker`) with the estimator that Kubernetes adds, because the limits
//! of the Kubernetes API are in these units: a rule that is accepted here is accepted there.

mod calls;
mod estimate;
mod functions;
#[cfg(test)]
mod tests;

pub(crate) use calls::{CallCost, call_cost};
pub(crate) use estimate::estimate;

use crate::types::Type;

/// What a name costs, a field, and an element by its index.
pub(crate) const SELECT_AND_IDENT_COST: u64 = 1;
/// What a constant costs.
pub(crate) const CONST_COST: u64 = 0;
/// What making a list costs, besides its elements.
pub(crate) const LIST_CREATE_BASE_COST: u64 = 10;
/// What making a map costs, besides its entries.
pub(crate) const MAP_CREATE_BASE_COST: u64 = 30;
/// What making an object costs, besides its fields.
pub(crate) const STRUCT_CREATE_BASE_COST: u64 = 40;
/// What going through a text costs for each letter.
pub(crate) const STRING_TRAVERSAL_COST_FACTOR: f64 = 0.1;
/// What a regular expression costs for each of its letters.
pub(crate) const REGEX_STRING_LENGTH_COST_FACTOR: f64 = 0.25;
/// What `authorizer…check()` costs: two to an expression.
const AUTHORIZATION_CHECK_COST: u64 = 350_000;
/// What a part of a selector costs: a list and an object.
const SELECTOR_REQUIREMENT_COST: u64 = LIST_CREATE_BASE_COST + STRUCT_CREATE_BASE_COST;
/// How many parts a selector has for each of its letters: the shortest is `k,`.
const SELECTOR_LENGTH_TO_REQUIREMENT_COUNT: f64 = 0.5;

/// The range of units that an expression can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostEstimate {
    /// At least.
    pub min: u64,
    /// At most; `u64::MAX` when nothing bounds it.
    pub max: u64,
}

/// The range of sizes that a value can have: letters of a string, octets, elements, entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeEstimate {
    /// At least.
    pub min: u64,
    /// At most; `u64::MAX` when nothing bounds it.
    pub max: u64,
}

/// What the consumer knows about the sizes of its variables.
pub trait Sizes {
    /// The size of the value at a path of this type. None when nothing is known.
    ///
    /// A path starts with a variable, followed by names of fields (as expressions spell them), `@items` for the elements of
    /// a list, `@keys` and `@values` for those of a map, `@indices` for the positions of a list: `["self", "spec", "@items"]`.
    ///
    /// Kubernetes answers for every declared path, also for numbers: with the range from 0 to the most that the schema's
    /// `maxLength`, `maxItems` or `maxProperties` allow (or a request's size), which is 0 for a type that has no size. It
    /// has no answer for a path that the schema does not have, nor for `@indices`.
    fn size(&self, path: &[String], ty: &Type) -> Option<SizeEstimate>;
}

/// Nothing is known: every variable is as large as one likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnknownSizes;

impl Sizes for UnknownSizes {
    fn size(&self, _: &[String], _: &Type) -> Option<SizeEstimate> {
        None
    }
}

/// Operations of ranges. Nothing overflows: what is too much stays the most there is.
macro_rules! range {
    ($range:ident) => {
        impl $range {
            /// Exactly this.
            pub const fn fixed(value: u64) -> Self {
                Self { min: value, max: value }
            }

            pub(crate) fn add(self, other: Self) -> Self {
                Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
            }

            pub(crate) fn multiply(self, other: Self) -> Self {
                Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
            }

            /// The cost when each unit costs `factor`, rounded up.
            pub(crate) fn by_factor(self, factor: f64) -> CostEstimate {
                CostEstimate { min: by_factor(self.min, factor), max: by_factor(self.max, factor) }
            }

            /// From the smaller minimum to the larger maximum.
            pub(crate) fn union(self, other: Self) -> Self {
                Self { min: self.min.min(other.min), max: self.max.max(other.max) }
            }
        }
    };
}

range!(CostEstimate);
range!(SizeEstimate);

impl SizeEstimate {
    /// Any size.
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    /// The cost when each unit costs as much.
    pub(crate) fn times(self, cost: CostEstimate) -> CostEstimate {
        self.cost().multiply(cost)
    }

    /// One unit each.
    pub(crate) fn cost(self) -> CostEstimate {
        CostEstimate { min: self.min, max: self.max }
    }
}

/// Rounded up; casts from floating point saturate.
pub(crate) fn by_factor(units: u64, factor: f64) -> u64 {
    (units as f64 * factor).ceil() as u64
}

/// `fieldSelector` and `labelSelector`: reading the text, and a list of what it demands.
fn selector_cost(length: SizeEstimate) -> CostEstimate {
    let read = length.by_factor(STRING_TRAVERSAL_COST_FACTOR);
    let requirements = length.by_factor(SELECTOR_LENGTH_TO_REQUIREMENT_COUNT);
    let requirements = requirements.by_factor(SELECTOR_REQUIREMENT_COST as f64);
    CostEstimate::fixed(LIST_CREATE_BASE_COST).add(read).add(requirements)
}
