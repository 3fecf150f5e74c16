//! The CEL rules of one schema node, compiled. Pure.

use paddock_cel::{Env, Program, Type};
use serde_json::Value;

use super::decl::Decl;
use crate::schema::Schema;

/// Why an expression cannot be used, as kube-apiserver's errors say it.
pub(super) struct Failure(pub(super) String);

/// One rule.
pub(super) struct Compiled {
    /// The rule.
    pub(super) program: Result<Program, Failure>,
    /// The expression that makes its message, if there is one and the rule itself can be used.
    pub(super) message: Option<Result<Program, Failure>>,
    /// The rule uses the old value.
    pub(super) uses_old: bool,
}

/// Compiles the rules of a node, whose type is `decl`.
pub(super) fn compile(schema: &Schema, decl: &Decl) -> Vec<Compiled> {
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    let env = |old: Type| Env::builder().variable("self", decl.ty.clone()).variable("oldSelf", old).build();
    let mut plain = None;
    let mut optional = None;
    let mut one = |rule: &Value| {
        let env = if rule["optionalOldSelf"] == true {
            optional.get_or_insert_with(|| env(Type::optional(decl.ty.clone())))
        } else {
            plain.get_or_insert_with(|| env(decl.ty.clone()))
        };
        let program = expression(
            env,
            &text(rule, "rule"),
            &Type::Bool,
            "compilation failed",
            "cel expression must evaluate to a bool",
        );
        let uses_old = program.as_ref().is_ok_and(|program| program.references("oldSelf"));
        let message =
            Some(text(rule, "messageExpression")).filter(|text| !text.is_empty() && program.is_ok()).map(|source| {
                expression(
                    env,
                    &source,
                    &Type::String,
                    "messageExpression compilation failed",
                    "messageExpression must evaluate to a string",
                )
            });
        Compiled { program, message, uses_old }
    };
    schema.validations.iter().map(&mut one).collect()
}

fn expression(env: &Env, source: &str, wanted: &Type, failed: &str, mistyped: &str) -> Result<Program, Failure> {
    let program = env.compile(source).map_err(|error| Failure(format!("{failed}: {error}")))?;
    if program.result_type() == wanted { Ok(program) } else { Err(Failure(mistyped.to_owned())) }
}
