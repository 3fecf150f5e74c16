//! Elements of sets and maps occur once. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::each_below;
use crate::field::FieldError;
use crate::schema::Schema;
use crate::schema::body::MAX_DEPTH;
use crate::schema::report::{Path, Report};

/// Repeated elements of the sets and maps in an object.
pub(crate) fn keyed_lists(value: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut report = Report::default();
    walk(value, schema, &Path::root(""), 0, &mut report);
    report.into_list()
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, depth: usize, report: &mut Report) {
    if depth >= MAX_DEPTH {
        return;
    }
    if let Value::Array(list) = value {
        match schema.list_type.as_deref() {
            Some("set") => {
                repeated(list.iter().map(Value::to_string), path, report, |i| list.get(i).cloned().unwrap_or_default());
            }
            Some("map") => map_list(list, schema, path, report),
            _ => {}
        }
    }
    each_below(value, schema, path, |value, schema, path| walk(value, schema, path, depth + 1, report));
}

fn map_list(list: &[Value], schema: &Schema, path: &Path<'_>, report: &mut Report) {
    if let Some((i, item)) = list.iter().enumerate().find(|(_, item)| !item.is_object() && !item.is_null()) {
        let why = "must be an object for an array of list-type map";
        return report.add(|| FieldError::invalid(path.index(i).to_string(), item, why));
    }
    let key = |item: &Value| -> Value {
        let held = schema.list_map_keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        Value::Object(held.collect::<Map<_, _>>())
    };
    repeated(list.iter().map(|item| key(item).to_string()), path, report, |i| list.get(i).map(key).unwrap_or_default());
}

/// Reports the second of equal keys, and no further ones.
fn repeated(keys: impl Iterator<Item = String>, path: &Path<'_>, report: &mut Report, shown: impl Fn(usize) -> Value) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (i, key) in keys.enumerate() {
        let times = seen.entry(key).or_default();
        *times += 1;
        if *times == 2 {
            report.add(|| FieldError::duplicate(path.index(i).to_string(), &shown(i)));
        }
    }
}
