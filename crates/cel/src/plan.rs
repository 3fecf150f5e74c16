//! Checked tree → a form in which nothing has to be looked up by name: variables are slots, calls are code, constants are
//! prepared. Built once per program.

use std::collections::HashSet;
use std::sync::Arc;

use regex::Regex;

use crate::ast::{Call, Checked, Comprehension, Expr, ExprKind, Literal, Reference};
use crate::budget::Budget;
use crate::cost::{self, CallCost};
use crate::env::Declarations;
use crate::function::Implementation;
use crate::types::{ObjectType, Type};
use crate::value::{Duration, Key, Timestamp, Value};
use crate::{operators, pattern};

/// A program's plan.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Node,
    /// Declared variables that are used, by slot.
    pub(crate) variables: Vec<Arc<str>>,
    /// How many variables of comprehensions are alive at once, at most.
    pub(crate) locals: usize,
}

/// A step.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Constant),
    /// A constant list or map: built when it is needed, at no cost.
    Prepared(Box<Self>),
    Variable(usize),
    Local(usize),
    Select(Box<Select>),
    OptionalSelect(Box<Select>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Conditional(Box<[Self; 3]>),
    NotStrictlyFalse(Box<Self>),
    /// `or` and `orValue` of optionals: the second is evaluated only when it is needed.
    OptionalOr(Box<OptionalOr>),
    Call(Box<Calling>),
    Matches(Box<Matching>),
    /// `x in [constants]`
    InSet(Box<(Self, HashSet<Key>)>),
    List(Box<[(Self, bool)]>),
    Map(Box<[Entry]>),
    Struct(Box<Construction>),
    Fold(Box<Fold>),
    Bind(Box<Binding>),
    /// `accumulator + [element]`, in place.
    Append(Box<Appending>),
    /// `cel.@mapInsert(accumulator, key, value)`, in place.
    Insert(Box<Inserting>),
}

#[derive(Debug)]
pub(crate) enum Constant {
    Literal(Literal),
    Timestamp(Timestamp),
    Duration(Duration),
    Type(Type),
}

#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) operand: Node,
    pub(crate) field: Arc<str>,
    pub(crate) test_only: bool,
    /// Units; more when the operand is not a path itself.
    pub(crate) cost: u64,
}

#[derive(Debug)]
pub(crate) struct OptionalOr {
    pub(crate) left: Node,
    pub(crate) right: Node,
    /// `orValue`: unwraps.
    pub(crate) unwrap: bool,
}

#[derive(Debug)]
pub(crate) struct Calling {
    pub(crate) function: Arc<str>,
    pub(crate) args: Vec<Node>,
    pub(crate) overloads: Vec<Candidate>,
    /// Whether the overload has to be chosen by the values.
    pub(crate) dynamic: bool,
    /// Units besides those of the overload.
    pub(crate) surcharge: u64,
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) args: Vec<Type>,
    pub(crate) call: Implementation,
    pub(crate) cost: CallCost,
}

#[derive(Debug)]
pub(crate) struct Matching {
    pub(crate) text: Node,
    pub(crate) pattern: Node,
    pub(crate) regex: Regex,
    pub(crate) cost: CallCost,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    pub(crate) value: Node,
    pub(crate) optional: bool,
}

#[derive(Debug)]
pub(crate) struct Construction {
    pub(crate) ty: Arc<ObjectType>,
    pub(crate) fields: Vec<(Arc<str>, Node, bool)>,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) range: Node,
    /// The slot of the accumulator; the loop's variables come after it.
    pub(crate) accu: usize,
    pub(crate) two: bool,
    pub(crate) init: Node,
    pub(crate) condition: Node,
    pub(crate) step: Node,
    pub(crate) result: Node,
}

#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) slot: usize,
    pub(crate) value: Node,
    pub(crate) body: Node,
}

#[derive(Debug)]
pub(crate) struct Appending {
    pub(crate) accu: usize,
    pub(crate) element: Node,
    pub(crate) cost: u64,
}

#[derive(Debug)]
pub(crate) struct Inserting {
    pub(crate) accu: usize,
    pub(crate) key: Node,
    pub(crate) value: Node,
}

