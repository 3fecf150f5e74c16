//! Objects with named fields: over JSON, built by an expression, or computed when a field is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use super::Value;
use crate::error::EvalError;
use crate::types::ObjectType;

/// An object. Fields are asked for by the names that expressions use (escaped).
#[derive(Clone, Debug)]
pub struct Object<'a> {
    ty: Arc<ObjectType>,
    repr: Repr<'a>,
}

#[derive(Clone)]
enum Repr<'a> {
    Json(&'a serde_json::Map<String, Json>),
    Built(Arc<BTreeMap<Arc<str>, Value<'a>>>),
    Computed(Arc<dyn Fields<'a> + 'a>),
}

impl fmt::Debug for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fields) => fmt::Debug::fmt(fields, f),
            Self::Built(fields) => fmt::Debug::fmt(fields, f),
            Self::Computed(_) => f.write_str("(computed)"),
        }
    }
}

/// Fields that are computed when they are asked for: `variables` of admission policies.
pub trait Fields<'a>: Send + Sync {
    /// A field. None when it is not there.
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;
}

impl<'a> Object<'a> {
    /// An object over JSON.
    pub fn from_json(fields: &'a serde_json::Map<String, Json>, ty: Arc<ObjectType>) -> Self {
        Self { ty, repr: Repr::Json(fields) }
    }

    /// An object of these fields.
    pub fn built(fields: BTreeMap<Arc<str>, Value<'a>>, ty: Arc<ObjectType>) -> Self {
        Self { ty, repr: Repr::Built(Arc::new(fields)) }
    }

    /// An object whose fields are computed.
    pub fn computed(fields: Arc<dyn Fields<'a> + 'a>, ty: Arc<ObjectType>) -> Self {
        Self { ty, repr: Repr::Computed(fields) }
    }

    /// Its type.
    pub fn ty(&self) -> &Arc<ObjectType> {
        &self.ty
    }

    /// A field's value; None when it is absent or not declared. Errors: JSON that is not of its declared type.
    pub fn get(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match &self.repr {
            Repr::Computed(fields) => fields.get(name).transpose(),
            Repr::Built(fields) => Ok(fields.get(name).cloned()),
            Repr::Json(fields) => {
                let Some(field) = self.ty.field(name) else { return Ok(None) };
                fields.get(&field.property).map(|json| Value::from_json(json, &field.ty)).transpose()
            }
        }
    }

    /// Whether the field is there: `has(object.name)`.
    pub fn has(&self, name: &str) -> Result<bool, EvalError> {
        match &self.repr {
            Repr::Computed(fields) => fields.get(name).transpose().map(|field| field.is_some()),
            Repr::Built(fields) => Ok(fields.contains_key(name)),
            Repr::Json(fields) => Ok(self.ty.field(name).is_some_and(|field| fields.contains_key(&field.property))),
        }
    }

    /// The fields of an object that an expression built.
    pub fn built_fields(&self) -> Option<&BTreeMap<Arc<str>, Value<'a>>> {
        match &self.repr {
            Repr::Built(fields) => Some(fields),
            _ => None,
        }
    }

    /// The object as JSON, its fields by their names in JSON; computed fields cannot be listed.
    pub(crate) fn to_json(&self, value: impl Fn(&Value<'a>) -> Result<Json, EvalError>) -> Result<Json, EvalError> {
        match &self.repr {
            Repr::Json(fields) => Ok(Json::Object((*fields).clone())),
            Repr::Built(fields) => {
                let named = |(name, field): (&Arc<str>, &Value<'a>)| {
                    let property = self.ty.field(name).map_or_else(|| name.to_string(), |field| field.property);
                    Ok((property, value(field)?))
                };
                Ok(Json::Object(fields.iter().map(named).collect::<Result<_, EvalError>>()?))
            }
            Repr::Computed(_) => {
                Err(EvalError::new(format!("type conversion error from '{}' to JSON", self.ty.name())))
            }
        }
    }

    /// The JSON behind the object, when it is over JSON.
    pub fn json(&self) -> Option<&'a serde_json::Map<String, Json>> {
        match &self.repr {
            Repr::Json(fields) => Some(fields),
            _ => None,
        }
    }
}
