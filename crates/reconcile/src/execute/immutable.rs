//! What to do when a field that cannot change in place must change: one rule per kind. Pure.

use serde_json::Value;

use super::owned;
use crate::object::Kind;
use crate::plan::OnImmutable::{self, Invalid, Keep, Recreate, RecreateOrphaning};

/// Group, kind, pointers of immutable fields, rule.
type Row = (&'static str, &'static str, &'static [&'static str], OnImmutable);

/// Sources: the update validation of each kind in kube-apiserver 1.33 to 1.36.
const TABLE: &[Row] = &[
    // Pods and claims stay: they are adopted by the successor.
    (
        "apps",
        "StatefulSet",
        &["/spec/serviceName", "/spec/selector", "/spec/podManagementPolicy", "/spec/volumeClaimTemplates"],
        RecreateOrphaning,
    ),
    ("apps", "Deployment", &["/spec/selector"], Recreate),
    ("apps", "DaemonSet", &["/spec/selector"], Recreate),
    ("batch", "Job", &["/spec/template", "/spec/selector", "/spec/completions", "/spec/completionMode"], Recreate),
    ("rbac.authorization.k8s.io", "RoleBinding", &["/roleRef"], Recreate),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", &["/roleRef"], Recreate),
    // Addresses are the server's choice; a plan that names them differs from an existing Service for no user's benefit.
    ("", "Service", &["/spec/clusterIP", "/spec/clusterIPs", "/spec/ipFamilies"], Keep),
    // Deleting these loses data: never on our own.
    ("", "Secret", &["/type"], Invalid),
    (
        "",
        "PersistentVolumeClaim",
        &["/spec/accessModes", "/spec/storageClassName", "/spec/volumeName", "/spec/volumeMode", "/spec/selector"],
        Invalid,
    ),
    (
        "storage.k8s.io",
        "StorageClass",
        &["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"],
        Invalid,
    ),
];

/// What the server puts in the place of a field that nobody wants any more: giving it up changes nothing.
const DEFAULTS: [(&str, &str); 6] = [
    ("/spec/podManagementPolicy", "OrderedReady"),
    ("/spec/completionMode", "NonIndexed"),
    ("/type", "Opaque"),
    ("/spec/volumeMode", "Filesystem"),
    ("/reclaimPolicy", "Delete"),
    ("/volumeBindingMode", "Immediate"),
];

/// The immutable fields of `kind` on which `desired` differs from `live`, and the kind's rule for them. A field that `manager`
/// applied and no longer wants differs, too: applying would take it away.
pub(crate) fn changed(
    kind: &Kind,
    desired: &Value,
    live: &Value,
    manager: &str,
) -> Option<(Vec<&'static str>, OnImmutable)> {
    let frozen = live.get("immutable") == Some(&Value::Bool(true)) && kind.group.is_empty();
    if frozen && matches!(&*kind.kind, "ConfigMap" | "Secret") {
        let fields: Vec<_> = ["/data", "/binaryData"].into_iter().filter(|at| differs(desired, live, at)).collect();
        return (!fields.is_empty()).then_some((fields, Recreate));
    }
    let (_, _, fields, rule) = TABLE.iter().find(|row| row.0 == kind.group && row.1 == kind.kind)?;
    let ours = owned::entry_of(live, manager).map(|entry| &entry["fieldsV1"]);
    let given_up = |at: &str| {
        let is_default = DEFAULTS.iter().any(|(of, value)| *of == at && live.pointer(at).is_some_and(|is| is == value));
        let was_ours = ours.is_some_and(|ours| ours.pointer(&at.replace('/', "/f:")).is_some());
        desired.pointer(at).is_none() && was_ours && !is_default
    };
    let fields: Vec<_> = fields.iter().copied().filter(|at| differs(desired, live, at) || given_up(at)).collect();
    (!fields.is_empty()).then_some((fields, *rule))
}

/// Whether somebody made this object of ours unchangeable: we never do.
pub(crate) fn is_frozen(desired: &Value, live: &Value) -> bool {
    live.get("immutable") == Some(&Value::Bool(true)) && desired.get("immutable") != Some(&Value::Bool(true))
}

