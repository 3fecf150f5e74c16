//! Lists: over JSON, or built.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Value;
use crate::error::EvalError;
use crate::types::{ListKind, ListType, Type};

/// A list.
#[derive(Clone, Debug)]
pub struct List<'a>(Repr<'a>);

#[derive(Clone, Debug)]
enum Repr<'a> {
    Json { elements: &'a [Json], ty: Arc<ListType> },
    Built(Arc<Built<'a>>),
}

#[derive(Clone, Debug)]
struct Built<'a> {
    elements: Vec<Value<'a>>,
    kind: ListKind,
}

impl<'a> From<Vec<Value<'a>>> for List<'a> {
    fn from(elements: Vec<Value<'a>>) -> Self {
        Self::of_kind(elements, ListKind::Atomic)
    }
}

impl<'a> List<'a> {
    /// A list over JSON.
    pub fn from_json(elements: &'a [Json], ty: Arc<ListType>) -> Self {
        Self(Repr::Json { elements, ty })
    }

    /// A list of these elements that compares and adds as `kind` says.
    pub fn of_kind(elements: Vec<Value<'a>>, kind: ListKind) -> Self {
        Self(Repr::Built(Arc::new(Built { elements, kind })))
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Json { elements, .. } => elements.len(),
            Repr::Built(built) => built.elements.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it compares and adds.
    pub fn kind(&self) -> &ListKind {
        match &self.0 {
            Repr::Json { ty, .. } => &ty.kind,
            Repr::Built(built) => &built.kind,
        }
    }

    /// An element; `index out of bounds: 3` when there is none, or an error when the JSON is not of its declared type.
    pub fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
        match &self.0 {
            Repr::Json { elements, ty } => elements.get(index).map(|json| Value::from_json(json, &ty.element)),
            Repr::Built(built) => built.elements.get(index).cloned().map(Ok),
        }
        .unwrap_or_else(|| Err(EvalError::new(format!("index out of bounds: {index}"))))
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Puts one more element at the end, in place when nobody else holds the list.
    pub(crate) fn push(&mut self, element: Value<'a>) -> Result<(), EvalError> {
        if let Repr::Json { ty, .. } = &self.0 {
            let kind = ty.kind.clone();
            let elements = self.iter().collect::<Result<Vec<_>, _>>()?;
            *self = Self::of_kind(elements, kind);
        }
        if let Repr::Built(built) = &mut self.0 {
            Arc::make_mut(built).elements.push(element);
        }
        Ok(())
    }

    /// The declared type of the elements; `dyn` for a list that was built.
    pub fn element_type(&self) -> &Type {
        match &self.0 {
            Repr::Json { ty, .. } => &ty.element,
            Repr::Built(_) => &Type::Dyn,
        }
    }
}
