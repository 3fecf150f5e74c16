//! The macros of the language, of optional values and of comprehensions with two variables; `cel.bind`.
//!
//! What they become is cel-go's, because costs follow from it.

use std::sync::Arc;

use super::{ACCUMULATOR, Expander, Expansion, Macro, Receiver};
use crate::ast::{Comprehension, Expr, ExprKind, Literal};
use crate::error::Issue;
use crate::operators;

/// `cel.bind(x, value, body)`. Kubernetes does not have it.
pub(crate) fn binding() -> Macro {
    Macro { name: "bind", receiver: Receiver::Named("cel"), args: 3, expand: bind }
}

/// Those that Kubernetes has.
pub(crate) fn macros() -> Vec<Macro> {
    let member = |name, args, expand: Expansion| Macro { name, receiver: Receiver::Any, args, expand };
    vec![
        Macro { name: "has", receiver: Receiver::None, args: 1, expand: has },
        member("all", 2, |make, range, args| quantifier(make, range, args, Quantifier::All)),
        member("all", 3, |make, range, args| quantifier(make, range, args, Quantifier::All)),
        member("exists", 2, |make, range, args| quantifier(make, range, args, Quantifier::Exists)),
        member("exists", 3, |make, range, args| quantifier(make, range, args, Quantifier::Exists)),
        member("exists_one", 2, |make, range, args| quantifier(make, range, args, Quantifier::ExistsOne)),
        member("exists_one", 3, |make, range, args| quantifier(make, range, args, Quantifier::ExistsOne)),
        member("existsOne", 2, |make, range, args| quantifier(make, range, args, Quantifier::ExistsOne)),
        member("existsOne", 3, |make, range, args| quantifier(make, range, args, Quantifier::ExistsOne)),
        member("map", 2, |make, range, args| collect(make, range, args, 1)),
        member("map", 3, |make, range, args| collect(make, range, args, 1)),
        member("filter", 2, filter),
        member("transformList", 3, |make, range, args| collect(make, range, args, 2)),
        member("transformList", 4, |make, range, args| collect(make, range, args, 2)),
        member("transformMap", 3, |make, range, args| transform_map(make, range, args, true)),
        member("transformMap", 4, |make, range, args| transform_map(make, range, args, true)),
        member("transformMapEntry", 3, |make, range, args| transform_map(make, range, args, false)),
        member("transformMapEntry", 4, |make, range, args| transform_map(make, range, args, false)),
        member("optMap", 2, |make, target, args| opt_map(make, target, args, true)),
        member("optFlatMap", 2, |make, target, args| opt_map(make, target, args, false)),
    ]
}

/// What is left of a call with fewer arguments than its macro says; the parser never makes one.
fn incomplete() -> Issue {
    Issue { message: "macro call is incomplete".to_owned(), offset: None }
}

fn has(make: &mut Expander<'_>, _: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Issue> {
    let argument = args.pop().ok_or_else(incomplete)?;
    match argument.kind {
        ExprKind::Select(select) if !select.test_only => Ok(make.presence(select.operand, select.field)),
        _ => Err(make.error(&argument, "invalid argument to has() macro")),
    }
}

fn bind(make: &mut Expander<'_>, _: Option<Expr>, args: Vec<Expr>) -> Result<Expr, Issue> {
    let [name, value, body]: [Expr; 3] = args.try_into().map_err(|_| incomplete())?;
    let name = make.name(&name, "cel.bind() variable names must be simple identifiers")?;
    Ok(make.bind(name, value, body))
}

/// The range of a macro, its variables and what is left of its arguments.
struct Loop {
    range: Expr,
    var: Arc<str>,
    var2: Option<Arc<str>>,
    rest: Vec<Expr>,
}

impl Loop {
    fn new(
        make: &Expander<'_>,
        range: Option<Expr>,
        mut args: Vec<Expr>,
        variables: usize,
        message: &str,
    ) -> Result<Self, Issue> {
        let range = range.ok_or_else(incomplete)?;
        if args.len() <= variables {
            return Err(incomplete());
        }
        let rest = args.split_off(variables);
        let mut names = Vec::new();
        for argument in &args {
            let name = make.name(argument, message)?;
            if *name == *ACCUMULATOR || *name == *"__result__" {
                return Err(make.error(argument, "iteration variable overwrites accumulator variable"));
            }
            if names.contains(&name) {
                return Err(make.error(argument, format!("duplicate variable name: {name}")));
            }
            names.push(name);
        }
        let mut names = names.into_iter();
        let var = names.next().ok_or_else(incomplete)?;
        Ok(Self { range, var, var2: names.next(), rest })
    }

    fn fold(self, make: &mut Expander<'_>, init: Expr, condition: Expr, step: Expr, result: Expr) -> Expr {
        make.comprehension(Comprehension {
            range: self.range,
            var: self.var,
            var2: self.var2,
            accu: ACCUMULATOR.into(),
            init,
            condition,
            step,
            result,
        })
    }
}

#[derive(Clone, Copy)]
enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

