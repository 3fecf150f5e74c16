//! `+` of lists that Kubernetes' schemas call sets and maps.

use std::collections::HashMap;
use std::sync::Arc;

use super::equality::encoded;
use super::{List, Value};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::escape::escape_property;
use crate::types::ListKind;

/// How deep keys may be nested.
const MAX_DEPTH: usize = 512;

impl<'a> List<'a> {
    /// The union with another list: elements of this one stay where they are; of the other, those are appended that are not
    /// there. In a map list an element of the other replaces the one with its keys.
    pub(crate) fn union(&self, other: &Self, budget: &mut Budget) -> Result<Self, EvalError> {
        let mut elements: Vec<Value<'a>> = Vec::with_capacity(self.len() + other.len());
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        for element in self.iter() {
            let element = element?;
            known.entry(identity(&element, self.kind(), budget)?).or_insert(elements.len());
            elements.push(element);
        }
        for element in other.iter() {
            let element = element?;
            match known.get(&identity(&element, self.kind(), budget)?) {
                Some(&at) if matches!(self.kind(), ListKind::Map(_)) => {
                    if let Some(place) = elements.get_mut(at) {
                        *place = element;
                    }
                }
                Some(_) => {}
                None => {
                    known.insert(identity(&element, self.kind(), budget)?, elements.len());
                    elements.push(element);
                }
            }
        }
        Ok(List::of_kind(elements, self.kind().clone()))
    }
}

/// What makes an element the same element: its value in a set, its keys in a map list.
fn identity(element: &Value<'_>, kind: &ListKind, budget: &mut Budget) -> Result<Vec<u8>, EvalError> {
    let ListKind::Map(keys) = kind else { return encoded(element, MAX_DEPTH, budget) };
    let mut octets = Vec::new();
    for key in keys.iter() {
        let value = match element {
            Value::Object(object) => match escape_property(key) {
                Some(name) => object.get(&name)?,
                None => None,
            },
            Value::Map(map) => map.get(&Value::from(Arc::<str>::from(key.as_str())))?,
            _ => return Err(EvalError::new("unexpected element of a list with map keys")),
        };
        let encoded = encoded(&value.map_or(Value::Optional(None), Value::some), MAX_DEPTH, budget)?;
        octets.extend(encoded.len().to_be_bytes());
        octets.extend(encoded);
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{ObjectType, Type};

    #[test]
    fn sets_append_what_is_not_there() {
        let (left, right) = (json!(["a", "b"]), json!(["b", "c", "c"]));
        let ty = Type::set(Type::String);
        let (Value::List(left), Value::List(right)) =
            (Value::from_json(&left, &ty).unwrap(), Value::from_json(&right, &ty).unwrap())
        else {
            panic!("lists")
        };
        assert_eq!(
            Value::List(left.union(&right, &mut Budget::default()).unwrap()).to_json().unwrap(),
            json!(["a", "b", "c"])
        );
    }

    #[test]
    fn map_lists_replace_by_key() {
        let element = Type::object(ObjectType::new("E", [("k".to_owned(), Type::Int), ("v".to_owned(), Type::Int)]));
        let ty = Type::list_map(element, ["k".to_owned()]);
        let (left, right) = (json!([{"k": 1, "v": 1}, {"k": 2, "v": 2}]), json!([{"k": 3, "v": 3}, {"k": 1, "v": 9}]));
        let (Value::List(left), Value::List(right)) =
            (Value::from_json(&left, &ty).unwrap(), Value::from_json(&right, &ty).unwrap())
        else {
            panic!("lists")
        };
        assert_eq!(
            Value::List(left.union(&right, &mut Budget::default()).unwrap()).to_json().unwrap(),
            json!([{"k": 1, "v": 9}, {"k": 2, "v": 2}, {"k": 3, "v": 3}])
        );
    }
}
