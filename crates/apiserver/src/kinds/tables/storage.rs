//! Volumes, claims and classes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
pub(in super::super) use super::columns;
use super::{created, joined, name};

pub(in super::super) const VOLUME: &str =
    "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode+";
pub(in super::super) const CLAIM: &str =
    "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode+";
pub(in super::super) const CLASS: &str = "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age";

fn modes(list: &[Value]) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    joined(short.into_iter().filter(|(mode, _)| list.iter().any(|m| m == mode)).map(|(_, text)| text))
}

fn or_unset(text: &str) -> Value {
    json!(if text.is_empty() { "<unset>" } else { text })
}

pub(in super::super) fn volume(obj: &Value, now: Timestamp) -> Vec<Value> {
    let claim = match obj.str_at("/spec/claimRef/name") {
        "" => String::new(),
        claim => format!("{}/{claim}", obj.str_at("/spec/claimRef/namespace")),
    };
    let phase = if obj.has("/metadata/deletionTimestamp") { "Terminating" } else { obj.str_at("/status/phase") };
    vec![
        name(obj),
        json!(obj.str_at("/spec/capacity/storage")),
        json!(modes(obj.list_at("/spec/accessModes"))),
        json!(obj.str_at("/spec/persistentVolumeReclaimPolicy")),
        json!(phase),
        json!(claim),
        json!(obj.str_at("/spec/storageClassName")),
        or_unset(obj.str_at("/spec/volumeAttributesClassName")),
        json!(obj.str_at("/status/reason")),
        created(obj, now),
        or_unset(obj.str_at("/spec/volumeMode")),
    ]
}

pub(in super::super) fn claim(obj: &Value, now: Timestamp) -> Vec<Value> {
    let bound = !obj.str_at("/spec/volumeName").is_empty();
    let phase = if obj.has("/metadata/deletionTimestamp") { "Terminating" } else { obj.str_at("/status/phase") };
    vec![
        name(obj),
        json!(phase),
        json!(obj.str_at("/spec/volumeName")),
        json!(if bound { obj.str_at("/status/capacity/storage") } else { "" }),
        json!(if bound { modes(obj.list_at("/status/accessModes")) } else { String::new() }),
        json!(obj.str_at("/spec/storageClassName")),
        or_unset(obj.str_at("/spec/volumeAttributesClassName")),
        created(obj, now),
        or_unset(obj.str_at("/spec/volumeMode")),
    ]
}

pub(in super::super) fn class(obj: &Value, now: Timestamp) -> Vec<Value> {
    let default = obj.str_at("/metadata/annotations/storageclass.kubernetes.io~1is-default-class") == "true";
    let mark = if default { " (default)" } else { "" };
    vec![
        json!(format!("{}{mark}", obj.str_at("/metadata/name"))),
        obj.at("/provisioner").clone(),
        obj.at("/reclaimPolicy").clone(),
        obj.at("/volumeBindingMode").clone(),
        json!(obj.true_at("/allowVolumeExpansion")),
        created(obj, now),
    ]
}
