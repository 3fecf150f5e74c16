//! What an expression can cost: cel-go's `checker.Cost`. Goes once through the checked tree.
//!
//! Costs of loops come from sizes, so sizes are followed too: from constants, from what [`Sizes`] knows of a variable's
//! parts (by their paths), through operators and variables of comprehensions.

use std::collections::HashMap;

use super::functions::{self, CallEstimate, Node, matching};
use super::{
    CONST_COST, CostEstimate, LIST_CREATE_BASE_COST, MAP_CREATE_BASE_COST, SELECT_AND_IDENT_COST,
    STRING_TRAVERSAL_COST_FACTOR, STRUCT_CREATE_BASE_COST, SizeEstimate, Sizes,
};
use crate::ast::{Call, Checked, Comprehension, Expr, ExprKind, Id, Literal, MapEntry, Select};
use crate::types::Type;

/// What the expression can cost, given what is known of the sizes of its variables.
pub(crate) fn estimate(checked: &Checked, sizes: &dyn Sizes) -> CostEstimate {
    let mut estimator = Estimator {
        checked,
        sizes,
        paths: HashMap::new(),
        computed: HashMap::new(),
        entries: HashMap::new(),
        locals: HashMap::new(),
    };
    estimator.cost(&checked.root)
}

struct Estimator<'c> {
    checked: &'c Checked,
    sizes: &'c dyn Sizes,
    /// Where nodes come from.
    paths: HashMap<Id, Vec<String>>,
    /// The sizes of nodes, as far as they are known.
    computed: HashMap<Id, SizeEstimate>,
    /// The sizes of what is in the lists and maps that nodes are.
    entries: HashMap<Id, Entries>,
    /// The variables of comprehensions that are open, by name; the innermost last.
    locals: HashMap<String, Vec<Local>>,
}

/// The sizes of what is in a list (`key` is the position) or in a map.
#[derive(Clone, Copy)]
struct Entries {
    container: Container,
    key: SizeEstimate,
    value: SizeEstimate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    List,
    Map,
}

/// A variable of a comprehension.
#[derive(Clone)]
struct Local {
    path: Vec<String>,
    size: Option<SizeEstimate>,
    entries: Option<Entries>,
}

/// The largest estimate below any other: the union with a range is that range.
const NOTHING: SizeEstimate = SizeEstimate { min: u64::MAX, max: 0 };

impl Entries {
    fn union(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        let (left, right) = (left?, right?);
        Some(Self { container: left.container, key: left.key.union(right.key), value: left.value.union(right.value) })
    }
}

impl<'c> Estimator<'c> {
    fn cost(&mut self, expr: &'c Expr) -> CostEstimate {
        match &expr.kind {
            ExprKind::Literal(_) => CostEstimate::fixed(CONST_COST),
            ExprKind::Ident(name) => self.ident(expr, name),
            ExprKind::Select(select) => self.select(expr, select),
            ExprKind::Call(call) => self.call(expr, call),
            ExprKind::List(list) => self.create_list(expr, &list.elements),
            ExprKind::Map(entries) => self.create_map(expr, entries),
            ExprKind::Struct(object) => object
                .fields
                .iter()
                .fold(CostEstimate::fixed(0), |sum, field| sum.add(self.cost(&field.value)))
                .add(CostEstimate::fixed(STRUCT_CREATE_BASE_COST)),
            ExprKind::Comprehension(fold) if is_bind(fold) => self.bind(expr, fold),
            ExprKind::Comprehension(fold) => self.comprehension(expr, fold),
        }
    }

    fn ident(&mut self, expr: &'c Expr, name: &str) -> CostEstimate {
        let path = self.local(name).map_or_else(|| vec![name.to_owned()], |local| local.path.clone());
        self.paths.insert(expr.id, path);
        CostEstimate::fixed(SELECT_AND_IDENT_COST)
    }

    fn select(&mut self, expr: &'c Expr, select: &'c Select) -> CostEstimate {
        let operand = self.cost(&select.operand);
        if select.test_only {
            // In Kubernetes `has` is free.
            return operand;
        }
        let priced = matches!(self.type_of(&select.operand), Type::Map(_) | Type::Object(_) | Type::Param(_));
        let path = extended(self.path(&select.operand), &select.field);
        self.paths.insert(expr.id, path);
        if priced { operand.add(CostEstimate::fixed(SELECT_AND_IDENT_COST)) } else { operand }
    }