/// Units of a new list, map, object; cel-go's.
pub(crate) const LIST_COST: u64 = 10;
pub(crate) const MAP_COST: u64 = 30;
pub(crate) const OBJECT_COST: u64 = 40;

/// Makes the plan of a checked tree.
pub(crate) fn plan(declarations: &Declarations, checked: &Checked) -> Plan {
    let mut planner = Planner { declarations, checked, variables: Vec::new(), scope: Vec::new(), locals: 0 };
    let root = planner.node(&checked.root);
    Plan { root, variables: planner.variables, locals: planner.locals }
}

struct Planner<'p> {
    declarations: &'p Declarations,
    checked: &'p Checked,
    variables: Vec<Arc<str>>,
    /// Names of comprehensions' variables with their slots.
    scope: Vec<Arc<str>>,
    locals: usize,
}

impl Planner<'_> {
    fn node(&mut self, expr: &Expr) -> Node {
        match &expr.kind {
            ExprKind::Literal(literal) => Node::Constant(Constant::Literal(literal.clone())),
            ExprKind::Ident(name) => self.name(expr, name),
            ExprKind::Select(select) => {
                let operand = self.node(&select.operand);
                let cost = u64::from(!select.test_only) + surcharge(&operand);
                let (field, test_only) = (Arc::clone(&select.field), select.test_only);
                Node::Select(Box::new(Select { operand, field, test_only, cost }))
            }
            ExprKind::Call(call) => self.call(expr, call),
            ExprKind::List(list) => {
                let optional = |index| list.optional.binary_search(&index).is_ok();
                let elements: Box<[_]> =
                    list.elements.iter().enumerate().map(|(index, one)| (self.node(one), optional(index))).collect();
                let constant = elements.iter().all(|(element, optional)| is_constant(element) && !optional);
                prepared(Node::List(elements), constant)
            }
            ExprKind::Map(entries) => {
                let entries: Box<[_]> = entries
                    .iter()
                    .map(|entry| Entry {
                        key: self.node(&entry.key),
                        value: self.node(&entry.value),
                        optional: entry.optional,
                    })
                    .collect();
                let constant = |entry: &Entry| is_constant(&entry.key) && is_constant(&entry.value) && !entry.optional;
                let constant = entries.iter().all(constant);
                prepared(Node::Map(entries), constant)
            }
            ExprKind::Struct(object) => {
                let Some(Reference::Type(Type::Object(ty))) = self.checked.reference(expr.id) else { return null() };
                let fields = object.fields.iter();
                let fields = fields.map(|one| (Arc::clone(&one.name), self.node(&one.value), one.optional)).collect();
                Node::Struct(Box::new(Construction { ty: Arc::clone(ty), fields }))
            }
            ExprKind::Comprehension(fold) => self.comprehension(fold),
        }
    }

    fn name(&mut self, expr: &Expr, name: &Arc<str>) -> Node {
        match self.checked.reference(expr.id) {
            Some(Reference::Type(ty)) => Node::Constant(Constant::Type(ty.clone())),
            Some(Reference::Variable(full)) => {
                if !name.starts_with('.')
                    && let Some(slot) = self.scope.iter().rposition(|known| known == full)
                {
                    return Node::Local(slot);
                }
                let slot = self.variables.iter().position(|known| known == full).unwrap_or_else(|| {
                    self.variables.push(Arc::clone(full));
                    self.variables.len() - 1
                });
                Node::Variable(slot)
            }
            _ => null(),
        }
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Node {
        let mut args: Vec<Node> = call.target.iter().chain(&call.args).map(|arg| self.node(arg)).collect();
        match &*call.function {
            operators::AND => return pair(args).map_or_else(null, |pair| Node::And(Box::new(pair))),
            operators::OR => return pair(args).map_or_else(null, |pair| Node::Or(Box::new(pair))),
            operators::CONDITIONAL => {
                return <[Node; 3]>::try_from(args).map_or_else(|_| null(), |three| Node::Conditional(Box::new(three)));
            }
            operators::NOT_STRICTLY_FALSE => {
                return args.pop().map_or_else(null, |arg| Node::NotStrictlyFalse(Box::new(arg)));
            }
            operators::OPTIONAL_SELECT => {
                let Some([operand, Node::Constant(Constant::Literal(Literal::String(field)))]) = pair(args) else {
                    return null();
                };
                let cost = 1 + surcharge(&operand);
                return Node::OptionalSelect(Box::new(Select { operand, field, test_only: false, cost }));
            }
            _ => {}
        }
        let overloads = self.checked.overloads(expr.id);
        match (overloads, &mut args[..]) {
            (["optional_or_optional" | "optional_orValue_value"], _) => {
                let unwrap = overloads == ["optional_orValue_value"];
                return pair(args)
                    .map_or_else(null, |[left, right]| Node::OptionalOr(Box::new(OptionalOr { left, right, unwrap })));
            }
            (["in_list"], [_, list]) => {
                if let Some(set) = constant_set(list)
                    && let Some([operand, _]) = pair(std::mem::take(&mut args))
                {
                    return Node::InSet(Box::new((operand, set)));
                }
            }
            (_, [Node::Constant(Constant::Literal(literal))]) if call.target.is_none() => {
                if let Some(constant) = self.converted(call, overloads, literal) {
                    return Node::Constant(constant);
                }
            }
            (_, [_, Node::Constant(Constant::Literal(Literal::String(text)))]) if &*call.function == "matches" => {
                if let (Ok(regex), Some(id)) = (pattern::compile(text), overloads.first()) {
                    let cost = cost::call_cost(id);
                    return pair(args).map_or_else(null, |[text, pattern]| {
                        Node::Matches(Box::new(Matching { text, pattern, regex, cost }))
                    });
                }
            }
            _ => {}
        }
        self.general_call(expr, call, args)
    }

    /// A conversion of a constant, done now: cel-go does not charge it. One that fails is left to fail when it is evaluated.
    fn converted(&self, call: &Call, overloads: &[&'static str], literal: &Literal) -> Option<Constant> {
        const CONVERSIONS: [&str; 9] =
            ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "uint"];
        if !CONVERSIONS.contains(&&*call.function) {
            return None;
        }
        let function = self.declarations.language.functions.get(&call.function)?;
        let overload = function.overloads.iter().find(|overload| overloads == [overload.id])?;
        constant((overload.call)(&mut Budget::default(), &[Value::from(literal)]).ok()?)
    }

    fn general_call(&self, expr: &Expr, call: &Call, args: Vec<Node>) -> Node {
        let ids = self.checked.overloads(expr.id);
        let function = self.declarations.language.functions.get(&call.function);
        let overloads: Vec<Candidate> = function
            .iter()
            .flat_map(|function| &function.overloads)
            .filter(|overload| ids.contains(&overload.id))
            .map(|overload| Candidate {
                args: overload.args.clone(),
                call: overload.call,
                cost: cost::call_cost(overload.id),
            })
            .collect();
        let exprs = call.target.iter().chain(&call.args);
        let dynamic = overloads.len() != 1 || exprs.into_iter().any(|arg| self.checked.type_of(arg.id).is_dyn());
        let path = matches!(&*call.function, operators::INDEX | operators::OPTIONAL_INDEX);
        let surcharge = if path { args.first().map_or(0, surcharge) } else { 0 };
        Node::Call(Box::new(Calling { function: Arc::clone(&call.function), args, overloads, dynamic, surcharge }))
    }

    fn comprehension(&mut self, fold: &Comprehension) -> Node {
        let range = self.node(&fold.range);
        let init = self.node(&fold.init);
        let accu = self.scope.len();
        self.scope.push(Arc::clone(&fold.accu));
        if matches!(&range, Node::Prepared(list) if matches!(&**list, Node::List(elements) if elements.is_empty())) {
            let body = self.node(&fold.result);
            self.leave(accu);
            return Node::Bind(Box::new(Binding { slot: accu, value: init, body }));
        }
        self.scope.push(Arc::clone(&fold.var));
        self.scope.extend(fold.var2.clone());
        let condition = self.node(&fold.condition);
        let step = self.node(&fold.step);
        let step = in_place(step, accu);
        self.leave(accu + 1);
        let result = self.node(&fold.result);
        self.leave(accu);
        Node::Fold(Box::new(Fold { range, accu, two: fold.var2.is_some(), init, condition, step, result }))
    }

    fn leave(&mut self, to: usize) {
        self.locals = self.locals.max(self.scope.len());
        self.scope.truncate(to);
    }
}