/// Removes fields from what we apply, so that they stay as they are.
pub(crate) fn leave_out(desired: &mut Value, fields: &[&str]) {
    for field in fields {
        if let Some((parent, name)) = field.rsplit_once('/')
            && let Some(Value::Object(parent)) = desired.pointer_mut(parent)
        {
            parent.remove(name);
        }
    }
}

fn differs(desired: &Value, live: &Value, at: &str) -> bool {
    desired.pointer(at).is_some_and(|want| !within(want, live.pointer(at).unwrap_or(&Value::Null), 64))
}

/// Whether everything in `want` is in `live`; the server adds defaults.
fn within(want: &Value, live: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return true };
    match (want, live) {
        (Value::Object(want), Value::Object(live)) => {
            want.iter().all(|(name, want)| within(want, live.get(name).unwrap_or(&Value::Null), depth))
        }
        (Value::Array(want), Value::Array(live)) => {
            want.len() == live.len() && want.iter().zip(live).all(|(want, live)| within(want, live, depth))
        }
        // Absent in the live object: a zero value that was dropped, unless we want something.
        (want, Value::Null) => match want {
            Value::Object(members) => members.values().all(|v| within(v, &Value::Null, depth)),
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(on) => !on,
            Value::Number(_) | Value::Null => true,
        },
        (want, live) => want == live,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::{ConfigMap, Service};
    use serde_json::json;

    #[test]
    fn statefulset_selector_is_recreated_and_its_pods_are_kept() {
        let (want, live) = (json!({"spec": {"serviceName": "b"}}), json!({"spec": {"serviceName": "a"}}));
        let rule = changed(&Kind::of::<StatefulSet>(), &want, &live, "me");
        assert_eq!(rule, Some((vec!["/spec/serviceName"], RecreateOrphaning)));
    }

    #[test]
    fn statefulset_template_and_defaults_are_no_change() {
        let claims = json!([{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
        let mut live = json!({"spec": {"volumeClaimTemplates": claims, "template": {"a": 1}}});
        let want = json!({"spec": {"volumeClaimTemplates": claims, "template": {"a": 2}}});
        live["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] = "Filesystem".into();
        live["spec"]["volumeClaimTemplates"][0]["status"] = json!({"phase": "Pending"});
        assert_eq!(changed(&Kind::of::<StatefulSet>(), &want, &live, "me"), None);
    }

    #[test]
    fn statefulset_is_made_anew_when_a_field_that_cannot_change_is_given_up() {
        let entry =
            json!({"manager": "me", "operation": "Apply", "fieldsV1": {"f:spec": {"f:volumeClaimTemplates": {}}}});
        let live = json!({"metadata": {"managedFields": [entry]}, "spec": {"volumeClaimTemplates": [{}]}});
        let rule = |manager: &str| changed(&Kind::of::<StatefulSet>(), &json!({"spec": {}}), &live, manager);
        assert_eq!(rule("me"), Some((vec!["/spec/volumeClaimTemplates"], RecreateOrphaning)));
        assert_eq!(rule("another"), None);
    }

    #[test]
    fn service_address_is_kept() {
        let (mut want, live) = (json!({"spec": {"clusterIP": "None"}}), json!({"spec": {"clusterIP": "10.96.0.9"}}));
        let Some((fields, Keep)) = changed(&Kind::of::<Service>(), &want, &live, "me") else {
            panic!("a rule is missing")
        };
        leave_out(&mut want, &fields);
        assert_eq!(want, json!({"spec": {}}));
    }

    #[test]
    fn frozen_configmap_is_made_anew_when_its_data_must_change() {
        let (want, live) = (json!({"data": {"a": "2"}}), json!({"data": {"a": "1"}, "immutable": true}));
        assert_eq!(changed(&Kind::of::<ConfigMap>(), &want, &live, "me"), Some((vec!["/data"], Recreate)));
        assert_eq!(changed(&Kind::of::<ConfigMap>(), &live, &live, "me"), None);
    }
}
