//! Validation of volumes, in the order of `ValidateVolumes`.

use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::{Errors, hold, named, one_of, required, required_name};
use super::super::names;
use crate::field::FieldError;

/// Volume sources in the order in which a second one is found to be one too many.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
/// Fields of the pod that a file can show.
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields of the pod that can be referred to at all.
const POD_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Names of the volumes that are right, and the errors of the others.
pub(super) fn validate<'a>(volumes: &'a [Value], path: &str) -> (Vec<&'a str>, Errors) {
    let (mut known, mut errors) = (Vec::new(), Errors::new());
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = volume.str_at("/name");
        let mut wrong = source(volume, &path);
        wrong.extend(required_name(&format!("{path}.name"), name, names::dns_label));
        if known.contains(&name) {
            wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        if wrong.is_empty() {
            known.push(name);
        }
        errors.extend(wrong);
    }
    (known, errors)
}

/// Errors of a volume's source.
fn source(volume: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    let mut given = 0;
    for kind in SOURCES {
        let source = volume.at(&format!("/{kind}"));
        if source.is_null() {
            continue;
        }
        given += 1;
        let path = format!("{path}.{kind}");
        if given > 1 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
        } else {
            errors.extend(one_source(kind, source, &path));
        }
    }
    if given == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    errors
}

/// Errors of a source of a known kind; volumes of pods and PersistentVolumes share most.
pub(in super::super) fn one_source(kind: &str, source: &Value, path: &str) -> Errors {
    let at = |name: &str| format!("{path}.{name}");
    let mut errors = Errors::new();
    match kind {
        "hostPath" => {
            let host = source.str_at("/path");
            if host.is_empty() {
                return vec![FieldError::required(at("path"), "")];
            }
            errors.extend(no_backsteps(&at("path"), host));
            const TYPES: &[&str] =
                &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            errors.extend(one_of(&at("type"), source.str_at("/type"), TYPES));
        }
        "secret" => {
            errors.extend(required(&at("secretName"), source.str_at("/secretName")));
            errors.extend(mode(source, "/defaultMode", &at("defaultMode")));
            errors.extend(items(source, path));
        }
        "configMap" => {
            errors.extend(required(&at("name"), source.str_at("/name")));
            errors.extend(mode(source, "/defaultMode", &at("defaultMode")));
            errors.extend(items(source, path));
        }
        "nfs" => {
            errors.extend(required(&at("server"), source.str_at("/server")));
            let export = source.str_at("/path");
            match required(&at("path"), export) {
                Some(error) => errors.push(error),
                None => {
                    errors.extend(hold(
                        export.starts_with('/'),
                        &at("path"),
                        &json!(export),
                        "must be an absolute path",
                    ));
                }
            }
        }
        "persistentVolumeClaim" => errors.extend(required(&at("claimName"), source.str_at("/claimName"))),
        "csi" => errors.extend(required(&at("driver"), source.str_at("/driver"))),
        "image" => errors.extend(required(&at("reference"), source.str_at("/reference"))),
        "downwardAPI" => {
            errors.extend(mode(source, "/defaultMode", &at("defaultMode")));
            errors.extend(downward(source, path));
        }
        "projected" => {
            errors.extend(mode(source, "/defaultMode", &at("defaultMode")));
            errors.extend(projected(source, path));
        }
        "local" => {
            let local = source.str_at("/path");
            errors.extend(required(&at("path"), local));
            errors.extend(no_backsteps(&at("path"), local));
        }
        "ephemeral" if !source.has("/volumeClaimTemplate") => {
            errors.push(FieldError::required(at("volumeClaimTemplate"), ""));
        }
        _ => {}
    }
    errors
}

