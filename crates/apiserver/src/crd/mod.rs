//! CustomResourceDefinitions: the rules of the definitions themselves ([`definition`]) and the resources they make
//! ([`resources`]). Pure.

mod conditions;
mod conversion;
mod custom;
mod decl;
mod defaults;
pub(crate) mod definition;
mod evaluate;
mod fieldpath;
mod internal;
mod jsonpath;
mod openapi;
mod program;
mod rules;
mod serving;
mod structural;

pub(crate) use conditions::Names;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::resource::{Column, Resource, ScalePaths, Subresource};
use crate::schema::Schema;
use crate::schema::body::MAX_DEPTH;
use crate::schema::sharing::Sharing;
use crate::status::Status;
use custom::Custom;
use jsonpath::JsonPath;

const VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const SUB_VERBS: &[&str] = &["get", "patch", "update"];

/// Marks a definition that is being deleted while objects of it are left.
pub(crate) fn terminate(crd: &mut Value, now: Timestamp) {
    let message =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will occur as soon as possible";
    conditions::set(crd, "Terminating", "True", "InstanceDeletionPending", message, now);
}

/// The status of a definition whose names were taken and are free now, if that is so.
pub(crate) fn reaccepted(crd: &Value, others: &[Arc<Names>], now: Timestamp) -> Option<Value> {
    if conditions::is(crd, "NamesAccepted") || crd["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    let mut settled = crd.clone();
    conditions::settle(&mut settled, others, now);
    conditions::is(&settled, "NamesAccepted").then(|| settled["status"].take())
}

/// What an accepted definition serves: one resource per served version, preferred versions first. A definition whose names
/// are not accepted serves nothing.
///
/// # Errors
/// 500 when a stored definition does not hold what validation lets in.
pub(crate) fn resources(crd: &Value) -> Result<Vec<Resource>, Status> {
    if !conditions::is(crd, "Established") {
        return Ok(Vec::new());
    }
    let spec = &crd["spec"];
    let names = &crd["status"]["acceptedNames"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<Arc<str>> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(Arc::from).collect()
    };
    let group: Arc<str> = text(&spec["group"]).into();
    let plural: Arc<str> = text(&names["plural"]).into();
    let all = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let storage_version = all.iter().find(|v| v["storage"] == true).map(|v| text(&v["name"])).unwrap_or_default();
    let mut served: Vec<&Value> = all.iter().filter(|v| v["served"] == true).collect();
    served.sort_by(|a, b| newer_first(a["name"].as_str().unwrap_or_default(), b["name"].as_str().unwrap_or_default()));
    let terminating = crd["metadata"]["deletionTimestamp"].is_string();
    let mut out = Vec::new();
    for version in served {
        let raw = &version["schema"]["openAPIV3Schema"];
        let malformed = |e| Status::internal(format!("the schema of {plural}.{group} is malformed: {e}"));
        let own = Sharing::default().read(raw).map_err(malformed)?;
        let schema = with_metadata(&own);
        let subresources = &version["subresources"];
        let scale = scale(&subresources["scale"]);
        let has_status = subresources["status"].is_object();
        let mut subs = Vec::new();
        if has_status {
            subs.push(Subresource { name: "status", kind: None, verbs: SUB_VERBS });
        }
        if scale.is_some() {
            subs.push(Subresource { name: "scale", kind: Some(("autoscaling", "v1", "Scale")), verbs: SUB_VERBS });
        }
        let fields = version["selectableFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let fields: Vec<&str> = fields.iter().filter_map(|f| f["jsonPath"].as_str()).collect();
        let stored = crd["status"]["storedVersions"].as_array().map_or(0, Vec::len);
        let strategy = Custom {
            verbatim: stored <= 1 && !has_defaults(raw, 0),
            schema: schema.clone(),
            rules: evaluate::compile(&own, raw, true),
            own,
            has_status,
            scale: scale.clone(),
            columns: columns(&version["additionalPrinterColumns"]),
            selectable: fields.iter().map(|f| f.trim_start_matches('.').to_owned()).collect(),
            paths: fields.iter().map(|f| JsonPath::parse(f).unwrap_or_else(JsonPath::nowhere)).collect(),
            terminating: terminating.then(|| (group.to_string(), plural.to_string())),
            by_webhook: (spec["conversion"]["strategy"] == "Webhook")
                .then(|| format!("{group}/{storage_version}, Kind={}", text(&names["kind"]))),
        };
        out.push(Resource {
            group: group.clone(),
            version: text(&version["name"]).into(),
            kind: text(&names["kind"]).into(),
            list_kind: text(&names["listKind"]).into(),
            plural: plural.clone(),
            singular: text(&names["singular"]).into(),
            short_names: list(&names["shortNames"]),
            categories: list(&names["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            verbs: VERBS,
            subresources: subs,
            storage: format!("{group}/{plural}").into(),
            storage_version: format!("{group}/{storage_version}").into(),
            definitions: crate::schema::definitions(),
            schema,
            strategy: Arc::new(strategy),
            custom: true,
        });
    }
    Ok(out)
}

/// Whether any node of a schema has a default: objects stored before it was there lack the value.
fn has_defaults(node: &Value, depth: usize) -> bool {
    let below = |child: &Value| has_defaults(child, depth + 1);
    depth > MAX_DEPTH
        || node.get("default").is_some_and(|default| !default.is_null())
        || node["properties"].as_object().is_some_and(|all| all.values().any(below))
        || ["items", "additionalProperties"].iter().any(|key| node[*key].is_object() && below(&node[*key]))
}

/// The schema of one version, with the metadata that every object has (for merging and documents).
fn with_metadata(own: &Schema) -> Arc<Schema> {
    const OBJECT_META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let mut whole = own.clone();
    let text = Arc::new(Schema { type_: Some("string".to_owned()), ..Schema::default() });
    let metadata = Arc::new(Schema { reference: Some(OBJECT_META.to_owned()), ..Schema::default() });
    whole.properties.extend(
        [("apiVersion", text.clone()), ("kind", text), ("metadata", metadata)]
            .map(|(name, node)| (name.to_owned(), node)),
    );
    Arc::new(whole)
}

fn scale(raw: &Value) -> Option<ScalePaths> {
    let pointer = |key: &str| JsonPath::parse(raw[key].as_str()?)?.pointer();
    Some(ScalePaths {
        spec: pointer("specReplicasPath")?,
        status: pointer("statusReplicasPath")?,
        selector: pointer("labelSelectorPath"),
    })
}

fn columns(raw: &Value) -> Vec<(Column, JsonPath)> {
    let column = |name: &str, type_: &str, format: &str, description: &str, priority: i64, path: &str| {
        let column = Column {
            name: name.to_owned(),
            type_: type_.to_owned(),
            format: format.to_owned(),
            description: description.to_owned(),
            priority: i32::try_from(priority).unwrap_or(0),
        };
        (column, JsonPath::parse(path).unwrap_or_else(JsonPath::nowhere))
    };
    match raw.as_array() {
        Some(list) if !list.is_empty() => list
            .iter()
            .map(|raw| {
                let text = |key: &str| raw[key].as_str().unwrap_or_default();
                let described = match text("description") {
                    "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
                    described => described.to_owned(),
                };
                let priority = raw["priority"].as_i64().unwrap_or(0);
                column(text("name"), text("type"), text("format"), &described, priority, text("jsonPath"))
            })
            .collect(),
        _ => {
            let described = "CreationTimestamp is a timestamp representing the server time when this object was created. It \
                             is not guaranteed to be set in happens-before order across separate operations. Clients may \
                             not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the \
                             system. Read-only. Null for lists. More info: \
                             https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
            vec![column("Age", "date", "", described, 0, ".metadata.creationTimestamp")]
        }
    }
}

/// `version.CompareKubeAwareVersionStrings`, newest first: `v2`, `v1`, `v2beta1`, `v1alpha1`, then the rest by name.
fn newer_first(a: &str, b: &str) -> std::cmp::Ordering {
    rank(b).cmp(&rank(a)).then_with(|| a.cmp(b))
}

/// Stability, major and minor of a version; `None` sorts below all.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    match &rest[end..] {
        "" => Some((2, major, 0)),
        tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(minor), _) => Some((1, major, minor.parse().ok()?)),
            (_, Some(minor)) => Some((0, major, minor.parse().ok()?)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests;
