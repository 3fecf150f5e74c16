//! The annotation of client-side `kubectl apply`: what it says kubectl wrote is not in the way of kubectl's server-side
//! apply, which then keeps it up to date for older clients. Pure.

use serde_json::Value;

use super::set::FieldSet;
use super::{Target, take};

/// Where client-side `kubectl apply` keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Most bytes of all annotations together; an annotation that does not fit is left out.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// The fields of the annotation that still have the value that it wrote.
pub(super) fn unchanged(target: &Target<'_>, live: &Value) -> Option<FieldSet> {
    let text = live.pointer("/metadata/annotations")?.get(LAST_APPLIED)?.as_str()?;
    let applied: Value = serde_json::from_str(text).ok()?;
    let at = target.own();
    if applied.get("apiVersion")?.as_str()? != target.api_version || !at.validate(&applied).is_empty() {
        return None;
    }
    let mut live = live.clone();
    take(&mut live);
    let changed = at.compare(Some(&applied), Some(&live));
    let set = at.field_set(&applied);
    Some(set.difference(&changed.modified).difference(&changed.added).difference(&changed.removed))
}

/// Writes what is applied now into the annotation, if the object has it.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") else { return };
    if !annotations.contains_key(LAST_APPLIED) {
        return;
    }
    let mut config = config.clone();
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        let empty = metadata.get_mut("annotations").is_some_and(|annotations| {
            annotations.as_object_mut().is_some_and(|map| {
                map.remove(LAST_APPLIED);
                map.is_empty()
            })
        });
        if empty {
            metadata.remove("annotations");
        }
    }
    annotations.insert(LAST_APPLIED.to_owned(), Value::String(format!("{config}\n")));
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > ANNOTATIONS_MAX {
        annotations.remove(LAST_APPLIED);
    }
}
