//! Type parameters: what each one stands for, and whether a type is assignable to another. cel-go's rules.
//!
//! Foreign expressions can make types that are exponentially large when written out. Every step is counted, and checking
//! gives up at a limit.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{ListType, MapType, Type};

/// How many steps one expression's types may take.
const MAX_STEPS: u32 = 2_000_000;
/// How large a type may get, in parts.
const MAX_TYPE: u32 = 2_000;

/// What type parameters stand for.
#[derive(Debug)]
pub(super) struct Unifier {
    bindings: HashMap<Arc<str>, Type>,
    /// Parameters bound since the last mark and what they stood for before.
    trail: Vec<(Arc<str>, Option<Type>)>,
    fresh: u32,
    steps: u32,
}

impl Unifier {
    pub(super) fn new() -> Self {
        Self { bindings: HashMap::new(), trail: Vec::new(), fresh: 0, steps: MAX_STEPS }
    }

    /// Whether the limit was reached; all answers are then meaningless.
    pub(super) fn gave_up(&self) -> bool {
        self.steps == 0
    }

    fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0
    }

    /// A parameter that nothing else uses.
    pub(super) fn fresh(&mut self) -> Type {
        self.fresh += 1;
        Type::Param(format!("_var{}", self.fresh).into())
    }

    /// A signature's types with fresh parameters in place of its own.
    pub(super) fn instantiate(&mut self, types: &[Type]) -> Vec<Type> {
        let mut own = HashMap::new();
        types.iter().map(|ty| self.renamed(ty, &mut own)).collect()
    }

    fn renamed(&mut self, ty: &Type, own: &mut HashMap<Arc<str>, Type>) -> Type {
        match ty {
            Type::Param(name) => own.entry(Arc::clone(name)).or_insert_with(|| self.fresh()).clone(),
            Type::List(list) => Type::list(self.renamed(&list.element, own)),
            Type::Map(map) => Type::map(self.renamed(&map.key, own), self.renamed(&map.value, own)),
            Type::Optional(value) => Type::optional(self.renamed(value, own)),
            Type::Type(of) => Type::type_of(self.renamed(of, own)),
            _ => ty.clone(),
        }
    }

    /// Whether each of `from` is assignable to its counterpart; what parameters stand for changes only when all are.
    pub(super) fn assignable_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        let mark = self.trail.len();
        let fits = from.iter().zip(to).all(|(from, to)| self.unify(from, to));
        if !fits {
            for (name, before) in self.trail.split_off(mark).into_iter().rev() {
                match before {
                    Some(ty) => self.bindings.insert(name, ty),
                    None => self.bindings.remove(&name),
                };
            }
        }
        fits
    }

    /// Whether `from` is assignable to `to`.
    pub(super) fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        self.assignable_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    fn bind(&mut self, name: &Arc<str>, ty: Type) {
        let before = self.bindings.insert(Arc::clone(name), ty);
        self.trail.push((Arc::clone(name), before));
    }

    fn unify(&mut self, from: &Type, to: &Type) -> bool {
        if !self.step() {
            return false;
        }
        if let Type::Param(name) = to {
            match self.substitutes(from, name, to) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(name) = from {
            return self.substitutes(to, name, from).0;
        }
        match (from, to) {
            (from, to) if from.is_dyn() || to.is_dyn() => true,
            (Type::Null, to) => matches!(
                to,
                Type::Null | Type::Object(_) | Type::Optional(_) | Type::Opaque(_) | Type::Timestamp | Type::Duration
            ),
            (Type::List(from), Type::List(to)) => self.unify(&from.element, &to.element),
            (Type::Map(from), Type::Map(to)) => self.unify(&from.key, &to.key) && self.unify(&from.value, &to.value),
            (Type::Optional(from), Type::Optional(to)) => self.unify(from, to),
            (Type::Type(_), Type::Type(_)) => true,
            (from, to) => from == to,
        }
    }

    /// Whether `ty` can be what the parameter stands for, and whether the parameter stood for something already.
    fn substitutes(&mut self, ty: &Type, name: &Arc<str>, param: &Type) -> (bool, bool) {
        if let Some(known) = self.bindings.get(name).cloned() {
            if *ty == known {
                return (true, true);
            }
            if self.unify(ty, &known) {
                let general = most_general(ty, &known).clone();
                if general != *param {
                    self.bind(name, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.occurs(name, ty) {
            return (false, false);
        }
        self.bind(name, ty.clone());
        (true, false)
    }

    /// Whether the parameter is a part of the type.
    fn occurs(&mut self, name: &Arc<str>, ty: &Type) -> bool {
        if !self.step() {
            return true;
        }
        match ty {
            Type::Param(other) => {
                name == other || self.bindings.get(other).cloned().is_some_and(|known| self.occurs(name, &known))
            }
            Type::List(list) => self.occurs(name, &list.element),
            Type::Map(map) => self.occurs(name, &map.key) || self.occurs(name, &map.value),
            Type::Optional(value) => self.occurs(name, value),
            _ => false,
        }
    }

    /// The type with parameters replaced by what they stand for; those that stand for nothing become `dyn` when asked.
    pub(super) fn substitute(&mut self, ty: &Type, params_are_dyn: bool) -> Type {
        let mut parts = MAX_TYPE;
        let ty = self.replaced(ty, params_are_dyn, &mut parts);
        if parts == 0 {
            self.steps = 0;
        }
        ty
    }

    fn replaced(&mut self, ty: &Type, params_are_dyn: bool, parts: &mut u32) -> Type {
        *parts = parts.saturating_sub(1);
        if !self.step() || *parts == 0 {
            return Type::Error;
        }
        match ty {
            Type::Param(name) => match self.bindings.get(name).cloned() {
                Some(known) => self.replaced(&known, params_are_dyn, parts),
                None if params_are_dyn => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(list) => {
                let element = self.replaced(&list.element, params_are_dyn, parts);
                Type::List(Arc::new(ListType { element, kind: list.kind.clone() }))
            }
            Type::Map(map) => {
                let key = self.replaced(&map.key, params_are_dyn, parts);
                let value = self.replaced(&map.value, params_are_dyn, parts);
                Type::Map(Arc::new(MapType { key, value }))
            }
            Type::Optional(value) => Type::optional(self.replaced(value, params_are_dyn, parts)),
            Type::Type(of) => Type::type_of(self.replaced(of, params_are_dyn, parts)),
            _ => ty.clone(),
        }
    }
}

/// The more general of two types that unify.
pub(super) fn most_general<'t>(one: &'t Type, other: &'t Type) -> &'t Type {
    if less_specific(one, other) { one } else { other }
}

fn less_specific(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(one), Type::List(other)) => less_specific(&one.element, &other.element),
        (Type::Map(one), Type::Map(other)) => {
            less_specific(&one.key, &other.key) && less_specific(&one.value, &other.value)
        }
        (Type::Optional(one), Type::Optional(other)) => less_specific(one, other),
        (Type::Type(_), Type::Type(_)) => true,
        (one, other) => one == other,
    }
}
