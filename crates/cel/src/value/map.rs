//! Maps: over JSON, or built.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Text, Value};
use crate::error::EvalError;
use crate::types::MapType;

/// A map.
#[derive(Clone, Debug)]
pub struct Map<'a>(Repr<'a>);

#[derive(Clone, Debug)]
enum Repr<'a> {
    Json { entries: &'a serde_json::Map<String, Json>, ty: Arc<MapType> },
    Built(Arc<Built<'a>>),
}

/// Entries in the order they were put in, and where each key is.
#[derive(Clone, Debug, Default)]
struct Built<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    index: HashMap<Key, usize>,
}

/// What identifies an entry. Numbers of different types that are equal are the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A `bool`.
    Bool(bool),
    /// A number that an `int` holds.
    Int(i64),
    /// A number that only a `uint` holds.
    Uint(u64),
    /// A `string`.
    String(Arc<str>),
}

impl Key {
    /// The key that a value is. None for a value that cannot be one.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(number) => Self::Int(*number),
            Value::Uint(number) => i64::try_from(*number).map_or(Self::Uint(*number), Self::Int),
            Value::Double(number) => whole(*number)?,
            Value::String(Text::Shared(text)) => Self::String(Arc::clone(text)),
            Value::String(Text::Borrowed(text)) => Self::String((*text).into()),
            _ => return None,
        })
    }
}

/// The whole number that a double is, without loss.
fn whole(number: f64) -> Option<Key> {
    if number.fract() != 0.0 {
        None
    } else if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        Some(Key::Int(number as i64))
    } else if (0.0..18_446_744_073_709_551_616.0).contains(&number) {
        Some(Key::Uint(number as u64))
    } else {
        None
    }
}

impl Default for Map<'_> {
    fn default() -> Self {
        Self(Repr::Built(Arc::default()))
    }
}

impl<'a> Map<'a> {
    /// A map over JSON; its keys are strings.
    pub fn from_json(entries: &'a serde_json::Map<String, Json>, ty: Arc<MapType>) -> Self {
        Self(Repr::Json { entries, ty })
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Json { entries, .. } => entries.len(),
            Repr::Built(built) => built.entries.len(),
        }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key; an error when the JSON is not of its declared type.
    pub fn get(&self, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
        match (&self.0, key) {
            (Repr::Json { entries, ty }, Value::String(name)) => {
                entries.get(&**name).map(|json| Value::from_json(json, &ty.value)).transpose()
            }
            (Repr::Json { .. }, _) => Ok(None),
            (Repr::Built(built), _) => Ok(Key::of(key).and_then(|key| built.at(&key)).cloned()),
        }
    }

    /// The value of a key that is text.
    pub(crate) fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match &self.0 {
            Repr::Json { entries, ty } => entries.get(name).map(|json| Value::from_json(json, &ty.value)).transpose(),
            Repr::Built(built) => Ok(built.at(&Key::String(name.into())).cloned()),
        }
    }

    /// Whether there is a key that is this text.
    pub(crate) fn has_field(&self, name: &str) -> bool {
        match &self.0 {
            Repr::Json { entries, .. } => entries.contains_key(name),
            Repr::Built(built) => built.index.contains_key(&Key::String(name.into())),
        }
    }

    /// Whether there is such a key.
    pub fn contains(&self, key: &Value<'_>) -> bool {
        match (&self.0, key) {
            (Repr::Json { entries, .. }, Value::String(name)) => entries.contains_key(&**name),
            (Repr::Json { .. }, _) => false,
            (Repr::Built(built), _) => Key::of(key).is_some_and(|key| built.index.contains_key(&key)),
        }
    }

    /// The keys.
    pub fn keys(&self) -> Box<dyn Iterator<Item = Value<'a>> + '_> {
        match &self.0 {
            Repr::Json { entries, .. } => {
                let entries: &'a serde_json::Map<String, Json> = entries;
                Box::new(entries.keys().map(|key| Value::from(key.as_str())))
            }
            Repr::Built(built) => Box::new(built.entries.iter().map(|(key, _)| key.clone())),
        }
    }

    /// Keys and values.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Result<(Value<'a>, Value<'a>), EvalError>> + '_> {
        match &self.0 {
            Repr::Json { entries, ty } => {
                let entries: &'a serde_json::Map<String, Json> = entries;
                Box::new(
                    entries
                        .iter()
                        .map(|(key, json)| Ok((Value::from(key.as_str()), Value::from_json(json, &ty.value)?))),
                )
            }
            Repr::Built(built) => Box::new(built.entries.iter().cloned().map(Ok)),
        }
    }

    /// Puts an entry in, in place when nobody else holds the map. Errors: a key of another type than `bool`, `int`,
    /// `uint`, `string`; a key that is there already.
    pub fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
        if let Repr::Json { .. } = &self.0 {
            let mut built = Built::default();
            for entry in self.iter() {
                let (key, value) = entry?;
                built.insert(key, value)?;
            }
            self.0 = Repr::Built(Arc::new(built));
        }
        match &mut self.0 {
            Repr::Built(built) => Arc::make_mut(built).insert(key, value),
            Repr::Json { .. } => Ok(()),
        }
    }
}

impl<'a> Built<'a> {
    fn at(&self, key: &Key) -> Option<&Value<'a>> {
        self.index.get(key).and_then(|&at| self.entries.get(at)).map(|(_, value)| value)
    }

    fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
        let Some(id) = Key::of(&key).filter(|_| !matches!(key, Value::Double(_))) else {
            return Err(EvalError::new(format!("unsupported key type: {}", key.type_of())));
        };
        let at = self.entries.len();
        if self.index.insert(id, at).is_some() {
            return Err(EvalError::new("Failed with repeated key"));
        }
        self.entries.push((key, value));
        Ok(())
    }
}
