//! Tree → types and overloads, with cel-go's rules and messages. Pure.

mod literals;
#[cfg(test)]
mod tests;
mod unify;

use std::sync::Arc;

use unify::{Unifier, most_general};

use crate::ast::{Call, Checked, Comprehension, Expr, ExprKind, Id, List, Literal, MapEntry, Reference, Struct};
use crate::env::Declarations;
use crate::error::Issue;
use crate::function::Function;
use crate::operators;
use crate::parser::Parsed;
use crate::types::{ObjectType, Type};

/// Checks a parsed expression.
pub(crate) fn check(declarations: &Declarations, parsed: Parsed) -> Result<Checked, Vec<Issue>> {
    let Parsed { mut root, offsets } = parsed;
    let mut checker = Checker {
        declarations,
        types: vec![None; offsets.len()],
        references: vec![None; offsets.len()],
        offsets,
        unifier: Unifier::new(),
        scope: Vec::new(),
        formatting: 0,
        issues: Vec::new(),
    };
    checker.check(&mut root);
    checker.finish(root)
}

struct Checker<'d> {
    declarations: &'d Declarations,
    offsets: Vec<u32>,
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
    unifier: Unifier,
    /// Variables of comprehensions, innermost last.
    scope: Vec<(Arc<str>, Type)>,
    /// How many calls of `format` are open: what is inside may mix types.
    formatting: usize,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn finish(mut self, root: Expr) -> Result<Checked, Vec<Issue>> {
        let mut types = std::mem::take(&mut self.types);
        for ty in types.iter_mut().flatten() {
            *ty = self.unifier.substitute(ty, true);
        }
        if self.unifier.gave_up() {
            let message = "the types of the expression are too large".to_owned();
            return Err(vec![Issue { message, offset: None }]);
        }
        let checked = Checked { root, types, references: self.references };
        if self.issues.is_empty() {
            self.issues = literals::check(&checked, &self.offsets);
        }
        if self.issues.is_empty() {
            return Ok(checked);
        }
        self.issues.sort_by_key(|issue| issue.offset);
        Err(self.issues)
    }

    fn error(&mut self, at: Id, message: String) {
        let offset = self.offsets.get(at as usize).copied();
        self.issues.push(Issue { message, offset });
    }

    fn undeclared(&mut self, at: Id, name: &str) {
        self.error(at, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn set(&mut self, id: Id, ty: Type) {
        if let Some(place) = self.types.get_mut(id as usize) {
            *place = Some(ty);
        }
    }

    fn refer(&mut self, id: Id, reference: Reference) {
        if let Some(place) = self.references.get_mut(id as usize) {
            *place = Some(reference);
        }
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.types.get(expr.id as usize).cloned().flatten().unwrap_or(Type::Error)
    }

    fn substituted(&mut self, ty: &Type) -> Type {
        self.unifier.substitute(ty, false)
    }

    fn shown(&mut self, ty: &Type) -> Type {
        self.unifier.substitute(ty, true)
    }

    fn check(&mut self, expr: &mut Expr) {
        let id = expr.id;
        match &mut expr.kind {
            ExprKind::Literal(literal) => self.set(id, literal_type(literal)),
            ExprKind::Ident(name) => match self.lookup(name) {
                Some((ty, reference)) => self.resolved(id, ty, reference),
                None => {
                    let name = Arc::clone(name);
                    self.undeclared(id, &name);
                    self.set(id, Type::Error);
                }
            },
            ExprKind::Select(_) => self.check_select(expr),
            ExprKind::Call(call) => {
                let formatting = usize::from(&*call.function == "format");
                self.formatting += formatting;
                self.check_call(expr);
                self.formatting -= formatting;
            }
            ExprKind::List(list) => self.check_list(id, list),
            ExprKind::Map(entries) => self.check_map(id, entries),
            ExprKind::Struct(object) => self.check_struct(id, object),
            ExprKind::Comprehension(fold) => self.check_comprehension(id, fold),
        }
    }

    fn resolved(&mut self, id: Id, ty: Type, reference: Reference) {
        self.set(id, ty);
        self.refer(id, reference);
    }

    /// What a (qualified) name refers to: a variable of a comprehension, a declared variable, a type.
    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        let global = name.strip_prefix('.');
        if global.is_none()
            && let Some((known, ty)) = self.scope.iter().rev().find(|(known, _)| **known == *name)
        {
            return Some((ty.clone(), Reference::Variable(Arc::clone(known))));
        }
        let name = global.unwrap_or(name);
        if let Some(ty) = self.declarations.variables.get(name) {
            return Some((ty.clone(), Reference::Variable(name.into())));
        }
        let ty = self.declarations.type_named(name)?;
        Some((Type::type_of(ty.clone()), Reference::Type(ty)))
    }

    fn check_select(&mut self, expr: &mut Expr) {
        if let Some(name) = qualified_name(expr)
            && let Some((ty, reference)) = self.lookup(&name)
        {
            self.resolved(expr.id, ty, reference);
            expr.kind = ExprKind::Ident(name.into());
            return;
        }
        let ExprKind::Select(select) = &mut expr.kind else { return };
        self.check(&mut select.operand);
        let ty = self.field_type(expr.id, &select.operand, &select.field);
        self.set(expr.id, if select.test_only { Type::Bool } else { ty });
    }

    /// The type of a field of a checked operand.
    fn field_type(&mut self, at: Id, operand: &Expr, field: &str) -> Type {
        let operand = self.type_of(operand);
        let operand = self.substituted(&operand);
        let (target, optional) = match operand {
            Type::Optional(inner) => ((*inner).clone(), true),
            other => (other, false),
        };
        let result = match &target {
            Type::Map(map) => map.value.clone(),
            Type::Object(object) => self.object_field(at, object, field),
            Type::Param(_) => {
                self.unifier.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            other if other.is_dyn() => Type::Dyn,
            other => {
                self.error(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        let result = self.substituted(&result);
        if optional { Type::optional(result) } else { result }
    }

    fn object_field(&mut self, at: Id, object: &ObjectType, field: &str) -> Type {
        match object.field(field) {
            Some(field) => field.ty,
            None => {
                self.error(at, format!("undefined field '{field}'"));
                Type::Error
            }
        }
    }

    fn check_call(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let ExprKind::Call(call) = &mut expr.kind else { return };
        if &*call.function == operators::OPTIONAL_SELECT && call.target.is_none() {
            return self.check_optional_select(id, call);
        }
        for arg in &mut call.args {
            self.check(arg);
        }
        let function = match &mut call.target {
            None => {
                let name = call.function.strip_prefix('.').unwrap_or(&call.function);
                self.declarations.language.functions.get(name).cloned()
            }
            Some(target) => {
                let namespaced = qualified_name(target).map(|prefix| {
                    let name = format!("{prefix}.{}", call.function);
                    name.strip_prefix('.').unwrap_or(&name).to_owned()
                });
                let function = namespaced.and_then(|name| self.declarations.language.functions.get(&name).cloned());
                match function {
                    Some(function) => {
                        call.function = function.name.into();
                        call.target = None;
                        Some(function)
                    }
                    None => {
                        self.check(target);
                        self.declarations.language.functions.get(&call.function).cloned()
                    }
                }
            }
        };
        match function {
            Some(function) => self.resolve(id, &function, call),
            None => {
                let name = Arc::clone(&call.function);
                self.undeclared(id, &name);
                self.set(id, Type::Error);
            }
        }
    }

    /// `operand.?field`.
    fn check_optional_select(&mut self, id: Id, call: &mut Call) {
        let [operand, Expr { id: field_id, kind: ExprKind::Literal(Literal::String(field)) }] = &mut call.args[..]
        else {
            self.set(id, Type::Error);
            return self.error(id, "unsupported optional field selection".to_owned());
        };
        let (field_id, field) = (*field_id, Arc::clone(field));
        self.check(operand);
        self.set(field_id, Type::String);
        let ty = match self.field_type(id, operand, &field) {
            optional @ Type::Optional(_) if matches!(self.type_of(operand), Type::Optional(_)) => optional,
            other => Type::optional(other),
        };
        self.resolved(id, ty, Reference::Overloads(vec!["select_optional_field"]));
    }

    /// Finds the overloads that a call may mean.
    fn resolve(&mut self, id: Id, function: &Function, call: &Call) {
        let types: Vec<Type> = call.target.iter().chain(&call.args).map(|arg| self.type_of(arg)).collect();
        let mut ids = Vec::new();
        let mut result: Option<Type> = None;
        for overload in function.overloads.iter().filter(|overload| overload.member == call.target.is_some()) {
            if overload.args.len() != types.len() {
                continue;
            }
            let mut signature = overload.args.clone();
            signature.push(overload.result.clone());
            let mut signature = self.unifier.instantiate(&signature);
            let Some(own_result) = signature.pop() else { continue };
            if !self.unifier.assignable_all(&types, &signature) {
                continue;
            }
            ids.push(overload.id);
            let own_result = self.substituted(&own_result);
            result = Some(match result {
                Some(known) if known == own_result || known.is_dyn() => known,
                Some(_) => Type::Dyn,
                None => own_result,
            });
        }
        match result {
            Some(ty) => self.resolved(id, ty, Reference::Overloads(ids)),
            None => {
                self.set(id, Type::Error);
                let shown: Vec<String> = types.iter().map(|ty| self.shown(ty).to_string()).collect();
                let signature = match (&call.target, shown.split_first()) {
                    (Some(_), Some((target, args))) => format!("{target}.({})", args.join(", ")),
                    _ => format!("({})", shown.join(", ")),
                };
                let name = function.name;
                self.error(id, format!("found no matching overload for '{name}' applied to '{signature}'"));
            }
        }
    }

    /// The common type of elements. Kubernetes wants one (`HomogeneousAggregateLiterals`).
    fn join(&mut self, at: Id, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.unifier.assignable(&previous, &current) {
            return most_general(&previous, &current).clone();
        }
        if self.formatting > 0 {
            return Type::Dyn;
        }
        self.mismatch(at, &previous, &current);
        Type::Error
    }

    fn mismatch(&mut self, at: Id, expected: &Type, found: &Type) {
        let (expected, found) = (self.shown(expected), self.shown(found));
        self.error(at, format!("expected type '{expected}' but found '{found}'"));
    }

    /// The type of an element; of `?element` the type inside.
    fn element_type(&mut self, element: &Expr, optional: bool) -> Type {
        let ty = self.type_of(element);
        if !optional {
            return ty;
        }
        match self.substituted(&ty) {
            Type::Optional(inner) => (*inner).clone(),
            other if other.is_dyn() => other,
            other => {
                self.mismatch(element.id, &Type::optional(other.clone()), &other);
                other
            }
        }
    }

    fn check_list(&mut self, id: Id, list: &mut List) {
        let mut joined = None;
        for (index, element) in list.elements.iter_mut().enumerate() {
            self.check(element);
            let ty = self.element_type(element, list.optional.binary_search(&index).is_ok());
            joined = Some(self.join(element.id, joined, ty));
        }
        let element = joined.unwrap_or_else(|| self.unifier.fresh());
        self.set(id, Type::list(element));
    }

    fn check_map(&mut self, id: Id, entries: &mut [MapEntry]) {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&mut entry.key);
            let ty = self.type_of(&entry.key);
            keys = Some(self.join(entry.key.id, keys, ty));
            self.check(&mut entry.value);
            let ty = self.element_type(&entry.value, entry.optional);
            values = Some(self.join(entry.value.id, values, ty));
        }
        let key = keys.unwrap_or_else(|| self.unifier.fresh());
        let value = values.unwrap_or_else(|| self.unifier.fresh());
        self.set(id, Type::map(key, value));
    }

    fn check_struct(&mut self, id: Id, object: &mut Struct) {
        let declared = match self.lookup(&object.type_name) {
            Some((_, Reference::Type(Type::Object(ty)))) => Some(ty),
            Some((_, Reference::Type(ty))) => {
                self.error(id, format!("'{ty}' is not a message type"));
                None
            }
            Some((ty, _)) => {
                self.error(id, format!("'{ty}' is not a type"));
                None
            }
            None => {
                let name = Arc::clone(&object.type_name);
                self.undeclared(id, &name);
                return self.set(id, Type::Error);
            }
        };
        match &declared {
            Some(ty) => self.resolved(id, Type::Object(Arc::clone(ty)), Reference::Type(Type::Object(Arc::clone(ty)))),
            None => self.set(id, Type::Error),
        }
        for field in &mut object.fields {
            self.check(&mut field.value);
            let expected = declared.as_ref().map_or(Type::Error, |ty| self.object_field(field.id, ty, &field.name));
            let ty = self.element_type(&field.value, field.optional);
            if !self.unifier.assignable(&expected, &ty) {
                let (name, expected, ty) = (&field.name, self.shown(&expected), self.shown(&ty));
                let message = format!("expected type of field '{name}' is '{expected}' but provided type is '{ty}'");
                self.error(field.id, message);
            }
        }
    }

    fn check_comprehension(&mut self, id: Id, fold: &mut Comprehension) {
        self.check(&mut fold.range);
        self.check(&mut fold.init);
        let range = self.type_of(&fold.range);
        let range = self.substituted(&range);
        let accu = self.type_of(&fold.init);
        let (var, var2) = match &range {
            Type::List(list) if fold.var2.is_some() => (Type::Int, list.element.clone()),
            Type::List(list) => (list.element.clone(), Type::Error),
            Type::Map(map) => (map.key.clone(), map.value.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.unifier.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.error(fold.range.id, message);
                (Type::Error, Type::Error)
            }
        };
        let outer = self.scope.len();
        self.scope.push((Arc::clone(&fold.accu), accu.clone()));
        self.scope.push((Arc::clone(&fold.var), var));
        if let Some(name) = &fold.var2 {
            self.scope.push((Arc::clone(name), var2));
        }
        self.check(&mut fold.condition);
        self.assert_type(&fold.condition, &Type::Bool);
        self.check(&mut fold.step);
        self.assert_type(&fold.step, &accu);
        self.scope.truncate(outer + 1);
        self.check(&mut fold.result);
        self.scope.truncate(outer);
        let ty = self.type_of(&fold.result);
        let ty = self.substituted(&ty);
        self.set(id, ty);
    }

    fn assert_type(&mut self, expr: &Expr, expected: &Type) {
        let found = self.type_of(expr);
        if !self.unifier.assignable(expected, &found) {
            self.mismatch(expr.id, expected, &found);
        }
    }
}

/// `a.b.c`, when that is all an expression is.
fn qualified_name(expr: &Expr) -> Option<String> {
    let mut fields: Vec<&str> = Vec::new();
    let mut expr = expr;
    loop {
        match &expr.kind {
            ExprKind::Ident(name) => {
                let mut full = name.to_string();
                for field in fields.iter().rev() {
                    full.push('.');
                    full.push_str(field);
                }
                return Some(full);
            }
            ExprKind::Select(select) if !select.test_only => {
                fields.push(&select.field);
                expr = &select.operand;
            }
            _ => return None,
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
