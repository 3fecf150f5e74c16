//! Writes `schemas/*.json.gz`: the schemas of the built-in kinds, from k8s-openapi's types and the table of merge facts.
//!
//! `cargo run -p paddock-apiserver --example generate_schemas` writes them; its test fails when they are stale.

#![expect(clippy::print_stdout, reason = "a command line program")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::{
    Resource,
    api::{
        admissionregistration::v1 as admissionregistration, apps::v1 as apps, authentication::v1 as authentication,
        authorization::v1 as authorization, autoscaling::v1 as autoscaling, autoscaling::v2 as autoscaling_v2,
        batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, networking::v1 as networking, node::v1 as node,
        policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    apimachinery::pkg::apis::meta::v1 as meta,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

/// Defaults that kube-apiserver publishes and the table of facts does not hold: definition, field, value.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("ContainerPort", "protocol", "TCP"),
    ("ServicePort", "protocol", "TCP"),
    ("ISCSIVolumeSource", "iscsiInterface", "default"),
    ("ISCSIPersistentVolumeSource", "iscsiInterface", "default"),
    ("AzureDiskVolumeSource", "cachingMode", "ReadWrite"),
    ("AzureDiskVolumeSource", "fsType", "ext4"),
    ("AzureDiskVolumeSource", "kind", "Shared"),
    ("RBDVolumeSource", "keyring", "/etc/ceph/keyring"),
    ("RBDVolumeSource", "pool", "rbd"),
    ("RBDVolumeSource", "user", "admin"),
    ("RBDPersistentVolumeSource", "keyring", "/etc/ceph/keyring"),
    ("RBDPersistentVolumeSource", "pool", "rbd"),
    ("RBDPersistentVolumeSource", "user", "admin"),
    ("ScaleIOVolumeSource", "fsType", "xfs"),
    ("ScaleIOVolumeSource", "storageMode", "ThinProvisioned"),
    ("ScaleIOPersistentVolumeSource", "fsType", "xfs"),
    ("ScaleIOPersistentVolumeSource", "storageMode", "ThinProvisioned"),
];

/// The definitions of all kinds and what they refer to, as schemars gives them, with lists and kinds named.
fn collect() -> BTreeMap<String, Value> {
    let mut generator = SchemaGenerator::new(
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into()),
    );
    let mut kinds: Vec<(&str, &str, &str, String, bool)> = Vec::new();
    macro_rules! kinds {
        ($list:literal: $($module:ident { $($kind:ident)* })*) => { $($(
            generator.subschema_for::<$module::$kind>();
            kinds.push((
                <$module::$kind as Resource>::GROUP,
                <$module::$kind as Resource>::VERSION,
                <$module::$kind as Resource>::KIND,
                <$module::$kind as JsonSchema>::schema_name().into_owned(),
                $list,
            ));
        )*)* };
    }
    kinds!(true:
        core { ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim
               Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount }
        apps { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        batch { CronJob Job }
        rbac { ClusterRole ClusterRoleBinding Role RoleBinding }
        networking { IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR }
        coordination { Lease }
        discovery { EndpointSlice }
        policy { PodDisruptionBudget }
        storage { CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass }
        events { Event }
        autoscaling { HorizontalPodAutoscaler }
        autoscaling_v2 { HorizontalPodAutoscaler }
        scheduling { PriorityClass }
        node { RuntimeClass }
        certificates { CertificateSigningRequest }
        admissionregistration { MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
                                ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
                                ValidatingWebhookConfiguration }
        apiextensions { CustomResourceDefinition }
        apiregistration { APIService });
    kinds!(false:
        core { Binding }
        policy { Eviction }
        autoscaling { Scale }
        authentication { SelfSubjectReview TokenRequest TokenReview }
        authorization { LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview }
        meta { Status APIGroup APIGroupList APIResourceList APIVersions });
    generator.subschema_for::<meta::DeleteOptions>();
    generator.subschema_for::<meta::ListMeta>();
    generator.subschema_for::<meta::Patch>();

    let mut definitions: BTreeMap<String, Value> = generator.take_definitions(false).into_iter().collect();
    for (group, version, kind, name, listed) in kinds {
        let id = |kind: &str| json!([{"group": group, "kind": kind, "version": version}]);
        let description = definitions[&name]["description"].clone();
        definitions.get_mut(&name).expect("collected above")["x-kubernetes-group-version-kind"] = id(kind);
        if listed {
            let item = json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}], "default": {}});
            let text = |of: &str| definitions[&name]["properties"][of]["description"].clone();
            let list = json!({
                "description": format!("{kind}List is a list of {kind}. {}", description.as_str().unwrap_or_default()),
                "type": "object",
                "required": ["items"],
                "properties": {
                    "apiVersion": {"type": "string", "description": text("apiVersion")},
                    "kind": {"type": "string", "description": text("kind")},
                    "items": {"type": "array", "items": item, "description": "Items of the list."},
                    "metadata": {
                        "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"}],
                        "description": "Standard list metadata."
                    },
                },
                "x-kubernetes-group-version-kind": id(&format!("{kind}List")),
            });
            definitions.insert(format!("{name}List"), list);
        }
    }
    definitions
}