fn null() -> Node {
    Node::Constant(Constant::Literal(Literal::Null))
}

fn pair(args: Vec<Node>) -> Option<[Node; 2]> {
    args.try_into().ok()
}

fn is_constant(node: &Node) -> bool {
    matches!(node, Node::Constant(_) | Node::Prepared(_))
}

fn prepared(node: Node, constant: bool) -> Node {
    if constant { Node::Prepared(Box::new(node)) } else { node }
}

/// What cel-go's tracker counts in addition when a path does not begin at a variable.
fn surcharge(operand: &Node) -> u64 {
    let path = match operand {
        Node::Variable(_) | Node::Local(_) | Node::Select(_) | Node::OptionalSelect(_) => true,
        Node::Call(call) => matches!(&*call.function, operators::INDEX | operators::OPTIONAL_INDEX),
        _ => false,
    };
    u64::from(!path)
}

/// The keys of a constant list of simple values.
fn constant_set(list: &Node) -> Option<HashSet<Key>> {
    let Node::Prepared(list) = list else { return None };
    let Node::List(elements) = &**list else { return None };
    elements
        .iter()
        .map(|(element, _)| match element {
            Node::Constant(Constant::Literal(literal)) => Key::of(&Value::from(literal)),
            _ => None,
        })
        .collect()
}

