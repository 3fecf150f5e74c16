//! The functions of the language itself: operators, conversions, text, containers, time, optional values.
//!
//! Overload ids are cel-go's. The operators that decide what is evaluated (`&&`, `||`, `?:`) have no code here.

mod arithmetic;
mod comparison;
mod containers;
mod conversion;
mod optional;
#[cfg(test)]
mod tests;
mod text;
mod time;

pub(crate) use containers::{ELEMENT, ENTRY, at, insert, optional_at};
pub(crate) use conversion::{duration, float, timestamp};

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Library, Overload};
use crate::operators;
use crate::types::Type;
use crate::value::Value;

/// The language as a library.
pub(crate) fn library() -> Library {
    let param = || Type::param("A");
    let truth = || vec![Type::Bool, Type::Bool];
    let mut functions = vec![
        Function::new(
            operators::CONDITIONAL,
            vec![Overload::global("conditional", vec![Type::Bool, param(), param()], param(), decided_elsewhere)],
        ),
        Function::new(operators::AND, vec![Overload::global("logical_and", truth(), Type::Bool, decided_elsewhere)]),
        Function::new(operators::OR, vec![Overload::global("logical_or", truth(), Type::Bool, decided_elsewhere)]),
        Function::new(
            operators::NOT_STRICTLY_FALSE,
            vec![Overload::global("not_strictly_false", vec![Type::Bool], Type::Bool, decided_elsewhere)],
        ),
    ];
    functions.extend(arithmetic::functions());
    functions.extend(comparison::functions());
    functions.extend(containers::functions());
    functions.extend(conversion::functions());
    functions.extend(optional::functions());
    functions.extend(text::functions());
    functions.extend(time::functions());
    Library { functions, macros: crate::macros::standard(), types: Vec::new() }
}

/// The evaluator decides these itself.
fn decided_elsewhere<'a>(_: &mut Budget, _: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Err(EvalError::no_such_overload())
}
