//! Functions: how they are declared, and the table of them.
//!
//! # Adding functions
//!
//! A [`Library`] is a list of [`Function`]s (a name with its [`Overload`]s) and of [`Macro`]s. An overload's `call` is a
//! plain `fn`; it gets the receiver as its first argument and never sees arguments of other types than it declares
//! (compared without type parameters: `list(int)` and `list(string)` are the same when the expression runs, so overloads that
//! differ only there must share one `call`). It returns an [`EvalError`] with cel-go's text, never panics, and calls
//! [`Budget::allocate`] before it builds anything that is larger than its arguments.
//!
//! ```ignore
//! fn upper<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
//!     let text = args.text(0)?;
//!     budget.allocate(text.len())?;
//!     Ok(Value::from(text.to_ascii_uppercase()))
//! }
//! Function::new("upperAscii", vec![Overload::member("string_upper_ascii", vec![Type::String], Type::String, upper)])
//! ```
//!
//! What a call costs is decided by the overload's id in [`crate::cost`].

use std::collections::HashMap;
use std::sync::Arc;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::macros::Macro;
use crate::types::Type;
use crate::value::Value;

/// The code of an overload.
pub type Implementation = for<'a> fn(&mut Budget, &[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// One signature of a function.
#[derive(Clone, Debug)]
pub struct Overload {
    /// cel-go's id, unique over all functions: `size_string`. Costs are keyed by it.
    pub id: &'static str,
    /// Whether it is called `receiver.function(...)`; the receiver is then the first argument.
    pub member: bool,
    /// The types of its arguments.
    pub args: Vec<Type>,
    /// The type of its result.
    pub result: Type,
    /// Its code.
    pub call: Implementation,
}

impl Overload {
    /// `function(args)`.
    pub fn global(id: &'static str, args: Vec<Type>, result: Type, call: Implementation) -> Self {
        Self { id, member: false, args, result, call }
    }

    /// `args[0].function(args[1..])`.
    pub fn member(id: &'static str, args: Vec<Type>, result: Type, call: Implementation) -> Self {
        Self { id, member: true, args, result, call }
    }
}

/// A function: a name and its signatures, most specific first.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name, dots included: `optional.of`.
    pub name: &'static str,
    /// The signatures.
    pub overloads: Vec<Overload>,
}

impl Function {
    /// A function.
    pub fn new(name: &'static str, overloads: Vec<Overload>) -> Self {
        Self { name, overloads }
    }
}

/// Functions and macros that belong together.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// Functions. Signatures of a function that exists already are added to it.
    pub functions: Vec<Function>,
    /// Macros.
    pub macros: Vec<Macro>,
    /// Types that expressions can name: `type(url('..')) == kubernetes.URL`.
    pub types: Vec<Type>,
}

/// All functions of an environment, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    by_name: HashMap<&'static str, Arc<Function>>,
}

impl Functions {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.by_name.get(name)
    }

    pub(crate) fn add(&mut self, function: Function) {
        match self.by_name.get_mut(function.name) {
            Some(known) => Arc::make_mut(known).overloads.extend(function.overloads),
            None => {
                self.by_name.insert(function.name, Arc::new(function));
            }
        }
    }
}
