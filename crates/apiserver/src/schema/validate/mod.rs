//! Validation of custom resources by their OpenAPI schema, worded as kube-apiserver words it. Pure. CEL rules are not
//! evaluated here: [`Schema::validations`] holds them for whoever does.
//!
//! The checks of a node and their order are those of `k8s.io/kube-openapi/pkg/validation/validate`; which of several
//! alternatives is blamed depends on how many checks each passed, so those are counted as there.

mod embedded;
mod lists;
mod numbers;
mod ratchet;

use serde_json::{Map, Value};

use super::body::MAX_DEPTH;
use super::report::{Path, Room};
use super::{AdditionalProperties, Schema, formats, pattern};
use crate::field::{FieldError, Kind, go_value};

pub(crate) use embedded::embedded;
pub(crate) use lists::keyed_lists;
pub(crate) use ratchet::Correlated;

/// Most checks of one object, of any kind together. Alternatives within alternatives over long lists would otherwise take
/// hours; an honest object needs a few for each of its values.
const MAX_STEPS: u64 = 5_000_000;

/// Errors of `value` against `schema`. Paths in messages are relative to `value`, which lies at `base`.
pub(crate) fn value(value: &Value, schema: &Schema, base: &Path<'_>) -> Vec<FieldError> {
    run(value, schema, None, base, MAX_STEPS)
}

/// Errors of a changed value. What did not change keeps its errors: they are not reported.
pub(crate) fn update(new: &Value, old: &Value, schema: &Schema) -> Vec<FieldError> {
    run(new, schema, Some(Correlated { old, schema }), &Path::root(""), MAX_STEPS)
}

fn run(value: &Value, schema: &Schema, old: Option<Correlated<'_>>, base: &Path<'_>, steps: u64) -> Vec<FieldError> {
    let mut walk = Walk { base, room: Room::default(), steps };
    let outcome = walk.node(value, schema, &Path::root(""), old, 0);
    let mut errors = outcome.errors;
    if walk.steps == 0 {
        errors.push(FieldError::internal(base.or_nil(), "the object takes too many steps to validate"));
    } else if outcome.failed && errors.is_empty() {
        errors.push(FieldError::internal(base.or_nil(), "the object has too many errors to report"));
    }
    errors
}

/// What the checks of a node came to.
#[derive(Default)]
struct Outcome {
    failed: bool,
    /// At most as many as there is room for.
    errors: Vec<FieldError>,
    /// Checks that were made and passed, as kube-openapi counts them.
    matches: u64,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.failed |= other.failed;
        self.errors.extend(other.errors);
        self.matches += other.matches;
    }
}

struct Walk<'a> {
    base: &'a Path<'a>,
    room: Room,
    /// Checks that may still be made.
    steps: u64,
}

