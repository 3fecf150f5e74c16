//! A compiled expression: what consumers hold and run.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::Checked;
use crate::budget::Budget;
use crate::cost::{self, CostEstimate, Sizes};
use crate::env::Declarations;
use crate::error::{CompileError, EvalError};
use crate::plan::{self, Plan};
use crate::types::Type;
use crate::value::Value;
use crate::{checker, evaluate, parser};

/// Stack of the thread that compiles a long expression: the deepest one that is accepted takes 1.4 MiB in a debug build, and
/// the caller may be deep in a thread of 2 MiB. Only what is used is ever backed by memory.
const STACK: usize = 16 << 20;
/// Expressions of so many bytes cannot be nested deep enough to need it.
const SHORT: usize = 128;

/// A compiled expression. Cloning is cheap; any number of threads may run it.
#[derive(Clone, Debug)]
pub struct Program(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: String,
    checked: Checked,
    plan: Plan,
}

/// Where an evaluation gets its variables from; each is asked for at most once, when it is first used.
pub trait Variables<'a> {
    /// A variable's value. None when there is none: `no such attribute(s): x`.
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;
}

impl<'a, const N: usize> Variables<'a> for [(&str, Value<'a>); N] {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| Ok(value.clone()))
    }
}

impl<'a> Variables<'a> for HashMap<String, Value<'a>> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        Self::get(self, name).map(|value| Ok(value.clone()))
    }
}

impl Program {
    pub(crate) fn compile(declarations: &Declarations, source: &str) -> Result<Self, CompileError> {
        if source.len() <= SHORT {
            return Self::compile_here(declarations, source);
        }
        std::thread::scope(|scope| {
            let compiler = std::thread::Builder::new().name("cel".to_owned()).stack_size(STACK);
            match compiler.spawn_scoped(scope, || Self::compile_here(declarations, source)) {
                Ok(running) => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // No thread can be had: most expressions do not need one.
                Err(_) => Self::compile_here(declarations, source),
            }
        })
    }

    fn compile_here(declarations: &Declarations, source: &str) -> Result<Self, CompileError> {
        let failed = |issues| CompileError { issues, source: source.to_owned() };
        let parsed = parser::parse(source, &declarations.language.macros).map_err(|issue| failed(vec![issue]))?;
        let checked = checker::check(declarations, parsed).map_err(failed)?;
        let plan = plan::plan(declarations, &checked);
        Ok(Self(Arc::new(Compiled { source: source.to_owned(), checked, plan })))
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The checked tree.
    pub fn checked(&self) -> &Checked {
        &self.0.checked
    }

    /// The type of the expression's value.
    pub fn result_type(&self) -> &Type {
        self.0.checked.type_of(self.0.checked.root.id)
    }

    /// Whether the expression uses a declared variable: a rule that uses `oldSelf` is a transition rule.
    pub fn references(&self, variable: &str) -> bool {
        self.0.plan.variables.iter().any(|name| **name == *variable)
    }

    /// What the expression can cost, given what is known of the sizes of its variables.
    pub fn cost(&self, sizes: &dyn Sizes) -> CostEstimate {
        cost::estimate(&self.0.checked, sizes)
    }

    /// Runs the expression. Never panics; time and memory are bounded by the budget.
    pub fn evaluate<'a>(&self, variables: &dyn Variables<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        evaluate::evaluate(&self.0.plan, variables, budget)
    }
}