/// The value as a constant. None for values that no conversion makes.
fn constant(value: Value<'_>) -> Option<Constant> {
    Some(match value {
        Value::Bool(truth) => Constant::Literal(Literal::Bool(truth)),
        Value::Int(number) => Constant::Literal(Literal::Int(number)),
        Value::Uint(number) => Constant::Literal(Literal::Uint(number)),
        Value::Double(number) => Constant::Literal(Literal::Double(number)),
        Value::String(text) => Constant::Literal(Literal::String(Arc::from(&*text))),
        Value::Bytes(octets) => Constant::Literal(Literal::Bytes(octets)),
        Value::Timestamp(time) => Constant::Timestamp(time),
        Value::Duration(span) => Constant::Duration(span),
        _ => return None,
    })
}

/// A step that adds to the accumulator, as one that does so in place: a copy for each element would take quadratic time.
fn in_place(step: Node, accu: usize) -> Node {
    let is_accu = |node: Option<&Node>| matches!(node, Some(Node::Local(slot)) if *slot == accu);
    match step {
        Node::Conditional(three) => {
            let [condition, yes, no] = *three;
            Node::Conditional(Box::new([condition, in_place(yes, accu), no]))
        }
        Node::Call(call) if is_accu(call.args.first()) => match (&*call.function, &call.args[..]) {
            (operators::ADD, [_, list]) if appended(list).is_some() => {
                let list = call.args.into_iter().nth(1);
                let cost = if matches!(list, Some(Node::Prepared(_))) { 0 } else { LIST_COST };
                let element = list.and_then(into_appended).unwrap_or_else(null);
                Node::Append(Box::new(Appending { accu, element, cost }))
            }
            (operators::MAP_INSERT, [_, _, _]) => match <[Node; 3]>::try_from(call.args) {
                Ok([_, key, value]) => Node::Insert(Box::new(Inserting { accu, key, value })),
                Err(_) => null(),
            },
            _ => Node::Call(call),
        },
        step => step,
    }
}

/// The one element of a list literal.
fn appended(list: &Node) -> Option<&Node> {
    match list {
        Node::Prepared(list) => appended(list),
        Node::List(elements) => match &elements[..] {
            [(element, false)] => Some(element),
            _ => None,
        },
        _ => None,
    }
}

fn into_appended(list: Node) -> Option<Node> {
    match list {
        Node::Prepared(list) => into_appended(*list),
        Node::List(elements) => elements.into_vec().pop().map(|(element, _)| element),
        _ => None,
    }
}
