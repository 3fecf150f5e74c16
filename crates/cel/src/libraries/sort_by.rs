//! The macro `list.sortBy(x, key)`.

use crate::ast::{Expr, ExprKind};
use crate::error::Issue;
use crate::macros::{Expander, Macro, Receiver, collect};

/// The name that the list is bound to; no source can spell it.
const INPUT: &str = "@__sortBy_input__";

/// `list.sortBy(x, key)` becomes `cel.bind(input, list, input.@sortByAssociatedKeys(input.map(x, key)))`.
pub(super) fn sort_by() -> Macro {
    Macro { name: "sortBy", receiver: Receiver::Any, args: 2, expand }
}

fn expand(make: &mut Expander<'_>, target: Option<Expr>, args: Vec<Expr>) -> Result<Expr, Issue> {
    let Some(target) = target else {
        return Err(Issue { message: "sortBy is called on a list".to_owned(), offset: None });
    };
    if matches!(target.kind, ExprKind::Literal(_) | ExprKind::Map(_) | ExprKind::Struct(_)) {
        let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
        return Err(make.error(&target, message));
    }
    let range = make.ident(INPUT);
    let keys = collect(make, Some(range), args, 1)?;
    let list = make.ident(INPUT);
    let sorted = make.member_call("@sortByAssociatedKeys", list, vec![keys]);
    Ok(make.bind(INPUT.into(), target, sorted))
}
