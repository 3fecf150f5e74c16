//! Taking over a workload that a predecessor wrote as a whole. Pure.
//!
//! Applying over it would leave what the predecessor set and we do not want (an environment variable, a second container),
//! because that stays the predecessor's. So its record of `spec` is made ours first, and the apply that follows removes it.
//! Metadata and the number of replicas stay with whom they are: others write those, too.

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
    let fields = predecessor["fieldsV1"].as_object_mut()?;
    let Some(Value::Object(mut spec)) = fields.remove("f:spec") else { return None };
    if let Some(replicas) = spec.remove("f:replicas") {
        fields.insert("f:spec".to_owned(), Value::Object(Map::from_iter([("f:replicas".to_owned(), replicas)])));
    }
    let mut ours = predecessor.clone();
    ours["manager"] = manager.into();
    ours["operation"] = "Apply".into();
    ours["fieldsV1"] = Value::Object(Map::from_iter([("f:spec".to_owned(), Value::Object(spec))]));
    entries.push(ours);
    Some(entries)
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
}
