//! What an evaluation may use. Pure.

use crate::error::EvalError;

/// What may be built in memory during one evaluation, in bytes, unless told otherwise.
const MEMORY: usize = 64 << 20;
/// How many octets and elements may be looked at in ways that cost units do not count: comparing what is nested, counting
/// letters, reading patterns. About a second of work.
const WORK: usize = 1 << 30;

/// The cost units and the memory that evaluations may use. One budget can serve several evaluations.
///
/// Units are those of cel-go's cost tracker: about one per step, more for functions whose work grows with their arguments.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    spent: u64,
    memory: usize,
    work: usize,
}

impl Budget {
    /// What Kubernetes allows one expression (`PerCallLimit`).
    pub const PER_EXPRESSION: u64 = 1_000_000;
    /// What Kubernetes allows all expressions about one object together (`RuntimeCELCostBudget`).
    pub const PER_OBJECT: u64 = 10_000_000;

    /// A budget of `limit` cost units.
    pub fn new(limit: u64) -> Self {
        Self { limit, spent: 0, memory: MEMORY, work: WORK }
    }

    /// The units used so far. It can be above the limit by the cost of the last step.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// The units left.
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.spent)
    }

    /// Uses units; an error when more than the limit are used (`operation cancelled: actual cost limit exceeded`).
    pub fn charge(&mut self, units: u64) -> Result<(), EvalError> {
        self.spent = self.spent.saturating_add(units);
        if self.spent > self.limit { Err(EvalError::over_budget()) } else { Ok(()) }
    }

    /// Counts work that cel-go's units leave out, so that time is bounded too: about one step for each octet or element that
    /// is looked at.
    pub fn work(&mut self, steps: usize) -> Result<(), EvalError> {
        match self.work.checked_sub(steps) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => Err(EvalError::over_budget()),
        }
    }

    /// Asks for memory before a value of about so many bytes is built. Memory is not given back: it bounds what one
    /// budget builds in all.
    pub fn allocate(&mut self, bytes: usize) -> Result<(), EvalError> {
        match self.memory.checked_sub(bytes) {
            Some(left) => {
                self.memory = left;
                Ok(())
            }
            None => Err(EvalError::over_budget()),
        }
    }
}

impl Default for Budget {
    /// [`Budget::PER_EXPRESSION`].
    fn default() -> Self {
        Self::new(Self::PER_EXPRESSION)
    }
}