    fn create_list(&mut self, expr: &'c Expr, elements: &'c [Expr]) -> CostEstimate {
        let mut sum = CostEstimate::fixed(LIST_CREATE_BASE_COST);
        let mut value = if elements.is_empty() { SizeEstimate::fixed(0) } else { NOTHING };
        for element in elements {
            sum = sum.add(self.cost(element));
            value = value.union(self.size_or_unknown(element));
        }
        self.entries.insert(expr.id, Entries { container: Container::List, key: SizeEstimate::fixed(1), value });
        sum
    }

    fn create_map(&mut self, expr: &'c Expr, entries: &'c [MapEntry]) -> CostEstimate {
        let mut sum = CostEstimate::fixed(MAP_CREATE_BASE_COST);
        let empty = if entries.is_empty() { SizeEstimate::fixed(0) } else { NOTHING };
        let (mut key, mut value) = (empty, empty);
        for entry in entries {
            sum = sum.add(self.cost(&entry.key)).add(self.cost(&entry.value));
            key = key.union(self.size_or_unknown(&entry.key));
            value = value.union(self.size_or_unknown(&entry.value));
        }
        self.entries.insert(expr.id, Entries { container: Container::Map, key, value });
        sum
    }

    fn call(&mut self, expr: &'c Expr, call: &'c Call) -> CostEstimate {
        if let ("dyn", [arg]) = (&*call.function, call.args.as_slice()) {
            let cost = self.cost(arg);
            self.copy_sizes(expr, arg);
            return cost.add(CostEstimate::fixed(1));
        }
        let mut costs = Vec::with_capacity(call.args.len());
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            costs.push(self.cost(arg));
            args.push(self.node(arg));
        }
        let checked = self.checked;
        let overloads = checked.overloads(expr.id);
        if overloads.is_empty() {
            return CostEstimate::fixed(0);
        }
        let mut sum = CostEstimate::fixed(0);
        let target = call.target.as_ref().map(|target| {
            sum = self.cost(target);
            self.node(target)
        });
        // The range that covers those of all overloads that may be meant.
        let mut function = CostEstimate { min: u64::MAX, max: 0 };
        let mut result_size = None;
        for id in overloads {
            let estimate = self.function(expr, &call.function, id, target.as_ref(), &args, &costs);
            function = function.union(estimate.cost);
            result_size = match (result_size, estimate.result_size) {
                (Some(known), Some(size)) => Some(SizeEstimate::union(known, size)),
                (known, size) => known.or(size),
            };
            if let (&("index_list" | "index_map"), Some(container)) = (id, call.args.first()) {
                let part = if *id == "index_list" { "@items" } else { "@values" };
                result_size = self.entries_of(container).map(|entries| entries.value);
                let path = extended(self.path(container), part);
                self.paths.insert(expr.id, path);
            }
            if result_size.is_none() {
                result_size = self.size_of(expr);
            }
        }
        self.set_size(expr, result_size);
        sum.add(function)
    }

    /// What a call can cost with its arguments.
    fn function(
        &mut self,
        expr: &Expr,
        function: &str,
        id: &str,
        target: Option<&Node<'c>>,
        args: &[Node<'c>],
        costs: &[CostEstimate],
    ) -> CallEstimate {
        let arguments = costs.iter().fold(CostEstimate::fixed(0), |sum, cost| sum.add(*cost));
        let with_arguments = |cost: CostEstimate, result_size| CallEstimate { cost: cost.add(arguments), result_size };
        if let Some(estimate) = functions::estimate(function, id, target, args, self.sizes) {
            return with_arguments(estimate.cost, estimate.result_size);
        }
        let size = |node: &Node<'_>| node.size.unwrap_or(SizeEstimate::UNKNOWN);
        let traversed = |size: SizeEstimate| size.by_factor(STRING_TRAVERSAL_COST_FACTOR);
        match (id, target, args, costs) {
            ("string_format", Some(target), ..) => with_arguments(traversed(size(target)), None),
            ("string_to_bytes", _, [text], _) => {
                let text = size(text);
                let result = SizeEstimate { min: text.min, max: text.max.saturating_mul(4) };
                with_arguments(traversed(text), Some(result))
            }
            ("bytes_to_string", _, [bytes], _) => {
                let bytes = size(bytes);
                with_arguments(traversed(bytes), Some(SizeEstimate { min: bytes.min / 4, max: bytes.max }))
            }
            ("strings_quote", _, [text], _) => {
                let text = size(text);
                let result = text.multiply(SizeEstimate { min: 1, max: 2 }).add(SizeEstimate::fixed(2));
                with_arguments(traversed(text), Some(result))
            }
            ("starts_with_string" | "ends_with_string", _, [part], _) => with_arguments(traversed(size(part)), None),
            ("in_list", _, [_, list], _) => with_arguments(size(list).by_factor(1.0), None),
            ("matches_string", Some(target), [pattern], _) => {
                with_arguments(matching(size(target), size(pattern)), None)
            }
            ("contains_string", Some(target), [part], _) => {
                with_arguments(traversed(size(target)).multiply(traversed(size(part))), None)
            }
            ("logical_or" | "logical_and", _, _, [left, right]) => {
                // The second operand may not be asked.
                let cost = CostEstimate { min: left.min, max: left.add(*right).max };
                CallEstimate { cost, result_size: None }
            }
            ("conditional", _, [_, then, otherwise], [condition, then_cost, otherwise_cost]) => {
                let result_size = Some(size(then).union(size(otherwise)));
                let entries = Entries::union(self.entries_of(then.expr), self.entries_of(otherwise.expr));
                self.set_entries(expr, entries);
                CallEstimate { cost: condition.add(then_cost.union(*otherwise_cost)), result_size }
            }
            ("add_string" | "add_bytes" | "add_list", _, [left, right], _) => {
                let result = size(left).add(size(right));
                let entries = Entries::union(self.entries_of(left.expr), self.entries_of(right.expr));
                self.set_entries(expr, entries);
                let cost = if id == "add_list" { CostEstimate::fixed(1) } else { traversed(result) };
                with_arguments(cost, Some(result))
            }
            (
                "equals"
                | "not_equals"
                | "less_string"
                | "less_equals_string"
                | "greater_string"
                | "greater_equals_string"
                | "less_bytes"
                | "less_equals_bytes"
                | "greater_bytes"
                | "greater_equals_bytes",
                _,
                [left, right],
                _,
            ) => {
                let max = size(left).max.min(size(right).max);
                with_arguments(traversed(SizeEstimate { min: max.min(1), max }), None)
            }
            _ => with_arguments(CostEstimate::fixed(1), None),
        }
    }

    fn comprehension(&mut self, expr: &'c Expr, fold: &'c Comprehension) -> CostEstimate {
        let mut sum = self.cost(&fold.range).add(self.cost(&fold.init));
        self.open_bound(&fold.accu, &fold.init);
        match &fold.var2 {
            Some(value) => {
                self.open_loop(&fold.var, &fold.range, Element::Key);
                self.open_loop(value, &fold.range, Element::Value);
            }
            None => self.open_loop(&fold.var, &fold.range, Element::Single),
        }
        let condition = self.cost(&fold.condition);
        let step = self.cost(&fold.step);
        self.close(&fold.var);
        if let Some(value) = &fold.var2 {
            self.close(value);
        }
        sum = sum.add(self.cost(&fold.result));
        self.close(&fold.accu);
        let count = self.size_or_unknown(&fold.range);
        sum = sum.add(count.times(step.add(condition)));
        match fold.init.kind {
            ExprKind::Literal(_) => {
                let size = self.size_of(&fold.init);
                self.set_size(expr, size);
            }
            ExprKind::List(_) | ExprKind::Map(_) => {
                self.set_size(expr, Some(count));
                let entries = self.entries_of(&fold.step);
                self.set_entries(expr, entries);
            }
            _ => {}
        }
        sum
    }

    /// `cel.bind`: no loop.
    fn bind(&mut self, expr: &'c Expr, fold: &'c Comprehension) -> CostEstimate {
        let sum = self.cost(&fold.range).add(self.cost(&fold.init));
        self.open_bound(&fold.accu, &fold.init);
        let sum = sum.add(self.cost(&fold.result));
        self.close(&fold.accu);
        self.copy_sizes(expr, &fold.result);
        sum
    }

    fn open_bound(&mut self, name: &str, value: &Expr) {
        let local = Local { path: self.path(value), size: self.size_of(value), entries: self.entries_of(value) };
        self.locals.entry(name.to_owned()).or_default().push(local);
    }

    fn open_loop(&mut self, name: &str, range: &Expr, element: Element) {
        let entries = self.entries_of(range);
        let container = entries.map_or_else(
            || if matches!(self.type_of(range), Type::List(_)) { Container::List } else { Container::Map },
            |entries| entries.container,
        );
        let (part, is_value) = match (element, container) {
            (Element::Single | Element::Value, Container::List) => ("@items", true),
            (Element::Key, Container::List) => ("@indices", false),
            (Element::Single | Element::Key, Container::Map) => ("@keys", false),
            (Element::Value, Container::Map) => ("@values", true),
        };
        let size = entries.map(|entries| if is_value { entries.value } else { entries.key });
        let local = Local { path: extended(self.path(range), part), size, entries: None };
        self.locals.entry(name.to_owned()).or_default().push(local);
    }

    fn close(&mut self, name: &str) {
        if let Some(open) = self.locals.get_mut(name) {
            open.pop();
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name).and_then(|open| open.last())
    }

    fn type_of(&self, expr: &Expr) -> &'c Type {
        let checked: &'c Checked = self.checked;
        checked.type_of(expr.id)
    }

    fn path(&self, expr: &Expr) -> Vec<String> {
        match &expr.kind {
            ExprKind::Ident(name) if self.local(name).is_some() => self.local(name).map(|local| local.path.clone()),
            _ => self.paths.get(&expr.id).cloned(),
        }
        .unwrap_or_default()
    }

    fn node(&mut self, expr: &'c Expr) -> Node<'c> {
        let mut path = self.path(expr);
        if path.first().is_some_and(|variable| is_accumulator(variable)) {
            path.clear();
        }
        Node { expr, ty: self.type_of(expr), path, size: self.size_of(expr) }
    }

    fn set_size(&mut self, expr: &Expr, size: Option<SizeEstimate>) {
        if let Some(size) = size {
            self.computed.insert(expr.id, size);
        }
    }

    fn set_entries(&mut self, expr: &Expr, entries: Option<Entries>) {
        if let Some(entries) = entries {
            self.entries.insert(expr.id, entries);
        }
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        let size = self.size_of(from);
        self.set_size(to, size);
        let entries = self.entries_of(from);
        self.set_entries(to, entries);
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> SizeEstimate {
        self.size_of(expr).unwrap_or(SizeEstimate::UNKNOWN)
    }

    fn size_of(&mut self, expr: &Expr) -> Option<SizeEstimate> {
        if let Some(size) = self.computed.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = size_of_constant(expr) {
            return Some(size);
        }
        let path = self.path(expr);
        let ty = self.type_of(expr);
        if !path.is_empty()
            && let Some(size) = self.sizes.size(&path, ty)
        {
            self.computed.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(ty) {
            return Some(SizeEstimate::fixed(1));
        }
        match &expr.kind {
            ExprKind::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            ExprKind::Ident(name) => self.local(name).and_then(|local| local.entries),
            _ => None,
        }
    }
}

/// Which part of an entry a variable of a comprehension takes.
#[derive(Clone, Copy)]
enum Element {
    /// The only variable: elements of a list, keys of a map.
    Single,
    /// The first of two.
    Key,
    /// The second of two.
    Value,
}

fn extended(mut path: Vec<String>, part: &str) -> Vec<String> {
    path.push(part.to_owned());
    path
}

/// What `cel.bind` becomes: a loop over nothing.
fn is_bind(fold: &Comprehension) -> bool {
    matches!(&fold.range.kind, ExprKind::List(list) if list.elements.is_empty())
        && fold.condition.kind == ExprKind::Literal(Literal::Bool(false))
        && !is_accumulator(&fold.accu)
}

/// The accumulator of macros. Nothing comes from it as far as a consumer's sizes go.
fn is_accumulator(name: &str) -> bool {
    matches!(name, "@result" | "__result__")
}

fn size_of_constant(expr: &Expr) -> Option<SizeEstimate> {
    let size = match &expr.kind {
        ExprKind::Literal(Literal::String(text)) => text.chars().count(),
        ExprKind::Literal(Literal::Bytes(bytes)) => bytes.len(),
        ExprKind::Literal(_) => 1,
        ExprKind::List(list) => list.elements.len(),
        ExprKind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(SizeEstimate::fixed(size as u64))
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}
