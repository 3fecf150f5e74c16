//! Macros: calls that the parser replaces by other trees (`all`, `has`, `cel.bind`, …).

mod standard;

use std::sync::Arc;

pub(crate) use standard::{binding, collect, macros as standard};

use crate::ast::{Call, Comprehension, Expr, ExprKind, List, Literal, Select};
use crate::error::Issue;
use crate::parser::Builder;

/// The name of the accumulator in comprehensions that macros make; no source can spell it.
pub const ACCUMULATOR: &str = "@result";

/// A call that the parser replaces.
#[derive(Clone, Debug)]
pub struct Macro {
    /// The function's name.
    pub name: &'static str,
    /// What it is called on.
    pub receiver: Receiver,
    /// How many arguments, without the receiver.
    pub args: usize,
    /// What it becomes.
    pub expand: Expansion,
}

/// What a macro is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// Nothing: `has(a.b)`.
    None,
    /// Any expression: `list.all(x, x > 0)`.
    Any,
    /// This name: the `cel` of `cel.bind(x, 1, x + 1)`.
    Named(&'static str),
}

/// The code of a macro: the expander, the receiver and as many arguments as the macro says.
pub type Expansion = fn(&mut Expander<'_>, Option<Expr>, Vec<Expr>) -> Result<Expr, Issue>;

impl Macro {
    pub(crate) fn applies(&self, name: &str, target: Option<&Expr>, args: usize) -> bool {
        self.name == name
            && self.args == args
            && match (self.receiver, target) {
                (Receiver::None, None) | (Receiver::Any, Some(_)) => true,
                (Receiver::Named(receiver), Some(Expr { kind: ExprKind::Ident(name), .. })) => **name == *receiver,
                _ => false,
            }
    }
}

/// Makes nodes for macros. Each gets a number of its own and the place of the macro's call.
#[derive(Debug)]
pub struct Expander<'p> {
    pub(crate) builder: &'p mut Builder,
    pub(crate) offset: u32,
}

impl Expander<'_> {
    /// A node of this kind.
    pub fn node(&mut self, kind: ExprKind) -> Expr {
        self.builder.node(self.offset, kind)
    }

    /// A name.
    pub fn ident(&mut self, name: &str) -> Expr {
        self.node(ExprKind::Ident(name.into()))
    }

    /// The accumulator.
    pub fn accumulator(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    /// A constant.
    pub fn literal(&mut self, literal: Literal) -> Expr {
        self.node(ExprKind::Literal(literal))
    }

    /// A list.
    pub fn list(&mut self, elements: Vec<Expr>) -> Expr {
        self.node(ExprKind::List(List { elements, optional: Vec::new() }))
    }

    /// `function(args)`.
    pub fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.node(ExprKind::Call(Box::new(Call { function: function.into(), target: None, args })))
    }

    /// `target.function(args)`.
    pub fn member_call(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.node(ExprKind::Call(Box::new(Call { function: function.into(), target: Some(target), args })))
    }

    /// `has(operand.field)`.
    pub fn presence(&mut self, operand: Expr, field: Arc<str>) -> Expr {
        self.node(ExprKind::Select(Box::new(Select { operand, field, test_only: true })))
    }

    /// A comprehension.
    pub fn comprehension(&mut self, comprehension: Comprehension) -> Expr {
        self.node(ExprKind::Comprehension(Box::new(comprehension)))
    }

    /// `cel.bind(name, value, body)`: a comprehension over nothing, as cel-go has it.
    pub fn bind(&mut self, name: Arc<str>, value: Expr, body: Expr) -> Expr {
        let range = self.list(Vec::new());
        let condition = self.literal(Literal::Bool(false));
        let step = self.ident(&name);
        self.comprehension(Comprehension {
            range,
            var: "#unused".into(),
            var2: None,
            accu: name,
            init: value,
            condition,
            step,
            result: body,
        })
    }

    /// An error at a node.
    pub fn error(&self, at: &Expr, message: impl Into<String>) -> Issue {
        Issue { message: message.into(), offset: self.builder.offsets.get(at.id as usize).copied() }
    }

    /// The name that an argument is, or an error at it.
    pub fn name(&self, argument: &Expr, message: &str) -> Result<Arc<str>, Issue> {
        match &argument.kind {
            ExprKind::Ident(name) if !name.starts_with('.') => Ok(Arc::clone(name)),
            _ => Err(self.error(argument, message)),
        }
    }
}
