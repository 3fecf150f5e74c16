//! Managed fields of the `scale` subresource: the parent's `replicas` seen as the `Scale`'s, and back. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::entries::{Entries, Id, Owned, decode, encode};
use super::set::FieldSet;

const SCALE: &str = "autoscaling/v1";

fn replicas() -> FieldSet {
    FieldSet::of(&[&["spec", "replicas"]])
}

/// Where a version of the parent keeps its replicas, usually `spec`, `replicas`; `None` for a version that is not served.
pub type ReplicasPath<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// The `managedFields` of a `Scale`: one entry for each of the parent's that owns the replicas.
pub fn scale_from_parent(parent: Option<&Value>, path: ReplicasPath<'_>) -> Vec<Value> {
    let mut out = Entries::new();
    for (id, owned) in decode(parent).unwrap_or_default() {
        if path(&owned.api_version).is_some_and(|path| owned.set.has(&path)) {
            out.insert(id, Owned { set: replicas(), api_version: SCALE.to_owned(), time: owned.time });
        }
    }
    encode(&out)
}

/// The parent's `managedFields` after a write through `scale`: who lost the replicas in the `Scale`'s entries loses them
/// in the parent, who won them gets an entry of the parent's version.
///
/// As in kube-apiserver an entry is found again by its manager, operation, subresource and, for updates, version. The
/// versions of parent and `Scale` differ, so the replicas of an updater always move to an entry of their own, without time.
pub fn scale_to_parent(
    parent: Option<&Value>,
    scale: Option<&Value>,
    path: ReplicasPath<'_>,
    parent_api_version: &str,
) -> Vec<Value> {
    let mut winners = decode(scale).unwrap_or_default();
    winners.retain(|_, owned| owned.set.has(&["spec", "replicas"]));
    let entries = decode(parent).unwrap_or_default();
    let times: BTreeMap<Id, Option<Timestamp>> = entries.iter().map(|(id, owned)| (id.clone(), owned.time)).collect();
    let mut out = Entries::new();
    for (id, mut owned) in entries {
        let Some(there) = path(&owned.api_version) else { continue };
        if owned.set.has(&there) && winners.remove(&id).is_none() {
            owned.set = owned.set.difference(&at(&there));
        }
        if !owned.set.is_empty() {
            out.insert(id, owned);
        }
    }
    let set = path(parent_api_version).map(|path| at(&path)).unwrap_or_default();
    for (id, _) in winners {
        let time = times.get(&id).copied().flatten();
        out.insert(id, Owned { set: set.clone(), api_version: parent_api_version.to_owned(), time });
    }
    encode(&out)
}

fn at(path: &[String]) -> FieldSet {
    FieldSet::of(&[&path.iter().map(String::as_str).collect::<Vec<_>>()])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{scale_from_parent, scale_to_parent};

    fn entry(manager: &str, version: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Update", "apiVersion": version, "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn path(version: &str) -> Option<Vec<String>> {
        (version == "apps/v1").then(|| vec!["spec".to_owned(), "replicas".to_owned()])
    }

    fn applied(manager: &str, version: &str, fields: &Value) -> Value {
        let mut out = entry(manager, version, fields);
        out["operation"] = json!("Apply");
        out
    }

    #[test]
    fn the_scale_shows_who_owns_the_replicas() {
        let parent = json!([
            applied("a", "apps/v1", &json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})),
            applied("b", "apps/v1", &json!({"f:spec": {"f:selector": {}}})),
            applied("c", "apps/v0", &json!({"f:spec": {"f:replicas": {}}})),
        ]);
        let scale = scale_from_parent(Some(&parent), &path);
        assert_eq!(scale, [applied("a", "autoscaling/v1", &json!({"f:spec": {"f:replicas": {}}}))]);
        let kept = json!(scale_to_parent(Some(&parent), Some(&json!(scale)), &path, "apps/v1"));
        assert_eq!(kept, json!([parent[0], parent[1]]), "an applier keeps its entry, an unknown version goes");
    }

    #[test]
    fn replicas_move_to_who_scaled() {
        let parent = json!([
            entry("a", "apps/v1", &json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})),
            entry("b", "apps/v1", &json!({"f:spec": {"f:selector": {}}})),
        ]);
        let after = json!([entry("c", "autoscaling/v1", &json!({"f:spec": {"f:replicas": {}}}))]);
        let mut won = entry("c", "apps/v1", &json!({"f:spec": {"f:replicas": {}}}));
        won.as_object_mut().unwrap().remove("time");
        assert_eq!(
            scale_to_parent(Some(&parent), Some(&after), &path, "apps/v1"),
            [
                won,
                entry("a", "apps/v1", &json!({"f:spec": {"f:paused": {}}})),
                entry("b", "apps/v1", &json!({"f:spec": {"f:selector": {}}})),
            ]
        );
    }

    #[test]
    fn an_updater_keeps_its_replicas_in_an_entry_of_their_own() {
        let parent = json!([entry("a", "apps/v1", &json!({"f:spec": {"f:paused": {}, "f:replicas": {}}}))]);
        let scale = json!(scale_from_parent(Some(&parent), &path));
        let after = scale_to_parent(Some(&parent), Some(&scale), &path, "apps/v1");
        assert_eq!(after.len(), 2);
        assert_eq!(after[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    }
}
