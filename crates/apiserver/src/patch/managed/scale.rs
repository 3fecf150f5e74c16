//! Managed fields of the `scale` subresource: the parent's `replicas` seen as the `Scale`'s, and back. Pure.

use serde_json::Value;

use super::entries::{Entries, Id, Operation, Owned, decode, encode};
use super::set::FieldSet;

const SCALE: &str = "autoscaling/v1";

fn replicas() -> FieldSet {
    FieldSet::of(&[&["spec", "replicas"]])
}

/// The `managedFields` of a `Scale`: one entry for each of the parent's that owns the replicas. `path` is where they
/// lie in the parent, usually `spec`, `replicas`.
pub fn scale_from_parent(parent: Option<&Value>, path: &[&str]) -> Vec<Value> {
    let mut out = Entries::new();
    for (id, owned) in decode(parent).unwrap_or_default() {
        if owned.set.has(path) {
            let id = Id::new(&id.manager, id.operation, SCALE, &id.subresource);
            out.insert(id, Owned { set: replicas(), api_version: SCALE.to_owned(), time: owned.time });
        }
    }
    encode(&out)
}

/// The parent's `managedFields` after a write through `scale`: who lost the replicas in the `Scale`'s entries loses them
/// in the parent, who won them gets an entry of the parent's version.
pub fn scale_to_parent(
    parent: Option<&Value>,
    scale: Option<&Value>,
    path: &[&str],
    parent_api_version: &str,
) -> Vec<Value> {
    let mut winners = decode(scale).unwrap_or_default();
    winners.retain(|_, owned| owned.set.has(&["spec", "replicas"]));
    let there = FieldSet::of(&[path]);
    let mut out = Entries::new();
    for (id, mut owned) in decode(parent).unwrap_or_default() {
        if owned.set.has(path) && winners.remove(&Id::new(&id.manager, id.operation, SCALE, &id.subresource)).is_none()
        {
            owned.set = owned.set.difference(&there);
        }
        if !owned.set.is_empty() {
            out.insert(id, owned);
        }
    }
    for (id, owned) in winners {
        let version = if id.operation == Operation::Apply { "" } else { parent_api_version };
        let id = Id { api_version: version.to_owned(), ..id };
        let new = Owned { set: there.clone(), api_version: parent_api_version.to_owned(), time: owned.time };
        match out.get_mut(&id) {
            Some(place) => place.set.add(&new.set),
            None => {
                out.insert(id, new);
            }
        }
    }
    encode(&out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{scale_from_parent, scale_to_parent};

    fn entry(manager: &str, version: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Update", "apiVersion": version, "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn replicas_move_to_who_scaled() {
        let parent = json!([
            entry("a", "apps/v1", &json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})),
            entry("b", "apps/v1", &json!({"f:spec": {"f:selector": {}}})),
        ]);
        let path = ["spec", "replicas"];
        let scale = scale_from_parent(Some(&parent), &path);
        assert_eq!(scale, [entry("a", "autoscaling/v1", &json!({"f:spec": {"f:replicas": {}}}))]);
        assert_eq!(json!(scale_to_parent(Some(&parent), Some(&json!(scale)), &path, "apps/v1")), parent);

        let after = json!([entry("c", "autoscaling/v1", &json!({"f:spec": {"f:replicas": {}}}))]);
        assert_eq!(
            scale_to_parent(Some(&parent), Some(&after), &path, "apps/v1"),
            [
                entry("a", "apps/v1", &json!({"f:spec": {"f:paused": {}}})),
                entry("b", "apps/v1", &json!({"f:spec": {"f:selector": {}}})),
                entry("c", "apps/v1", &json!({"f:spec": {"f:replicas": {}}})),
            ]
        );
    }
}
