//! Sets of fields, the `FieldsV1` of `managedFields`. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::{Map, Value};

/// A JSON scalar with a total order, as a part of keys. Numbers that are whole compare as whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// A whole number.
    Int(i64),
    /// Any other number or composite value, as JSON.
    Json(String),
    /// Text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
}

impl Scalar {
    /// The scalar of a value; composites become their JSON.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::String(s) => Self::Text(s.clone()),
            Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => Self::Int(n),
                #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
                (None, Some(f)) if f.fract() == 0.0 && f.abs() < 9e15 => Self::Int(f as i64),
                _ => Self::Json(n.to_string()),
            },
            other => Self::Json(other.to_string()),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Text(s) => Value::String(s.clone()),
            Self::Int(n) => Value::from(*n),
            Self::Json(text) => serde_json::from_str(text).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(s) => f.write_str(&crate::field::go_quote(s)),
            Self::Int(n) => write!(f, "{n}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Json(text) => f.write_str(text),
            Self::Null => f.write_str("null"),
        }
    }
}

/// One step of a path. The order is that in which conflicts are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field or map key: `f:NAME`.
    Field(String),
    /// A list element by its merge keys, sorted by name: `k:{"name":"c"}`.
    Key(Vec<(String, Scalar)>),
    /// An element of a set: `v:"x"`.
    Value(Scalar),
    /// An element by position: `i:0`.
    Index(i64),
}

impl Element {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "v" => Some(Self::Value(Scalar::of(&serde_json::from_str(rest).ok()?))),
            "i" => Some(Self::Index(rest.parse().ok()?)),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(keys.iter().map(|(name, value)| (name.clone(), Scalar::of(value))).collect()))
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Value(value) => format!("v:{}", value.to_value()),
            Self::Index(at) => format!("i:{at}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> =
                    keys.iter().map(|(name, value)| (name.clone(), value.to_value())).collect();
                format!("k:{}", Value::Object(keys))
            }
        }
    }
}

/// As paths print it: `.spec`, `[name="c"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
        }
    }
}

/// A set of field paths as a tree: each node says whether it is itself in the set and what lies below it.
///
/// Invariant: no node below the root is empty, so equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) member: bool,
    pub(super) children: BTreeMap<Element, Self>,
}

impl FieldSet {
    /// The set of these paths, each a list of field names.
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut out = Self::default();
        for path in paths {
            let mut at = &mut out;
            for name in *path {
                at = at.children.entry(Element::Field((*name).to_owned())).or_default();
            }
            at.member = true;
        }
        out
    }

    /// Nothing is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether the path of field names is in the set.
    pub fn has(&self, path: &[impl AsRef<str>]) -> bool {
        let mut at = self;
        for name in path {
            match at.children.get(&Element::Field(name.as_ref().to_owned())) {
                Some(child) => at = child,
                None => return false,
            }
        }
        at.member
    }

    /// Puts a subtree below an element, unless it is empty.
    pub(super) fn put(&mut self, element: Element, below: Self) {
        if !below.is_empty() {
            self.children.insert(element, below);
        }
    }

    /// Reads `FieldsV1`. `None` when it is not one.
    pub fn parse(value: &Value) -> Option<Self> {
        let Value::Object(map) = value else { return None };
        let mut out = Self::default();
        for (key, below) in map {
            if key == "." {
                out.member = true;
                continue;
            }
            let mut child = Self::parse(below)?;
            // An empty object is a member: `{"f:data": {}}`.
            child.member |= child.children.is_empty();
            match out.children.entry(Element::parse(key)?) {
                Entry::Vacant(place) => {
                    place.insert(child);
                }
                Entry::Occupied(mut place) => *place.get_mut() = place.get().union(&child),
            }
        }
        Some(out)
    }

    /// Writes `FieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, below) in &self.children {
            map.insert(element.text(), below.to_value());
        }
        Value::Object(map)
    }

    /// What is in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.add(other);
        out
    }

    /// Adds another set to this one.
    pub fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, below) in &other.children {
            match self.children.get_mut(element) {
                Some(mine) => mine.add(below),
                None => {
                    self.children.insert(element.clone(), below.clone());
                }
            }
        }
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, below) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                out.put(element.clone(), below.intersection(theirs));
            }
        }
        out
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Self { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, below) in &self.children {
            match other.children.get(element) {
                Some(theirs) => out.put(element.clone(), below.difference(theirs)),
                None => out.put(element.clone(), below.clone()),
            }
        }
        out
    }

    /// [`Self::difference`] of a set that is of no more use: it copies nothing.
    #[must_use]
    pub(super) fn subtract(mut self, other: &Self) -> Self {
        self.member &= !other.member;
        self.children.retain(|element, below| match other.children.get(element) {
            Some(theirs) => {
                *below = std::mem::take(below).subtract(theirs);
                !below.is_empty()
            }
            None => true,
        });
        self
    }

    /// What is in this set and neither in the other nor below one of its members.
    #[must_use]
    pub fn without_subtrees(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut out = Self { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, below) in &self.children {
            match other.children.get(element) {
                Some(theirs) if theirs.member => {}
                Some(theirs) => out.put(element.clone(), below.without_subtrees(theirs)),
                None => out.put(element.clone(), below.clone()),
            }
        }
        out
    }

    /// All paths, printed; at each level the members before what lies below them.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        out.extend(
            self.children.iter().filter(|(_, below)| below.member).map(|(element, _)| format!("{prefix}{element}")),
        );
        for (element, below) in &self.children {
            if !below.children.is_empty() {
                below.collect(&format!("{prefix}{element}"), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::FieldSet;

    #[test]
    fn fields_v1_round_trips() {
        let text = json!({
            "f:data": {".": {}, "f:k": {}},
            "f:spec": {"f:ports": {r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:name": {}}}},
            "f:metadata": {"f:finalizers": {r#"v:"a/b""#: {}}, "f:l": {"i:0": {}}},
        });
        assert_eq!(FieldSet::parse(&text).unwrap().to_value(), text);
    }

    #[test]
    fn what_is_no_fields_v1_is_refused() {
        for text in [json!([]), json!({"x": {}}), json!({"f:a": 1}), json!({"k:{": {}}), json!({"i:x": {}})] {
            assert_eq!(FieldSet::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn paths_print_members_before_what_is_below() {
        let set = FieldSet::parse(&json!({
            "f:a": {"f:z": {}}, "f:b": {}, "f:c": {r#"k:{"name":"c"}"#: {"f:image": {}}, r#"v:"x""#: {}, "i:3": {}},
        }))
        .unwrap();
        assert_eq!(set.paths(), [".b", ".a.z", r#".c[="x"]"#, ".c[3]", r#".c[name="c"].image"#]);
    }

    #[test]
    fn set_operations() {
        let a = FieldSet::of(&[&["a"], &["a", "b"], &["c"]]);
        let b = FieldSet::of(&[&["a"], &["d"]]);
        assert_eq!(a.union(&b), FieldSet::of(&[&["a"], &["a", "b"], &["c"], &["d"]]));
        assert_eq!(a.intersection(&b), FieldSet::of(&[&["a"]]));
        assert_eq!(a.difference(&b), FieldSet::of(&[&["a", "b"], &["c"]]));
        assert_eq!(a.clone().subtract(&b), a.difference(&b));
        assert_eq!(a.without_subtrees(&b), FieldSet::of(&[&["c"]]));
    }
}
