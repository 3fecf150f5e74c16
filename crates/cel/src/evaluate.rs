//! Runs a plan. Every step is charged to the budget; the depth is that of the tree, which the parser limits.

use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::operators;
use crate::plan::{Appending, Calling, Constant, Construction, Entry, Fold, Inserting, LIST_COST, MAP_COST, Matching};
use crate::plan::{Node, OBJECT_COST, Plan, Select};
use crate::program::Variables;
use crate::standard::{self, ELEMENT, ENTRY};
use crate::types::Type;
use crate::value::{Key, List, Map, Object, Value};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// Runs a plan.
pub(crate) fn evaluate<'a>(plan: &Plan, variables: &dyn Variables<'a>, budget: &mut Budget) -> Evaluated<'a> {
    let mut evaluation = Evaluation {
        plan,
        variables,
        budget,
        known: vec![None; plan.variables.len()],
        locals: vec![Ok(Value::Null); plan.locals],
    };
    evaluation.run(&plan.root)
}

struct Evaluation<'p, 'a> {
    plan: &'p Plan,
    variables: &'p dyn Variables<'a>,
    budget: &'p mut Budget,
    /// Declared variables that were asked for, by slot.
    known: Vec<Option<Evaluated<'a>>>,
    /// Variables of comprehensions, by slot. An accumulator can hold an error.
    locals: Vec<Evaluated<'a>>,
}