fn quantifier(make: &mut Expander<'_>, range: Option<Expr>, args: Vec<Expr>, kind: Quantifier) -> Result<Expr, Issue> {
    let variables = args.len().saturating_sub(1);
    let mut parts = Loop::new(make, range, args, variables, "argument must be a simple name")?;
    let predicate = parts.rest.pop().ok_or_else(incomplete)?;
    let (init, condition, step, result) = match kind {
        Quantifier::All => {
            let init = make.literal(Literal::Bool(true));
            let accu = make.accumulator();
            let condition = make.call(operators::NOT_STRICTLY_FALSE, vec![accu]);
            let accu = make.accumulator();
            let step = make.call(operators::AND, vec![accu, predicate]);
            (init, condition, step, make.accumulator())
        }
        Quantifier::Exists => {
            let init = make.literal(Literal::Bool(false));
            let accu = make.accumulator();
            let not = make.call(operators::NOT, vec![accu]);
            let condition = make.call(operators::NOT_STRICTLY_FALSE, vec![not]);
            let accu = make.accumulator();
            let step = make.call(operators::OR, vec![accu, predicate]);
            (init, condition, step, make.accumulator())
        }
        Quantifier::ExistsOne => {
            let init = make.literal(Literal::Int(0));
            let condition = make.literal(Literal::Bool(true));
            let (accu, one) = (make.accumulator(), make.literal(Literal::Int(1)));
            let more = make.call(operators::ADD, vec![accu, one]);
            let same = make.accumulator();
            let step = make.call(operators::CONDITIONAL, vec![predicate, more, same]);
            let (accu, one) = (make.accumulator(), make.literal(Literal::Int(1)));
            (init, condition, step, make.call(operators::EQUALS, vec![accu, one]))
        }
    };
    Ok(parts.fold(make, init, condition, step, result))
}

/// `accu + [element]`, when there is no filter or it is true.
fn appending(make: &mut Expander<'_>, filter: Option<Expr>, element: Expr) -> Expr {
    let accu = make.accumulator();
    let one = make.list(vec![element]);
    let step = make.call(operators::ADD, vec![accu, one]);
    conditional(make, filter, step)
}

fn conditional(make: &mut Expander<'_>, filter: Option<Expr>, step: Expr) -> Expr {
    match filter {
        Some(filter) => {
            let same = make.accumulator();
            make.call(operators::CONDITIONAL, vec![filter, step, same])
        }
        None => step,
    }
}

/// `map` with one variable, `transformList` with two.
pub(crate) fn collect(
    make: &mut Expander<'_>,
    range: Option<Expr>,
    args: Vec<Expr>,
    variables: usize,
) -> Result<Expr, Issue> {
    let mut parts = Loop::new(make, range, args, variables, "argument is not an identifier")?;
    let element = parts.rest.pop().ok_or_else(incomplete)?;
    let init = make.list(Vec::new());
    let condition = make.literal(Literal::Bool(true));
    let filter = parts.rest.pop();
    let step = appending(make, filter, element);
    let result = make.accumulator();
    Ok(parts.fold(make, init, condition, step, result))
}

fn filter(make: &mut Expander<'_>, range: Option<Expr>, args: Vec<Expr>) -> Result<Expr, Issue> {
    let mut parts = Loop::new(make, range, args, 1, "argument is not an identifier")?;
    let predicate = parts.rest.pop().ok_or_else(incomplete)?;
    let init = make.list(Vec::new());
    let condition = make.literal(Literal::Bool(true));
    let element = make.ident(&Arc::clone(&parts.var));
    let step = appending(make, Some(predicate), element);
    let result = make.accumulator();
    Ok(parts.fold(make, init, condition, step, result))
}

fn transform_map(
    make: &mut Expander<'_>,
    range: Option<Expr>,
    args: Vec<Expr>,
    keeps_key: bool,
) -> Result<Expr, Issue> {
    let mut parts = Loop::new(make, range, args, 2, "argument is not an identifier")?;
    let value = parts.rest.pop().ok_or_else(incomplete)?;
    let init = make.node(ExprKind::Map(Vec::new()));
    let condition = make.literal(Literal::Bool(true));
    let mut insert = vec![make.accumulator()];
    if keeps_key {
        insert.push(make.ident(&Arc::clone(&parts.var)));
    }
    insert.push(value);
    let step = make.call(operators::MAP_INSERT, insert);
    let filter = parts.rest.pop();
    let step = conditional(make, filter, step);
    let result = make.accumulator();
    Ok(parts.fold(make, init, condition, step, result))
}

/// `target.hasValue() ? optional.of(cel.bind(var, target.value(), body)) : optional.none()`; cel-go's form.
fn opt_map(make: &mut Expander<'_>, target: Option<Expr>, args: Vec<Expr>, wrap: bool) -> Result<Expr, Issue> {
    let target = target.ok_or_else(incomplete)?;
    let [name, body]: [Expr; 2] = args.try_into().map_err(|_| incomplete())?;
    let function = if wrap { "optMap" } else { "optFlatMap" };
    let name = make.name(&name, &format!("{function}() variable name must be a simple identifier"))?;
    // A target that is no name is evaluated once, bound to a name that no source can spell: copies of copies would grow
    // without a bound.
    let subject: Arc<str> = match &target.kind {
        ExprKind::Ident(name) => Arc::clone(name),
        _ => "@target".into(),
    };
    let again = make.ident(&subject);
    let present = make.member_call("hasValue", again, Vec::new());
    let again = make.ident(&subject);
    let value = make.member_call("value", again, Vec::new());
    let mapped = make.bind(name, value, body);
    let mapped = if wrap { make.call("optional.of", vec![mapped]) } else { mapped };
    let none = make.call("optional.none", Vec::new());
    let choice = make.call(operators::CONDITIONAL, vec![present, mapped, none]);
    Ok(if matches!(target.kind, ExprKind::Ident(_)) { choice } else { make.bind(subject, target, choice) })
}
