//! Values of expressions. JSON is borrowed and read when it is asked for, by its declared type; nothing is copied.

mod duration;
mod equality;
mod json;
mod list;
mod map;
mod object;
mod timestamp;
mod union;

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use duration::Duration;
pub use list::List;
pub use map::{Key, Map};
pub use object::{Fields, Object};
pub use timestamp::Timestamp;

use crate::ast::Literal;
use crate::error::EvalError;
use crate::types::{ListType, MapType, Type};

/// A value. `'a` is how long the JSON lives that it was read from. Cloning is cheap.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `uint`
    Uint(u64),
    /// `double`
    Double(f64),
    /// `string`
    String(Text<'a>),
    /// `bytes`
    Bytes(Arc<[u8]>),
    /// `timestamp`
    Timestamp(Timestamp),
    /// `duration`
    Duration(Duration),
    /// `list`
    List(List<'a>),
    /// `map`
    Map(Map<'a>),
    /// An object with named fields.
    Object(Object<'a>),
    /// `optional_type`
    Optional(Option<Arc<Self>>),
    /// A type.
    Type(Type),
    /// What only functions know how to handle.
    Opaque(Arc<dyn Opaque>),
}

/// Text, borrowed or shared.
#[derive(Clone)]
pub enum Text<'a> {
    /// Borrowed.
    Borrowed(&'a str),
    /// Shared.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A value of an opaque type.
pub trait Opaque: Any + fmt::Debug + Send + Sync {
    /// Its type: what its [`Type::Opaque`] says.
    fn type_name(&self) -> &'static str;

    /// Whether it equals another value of the same type.
    fn equals(&self, other: &dyn Opaque) -> bool;
}

impl<'a> Value<'a> {
    /// A list.
    pub fn list(elements: Vec<Self>) -> Self {
        Self::List(List::from(elements))
    }

    /// A value of an opaque type.
    pub fn opaque(value: impl Opaque) -> Self {
        Self::Opaque(Arc::new(value))
    }

    /// An optional with a value.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The empty optional.
    pub const fn none() -> Self {
        Self::Optional(None)
    }

    /// The value's type, without the types of elements: `list(dyn)`.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(list) => Type::List(Arc::new(ListType { element: Type::Dyn, kind: list.kind().clone() })),
            Self::Map(_) => Type::Map(Arc::new(MapType { key: Type::Dyn, value: Type::Dyn })),
            Self::Object(object) => Type::Object(Arc::clone(object.ty())),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(of) => Type::type_of(of.clone()),
            Self::Opaque(value) => Type::Opaque(value.type_name()),
        }
    }

    /// The value of an opaque type, when it is a `T`.
    pub fn downcast<T: Opaque>(&self) -> Option<&T> {
        match self {
            Self::Opaque(value) => {
                let any: &dyn Any = &**value;
                any.downcast_ref()
            }
            _ => None,
        }
    }
}

/// Typed access to a function's arguments. A wrong type is `no such overload`: the checker and the dispatch prevent it.
pub trait Arguments<'a> {
    /// The argument.
    fn value(&self, index: usize) -> Result<&Value<'a>, EvalError>;
    /// A `string`.
    fn text(&self, index: usize) -> Result<&str, EvalError>;
    /// A `bool`.
    fn bool(&self, index: usize) -> Result<bool, EvalError>;
    /// An `int`.
    fn int(&self, index: usize) -> Result<i64, EvalError>;
    /// A `list`.
    fn list(&self, index: usize) -> Result<&List<'a>, EvalError>;
    /// A `map`.
    fn map(&self, index: usize) -> Result<&Map<'a>, EvalError>;
    /// An opaque value.
    fn opaque<T: Opaque>(&self, index: usize) -> Result<&T, EvalError>;
}

impl<'a> Arguments<'a> for [Value<'a>] {
    fn value(&self, index: usize) -> Result<&Value<'a>, EvalError> {
        self.get(index).ok_or_else(EvalError::no_such_overload)
    }

    fn text(&self, index: usize) -> Result<&str, EvalError> {
        match self.value(index)? {
            Value::String(text) => Ok(text),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn bool(&self, index: usize) -> Result<bool, EvalError> {
        match self.value(index)? {
            Value::Bool(truth) => Ok(*truth),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn int(&self, index: usize) -> Result<i64, EvalError> {
        match self.value(index)? {
            Value::Int(number) => Ok(*number),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn list(&self, index: usize) -> Result<&List<'a>, EvalError> {
        match self.value(index)? {
            Value::List(list) => Ok(list),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn map(&self, index: usize) -> Result<&Map<'a>, EvalError> {
        match self.value(index)? {
            Value::Map(map) => Ok(map),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn opaque<T: Opaque>(&self, index: usize) -> Result<&T, EvalError> {
        self.value(index)?.downcast().ok_or_else(EvalError::no_such_overload)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Text::Shared(text.into()))
    }
}

impl From<Arc<str>> for Value<'_> {
    fn from(text: Arc<str>) -> Self {
        Self::String(Text::Shared(text))
    }
}

impl From<&Literal> for Value<'_> {
    fn from(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(truth) => Self::Bool(*truth),
            Literal::Int(number) => Self::Int(*number),
            Literal::Uint(number) => Self::Uint(*number),
            Literal::Double(number) => Self::Double(*number),
            Literal::String(text) => Self::String(Text::Shared(Arc::clone(text))),
            Literal::Bytes(bytes) => Self::Bytes(Arc::clone(bytes)),
        }
    }
}
