//! PersistentVolume, PersistentVolumeClaim, StorageClass and the other kinds of storage.k8s.io.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, immutable, label_selector, named, one_of, required_name};
use super::names;
use super::pod::containers::resource_quantity;
use super::pod::{affinity, volumes};
use super::rules::Rules;
use super::tables::storage as tables;
use crate::field::{FieldError, Kind, go_value};
use crate::resource::{Cx, Part};
use crate::schema::quantity::Quantity;
use crate::status::Status;

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// Sources of volumes that a PersistentVolume can have.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

pub(super) const VOLUME: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        obj.default_at("/spec/persistentVolumeReclaimPolicy", "Retain");
        obj.default_at("/spec/volumeMode", "Filesystem");
        obj.default_at("/spec/hostPath/type", "");
        obj.default_at("/status", json!({}));
        obj.default_at("/status/phase", "Pending");
    },
    prepare_create: |obj, cx| {
        obj.set_at("/status/phase", "Pending");
        obj.set_at("/status/lastPhaseTransitionTime", super::timestamp(cx.now));
        Ok(())
    },
    prepare_update: |new, old, part, cx| {
        if part == Part::Status && new.at("/status/phase") != old.at("/status/phase") {
            new.set_at("/status/lastPhaseTransitionTime", super::timestamp(cx.now));
        }
        Ok(())
    },
    validate_create: |obj, _| volume(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return Errors::new();
        }
        let mut errors = volume(new.at("/spec"));
        let source = |kind: &&str| new.at(&format!("/spec/{kind}")) != old.at(&format!("/spec/{kind}"));
        if SOURCES.iter().any(source) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
        }
        errors.extend(immutable("spec.volumeMode", new.at("/spec/volumeMode"), old.at("/spec/volumeMode")));
        errors
    },
    columns: || tables::columns(tables::VOLUME),
    cells: tables::volume,
    ..Rules::PLAIN
};

pub(super) const CLAIM: Rules = Rules {
    default: claim_defaults,
    prepare_create: claim_create,
    validate_create: |obj, _| claim(obj.at("/spec")),
    validate_update: |new, old, part, _| {
        if part == Part::Status {
            return Errors::new();
        }
        let mut errors = claim(new.at("/spec"));
        errors.extend(claim_change(new, old));
        errors
    },
    columns: || tables::columns(tables::CLAIM),
    cells: tables::claim,
    ..Rules::PLAIN
};

pub(super) const CLASS: Rules = Rules {
    default: |obj| {
        obj.default_at("/reclaimPolicy", "Delete");
        obj.default_at("/volumeBindingMode", "Immediate");
    },
    validate_create: |obj, _| class(obj),
    validate_update: |new, old, _, _| {
        let mut errors = class(new);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            errors.extend(immutable(field, new.at(&format!("/{field}")), old.at(&format!("/{field}"))));
        }
        errors
    },
    columns: || tables::columns(tables::CLASS),
    cells: tables::class,
    ..Rules::PLAIN
};

pub(super) const DRIVER: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec", json!({}));
        for (field, value) in [
            ("attachRequired", json!(true)),
            ("podInfoOnMount", json!(false)),
            ("storageCapacity", json!(false)),
            ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
            ("volumeLifecycleModes", json!(["Persistent"])),
            ("requiresRepublish", json!(false)),
            ("seLinuxMount", json!(false)),
        ] {
            obj.default_at(&format!("/spec/{field}"), value);
        }
    },
    validate_create: |obj, _| driver(obj.at("/spec")),
    validate_update: |new, old, _, _| {
        let mut errors = driver(new.at("/spec"));
        for field in ["attachRequired", "volumeLifecycleModes"] {
            let pointer = format!("/spec/{field}");
            errors.extend(immutable(&format!("spec.{field}"), new.at(&pointer), old.at(&pointer)));
        }
        errors
    },
    ..Rules::PLAIN
};

fn driver(spec: &Value) -> Errors {
    let policies = &["File", "None", "ReadWriteOnceWithFSType"];
    let mut errors: Errors =
        one_of("spec.fsGroupPolicy", spec.str_at("/fsGroupPolicy"), policies).into_iter().collect();
    for mode in spec.list_at("/volumeLifecycleModes").iter().filter_map(Value::as_str) {
        errors.extend(one_of("spec.volumeLifecycleModes", mode, &["Ephemeral", "Persistent"]));
    }
    errors
}

fn volume(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    if spec.list_at("/accessModes").is_empty() {
        errors.push(FieldError::required("spec.accessModes", ""));
    }
    for mode in spec.list_at("/accessModes") {
        errors.extend(one_of("spec.accessModes", mode.as_str().unwrap_or_default(), MODES));
    }
    errors.extend(lone_pod(spec));
    let capacity = spec.at("/capacity");
    let entries = spec.map_at("/capacity");
    if entries.is_none_or(serde_json::Map::is_empty) {
        errors.push(FieldError::required("spec.capacity", ""));
    }
    if entries.is_none_or(|map| map.len() != 1 || !map.contains_key("storage")) {
        let detail = "supported values: \"storage\"";
        errors.push(FieldError::with(Kind::NotSupported, "spec.capacity", Some(go_value(capacity)), detail));
    }
    for (name, value) in entries.into_iter().flatten() {
        errors.extend(positive(name, value, &format!("spec.capacity[{name}]")));
    }
    let policy = spec.str_at("/persistentVolumeReclaimPolicy");
    errors.extend(one_of("spec.persistentVolumeReclaimPolicy", policy, &["Delete", "Recycle", "Retain"]));
    let node = spec.at("/nodeAffinity/required");
    if spec.has("/nodeAffinity") && node.is_null() {
        let detail = "must specify required node constraints";
        errors.push(FieldError::required("spec.nodeAffinity.required", detail));
    } else if !node.is_null() {
        errors.extend(affinity::node_selector(node, "spec.nodeAffinity.required"));
    }
    let mut given = 0;
    for kind in SOURCES {
        let source = spec.at(&format!("/{kind}"));
        if source.is_null() {
            continue;
        }
        given += 1;
        let field = format!("spec.{kind}");
        if given > 1 {
            errors.push(FieldError::forbidden(field, "may not specify more than 1 volume type"));
        } else {
            errors.extend(volumes::one_source(kind, source, &field));
        }
        if *kind == "local" && node.is_null() {
            errors.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
        }
    }
    if given == 0 {
        errors.push(FieldError::required("spec", "must specify a volume type"));
    }
    errors.extend(one_of("spec.volumeMode", spec.str_at("/volumeMode"), &["Block", "Filesystem"]));
    errors
}