impl<'a> Evaluation<'_, 'a> {
    fn run(&mut self, node: &Node) -> Evaluated<'a> {
        match node {
            Node::Constant(constant) => Ok(constant_value(constant)),
            Node::Variable(slot) => self.variable(*slot),
            Node::Local(slot) => self.local(*slot),
            Node::Select(select) => self.select(select),
            Node::And(operands) => self.logical(operands, false),
            Node::Or(operands) => self.logical(operands, true),
            Node::Conditional(parts) => self.conditional(parts),
            Node::NotStrictlyFalse(operand) => self.not_strictly_false(operand),
            Node::Call(call) => self.call(call),
            Node::Matches(matching) => self.matches(matching),
            Node::InSet(parts) => {
                let value = self.run(&parts.0)?;
                Ok(Value::Bool(Key::of(&value).is_some_and(|key| parts.1.contains(&key))))
            }
            Node::Prepared(node) => match &**node {
                Node::List(elements) => self.list(elements, 0),
                Node::Map(entries) => self.map(entries, 0),
                other => self.run(other),
            },
            Node::List(elements) => self.list(elements, LIST_COST),
            Node::Map(entries) => self.map(entries, MAP_COST),
            Node::Struct(construction) => self.construct(construction),
            Node::OptionalSelect(select) => self.optional_select(select),
            Node::OptionalOr(parts) => self.optional_or(&parts.left, &parts.right, parts.unwrap),
            Node::Fold(fold) => self.fold(fold),
            Node::Bind(binding) => {
                let value = self.run(&binding.value);
                self.set_local(binding.slot, over_budget_or(value)?);
                self.run(&binding.body)
            }
            Node::Append(appending) => self.append(appending),
            Node::Insert(inserting) => self.insert(inserting),
        }
    }

    fn variable(&mut self, slot: usize) -> Evaluated<'a> {
        self.budget.charge(1)?;
        if let Some(Some(known)) = self.known.get(slot) {
            return known.clone();
        }
        let name = self.plan.variables.get(slot).map_or("", |name| name);
        let missing = || Err(EvalError::new(format!("no such attribute(s): {name}")));
        let value = self.variables.get(name).unwrap_or_else(missing);
        if let Some(place) = self.known.get_mut(slot) {
            *place = Some(value.clone());
        }
        value
    }

    fn local(&mut self, slot: usize) -> Evaluated<'a> {
        self.budget.charge(1)?;
        self.locals.get(slot).cloned().unwrap_or(Ok(Value::Null))
    }

    fn set_local(&mut self, slot: usize, value: Evaluated<'a>) {
        if let Some(place) = self.locals.get_mut(slot) {
            *place = value;
        }
    }

    fn select(&mut self, select: &Select) -> Evaluated<'a> {
        let operand = self.run(&select.operand)?;
        self.budget.charge(select.cost)?;
        if let Value::Optional(inner) = &operand {
            let found = match inner {
                Some(inner) => field(inner, &select.field)?,
                None => None,
            };
            return Ok(if select.test_only {
                Value::Bool(found.is_some())
            } else {
                Value::Optional(found.map(Into::into))
            });
        }
        if select.test_only {
            return has(&operand, &select.field).map(Value::Bool);
        }
        field(&operand, &select.field)?.ok_or_else(|| EvalError::no_such_key(&select.field))
    }

    fn optional_select(&mut self, select: &Select) -> Evaluated<'a> {
        let operand = self.run(&select.operand)?;
        self.budget.charge(select.cost)?;
        let found = match &operand {
            Value::Optional(None) => None,
            Value::Optional(Some(inner)) => field(inner, &select.field)?,
            other => field(other, &select.field)?,
        };
        Ok(Value::Optional(found.map(Into::into)))
    }

    fn optional_or(&mut self, left: &Node, right: &Node, unwrap: bool) -> Evaluated<'a> {
        let left = self.run(left)?;
        self.budget.charge(1)?;
        match left {
            Value::Optional(None) => self.run(right),
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            Value::Optional(Some(_)) => Ok(left),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// `&&` (decided by false) and `||` (decided by true): the operand that decides makes an error of the other one vanish.
    fn logical(&mut self, [left, right]: &[Node; 2], decides: bool) -> Evaluated<'a> {
        let left = over_budget_or(self.run(left))?;
        if matches!(left, Ok(Value::Bool(truth)) if truth == decides) {
            return left;
        }
        let right = over_budget_or(self.run(right))?;
        if matches!(right, Ok(Value::Bool(truth)) if truth == decides) {
            return right;
        }
        for operand in [left, right] {
            if !matches!(operand?, Value::Bool(_)) {
                return Err(EvalError::no_such_overload());
            }
        }
        Ok(Value::Bool(!decides))
    }

    fn conditional(&mut self, [condition, yes, no]: &[Node; 3]) -> Evaluated<'a> {
        match self.run(condition)? {
            Value::Bool(true) => self.run(yes),
            Value::Bool(false) => self.run(no),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn not_strictly_false(&mut self, operand: &Node) -> Evaluated<'a> {
        let value = over_budget_or(self.run(operand))?;
        self.budget.charge(1)?;
        Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
    }

    fn call(&mut self, call: &Calling) -> Evaluated<'a> {
        match &call.args[..] {
            [] => self.invoke(call, &[]),
            [one] => {
                let args = [self.run(one)?];
                self.invoke(call, &args)
            }
            [one, two] => {
                let args = [self.run(one)?, self.run(two)?];
                self.invoke(call, &args)
            }
            args => {
                let args = args.iter().map(|arg| self.run(arg)).collect::<Result<Vec<_>, _>>()?;
                self.invoke(call, &args)
            }
        }
    }

    fn invoke(&mut self, call: &Calling, args: &[Value<'a>]) -> Evaluated<'a> {
        let fits = |types: &[Type]| types.len() == args.len() && types.iter().zip(args).all(|(ty, arg)| is_of(arg, ty));
        let chosen = if call.dynamic {
            call.overloads.iter().find(|overload| fits(&overload.args))
        } else {
            call.overloads.first()
        };
        let Some(overload) = chosen else {
            self.budget.charge(1)?;
            return unchecked_call(&call.function, args);
        };
        let result = (overload.call)(self.budget, args)?;
        self.budget.charge(call.surcharge.saturating_add((overload.cost)(args, &result)))?;
        Ok(result)
    }

    fn matches(&mut self, matching: &Matching) -> Evaluated<'a> {
        let args = [self.run(&matching.text)?, self.run(&matching.pattern)?];
        let Value::String(text) = &args[0] else { return Err(no_match("matches", &args)) };
        let result = Value::Bool(matching.regex.is_match(text));
        self.budget.charge((matching.cost)(&args, &result))?;
        Ok(result)
    }

    fn list(&mut self, elements: &[(Node, bool)], cost: u64) -> Evaluated<'a> {
        self.budget.allocate(elements.len() * ELEMENT)?;
        let mut values = Vec::with_capacity(elements.len());
        for (element, optional) in elements {
            let value = self.run(element)?;
            match optional {
                true => values.extend(unwrapped(value)?),
                false => values.push(value),
            }
        }
        self.budget.charge(cost)?;
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &[Entry], cost: u64) -> Evaluated<'a> {
        self.budget.allocate(entries.len() * ENTRY)?;
        let mut map = Map::default();
        for entry in entries {
            let key = self.run(&entry.key)?;
            let value = self.run(&entry.value)?;
            match entry.optional {
                true => {
                    if let Some(value) = unwrapped(value)? {
                        map.insert(key, value)?;
                    }
                }
                false => map.insert(key, value)?,
            }
        }
        self.budget.charge(cost)?;
        Ok(Value::Map(map))
    }

    fn construct(&mut self, construction: &Construction) -> Evaluated<'a> {
        self.budget.allocate(construction.fields.len() * ENTRY)?;
        let mut fields = BTreeMap::new();
        for (name, value, optional) in &construction.fields {
            let value = self.run(value)?;
            let value = if *optional { unwrapped(value)? } else { Some(value) };
            fields.extend(value.map(|value| (name.clone(), value)));
        }
        self.budget.charge(OBJECT_COST)?;
        Ok(Value::Object(Object::built(fields, construction.ty.clone())))
    }

    fn fold(&mut self, fold: &Fold) -> Evaluated<'a> {
        let range = self.run(&fold.range)?;
        let init = over_budget_or(self.run(&fold.init))?;
        self.set_local(fold.accu, init);
        match &range {
            Value::List(list) => self.fold_list(fold, list)?,
            Value::Map(map) => self.fold_map(fold, map)?,
            _ => return Err(EvalError::no_such_overload()),
        }
        self.run(&fold.result)
    }

    fn fold_list(&mut self, fold: &Fold, list: &List<'a>) -> Result<(), EvalError> {
        for index in 0..list.len() {
            let element = list.get(index)?;
            let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
            let (var, var2) = if fold.two { (index, Some(element)) } else { (element, None) };
            if !self.fold_step(fold, var, var2)? {
                break;
            }
        }
        Ok(())
    }

    fn fold_map(&mut self, fold: &Fold, map: &Map<'a>) -> Result<(), EvalError> {
        if !fold.two {
            for key in map.keys() {
                if !self.fold_step(fold, key, None)? {
                    break;
                }
            }
            return Ok(());
        }
        for entry in map.iter() {
            let (key, value) = entry?;
            if !self.fold_step(fold, key, Some(value))? {
                break;
            }
        }
        Ok(())
    }

    /// One round; false when there is to be no further one.
    fn fold_step(&mut self, fold: &Fold, var: Value<'a>, var2: Option<Value<'a>>) -> Result<bool, EvalError> {
        self.set_local(fold.accu + 1, Ok(var));
        if let Some(value) = var2 {
            self.set_local(fold.accu + 2, Ok(value));
        }
        if matches!(over_budget_or(self.run(&fold.condition))?, Ok(Value::Bool(false))) {
            return Ok(false);
        }
        let next = over_budget_or(self.run(&fold.step))?;
        self.set_local(fold.accu, next);
        Ok(true)
    }

    /// Takes the accumulator out of its slot, so that nobody else holds it; the fold puts the result of the step back.
    fn take_accumulator(&mut self, slot: usize) -> Evaluated<'a> {
        self.budget.charge(1)?;
        match self.locals.get_mut(slot) {
            Some(place) => std::mem::replace(place, Ok(Value::Null)),
            None => Ok(Value::Null),
        }
    }

    fn append(&mut self, appending: &Appending) -> Evaluated<'a> {
        let element = over_budget_or(self.run(&appending.element))?;
        let accumulator = self.take_accumulator(appending.accu)?;
        self.budget.charge(appending.cost + 1)?;
        self.budget.allocate(ELEMENT)?;
        match (accumulator, element?) {
            (Value::List(mut list), element) => {
                list.push(element)?;
                Ok(Value::List(list))
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn insert(&mut self, inserting: &Inserting) -> Evaluated<'a> {
        let key = over_budget_or(self.run(&inserting.key))?;
        let value = over_budget_or(self.run(&inserting.value))?;
        let accumulator = self.take_accumulator(inserting.accu)?;
        self.budget.charge(1)?;
        self.budget.allocate(ENTRY)?;
        match (accumulator, key?, value?) {
            (Value::Map(mut map), key, value) => {
                standard::insert(&mut map, key, value)?;
                Ok(Value::Map(map))
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

/// Splits off the one error that no operator absorbs.
fn over_budget_or(value: Evaluated<'_>) -> Result<Evaluated<'_>, EvalError> {
    match value {
        Err(error) if error.is_over_budget() => Err(error),
        other => Ok(other),
    }
}

fn constant_value<'a>(constant: &Constant) -> Value<'a> {
    match constant {
        Constant::Literal(literal) => Value::from(literal),
        Constant::Timestamp(time) => Value::Timestamp(*time),
        Constant::Duration(span) => Value::Duration(*span),
        Constant::Type(ty) => Value::Type(ty.clone()),
    }
}

/// A field of a map or object. Nothing else has fields.
fn field<'a>(operand: &Value<'a>, name: &str) -> Result<Option<Value<'a>>, EvalError> {
    match operand {
        Value::Map(map) => map.field(name),
        Value::Object(object) => object.get(name),
        _ => Ok(None),
    }
}

fn has(operand: &Value<'_>, name: &str) -> Result<bool, EvalError> {
    match operand {
        Value::Map(map) => Ok(map.has_field(name)),
        Value::Object(object) => object.has(name),
        _ => Ok(false),
    }
}

/// What is in an optional element.
fn unwrapped(value: Value<'_>) -> Result<Option<Value<'_>>, EvalError> {
    match value {
        Value::Optional(inner) => Ok(inner.map(|inner| (*inner).clone())),
        other => {
            let message =
                format!("cannot initialize optional entry from non-optional value {}", other.type_of().name());
            Err(EvalError::new(message))
        }
    }
}

/// Whether a value is of a type, parameters aside.
fn is_of(value: &Value<'_>, ty: &Type) -> bool {
    match (value, ty) {
        (_, Type::Dyn | Type::Param(_) | Type::Error)
        | (Value::Null, Type::Null)
        | (Value::Bool(_), Type::Bool)
        | (Value::Int(_), Type::Int)
        | (Value::Uint(_), Type::Uint)
        | (Value::Double(_), Type::Double)
        | (Value::String(_), Type::String)
        | (Value::Bytes(_), Type::Bytes)
        | (Value::Timestamp(_), Type::Timestamp)
        | (Value::Duration(_), Type::Duration)
        | (Value::List(_), Type::List(_))
        | (Value::Map(_), Type::Map(_))
        | (Value::Optional(_), Type::Optional(_))
        | (Value::Type(_), Type::Type(_)) => true,
        (Value::Object(object), Type::Object(ty)) => object.ty() == ty,
        (Value::Opaque(value), Type::Opaque(name)) => value.type_name() == *name,
        _ => false,
    }
}

/// A call whose arguments no overload takes: what works on any type, and cel-go's error for the rest.
fn unchecked_call<'a>(function: &str, args: &[Value<'a>]) -> Evaluated<'a> {
    match (function, args) {
        (operators::INDEX, [container @ Value::Optional(_), key]) | (operators::OPTIONAL_INDEX, [container, key]) => {
            standard::optional_at(container, key)
        }
        (operators::INDEX, [container, key]) => standard::at(container, key),
        _ => Err(no_match(function, args)),
    }
}

fn no_match(function: &str, args: &[Value<'_>]) -> EvalError {
    let takes = |test: fn(&Value<'_>) -> bool| args.first().is_some_and(test);
    let known = match function {
        operators::NOT | operators::IN => true,
        operators::ADD => takes(|value| {
            matches!(value, Value::Bytes(_) | Value::String(_) | Value::List(_)) || is_time(value) || is_number(value)
        }),
        operators::SUBTRACT => takes(|value| is_time(value) || is_number(value)),
        operators::MULTIPLY | operators::DIVIDE => takes(is_number),
        operators::MODULO => takes(|value| matches!(value, Value::Int(_) | Value::Uint(_))),
        operators::NEGATE => takes(|value| matches!(value, Value::Int(_) | Value::Double(_) | Value::Bool(_))),
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => takes(|value| {
            matches!(value, Value::Bytes(_) | Value::String(_) | Value::Bool(_)) || is_time(value) || is_number(value)
        }),
        "size" | "matches" => false,
        _ => {
            let types: Vec<String> = args.iter().map(|arg| arg.type_of().name().to_owned()).collect();
            return EvalError::new(format!("no such overload: {function}({})", types.join(", ")));
        }
    };
    if known { EvalError::no_such_overload() } else { EvalError::new(format!("no such overload: {function}")) }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn is_time(value: &Value<'_>) -> bool {
    matches!(value, Value::Timestamp(_) | Value::Duration(_))
}