impl Walk<'_> {
    /// The checks of a node; errors in what did not change are forgotten.
    fn node(
        &mut self,
        value: &Value,
        schema: &Schema,
        path: &Path<'_>,
        old: Option<Correlated<'_>>,
        depth: usize,
    ) -> Outcome {
        let mut outcome = self.check(value, schema, path, old, depth);
        if outcome.failed && self.steps > 0 && old.is_some_and(|old| old.is(value)) {
            outcome.failed = false;
            outcome.errors.clear();
        }
        outcome
    }

    fn check(
        &mut self,
        value: &Value,
        schema: &Schema,
        path: &Path<'_>,
        old: Option<Correlated<'_>>,
        depth: usize,
    ) -> Outcome {
        let mut out = Outcome::default();
        if depth >= MAX_DEPTH {
            self.fail(&mut out, path, |field, _| FieldError::internal(field, "nested too deeply"));
            return out;
        }
        self.spend(1 + schema.enum_.len() as u64);
        if self.steps == 0 {
            out.failed = true;
            return out;
        }
        let format = effective_format(schema);
        if value.is_null() {
            if schema.nullable || !has_type(schema) {
                out.matches += 1;
            } else {
                self.wrong_type(&mut out, path, &type_names(schema), "null");
            }
            self.enumerated(&mut out, value, schema, path);
            return out;
        }
        if has_type(schema) || format.is_some() {
            self.type_of(&mut out, value, schema, format, path);
            out.matches += 1;
        }
        self.alternatives(&mut out, value, schema, path, old, depth);
        out.matches += 2;
        match value {
            Value::String(text) => {
                self.text(&mut out, value, text, schema, path);
                out.matches += 1;
                if let Some(format) = format.filter(|format| formats::is_known(format)) {
                    out.matches += 1;
                    if !formats::matches(format, text) {
                        let shown = go_value(value);
                        self.fail(&mut out, path, |field, path| {
                            let why = format!("{path} in body must be of type {format}: {shown}");
                            FieldError::with(Kind::TypeInvalid, field, Some(shown.clone()), &why)
                        });
                    }
                }
            }
            Value::Number(number) => {
                self.number(&mut out, number, schema, format, path);
                out.matches += 2;
            }
            Value::Array(list) => {
                self.array(&mut out, list, schema, path, old, depth);
                out.matches += 2;
            }
            _ => {}
        }
        self.enumerated(&mut out, value, schema, path);
        out.matches += 1;
        if let Value::Object(map) = value {
            self.object(&mut out, map, schema, path, old, depth);
            out.matches += 1;
        }
        out.matches += 1;
        out
    }

    fn spend(&mut self, steps: u64) {
        self.steps = self.steps.saturating_sub(steps);
    }

    /// Notes an error, made from the field and the path as messages name it, if there is room.
    fn fail(&mut self, out: &mut Outcome, path: &Path<'_>, error: impl FnOnce(String, &Path<'_>) -> FieldError) {
        out.failed = true;
        let base = self.base;
        out.errors.extend(self.room.take(|| {
            let field = match (base.is_empty(), path.is_empty()) {
                (_, true) => base.or_nil(),
                (true, false) => path.to_string(),
                (false, false) => format!("{base}.{path}"),
            };
            error(field, path)
        }));
    }

    fn invalid(&mut self, out: &mut Outcome, path: &Path<'_>, value: &Value, why: &str) {
        self.fail(out, path, |field, path| FieldError::invalid(field, value, &format!("{path} in body {why}")));
    }

    /// An error that kube-openapi attaches to no field.
    fn nowhere(&mut self, out: &mut Outcome, path: &Path<'_>, why: impl FnOnce(&Path<'_>) -> String) {
        let base = self.base;
        self.fail(out, path, |_, path| {
            FieldError::with(Kind::Invalid, base.or_nil(), Some("\"\"".to_owned()), &why(path))
        });
    }

    fn wrong_type(&mut self, out: &mut Outcome, path: &Path<'_>, wanted: &str, found: &str) {
        self.fail(out, path, |field, path| {
            let why = format!("{path} in body must be of type {wanted}: {found:?}");
            FieldError::with(Kind::TypeInvalid, field, Some(format!("{found:?}")), &why)
        });
    }

    fn type_of(&mut self, out: &mut Outcome, value: &Value, schema: &Schema, format: Option<&str>, path: &Path<'_>) {
        let (found, found_format) = match value {
            Value::Null => ("null", ""),
            Value::Bool(_) => ("boolean", ""),
            Value::Number(n) if n.as_i64().is_none() => ("number", "float64"),
            Value::Number(_) => ("integer", "int64"),
            Value::String(_) => ("string", ""),
            Value::Array(_) => ("array", ""),
            Value::Object(_) => ("object", ""),
        };
        let is = |name: &str| if schema.int_or_string { matches!(name, "integer" | "string") } else { schema.is(name) };
        let whole = found == "number" && is("integer") && value.as_f64().is_some_and(numbers::is_integer);
        let fits = is(found) || whole || found == "integer" && is("number");
        let textual = matches!(value, Value::String(_) | Value::Array(_));
        match format {
            Some(format) if !textual && !fits && format != found_format => {
                self.wrong_type(out, path, format, found_format);
            }
            // As in kube-openapi: what has a format and is no number is left to the format's own check.
            Some(_) if textual && !is("number") && !is("integer") => out.matches += 1,
            _ if fits => out.matches += 1,
            _ => self.wrong_type(out, path, &type_names(schema), found),
        }
    }

    /// Length and pattern: the first that fails is reported.
    fn text(&mut self, out: &mut Outcome, value: &Value, text: &str, schema: &Schema, path: &Path<'_>) {
        if schema.max_length.is_some() || schema.min_length.is_some() {
            let length = text.chars().count() as u64;
            if let Some(max) = schema.max_length.filter(|&max| length > max) {
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                return self.fail(out, path, |field, _| FieldError::too_long(field, max));
            }
            if let Some(min) = schema.min_length.filter(|&min| length < min) {
                return self.invalid(out, path, value, &format!("should be at least {min} chars long"));
            }
        }
        if let Some(pattern) = schema.pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
            self.spend(text.len() as u64 / 16);
            // A definition whose pattern does not compile is not accepted.
            if pattern::compiled(pattern).is_ok_and(|regex| !regex.is_match(text)) {
                self.invalid(out, path, value, &format!("should match '{pattern}'"));
            }
        }
    }

    fn enumerated(&mut self, out: &mut Outcome, value: &Value, schema: &Schema, path: &Path<'_>) {
        // As JSON Schema compares: numbers by value.
        let same = |allowed: &Value| match (allowed.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => allowed == value,
        };
        if schema.enum_.is_empty() || schema.enum_.iter().any(same) {
            return;
        }
        self.fail(out, path, |field, _| {
            let supported: Vec<String> =
                schema.enum_.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
            let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
            FieldError::not_supported(field, value, &supported)
        });
    }

    fn array(
        &mut self,
        out: &mut Outcome,
        list: &[Value],
        schema: &Schema,
        path: &Path<'_>,
        old: Option<Correlated<'_>>,
        depth: usize,
    ) {
        if let Some(items) = &schema.items {
            let old = old.map(|old| old.elements());
            for (i, item) in list.iter().enumerate() {
                let before = old.as_ref().and_then(|old| old.at(i, item));
                out.merge(self.node(item, items, &path.index(i), before, depth + 1));
            }
        }
        if let Some(min) = schema.min_items.filter(|&min| (list.len() as u64) < min) {
            self.invalid(out, path, &list.len().into(), &format!("should have at least {min} items"));
        }
        if let Some(max) = schema.max_items.and_then(|max| usize::try_from(max).ok()).filter(|&max| list.len() > max) {
            self.fail(out, path, |field, _| FieldError::too_many(field, list.len(), max));
        }
    }

    fn object(
        &mut self,
        out: &mut Outcome,
        map: &Map<String, Value>,
        schema: &Schema,
        path: &Path<'_>,
        old: Option<Correlated<'_>>,
        depth: usize,
    ) {
        let count = map.len();
        if let Some(min) = schema.min_properties.filter(|&min| (count as u64) < min) {
            return self.invalid(out, path, &count.into(), &format!("should have at least {min} properties"));
        }
        if let Some(max) = schema.max_properties.and_then(|max| usize::try_from(max).ok()).filter(|&max| count > max) {
            return self.fail(out, path, |field, _| FieldError::too_many(field, count, max));
        }
        let before = |name: &str| {
            // Both objects were brought to the version asked for: those of the type are not what anybody changed.
            let of_the_type = path.is_empty() && matches!(name, "apiVersion" | "kind");
            old.filter(|_| !of_the_type).and_then(|old| old.field(name))
        };
        match &schema.additional_properties {
            Some(AdditionalProperties::Any(false)) => {
                for name in map.keys().filter(|name| !schema.properties.contains_key(*name)) {
                    self.fail(out, path, |field, path| {
                        let why = format!("{path}.{name} in body is a forbidden property");
                        FieldError::invalid(field, &name.as_str().into(), &why)
                    });
                }
            }
            Some(AdditionalProperties::Schema(node)) => {
                for (name, value) in map.iter().filter(|(name, _)| !schema.properties.contains_key(*name)) {
                    out.merge(self.node(value, node, &path.field(name), before(name), depth + 1));
                }
            }
            _ => {}
        }
        if !schema.properties.is_empty() {
            for (name, value) in map {
                if let Some(node) = schema.properties.get(name) {
                    out.merge(self.node(value, node, &path.field(name), before(name), depth + 1));
                }
            }
        }
        self.spend(schema.required.len() as u64);
        for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
            self.fail(out, &path.field(name), |field, _| FieldError::required(field, ""));
        }
    }

    /// `anyOf`, `oneOf`, `allOf` and `not`.
    fn alternatives(
        &mut self,
        out: &mut Outcome,
        value: &Value,
        schema: &Schema,
        path: &Path<'_>,
        old: Option<Correlated<'_>>,
        depth: usize,
    ) {
        if !schema.any_of.is_empty() {
            let mut best: Option<Outcome> = None;
            for node in &schema.any_of {
                let tried = self.check(value, node, path, old, depth + 1);
                if !tried.failed {
                    best = Some(tried);
                    break;
                }
                if best.as_ref().is_none_or(|best| tried.matches > best.matches) {
                    best = Some(tried);
                }
            }
            let best = best.unwrap_or_default();
            if best.failed {
                self.nowhere(out, path, |path| format!("{} must validate at least one schema (anyOf)", quoted(path)));
            }
            out.merge(best);
        }
        if !schema.one_of.is_empty() {
            let (mut fits, mut best): (usize, Option<Outcome>) = (0, None);
            for node in &schema.one_of {
                let tried = self.check(value, node, path, old, depth + 1);
                if !tried.failed {
                    fits += 1;
                    if fits == 1 {
                        best = Some(tried);
                    }
                } else if fits == 0 && best.as_ref().is_none_or(|best| tried.matches > best.matches) {
                    best = Some(tried);
                }
            }
            if fits != 1 {
                let found = if fits == 0 {
                    "Found none valid".to_owned()
                } else {
                    best = None;
                    format!("Found {fits} valid alternatives")
                };
                self.nowhere(out, path, |path| {
                    format!("{} must validate one and only one schema (oneOf). {found}", quoted(path))
                });
            }
            out.merge(best.unwrap_or_default());
        }
        if !schema.all_of.is_empty() {
            let mut fits = 0;
            for node in &schema.all_of {
                let tried = self.check(value, node, path, old, depth + 1);
                fits += usize::from(!tried.failed);
                out.merge(tried);
            }
            if fits < schema.all_of.len() {
                let none = if fits == 0 { ". None validated" } else { "" };
                self.nowhere(out, path, |path| format!("{} must validate all the schemas (allOf){none}", quoted(path)));
            }
        }
        if let Some(not) = &schema.not
            && !self.check(value, not, path, old, depth + 1).failed
        {
            self.nowhere(out, path, |path| format!("{} must not validate the schema (not)", quoted(path)));
        }
    }
}

