//! Apply configurations without owners: what mutating policies merge into an object. Pure.

use serde_json::Value;

use super::shape::{Node, Shape};
use super::walk::At;
use crate::schema::Typed;

/// `configuration` merged into `live` by the rules of the schema, as server-side apply merges, but for ownership.
///
/// # Errors
/// A field that the kind does not have or a value of the wrong type; a list, map or object that can only be replaced as a
/// whole: its other fields would be lost without a word.
pub(crate) fn merge_configuration(schema: Typed<'_>, live: &Value, configuration: &Value) -> Result<Value, String> {
    let root = At::root(Node::new(schema));
    let wrong = root.validate(configuration);
    if !wrong.is_empty() {
        let wrong: Vec<String> = wrong.into_iter().map(|error| format!("{error}\n")).collect();
        return Err(format!("failed to convert patch object to typed object: errors:\n  {}", wrong.join("  ")));
    }
    let mut atomics = Vec::new();
    root.atomics(configuration, &mut String::new(), &mut atomics);
    if !atomics.is_empty() {
        let list = atomics.join(", ");
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {list}"));
    }
    Ok(root.merge(live, configuration))
}

impl At<'_> {
    /// Paths of what can only be replaced as a whole.
    fn atomics(self, value: &Value, path: &mut String, out: &mut Vec<String>) {
        if matches!(self.shape(value), Shape::AtomicMap | Shape::AtomicList) {
            out.push(path.clone());
        }
        let length = path.len();
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    // Keys of a plain map are not looked into.
                    if self.declares(name) {
                        path.push('.');
                        path.push_str(name);
                        self.open_field(name).atomics(value, path, out);
                        path.truncate(length);
                    }
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.items().atomics(value, path, out);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }
}
