//! Constants that can never work: `duration('x')`, `timestamp('x')`, `matches('(')`, `'%d'.format(['x'])`. Kubernetes refuses
//! them when it compiles.

use crate::ast::{Checked, Expr, ExprKind, Literal};
use crate::error::Issue;
use crate::{libraries, pattern, standard};

/// What is wrong with the constants of a checked tree.
pub(super) fn check(checked: &Checked, offsets: &[u32]) -> Vec<Issue> {
    let mut issues = Vec::new();
    visit(&checked.root, &mut |expr| {
        if let Some((id, message)) = libraries::check_format(checked, expr) {
            issues.push(Issue { message, offset: offsets.get(id as usize).copied() });
        }
        let ExprKind::Call(call) = &expr.kind else { return };
        let Some(Expr { id, kind: ExprKind::Literal(Literal::String(text)) }) = call.args.last() else { return };
        let valid = match (&*call.function, call.args.len(), &call.target) {
            ("duration", 1, None) => standard::duration(text).is_ok(),
            ("timestamp", 1, None) => standard::timestamp(text).is_ok(),
            ("matches", 1, Some(_)) | ("matches", 2, None) => pattern::compile(text).is_ok(),
            _ => true,
        };
        if !valid {
            let offset = offsets.get(*id as usize).copied();
            issues.push(Issue { message: format!("invalid {} argument", call.function), offset });
        }
    });
    issues
}

fn visit(expr: &Expr, see: &mut dyn FnMut(&Expr)) {
    see(expr);
    expr.kind.for_each_child(|child| visit(child, see));
}