fn quoted(path: &Path<'_>) -> String {
    format!("{:?}", path.to_string())
}

fn has_type(schema: &Schema) -> bool {
    schema.int_or_string || schema.type_.is_some()
}

fn type_names(schema: &Schema) -> String {
    if schema.int_or_string { "integer,string".to_owned() } else { schema.type_.clone().unwrap_or_default() }
}

/// The format, where kube-apiserver knows it for the node's type; others say nothing.
fn effective_format(schema: &Schema) -> Option<&str> {
    let format = schema.format.as_deref()?;
    let type_ = if schema.int_or_string { None } else { schema.type_.as_deref() };
    formats::is_supported(type_.unwrap_or_default(), format).then_some(format)
}

/// Calls `visit` for every value right below one that its schema describes.
fn each_below(value: &Value, schema: &Schema, path: &Path<'_>, mut visit: impl FnMut(&Value, &Schema, &Path<'_>)) {
    match value {
        Value::Object(map) => {
            for (name, field) in map {
                if let Some(node) = schema.properties.get(name) {
                    visit(field, node, &path.field(name));
                } else if let Some(AdditionalProperties::Schema(node)) = &schema.additional_properties {
                    visit(field, node, &path.key(name));
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (i, item) in list.iter().enumerate() {
                visit(item, items, &path.index(i));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
