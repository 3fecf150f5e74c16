//! Costs in cel-go's units: what an expression can cost, before it runs, and what a call did cost.

use crate::types::Type;
use crate::value::Value;

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
    /// The size of the value at a path (`["self", "spec", "items", "@items"]`; `@items` elements of a list, `@keys` and
    /// `@values` of a map) of this type. None when nothing is known.
    fn size(&self, path: &[String], ty: &Type) -> Option<SizeEstimate>;
}

/// What a call did cost, from its arguments (receiver first) and its result.
pub(crate) type CallCost = for<'a> fn(&[Value<'a>], &Value<'a>) -> u64;

/// The rule for an overload. Resolved once when a program is planned.
pub(crate) fn call_cost(_overload_id: &str) -> CallCost {
    |_, _| 1
}