/// `ReadWriteOncePod` allows no other mode beside it.
fn lone_pod(spec: &Value) -> Option<FieldError> {
    let modes = spec.list_at("/accessModes");
    let mixed =
        modes.iter().any(|mode| mode == "ReadWriteOncePod") && modes.iter().any(|mode| mode != "ReadWriteOncePod");
    let detail = "may not use ReadWriteOncePod with other access modes";
    mixed.then(|| FieldError::forbidden("spec.accessModes", detail))
}

fn positive(name: &str, value: &Value, field: &str) -> Errors {
    let mut errors = resource_quantity(name, value, field);
    if Quantity::parse(value.as_str().unwrap_or_default()).is_some_and(|q| q.is_zero() || q.is_negative()) {
        errors.push(FieldError::invalid(field, value, "must be greater than zero"));
    }
    errors
}

/// Defaults of a claim, also of those in a StatefulSet.
pub(super) fn claim_defaults(obj: &mut Value) {
    obj.default_at("/spec", json!({}));
    obj.default_at("/spec/volumeMode", "Filesystem");
    obj.default_at("/spec/resources", json!({}));
    obj.default_at("/status", json!({}));
    obj.default_at("/status/phase", "Pending");
}

fn claim_create(obj: &mut Value, _: &Cx<'_>) -> Result<(), Status> {
    // `dataSource` and `dataSourceRef` say the same.
    for (from, to) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        let source = obj.at(&format!("/spec/{from}")).clone();
        if !source.is_null() && source.str_at("/namespace").is_empty() {
            obj.default_at(&format!("/spec/{to}"), source);
        }
    }
    Ok(())
}

fn claim(spec: &Value) -> Errors {
    let mut errors = Errors::new();
    let modes = spec.list_at("/accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required("spec.accessModes", "at least 1 access mode is required"));
    }
    if spec.has("/selector") {
        errors.extend(label_selector("spec.selector", spec.at("/selector")));
    }
    for mode in modes {
        errors.extend(one_of("spec.accessModes", mode.as_str().unwrap_or_default(), MODES));
    }
    errors.extend(lone_pod(spec));
    match spec.at("/resources/requests/storage") {
        Value::Null => errors.push(FieldError::required("spec.resources[storage]", "")),
        size => errors.extend(positive("storage", size, "spec.resources[storage]")),
    }
    let class = spec.str_at("/storageClassName");
    if !class.is_empty() {
        errors.extend(required_name("spec.storageClassName", class, names::dns_subdomain));
    }
    errors.extend(one_of("spec.volumeMode", spec.str_at("/volumeMode"), &["Block", "Filesystem"]));
    errors
}

fn claim_change(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (mut masked, before) = (new.at("/spec").clone(), old.at("/spec"));
    let mut free = Vec::new();
    if new.str_at("/status/phase") == "Bound" {
        free.extend(["/resources/requests/storage", "/volumeAttributesClassName"]);
    }
    if !before.has("/volumeName") {
        free.push("/volumeName");
    }
    if !before.has("/storageClassName") {
        free.push("/storageClassName");
    }
    for field in free {
        super::pod::update::take(&mut masked, before, field);
    }
    if &masked != before {
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden("spec", detail));
    }
    let size = |obj: &Value| Quantity::parse(obj.str_at("/spec/resources/requests/storage"));
    // A claim may shrink to what it has, so that a failed expansion can be taken back.
    let has = Quantity::parse(old.at("/status/capacity/storage").as_str().unwrap_or("0"));
    if size(new) < size(old) && size(new) <= has {
        let detail = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", detail));
    }
    errors.extend(immutable("spec.volumeMode", new.at("/spec/volumeMode"), old.at("/spec/volumeMode")));
    errors
}

fn class(obj: &Value) -> Errors {
    let mut errors =
        required_name("provisioner", &obj.str_at("/provisioner").to_ascii_lowercase(), names::qualified_name);
    for (key, _) in obj.map_at("/parameters").into_iter().flatten().filter(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid("parameters", &json!(key), "field can not be empty."));
    }
    errors.extend(one_of("reclaimPolicy", obj.str_at("/reclaimPolicy"), &["Delete", "Retain"]));
    errors.extend(one_of(
        "volumeBindingMode",
        obj.str_at("/volumeBindingMode"),
        &["Immediate", "WaitForFirstConsumer"],
    ));
    for (index, term) in obj.list_at("/allowedTopologies").iter().enumerate() {
        for (number, label) in term.list_at("/matchLabelExpressions").iter().enumerate() {
            let field = format!("allowedTopologies[{index}].matchLabelExpressions[{number}]");
            if label.list_at("/values").is_empty() {
                errors.push(FieldError::required(format!("{field}.values"), ""));
            }
            errors.extend(named(&format!("{field}.key"), label.str_at("/key"), names::qualified_name));
        }
    }
    errors
}
