//! When values are equal, and how they are ordered. Pure.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value as Json;

use super::{List, Map, Object, Value};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::escape::escape_property;
use crate::types::ListKind;

/// How deep a value may be nested to be compared.
const MAX_DEPTH: usize = 512;

impl Value<'_> {
    /// CEL's `==`: numbers of different types by value, values of other different types never, lists as their schema says
    /// (`set` and `map` in any order). Errors: JSON that is not of its declared type.
    pub fn equals(&self, other: &Value<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
        equals(self, other, MAX_DEPTH, budget)
    }

    /// How two values are ordered. None when they are not: different types, lists, not-a-number.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Self::String(left), Value::String(right)) => (**left).cmp(&**right),
            (Self::Bytes(left), Value::Bytes(right)) => left.cmp(right),
            (Self::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
            (Self::Duration(left), Value::Duration(right)) => left.cmp(right),
            (Self::Int(left), Value::Int(right)) => left.cmp(right),
            (Self::Uint(left), Value::Uint(right)) => left.cmp(right),
            (Self::Int(left), Value::Uint(right)) => i128::from(*left).cmp(&i128::from(*right)),
            (Self::Uint(left), Value::Int(right)) => i128::from(*left).cmp(&i128::from(*right)),
            (Self::Double(left), Value::Double(right)) => left.partial_cmp(right)?,
            (Self::Int(left), Value::Double(right)) => compare_whole(i128::from(*left), *right)?,
            (Self::Uint(left), Value::Double(right)) => compare_whole(i128::from(*left), *right)?,
            (Self::Double(left), Value::Int(right)) => compare_whole(i128::from(*right), *left)?.reverse(),
            (Self::Double(left), Value::Uint(right)) => compare_whole(i128::from(*right), *left)?.reverse(),
            _ => return None,
        })
    }
}

/// A 64-bit number against a double, without loss.
fn compare_whole(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Casts saturate; whatever is beyond 64 bits stays beyond.
    let floor = double.floor() as i128;
    Some(whole.cmp(&floor).then(if double.fract() == 0.0 { Ordering::Equal } else { Ordering::Less }))
}

fn equals(left: &Value<'_>, right: &Value<'_>, depth: usize, budget: &mut Budget) -> Result<bool, EvalError> {
    let depth = depth.checked_sub(1).ok_or_else(|| EvalError::new("value is nested too deep"))?;
    budget.work(size_hint(left))?;
    match (left, right) {
        (Value::Null, Value::Null) => Ok(true),
        (Value::List(left), Value::List(right)) => equal_lists(left, right, depth, budget),
        (Value::Map(left), Value::Map(right)) => equal_maps(left, right, depth, budget),
        (Value::Object(left), Value::Object(right)) => equal_objects(left, right, depth, budget),
        (Value::Optional(None), Value::Optional(None)) => Ok(true),
        (Value::Optional(Some(left)), Value::Optional(Some(right))) => equals(left, right, depth, budget),
        (Value::Type(left), Value::Type(right)) => Ok(left.name() == right.name()),
        (Value::Opaque(left), Value::Opaque(right)) => {
            Ok(left.type_name() == right.type_name() && left.equals(&**right))
        }
        _ => Ok(left.compare(right) == Some(Ordering::Equal)),
    }
}