fn projected(source: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    for (index, part) in source.list_at("/sources").iter().enumerate() {
        let path = format!("{path}.sources[{index}]");
        let mut given = 0;
        for kind in
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]
        {
            let value = part.at(&format!("/{kind}"));
            if value.is_null() {
                continue;
            }
            given += 1;
            let path = format!("{path}.{kind}");
            if given > 1 {
                errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
                continue;
            }
            match kind {
                "secret" | "configMap" => {
                    errors.extend(required(&format!("{path}.name"), value.str_at("/name")));
                    errors.extend(items(value, &path));
                }
                "downwardAPI" => errors.extend(downward(value, &path)),
                "serviceAccountToken" => {
                    if let Some(seconds) = value.int_at("/expirationSeconds") {
                        let field = format!("{path}.expirationSeconds");
                        let text = "may not specify a duration less than 10 minutes";
                        errors.extend(hold(seconds >= 600, &field, &json!(seconds), text));
                        let text = "may not specify a duration larger than 2^32 seconds";
                        errors.extend(hold(seconds <= 1 << 32, &field, &json!(seconds), text));
                    }
                    errors.extend(required(&format!("{path}.path"), value.str_at("/path")));
                }
                _ => {}
            }
        }
        if given == 0 {
            errors.push(FieldError::required(path, "must specify a volume type"));
        }
    }
    errors
}

fn downward(source: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    for item in source.list_at("/items") {
        // kube reports these under the volume source itself.
        let file = item.str_at("/path");
        match required(&format!("{path}.path"), file) {
            Some(error) => errors.push(error),
            None => errors.extend(descending(&format!("{path}.path"), file)),
        }
        match (item.has("/fieldRef"), item.has("/resourceFieldRef")) {
            (true, false) => {
                errors.extend(field_ref(item.at("/fieldRef"), VOLUME_FIELDS, &format!("{path}.fieldRef")));
            }
            (true, true) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, &json!("resource"), detail));
            }
            (false, true) => {}
            (false, false) => {
                let detail = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(path, detail));
            }
        }
        errors.extend(mode(item, "/mode", &format!("{path}.mode")));
    }
    errors
}

fn items(source: &Value, path: &str) -> Errors {
    let mut errors = Errors::new();
    for (index, item) in source.list_at("/items").iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        errors.extend(required(&format!("{path}.key"), item.str_at("/key")));
        let file = item.str_at("/path");
        errors.extend(required(&format!("{path}.path"), file));
        errors.extend(descending(&format!("{path}.path"), file));
        errors.extend(mode(item, "/mode", &format!("{path}.mode")));
    }
    errors
}

fn mode(obj: &Value, pointer: &str, field: &str) -> Option<FieldError> {
    let mode = obj.int_at(pointer)?;
    hold((0..=0o777).contains(&mode), field, &json!(mode), MODE)
}

/// `validateObjectFieldSelector`.
pub(super) fn field_ref(selector: &Value, allowed: &[&str], path: &str) -> Errors {
    if let Some(error) = required(&format!("{path}.apiVersion"), selector.str_at("/apiVersion")) {
        return vec![error];
    }
    let field = selector.str_at("/fieldPath");
    let at = format!("{path}.fieldPath");
    if let Some(error) = required(&at, field) {
        return vec![error];
    }
    let (base, subscript) = match field.strip_suffix("']").and_then(|head| head.split_once("['")) {
        Some((base, key)) => (base, Some(key)),
        None => (field, None),
    };
    if !POD_FIELDS.contains(&base) || (subscript.is_some() && !base.starts_with("metadata.")) {
        let detail = format!("error converting fieldPath: field label not supported: {field}");
        return vec![FieldError::invalid(at, &json!(field), &detail)];
    }
    match (base, subscript) {
        ("metadata.annotations", Some(key)) => named(path, &key.to_ascii_lowercase(), names::qualified_name),
        ("metadata.labels", Some(key)) => named(path, key, names::qualified_name),
        (_, Some(_)) => vec![FieldError::invalid(path, &json!(base), "does not support subscript")],
        (_, None) => one_of(&at, base, allowed).into_iter().collect(),
    }
}

/// `validateLocalDescendingPath`.
pub(super) fn descending(field: &str, path: &str) -> Errors {
    let relative = hold(!path.starts_with('/'), field, &json!(path), "must be a relative path");
    relative.into_iter().chain(no_backsteps(field, path)).collect()
}

fn no_backsteps(field: &str, path: &str) -> Option<FieldError> {
    hold(!path.split('/').any(|part| part == ".."), field, &json!(path), "must not contain '..'")
}
