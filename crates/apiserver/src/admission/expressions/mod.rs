//! Expressions of webhooks and policies: what they are compiled against, and how they run. Reads the store only through
//! `authorizer`.
//!
//! | module | what it is for |
//! |---|---|
//! | `declared` | variables and their types, pure |
//! | `run` | values of the variables, budgets, errors |
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/cel`.

mod declared;
mod run;

use paddock_cel::ast::{Expr, ExprKind};
use paddock_cel::{Env, Program, Type};

pub(crate) use declared::{Purpose, Scope};
pub(crate) use run::{BUDGET, Bindings, CONDITIONS_BUDGET, Run, Stopped};

/// An expression of a stored object: its text, and its program unless it does not compile.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) source: String,
    pub(crate) program: Result<Program, String>,
}

/// One of a policy's `variables`.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    expression: Compiled,
    /// Indices of the variables that it uses; all of them come before it.
    uses: Vec<usize>,
}

/// Compiles the expressions of one webhook or policy. Each variable is known to those after it.
pub(crate) struct Compiler {
    scope: Scope,
    env: Env,
    variables: Vec<Variable>,
    types: Vec<(String, Type)>,
}

impl Compiler {
    /// A compiler that knows no `variables` yet.
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, env: scope.env().clone(), variables: Vec::new(), types: Vec::new() }
    }

    /// An expression of this purpose. The error is the text that a field error carries.
    pub(crate) fn compile(&self, source: &str, purpose: Purpose) -> Result<Program, String> {
        // Whether `authorizer` may be used depends on the expression, not on the policy.
        let narrowed = (!purpose.has_authorizer()).then(|| self.narrowed());
        let program = narrowed.as_ref().unwrap_or(&self.env).compile(source);
        let program = program.map_err(|error| format!("compilation failed: {error}"))?;
        purpose.check(program.result_type())?;
        Ok(program)
    }

    fn narrowed(&self) -> Env {
        let plain = Scope { authorizer: false, ..self.scope };
        declared::with_variables(plain.env(), &self.types)
    }

    /// The same for an expression that is kept whether it compiles or not.
    pub(crate) fn keep(&self, source: &str, purpose: Purpose) -> Compiled {
        Compiled { source: source.to_owned(), program: self.compile(source, purpose) }
    }

    /// Declares `variables.NAME`. One that does not compile is known all the same, so that one mistake is told once.
    pub(crate) fn variable(&mut self, name: &str, source: &str) -> Result<(), String> {
        let expression = self.keep(source, Purpose::Variable);
        let failed = expression.program.as_ref().err().cloned();
        let ty = expression.program.as_ref().map_or(Type::Dyn, |program| program.result_type().clone());
        let uses = expression.program.as_ref().map(|program| self.used(program)).unwrap_or_default();
        self.types.push((name.to_owned(), ty));
        self.variables.push(Variable { name: name.to_owned(), expression, uses });
        self.env = declared::with_variables(self.scope.env(), &self.types);
        failed.map_or(Ok(()), Err)
    }

    /// The variables, in the order in which they were declared.
    pub(crate) fn into_variables(self) -> Vec<Variable> {
        self.variables
    }

    /// Which variables a program selects.
    fn used(&self, program: &Program) -> Vec<usize> {
        let mut used = Vec::new();
        let mut names = Vec::new();
        collect(&program.checked().root, &mut names);
        for name in names {
            // The last declaration of a name is the one that counts.
            if let Some(index) = self.variables.iter().rposition(|variable| variable.name == name)
                && !used.contains(&index)
            {
                used.push(index);
            }
        }
        used
    }
}

/// Names that are selected from `variables`. The parser bounds the depth of trees.
fn collect(expression: &Expr, names: &mut Vec<String>) {
    if let ExprKind::Select(select) = &expression.kind
        && matches!(&select.operand.kind, ExprKind::Ident(name) if **name == *declared::VARIABLES)
    {
        names.push(select.field.to_string());
    }
    expression.kind.for_each_child(|child| collect(child, names));
}