fn equal_lists(left: &List<'_>, right: &List<'_>, depth: usize, budget: &mut Budget) -> Result<bool, EvalError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    if *left.kind() == ListKind::Atomic {
        for (left, right) in left.iter().zip(right.iter()) {
            if !equals(&left?, &right?, depth, budget)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let right = right.iter().map(|element| encoded(&element?, depth, budget)).collect::<Result<HashSet<_>, _>>()?;
    for element in left.iter() {
        if !right.contains(&encoded(&element?, depth, budget)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_maps(left: &Map<'_>, right: &Map<'_>, depth: usize, budget: &mut Budget) -> Result<bool, EvalError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for entry in left.iter() {
        let (key, value) = entry?;
        match right.get(&key)? {
            Some(other) if equals(&value, &other, depth, budget)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn equal_objects(left: &Object<'_>, right: &Object<'_>, depth: usize, budget: &mut Budget) -> Result<bool, EvalError> {
    if left.ty() != right.ty() {
        return Ok(false);
    }
    if let (Some(properties), Some(others)) = (left.json(), right.json()) {
        // What the schema does not declare counts as Kubernetes counts it: by how much there is, and by its JSON.
        let declared = |property: &str| escape_property(property).is_some_and(|name| left.ty().field(&name).is_some());
        let differs = |(property, json): (&String, &Json)| {
            !declared(property) && others.get(property).is_some_and(|other| other != json)
        };
        budget.work(properties.len())?;
        if properties.len() != others.len() || properties.iter().any(differs) {
            return Ok(false);
        }
    }
    let names: HashSet<String> = field_names(left).chain(field_names(right)).collect();
    for name in names {
        let same = match (left.get(&name)?, right.get(&name)?) {
            (Some(left), Some(right)) => equals(&left, &right, depth, budget)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many octets a value has that are compared at once.
fn size_hint(value: &Value<'_>) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

/// The names by which an object's fields are asked for.
fn field_names<'v>(object: &'v Object<'_>) -> Box<dyn Iterator<Item = String> + 'v> {
    match (object.built_fields(), object.json()) {
        (Some(fields), _) => Box::new(fields.keys().map(|name| name.to_string())),
        (None, Some(properties)) => {
            let names = properties.keys().filter_map(|property| escape_property(property));
            Box::new(names.filter(|name| object.ty().field(name).is_some()))
        }
        (None, None) => Box::new(object.ty().fields().map(|(name, _)| name.to_owned())),
    }
}

/// Octets that are the same for values that are equal, so that sets compare in linear time.
pub(super) fn encoded(value: &Value<'_>, depth: usize, budget: &mut Budget) -> Result<Vec<u8>, EvalError> {
    let mut octets = Vec::new();
    encode(value, &mut octets, depth, budget)?;
    Ok(octets)
}

fn encode(value: &Value<'_>, octets: &mut Vec<u8>, depth: usize, budget: &mut Budget) -> Result<(), EvalError> {
    let depth = depth.checked_sub(1).ok_or_else(|| EvalError::new("value is nested too deep"))?;
    budget.work(16 + size_hint(value))?;
    match value {
        Value::Null | Value::Optional(None) => octets.push(b'n'),
        Value::Bool(truth) => octets.extend([b'b', u8::from(*truth)]),
        Value::Int(number) => put(octets, b'i', &i128::from(*number).to_be_bytes()),
        Value::Uint(number) => put(octets, b'i', &i128::from(*number).to_be_bytes()),
        Value::Double(number) if number.fract() == 0.0 && number.abs() < 1e30 => {
            put(octets, b'i', &(*number as i128).to_be_bytes());
        }
        Value::Double(number) => put(octets, b'd', &number.to_bits().to_be_bytes()),
        Value::String(text) => put(octets, b's', text.as_bytes()),
        Value::Bytes(bytes) => put(octets, b'y', bytes),
        Value::Timestamp(time) => put(octets, b't', &time.as_nanosecond().to_be_bytes()),
        Value::Duration(span) => put(octets, b'u', &span.nanos.to_be_bytes()),
        Value::Type(of) => put(octets, b'T', of.name().as_bytes()),
        Value::Optional(Some(value)) => {
            octets.push(b'o');
            encode(value, octets, depth, budget)?;
        }
        Value::List(list) => {
            let mut elements =
                list.iter().map(|element| encoded(&element?, depth, budget)).collect::<Result<Vec<_>, _>>()?;
            if *list.kind() != ListKind::Atomic {
                elements.sort_unstable();
            }
            put(octets, b'l', &elements.len().to_be_bytes());
            elements.iter().for_each(|element| octets.extend(element));
        }
        Value::Map(map) => {
            let mut entries = map
                .iter()
                .map(|entry| {
                    let (key, value) = entry?;
                    Ok((encoded(&key, depth, budget)?, encoded(&value, depth, budget)?))
                })
                .collect::<Result<Vec<_>, EvalError>>()?;
            entries.sort_unstable();
            put(octets, b'm', &entries.len().to_be_bytes());
            entries.iter().for_each(|(key, value)| octets.extend(key.iter().chain(value)));
        }
        Value::Object(object) => {
            let mut names: Vec<String> = field_names(object).collect();
            names.sort_unstable();
            put(octets, b'O', object.ty().name().as_bytes());
            for name in names {
                if let Some(value) = object.get(&name)? {
                    put(octets, b'f', name.as_bytes());
                    encode(&value, octets, depth, budget)?;
                }
            }
        }
        // Lists in schemas hold no such values.
        Value::Opaque(_) => return Err(EvalError::no_such_overload()),
    }
    Ok(())
}

fn put(octets: &mut Vec<u8>, tag: u8, content: &[u8]) {
    octets.push(tag);
    octets.extend(content.len().to_be_bytes());
    octets.extend(content);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{ObjectType, Type};

    fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
        left.equals(right, &mut Budget::default()).unwrap()
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(equal(&Value::Int(1), &Value::Uint(1)));
        assert!(equal(&Value::Double(1.0), &Value::Uint(1)));
        assert!(!equal(&Value::Int(-1), &Value::Uint(u64::MAX)));
        assert!(!equal(&Value::Int(i64::MAX), &Value::Double(i64::MAX as f64)));
        assert!(!equal(&Value::Double(f64::NAN), &Value::Double(f64::NAN)));
    }

    #[test]
    fn numbers_of_different_types_are_ordered_without_loss() {
        assert_eq!(Value::Int(i64::MAX).compare(&Value::Double(9.3e18)), Some(Ordering::Less));
        assert_eq!(Value::Int(-1).compare(&Value::Double(-1.5)), Some(Ordering::Greater));
        assert_eq!(Value::Double(0.5).compare(&Value::Uint(0)), Some(Ordering::Greater));
        assert_eq!(Value::Double(f64::NEG_INFINITY).compare(&Value::Int(i64::MIN)), Some(Ordering::Less));
        assert_eq!(Value::Double(f64::NAN).compare(&Value::Int(0)), None);
    }

    #[test]
    fn values_of_different_types_are_not_equal() {
        assert!(!equal(&Value::from("1"), &Value::Int(1)));
        assert!(!equal(&Value::Null, &Value::Bool(false)));
    }

    /// Whether two JSON values, each read by its type, are equal.
    fn equal_as(left: (serde_json::Value, &Type), right: (serde_json::Value, &Type)) -> bool {
        equal(&Value::from_json(&left.0, left.1).unwrap(), &Value::from_json(&right.0, right.1).unwrap())
    }

    #[test]
    fn sets_are_equal_in_any_order() {
        let (set, list) = (Type::set(Type::String), Type::list(Type::String));
        assert!(equal_as((json!(["a", "b"]), &set), (json!(["b", "a"]), &set)));
        assert!(!equal_as((json!(["a", "b"]), &list), (json!(["b", "a"]), &set)));
    }

    #[test]
    fn map_lists_are_equal_in_any_order_when_their_elements_are() {
        let element = Type::object(ObjectType::new("E", [("k".to_owned(), Type::String), ("v".to_owned(), Type::Int)]));
        let list = Type::list_map(element, ["k".to_owned()]);
        let left = json!([{"k": "a", "v": 1}, {"k": "b", "v": 2}]);
        assert!(equal_as((left.clone(), &list), (json!([{"k": "b", "v": 2}, {"k": "a", "v": 1}]), &list)));
        assert!(!equal_as((left, &list), (json!([{"k": "b", "v": 1}, {"k": "a", "v": 2}]), &list)));
    }

    #[test]
    fn objects_are_equal_when_their_fields_are() {
        let ty = Type::object(ObjectType::new("O", [("a-b".to_owned(), Type::Int), ("c".to_owned(), Type::Int)]));
        assert!(equal_as((json!({"a-b": 1}), &ty), (json!({"a-b": 1}), &ty)));
        assert!(!equal_as((json!({"a-b": 1}), &ty), (json!({"a-b": 1, "c": 1}), &ty)));
        assert!(!equal_as((json!({"undeclared": 1}), &ty), (json!({"undeclared": 2}), &ty)));
        assert!(!equal_as((json!({"undeclared": 1}), &ty), (json!({}), &ty)));
    }
}
