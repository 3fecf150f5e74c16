//! Makes nodes: numbers them, remembers where they are, and keeps the tree from getting too deep.

use super::MAX_DEPTH;
use crate::ast::{Expr, ExprKind, Id, Literal};

/// Makes the nodes of one tree.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// Where each node is, by number.
    pub(crate) offsets: Vec<u32>,
    /// How deep the tree below each node is, by number.
    depths: Vec<u16>,
    /// Whether a node was left out because the tree would be too deep; the parser then gives up.
    pub(crate) too_deep: bool,
}

impl Builder {
    /// A number without a node: entries of maps and fields of objects have one.
    pub(crate) fn id(&mut self, offset: u32) -> Id {
        self.offsets.push(offset);
        self.depths.push(0);
        (self.offsets.len() - 1) as Id
    }

    pub(crate) fn node(&mut self, offset: u32, kind: ExprKind) -> Expr {
        let mut below = 0;
        kind.for_each_child(|child| below = below.max(self.depths.get(child.id as usize).copied().unwrap_or(0)));
        let id = self.id(offset);
        if below >= MAX_DEPTH {
            self.too_deep = true;
            return Expr { id, kind: ExprKind::Literal(Literal::Null) };
        }
        if let Some(depth) = self.depths.get_mut(id as usize) {
            *depth = below + 1;
        }
        Expr { id, kind }
    }
}
