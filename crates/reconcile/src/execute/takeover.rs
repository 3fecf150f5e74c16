//! Taking over what others wrote into `spec`. Pure.
//!
//! Applying over a predecessor's workload would leave what the predecessor set and we do not want (an environment variable, a
//! second container), because that stays the predecessor's. So its record of `spec` is made ours first, and the apply that
//! follows removes it. The same mends an object of ours in which somebody put what cannot stand beside what we want (a
//! Service's port without a name). Metadata and the number of replicas stay with whom they are: others write those, too.

use serde_json::{Map, Value};

use super::{MANAGED_BY, owned};

/// The new `managedFields` of `live`, an object with a pod template and its whole `managedFields`. `None` when there is
/// nothing to take: no template, or nobody on record who set the label that says whose it is.
pub(super) fn managed_fields(live: &Value, manager: &str) -> Option<Vec<Value>> {
    live.pointer("/spec/template")?;
    if owned::applied_by(live, manager) {
        return None;
    }
    let mut entries = live.pointer("/metadata/managedFields")?.as_array()?.clone();
    let label = format!("f:{MANAGED_BY}");
    let is_predecessor = |entry: &Value| {
        entry["subresource"].as_str().is_none_or(str::is_empty)
            && !entry["fieldsV1"]["f:metadata"]["f:labels"][&label].is_null()
    };
    let predecessor = entries.iter_mut().find(|entry| is_predecessor(entry))?;
    let spec = take_spec(predecessor)?;
    let mut ours = predecessor.clone();
    ours["manager"] = manager.into();
    ours["operation"] = "Apply".into();
    ours["fieldsV1"] = Value::Object(Map::from_iter([("f:spec".to_owned(), Value::Object(spec))]));
    entries.push(ours);
    Some(entries)
}

/// Whether a takeover by `manager` was not followed by its apply: every apply records metadata, a takeover only `spec`.
pub(super) fn is_half_done(live: &Value, manager: &str) -> bool {
    owned::entry_of(live, manager).is_some_and(|ours| ours["fieldsV1"].get("f:metadata").is_none())
}

/// The new `managedFields` of `live`, an object of ours: what others have of `spec` becomes ours. `None` when they have nothing
/// of it.
pub(super) fn others_fields(live: &Value, manager: &str) -> Option<Vec<Value>> {
    let mut entries = live.pointer("/metadata/managedFields")?.as_array()?.clone();
    let is_others =
        |entry: &&mut Value| entry["manager"] != manager && entry["subresource"].as_str().is_none_or(str::is_empty);
    let mut taken = Map::new();
    let mut like = None;
    for entry in entries.iter_mut().filter(is_others) {
        if let Some(spec) = take_spec(entry) {
            unite(&mut taken, spec, owned::MAX_DEPTH);
            like = Some(entry.clone());
        }
    }
    let mut new = like?;
    entries.retain(|entry| entry["fieldsV1"].as_object().is_none_or(|fields| !fields.is_empty()));
    let is_ours = |entry: &&mut Value| entry["manager"] == manager && entry["operation"] == "Apply";
    if let Some(ours) = entries.iter_mut().find(is_ours) {
        let spec = ours["fieldsV1"].as_object_mut()?.entry("f:spec").or_insert_with(|| Map::new().into());
        unite(spec.as_object_mut()?, taken, owned::MAX_DEPTH);
    } else {
        new["manager"] = manager.into();
        new["operation"] = "Apply".into();
        new["fieldsV1"] = Map::from_iter([("f:spec".to_owned(), taken.into())]).into();
        entries.push(new);
    }
    Some(entries)
}

/// Takes `spec`, but for the replicas, out of what an entry of `managedFields` holds.
fn take_spec(entry: &mut Value) -> Option<Map<String, Value>> {
    let fields = entry["fieldsV1"].as_object_mut()?;
    let Some(Value::Object(mut spec)) = fields.remove("f:spec") else { return None };
    if let Some(replicas) = spec.remove("f:replicas") {
        fields.insert("f:spec".to_owned(), Value::Object(Map::from_iter([("f:replicas".to_owned(), replicas)])));
    }
    (!spec.is_empty()).then_some(spec)
}

fn unite(into: &mut Map<String, Value>, from: Map<String, Value>, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for (name, from) in from {
        match (into.get_mut(&name), from) {
            (Some(Value::Object(into)), Value::Object(from)) => unite(into, from, depth),
            (_, from) => drop(into.insert(name, from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live() -> Value {
        let fields = json!({
            "f:metadata": {"f:labels": {"f:app.kubernetes.io/managed-by": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}},
        });
        let scaler = json!({"f:spec": {"f:replicas": {}}});
        json!({
            "metadata": {"managedFields": [
                {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": scaler},
                {"manager": "old", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": fields},
            ]},
            "spec": {"template": {}},
        })
    }

    #[test]
    fn gw_w16_the_predecessors_template_becomes_ours_and_its_metadata_does_not() {
        let entries = managed_fields(&live(), "me").expect("something to take");
        let of =
            |manager: &str| entries.iter().find(|e| e["manager"] == manager).expect("an entry")["fieldsV1"].clone();
        assert_eq!(of("me"), json!({"f:spec": {"f:template": {"f:spec": {}}}}));
        assert_eq!(of("old")["f:spec"], json!({"f:replicas": {}}));
        assert!(of("old")["f:metadata"].is_object());
        assert_eq!(of("hpa"), json!({"f:spec": {"f:replicas": {}}}));
    }

    #[test]
    fn object_without_a_template_is_applied_over() {
        let mut live = live();
        live["spec"] = json!({});
        assert_eq!(managed_fields(&live, "me"), None);
    }

    #[test]
    fn what_others_wrote_into_a_spec_of_ours_becomes_ours_but_the_replicas() {
        let ours = json!({"f:metadata": {}, "f:spec": {"f:ports": {"k:{\"port\":8080}": {".": {}}}}});
        let theirs = json!({"f:spec": {"f:replicas": {}, "f:ports": {".": {}, "k:{\"port\":1}": {".": {}}}}});
        let alone = json!({"f:spec": {"f:x": {}}});
        let live = json!({"metadata": {"managedFields": [
            {"manager": "me", "operation": "Apply", "fieldsV1": ours},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": theirs},
            {"manager": "edit", "operation": "Update", "fieldsV1": alone},
            {"manager": "status", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
        ]}});
        let entries = others_fields(&live, "me").expect("something to take");
        assert_eq!(entries.len(), 3, "who has nothing left is gone");
        let ports = json!({".": {}, "k:{\"port\":1}": {".": {}}, "k:{\"port\":8080}": {".": {}}});
        assert_eq!(entries[0]["fieldsV1"]["f:spec"], json!({"f:ports": ports, "f:x": {}}));
        assert_eq!(entries[1]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(others_fields(&json!({"metadata": {"managedFields": entries}}), "me"), None);
    }

    #[test]
    fn takeover_without_its_apply_is_told_by_the_missing_metadata() {
        let of = |fields: Value| json!({"metadata": {"managedFields": [{"manager": "me", "operation": "Apply", "fieldsV1": fields}]}});
        assert!(is_half_done(&of(json!({"f:spec": {}})), "me"));
        assert!(!is_half_done(&of(json!({"f:spec": {}, "f:metadata": {}})), "me"));
    }
}
