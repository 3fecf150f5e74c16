//! Walks over typed values: validate, take the field set, compare, merge, remove. Pure.
//!
//! Lists are indexed by key, so every walk is n log n in the size of the objects. Depth is that of the values, which
//! their readers bound.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::set::{Element, FieldSet};
use super::shape::{Leaf, Node, Shape};

/// A typed value: the root of an object or a part of it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) node: Node<'a>,
    pub(super) root: bool,
}

impl<'a> At<'a> {
    pub(super) fn root(node: Node<'a>) -> Self {
        Self { node, root: true }
    }

    fn field(self, name: &str) -> Option<Self> {
        let node = if self.root { self.node.root_field(name) } else { self.node.field(name) };
        node.map(|node| Self { node, root: false })
    }

    pub(super) fn open_field(self, name: &str) -> Self {
        self.field(name).unwrap_or(Self { node: Node::Open, root: false })
    }

    /// Whether the field is one that the schema names.
    pub(super) fn declares(self, name: &str) -> bool {
        let object = self.root || self.node.is_embedded();
        (object && matches!(name, "metadata" | "apiVersion" | "kind")) || self.node.declares(name)
    }

    pub(super) fn items(self) -> Self {
        Self { node: self.node.items(), root: false }
    }

    pub(super) fn shape(self, value: &Value) -> Shape<'a> {
        match self.node.shape(value) {
            // The root is never owned whole.
            Shape::AtomicMap if self.root => Shape::Map,
            shape => shape,
        }
    }

    fn below(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.open_field(name),
            _ => self.items(),
        }
    }

    /// What in the value does not fit the schema, `PATH: why` each.
    pub(super) fn validate(self, value: &Value) -> Vec<String> {
        let mut out = Vec::new();
        self.check(value, "", &mut out);
        out
    }

    fn check(self, value: &Value, path: &str, out: &mut Vec<String>) {
        let mut wrong = |why: String| out.push(format!("{path}: {why}"));
        if value.is_null() {
            return;
        }
        match self.shape(value) {
            Shape::Scalar(leaf) => {
                let (fits, wanted) = match leaf {
                    Leaf::Number => (value.is_number(), "numeric (int or float)"),
                    Leaf::String => (value.is_string(), "string"),
                    Leaf::Bool => (value.is_boolean(), "boolean"),
                    Leaf::Any => (!value.is_array() && !value.is_object(), "scalar"),
                };
                if !fits {
                    wrong(format!("expected {wanted}, got {value}"));
                }
            }
            Shape::Map | Shape::AtomicMap => {
                let Value::Object(map) = value else { return wrong(format!("expected map, got {value}")) };
                for (name, value) in map {
                    match self.field(name) {
                        Some(field) => field.check(value, &format!("{path}.{name}"), out),
                        None => out.push(format!("{path}.{name}: field not declared in schema")),
                    }
                }
            }
            Shape::AtomicList => {
                let Value::Array(list) = value else { return wrong(format!("expected list, got {value}")) };
                for (at, value) in list.iter().enumerate() {
                    self.items().check(value, &format!("{path}[{at}]"), out);
                }
            }
            shape @ (Shape::Set | Shape::Keyed(_)) => {
                let Value::Array(list) = value else { return wrong(format!("expected list, got {value}")) };
                let mut seen = BTreeSet::new();
                for (at, value) in list.iter().enumerate() {
                    match self.node.element(&shape, value) {
                        Err(why) => out.push(format!("{path}: element {at}: {why}")),
                        Ok(element) => {
                            if seen.contains(&element) {
                                out.push(format!("{path}: duplicate entries for key {element}"));
                            }
                            self.items().check(value, &format!("{path}{element}"), out);
                            seen.insert(element);
                        }
                    }
                }
            }
        }
    }

    /// The fields that an applier of the value owns.
    pub(super) fn field_set(self, value: &Value) -> FieldSet {
        let mut out = FieldSet::default();
        match (self.shape(value), value) {
            (Shape::Map, Value::Object(map)) => {
                for (name, value) in map {
                    let mut below = self.open_field(name).field_set(value);
                    let nothing = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                    below.member |= nothing || !self.declares(name);
                    out.put(Element::Field(name.clone()), below);
                }
            }
            (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
                for value in list {
                    if let Ok(element) = self.node.element(&shape, value) {
                        let mut below = self.items().field_set(value);
                        below.member = true;
                        match out.children.get_mut(&element) {
                            Some(place) => place.add(&below),
                            None => out.put(element, below),
                        }
                    }
                }
            }
            (Shape::Map | Shape::Set | Shape::Keyed(_), _) => {}
            (Shape::Scalar(_) | Shape::AtomicMap | Shape::AtomicList, _) => out.member = !self.root,
        }
        out
    }

    /// The set with every declared field that has something below it made a member: pruning then removes it once all
    /// below it is gone.
    pub(super) fn with_named_parents(self, set: &FieldSet) -> FieldSet {
        let mut out = FieldSet { member: set.member, children: BTreeMap::new() };
        for (element, below) in &set.children {
            let mut below = self.below(element).with_named_parents(below);
            if let Element::Field(name) = element {
                below.member |= self.declares(name);
            }
            out.children.insert(element.clone(), below);
        }
        out
    }

    /// The set as this schema has it: of what became atomic, any part is the whole. What became granular is owned as
    /// before, without its parts: kube-apiserver cannot tell it from a map that was applied empty.
    pub(super) fn reconcile(self, set: &FieldSet) -> FieldSet {
        match self.shape(&Value::Object(Map::new())) {
            Shape::AtomicMap | Shape::AtomicList if !set.children.is_empty() => {
                FieldSet { member: true, children: BTreeMap::new() }
            }
            Shape::Scalar(_) | Shape::AtomicMap | Shape::AtomicList => set.clone(),
            Shape::Map | Shape::Set | Shape::Keyed(_) => {
                let child =
                    |(element, below): (&Element, &FieldSet)| (element.clone(), self.below(element).reconcile(below));
                FieldSet { member: set.member, children: set.children.iter().map(child).collect() }
            }
        }
    }

    /// Removes what is in the set. Containers that become empty stay, empty.
    pub(super) fn remove(self, value: &mut Value, gone: &FieldSet) {
        match (self.shape(value), value) {
            (Shape::Map, Value::Object(map)) => {
                for (element, below) in &gone.children {
                    let Element::Field(name) = element else { continue };
                    if below.member {
                        map.remove(name);
                    } else if let Some(value) = map.get_mut(name) {
                        self.open_field(name).remove(value, below);
                    }
                }
            }
            (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
                let items = self.items();
                list.retain_mut(|value| {
                    let Ok(element) = self.node.element(&shape, value) else { return true };
                    match gone.children.get(&element) {
                        Some(below) if below.member => false,
                        Some(below) => {
                            items.remove(value, below);
                            true
                        }
                        None => true,
                    }
                });
            }
            _ => {}
        }
    }

    /// `patch` laid over `value`.
    pub(super) fn merge(self, value: &Value, patch: &Value) -> Value {
        match (self.shape(value), self.shape(patch), value, patch) {
            (Shape::Map, _, Value::Object(value), Value::Null) if !value.is_empty() => Value::Object(value.clone()),
            (Shape::Set | Shape::Keyed(_), _, Value::Array(value), Value::Null) if !value.is_empty() => {
                Value::Array(value.clone())
            }
            (Shape::Map, Shape::Map, Value::Object(value), Value::Object(patch)) => {
                let mut out = value.clone();
                for (name, patch) in patch {
                    let merged = match value.get(name) {
                        Some(value) => self.open_field(name).merge(value, patch),
                        None => patch.clone(),
                    };
                    out.insert(name.clone(), merged);
                }
                Value::Object(out)
            }
            (_, shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(value), Value::Array(patch)) => {
                Value::Array(self.merge_lists(&shape, value, patch))
            }
            _ => patch.clone(),
        }
    }

    /// Elements of both lists, each once, in an order that keeps that of `patch` and, where it says nothing, of `value`.
    fn merge_lists(self, shape: &Shape<'_>, value: &[Value], patch: &[Value]) -> Vec<Value> {
        let elements = |list: &[Value]| -> Vec<Option<Element>> {
            list.iter().map(|value| self.node.element(shape, value).ok()).collect()
        };
        let (left, right) = (elements(value), elements(patch));
        let index = |list: &[Option<Element>]| {
            let mut out: BTreeMap<Element, Vec<usize>> = BTreeMap::new();
            for (at, element) in list.iter().enumerate() {
                if let Some(element) = element {
                    out.entry(element.clone()).or_default().push(at);
                }
            }
            out
        };
        let (in_left, in_right) = (index(&left), index(&right));
        let merged = |at: usize| -> Value {
            let old = right[at].as_ref().and_then(|element| in_left.get(element));
            match old.map(Vec::as_slice) {
                // An element that was there twice is replaced by the one.
                Some([one]) => self.items().merge(&value[*one], &patch[at]),
                _ => patch[at].clone(),
            }
        };
        let shared = |element: &Option<Element>, other: &BTreeMap<Element, Vec<usize>>| {
            element.as_ref().is_some_and(|element| other.contains_key(element))
        };
        let mut wanted = right.iter().filter(|element| shared(element, &in_left));
        let mut next = wanted.next();
        let mut out = Vec::with_capacity(value.len() + patch.len());
        let (mut l, mut r) = (0, 0);
        while l < left.len() || r < right.len() {
            if l < left.len() {
                if !shared(&left[l], &in_right) {
                    out.push(value[l].clone());
                    l += 1;
                    continue;
                }
                // A shared element stands where the patch has it: pass over it unless the patch's turn has come.
                if r >= right.len() || next != Some(&left[l]) {
                    l += 1;
                    continue;
                }
            }
            if r < right.len() {
                if l < left.len() && left[l] == right[r] {
                    l += 1;
                }
                if next == Some(&right[r]) {
                    next = wanted.next();
                }
                out.push(merged(r));
                r += 1;
            }
        }
        out
    }

    /// All fields of a value that was not there before: [`At::compare`] with nothing.
    fn whole(self, value: &Value) -> FieldSet {
        let mut out = FieldSet { member: true, children: BTreeMap::new() };
        match (self.shape(value), value) {
            (Shape::Map, Value::Object(map)) => {
                let field = |(name, value): (&String, &Value)| {
                    (Element::Field(name.clone()), self.open_field(name).whole(value))
                };
                out.children = map.iter().map(field).collect();
            }
            (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
                for value in list {
                    let Ok(element) = self.node.element(&shape, value) else { continue };
                    match out.children.entry(element) {
                        Entry::Vacant(place) => {
                            place.insert(self.items().whole(value));
                        }
                        // Duplicates are one.
                        Entry::Occupied(mut place) => place.get_mut().children.clear(),
                    }
                }
            }
            _ => {}
        }
        out
    }

    /// What changed from `old` to `new`.
    pub(super) fn compare(self, old: Option<&Value>, new: Option<&Value>) -> Comparison {
        let mut out = Comparison::default();
        if let (None, Some(new)) = (old, new) {
            out.added = self.whole(new);
            return out;
        }
        let Some(present) = new.or(old) else { return out };
        let old_kind = old.filter(|v| !v.is_null()).map(std::mem::discriminant);
        let new_kind = new.filter(|v| !v.is_null()).map(std::mem::discriminant);
        if let (Some(o), Some(n)) = (old_kind, new_kind)
            && o != n
        {
            // Another kind of value: everything below is gone or new.
            out.modified.member = true;
            out.removed = self.compare(old, None).removed;
            out.added = self.compare(None, new).added;
            (out.removed.member, out.added.member) = (false, false);
            return out;
        }
        let shaped = new.filter(|v| !v.is_null()).or(old).unwrap_or(present);
        let shape = self.shape(shaped);
        let nothing = |value: Option<&Value>| match value {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) | None => true,
            Some(_) => false,
        };
        let leaf = matches!(shape, Shape::Scalar(_) | Shape::AtomicMap | Shape::AtomicList)
            || (nothing(old) && nothing(new))
            || !(shaped.is_object() || shaped.is_array());
        if leaf {
            if let (Some(old), Some(new)) = (old, new) {
                out.modified.member = !same(old, new);
            }
        } else if matches!(shape, Shape::Map) {
            self.compare_maps(old.and_then(Value::as_object), new.and_then(Value::as_object), &mut out);
        } else {
            self.compare_lists(&shape, old.and_then(Value::as_array), new.and_then(Value::as_array), &mut out);
        }
        out.added.member |= old.is_none();
        out.removed.member |= new.is_none();
        out
    }

    fn compare_maps(self, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, out: &mut Comparison) {
        for (name, new) in new.into_iter().flatten() {
            let old = old.and_then(|old| old.get(name));
            out.put(Element::Field(name.clone()), self.open_field(name).compare(old, Some(new)));
        }
        for (name, old) in old.into_iter().flatten() {
            if !new.is_some_and(|new| new.contains_key(name)) {
                out.put(Element::Field(name.clone()), self.open_field(name).compare(Some(old), None));
            }
        }
    }

    fn compare_lists(
        self,
        shape: &Shape<'_>,
        old: Option<&Vec<Value>>,
        new: Option<&Vec<Value>>,
        out: &mut Comparison,
    ) {
        let mut pairs: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for value in old.into_iter().flatten() {
            if let Ok(element) = self.node.element(shape, value) {
                pairs.entry(element).or_default().0.push(value);
            }
        }
        for value in new.into_iter().flatten() {
            if let Ok(element) = self.node.element(shape, value) {
                pairs.entry(element).or_default().1.push(value);
            }
        }
        for (element, (old, new)) in pairs {
            if old.len() <= 1 && new.len() <= 1 {
                out.put(element, self.items().compare(old.first().copied(), new.first().copied()));
                continue;
            }
            // Duplicates are compared as one.
            let mut whole = Comparison::default();
            whole.added.member = old.is_empty();
            whole.removed.member = new.is_empty();
            let equal = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| same(old, new));
            whole.modified.member = !equal && !old.is_empty() && !new.is_empty();
            out.put(element, whole);
        }
    }
}

/// Fields that differ between two values.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
}

impl Comparison {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    fn put(&mut self, element: Element, below: Self) {
        let pairs =
            [(&mut self.added, below.added), (&mut self.removed, below.removed), (&mut self.modified, below.modified)];
        // An element is in one of them or in none.
        for (set, below) in pairs {
            if !below.is_empty() {
                set.children.insert(element.clone(), below);
            }
        }
    }

    /// What is new or different.
    pub(super) fn written(self) -> FieldSet {
        if self.modified.is_empty() {
            return self.added;
        }
        let mut out = self.modified;
        out.add(&self.added);
        out
    }

    /// Without these fields and all below them.
    pub(super) fn excluding(self, fields: &FieldSet) -> Self {
        if fields.is_empty() {
            return self;
        }
        Self {
            added: self.added.without_subtrees(fields),
            removed: self.removed.without_subtrees(fields),
            modified: self.modified.without_subtrees(fields),
        }
    }
}

/// Equality in which `1` is `1.0`.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64() && (x.is_f64() || y.is_f64()),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}
