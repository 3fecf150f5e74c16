//! The syntax tree, after macros are expanded, and what the checker knows about it. Pure data.
//!
//! Its shape is cel-go's: operators are calls of functions with names like `_+_`, macros become comprehensions. The
//! cost estimate depends on that shape.

use std::sync::Arc;

use crate::types::Type;

/// The number of a node: an index into the tables of [`Checked`].
pub type Id = u32;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its number, its own in the tree.
    pub id: Id,
    /// What it is.
    pub kind: ExprKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// A name: a variable, a type, or the first part of a qualified name.
    Ident(Arc<str>),
    /// `operand.field`, or `has(operand.field)`.
    Select(Box<Select>),
    /// A call; operators too (`crate::operators`).
    Call(Box<Call>),
    /// `[a, ?b]`.
    List(List),
    /// `{k: v, ?k: v}`.
    Map(Vec<MapEntry>),
    /// `Name{field: value}`.
    Struct(Box<Struct>),
    /// What a macro becomes.
    Comprehension(Box<Comprehension>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`
    Bool(bool),
    /// `1`
    Int(i64),
    /// `1u`
    Uint(u64),
    /// `1.0`
    Double(f64),
    /// `"text"`
    String(Arc<str>),
    /// `b"octets"`
    Bytes(Arc<[u8]>),
}

/// `operand.field`.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// What is selected from.
    pub operand: Expr,
    /// The field.
    pub field: Arc<str>,
    /// Whether only its presence is asked: `has(operand.field)`.
    pub test_only: bool,
}

/// `target.function(args)` or `function(args)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: Arc<str>,
    /// The receiver.
    pub target: Option<Expr>,
    /// The arguments.
    pub args: Vec<Expr>,
}

/// `[a, ?b]`.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// The elements.
    pub elements: Vec<Expr>,
    /// Indices of those written `?e`, ascending.
    pub optional: Vec<usize>,
}

/// `key: value`.
#[derive(Clone, Debug, PartialEq)]
pub struct MapEntry {
    /// The number of the entry itself.
    pub id: Id,
    /// The key.
    pub key: Expr,
    /// The value.
    pub value: Expr,
    /// Whether it is `?key: value`.
    pub optional: bool,
}

/// `Name{field: value}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// The type's name as written; dots included.
    pub type_name: Arc<str>,
    /// The fields.
    pub fields: Vec<StructField>,
}

/// `field: value`.
#[derive(Clone, Debug, PartialEq)]
pub struct StructField {
    /// The number of the entry itself.
    pub id: Id,
    /// The field's (escaped) name.
    pub name: Arc<str>,
    /// The value.
    pub value: Expr,
    /// Whether it is `?field: value`.
    pub optional: bool,
}

/// A fold over a list or a map: `accu = init; for (var, var2) in range { if !condition {break}; accu = step }; result`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comprehension {
    /// What is gone through.
    pub range: Expr,
    /// The name of each element, or of each key of a map, or of the index when there is a second variable.
    pub var: Arc<str>,
    /// The name of each value, in two-variable comprehensions.
    pub var2: Option<Arc<str>>,
    /// The accumulator's name.
    pub accu: Arc<str>,
    /// The accumulator's first value.
    pub init: Expr,
    /// Whether to go on; evaluated before each step.
    pub condition: Expr,
    /// The accumulator's next value.
    pub step: Expr,
    /// The value of the whole.
    pub result: Expr,
}

/// A checked tree: types and references by node number.
#[derive(Debug)]
pub struct Checked {
    /// The tree, with qualified names resolved.
    pub root: Expr,
    pub(crate) types: Vec<Option<Type>>,
    pub(crate) references: Vec<Option<Reference>>,
}

/// What a name or a call refers to.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// A declared variable (or one of a comprehension) by its full name.
    Variable(Arc<str>),
    /// A type as a value: `int`, `kubernetes.URL`.
    Type(Type),
    /// The overloads that may be meant: ids in the order of the function's declaration. One, unless an argument is `dyn`.
    Overloads(Vec<&'static str>),
}

impl Checked {
    /// The type of a node; `dyn` for a node that has none.
    pub fn type_of(&self, id: Id) -> &Type {
        self.types.get(id as usize).and_then(Option::as_ref).unwrap_or(&Type::Dyn)
    }

    /// What a node refers to.
    pub fn reference(&self, id: Id) -> Option<&Reference> {
        self.references.get(id as usize).and_then(Option::as_ref)
    }

    /// The overloads that a call may mean.
    pub fn overloads(&self, id: Id) -> &[&'static str] {
        match self.reference(id) {
            Some(Reference::Overloads(ids)) => ids,
            _ => &[],
        }
    }
}

impl ExprKind {
    /// Calls `visit` with each direct child.
    pub fn for_each_child(&self, mut visit: impl FnMut(&Expr)) {
        match self {
            Self::Literal(_) | Self::Ident(_) => {}
            Self::Select(select) => visit(&select.operand),
            Self::Call(call) => call.target.iter().chain(&call.args).for_each(visit),
            Self::List(list) => list.elements.iter().for_each(visit),
            Self::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).for_each(visit),
            Self::Struct(object) => object.fields.iter().map(|field| &field.value).for_each(visit),
            Self::Comprehension(fold) => {
                [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result].into_iter().for_each(visit);
            }
        }
    }
}
