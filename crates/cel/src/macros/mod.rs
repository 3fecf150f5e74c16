//! Macros: calls that the parser replaces by other trees (`all`, `has`, `cel.bind`, …).

use std::sync::Arc;

use crate::ast::{Comprehension, Expr, ExprKind, Id, List, Literal};
use crate::error::Issue;

/// A call that the parser replaces.
#[derive(Clone, Debug)]
pub struct Macro {
    /// The function's name.
    pub name: &'static str,
    /// Whether it is called on a receiver.
    pub member: bool,
    /// How many arguments, without the receiver.
    pub args: usize,
    /// What it becomes. None leaves the call as it is.
    pub expand: Expansion,
}

/// The code of a macro: the expander, the receiver and the arguments.
pub type Expansion = fn(&mut Expander<'_>, Option<Expr>, Vec<Expr>) -> Result<Option<Expr>, Issue>;

/// Makes nodes for macros; each gets a number and the place of the macro's call.
#[derive(Debug)]
pub struct Expander<'p> {
    pub(crate) offsets: &'p mut Vec<u32>,
    pub(crate) offset: u32,
}

impl Expander<'_> {
    fn next_id(&mut self) -> Id {
        self.offsets.push(self.offset);
        (self.offsets.len() - 1) as Id
    }

    /// A node of this kind.
    pub fn node(&mut self, kind: ExprKind) -> Expr {
        Expr { id: self.next_id(), kind }
    }

    /// A name.
    pub fn ident(&mut self, name: &str) -> Expr {
        self.node(ExprKind::Ident(name.into()))
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
        self.node(ExprKind::Call(Box::new(crate::ast::Call { function: function.into(), target: None, args })))
    }

    /// `target.function(args)`.
    pub fn member_call(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.node(ExprKind::Call(Box::new(crate::ast::Call { function: function.into(), target: Some(target), args })))
    }

    /// A comprehension.
    pub fn comprehension(&mut self, comprehension: Comprehension) -> Expr {
        self.node(ExprKind::Comprehension(Box::new(comprehension)))
    }

    /// A copy of a tree with numbers of its own.
    pub fn copy(&mut self, expr: &Expr) -> Expr {
        let mut copy = expr.clone();
        self.renumber(&mut copy);
        copy
    }

    fn renumber(&mut self, expr: &mut Expr) {
        let offset = self.offsets.get(expr.id as usize).copied().unwrap_or(self.offset);
        self.offsets.push(offset);
        expr.id = (self.offsets.len() - 1) as Id;
        match &mut expr.kind {
            ExprKind::Literal(_) | ExprKind::Ident(_) => {}
            ExprKind::Select(select) => self.renumber(&mut select.operand),
            ExprKind::Call(call) => call.target.iter_mut().chain(&mut call.args).for_each(|part| self.renumber(part)),
            ExprKind::List(list) => list.elements.iter_mut().for_each(|part| self.renumber(part)),
            ExprKind::Map(entries) => {
                for entry in entries {
                    entry.id = self.next_id();
                    self.renumber(&mut entry.key);
                    self.renumber(&mut entry.value);
                }
            }
            ExprKind::Struct(object) => {
                for field in &mut object.fields {
                    field.id = self.next_id();
                    self.renumber(&mut field.value);
                }
            }
            ExprKind::Comprehension(fold) => {
                let Comprehension { range, init, condition, step, result, .. } = &mut **fold;
                for part in [range, init, condition, step, result] {
                    self.renumber(part);
                }
            }
        }
    }

    /// An error at a node.
    pub fn error(&self, at: &Expr, message: impl Into<String>) -> Issue {
        Issue { message: message.into(), offset: self.offsets.get(at.id as usize).copied() }
    }

    /// The name that an argument is, or an error at it.
    pub fn variable(&self, argument: &Expr, message: &str) -> Result<Arc<str>, Issue> {
        match &argument.kind {
            ExprKind::Ident(name) => Ok(Arc::clone(name)),
            _ => Err(self.error(argument, message)),
        }
    }
}
