//! OpenAPI documents: the index and one document per group and version (v3), and all in one (v2). Pure but for reading the
//! compiled-in descriptions; nothing large is kept.

pub(crate) mod protobuf;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::discovery::fnv;
use crate::resource::Resource;
use crate::schema::{self, AdditionalProperties, Schema};

/// Schemas of the built-in kinds with their descriptions.
static DESCRIBED: &[u8] = include_bytes!("../schemas/described.json.gz");

/// The schema of a custom kind as its CRD has it.
pub(crate) type CustomSchema<'a> = dyn Fn(&Resource) -> Option<Value> + 'a;

/// Upper-case hexadecimal fingerprint of a document.
pub(crate) fn hash(bytes: &[u8]) -> String {
    format!("{:016X}{:016X}", fnv(bytes), fnv(&bytes.len().to_le_bytes()) ^ fnv(bytes).rotate_left(17))
}

fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `/openapi/v3`. The hash of a document changes when what it describes does.
pub(crate) fn v3_index(resources: &[Arc<Resource>], generation: u64) -> Value {
    let mut fingerprints: BTreeMap<String, String> = BTreeMap::new();
    for resource in resources {
        let text = fingerprints.entry(group_path(&resource.group, &resource.version)).or_default();
        text.push_str(&resource.plural);
        if resource.custom {
            // A changed schema is a new generation of the registry.
            text.push_str(&generation.to_string());
        }
    }
    fingerprints.insert("version".to_owned(), String::new());
    let paths: Map<String, Value> = fingerprints
        .into_iter()
        .map(|(path, text)| {
            let url = format!("/openapi/v3/{path}?hash={}", hash(text.as_bytes()));
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// `/openapi/v3/PATH`, or `None` when no group is served there.
pub(crate) fn v3_document(resources: &[Arc<Resource>], path: &str, custom: &CustomSchema<'_>) -> Option<Value> {
    if path == "version" {
        let paths = json!({"/version/": {"get": {"responses": {"200": {"description": "OK"}}}}});
        return Some(document(&paths, &json!({})));
    }
    let served: Vec<&Arc<Resource>> = resources.iter().filter(|r| group_path(&r.group, &r.version) == path).collect();
    if served.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    for resource in &served {
        add_paths(&mut paths, resource);
    }
    Some(document(&paths.into(), &components(&served, custom).into()))
}

fn document(paths: &Value, schemas: &Value) -> Value {
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths, "components": {"schemas": schemas},
    })
}

/// Name of a custom kind's definition: the group reversed, as apiextensions-apiserver names it.
fn custom_name(resource: &Resource) -> String {
    let reversed = resource.group.rsplit('.').collect::<Vec<_>>().join(".");
    format!("{reversed}.{}.{}", resource.version, resource.kind)
}

fn definition_name(resource: &Resource) -> Option<String> {
    if resource.custom {
        return Some(custom_name(resource));
    }
    schema::definition_name(&resource.group, &resource.version, &resource.kind).map(str::to_owned)
}

/// The schemas of these resources and all that they refer to.
fn components(resources: &[&Arc<Resource>], custom: &CustomSchema<'_>) -> Map<String, Value> {
    let definitions = schema::definitions();
    let mut wanted = BTreeSet::new();
    let mut queue: Vec<String> = Vec::new();
    let mut out = Map::new();
    for resource in resources {
        let Some(name) = definition_name(resource) else { continue };
        if !resource.custom {
            queue.push(name);
            continue;
        }
        let mut node = custom(resource).unwrap_or_else(|| json!({"type": "object"}));
        node["x-kubernetes-group-version-kind"] =
            json!([{"group": &*resource.group, "version": &*resource.version, "kind": &*resource.kind}]);
        let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        node["properties"]["metadata"] = json!({"allOf": [{"$ref": format!("#/components/schemas/{metadata}")}]});
        for (field, text) in [
            ("apiVersion", "APIVersion defines the versioned schema of this representation of an object."),
            ("kind", "Kind is a string value representing the REST resource this object represents."),
        ] {
            node["properties"][field] = json!({"type": "string", "description": text});
        }
        queue.push(metadata.to_owned());
        out.insert(name, node);
    }
    while let Some(name) = queue.pop() {
        if wanted.insert(name.clone())
            && let Some(node) = definitions.get(&name)
        {
            references(node, &mut queue);
        }
    }
    out.extend(described(|name| wanted.contains(name)));
    out
}

/// Names of the definitions that a node refers to.
fn references(node: &Schema, out: &mut Vec<String>) {
    if let Some(reference) = &node.reference {
        out.extend(reference.rsplit('/').next().map(str::to_owned));
    }
    let below = node.properties.values().chain(&node.items).chain(&node.all_of).chain(&node.any_of).chain(&node.one_of);
    below.for_each(|child| references(child, out));
    if let Some(AdditionalProperties::Schema(child)) = &node.additional_properties {
        references(child, out);
    }
}

/// Reads the described definitions that are wanted; the others are dropped as they are read.
fn described(wanted: impl Fn(&str) -> bool) -> Map<String, Value> {
    struct Wanted<F>(F);
    impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Wanted<F> {
        type Value = Map<String, Value>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("definitions by name")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = Map::new();
            while let Some(name) = map.next_key::<String>()? {
                if (self.0)(&name) {
                    out.insert(name, map.next_value()?);
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(out)
        }
    }
    let mut text = Vec::new();
    let read = flate2::read::GzDecoder::new(DESCRIBED).read_to_end(&mut text);
    debug_assert!(read.is_ok(), "the generated schemas are damaged");
    serde_json::Deserializer::from_slice(&text).deserialize_map(Wanted(wanted)).unwrap_or_default()
}

/// The paths of a resource and its subresources with their operations.
fn add_paths(paths: &mut Map<String, Value>, resource: &Resource) {
    let base = format!("/{}", group_path(&resource.group, &resource.version));
    let collection = if resource.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{base}/{}", resource.plural)
    };
    let own = json!({"group": &*resource.group, "version": &*resource.version, "kind": &*resource.kind});
    let schema = definition_name(resource);
    let has = |verb: &str| resource.verbs.contains(&verb);
    let mut item = Map::new();
    let mut all = Map::new();
    for (verb, method, action, on_item) in [
        ("list", "get", "list", false),
        ("create", "post", "post", false),
        ("deletecollection", "delete", "deletecollection", false),
        ("get", "get", "get", true),
        ("update", "put", "put", true),
        ("patch", "patch", "patch", true),
        ("delete", "delete", "delete", true),
    ] {
        if has(verb) {
            let target = if on_item { &mut item } else { &mut all };
            target.insert(method.to_owned(), operation(action, &own, schema.as_deref()));
        }
    }
    if resource.namespaced && has("list") {
        let everywhere = json!({"get": operation("list", &own, schema.as_deref())});
        paths.insert(format!("{base}/{}", resource.plural), everywhere);
    }
    let parameters = |names: &[&str]| -> Vec<Value> {
        let path = |name: &&str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
        names.iter().map(path).collect()
    };
    let of_collection: &[&str] = if resource.namespaced { &["namespace"] } else { &[] };
    let of_item: &[&str] = if resource.namespaced { &["name", "namespace"] } else { &["name"] };
    if !all.is_empty() {
        all.insert("parameters".to_owned(), parameters(of_collection).into());
        paths.insert(collection.clone(), all.into());
    }
    if !item.is_empty() {
        item.insert("parameters".to_owned(), parameters(of_item).into());
        paths.insert(format!("{collection}/{{name}}"), item.into());
    }
    for sub in &resource.subresources {
        let kind = sub.kind.map_or_else(
            || own.clone(),
            |(group, version, kind)| json!({"group": group, "version": version, "kind": kind}),
        );
        let mut operations = Map::new();
        for verb in sub.verbs {
            let (method, action) = match *verb {
                "get" => ("get", "get"),
                "create" => ("post", "post"),
                "update" => ("put", "put"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                _ => continue,
            };
            operations
                .insert(method.to_owned(), operation(action, &kind, schema.as_deref().filter(|_| sub.kind.is_none())));
        }
        operations.insert("parameters".to_owned(), parameters(of_item).into());
        paths.insert(format!("{collection}/{{name}}/{}", sub.name), operations.into());
    }
}

/// One operation: what kubectl looks for is the action, the kind, and which options are known.
fn operation(action: &str, kind: &Value, schema: Option<&str>) -> Value {
    let options: &[(&str, &str)] = match action {
        "post" | "put" => &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")],
        "patch" => {
            &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")]
        }
        "delete" | "deletecollection" => {
            &[("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")]
        }
        "list" => &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        _ => &[],
    };
    let parameters: Vec<Value> = options
        .iter()
        .map(|(name, type_)| json!({"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": true}}))
        .collect();
    let mut out = json!({
        "parameters": parameters, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
        "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}},
    });
    if let Some(name) = schema.filter(|_| action != "list") {
        let content = json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
        if matches!(action, "post" | "put") {
            out["requestBody"] = json!({"content": content, "required": true});
        }
        if action != "deletecollection" {
            out["responses"]["200"]["content"] = content;
        }
    }
    out
}

/// `/openapi/v2`: all definitions and paths in one Swagger 2.0 document.
pub(crate) fn v2(resources: &[Arc<Resource>], custom: &CustomSchema<'_>) -> Value {
    let all: Vec<&Arc<Resource>> = resources.iter().collect();
    let mut schemas = Value::Object(components(&all, custom));
    swagger(&mut schemas);
    let mut paths = Map::new();
    for resource in resources {
        add_paths(&mut paths, resource);
    }
    // Only what names options and kinds is carried over: bodies and answers are shaped otherwise in 2.0.
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        let Some(operation) = operation.as_object_mut() else { continue };
        operation.remove("requestBody");
        operation.insert("responses".to_owned(), json!({"200": {"description": "OK"}}));
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            flatten_parameter(parameter);
        }
    }
    for parameter in
        paths.values_mut().filter_map(|p| p.get_mut("parameters")).filter_map(Value::as_array_mut).flatten()
    {
        flatten_parameter(parameter);
    }
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": paths, "definitions": schemas})
}

fn flatten_parameter(parameter: &mut Value) {
    if let Some(schema) = parameter.as_object_mut().and_then(|p| p.remove("schema")) {
        parameter["type"] = schema["type"].clone();
    }
}

/// Rewrites OpenAPI 3 schemas to Swagger 2: references lead elsewhere, one wrapped reference is a reference.
fn swagger(node: &mut Value) {
    match node {
        Value::Object(map) => {
            if let Some(Value::Array(all)) = map.get("allOf")
                && let [only] = all.as_slice()
                && let Some(reference) = only.get("$ref").cloned()
            {
                map.remove("allOf");
                map.insert("$ref".to_owned(), reference);
            }
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/definitions/");
            }
            map.values_mut().for_each(swagger);
        }
        Value::Array(list) => list.iter_mut().for_each(swagger),
        _ => {}
    }
}