/// Rewrites schemars' conventions to those that kube-apiserver publishes. The keys of `properties` are names of fields.
fn publish(node: &mut Value) {
    match node {
        Value::Object(map) => {
            map.remove("$schema");
            map.remove("title");
            if let Some(Value::Array(types)) = map.get("type") {
                let only: Vec<Value> = types.iter().filter(|t| **t != "null").cloned().collect();
                if let [only] = only.as_slice() {
                    map.insert("type".into(), only.clone());
                }
            }
            if let Some(Value::String(reference)) = map.get("$ref") {
                let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
                let reference = json!({"$ref": format!("#/components/schemas/{name}")});
                if map.len() > 1 {
                    map.remove("$ref");
                    map.insert("allOf".into(), json!([reference]));
                } else {
                    *node = reference;
                    return;
                }
            }
            for (key, value) in map.iter_mut() {
                match value {
                    Value::Object(fields) if key == "properties" => fields.values_mut().for_each(publish),
                    value => publish(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(publish),
        _ => {}
    }
}

/// Puts the table's facts into the nodes.
fn merge_facts(definitions: &mut BTreeMap<String, Value>, facts: &str) {
    for line in facts.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |i: usize| cells.get(i).copied().unwrap_or_default().trim();
        let Some(definition) = definitions.get_mut(cell(0)) else { continue };
        let node = match cell(1) {
            "." => Some(definition),
            field => definition["properties"].get_mut(field),
        };
        let Some(node) = node else { continue };
        for (i, key) in [
            (3, "x-kubernetes-list-type"),
            (5, "x-kubernetes-map-type"),
            (6, "x-kubernetes-patch-strategy"),
            (7, "x-kubernetes-patch-merge-key"),
        ] {
            if !cell(i).is_empty() {
                node[key] = json!(cell(i));
            }
        }
        if !cell(4).is_empty() {
            node["x-kubernetes-list-map-keys"] = cell(4).split(',').collect();
        }
        if !cell(8).is_empty() {
            node["default"] = serde_json::from_str(cell(8)).unwrap_or_else(|_| json!(cell(8)));
        }
    }
    for (definition, field, value) in DEFAULTS {
        let name = format!("io.k8s.api.core.v1.{definition}");
        if let Some(node) = definitions.get_mut(&name).and_then(|d| d["properties"].get_mut(*field)) {
            node["default"] = json!(value);
        }
    }
}

/// What k8s-openapi says differently from the published document.
fn correct(definitions: &mut BTreeMap<String, Value>) {
    const META: &str = "io.k8s.apimachinery.pkg";
    const EXT: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
    for (name, node) in definitions.iter_mut() {
        // `metadata` is not required of a client: the server fills it in.
        if let Some(Value::Array(required)) = node.get_mut("required") {
            required.retain(|f| f != "metadata");
        }
        if node["required"].as_array().is_some_and(Vec::is_empty) {
            node.as_object_mut().expect("an object").remove("required");
        }
        if name == &format!("{META}.api.resource.Quantity") {
            *node = json!({"description": node["description"], "oneOf": [{"type": "string"}, {"type": "number"}]});
        } else if name == &format!("{META}.util.intstr.IntOrString") {
            *node = json!({"description": node["description"], "oneOf": [{"type": "integer"}, {"type": "string"}],
                           "format": "int-or-string"});
        } else if name.starts_with(EXT)
            && name.rsplit('.').next().is_some_and(|n| n == "JSON" || n.starts_with("JSONSchemaPropsOr"))
        {
            *node = json!({"description": node["description"]});
        }
    }
}

/// The typed facts alone.
fn without_descriptions(node: &Value, in_properties: bool) -> Value {
    match node {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| in_properties || *key != "description")
            .map(|(key, value)| (key.clone(), without_descriptions(value, key == "properties" && !in_properties)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(|v| without_descriptions(v, false)).collect(),
        other => other.clone(),
    }
}

fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    out.write_all(bytes)?;
    out.finish()
}

/// The files of `schemas/`: name and content before compression.
fn files(directory: &Path) -> std::io::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut definitions = collect();
    definitions.values_mut().for_each(publish);
    correct(&mut definitions);
    merge_facts(&mut definitions, &std::fs::read_to_string(directory.join("facts.tsv"))?);
    let typed: BTreeMap<&String, Value> =
        definitions.iter().map(|(name, node)| (name, without_descriptions(node, false))).collect();
    Ok(vec![("typed.json.gz", serde_json::to_vec(&typed)?), ("described.json.gz", serde_json::to_vec(&definitions)?)])
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (file, bytes) in files(&directory())? {
        let packed = compress(&bytes)?;
        println!("{file}: {} bytes, {} compressed", bytes.len(), packed.len());
        std::fs::write(directory().join(file), packed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_generated_schemas_are_current() {
        for (file, bytes) in files(&directory()).unwrap() {
            let mut held = Vec::new();
            let packed = std::fs::File::open(directory().join(file)).unwrap();
            flate2::read::GzDecoder::new(packed).read_to_end(&mut held).unwrap();
            assert!(
                held == bytes,
                "schemas/{file} is stale; run: cargo run -p paddock-apiserver --example generate_schemas"
            );
        }
    }
}
